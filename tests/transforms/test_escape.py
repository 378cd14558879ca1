"""Methods that leave saddles do so, and say when there is nothing to leave."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgd.transforms import (
    negative_curvature,
    neon,
    perturbed_gradient,
    perturbed_gradient_constants,
    stay_within,
)

DIM, SMOOTH, GAMMA, TAU, RATE = 5, 1.0, 1.0, np.e, 0.25


def octopus_gradient(x):
    """The gradient of Du et al.'s octopus (arXiv:1705.10412), coordinates mirrored into x >= 0."""
    sign, x = jnp.where(x < 0, -1.0, 1.0), jnp.abs(x)
    t1, t2 = x - TAU, x - 2 * TAU
    a, b = (-14 * SMOOTH + 10 * GAMMA) / (3 * TAU), (5 * SMOOTH - 3 * GAMMA) / (2 * TAU**2)
    d1 = -2 * GAMMA * x + 3 * a * t1**2 + 4 * b * t1**3
    s = SMOOTH + GAMMA
    g2 = -GAMMA - 10 * s / TAU**3 * t2**3 - 15 * s / TAU**4 * t2**4 - 6 * s / TAU**5 * t2**5
    d2 = -30 * s / TAU**3 * t2**2 - 60 * s / TAU**4 * t2**3 - 30 * s / TAU**5 * t2**4
    number = jnp.arange(DIM)
    first = jnp.where(jnp.any(x < 2 * TAU), jnp.argmax(x < 2 * TAU), DIM)
    here = jnp.where(number == first, x, 0).sum()
    is_middle = here > TAU
    next_x = jnp.concatenate([x[1:], jnp.zeros(1)])
    grad = jnp.where(number < first, 2 * SMOOTH * (x - 4 * TAU), 2 * SMOOTH * x)
    own = jnp.where(is_middle, d1 + d2 * next_x**2, -2 * GAMMA * x)
    grad = jnp.where(number == first, own, grad)
    g2_here = jnp.where(number == first, g2, 0).sum()
    follows = (number == first + 1) & is_middle
    return sign * jnp.where(follows, 2 * g2_here * x, grad)


def escape_ticks(optimizer, num_lanes, num_steps, key):
    """Returns the median tick at which each coordinate first exceeds 2 tau."""

    def lane(key):
        key_start, key_noise = jax.random.split(key)
        x = jax.random.uniform(key_start, (DIM,), minval=-1.0, maxval=1.0)

        def step(carry, number):
            x, state, ticks = carry
            noise_key = jax.random.fold_in(key_noise, number)
            move, state = optimizer.update(octopus_gradient(x), state, x, value=0.0, key=noise_key)
            x = x + move
            ticks = jnp.where((jnp.abs(x) > 2 * TAU) & (ticks == num_steps), number, ticks)
            return (x, state, ticks), None

        ticks = jnp.full(DIM, num_steps, jnp.int32)
        numbers = jnp.arange(num_steps, dtype=jnp.int32)
        return jax.lax.scan(step, (x, optimizer.init(x), ticks), numbers)[0][2]

    return np.median(jax.jit(jax.vmap(lane))(jax.random.split(key, num_lanes)), axis=0)


@pytest.mark.slow
def test_perturbed_descent_leaves_the_octopus_linearly_where_plain_descent_is_geometric(key):
    kappa = 1 + np.log(1 / (1 - 2 * RATE * SMOOTH)) / np.log(1 + 2 * RATE * GAMMA)
    plain = escape_ticks(optax.with_extra_args_support(optax.sgd(RATE)), 100, 700, key)
    kicked = escape_ticks(perturbed_gradient(RATE, 0.1, 0.5, 10), 100, 700, key)
    growth = np.diff(plain)[1:] / np.diff(plain)[:-1]
    np.testing.assert_allclose(growth[1:], kappa, rtol=0.15)
    assert np.max(np.diff(kicked)) < 2 * np.min(np.diff(kicked)[1:])
    assert kicked[-1] < 0.5 * plain[-1]


def test_the_constants_are_those_of_the_theorem():
    constants = perturbed_gradient_constants(2.0, 3.0, 0.01, 5.0, 10, failure_probability=0.1, c=0.5)
    chi = 3 * np.log(10 * 2 * 5 / (0.5 * 1e-4 * 0.1))
    assert constants["learning_rate"] == 0.25
    np.testing.assert_allclose(constants["radius"], np.sqrt(0.5) / chi**2 * 0.01 / 2)
    np.testing.assert_allclose(constants["gradient_norm"], np.sqrt(0.5) / chi**2 * 0.01)
    np.testing.assert_allclose(constants["value_drop"], 0.5 / chi**3 * np.sqrt(1e-6 / 3))
    assert constants["wait"] == np.ceil(chi / 0.25 * 2 / np.sqrt(0.03))
    perturbed_gradient(**constants)


def test_a_failed_kick_returns_to_the_point_before_it_and_lets_descent_converge(key):
    optimizer = perturbed_gradient(0.1, 0.1, 1e-2, 5, 1e-3)
    bowl = jax.value_and_grad(lambda x: jnp.sum(x**2) / 2)

    def step(carry, number):
        x, state = carry
        value, grad = bowl(x)
        move, state = optimizer.update(grad, state, x, value=value, key=jax.random.fold_in(key, number))
        return (x + move, state), x

    start = jnp.array([0.009, 0.0])
    (x, state), seen = jax.lax.scan(step, (start, optimizer.init(start)), jnp.arange(200))
    np.testing.assert_allclose(seen[7], start)  # kicked, five steps and the judgement's
    assert bool(state.is_settled)
    assert np.linalg.norm(x) < 1e-8


def quadratic_searches(optimizer, curvature, num_steps, key):
    def step(carry, number):
        x, state = carry
        hvp = lambda v: jnp.asarray(curvature) * v
        move, state = optimizer.update(hvp(x), state, x, hvp=hvp, key=jax.random.fold_in(key, number))
        return (x + move, state), x

    start = jnp.zeros(len(curvature))
    return jax.lax.scan(step, (start, optimizer.init(start)), jnp.arange(num_steps))


def test_lanczos_over_ticks_finds_the_lowest_eigenvalue_and_steps_along_it(key):
    curvature = np.linspace(-0.5, 3, 12)
    optimizer = negative_curvature(0.1, 1e-3, 0.7, num_vectors=12)
    (x, state), _ = quadratic_searches(optimizer, curvature, 12, key)
    np.testing.assert_allclose(state.curvature, -0.5, rtol=1e-10)
    np.testing.assert_allclose(np.abs(x), 0.7 * np.eye(12)[0], atol=1e-8)
    assert int(state.num_hvps) == 12


def test_lanczos_over_ticks_settles_where_there_is_no_negative_curvature(key):
    optimizer = negative_curvature(0.1, 1e-3, 0.7, num_vectors=3)
    (x, state), _ = quadratic_searches(optimizer, np.array([1.0, 2.0, 3.0, 3.0]), 10, key)
    assert bool(state.is_settled)
    np.testing.assert_allclose(state.curvature, 1.0, rtol=1e-10)  # three distinct eigenvalues: exact
    np.testing.assert_array_equal(x, 0)


def test_neon_steps_along_the_negative_direction_by_the_length_asked_for(key):
    curvature = np.array([2.0, 1.0, -0.5])
    optimizer = neon(0.4, 1e-3, start_radius=1e-5, escape_length=0.1, max_search=100)
    _, seen = quadratic_searches(optimizer, curvature, 80, key)
    found = np.argmax(np.linalg.norm(seen, axis=1) > 0.1)
    np.testing.assert_allclose(seen[found][:2], 0, atol=1e-8)
    # |u| grows by the factor 1 + 0.4 * 0.5 a tick, so it passes 0.1 by less than that.
    assert 0.1 <= abs(seen[found][2]) < 0.12 * 1.001


def test_a_ball_holds_a_runaway_descent_at_its_surface():
    optimizer = optax.chain(optax.sgd(0.5), stay_within(3.0))
    x, state = jnp.array([1.0, 1.0]), optimizer.init(jnp.array([1.0, 1.0]))
    for _ in range(20):
        move, state = optimizer.update(jnp.array([-1.0, 0.0]), state, x)
        x = x + move
    np.testing.assert_allclose(x, [4.0, 1.0])
