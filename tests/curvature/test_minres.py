"""Solutions of symmetric systems against scipy and the pseudo-inverse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.linalg

from jaxgd.curvature import minres

SOLVE = jax.jit(lambda matrix, b, norm: minres(lambda v: matrix @ v, b, tolerance=1e-10, max_products=400, norm=norm))


def system(num_zero):
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(40, 40)))
    exact = rng.normal(size=40)
    exact[:num_zero] = 0
    return (basis * exact) @ basis.T, rng.normal(size=40), basis


def solve(matrix, b):
    return SOLVE(jnp.asarray(matrix), jnp.asarray(b), jnp.asarray(np.linalg.norm(matrix, 2) / 3))


def test_an_indefinite_system_is_solved_as_scipy_solves_it():
    matrix, b, _ = system(0)
    found = solve(matrix, b)
    exact, _ = scipy.sparse.linalg.minres(matrix, b, rtol=1e-13)
    np.testing.assert_allclose(found.step, exact, atol=1e-6 * np.linalg.norm(exact))
    np.testing.assert_allclose(found.residual, np.linalg.norm(matrix @ found.step - b), atol=1e-12)
    assert found.residual <= 1e-9 * np.linalg.norm(b)


@pytest.mark.parametrize("num_zero", [5])
def test_of_a_singular_system_what_can_be_solved_is_solved_and_the_rest_left_over(num_zero):
    matrix, b, basis = system(num_zero)
    found = solve(matrix, b)
    exact = np.linalg.pinv(matrix, rcond=1e-10) @ b
    np.testing.assert_allclose(found.step, exact, atol=1e-5 * np.linalg.norm(exact))
    np.testing.assert_allclose(found.residual, np.linalg.norm(basis[:, :num_zero].T @ b), rtol=1e-6)


def test_a_right_hand_side_in_the_kernel_takes_no_step():
    matrix, _, basis = system(3)
    assert np.linalg.norm(solve(matrix, basis[:, 0]).step) == 0
    assert np.linalg.norm(solve(matrix, np.zeros(40)).step) == 0
