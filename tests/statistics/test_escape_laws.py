import numpy as np
import pytest

from jaxgd.base import InputValueError
from jaxgd.statistics import fit_escape, growth_factor
from jaxgd.statistics.escape_laws import LAWS, MEAN_LOG_NORMAL

GROWTH, LOG_RATIO = np.log(1.1), 5.0  # a step of 0.1 on curvature -1, started at e^-5 of the radius
TRUTH = {
    "exponential": {"rate": 0.01, "mean": 100.0},
    "saddle_normal": {
        "growth": GROWTH,
        "delay": LOG_RATIO / GROWTH,
        "mean": (LOG_RATIO + MEAN_LOG_NORMAL) / GROWTH,
    },
    "saddle_uniform": {
        "growth": GROWTH,
        "delay": LOG_RATIO / GROWTH,
        "mean": (LOG_RATIO + 1) / GROWTH,
    },
}


def draw(law, rng, num, limit):
    if law == "exponential":
        tau = rng.exponential(100, num)
    else:
        start = np.abs(rng.normal(size=num)) if law == "saddle_normal" else rng.uniform(size=num)
        tau = (LOG_RATIO - np.log(start)) / GROWTH
    ticks = np.maximum(np.ceil(tau), 0)
    return np.minimum(ticks, limit), ticks <= limit


def coverage(law, num, limit, repeats):
    rng, inside, bad_fit = np.random.default_rng(0), dict.fromkeys(TRUTH[law], 0), []
    for _ in range(repeats):
        fit = fit_escape(*draw(law, rng, num, limit), law)
        for name, estimate in {**fit.parameters, "mean": fit.mean}.items():
            inside[name] += estimate.low <= TRUTH[law][name] <= estimate.high
        bad_fit += [fit.p_value < 0.05] if fit.p_value is not None else []
    return {name: count / repeats for name, count in inside.items()}, np.mean(bad_fit) if bad_fit else 0.0


@pytest.mark.parametrize("law", ["exponential", "saddle_uniform"])
@pytest.mark.parametrize(("num", "limit"), [(30, np.inf), (200, 65)])
def test_exact_limits_cover_with_and_without_censoring(law, num, limit):
    covered, bad_fit = coverage(law, num, limit, repeats=2000)
    error = np.sqrt(0.05 * 0.95 / 2000)
    assert min(covered.values()) >= 0.95 - 4 * error, covered
    assert bad_fit <= 0.05 + 5 * error


@pytest.mark.slow
def test_limits_from_the_information_cover():
    covered, bad_fit = coverage("saddle_normal", 200, 65, repeats=250)
    assert min(covered.values()) >= 0.95 - 4 * np.sqrt(0.05 * 0.95 / 250), covered
    assert bad_fit <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 250)


@pytest.mark.slow
@pytest.mark.parametrize(("num", "limit"), [(60, np.inf), (200, 65), (1000, np.inf)])
def test_limits_from_the_information_cover_over_many_repeats(num, limit):
    covered, bad_fit = coverage("saddle_normal", num, limit, repeats=2000)
    error = np.sqrt(0.05 * 0.95 / 2000)
    assert min(covered.values()) >= 0.95 - 4 * error, covered
    assert bad_fit <= 0.05 + 4 * error


@pytest.mark.parametrize("law", LAWS)
def test_the_true_law_fits_best_and_the_others_are_refuted(law):
    times, escaped = draw(law, np.random.default_rng(1), 3000, np.inf)
    fits = {other: fit_escape(times, escaped, other) for other in LAWS}
    others = ["saddle_normal"] if law == "exponential" else [other for other in LAWS if other != law]
    assert all(fits[law].log_likelihood > fits[other].log_likelihood + 10 for other in others)
    assert fits[law].p_value > 0.001
    assert all(fits[other].p_value < 1e-6 for other in others)


def test_without_delay_the_uniform_saddle_is_exponential():
    times, escaped = draw("exponential", np.random.default_rng(1), 3000, np.inf)
    fit = fit_escape(times, escaped, "saddle_uniform")
    assert fit.parameters["delay"].low < 0 < fit.parameters["delay"].high
    assert fit.parameters["growth"].low < 0.01 < fit.parameters["growth"].high


def test_ticks_of_the_exponential_law_are_geometric():
    """p = escapes / ticks watched, and rate = -ln(1 - p) / resolution."""
    fit = fit_escape([0.2, 0.6, 1.0], [True, True, False], "exponential", resolution=0.2)
    assert fit.parameters["rate"].value == pytest.approx(-np.log(1 - 2 / 9) / 0.2)
    np.testing.assert_allclose(fit.survival([0.4]), (1 - 2 / 9) ** 2)


@pytest.mark.parametrize("law", LAWS)
def test_resolution_only_changes_the_unit(law):
    times, escaped = draw(law, np.random.default_rng(2), 200, 80)
    one, half = fit_escape(times, escaped, law), fit_escape(times / 2, escaped, law, resolution=0.5)
    np.testing.assert_allclose(half.mean, np.array(one.mean) / 2, rtol=1e-6)
    assert half.log_likelihood == pytest.approx(one.log_likelihood)
    np.testing.assert_allclose(half.survival(times / 2), one.survival(times), rtol=1e-6)


def test_gradient_descent_at_a_quadratic_saddle_obeys_the_law():
    """Real iterates, no formula: growth is ln(1 + eta a), the mean lies 1/2 a tick above tau's."""
    rng = np.random.default_rng(3)
    x, ticks = np.abs(rng.normal(0, 1e-4, 4000)), np.zeros(4000)
    while np.any(x < 1):
        ticks += x < 1
        x = np.where(x < 1, 1.05 * x, x)
    fit = fit_escape(ticks, np.ones(4000, bool), "saddle_normal")
    exact_mean = (np.log(1e4) + MEAN_LOG_NORMAL) / np.log(1.05)
    assert fit.mean.low <= exact_mean <= fit.mean.high
    assert abs(fit.parameters["growth"].value / np.log(1.05) - 1) < 0.05
    assert np.mean(ticks) == pytest.approx(exact_mean + 0.5, abs=4 * np.std(ticks) / np.sqrt(4000))


@pytest.mark.parametrize("law", LAWS)
def test_too_little_data_is_said_plainly(law):
    for times, escaped in (([], []), ([1.0], [True]), ([3.0, 3.0], [True, True])):
        fit = fit_escape(times, escaped, law)
        if not fit.parameters:
            assert "cannot fit" in fit.message
            assert fit.mean is fit.p_value is fit.log_likelihood is None
            with pytest.raises(InputValueError, match="could not be fitted"):
                fit.survival(1.0)
    censored = fit_escape([9.0, 9.0], [False, False], law)
    if law == "exponential":
        assert censored.mean.value == np.inf
        assert 0 < censored.parameters["rate"].high < 1
        assert "all are censored" in censored.message
    else:
        assert not censored.parameters


def test_growth_factor_covers_the_octopus_law():
    """Each escape waits kappa times the last plus the luck of its own coordinate, over 2,000 repeats."""
    rng, kappa, inside = np.random.default_rng(4), 2.7095, 0
    for _ in range(2000):
        times = [6 + rng.exponential(2, 60)]
        for _ in range(4):
            times.append(kappa * times[-1] + rng.exponential(2, 60))
        estimate = growth_factor(np.stack(times, axis=1))
        inside += estimate.low <= kappa <= estimate.high
    assert abs(inside / 2000 - 0.95) <= 4 * np.sqrt(0.05 * 0.95 / 2000) + 0.01  # 60 lanes: sandwich is 1 % low


def test_growth_factor_leaves_out_saddles_that_some_lane_did_not_escape():
    times = np.array([[1.0, 3.0, 9.0, 27.0], [2.0, 6.0, 18.0, np.inf], [3.0, 9.0, 27.0, np.inf]])
    assert growth_factor(times).value == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: fit_escape([1.0], [True], "weibull"), "`law` must be one of"),
        (lambda: fit_escape([1.5], [True], "exponential"), "multiples of `resolution`"),
        (lambda: fit_escape([1.0], [True], "exponential", resolution=0.0), "`resolution` must be positive"),
        (lambda: fit_escape([0.0], [True], "exponential"), "an escape at 0"),
        (lambda: growth_factor([1.0, 2.0]), "`escape_times` must have 2 axis"),
        (lambda: growth_factor([[1.0, np.inf], [1.0, 2.0]]), "two saddles that every lane escaped"),
        (lambda: growth_factor([[1.0, 2.0], [1.0, 2.0]]), "all equal"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(InputValueError, match=match):
        call()
