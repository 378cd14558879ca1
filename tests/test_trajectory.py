import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd import InputTypeError, InputValueError, Landscape, Stop, transforms
from jaxgd.trajectory import trajectories

WELL = Landscape(
    value=lambda x: jnp.sum((x**2 - 1) ** 2),
    sample=lambda key: jax.random.normal(key, (2,)),
    noisy_value=lambda x, key: jnp.sum((x**2 - 1) ** 2) + jnp.sum(x * jax.random.normal(key, (2,))),
)


def place(params, state):
    return params


def test_every_step_is_that_of_descend(key):
    optimizer = optax.sgd(0.01)
    steps, seen = trajectories(WELL, optimizer, 3, key=key, num_steps=7, observe=place, is_noisy=True)
    assert steps.tolist() == list(range(8))
    stop = Stop(gradient_norm=None, max_steps=7)
    ends = jaxgd.descend(WELL, optimizer, 3, key=key, stop=stop, is_noisy=True)
    np.testing.assert_allclose(seen[:, 7], ends.params, rtol=1e-12)


def test_default_observation_is_exact_value_and_gradient_norm(key):
    steps, (value, norm) = trajectories(WELL, optax.sgd(0.01), 2, key=key, num_steps=4, every=2)
    _, seen = trajectories(WELL, optax.sgd(0.01), 2, key=key, num_steps=4, every=2, observe=place)
    assert (steps.tolist(), value.shape) == ([0, 2, 4], (2, 3))
    np.testing.assert_allclose(value, jax.vmap(jax.vmap(WELL.value))(seen))
    np.testing.assert_allclose(norm, np.linalg.norm(jax.vmap(jax.vmap(WELL.gradient))(seen), axis=-1))


def test_state_is_that_of_the_optimizer_before_the_step(key):
    optimizer = transforms.discard_large_updates(1e-9)
    count = lambda params, state: state.num_discarded
    _, seen = trajectories(WELL, optimizer, 1, key=key, num_steps=3, observe=count)
    assert seen.tolist() == [[0, 1, 2, 3]]


def test_what_leaves_the_finite_range_stands_still(key):
    _, seen = trajectories(WELL, optax.sgd(10.0), starts=jnp.full((1, 2), 3.0), key=key, num_steps=50, observe=place)
    assert np.isfinite(seen[0, :3]).all()
    np.testing.assert_array_equal(seen[0, -1], seen[0, -2])


def test_what_cannot_be_meant_is_refused(key):
    with pytest.raises(InputValueError, match="`num_steps`"):
        trajectories(WELL, optax.sgd(0.1), 1, key=key, num_steps=0)
    with pytest.raises(InputValueError, match="`every`"):
        trajectories(WELL, optax.sgd(0.1), 1, key=key, num_steps=1, every=0)
    with pytest.raises(InputTypeError, match="`optimizer` must be"):
        trajectories(WELL, 0.1, 1, key=key, num_steps=1)
    with pytest.raises(InputValueError, match="`num_starts` or `starts`"):
        trajectories(WELL, optax.sgd(0.1), key=key, num_steps=1)


def test_a_lane_that_leaves_the_finite_range_stands_where_it_left(key):
    cliff = Landscape(value=lambda x: jnp.where(x > 0, x**2, jnp.nan), sample=lambda key: jnp.ones(()))
    _, seen = trajectories(cliff, optax.sgd(0.7), 1, key=key, num_steps=3, observe=place)
    np.testing.assert_allclose(seen, [[1.0, -0.4, -0.4, -0.4]], rtol=1e-12)


@pytest.mark.parametrize("layout", jaxgd.base.LAYOUTS)
def test_groups_of_lanes_in_any_layout_see_what_all_at_once_see(layout):
    landscape = jaxgd.landscapes.styblinski_tang(dim=2)
    how = {"key": jax.random.key(0), "num_steps": 6, "every": 2, "observe": lambda x, state: x}
    steps, seen = trajectories(landscape, optax.sgd(0.01), 7, **how)
    again = trajectories(landscape, optax.sgd(0.01), 7, engine=jaxgd.Engine(layout=layout, num_lanes=3), **how)
    np.testing.assert_array_equal(again[0], steps)
    assert seen.shape == (7, 4, 2)
    np.testing.assert_allclose(again[1], seen, rtol=1e-12)
