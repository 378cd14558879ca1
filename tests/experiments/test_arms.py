import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgd import InputValueError, Landscape, Stop
from jaxgd.experiment.arms import ticks_to, tuned, values_at

BOWL = Landscape(value=lambda x: jnp.sum(x**2) / 2, sample=lambda key: jax.random.normal(key, (2,)))
NEAR = {"near": lambda x, value, gradient: value < 1e-3}
STOP = Stop(gradient_norm=None, max_steps=30, at_event="near")


@pytest.fixture(scope="module")
def arm():
    cost = lambda ends: np.minimum(ticks_to(ends, "near"), 100)
    rates = [0.01, 0.3, 0.9, 2.5]
    return tuned(
        BOWL, optax.sgd, 6, rates=rates, key=jax.random.key(0), stop=STOP, num_tuning=3, events=NEAR, cost=cost
    )


def test_the_rate_with_the_least_cost_is_chosen(arm):
    assert arm.rate == 0.9
    assert arm.costs.argmin() == 2
    assert arm.costs[0] == arm.costs[3] == 100
    assert arm.is_inside


def test_starts_that_were_tuned_on_are_not_reported(arm):
    assert arm.ends.start_number.tolist() == [3, 4, 5, 6, 7, 8]
    assert np.isfinite(ticks_to(arm.ends, "near")).all()


def test_an_arm_that_leaves_the_finite_range_is_never_chosen():
    quartic = Landscape(value=lambda x: jnp.sum(x**4), sample=lambda key: 3 + jax.random.uniform(key, (2,)))
    wild = tuned(
        quartic, optax.sgd, 2, rates=[1e-3, 10.0], key=jax.random.key(0), stop=Stop(max_steps=20), num_tuning=2
    )
    assert wild.rate == 1e-3
    assert not wild.is_inside


def test_values_are_exact_and_events_that_did_not_fire_cost_infinity(arm):
    np.testing.assert_allclose(values_at(BOWL, arm.ends.params), np.sum(arm.ends.params**2, axis=1) / 2)
    assert ticks_to(arm.ends, "near").dtype == float


@pytest.mark.parametrize("counts", [(0, 1), (1, 0)])
def test_no_starts_are_refused(counts):
    with pytest.raises(InputValueError, match="must be at least 1"):
        tuned(BOWL, optax.sgd, counts[0], num_tuning=counts[1], rates=[0.1], key=jax.random.key(0))
