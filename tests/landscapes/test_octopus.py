import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd import landscapes


def published_value(x, wall, gamma, tau):
    """The piecewise definition of the paper, read aloud (0-based coordinates)."""
    x, dim = np.abs(x), len(x)
    g1 = lambda t: (
        -gamma * t**2
        + (-14 * wall + 10 * gamma) / (3 * tau) * (t - tau) ** 3
        + (5 * wall - 3 * gamma) / (2 * tau**2) * (t - tau) ** 4
    )
    g2 = lambda t: (
        -gamma
        - 10 * (wall + gamma) / tau**3 * (t - 2 * tau) ** 3
        - 15 * (wall + gamma) / tau**4 * (t - 2 * tau) ** 4
        - 6 * (wall + gamma) / tau**5 * (t - 2 * tau) ** 5
    )
    nu = -g1(2 * tau) + 4 * wall * tau**2
    i = next((j for j in range(dim) if x[j] < 2 * tau), dim)
    settled = sum(wall * (x[j] - 4 * tau) ** 2 for j in range(i)) - i * nu
    if i == dim:
        return settled
    if x[i] <= tau:
        return settled - gamma * x[i] ** 2 + sum(wall * x[j] ** 2 for j in range(i + 1, dim))
    if i == dim - 1:
        return settled + g1(x[i])
    rest = sum(wall * x[j] ** 2 for j in range(i + 2, dim))
    return settled + g1(x[i]) + g2(x[i]) * x[i + 1] ** 2 + rest


@pytest.mark.parametrize(("wall", "gamma", "tau"), [(1.0, 1.0, math.e), (2.0, 0.5, 1.5)])
def test_value_matches_the_published_pieces(wall, gamma, tau):
    landscape = landscapes.octopus(dim=4, steepness=wall, gamma=gamma, tau=tau)
    points = np.random.default_rng(0).uniform(-5 * tau, 5 * tau, (200, 4)) * [1, 1, 0.6, 0.4]
    expected = [published_value(point, wall, gamma, tau) for point in points]
    np.testing.assert_allclose(jax.vmap(landscape.value)(jnp.asarray(points)), expected, rtol=1e-11, atol=1e-11)


def test_value_and_slope_are_continuous_where_pieces_meet():
    landscape = landscapes.octopus(dim=3)
    evaluate = jax.jit(jax.vmap(landscape.evaluate))
    for edge in (math.e, 2 * math.e):
        sides = jnp.array([[4 * math.e, edge - 1e-9, 0.3], [4 * math.e, edge + 1e-9, 0.3]])
        values, grads = evaluate(sides)
        np.testing.assert_allclose(values[0], values[1], atol=1e-6)
        np.testing.assert_allclose(grads[0], grads[1], atol=1e-6)


def escape_steps(dtype, num_steps, key):
    landscape = landscapes.octopus(dim=5)
    starts = jax.vmap(landscape.sample)(jax.random.split(key, 500)).astype(dtype)

    def step(x, _):
        return x - 0.25 * jax.vmap(landscape.gradient)(x), jnp.abs(x) >= 2 * math.e

    ends, is_out = jax.jit(lambda x: jax.lax.scan(step, x, length=num_steps))(starts)
    return ends, np.where(is_out.any(axis=0), jnp.argmax(is_out, axis=0), num_steps)


def test_escape_times_grow_by_the_derived_factor(key):
    ends, steps = escape_steps(jnp.float64, 700, key)
    medians = np.median(steps, axis=0)
    np.testing.assert_allclose(medians, [6, 23, 66, 184, 503], rtol=0.05)
    waits = np.diff(medians)
    assert waits[3] / waits[2] == pytest.approx(1 + math.log(2) / math.log(1.5), rel=0.03)
    done = ends[steps[:, -1] < 650]
    np.testing.assert_allclose(jnp.abs(done), 4 * math.e, atol=1e-6)


@pytest.mark.slow  # compiled without optimisation, denormal numbers are not flushed to zero
def test_float32_underflow_holds_the_descent_for_ever(key):
    ends, steps = escape_steps(jnp.float32, 700, key)
    assert np.mean(steps[:, -1] < 700) < 0.05
    assert np.mean(ends[:, -1] == 0) > 0.9


def test_beyond_dimension_eight_one_point_of_each_kind_is_listed():
    facts = landscapes.octopus(dim=10).facts
    assert (len(facts.points), facts.num_minima, facts.num_critical_points) == (11, 1024, 2047)
