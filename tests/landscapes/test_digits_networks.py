import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

from jaxgd.landscapes import digits_network

SMALL = {"depth": 2, "width": 5, "num_images": 60, "l2": 0.0}


def by_hand(params, is_residual, is_normalised):
    """The loss in plain numpy, written from the docstring alone."""
    params = jax.tree.map(np.asarray, params)
    pixels, digits = load_digits(return_X_y=True)
    dense = lambda layer, z, end="": z @ layer["weights" + end] + layer["bias" + end]

    def act(layer, number, z):
        if is_normalised:
            z = (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5)
            z = z * layer[f"scale_{number}"] + layer[f"shift_{number}"]
        return np.maximum(z, 0)

    h = dense(params["input"], pixels[:60] / 16)
    for name in ("block_1", "block_2"):
        block = params[name]
        branch = dense(block, act(block, 2, dense(block, act(block, 1, h), "_1")), "_2")
        h = h + branch / np.sqrt(2) if is_residual else branch
    logits = dense(params["output"], act(params["output"], 1, h))
    return np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(60), digits[:60]])


def bent(landscape, key):
    """A point where no bias is zero and no scale is one."""
    params = landscape.sample(key)
    shift = iter(range(99))
    return jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(next(shift)), leaf.shape), params)


@pytest.mark.parametrize("connections", ["residual", "plain"])
@pytest.mark.parametrize("normalisation", ["none", "batch"])
def test_value_is_what_the_docstring_says(connections, normalisation, key):
    landscape = digits_network(connections=connections, normalisation=normalisation, **SMALL)
    params = bent(landscape, key)
    expected = by_hand(params, connections == "residual", normalisation == "batch")
    np.testing.assert_allclose(jax.jit(landscape.value)(params), expected, rtol=1e-12)
    assert jax.tree.structure(params) == jax.tree.structure(landscape.sample(key))


def test_starts_do_not_depend_on_skip_connections(key):
    residual, plain = (digits_network(connections=kind, **SMALL) for kind in ("residual", "plain"))
    pairs = zip(jax.tree.leaves(residual.sample(key)), jax.tree.leaves(plain.sample(key)), strict=True)
    assert all((one == other).all() for one, other in pairs)
    smaller = digits_network(weight_scale=0.5, **SMALL).sample(key)
    np.testing.assert_array_equal(smaller["block_2"]["weights_1"], residual.sample(key)["block_2"]["weights_1"] / 2)


def test_rescaling_a_block_changes_nothing_where_units_are_rectified(key):
    for activation, is_invariant in (("relu", True), ("tanh", False)):
        landscape = digits_network(activation=activation, **SMALL)
        params = bent(landscape, key)
        block = params["block_1"]
        factors = {"weights_1": 3.0, "bias_1": 3.0, "weights_2": 1 / 3, "bias_2": 1.0}
        moved = params | {"block_1": {name: factors[name] * leaf for name, leaf in block.items()}}
        change = abs(float(landscape.value(moved) - landscape.value(params)))
        assert (change < 1e-12) is is_invariant


def test_batch_normalisation_does_not_see_the_scale_of_the_weights_before_it(key):
    for normalisation, tolerance in (("batch", 1e-3), ("none", np.inf)):
        landscape = digits_network(normalisation=normalisation, connections="plain", **SMALL)
        params = landscape.sample(key)
        moved = params | {"input": jax.tree.map(lambda leaf: 5.0 * leaf, params["input"])}
        change = abs(float(landscape.value(moved) - landscape.value(params)))
        assert change < tolerance
    assert change > 0.1


@pytest.mark.slow
def test_noisy_value_has_the_value_as_its_mean(key):
    landscape = digits_network(batch_size=16, **SMALL)
    params = landscape.sample(key)
    draws = jax.jit(jax.vmap(landscape.noisy_value, in_axes=(None, 0)))(params, jax.random.split(key, 2000))
    standard_error = float(draws.std() / np.sqrt(len(draws)))
    assert float(draws.mean()) == pytest.approx(float(landscape.value(params)), abs=4 * standard_error)


@pytest.mark.slow
def test_dtype_follows_the_params(key):
    landscape = digits_network(normalisation="batch", **SMALL)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), landscape.sample(key))
    assert landscape.value(params).dtype == jnp.float32
