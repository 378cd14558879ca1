import numpy as np
import pytest
import scipy.stats

from jaxgd import InputTypeError, InputValueError
from jaxgd.statistics import index_spells, survival_curve, time_by_index


def test_spells_are_runs_of_equal_index_and_the_last_one_is_censored():
    spells = index_spells([0, 1, 2, 5, 9], [[3, 3, 1, 1, 0], [2, 2, 2, 2, 2], [1, 0, 1, 0, 0]])
    found = list(
        zip(spells.lane, spells.index, spells.begin, spells.ticks, spells.escaped, spells.next_index, strict=True)
    )
    assert found == [
        (0, 3, 0, 2, True, 1),
        (0, 1, 2, 7, True, 0),  # the last look at index 0 lasts no time
        (1, 2, 0, 9, False, -1),
        (2, 1, 0, 1, True, 0),
        (2, 0, 1, 1, True, 1),
        (2, 1, 2, 3, True, 0),
        (2, 0, 5, 4, False, -1),
    ]
    ticks, escaped = spells.of(1)
    assert (ticks.tolist(), escaped.tolist()) == ([7, 1, 3], [True, True, True])


def test_spells_of_a_lane_cover_the_watch():
    rng = np.random.default_rng(0)
    steps = np.cumsum(rng.integers(1, 5, 40))
    index = rng.integers(-1, 3, (30, 40))
    spells = index_spells(steps, index)
    covered = np.bincount(spells.lane, spells.ticks, minlength=30)
    np.testing.assert_array_equal(covered, steps[-1] - steps[0])
    total = sum(time.value for time in time_by_index(spells).values())
    np.testing.assert_allclose(total, steps[-1] - steps[0])
    assert set(np.unique(spells.index)) == {-1, 0, 1, 2}


def test_watch_of_one_look_or_of_no_lane_has_no_spells():
    assert len(index_spells([0], [[1], [2]])) == 0
    assert time_by_index(index_spells([0], [[1], [2]])) == {}
    empty = index_spells([0, 1], np.zeros((0, 2), int))
    assert len(empty) == 0
    assert survival_curve(*empty.of(0)).message == "No dwells in this arm."
    with pytest.raises(InputValueError, match="hold no lane"):
        time_by_index(empty)


def test_single_lane_has_no_limits():
    (time,) = time_by_index(index_spells([0, 4], [[1, 1]])).values()
    assert time == (4.0, 0.0, np.inf)


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(InputValueError, match="`steps` must ascend"):
        index_spells([0, 0], [[1, 1]])
    with pytest.raises(InputValueError, match="`steps` must ascend"):
        index_spells([], np.zeros((1, 0), int))
    with pytest.raises(InputValueError, match=r"`index` must have shape \(lanes, 2\)"):
        index_spells([0, 1], [1, 1])
    with pytest.raises((InputValueError, InputTypeError), match="whole numbers"):
        index_spells([0, 1], [[0.5, 1.0]])
    with pytest.raises(InputValueError, match="whole numbers that are not negative"):
        index_spells([0, 1], [[-2, 1]])


@pytest.mark.slow
def test_limits_of_time_by_index_cover_the_true_mean():
    rng = np.random.default_rng(1)
    steps, hazard, hits = np.arange(0, 101), 0.05, 0
    exact = sum((1 - hazard) ** k for k in range(100))  # ticks at index 1 before a geometric escape, cut at 100
    for _ in range(2_000):
        escape = rng.geometric(hazard, 40)
        index = (steps[None, :] < escape[:, None]).astype(int)
        _, low, high = time_by_index(index_spells(steps, index))[1]
        hits += low <= exact <= high
    assert scipy.stats.binomtest(hits, 2_000, 0.94).pvalue > 1e-4
