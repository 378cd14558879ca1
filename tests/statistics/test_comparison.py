import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from jaxgd.base import InputTypeError, InputValueError
from jaxgd.statistics import (
    data_profile,
    mcnemar,
    paired_difference,
    performance_profile,
    sign_test,
    signed_rank,
)

REPEATS = 2000
FOUR_ERRORS = 4 * np.sqrt(0.05 * 0.95 / REPEATS)  # 0.019


def successes(rng, num, share, agree):
    """Two optimizers with the same success rate; `agree` of the starts decide for both."""
    first = rng.random(num) < share
    return first, np.where(rng.random(num) < agree, first, rng.random(num) < share)


def test_paired_tests_alarm_no_more_often_than_they_may():
    rng, alarms = np.random.default_rng(0), {"mcnemar": 0, "sign": 0, "rank": 0}
    for _ in range(REPEATS):
        alarms["mcnemar"] += mcnemar(*successes(rng, 80, 0.6, 0.5)).p_value < 0.05
        cost = rng.exponential(size=40) + rng.exponential(size=(2, 40))  # the first is the luck of the start
        first, second = np.where(rng.random((2, 40)) < 0.1, np.inf, cost)
        alarms["sign"] += sign_test(first, second).p_value < 0.05
        alarms["rank"] += signed_rank(first, second).p_value < 0.05
    rates = {name: count / REPEATS for name, count in alarms.items()}
    assert max(rates.values()) <= 0.05 + FOUR_ERRORS, rates
    assert rates["rank"] >= 0.05 - FOUR_ERRORS, rates  # not discrete enough to be timid


def test_pairing_finds_what_separate_proportions_miss():
    """90 % of the starts decide alone; the second optimizer saves a tenth of the rest."""
    rng = np.random.default_rng(1)
    first = rng.random(400) < 0.5
    second = first | (rng.random(400) < 0.08)
    assert mcnemar(first, second).p_value < 1e-3
    unpaired = np.sqrt(first.var() / 400 + second.var() / 400)
    assert abs(first.mean() - second.mean()) < 2 * unpaired
    difference = paired_difference(first, second)
    assert difference.high < 0
    assert difference.high - difference.low < 3 * unpaired


@pytest.mark.parametrize(("num", "share", "agree"), [(30, 0.5, 0.5), (30, 0.95, 0.0), (300, 0.7, 0.9)])
def test_paired_difference_covers(num, share, agree):
    rng = np.random.default_rng(2)
    lift, inside = 0.1, 0
    for _ in range(REPEATS):
        first, second = successes(rng, num, share, agree)
        first = first & (rng.random(num) >= lift)  # the first loses a tenth of its successes
        estimate = paired_difference(first, second)
        inside += estimate.low <= -lift * share <= estimate.high
    assert abs(inside / REPEATS - 0.95) <= FOUR_ERRORS + 0.01


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_paired_results_mirror_when_the_arms_are_exchanged(pairs):
    first, second = np.array(pairs).T
    ours, mirrored = paired_difference(first, second), paired_difference(second, first)
    np.testing.assert_allclose(ours, (-mirrored.value, -mirrored.high, -mirrored.low), atol=1e-12)
    assert -1 <= ours.low <= ours.value <= ours.high <= 1
    assert mcnemar(first, second).p_value == pytest.approx(mcnemar(second, first).p_value)


def test_mcnemar_is_the_binomial_test_of_discordant_pairs():
    first = np.repeat([True, True, False, False], [40, 12, 3, 9])
    second = np.repeat([True, False, True, False], [40, 12, 3, 9])
    result = mcnemar(first, second)
    assert (result.num_first, result.num_second, result.num_ties) == (12, 3, 49)
    assert result.p_value == pytest.approx(binomtest(3, 15).pvalue)


def test_ties_and_failures_are_plain():
    for test in (sign_test, signed_rank):
        result = test([np.inf, 1.0], [np.inf, 1.0])
        assert result.p_value == 1
        assert "All 2 pairs are ties" in result.message
        assert test([], []).p_value == 1
    assert mcnemar([], []).p_value == 1
    never = signed_rank(np.ones(8), np.full(8, np.inf))
    assert (never.num_first, never.p_value) == (8, pytest.approx(2 / 2**8))


def test_profiles_rise_to_the_share_solved_and_start_with_the_share_won():
    rng = np.random.default_rng(3)
    cost = rng.exponential(size=(200, 3))
    cost[rng.random((200, 3)) < 0.2] = np.inf
    for profile in (performance_profile(cost), data_profile(cost, dims=3)):
        assert np.all(np.diff(profile.share, axis=0) >= 0)
        np.testing.assert_allclose(profile.share[-1], np.isfinite(cost).mean(axis=0))
        assert np.all((profile.low <= profile.share) & (profile.share <= profile.high))
    won = (cost == cost.min(axis=1, keepdims=True)) & np.isfinite(cost)
    np.testing.assert_allclose(performance_profile(cost, [1.0]).share[0], won.mean(axis=0))


def test_profiles_survive_that_nobody_solves_anything():
    cost = np.full((4, 2), np.inf)
    assert performance_profile(cost).share.tolist() == [[0, 0]]
    assert data_profile(cost, dims=1).share.shape == (0, 2)
    assert performance_profile(cost, [1, np.inf]).share.max() == 0


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: mcnemar([1, 0], [1, 0]), InputTypeError, "`success_first` must be an array of bool"),
        (lambda: mcnemar([True], [True, False]), InputValueError, "`success_second` must have shape"),
        (lambda: mcnemar([[True]], [[True]]), InputValueError, "one axis"),
        (lambda: sign_test([1.0], [1.0, 2.0]), InputValueError, "differ in shape"),
        (lambda: signed_rank([np.nan], [1.0]), InputValueError, "contains NaN"),
        (lambda: paired_difference([], []), InputValueError, "at least one pair"),
        (lambda: performance_profile(np.zeros((0, 2))), InputValueError, "at least one problem"),
        (lambda: performance_profile([[0.0, 1.0]]), InputValueError, "positive numbers only"),
        (lambda: performance_profile([[1.0, 1.0]], [0.5]), InputValueError, "`ratios` must ascend"),
        (lambda: data_profile([[1.0]], dims=-1), InputValueError, "`dims` must be finite"),
        (lambda: data_profile([[1.0]], dims=1, budgets=[2, 1]), InputValueError, "`budgets` must ascend"),
    ],
)
def test_bad_input_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()
