"""The descents against theory, scipy, and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize

from jaxgd.transforms import (
    barzilai_borwein,
    fire,
    heavy_ball,
    lbfgs,
    nesterov_restart,
    nonlinear_cg,
    scale_by_root_mean_square,
)


def rosenbrock(x):
    return jnp.sum((1 - x[:-1]) ** 2 + 100 * (x[1:] - x[:-1] ** 2) ** 2)


def path(optimizer, value_fn, start, num_steps):
    """Returns the points, values and gradients of `num_steps` ticks."""

    def step(carry, _):
        x, state = carry
        value, grad = jax.value_and_grad(value_fn)(x)
        move, state = optimizer.update(grad, state, x, value=value)
        return (x + move, state), (x, value, grad)

    start = jnp.asarray(start)
    return jax.jit(lambda: jax.lax.scan(step, (start, optimizer.init(start)), length=num_steps)[1])()


def ticks_to(gradient_norm, optimizer, value_fn, start, num_steps):
    norms = np.linalg.norm(path(optimizer, value_fn, start, num_steps)[2], axis=1)
    assert norms[-1] <= gradient_norm
    return int(np.argmax(norms <= gradient_norm))


def test_heavy_ball_matches_companion_matrix_power():
    rate, momentum, num_steps = 0.3, 0.8, 60
    curvature = np.array([2.0, 0.1, -0.05])
    x = path(heavy_ball(rate, momentum), lambda x: jnp.sum(jnp.asarray(curvature) * x**2) / 2, np.ones(3), 61)[0]
    for a, coordinate in zip(curvature, x.T, strict=True):
        companion = np.array([[1 + momentum - rate * a, -momentum], [1.0, 0.0]])
        expected = (np.linalg.matrix_power(companion, num_steps) @ np.ones(2))[0]
        np.testing.assert_allclose(coordinate[num_steps], expected, rtol=1e-9, atol=1e-13)


def test_heavy_ball_at_constant_rate_is_optax_sgd_with_momentum():
    ours, theirs = (path(o, rosenbrock, [-1.2, 1.0], 50)[0] for o in (heavy_ball(1e-3, 0.9), optax.sgd(1e-3, 0.9)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_fire_reaches_the_end_of_rosenbrocks_valley():
    assert ticks_to(1e-8, fire(0.01, 0.05, 0.1), rosenbrock, [-1.2, 1.0], 2500) > 100


def test_fire_never_moves_further_than_its_cap():
    x = path(fire(0.1, 1.0, 0.05), rosenbrock, [-1.2, 1.0], 200)[0]
    assert np.max(np.linalg.norm(np.diff(x, axis=0), axis=1)) <= 0.05 * (1 + 1e-12)


@pytest.mark.parametrize("dim", [2, 10])
def test_lbfgs_needs_no_more_evaluations_than_scipy_with_its_line_search(dim):
    start = np.tile([-1.2, 1.0], dim // 2)
    fun = jax.jit(jax.value_and_grad(rosenbrock))
    result = scipy.optimize.minimize(
        lambda x: tuple(map(np.asarray, fun(x))),
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxcor": 6, "gtol": 1e-8, "ftol": 0.0},
    )
    ticks = ticks_to(1e-8, lbfgs(6), rosenbrock, start, 300)
    assert ticks <= 2 * result.nfev


@pytest.mark.parametrize("length", [10.0, 2.5, 1.8])
def test_lbfgs_takes_back_a_step_that_raises_the_value_and_tries_the_minimum_of_a_cubic(length):
    fun = jax.value_and_grad(lambda x: jnp.sum(x**3 / 3 - x))  # from 0 downhill to 1
    optimizer, x = lbfgs(2, max_first_step=length, initial_scale=length), jnp.zeros(1)
    value, grad = fun(x)
    move, state = optimizer.update(grad, optimizer.init(x), x, value=value)
    np.testing.assert_allclose(move, [length])
    x = x + move
    value, grad = fun(x)
    move, state = optimizer.update(grad, state, x, value=value)
    np.testing.assert_allclose(x + move, [min(1.0, length / 2)])  # no shorter than a tenth, no longer than a half
    assert float(state.value) == 0
    x = x + move
    value, grad = fun(x)
    _, state = optimizer.update(grad, state, x, value=value)
    assert float(state.value) == float(value)


def test_lbfgs_tries_the_least_factor_where_the_cubic_overflows():
    optimizer, x = lbfgs(2, shrink=0.2), jnp.zeros(1)
    move, state = optimizer.update(-jnp.ones(1), optimizer.init(x), x, value=0.0)
    back, _ = optimizer.update(jnp.full(1, 1e200), state, x + move, value=1e250)
    np.testing.assert_allclose(x + move + back, 0.2 * move)


def test_lbfgs_accepts_a_rise_within_rounding_or_within_max_rise_only():
    for unit, max_rise, rise, is_accepted in (
        (1.0, 0.0, 1e-15, True),
        (1.0, 0.0, 1e-6, False),
        (1.0, 1e-4, 1e-6, True),
        (1e-21, 0.0, 1e-15, True),
        (1e-21, 0.0, 1e-6, False),
    ):
        optimizer, x = lbfgs(max_rise=max_rise), jnp.ones(1)
        move, state = optimizer.update(x, optimizer.init(x), x, value=unit)
        _, state = optimizer.update(x / 2, state, x + move, value=unit * (1.0 + rise))
        assert (float(state.value) > unit) == is_accepted


def test_lbfgs_never_moves_further_than_its_cap():
    x = path(lbfgs(4, 0.1), rosenbrock, [-1.2, 1.0], 100)[0]
    assert np.max(np.linalg.norm(np.diff(x, axis=0), axis=1)) <= 0.1 * (1 + 1e-12)


def test_lbfgs_in_float32_converges_to_float32_accuracy():
    start = np.asarray([-1.2, 1.0], np.float32)
    assert ticks_to(1e-3, lbfgs(), rosenbrock, start, 150) < 150


def test_lbfgs_leaves_a_saddle_faster_than_gradient_descent_could():
    saddle = lambda x: (x[0] ** 2 - 1e-3 * x[1] ** 2) / 2 + x[1] ** 4 / 4
    x, *_ = path(lbfgs(), saddle, [1.0, 1e-6], 60)
    np.testing.assert_allclose(np.abs(x[-1]), [0, np.sqrt(1e-3)], atol=1e-8)  # descent: over 3,000 steps


def test_nonlinear_cg_on_a_quadratic_ends_each_line_where_linear_cg_does():
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    matrix, x = basis * [1.0, 3.0, 10.0, 30.0, 100.0] @ basis.T, rng.normal(size=5)
    quadratic = lambda x: x @ jnp.asarray(matrix) @ x / 2
    seen = np.asarray(path(nonlinear_cg(1e-2, slope_fraction=1e-6), quadratic, x, 11)[0])
    residual = direction = -matrix @ x
    for line in range(5):
        alpha = residual @ residual / (direction @ matrix @ direction)
        x, old = x + alpha * direction, residual
        residual = residual - alpha * matrix @ direction
        direction = residual + residual @ residual / (old @ old) * direction
        np.testing.assert_allclose(seen[2 * line + 2], x, atol=1e-7)
    assert np.linalg.norm(seen[-1]) < 1e-7


def test_nonlinear_cg_needs_no_more_evaluations_than_twice_scipys():
    start = np.tile([-1.2, 1.0], 2)
    fun = jax.jit(jax.value_and_grad(rosenbrock))
    result = scipy.optimize.minimize(
        lambda x: tuple(map(np.asarray, fun(x))), start, jac=True, method="CG", options={"gtol": 1e-6}
    )
    assert ticks_to(1e-6, nonlinear_cg(), rosenbrock, start, 600) <= 2 * result.nfev


def test_barzilai_borwein_is_much_faster_than_the_best_fixed_step():
    curvature = np.geomspace(1, 1e3, 10)
    quadratic = lambda x: jnp.sum(jnp.asarray(curvature) * x**2) / 2
    for form in ("short", "long"):
        ticks = ticks_to(1e-8, barzilai_borwein(1e-3, form=form), quadratic, np.ones(10), 1000)
        assert 10 * ticks < np.log(1e-11) / np.log((1e3 - 1) / (1e3 + 1))


@pytest.mark.parametrize("restart", ["gradient", "function"])
def test_nesterov_with_restart_is_linear_where_without_it_is_not(restart):
    quadratic = lambda x: jnp.sum(jnp.array([1e-3, 1.0]) * x**2) / 2
    left = lambda restart: float(
        jnp.linalg.norm(path(nesterov_restart(1.0, restart=restart), quadratic, np.ones(2), 1200)[0][-1])
    )
    assert left(restart) < 1e-6 < 1e-3 < left("none")


def test_root_mean_square_reaches_the_published_iterate():
    optimizer = optax.chain(scale_by_root_mean_square(), optax.scale(-0.1))
    x = path(optimizer, lambda x: jnp.sum(x**2) / 2, np.ones(1), 101)[0][:, 0]
    np.testing.assert_allclose(x[10], 0.2618, atol=5e-5)
    np.testing.assert_allclose(x[100], 8.5e-18, rtol=0.01)


def test_root_mean_square_equals_adagrad_with_a_rate_that_falls_like_one_over_root_t():
    rate = lambda step: 0.1 / jnp.sqrt(1.0 + step.astype(jnp.float64))
    ours = optax.chain(scale_by_root_mean_square(0.0), optax.scale_by_schedule(rate), optax.scale(-1.0))
    theirs = optax.chain(optax.scale_by_rss(0.0, 0.0), optax.scale(-0.1))
    points = [path(o, rosenbrock, [-1.2, 1.0], 40)[0] for o in (ours, theirs)]
    np.testing.assert_allclose(*points, rtol=1e-6)
