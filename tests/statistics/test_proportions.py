import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import binom, binomtest

from jaxgd.base import InputTypeError, InputValueError
from jaxgd.statistics import proportion_interval, simultaneous_intervals, weighted_shares

REPEATS = 4000
FOUR_ERRORS = 4 * np.sqrt(0.05 * 0.95 / REPEATS)  # 0.014


@pytest.mark.parametrize("method", ["exact", "wilson"])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_proportion_interval_agrees_with_scipy(method, confidence):
    hits, trials = np.array([0, 1, 7, 19, 20, 500]), np.array([20, 20, 20, 20, 20, 100_000])
    low, high = proportion_interval(hits, trials, confidence, method)
    for i in range(len(hits)):
        expected = binomtest(int(hits[i]), int(trials[i])).proportion_ci(confidence, method)
        np.testing.assert_allclose((low[i], high[i]), expected, atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 300), st.integers(0, 300), st.floats(0.5, 0.999))
def test_proportion_interval_holds_the_share_and_mirrors(hits, misses, confidence):
    low, high = proportion_interval(hits, hits + misses, confidence)
    mirrored_low, mirrored_high = proportion_interval(misses, hits + misses, confidence)
    assert 0 <= low <= hits / max(hits + misses, 1) <= high <= 1 or hits + misses == 0
    np.testing.assert_allclose((low, high), (1 - mirrored_high, 1 - mirrored_low), atol=1e-9)


def test_no_trial_says_nothing():
    for method in ("exact", "wilson"):
        low, high = proportion_interval(0, 0, method=method)
        assert (low, high) == (0, 1)


def test_exact_intervals_cover_at_every_share_and_wilson_on_average():
    """Coverage is summed over the binomial law: no Monte Carlo error."""
    for trials in (5, 30, 200):
        hits, shares = np.arange(trials + 1), np.linspace(0.001, 0.999, 333)
        weight = binom.pmf(hits, trials, shares[:, None])
        coverage = {}
        for method in ("exact", "wilson"):
            low, high = proportion_interval(hits, trials, 0.95, method)
            inside = (low <= shares[:, None]) & (shares[:, None] <= high)
            coverage[method] = np.sum(weight * inside, axis=1)
        assert coverage["exact"].min() >= 0.95 - 1e-12
        assert abs(coverage["wilson"].mean() - 0.95) < 0.01


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("few", np.array([0.7, 0.299, 0.001])),
        pytest.param("equal", np.full(10, 0.1), marks=pytest.mark.slow),
        pytest.param("geometric", 0.5 ** np.arange(1, 40), marks=pytest.mark.slow),
        pytest.param("nearly all unseen", np.full(20_000, 1 / 20_000), marks=pytest.mark.slow),
    ],
)
def test_simultaneous_intervals_hold_for_all_classes_at_once(name, weights):
    rng, trials, repeats = np.random.default_rng(0), 300, 2000
    weights = weights / weights.sum()
    edges, covered = np.cumsum(weights)[:-1], 0
    for _ in range(repeats):
        hits = np.bincount(np.searchsorted(edges, rng.random(trials)), minlength=len(weights))
        found = hits > 0
        low, high = simultaneous_intervals(np.append(hits[found], 0), trials)
        largest_unseen = np.max(weights[~found], initial=0.0)
        inside = (low[:-1] <= weights[found]) & (weights[found] <= high[:-1])
        covered += inside.all() and largest_unseen <= high[-1]
    assert covered / repeats >= 0.95 - 4 * np.sqrt(0.05 * 0.95 / repeats)


def test_bonferroni_over_found_classes_would_fail():
    """The reason for sharing the error by weight: every singleton overstates its class."""
    rng = np.random.default_rng(0)
    hits = np.bincount(rng.integers(1_000_000, size=200), minlength=1_000_000)
    hits = hits[hits > 0]
    naive_low, _ = proportion_interval(hits, 200, 1 - 0.05 / len(hits))
    assert np.all(naive_low[hits == 1] > 0)
    low, _ = simultaneous_intervals(hits, 200)
    assert np.all(low <= 1e-6)
    assert np.all(naive_low > 1e-7)


def test_simultaneous_interval_edges():
    low, high = simultaneous_intervals([10, 0], 10)
    assert high[0] == 1
    assert low[1] == 0
    assert 0 < high[1] < 0.5
    low, high = simultaneous_intervals([], 0)
    assert low.shape == high.shape == (0,)
    low, high = simultaneous_intervals([0, 0], 0)
    np.testing.assert_array_equal((low, high), ([0, 0], [1, 1]))


@pytest.mark.parametrize("threshold", [-0.5, 1.0, 2.5])
def test_weighted_shares_cover_under_a_changed_start_law(threshold):
    """Starts from N(0, 1), wanted under N(0.7, 1): P(x > t) = 1 - Phi(t - 0.7)."""
    rng = np.random.default_rng(0)
    truth = ndtr(0.7 - threshold)
    covered = []
    for _ in range(REPEATS):
        x = rng.normal(size=300)
        shares = weighted_shares((x > threshold).astype(int), 0.7 * x, num_classes=2)
        covered.append(shares.low[1] <= truth <= shares.high[1])
    assert np.mean(covered) >= 0.95 - FOUR_ERRORS


def test_equal_weights_give_the_exact_binomial_interval():
    labels = np.array([0] * 7 + [1] * 13)
    shares = weighted_shares(labels, np.full(20, -3.0), num_classes=3)
    low, high = proportion_interval([7, 13, 0], 20)
    np.testing.assert_allclose(shares.low, low, atol=1e-12)
    np.testing.assert_allclose(shares.high, high, atol=1e-12)
    assert shares.effective_trials == pytest.approx(20)


def test_uneven_weights_are_called_out():
    shares = weighted_shares([0, 1, 1, 0], [0.0, -50.0, -np.inf, -60.0])
    assert "too uneven" in shares.message
    assert np.isfinite([shares.share, shares.low, shares.high]).all()
    assert shares.high[1] > 0.9


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: proportion_interval(3, 2), InputValueError, "`hits` must not exceed `trials`"),
        (lambda: proportion_interval(-1, 2), InputValueError, "not negative"),
        (lambda: proportion_interval(0.5, 2), InputValueError, "whole numbers"),
        (lambda: proportion_interval("a", 2), InputTypeError, "whole numbers"),
        (lambda: proportion_interval(1, 2, 1.0), InputValueError, "`confidence` must lie strictly"),
        (lambda: proportion_interval(1, 2, method="wald"), InputValueError, "must be one of exact, wilson"),
        (lambda: simultaneous_intervals([3, 4], 6), InputValueError, "sums to at most `trials`"),
        (lambda: weighted_shares([0, 1], [0.0]), InputValueError, "differ"),
        (lambda: weighted_shares([0], [np.nan]), InputValueError, "contains NaN"),
        (lambda: weighted_shares([0], [-np.inf]), InputValueError, "at least one start"),
        (lambda: weighted_shares([], []), InputValueError, "at least one start"),
        (lambda: weighted_shares([0, 5], [0.0, 0.0], 3), InputValueError, "below `num_classes` = 3"),
    ],
)
def test_bad_input_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()
