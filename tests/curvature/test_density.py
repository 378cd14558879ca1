"""Spread of spectra that are known, and whether the standard errors are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from jaxgd.curvature import density, product_of


def operator(seed=0, dim=60):
    rng = np.random.default_rng(seed)
    exact = np.concatenate([np.linspace(-1, -0.6, dim // 4), np.linspace(0.4, 2, dim - dim // 4 - 1), [9.0]])
    basis, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    matrix = jnp.asarray((basis * exact) @ basis.T)
    return product_of(lambda v: matrix @ v, dim), exact


def test_trace_share_below_zero_density_and_outliers_are_those_of_the_spectrum(key):
    product, exact = operator()
    found = density(product, key, num_vectors=20, num_steps=30)
    assert found.num_products == 600
    for (estimate, error), true in (
        (found.trace(), exact.sum()),
        (found.share_negative(), np.mean(exact < 0)),
        (found.mean(lambda t: t**2), np.mean(exact**2)),
    ):
        assert 0 < error < 0.2 * abs(true)
        assert abs(estimate - true) < 4 * error
    np.testing.assert_allclose(found.outliers(), [9.0], atol=1e-6)
    at = np.linspace(-3, 11, 1401)
    smooth, errors = found.density(at, width=0.3)
    blurred = np.exp(-((at[:, None] - exact) ** 2) / 0.18).mean(axis=1) / (0.3 * np.sqrt(2 * np.pi))
    assert np.max(np.abs(smooth - blurred) - 4.5 * errors) < 1e-3
    np.testing.assert_allclose(smooth.sum() * 0.01, 1, rtol=1e-3)


@pytest.mark.slow
def test_standard_errors_of_the_trace_are_calibrated(key):
    product, exact = operator()
    found = [density(product, jax.random.fold_in(key, i), num_vectors=12, num_steps=12).trace() for i in range(400)]
    z = np.array([(estimate - exact.sum()) / error for estimate, error in found])
    # Student's law with eleven degrees of freedom has variance 11 / 9
    assert abs(z.mean()) < 4 * z.std() / np.sqrt(400)
    assert 0.85 < z.var() / (11 / 9) < 1.2


def test_a_process_that_ends_early_and_one_that_is_not_finite(key):
    found = density(product_of(lambda v: 2 * v, 5), key, num_vectors=2, num_steps=9)
    np.testing.assert_allclose(found.trace(), (10.0, 0.0), atol=1e-12)
    assert found.share_negative(3.0)[0] == 1
    unknown = density(product_of(lambda v: jnp.nan * v, 5), key, num_vectors=2, num_steps=3)
    assert np.isnan(unknown.trace()[0])


def test_questions_that_cannot_be_meant_are_refused(key):
    product = product_of(lambda v: v, 5)
    with pytest.raises(jaxgd.InputValueError, match="`num_vectors` must be at least 2"):
        density(product, key, num_vectors=1)
    with pytest.raises(jaxgd.InputValueError, match="`width` must be positive"):
        density(product, key, num_vectors=2, num_steps=2).density(np.zeros(1), width=0.0)
