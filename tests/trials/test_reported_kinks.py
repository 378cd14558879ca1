"""Reported: minima where the function has a kink. A place that is not smooth is no critical point by its Hessian."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.verdicts.problems.outcomes import claimed
from jaxgd import Stop


def dead_unit(p):
    return (jax.nn.relu(p[0]) * p[1] - 1) ** 2 + 0.01 * jnp.sum(p**2)


def test_the_origin_of_a_product_of_relu_is_no_minimum(look):
    assert dead_unit(jnp.array([0.1, 0.1])) < dead_unit(jnp.zeros(2)) - 0.01  # it is not one
    beside = [[0.0, 0.0], [-5e-5, 0.0], [-1e-9, 1e-9], [0.0, 5e-5], [1e-300, 0.0]]
    assert not claimed(look(dead_unit, beside)).any()


def test_a_unit_that_weight_decay_kills_is_no_minimum(ask):
    found = ask(dead_unit, lambda key: jax.random.normal(key, (2,)), optax.sgd(0.1), 200)
    is_dead = np.abs(found.ends.params).max(axis=1) < 0.01
    assert is_dead.sum() > 20
    assert not claimed(found.points)[is_dead].any()
    assert claimed(found.points)[~is_dead].mean() > 0.95


@pytest.mark.slow
def test_a_relu_network_begun_at_zero_is_at_no_minimum(ask):
    x = jnp.linspace(-1.0, 1.0, 16)[:, None]
    y = jnp.sin(3 * x) + 0.5 * x**2 + 0.7

    def loss(p):
        hidden = jax.nn.relu(x @ p["w"] + p["b"])
        weights = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(p))
        return jnp.mean((hidden @ p["v"] + p["c"] - y) ** 2) + 1e-3 * weights

    zeros = {"w": jnp.zeros((1, 4)), "b": jnp.zeros(4), "v": jnp.zeros((4, 1)), "c": jnp.zeros(1)}
    found = ask(loss, lambda key: zeros, optax.sgd(0.1), 20, stop=Stop(max_steps=3000))
    assert not claimed(found.points).any()


def hinge(p):
    x = jnp.array([[1.0, 2.0], [2.0, -1.0], [-1.0, -1.5], [-2.0, 1.0], [0.3, 0.2]])
    y = jnp.array([1.0, 1.0, -1.0, -1.0, -1.0])
    return jnp.mean(jax.nn.relu(1 - y * (x @ p))) + 0.5 * jnp.sum(p**2)


KINKS = {
    "abs": (lambda p: jnp.abs(p[0]) + p[1] ** 2, [0.0, 0.0]),
    "abs downwards": (lambda p: p[1] ** 2 - jnp.abs(p[0]), [0.0, 0.0]),
    "maximum": (lambda p: jnp.maximum(p[0], -p[0]) + (p[1] - 1) ** 2, [0.0, 1.0]),
    "max of parabolas": (lambda p: jnp.max(jnp.stack([(p[0] - 1) ** 2, (p[0] + 1) ** 2])) + p[1] ** 2, [0.0, 0.0]),
    "min of parabolas": (lambda p: jnp.min(jnp.stack([(p[0] - 1) ** 2, (p[0] + 1) ** 2])) + p[1] ** 2, [0.0, 0.0]),
    "clip": (lambda p: jnp.clip(p[0], -1.0, 1.0) * p[1] + p[1] ** 2 + jnp.clip(p[0], -1.0, 1.0), [-1.0, 0.5]),
    "sort": (lambda p: jnp.sum(jnp.sort(p) * jnp.array([-1.0, 1.0])) + jnp.sum((p - 1) ** 2), [1.0, 1.0]),
    "relu of a product": (lambda p: jnp.sum(p**2) - 3 * jax.nn.relu(p[0]) * jax.nn.relu(p[1]), [0.0, 0.0]),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in ("abs", "max of parabolas") else pytest.mark.slow) for n in KINKS]
)
def test_a_kink_is_no_critical_point(name, look):
    value, place = KINKS[name]
    assert not claimed(look(value, [place, place])).any()


def test_a_hinge_loss_ends_at_kinks_that_are_no_minima_by_curvature(ask):
    decaying = optax.sgd(optax.exponential_decay(0.2, 50, 0.7))
    found = ask(hinge, lambda key: jax.random.normal(key, (2,)), decaying, 50, stop=Stop(max_steps=2000))
    x = np.array([[1.0, 2.0], [2.0, -1.0], [-1.0, -1.5], [-2.0, 1.0], [0.3, 0.2]])
    y = np.array([1.0, 1.0, -1.0, -1.0, -1.0])
    margin = np.abs(1 - y * (found.ends.params @ x.T)).min(axis=1)
    assert not (claimed(found.points) & (margin < 1e-3)).any()
