import numpy as np
import pytest

from jaxgd.base import InputValueError
from jaxgd.statistics import compare_laws, log_grid, paired_design

X = log_grid(2, 1000, 12)
TRUTH = {
    "constant": ((50.0,), 50.0 + 0 * X),
    "logarithmic": ((40.0, 6.0), 40 + 6 * np.log(X)),
    "power": ((5.0, 0.4), 5 * X**0.4),
    "exponential": ((5.0, 0.004), 5 * np.exp(0.004 * X)),
}


def surveys(law, known, repeats):
    """Five per cent errors, additive and known or relative and unknown."""
    rng, (_, exact) = np.random.default_rng(0), TRUTH[law]
    for _ in range(repeats):
        if known:
            yield compare_laws(X, exact * (1 + 0.05 * rng.normal(size=12)), 0.05 * exact)
        else:
            yield compare_laws(X, exact * np.exp(0.05 * rng.normal(size=12)))


def check(law, known, repeats):
    parameters, _ = TRUTH[law]
    inside, wrongly_excluded, bad_fit = np.zeros(len(parameters)), 0, 0
    for scaling in surveys(law, known, repeats):
        fit = next(fit for fit in scaling.fits if fit.law == law)
        inside += [e.low <= v <= e.high for e, v in zip(fit.parameters.values(), parameters, strict=True)]
        wrongly_excluded += law in scaling.excluded()
        bad_fit += known and fit.p_value < 0.05
    error = np.sqrt(0.05 * 0.95 / repeats)
    assert np.all(np.abs(inside / repeats - 0.95) <= 4 * error + 0.01), inside / repeats
    assert wrongly_excluded / repeats <= 0.01 + 4 * np.sqrt(0.01 / repeats)
    assert bad_fit / repeats <= 0.05 + 4 * error


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("law", TRUTH)
def test_parameters_are_covered_and_the_true_law_is_not_excluded(law, known):
    check(law, known, repeats=150)


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("law", TRUTH)
def test_parameters_are_covered_over_many_repeats(law, known):
    check(law, known, repeats=2000)


@pytest.mark.parametrize("law", ["power", "exponential"])
def test_a_law_far_from_the_others_excludes_them(law):
    scaling = next(surveys(law, True, 1))
    assert scaling.best.law == law
    assert set(scaling.excluded()) == set(TRUTH) - {law}
    assert f"the best of 4 laws is {law}" in scaling.sentence()
    assert "Not excluded" not in scaling.sentence()


def test_a_constant_leaves_the_laws_that_contain_it_open():
    scaling = next(surveys("constant", True, 1))
    assert scaling.excluded() == ()
    assert "Excluded by AICc: none. Not excluded:" in scaling.sentence()


def test_when_nothing_fits_the_sentence_says_so():
    scaling = compare_laws(X, np.sin(X) * 100, np.ones(12))
    assert scaling.best.p_value < 1e-10
    assert "None of them fits" in scaling.sentence()
    assert np.isfinite([fit.aicc for fit in scaling.fits]).all()


def test_exact_data_are_recovered_without_noise():
    for law, (parameters, exact) in TRUTH.items():
        fit = next(fit for fit in compare_laws(X, exact).fits if fit.law == law)
        np.testing.assert_allclose([e.value for e in fit.parameters.values()], parameters, rtol=1e-6)
        np.testing.assert_allclose(fit.predict(X), exact, rtol=1e-6)


def test_bootstrap_band_is_as_wide_as_the_error_of_a_line():
    """On logarithmic paper a power law is a line; the spread of 600 resamples is known to 1/sqrt(1200)."""
    scaling = next(surveys("power", True, 1))
    low, high = scaling.band(X, 600, seed=0)
    lever = np.log(X) - np.log(X).mean()
    error = 0.05 * np.sqrt(1 / 12 + lever**2 / np.sum(lever**2))
    np.testing.assert_allclose(np.log(high / low), 2 * 1.96 * error, rtol=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
def test_bootstrap_band_covers_the_curve(known):
    """At x = 100, over 200 surveys of 200 resamples; residuals of 12 points make it about 2 % short."""
    inside = 0
    for i, scaling in enumerate(surveys("power", known, 200)):
        low, high = scaling.band([100.0], 200, seed=i)
        inside += low[0] <= 5 * 100**0.4 <= high[0]
    assert inside / 200 >= 0.95 - 0.02 - 4 * np.sqrt(0.05 * 0.95 / 200)


def test_band_depends_on_the_seed_alone():
    scaling = next(surveys("power", False, 1))
    first, again, other = (scaling.band(X, 100, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_designs():
    np.testing.assert_allclose(log_grid(1, 100, 3), [1, 10, 100])
    assert log_grid(1, 4, 30, integers=True).tolist() == [1, 2, 3, 4]
    values, seeds = paired_design(np.array([0.1, 0.2]), 2)
    assert values.tolist() == [0.1, 0.1, 0.2, 0.2]
    assert seeds.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: log_grid(0, 1, 3), "0 < low < high"),
        (lambda: log_grid(1, 2, 1), "`num` must be at least 2"),
        (lambda: paired_design([1], 0), "`num_seeds` must be at least 1"),
        (lambda: compare_laws([1, 2, 3], [1, 2, 3]), "must hold 5 values"),
        (lambda: compare_laws([1, 1, 1, 2, 2], np.ones(5)), "3 of them distinct"),
        (lambda: compare_laws(np.arange(5), np.ones(5)), "`x` must be positive"),
        (lambda: compare_laws(X, -np.ones(12)), "`y` must be positive where no"),
        (lambda: compare_laws(X, np.full(12, np.inf)), "`y` finite"),
        (lambda: compare_laws(X, np.ones(12), np.zeros(12)), "`standard_error` must be positive"),
        (lambda: compare_laws(X, np.ones(12), laws=()), "names no law"),
        (lambda: compare_laws(X, np.ones(12), laws=("cubic",)), "`laws` must be one of"),
        (lambda: next(surveys("power", True, 1)).band(X, 10, seed=0), "at least 100"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(InputValueError, match=match):
        call()
