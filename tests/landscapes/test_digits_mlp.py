import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

from jaxgd import landscapes
from jaxgd.base import InputValueError
from jaxgd.landscapes import digits_mlp
from jaxgd.landscapes.digits import _digits


@pytest.mark.parametrize(
    ("widths", "activation", "act"),
    [((4,), "tanh", jnp.tanh), pytest.param((5, 3), "relu", jax.nn.relu, marks=pytest.mark.slow)],
)
def test_value_is_cross_entropy_plus_penalty(widths, activation, act, key):
    landscape = digits_mlp(widths=widths, activation=activation, l2=0.01, num_images=300)
    params = landscape.sample(key)
    pixels, labels = load_digits(return_X_y=True)
    hidden = jnp.asarray(pixels[:300] / 16)
    for number in range(1, len(widths) + 1):
        layer = params[f"layer_{number}"]
        hidden = act(jnp.matmul(hidden, layer["weights"]) + layer["bias"][None])
    last = params[f"layer_{len(widths) + 1}"]
    logits = jnp.matmul(hidden, last["weights"]) + last["bias"][None]
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(labels[:300])).mean()
    expected = cross_entropy + 0.005 * optax.tree.norm(params, squared=True)
    np.testing.assert_allclose(jax.jit(landscape.value)(params), expected, rtol=1e-12)


@pytest.mark.slow
def test_value_and_invariants_do_not_see_order_and_signs_of_hidden_units(key):
    landscape = digits_mlp(widths=(4,))
    params = landscape.sample(key)
    order, signs = jnp.array([2, 0, 3, 1]), jnp.array([1.0, -1.0, -1.0, 1.0])
    first, second = params["layer_1"], params["layer_2"]
    moved = {
        "layer_1": {
            "weights": (first["weights"] * signs[None])[:, order],
            "bias": (first["bias"] * signs)[order],
        },
        "layer_2": {"weights": (second["weights"] * signs[:, None])[order], "bias": second["bias"]},
    }
    np.testing.assert_allclose(landscape.value(moved), landscape.value(params), rtol=1e-13)
    invariants = landscape.symmetry.invariants
    np.testing.assert_allclose(invariants(moved), invariants(params), atol=1e-13)
    assert jnp.max(jnp.abs(invariants(jax.tree.map(lambda leaf: leaf + 0.1, params)) - invariants(params))) > 1e-2


def test_blank_pixels_are_curved_by_the_penalty_alone(key):
    landscape = digits_mlp(widths=(3,), l2=0.02)
    params = landscape.sample(key)
    blank = int(np.flatnonzero(load_digits().data.max(axis=0) == 0)[0])
    direction = jax.tree.map(jnp.zeros_like, params)
    direction["layer_1"]["weights"] = direction["layer_1"]["weights"].at[blank, 1].set(1.0)
    product = jax.jit(lambda p, d: jax.jvp(landscape.gradient, (p,), (d,))[1])(params, direction)
    np.testing.assert_allclose(product["layer_1"]["weights"], 0.02 * direction["layer_1"]["weights"], atol=1e-15)


def test_noisy_value_has_the_value_as_its_mean(key):
    landscape = digits_mlp(widths=(4,), num_images=200, batch_size=32)
    params = landscape.sample(key)
    draws = jax.jit(jax.vmap(landscape.noisy_value, in_axes=(None, 0)))(params, jax.random.split(key, 2000))
    standard_error = draws.std() / np.sqrt(len(draws))
    assert standard_error > 0
    assert float(draws.mean()) == pytest.approx(float(landscape.value(params)), abs=4 * float(standard_error))


@pytest.mark.parametrize(("activation", "gain"), [("tanh", 1.0), ("relu", 2.0)])
def test_starts_have_the_variance_of_their_law_and_no_bias(activation, gain, key):
    params = digits_mlp(widths=200, activation=activation).sample(key)
    weights = params["layer_1"]["weights"]
    assert weights.shape == (64, 200)
    np.testing.assert_allclose(weights.var(), gain / 64, rtol=4 * np.sqrt(2 / weights.size))
    assert not params["layer_1"]["bias"].any()


def test_missing_scikit_learn_is_named_with_its_remedy(monkeypatch):
    _digits.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(InputValueError, match=r"pip install 'jaxgd\[data\]'"):
        landscapes.digits_mlp()
