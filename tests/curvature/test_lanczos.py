"""Ends of spectra that are known, and how often what is claimed of them is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from jaxgd.curvature import Product, lanczos, least_curvature, missed_probability, num_steps_for, product_of

MATRICES = jax.jit(lambda operand, vectors: jnp.einsum("lij,lj->li", operand, vectors))
DIAGONALS = lambda operand, vectors: operand * vectors


def reflected(operand, vectors):
    """Two reflections around a diagonal: any spectrum, vectors without structure, products of linear cost."""
    diagonal, normals = operand
    for normal in (normals[:, 0], normals[:, 1]):
        vectors = vectors - 2 * jnp.sum(normal * vectors, axis=1, keepdims=True) * normal
    vectors = diagonal * vectors
    for normal in (normals[:, 1], normals[:, 0]):
        vectors = vectors - 2 * jnp.sum(normal * vectors, axis=1, keepdims=True) * normal
    return vectors


def many(apply, operand, dtype=jnp.float64):
    leaf = jax.tree.leaves(operand)[0]
    return Product(apply=apply, operand=operand, num_lanes=leaf.shape[0], dim=leaf.shape[-1], dtype=dtype)


def goe(rng, count, dim, shift=0.0):
    drawn = rng.normal(size=(count, dim, dim))
    return (drawn + drawn.transpose(0, 2, 1)) / np.sqrt(8 * dim) + shift * np.eye(dim)


def spiked(rng, count, dim):
    """A semicircle from 0.2 to 2.2 and up to nine spikes below zero, in random directions."""
    num_spikes = rng.integers(0, 10, size=count)
    bulk = np.cos(np.pi * (np.arange(dim) + 0.5) / dim) + 1.2
    diagonal = np.tile(bulk, (count, 1))
    spikes = -rng.uniform(0.3, 3.0, size=(count, 10))
    diagonal[:, :10] = np.where(np.arange(10) < num_spikes[:, None], spikes, diagonal[:, :10])
    normals = rng.normal(size=(count, 2, dim))
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    return many(reflected, (jnp.asarray(diagonal), jnp.asarray(normals))), num_spikes


def test_intervals_hold_eigenvalues_and_the_index_is_at_least_what_is_counted(key):
    matrices = goe(np.random.default_rng(0), 3, 90, shift=0.7)
    exact = np.linalg.eigvalsh(matrices)
    for dtype in (jnp.float32, jnp.float64):
        found = lanczos(many(MATRICES, jnp.asarray(matrices, dtype), dtype), key, num_products=40)
        assert found.values.shape == (3, 40)
        distance = np.min(np.abs(found.values[:, :, None] - exact[:, None, :]), axis=2)
        assert np.all(distance <= found.residuals + found.error[:, None])
        np.testing.assert_array_less(0, found.num_negative())
        assert np.all(found.num_negative() <= (exact < 0).sum(axis=1))
        assert np.all(found.num_positive() <= (exact > 0).sum(axis=1))
        assert np.all(found.error < 50 * np.finfo(dtype).eps * np.sqrt(90))
        vectors = np.asarray(found.vectors(np.tile(np.arange(2), (3, 1))))
        image = np.einsum("lij,lmj->lmi", matrices, vectors)
        residual = np.linalg.norm(image - found.values[:, :2, None] * vectors, axis=2)
        np.testing.assert_allclose(residual, found.residuals[:, :2], atol=4 * found.error.max())


def test_all_products_give_all_eigenvalues_and_no_doubt(key):
    matrix = goe(np.random.default_rng(1), 1, 90)
    found = lanczos(many(MATRICES, jnp.asarray(matrix)), key, num_products=1000)
    np.testing.assert_allclose(found.values, np.linalg.eigvalsh(matrix), atol=1e-12)
    assert found.num_negative() == (np.linalg.eigvalsh(matrix) < 0).sum()
    assert found.missed_probability(-min(found.values[0, 0], 0) + 1e-9) == 0


def test_restarts_find_the_same_ends_in_little_memory(key):
    matrix = goe(np.random.default_rng(2), 1, 90)
    product = many(MATRICES, jnp.asarray(matrix))
    found = lanczos(product, key, num_products=89, max_bytes=0)
    assert found.num_krylov == 48 < found.num_products
    exact = np.linalg.eigvalsh(matrix)[0]
    np.testing.assert_allclose(found.values[0, :3], exact[:3], atol=1e-6)
    np.testing.assert_allclose(found.values[0, -1:], exact[-1:], atol=1e-6)
    assert found.num_negative()[0] <= (exact < 0).sum()
    assert found.error[0] < 1e-12


@pytest.mark.slow
def test_rows_stay_orthonormal_long_after_ritz_values_have_converged(key):
    diagonal = jnp.linspace(0.5, 20.0, 700).at[0].set(-1.0).at[1].set(-0.3)
    found = lanczos(many(DIAGONALS, diagonal[None]), key, num_products=300)
    assert found.num_negative()[0] == 2
    assert found.error[0] < 1e-11
    np.testing.assert_allclose(found.values[0, :2], [-1.0, -0.3], atol=1e-11)


def test_multiple_eigenvalues_are_counted_one_by_one(key):
    found = lanczos(many(DIAGONALS, -jnp.ones((1, 90))), key, num_products=7)
    np.testing.assert_allclose(found.values, -1, atol=1e-12)
    assert found.num_negative()[0] == 7


def test_zero_modes_are_left_out(key):
    diagonal = jnp.linspace(1.0, 2.0, 90).at[:3].set(jnp.asarray([0.0, 0.0, -1.0]))
    modes = jnp.eye(90)[None, :2]
    found = lanczos(many(DIAGONALS, diagonal[None]), key, num_products=90, zero_modes=modes)
    assert found.dim[0] == found.num_products == 88
    np.testing.assert_allclose(found.values[0, :2], [-1.0, diagonal[3]], atol=1e-12)


def test_zero_modes_do_not_come_back_when_an_invariant_subspace_ends(key):
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(90, 90)))
    exact = np.repeat([0.0, 57.0, 114.0, 228.0], [6, 30, 30, 24])
    matrix = jnp.asarray((basis * exact) @ basis.T)
    modes = jnp.asarray(basis[:, :6].T)[None]
    found = lanczos(many(MATRICES, matrix[None]), key, num_products=84, zero_modes=modes)
    np.testing.assert_allclose(found.values[0], exact[6:], atol=1e-9)


def test_an_asymmetric_operator_is_measured_and_widens_the_bounds(key):
    product = product_of(lambda v: jnp.asarray([[1.0, 0.5], [0.0, 1.0]]) @ v, 2)
    found = lanczos(product, key, num_products=2)
    np.testing.assert_allclose(found.asymmetry, np.sqrt(2) / 4)
    assert found.error[0] > 0.5


@pytest.mark.slow
def test_what_is_not_finite_is_not_known_and_leaves_the_others_alone(key):
    operand = jnp.stack([jnp.full(90, jnp.nan), -jnp.ones(90), jnp.zeros(90)])
    found = lanczos(many(DIAGONALS, operand), key, num_products=3)
    assert np.all(np.isnan(found.values[0]))
    np.testing.assert_array_equal(found.num_negative(), [0, 3, 0])
    np.testing.assert_array_equal(found.missed_probability(0.5)[0], 1)
    np.testing.assert_allclose(found.values[2], 0, atol=1e-12)


def test_a_process_ends_when_enough_is_known(key):
    product = many(DIAGONALS, jnp.linspace(-1.0, 1.0, 90)[None])
    assert lanczos(product, key, num_products=90, until=lambda found: found.num_products >= 10).num_products == 16


def test_the_doubt_shrinks_with_products_and_is_the_published_formula():
    # e such that lowest - e S / (1 - 2e) = -depth, put into 2 * 1.648 sqrt(n) exp(-(2k - 1) sqrt(e))
    e = 0.02
    depth = e * 10 / (1 - 2 * e) - 0.1
    found = missed_probability(0.1, 10.0, depth, 10_000, 50)
    np.testing.assert_allclose(found, 2 * 1.648 * 100 * np.exp(-99 * np.sqrt(e)), rtol=1e-12)
    np.testing.assert_allclose(least_curvature(0.1, 10.0, float(found), 10_000, 50), -depth, rtol=1e-9)
    assert missed_probability(0.1, 10.0, depth, 10_000, 60) < found
    assert missed_probability(-0.1, 10.0, 0.05, 10_000, 50) == 1
    assert least_curvature(0.1, 10.0, 1e-3, 10_000, 3) == -np.inf
    steps = num_steps_for(0.01, 1e-3, 10_000)
    assert -least_curvature(0.0, 1.0, 1e-3, 10_000, steps) <= 0.01 < -least_curvature(0.0, 1.0, 1e-3, 10_000, steps - 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: lanczos(p, jax.random.key(0), num_products=0), "`num_products` must be an integer"),
        (lambda p: missed_probability(0.1, 1.0, -0.5, 10, 5), "`depth` must not be negative"),
        (lambda p: least_curvature(0.1, 1.0, 1.5, 10, 5), "`probability` must lie in"),
    ],
)
def test_questions_that_cannot_be_meant_are_refused(call, message):
    with pytest.raises(jaxgd.InputValueError, match=message):
        call(product_of(lambda v: v, 3))


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "count", "parts"), [(150, 100, 10), (1_000, 20, 50)])
def test_index_bounds_are_right_in_1000_of_1000_gaussian_matrices(key, dim, count, parts):
    rng = np.random.default_rng(0)
    for part in range(parts):
        matrices = goe(rng, count, dim, shift=0.5)
        index = (np.linalg.eigvalsh(matrices) < 0).sum(axis=1)
        product = many(MATRICES, jnp.asarray(matrices))
        found = lanczos(product, jax.random.fold_in(key, part), num_products=30)
        assert np.all(found.num_negative() <= index)
        assert np.all(found.num_negative() >= 1)
        assert np.all(found.num_positive() <= dim - index)


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "count", "parts"), [(1_000, 250, 4), (10_000, 25, 40)])
def test_index_bounds_are_right_in_every_spiked_matrix_and_find_all_spikes(key, dim, count, parts):
    rng = np.random.default_rng(dim)
    for part in range(parts):
        product, index = spiked(rng, count, dim)
        found = lanczos(product, jax.random.fold_in(key, part), num_products=60)
        assert np.all(found.num_negative() <= index)
        assert np.mean(found.num_negative() == index) > 0.99
        assert np.all(found.missed_probability(3.5) < 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "spectrum",
    [
        np.r_[-0.05, np.linspace(0.0, 1.0, 199)],
        np.r_[-0.3, np.ones(199)],
        -np.cos(np.pi * np.arange(200) / 199),
        np.linspace(-0.1, 1.0, 200) ** 3,
    ],
    ids=["spike", "alone", "chebyshev", "cubic"],
)
def test_curvature_is_missed_no_more_often_than_is_stated(key, spectrum):
    num_starts = 4_000
    product = many(DIAGONALS, jnp.tile(jnp.asarray(spectrum), (num_starts // 4, 1)))
    misses = {(num, p): 0 for num in (6, 12, 24) for p in (0.01, 0.1, 0.5)}
    values = {(num, p): 0 for num in (6, 12, 24) for p in (0.01, 0.1, 0.5)}
    depth = 0.999 * -spectrum.min()
    for part in range(4):
        for num in (6, 12, 24):
            found = lanczos(product, jax.random.fold_in(key, part), num_products=num)
            for p in (0.01, 0.1, 0.5):
                misses[num, p] += np.sum(spectrum.min() < found.least_curvature(p))
                values[num, p] += np.sum(found.missed_probability(depth) <= p)
    for (_, p), count in (*misses.items(), *values.items()):
        assert count / num_starts <= p + 3 * np.sqrt(p * (1 - p) / num_starts)
