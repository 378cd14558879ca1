import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd.base import InputValueError
from jaxgd.surface import filter_normalised, roughness, surface, whole_normalised


@pytest.mark.slow
def test_filters_get_the_length_of_their_own_and_biases_stay(key):
    draw = lambda *shape: jax.random.normal(key, shape)
    params = {"dense": draw(4, 3), "conv": draw(2, 2, 3, 5), "bias": jnp.ones(3)}
    normalised = jax.jit(filter_normalised)
    found = normalised(jax.tree.map(lambda leaf: jnp.cos(leaf) + 2.0, params), params)
    for name, axes in (("dense", 0), ("conv", (0, 1, 2))):
        np.testing.assert_allclose((found[name] ** 2).sum(axes), (params[name] ** 2).sum(axes), rtol=1e-13)
    assert not found["bias"].any()
    none = normalised(jax.tree.map(jnp.zeros_like, params), params)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(none))


def test_picture_is_what_the_definition_says(key):
    matrix = jax.random.normal(key, (2, 2))
    value = lambda x: jnp.sum(jnp.sin(x + matrix) ** 2)
    seen = surface(value, matrix, key=key, radius=0.5, num=5)
    draw = lambda each: jax.random.normal(jax.random.split(each, 1)[0], (2, 2))
    first, second = (filter_normalised(draw(each), matrix) for each in jax.random.split(key))
    ticks = np.linspace(-0.5, 0.5, 5)
    expected = [[value(matrix + a * first + b * second) for b in ticks] for a in ticks]
    np.testing.assert_allclose(seen, expected, rtol=1e-12)


@pytest.mark.slow
def test_picture_does_not_see_the_rescaling_of_a_rectified_layer(key):
    params = {
        "first": jax.random.normal(key, (3, 4)),
        "bias": jnp.ones(4),
        "second": jax.random.normal(key, (4, 2)),
    }
    inputs = jax.random.normal(key, (10, 3))
    value = lambda p: jnp.mean((jax.nn.relu(inputs @ p["first"] + p["bias"][None]) @ p["second"]) ** 2)
    moved = {"first": 7 * params["first"], "bias": 7 * params["bias"], "second": params["second"] / 7}
    look = jax.jit(lambda at: surface(value, at, key=key, num=5))
    np.testing.assert_allclose(look(moved), look(params), rtol=1e-12)
    plainly = jax.jit(lambda at: surface(value, at, key=key, num=5, normalise=whole_normalised))
    assert np.max(np.abs(plainly(moved) - plainly(params))) > 0.1


def test_roughness_is_zero_for_convex_and_half_for_noise():
    x, rng = np.linspace(-1, 1, 31), np.random.default_rng(0)
    bowls = np.stack([3 * x[:, None] ** 2 + x**4, np.exp(x)[:, None] + 2 * x, 0 * x[:, None] + 0 * x])
    np.testing.assert_allclose(roughness(bowls), 0)
    noise = roughness(rng.standard_normal((20, 31, 31)))
    assert abs(noise.mean() - 0.5) < 4 * noise.std() / np.sqrt(20)
    assert roughness(1e-9 * noise.reshape(4, 5) + 1) == pytest.approx(roughness(noise.reshape(4, 5)), rel=1e-3)
    assert roughness(-bowls[0]) == 1
    assert np.isnan(roughness(np.where(bowls[0] > 1, np.inf, bowls[0])))


def test_bad_arguments_are_refused(key):
    value = lambda x: jnp.sum(x)
    with pytest.raises(InputValueError, match="`num` must be odd and at least 3, got 4"):
        surface(value, jnp.ones((2, 2)), key=key, num=4)
    with pytest.raises(InputValueError, match=r"`radius` must be positive and finite, got 0\.0"):
        surface(value, jnp.ones((2, 2)), key=key, radius=0.0)
    with pytest.raises(InputValueError, match="at least 3 points along both sides"):
        roughness(np.ones((2, 5)))


def test_filters_follow_the_layout_of_each_library(key):
    equinox = pytest.importorskip("equinox")
    linear = equinox.nn.Linear(3, 4, key=key)
    attention = {"query": {"kernel": jax.random.normal(key, (5, 2, 3))}, "out": {"kernel": jnp.ones((2, 3, 5))}}
    params = {"equinox": linear, "flax": attention, "scanned": jax.random.normal(key, (2, 3, 4))}
    ones = jax.tree.map(jnp.ones_like, params)
    found = filter_normalised(ones, params)
    same = lambda one, other, axes: np.testing.assert_allclose((one**2).sum(axes), (other**2).sum(axes), rtol=1e-12)
    same(found["equinox"].weight, linear.weight, 1)  # (outputs, inputs)
    same(found["flax"]["query"]["kernel"], attention["query"]["kernel"], 0)  # (inputs, heads, outputs)
    same(found["flax"]["out"]["kernel"], attention["out"]["kernel"], (0, 1))  # (heads, inputs, outputs)
    asked = filter_normalised(ones, params, filters=lambda name, leaf: (0, 2) if name == "scanned" else None)
    same(asked["scanned"], params["scanned"], 1)
    assert not asked["equinox"].weight.any()


@pytest.mark.parametrize("layout", ["first", "last"])
def test_directions_scale_with_the_units_that_weights_lead_into(key, layout):
    weights, factors = jax.random.normal(key, (3, 4)), jnp.array([7.0, 0.2, 3.0, 1.0])
    turn = (lambda array: array.T) if layout == "first" else (lambda array: array)
    ones, moved = jnp.ones_like(turn(weights)), turn(weights * factors[None])
    found, other = (filter_normalised(ones, leaf, filters=layout) for leaf in (moved, turn(weights)))
    np.testing.assert_allclose(found, turn(turn(other) * factors[None]), rtol=1e-12)


def test_unknown_layout_is_refused():
    with pytest.raises(InputValueError, match="`filters` must be 'auto', 'first', 'last' or a function, got 'middle'"):
        filter_normalised(jnp.ones((2, 2)), jnp.ones((2, 2)), filters="middle")
