import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd import landscapes
from jaxgd.base import InputValueError


def test_rank_one_saddles_have_the_derived_spectrum(eigenvalues):
    spectrum = np.array([1.0, 4.0, 2.5])
    landscape = landscapes.rank_one_factorisation(eigenvalues=tuple(spectrum))
    for index, (point, each) in enumerate(zip(landscape.facts.points, sorted(spectrum)[::-1], strict=False)):
        expected = np.sort([*(each - spectrum[spectrum != each]), 2 * each])
        np.testing.assert_allclose(eigenvalues(landscape, jnp.asarray(point.params)), expected, atol=1e-12)
        assert point.index == index
    assert landscape.facts.points[-1].index == 3


def test_rank_one_value_is_the_frobenius_distance(key):
    landscape = landscapes.rank_one_factorisation(eigenvalues=(3, 2, 1))
    u = landscape.sample(key)
    distance = jnp.sum((jnp.outer(u, u) - jnp.diag(jnp.array([3.0, 2.0, 1.0]))) ** 2) / 4
    np.testing.assert_allclose(landscape.value(u), distance, rtol=1e-12)
    flipped = u * jnp.array([-1.0, 1.0, -1.0])
    np.testing.assert_allclose(landscape.value(flipped), landscape.value(u), rtol=1e-14)
    np.testing.assert_array_equal(landscape.symmetry.invariants(flipped), landscape.symmetry.invariants(u))


@pytest.mark.parametrize("bad", [(1.0, 1.0), (1.0, -1.0), (0.0,)])
def test_rank_one_refuses_eigenvalues_without_a_ladder(bad):
    with pytest.raises(InputValueError, match="`eigenvalues` must be positive and distinct"):
        landscapes.rank_one_factorisation(eigenvalues=bad)


def test_deep_linear_origin_loses_its_curvature_from_depth_three(eigenvalues):
    np.testing.assert_allclose(eigenvalues(landscapes.deep_linear(depth=2), jnp.zeros(2)), [-1, 1])
    for depth in (3, 4, 6):
        np.testing.assert_allclose(eigenvalues(landscapes.deep_linear(depth=depth), jnp.zeros(depth)), 0)


@pytest.mark.slow
def test_deep_linear_rescalings_are_the_zero_modes_of_a_minimum(key):
    landscape = landscapes.deep_linear(depth=4)
    weights = jnp.array([2.0, -0.5, -1.0, 1.0])
    hessian = jax.hessian(landscape.value)(weights)
    motions = landscape.symmetry.generators(weights)
    assert np.linalg.matrix_rank(motions) == 3
    np.testing.assert_allclose(motions @ hessian, 0, atol=1e-12)
    assert np.sum(np.abs(np.linalg.eigvalsh(hessian)) < 1e-12) == 3
    moved = weights * jnp.array([3.0, 1 / 3, 1.0, 1.0])
    np.testing.assert_allclose(landscape.symmetry.invariants(moved), landscape.symmetry.invariants(weights))
