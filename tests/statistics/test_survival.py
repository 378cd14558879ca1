import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import CensoredData, binomtest, logrank

from jaxgd.base import InputTypeError, InputValueError
from jaxgd.statistics import hazard_rate, log_rank, restricted_mean, survival_curve

REPEATS = 2000
FOUR_ERRORS = 4 * np.sqrt(0.05 * 0.95 / REPEATS)  # 0.019


def dwells(rng, num=60, mean=100.0, limit=150.0):
    """Exponential escapes in whole ticks (so with ties), cut at random times and at a step limit."""
    tau = np.ceil(rng.exponential(mean, num))
    watched = np.minimum(np.ceil(rng.uniform(20, 2 * limit, num)), limit)
    return np.minimum(tau, watched), tau <= watched


@pytest.mark.slow
def test_curve_median_mean_and_hazard_cover_the_truth():
    """P(tau > t) = 0.9900498^t in ticks; median 70 ticks; mean cut at 120: sum of S over the ticks before."""
    rng, share = np.random.default_rng(0), np.exp(-1 / 100)
    truth_mean = np.sum(share ** np.arange(120))
    edges, hits = (
        [0.0, 40.0, 120.0],
        dict.fromkeys(("s10", "s70", "s140", "median", "mean", "h0", "h1"), 0),
    )
    for _ in range(REPEATS):
        times, escaped = dwells(rng)
        curve = survival_curve(times, escaped)
        for t in (10, 70, 140):
            i = np.searchsorted(curve.times, t, side="right") - 1
            low, high = (curve.low[i], curve.high[i]) if i >= 0 else (0.9, 1.0)
            hits[f"s{t}"] += low <= share**t <= high
        hits["median"] += curve.median.low <= 70 <= curve.median.high
        mean = restricted_mean(times, escaped, 120).mean
        hits["mean"] += mean.low <= truth_mean <= mean.high
        hazard = hazard_rate(times, escaped, edges)
        for i in (0, 1):
            hits[f"h{i}"] += hazard.low[i] <= 1 - share <= hazard.high[i]
    coverage = {name: count / REPEATS for name, count in hits.items()}
    assert min(coverage.values()) >= 0.95 - FOUR_ERRORS, coverage
    assert coverage["mean"] <= 0.95 + FOUR_ERRORS, coverage


def test_standard_error_of_the_restricted_mean_is_its_scatter():
    rng = np.random.default_rng(1)
    results = [restricted_mean(*dwells(rng), 100) for _ in range(1000)]
    scatter = np.std([result.mean.value for result in results])
    reported = np.mean([result.standard_error for result in results])
    assert reported == pytest.approx(scatter, rel=4 / np.sqrt(2 * 1000))


def test_without_censoring_the_limits_are_exact_binomial():
    times = np.array([3.0, 1, 4, 1, 5, 9, 2, 6])
    curve = survival_curve(times, np.ones(8, bool))
    for i, t in enumerate(curve.times):
        left = int(np.sum(times > t))
        assert curve.survival[i] == pytest.approx(left / 8)
        expected = binomtest(left, 8).proportion_ci()
        np.testing.assert_allclose((curve.low[i], curve.high[i]), expected, atol=1e-9)


def test_two_arms_agree_with_scipy():
    rng = np.random.default_rng(2)
    for _ in range(20):
        a, b = dwells(rng, 30), dwells(rng, 40, mean=60)
        ours = log_rank({"a": a, "b": b}).p_value
        theirs = logrank(*(CensoredData.right_censored(times, ~escaped) for times, escaped in (a, b))).pvalue
        assert ours == pytest.approx(theirs, abs=1e-12)


def test_log_rank_alarms_as_often_as_it_may_and_finds_a_difference():
    rng = np.random.default_rng(3)
    draw = lambda means: log_rank({str(i): dwells(rng, 40, mean) for i, mean in enumerate(means)}).p_value
    false = np.mean([draw((100, 100, 100)) < 0.05 for _ in range(REPEATS)])
    assert abs(false - 0.05) <= FOUR_ERRORS
    assert np.mean([draw((60, 100, 200)) < 0.05 for _ in range(200)]) > 0.9


def test_observed_and_expected_escapes_balance():
    rng = np.random.default_rng(4)
    result = log_rank({"a": dwells(rng), "b": dwells(rng), "c": dwells(rng)})
    assert result.num_escaped.sum() == pytest.approx(result.num_expected.sum())
    assert result.degrees == 2


def test_all_censored_none_censored_empty_and_tied_are_plain():
    censored = survival_curve([5.0, 5.0, 5.0], [False] * 3)
    assert "all are censored" in censored.message
    assert censored.survival.tolist() == [1.0]
    assert censored.median == (np.inf, 0.0, np.inf)  # three of three prove little about the share
    empty = survival_curve([], [])
    assert empty.median is None
    assert "No dwells" in empty.message
    tied = survival_curve([5.0, 5.0, 5.0], [True] * 3)
    assert tied.survival.tolist() == [0.0]
    assert tied.median.value == 5
    mean = restricted_mean([5.0, 5.0, 8.0], [False] * 3)
    assert mean.standard_error is None
    assert 0 < mean.mean.low < mean.mean.value == mean.mean.high == 8
    assert "No escape" in mean.message
    hazard = hazard_rate([1.0], [True], [0, 2, 4])
    assert (hazard.rate[1], hazard.low[1], hazard.high[1]) == (0, 0, np.inf)


def test_arms_that_cannot_be_compared_say_so():
    nothing = log_rank({"a": ([1.0], [False]), "b": ([2.0], [False])})
    assert nothing.p_value == 1
    assert "Nothing can be compared" in nothing.message
    one_empty = log_rank({"a": ([], []), "b": ([2.0, 3.0], [True, True]), "c": ([1.0, 4.0], [True, True])})
    assert "being empty: a" in one_empty.message
    assert one_empty.arms == ("b", "c")
    assert log_rank({"a": ([], []), "b": ([], [])}).p_value == 1


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=25))
def test_no_table_holds_a_nan(pairs):
    times, escaped = np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs])
    curve = survival_curve(times, escaped)
    assert np.all((curve.low >= 0) & (curve.low <= curve.survival) & (curve.survival <= curve.high))
    assert np.all((curve.high <= 1) & (np.diff(curve.survival, prepend=1) <= 0))
    assert curve.median.low <= curve.median.value <= curve.median.high
    assert 0 <= log_rank({"a": (times, escaped), "b": (times[:3], escaped[:3])}).p_value <= 1
    if times.max() > 0:
        mean, low, high = restricted_mean(times, escaped).mean
        assert 0 <= low <= mean + 1e-12 and mean - 1e-12 <= high  # noqa: PT018


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: survival_curve([1.0], [1]), InputTypeError, "`escaped` must be an array of bool"),
        (lambda: survival_curve([1.0], [True, False]), InputValueError, "`escaped` must have shape"),
        (lambda: survival_curve([-1.0], [True]), InputValueError, "finite and not negative"),
        (lambda: survival_curve([np.inf], [False]), InputValueError, "give the time watched"),
        (lambda: survival_curve([np.nan], [False]), InputValueError, "contains NaN"),
        (lambda: survival_curve([[1.0]], [[True]]), InputValueError, "`times` must have 1 axis"),
        (lambda: survival_curve([], [], 1.5), InputValueError, "`confidence` must lie"),
        (lambda: restricted_mean([], []), InputValueError, "at least one dwell"),
        (lambda: restricted_mean([3.0], [True], 4.0), InputValueError, "the longest time watched"),
        (lambda: hazard_rate([1.0], [True], [2, 1]), InputValueError, "`edges` must be"),
        (lambda: log_rank({"a": ([1.0], [True])}), InputValueError, "at least two arms"),
    ],
)
def test_bad_input_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()
