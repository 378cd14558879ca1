"""Saddle dynamics reaches the index it was asked for, and descent on the gradient norm what it should not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd.transforms import gentlest_ascent, gradient_norm_descent, known_minimum, saddle_dynamics


def mueller_brown(x):
    height = jnp.array([-200.0, -100.0, -170.0, 15.0])
    a, b, c = jnp.array([-1, -1, -6.5, 0.7]), jnp.array([0, 0, 11, 0.6]), jnp.array([-10, -10, -6.5, 0.7])
    dx, dy = x[0] - jnp.array([1, 0, -0.5, -1.0]), x[1] - jnp.array([0, 0.5, 1.5, 1.0])
    return jnp.sum(height * jnp.exp(a * dx**2 + b * dx * dy + c * dy**2))


def styblinski_tang(x):
    return jnp.sum(x**4 - 16 * x**2 + 5 * x) / 2


FACTORS = np.array([4.0, 3.0, 2.0, 1.0])


def factorisation(u):
    return jnp.sum((jnp.outer(u, u) - jnp.diag(jnp.asarray(FACTORS))) ** 2) / 4


def ends(optimizer, value_fn, starts, num_steps, key):
    """Returns the ends of all starts, their gradient norms, and their indices."""
    grad_fn = jax.grad(value_fn)

    def lane(x, key):
        def step(carry, number):
            x, state = carry
            grad, hvp = jax.linearize(grad_fn, x)
            move, state = optimizer.update(grad, state, x, hvp=hvp, key=jax.random.fold_in(key, number))
            return (x + move, state), None

        (x, _), _ = jax.lax.scan(step, (x, optimizer.init(x)), jnp.arange(num_steps))
        eigenvalues = jnp.linalg.eigvalsh(jax.hessian(value_fn)(x))
        return x, jnp.linalg.norm(grad_fn(x)), jnp.sum(eigenvalues < 0)

    keys = jax.random.split(key, len(starts))
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(lane))(jnp.asarray(starts), keys))


def test_on_mueller_brown_it_finds_both_passes(key):
    starts = np.array([[-0.7, 0.75], [0.3, 0.25], [0.15, 0.35]])
    optimizer = saddle_dynamics(2e-4, 1, 5e-4, max_step=0.05, num_turns=3)
    points, norms, indices = ends(optimizer, mueller_brown, starts, 1500, key)
    assert np.all(norms < 1e-6)
    assert np.all(indices == 1)
    np.testing.assert_allclose(points[0], [-0.822002, 0.624313], atol=1e-5)
    np.testing.assert_allclose(points[1:], [[0.212487, 0.292988]] * 2, atol=1e-5)


@pytest.mark.parametrize("index", [0, pytest.param(1, marks=pytest.mark.slow), 2, 4])
def test_on_styblinski_tang_it_reaches_the_index_it_was_asked_for(index, key):
    starts = np.random.default_rng(index).uniform(-1, 1, size=(6, 4))
    starts[:, index:] += np.sign(starts[:, index:]) * 2.0  # the others in their wells
    optimizer = saddle_dynamics(5e-3, index, 1e-2, max_step=0.2, num_turns=2)
    _, norms, indices = ends(optimizer, styblinski_tang, starts, 800, key)
    assert np.all(norms < 1e-8)
    assert np.all(indices == index)


@pytest.mark.parametrize("index", [0, pytest.param(1, marks=pytest.mark.slow), 2, 3])
def test_on_rank_one_factorisation_the_saddle_of_index_k_is_the_next_eigenvector(index, key):
    starts = np.random.default_rng(1).normal(size=(3, 4)) * 0.1 + np.sqrt(FACTORS[index]) * np.eye(4)[index]
    points, norms, indices = ends(saddle_dynamics(0.05, index), factorisation, starts, 1500, key)
    assert np.all(norms < 1e-8)
    assert np.all(indices == index)
    np.testing.assert_allclose(np.abs(points), [np.sqrt(FACTORS[index]) * np.eye(4)[index]] * 3, atol=1e-7)


def test_gentlest_ascent_climbs_from_a_minimum_to_a_pass(key):
    start = np.array([[0.6, 0.05]])  # beside the minimum (0.623, 0.028)
    optimizer = gentlest_ascent(2e-4, 1e-3, max_step=0.01)
    points, norms, indices = ends(optimizer, mueller_brown, start, 6000, key)
    assert norms[0] < 1e-6
    assert indices[0] == 1
    np.testing.assert_allclose(points[0], [0.212487, 0.292988], atol=1e-5)


def test_gradient_norm_descent_finds_saddles_and_gradient_flat_points_alike(key):
    value_fn = lambda x: x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 3 / 3 + 0.1 * x[1]
    starts = np.array([[0.1, 0.3], [0.9, 0.2]])
    points, norms, _ = ends(gradient_norm_descent(0.1), value_fn, starts, 3000, key)
    np.testing.assert_allclose(points, [[0, 0], [1, 0]], atol=1e-6)  # one beside a saddle, one beside a minimum
    np.testing.assert_allclose(norms, 0.1, atol=1e-6)  # and neither is a critical point


def test_known_minimum_rests_at_a_global_minimum_only():
    value_fn = lambda x: (x**2 - 1) ** 2 * (0.5 + (x - 1) ** 2)  # minima at +-1, both 0
    optimizer = known_minimum(0.1, 0.0, 1e3)

    def step(x, _):
        value, grad = jax.value_and_grad(value_fn)(x)
        move, _ = optimizer.update(grad, optimizer.init(x), x, value=value)
        return x + move, None

    x, _ = jax.lax.scan(step, jnp.array(0.2), length=200)
    assert value_fn(x) < 1e-6
    move, _ = optimizer.update(jnp.zeros([]), optimizer.init(x), x, value=1.0)
    assert float(move) == 0  # no direction at an exact critical point
