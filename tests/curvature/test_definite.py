"""The lowest eigenvalue of definite matrices, beside NumPy's whole spectrum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd.curvature.definite import about_inverse, lowest_of_definite


def definite_matrices(dim, number):
    draw = np.random.default_rng(dim)
    vectors = np.linalg.qr(draw.standard_normal((number, dim, dim)))[0]
    eigenvalues = np.sort(10 ** draw.uniform(-2, 2, (number, dim)), axis=1)
    eigenvalues[::3, : dim // 3] = eigenvalues[::3, :1]  # every third with a multiple lowest one
    matrices = np.einsum("nij,nj,nkj->nik", vectors, eigenvalues, vectors)
    return (matrices + np.swapaxes(matrices, 1, 2)) / 2 / eigenvalues[:, -1:, None]


@pytest.mark.parametrize("dim", [1, 2, 7, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_lowest_eigenvalue_lies_within_its_error_and_the_floor_below_it(dim, dtype):
    matrices = definite_matrices(dim, 60).astype(dtype)

    def find(matrix):
        inverse = about_inverse(matrix)
        return inverse, lowest_of_definite(matrix, inverse, lambda vector: vector)

    inverses, found = jax.tree.map(np.asarray, jax.jit(jax.vmap(find))(matrices))
    eps, norms = np.finfo(dtype).eps, np.linalg.norm(matrices.astype(float), axis=(1, 2))
    lowest = np.linalg.eigvalsh(matrices.astype(float))[:, 0]
    leeway = dim * eps * norms
    assert np.all(np.abs(matrices @ inverses - np.eye(dim)).max(axis=(1, 2)) <= 100 * leeway / lowest)
    assert np.all(found.eigenvalue >= lowest - leeway)
    assert np.all(found.eigenvalue - found.error <= lowest + leeway)
    assert np.all(found.floor <= found.eigenvalue)
    assert np.all(found.floor >= found.eigenvalue - found.error)
    if dtype == np.float64:
        assert np.median(found.error / found.eigenvalue) < 2e-6
        assert np.all(found.floor < lowest)
        np.linalg.cholesky(matrices - found.floor[:, None, None] * np.eye(dim))  # raises where there is none


def test_what_is_not_asked_about_is_left_out():
    matrix = jnp.diag(jnp.array([0.1, 0.2, 0.5, 0.9]))
    across = lambda vector: vector.at[0].set(0.0)
    found = lowest_of_definite(matrix, about_inverse(matrix.at[0, 0].set(1.0)), across)
    np.testing.assert_allclose(found.eigenvalue, 0.2, rtol=1e-6)
    np.testing.assert_allclose(np.abs(found.vector), [0, 1, 0, 0], atol=1e-6)
