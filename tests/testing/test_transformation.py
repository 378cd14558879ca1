"""The assertions pass for what is right, and fail for each thing that is wrong, in words that say what."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd.testing import (
    assert_dtypes_kept,
    assert_iterates,
    assert_lanes_independent,
    assert_noise_differs,
    assert_traced_once,
    assert_transformation,
)


@pytest.fixture(autouse=True)
def plain_jax():
    """Runs a test with the promotion rules that people have."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def made(update, init=lambda params: optax.EmptyState()):
    return optax.GradientTransformationExtraArgs(init, update)


def test_a_sound_transformation_passes_with_its_path():
    assert_transformation(optax.sgd(0.1, momentum=0.9))
    curvature = np.array([3.0, 0.5, -0.2])
    assert_transformation(optax.sgd(0.1), path=lambda x: [x := x - 0.1 * curvature * x for _ in range(3)])
    assert_transformation(jaxgd.transforms.langevin(0.1, temperature=0.2), is_noisy=True)


def test_other_iterates_are_found():
    with pytest.raises(AssertionError, match="not those of the source"):
        assert_iterates(optax.sgd(0.1), [[0.7, -1.9, 0.52]])


def test_a_lane_that_sees_its_neighbours_is_found():
    @jax.custom_batching.custom_vmap
    def over_lanes(x):
        return x

    @over_lanes.def_vmap
    def _(size, is_mapped, x):
        return x - jnp.mean(x, axis=0, keepdims=True), True

    coupled = made(lambda updates, state, params=None, **extra: (-0.1 * over_lanes(updates), state))
    with pytest.raises(AssertionError, match="who its neighbours are"):
        assert_lanes_independent(coupled)


def test_noise_that_all_lanes_share_is_found():
    with pytest.raises(AssertionError, match="draw the same noise"):
        assert_noise_differs(optax.noisy_sgd(0.1, eta=1.0, key=0))


def test_a_type_that_changes_is_found():
    counts = made(
        lambda updates, state, params=None, **extra: (updates, state + 1.0), lambda params: jnp.zeros((), jnp.int32)
    )
    with pytest.raises(AssertionError, match="changes the state"):
        assert_dtypes_kept(counts)
    widened = made(
        lambda updates, state, params=None, **extra: (jax.tree.map(lambda g: g.astype("float64"), updates), state)
    )
    with pytest.raises(AssertionError, match="unlike the params"):
        assert_dtypes_kept(widened)


def test_a_second_trace_is_found():
    counts = made(
        lambda updates, state, params=None, **extra: (updates, jnp.asarray(state, "int32") + 1), lambda params: 0
    )
    with pytest.raises(AssertionError, match="traced 2 times"):
        assert_traced_once(counts)


def test_what_is_no_transformation_is_refused():
    with pytest.raises(jaxgd.InputTypeError, match="`optimizer` must be"):
        assert_transformation("sgd(0.1)")
