"""Spectra with known eigenvalues."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd.curvature import hessian, spectrum
from jaxgd.curvature.dense import orthonormal_rows


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("seed", range(4))
def test_error_bounds_hold_the_true_eigenvalues(seed, dtype):
    rng = np.random.default_rng(seed)
    exact = np.sort(rng.normal(size=30) * 10.0 ** rng.integers(-6, 3, size=30))
    basis, _ = np.linalg.qr(rng.normal(size=(30, 30)))
    matrix = jnp.asarray((basis * exact) @ basis.T, dtype)
    found = spectrum(matrix)
    rounding = np.finfo(dtype).eps * np.abs(exact).max() * 30  # of the matrix itself, when it was made
    assert np.all(np.abs(np.asarray(found.eigenvalues) - exact) <= np.asarray(found.error) + rounding)
    assert float(found.error.max()) < 1e3 * np.finfo(dtype).eps * np.abs(exact).max()


def test_symmetry_modes_are_set_aside_even_when_generators_depend():
    dim = 6
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    matrix = jnp.asarray((basis * np.array([0, 0, -1, 2, 3, 4.0])) @ basis.T)
    flat = basis[:, :2].T
    generators = jnp.asarray(np.stack([flat[0], flat[1], flat[0] + flat[1], 0 * flat[0]]))
    found = spectrum(matrix, orthonormal_rows(generators))
    assert found.num_symmetry_modes == 2
    np.testing.assert_allclose(found.eigenvalues[found.is_mode], [-1, 2, 3, 4], atol=1e-12)


def test_an_asymmetric_derivative_widens_the_bounds():
    matrix = jnp.asarray([[1.0, 0.5], [0.0, 1.0]])
    assert spectrum(matrix).error.min() >= 0.25


def test_hessian_is_jax_hessian():
    value = lambda x: jnp.sum(jnp.sin(x)) * x[0] ** 2
    x = jnp.asarray([0.3, -1.0, 2.0])
    np.testing.assert_allclose(hessian(jax.grad(value), x), jax.hessian(value)(x), rtol=1e-12)
