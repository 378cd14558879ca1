"""Second-order steps against exact solutions of their models, and scipy."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jaxgd.transforms import cubic_newton, saddle_free_newton, trust_region_newton
from jaxgd.transforms.krylov import begin_lanczos, extend_lanczos, lanczos_row, ritz


def random_hessian(eigenvalues, seed=0):
    basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(eigenvalues),) * 2))
    return basis * eigenvalues @ basis.T, basis


def first_move(optimizer, hessian, grad):
    hessian, grad = jnp.asarray(hessian), jnp.asarray(grad)
    move, state = optimizer.update(grad, optimizer.init(grad), grad, value=0.0, hvp=lambda v: hessian @ v)
    return np.asarray(move), state


def test_saddle_free_newton_sends_stable_coordinates_to_zero_and_doubles_unstable_ones():
    eigenvalues = np.array([5.0, 1.0, 0.01, -0.02, -1.0, -7.0])
    hessian, basis = random_hessian(eigenvalues)
    x = basis @ np.arange(1.0, 7.0)
    move, state = first_move(saddle_free_newton(), hessian, hessian @ x)
    np.testing.assert_allclose(basis.T @ (x + move), [0, 0, 0, 8, 10, 12], atol=1e-10)
    assert int(state.num_hvps) == 6


def test_the_krylov_form_is_exact_on_the_invariant_subspace_of_the_gradient():
    eigenvalues = np.concatenate([[2.0, -0.3, 9.0], np.linspace(0.5, 5, 197)])
    hessian, basis = random_hessian(eigenvalues)
    x = basis[:, :3] @ [1.0, 1.0, 1.0]
    move, state = first_move(saddle_free_newton(num_vectors=5), hessian, hessian @ x)
    np.testing.assert_allclose(basis.T @ (x + move), np.concatenate([[0, 2, 0], np.zeros(197)]), atol=1e-9)
    assert int(state.num_hvps) == 5


def test_saddle_free_newton_caps_its_step_and_raises_small_curvatures():
    move, _ = first_move(saddle_free_newton(min_curvature=0.5), np.diag([0.0, 1.0]), [1.0, 1.0])
    np.testing.assert_allclose(move, [-2.0, -1.0])
    move, _ = first_move(saddle_free_newton(max_step=0.1), np.diag([3.0, 4.0]), [9.0, 16.0])
    np.testing.assert_allclose(move, [-0.06, -0.08])


@pytest.mark.parametrize("lipschitz", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e4])
def test_cubic_newton_satisfies_its_optimality_conditions(lipschitz, size):
    hessian, _ = random_hessian(np.array([4.0, 1.0, -0.5, -2.0]))
    grad = size * np.array([1.0, -1.0, 2.0, 0.5])
    step, _ = first_move(cubic_newton(lipschitz), hessian, grad)
    shift = lipschitz / 2 * np.linalg.norm(step)
    residual = grad + hessian @ step + shift * step
    assert np.linalg.norm(residual) < 1e-9 * (np.linalg.norm(grad) + shift * np.linalg.norm(step))
    assert np.linalg.eigvalsh(hessian)[0] + shift > -1e-9


def test_cubic_newton_leaves_a_saddle_to_which_the_gradient_is_blind():
    """The hard case: no gradient along the negative direction."""
    step, _ = first_move(cubic_newton(2.0), np.diag([1.0, -1.0]), [0.2, 0.0])
    np.testing.assert_allclose(np.linalg.norm(step), 1.0, rtol=1e-6)  # M |s| / 2 = 1
    np.testing.assert_allclose(step[0], -0.1, rtol=1e-6)


def test_cubic_newton_is_newton_where_the_step_is_small():
    hessian, _ = random_hessian(np.array([4.0, 1.0, 0.5]))
    grad = 1e-9 * np.array([1.0, 2.0, 3.0])
    step, _ = first_move(cubic_newton(1.0), hessian, grad)
    np.testing.assert_allclose(step, -np.linalg.solve(hessian, grad), rtol=1e-6)


def test_trust_region_newton_makes_the_iterates_of_scipy():
    fun = lambda x: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    grad_fn, value_fn = jax.jit(jax.grad(fun)), jax.jit(fun)
    hess_fn = jax.jit(jax.hessian(fun))
    expected = [np.array([-1.2, 1.0])]
    scipy.optimize.minimize(
        lambda x: float(value_fn(x)),
        expected[0],
        jac=lambda x: np.asarray(grad_fn(x)),
        hess=lambda x: np.asarray(hess_fn(x)),
        method="trust-ncg",
        callback=lambda x: expected.append(x.copy()),
        options={"initial_trust_radius": 1.0, "max_trust_radius": 1000.0, "gtol": 1e-8},
    )
    kept = [expected[0]]
    kept += [x for before, x in pairwise(expected) if np.any(x != before)]
    optimizer = trust_region_newton(max_products=4)

    @jax.jit
    def step(x, state):
        grad, hvp = jax.linearize(jax.grad(fun), x)
        return optimizer.update(grad, state, x, value=fun(x), hvp=hvp)

    x, seen = jnp.asarray(kept[0]), []
    state = optimizer.init(x)
    for _ in range(80):
        move, state = step(x, state)
        if np.isfinite(state.value):  # the point was kept
            seen.append(np.asarray(x))
        x = x + move
    # A step taken back returns to its point up to rounding.
    distinct = seen[:1] + [x for before, x in pairwise(seen) if np.linalg.norm(x - before) > 1e-13]
    number = len(kept) - 1
    np.testing.assert_allclose(distinct[:number], kept[:number], rtol=1e-6, atol=1e-9)


def test_trust_region_newton_follows_negative_curvature_to_its_boundary():
    move, state = first_move(trust_region_newton(0.3, max_products=4), np.diag([1.0, -1.0]), [1e-3, 1e-3])
    np.testing.assert_allclose(np.linalg.norm(move), 0.3)
    assert bool(state.is_at_boundary)


@pytest.mark.slow
def test_lanczos_with_all_vectors_has_the_whole_spectrum_and_an_early_end_does_no_harm():
    for eigenvalues, start in (
        (np.linspace(-1, 2, 7), np.ones(7)),
        (np.array([1.0, 2.0, 3.0]), [1.0, 0.0, 1.0]),
    ):

        def spectrum(start, eigenvalues):
            extend = lambda step, state: extend_lanczos(state, step, eigenvalues * lanczos_row(state, step))
            return ritz(jax.lax.fori_loop(0, len(start), extend, begin_lanczos(start, len(start))))

        values, vectors = spectrum(jnp.asarray(start), jnp.asarray(eigenvalues))
        is_real = np.linalg.norm(vectors, axis=1) > 0.5
        assert np.all(np.diff(is_real.astype(int)) <= 0)  # those of no direction come last
        np.testing.assert_allclose(values[is_real], eigenvalues[np.asarray(start) != 0], atol=1e-12)
