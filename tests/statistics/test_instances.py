"""Shares over random instances: limits cover, whether instances differ or not."""

import numpy as np
import pytest

from jaxgd.base import InputValueError
from jaxgd.statistics import proportion_interval, share_over_instances

REPEATS = 1000  # standard error of a coverage of 0.95: 0.007


def coverage(mean, correlation, num, starts, seed):
    """Returns the share of repeats whose limits hold the mean, for beta laws of this intraclass correlation."""
    draw = np.random.default_rng(seed)
    shares = np.full((REPEATS, num), mean)
    if correlation:
        size = 1 / correlation - 1
        shares = draw.beta(mean * size, (1 - mean) * size, (REPEATS, num))
    hits = draw.binomial(starts, shares)
    found = [share_over_instances(each, [starts] * num) for each in hits]
    return np.mean([each.low <= mean <= each.high for each in found])


@pytest.mark.parametrize("correlation", [0, 0.02, 0.1, 0.5, 0.95])
@pytest.mark.parametrize(("mean", "num", "starts"), [(0.5, 5, 20), (0.1, 10, 100), (0.02, 30, 100)])
def test_limits_cover_with_and_without_variance_between_instances(mean, correlation, num, starts):
    assert coverage(mean, correlation, num, starts, seed=3) > 0.95 - 4 * 0.007


def test_starts_that_were_taken_for_independent_would_not_cover():
    draw = np.random.default_rng(0)
    hits = draw.binomial(100, draw.beta(0.5, 0.5, (REPEATS, 10)))
    low, high = proportion_interval(hits.sum(axis=1), 1000)
    assert np.mean((low <= 0.5) & (high >= 0.5)) < 0.5


def test_instances_that_do_not_differ_say_nearly_as_much_as_all_their_starts():
    draw = np.random.default_rng(0)
    widths = [
        (found.high - found.low, found.between)
        for found in (share_over_instances(draw.binomial(100, 0.3, 30), [100] * 30) for _ in range(200))
    ]
    low, high = proportion_interval(900, 3000)
    assert np.mean([width for width, _ in widths]) < 1.25 * (high - low)
    assert np.mean([between for _, between in widths]) < 0.02


def test_the_spread_between_instances_is_the_one_drawn():
    draw = np.random.default_rng(0)
    shares = draw.uniform(0.2, 0.8, 4000)  # standard deviation 0.6 / sqrt(12)
    found = share_over_instances(draw.binomial(50, shares), [50] * 4000)
    assert found.between == pytest.approx(0.6 / np.sqrt(12), abs=0.008)


def test_no_hit_at_all_says_as_much_as_one_start_an_instance():
    found = share_over_instances([0] * 7, [1000] * 7)
    low, high = proportion_interval(0, 7)
    assert (found.low, found.high) == (low, pytest.approx(high))
    none = share_over_instances([1000] * 7, [1000] * 7)
    assert none.low == pytest.approx(1 - found.high)
    assert none.high == 1


def test_a_share_and_its_complement_have_mirrored_limits():
    hits = np.array([3, 9, 0, 5])
    one, other = share_over_instances(hits, [10] * 4), share_over_instances(10 - hits, [10] * 4)
    assert one.low == pytest.approx(1 - other.high)
    assert one.high == pytest.approx(1 - other.low)


def test_one_instance_says_nothing_of_others():
    found = share_over_instances([5], [10])
    assert (found.share, found.low, found.high) == (0.5, 0, 1)
    assert "One instance" in found.message


def test_instances_without_starts_are_left_out():
    assert share_over_instances([3, 0, 5], [10, 0, 10]) == share_over_instances([3, 5], [10, 10])


@pytest.mark.parametrize(
    ("hits", "trials", "message"),
    [
        ([], [], "at least one instance"),
        ([0], [0], "at least one instance"),
        ([3], [2], "must not exceed"),
        ([1, 2], [3], "same length"),
        (1, 2, "same length"),
        ([0.5], [1], "whole numbers"),
    ],
)
def test_what_are_no_counts_is_refused(hits, trials, message):
    with pytest.raises(InputValueError, match=message):
        share_over_instances(hits, trials)
