import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxgd.base import InputValueError
from jaxgd.statistics import coverage_stop, extrapolation, unseen_mass, unseen_number

REPEATS = 2000
CATALOGUES = {
    "uniform": np.full(200, 1 / 200),
    "geometric": 0.8 ** np.arange(60) / np.sum(0.8 ** np.arange(60)),
    "zipf": 1 / np.arange(1, 3001) / np.sum(1 / np.arange(1, 3001)),
    "complete": np.full(8, 1 / 8),
    "one rare": np.array([0.5, 0.49, 0.01]),
}


def misses(weights, num_draws, confidence, repeats=REPEATS):
    """Shares of surveys in which each limit was wrong."""
    rng = np.random.default_rng(7)
    wrong = dict.fromkeys(("mass_low", "mass_high", "num_low", "new_low", "new_high"), 0)
    surveys = rng.multinomial(num_draws, weights, size=repeats)
    for hits, more in zip(surveys, rng.multinomial(num_draws, weights, size=repeats), strict=True):
        unseen, found = hits == 0, unseen_mass(hits, confidence)
        next_ones, num_new = extrapolation(hits, num_draws, confidence), np.sum(unseen & (more > 0))
        wrong["mass_low"] += weights[unseen].sum() < found.mass_low - 1e-12
        wrong["mass_high"] += weights[unseen].sum() > found.mass_high + 1e-12
        wrong["num_low"] += unseen.sum() < found.num_low
        wrong["new_low"] += num_new < next_ones.low
        wrong["new_high"] += num_new > next_ones.high
    return {name: count / repeats for name, count in wrong.items()}


@pytest.mark.parametrize("name", CATALOGUES)
@pytest.mark.parametrize("num_draws", [30, pytest.param(1000, marks=pytest.mark.slow)])
def test_unseen_limits_hold_on_known_catalogues(name, num_draws):
    """All with one formula; the standard error of a share of 0.05 over 2,000 surveys is 0.0049."""
    wrong = misses(CATALOGUES[name], num_draws, 0.95)
    allowed = 0.05 + 4 * np.sqrt(0.05 * 0.95 / REPEATS)
    assert wrong["mass_low"] + wrong["mass_high"] <= allowed
    assert wrong["new_low"] + wrong["new_high"] <= allowed
    assert wrong["num_low"] <= 0.025 + 4 * np.sqrt(0.025 * 0.975 / REPEATS)


@pytest.mark.slow
@pytest.mark.parametrize("name", CATALOGUES)
@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.95, 0.99])
def test_unseen_limits_hold_at_other_confidences(name, confidence):
    error = 1 - confidence
    for num_draws in (30, 100, 300, 1000, 3000):
        wrong = misses(CATALOGUES[name], num_draws, confidence)
        allowed = error + 4 * np.sqrt(error * confidence / REPEATS)
        assert wrong["mass_low"] + wrong["mass_high"] <= allowed
        assert wrong["new_low"] + wrong["new_high"] <= allowed
        assert wrong["num_low"] <= error / 2 + 4 * np.sqrt(error / 2 / REPEATS)


def test_mass_interval_is_not_needlessly_wide():
    """Where normal theory holds it is Esty's interval, so it must also miss about as often as it may."""
    wrong = misses(CATALOGUES["zipf"], 300, 0.9)
    assert abs(wrong["mass_low"] + wrong["mass_high"] - 0.1) <= 4 * np.sqrt(0.1 * 0.9 / REPEATS)


def test_rare_classes_never_break_the_mass_interval():
    """K classes of n p = rate each, beside abundant ones: the worst case of discreteness, Poisson counts."""
    rng, n, worst = np.random.default_rng(3), 100_000, 0.0
    for rate in (0.5, 1.0, 2.0, 4.0, 6.0):
        for num_rare in (1, 2, 3, 5, 20, 100):
            hits = rng.poisson(rate, size=(REPEATS, num_rare))
            wrong = 0
            for row, (ones, twos) in zip(hits, np.stack([(hits == 1).sum(1), (hits == 2).sum(1)], axis=1), strict=True):
                found = _cached_mass(int(ones), int(twos), n)
                wrong += not found.mass_low <= np.sum(row == 0) * rate / n <= found.mass_high
            worst = max(worst, wrong / REPEATS)
    assert worst <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / REPEATS)


def _cached_mass(ones, twos, n, cache={}):  # noqa: B006
    key = (ones, twos, n)
    if key not in cache:
        cache[key] = unseen_mass([1] * ones + [2] * twos + [n - ones - 2 * twos])
    return cache[key]


def test_chao_estimates_are_unbiased_for_equal_classes_and_low_for_unequal_ones():
    rng, estimate = np.random.default_rng(0), {}
    for name in ("uniform", "zipf"):
        weights = CATALOGUES[name]
        surveys = rng.multinomial(300, weights, size=1000)
        truth = np.mean(np.sum(surveys == 0, axis=1))
        for method in ("chao1", "ichao1"):
            values = [unseen_number(hits, method=method).estimate for hits in surveys]
            estimate[name, method] = np.mean(values) / truth, np.std(values) / truth / np.sqrt(1000)
    ratio, error = estimate["uniform", "chao1"]
    assert abs(ratio - 1) < 4 * error + 0.01
    assert estimate["zipf", "chao1"][0] < estimate["zipf", "ichao1"][0] < 1


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 50), max_size=40), st.floats(0.5, 0.999))
def test_unseen_is_finite_and_ordered_for_any_catalogue(hits, confidence):
    found, number = unseen_mass(hits, confidence), unseen_number(hits, confidence)
    assert 0 <= found.mass_low <= found.mass <= found.mass_high <= 1
    assert 0 <= number.low <= number.estimate <= number.high
    assert number.low == found.num_low
    if sum(hits):
        more = extrapolation(hits, 100, confidence)
        assert 0 <= more.low <= more.expected <= more.high <= 100 or more.expected <= more.low + 1e-9
        assert extrapolation(hits, 0).high == 0
    assert unseen_mass([*hits, 0, 0], confidence) == found


def test_all_singletons_bound_nothing_from_above():
    found, number = unseen_mass(np.ones(20, int)), unseen_number(np.ones(20, int))
    assert found.mass == found.mass_high == 1
    assert number.high == np.inf


def test_one_more_draw_finds_a_new_class_with_the_unseen_mass():
    hits = [30, 20, 10, 4, 2, 2, 1, 1, 1, 1]
    assert extrapolation(hits, 1).expected == pytest.approx(unseen_mass(hits).mass, rel=0.05)


@pytest.mark.parametrize(
    "name", ["one rare", *(pytest.param(name, marks=pytest.mark.slow) for name in ("uniform", "geometric", "zipf"))]
)
def test_coverage_stop_errs_less_often_than_stated_over_all_looks(name):
    """Eight looks at doubling sizes; stopping while the mass is above the target is the error."""
    rng, weights, repeats, target = np.random.default_rng(5), CATALOGUES[name], 2000, 0.02
    errors = 0
    for _ in range(repeats):
        labels = rng.choice(len(weights), size=50 * 2**7, p=weights)
        before = np.zeros(len(weights), int)
        for look in range(1, 9):
            hits = np.bincount(labels[: 50 * 2 ** (look - 1)], minlength=len(weights))
            if coverage_stop(hits, before, target, look=look, confidence=0.9).stop:
                errors += weights[hits == 0].sum() > target
                break
            before = hits
    assert errors / repeats <= 0.1 + 4 * np.sqrt(0.1 * 0.9 / repeats)


def test_coverage_stop_stops_a_complete_catalogue_soon():
    """With nothing new in the second half of n draws, -ln(alpha / 6) / (n / 2) is the limit at look 2."""
    result = coverage_stop([500, 500], [250, 250], 0.01, look=2)
    assert result.stop
    assert result.num_new == 0
    assert result.mass_high == pytest.approx(-np.log(0.05 / 6) / 500, rel=0.01)


def test_no_draws_since_the_last_look_never_stop():
    assert not coverage_stop([5], [5], 0.99, look=3).stop
    assert not coverage_stop([], [], 0.99, look=1).stop


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: unseen_mass([[1, 2]]), "one list of counts"),
        (lambda: unseen_mass([], 0.0), "`confidence` must lie strictly"),
        (lambda: unseen_number([], 2.0), "`confidence` must lie strictly"),
        (lambda: unseen_mass([-1]), "not negative"),
        (lambda: unseen_number([1], method="ace"), "must be one of chao1, ichao1"),
        (lambda: extrapolation([], 3), "no draws"),
        (lambda: extrapolation([1], -3), "`num_more` must hold whole numbers"),
        (lambda: coverage_stop([1], [1, 1], 0.1, look=2), "not the longer"),
        (lambda: coverage_stop([1], [2], 0.1, look=2), "same order"),
        (lambda: coverage_stop([1], [], 0.0, look=1), "`max_unseen_mass` must lie strictly"),
        (lambda: coverage_stop([1], [], 0.1, look=0), "`look` counts from 1"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(InputValueError, match=match):
        call()
