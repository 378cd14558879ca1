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
        (found.mean(lambda t: t**2), np.mean(exact**2)),
    ):
        assert 0 < error < 0.2 * abs(true)
        assert abs(estimate - true) < 4 * error
    share = found.share_negative()
    assert share.low < np.mean(exact < 0) < share.high < share.low + 0.15
    assert share.below == 0
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


def turned(exact, seed=0):
    """An operator with these eigenvalues along random directions."""
    basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(exact), len(exact))))
    matrix = jnp.asarray((basis * exact) @ basis.T)
    return product_of(lambda v: matrix @ v, len(exact))


NEGATIVE, POSITIVE = -np.geomspace(1e-7, 1, 28), np.geomspace(1e-2, 10, 72)
DRAWN = np.random.default_rng(0)
SPECTRA = {
    "many zeros": np.concatenate([NEGATIVE, np.zeros(200), POSITIVE]),
    "many nearly zero, of either sign": np.concatenate([NEGATIVE, 1e-9 * DRAWN.uniform(-1, 1, 200), POSITIVE]),
    "many nearly zero, all negative": np.concatenate([NEGATIVE, -1e-8 * DRAWN.uniform(size=200), POSITIVE]),
    "all scales": np.concatenate([-np.geomspace(1e-10, 1, 60), np.geomspace(1e-10, 10, 240)]),
    "dense": np.linalg.eigvalsh((lambda a: a + a.T)(DRAWN.normal(size=(300, 300)))),
    "one negative": np.concatenate([[-1.0], np.geomspace(0.1, 10, 299)]),
    "three values": np.repeat([-1.0, 0.0, 2.0], 100),
    "none negative": np.geomspace(0.1, 10, 300),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_the_share_below_a_level_lies_within_its_limits(key, name):
    exact, product = SPECTRA[name], turned(SPECTRA[name])
    misses = 0
    for repeat in range(8):
        found = density(product, jax.random.fold_in(key, repeat), num_vectors=8, num_steps=40)
        for share in (found.share_negative(), *(found.share_below(at) for at in (-0.3, -1e-5, 1e-5, 0.05))):
            misses += not share.low <= np.mean(exact < share.below) <= share.high
        # eigenvalues that rounding cannot tell from zero may be on either side
        share, unit = found.share_below(0.0), 1e-13 * np.abs(exact).max()
        misses += not share.low <= np.mean(exact < unit) or not np.mean(exact < -unit) <= share.high
    assert misses <= 4  # of 48 questions at 95 %, and the eight samples of a spectrum are few


def test_the_sign_of_what_crowds_at_zero_is_not_said_to_be_known(key):
    found = density(turned(SPECTRA["many zeros"]), key)
    at_zero, resolved = found.share_below(0.0), found.share_negative()
    assert at_zero.low < 28 / 300
    assert at_zero.high > 228 / 300
    assert -1 < resolved.below < -1e-6
    assert resolved.high - resolved.low < 0.12
    assert f"lie below {resolved.below:.3g}" in str(resolved)
    assert density(turned(SPECTRA["one negative"]), key).share_negative().below == 0


@pytest.mark.parametrize("num_steps", [2, 3, 10])
def test_a_process_that_is_exhausted_on_its_way_invents_nothing(key, num_steps):
    exact = np.repeat([-1.0, 2.0], [25, 75])
    found = density(product_of(lambda v: exact * v, 100), key, num_vectors=3, num_steps=num_steps)
    np.testing.assert_allclose(np.unique(found.nodes.round(12)), [-1, 2])
    np.testing.assert_allclose(found.mean(lambda t: t < 0), (0.25, 0), atol=1e-12)
    share = found.share_negative()
    assert share.low < 0.25 < share.high
    assert share.below == 0


def test_a_process_that_ends_early_and_one_that_is_not_finite(key):
    found = density(product_of(lambda v: 2 * v, 5), key, num_vectors=2, num_steps=9)
    np.testing.assert_allclose(found.trace(), (10.0, 0.0), atol=1e-12)
    assert found.share_below(3.0)[1] == 1
    assert found.share_below(1.0)[0] == 0
    unknown = density(product_of(lambda v: jnp.nan * v, 5), key, num_vectors=2, num_steps=3)
    assert np.isnan(unknown.trace()[0])
    assert unknown.share_below(0.0)[:2] == unknown.share_negative()[:2] == (0, 1)


def test_questions_that_cannot_be_meant_are_refused(key):
    product = product_of(lambda v: v, 5)
    with pytest.raises(jaxgd.InputValueError, match="`num_vectors` must be at least 2"):
        density(product, key, num_vectors=1)
    with pytest.raises(jaxgd.InputValueError, match="`confidence` must lie strictly between 0 and 1"):
        density(product, key, num_vectors=2, num_steps=2).share_negative(confidence=1.0)
    with pytest.raises(jaxgd.InputValueError, match="`width` must be positive"):
        density(product, key, num_vectors=2, num_steps=2).density(np.zeros(1), width=0.0)
