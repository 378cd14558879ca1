"""The bowls and valleys that claims about learning rates are tested on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd import landscapes


def test_quadratic_bowl_has_the_same_spectrum_along_any_axes(eigenvalues):
    for axes in ("aligned", "rotated"):
        bowl = landscapes.quadratic_bowl(dim=3, condition_number=100.0, axes=axes)
        np.testing.assert_allclose(eigenvalues(bowl, jnp.zeros(3)), [1, 10, 100], rtol=1e-10)


def test_the_best_constant_rate_shrinks_the_error_as_stated(descend):
    bowl = landscapes.quadratic_bowl(dim=2, condition_number=9.0)
    end = descend(bowl, jnp.ones((1, 2)), 2 / 10, 5)
    np.testing.assert_allclose(np.abs(end), 0.8**5)


def test_rotation_is_one_draw_and_hides_the_axes():
    one, other = (landscapes.quadratic_bowl(dim=4, axes="rotated", seed=seed) for seed in (0, 1))
    x = jnp.arange(4.0)
    again = landscapes.quadratic_bowl(dim=4, axes="rotated", seed=0)
    assert float(one.value(x)) == float(again.value(x))
    assert float(one.value(x)) != pytest.approx(float(other.value(x)), rel=1e-3)


def test_changing_valley_has_one_slope_on_its_walls_and_one_on_its_floor():
    valley = landscapes.changing_valley(dim=1, steepness=50.0, floor=20.0)
    slope = lambda x: float(valley.gradient(jnp.array([x]))[0])
    assert slope(8.0) == pytest.approx(1, abs=0.01)
    assert slope(40.0) == pytest.approx(51, abs=0.01)
    assert slope(-40.0) == -slope(40.0)


def test_long_valley_is_straight_and_starts_at_its_far_end(key):
    valley = landscapes.long_valley(length=50.0, half_width=0.5)
    starts = jax.vmap(valley.sample)(jax.random.split(key, 100))
    assert (starts[:, 0] == 50).all()
    assert 0.3 < float(jnp.abs(starts[:, 1]).max()) <= 0.5
    np.testing.assert_allclose(valley.gradient(jnp.array([50.0, 0.0])), [50 / 2501**0.5, 0.0])


def test_sparse_goal_is_felt_as_stated_and_its_noise_has_no_mean(key):
    goal = landscapes.sparse_goal(dim=4, width=0.5, noise=2.0)
    x = jnp.ones(4)
    np.testing.assert_allclose(goal.gradient(x), np.exp(-2), rtol=1e-12)  # x / (dim width^2) = 1
    draws = jax.vmap(lambda k: goal.evaluate_noisy(x, k)[1])(jax.random.split(key, 20_000)) - goal.gradient(x)[None]
    assert np.abs(draws.mean(axis=0)).max() < 4 * 2 / 20_000**0.5
    np.testing.assert_allclose(draws.std(axis=0), 2.0, rtol=0.03)


@pytest.mark.parametrize(("ruggedness", "num_minima"), [(0.99, 1), (4.60, 1), (4.61, 3), (50.0, 17)])
def test_rugged_bowl_gets_minima_of_its_own(ruggedness, num_minima):
    facts = landscapes.rugged_bowl(dim=1, ruggedness=ruggedness).facts
    assert facts.num_minima == num_minima
    assert facts.num_critical_points == 2 * num_minima - 1
