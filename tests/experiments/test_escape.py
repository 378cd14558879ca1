"""The experiments on escape and basins: their laws against independent numbers, and small runs of each."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy

import jaxgd
from experiments.basins import distortion, product_weights
from experiments.escape import double_well, minibatch_dwell, moments, octopus, quadratic_saddle

EVERY = (quadratic_saddle, double_well, octopus, minibatch_dwell, product_weights, distortion)


@pytest.mark.parametrize("kind", quadratic_saddle.OPTIMIZERS)
def test_law_of_the_saddle_is_the_sum_over_its_survival(kind):
    """E N = sum P(N > k) for N the first k with s |Z| p_k >= R; p_k iterated, not from the roots."""
    growth, width = quadratic_saddle.growth_and_width(kind)
    if kind == quadratic_saddle.HEAVY_BALL:
        amplitudes, x, before = [], 1.0, 1.0
        for _ in range(400):
            amplitudes.append(quadratic_saddle.SCALE * x)
            x, before = x + quadratic_saddle.LEARNING_RATE * x + quadratic_saddle.MOMENTUM * (x - before), x
        amplitudes = np.array(amplitudes)
    else:
        amplitudes = width * growth ** np.arange(2_000)
    survival = scipy.special.erf(quadratic_saddle.RADIUS / amplitudes / np.sqrt(2))
    mean = survival.sum()
    variance = np.sum((2 * np.arange(survival.size) + 1) * survival) - mean**2
    np.testing.assert_allclose(quadratic_saddle.law(kind), (mean, variance), rtol=1e-4)


@pytest.mark.parametrize(
    "temperature", [0.15, *(pytest.param(cold, marks=pytest.mark.slow) for cold in (0.25, 0.10, 0.05))]
)
def test_quadrature_gives_the_published_passages_and_the_chain_tends_to_them(temperature):
    for level, published in zip((1.0, 0.0), double_well.PUBLISHED[temperature], strict=True):
        exact = double_well.passage(temperature, level)
        assert exact == pytest.approx(published, abs=5.1e-5)
        chain = [
            double_well.chain_passage(temperature, step, double_well.lowered(level, temperature, step))
            for step in double_well.STEPS
        ]
        assert 2 * chain[1] - chain[0] == pytest.approx(exact, rel=2e-3)
        assert abs(chain[0] / exact - 1) > 0.008  # which a single step is not
    np.testing.assert_allclose(double_well.OVERSHOOT, 0.5826, atol=1e-4)


def test_laws_of_the_octopus_and_of_the_weights_are_those_published():
    assert octopus.kappa(1.0, 0.25) == pytest.approx(2.7095, abs=5e-5)
    assert octopus.kappa(2.0, 0.125) == pytest.approx(4.1063, abs=5e-5)
    weights = product_weights.weights(3)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] == pytest.approx(0.515673**3)
    assert weights[0b101] == pytest.approx(0.515673 * 0.484327**2)


def test_intervals_of_mean_and_variance_cover():
    rng = np.random.default_rng(0)
    covered = np.zeros(2)
    for _ in range(2_000):
        times = rng.gumbel(size=200)
        rows = (
            moments.mean_row("", times, np.euler_gamma, ""),
            moments.variance_row("", times, np.pi**2 / 6, ""),
        )
        covered += [row.holds for row in rows]
    assert covered[0] / 2_000 > 0.997  # 0.999 meant
    assert covered[1] / 2_000 > 0.97  # the variance of 200 skewed times is itself skewed


def test_events_are_recorded_under_their_own_names(key):
    bowl = jaxgd.Landscape(value=lambda x: x**2, sample=lambda key: jnp.ones(()))
    events = {"z first": lambda x, v, g: x < 0.9, "a last": lambda x, v, g: x < 0.1}  # not in the order of the alphabet
    ends = jaxgd.descend(bowl, optax.sgd(0.1), 2, key=key, events=events)
    assert {name: steps.tolist() for name, steps in ends.event_steps.items()} == {"z first": [1, 1], "a last": [11, 11]}


@pytest.mark.slow
@pytest.mark.parametrize("module", EVERY, ids=lambda module: module.__name__)
def test_quick_run_prints_the_contract_and_draws_its_figure(module, check_quick_run):
    check_quick_run(module)
