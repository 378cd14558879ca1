import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd import landscapes


def test_quadratic_saddle_has_the_stated_curvatures(eigenvalues, key):
    landscape = landscapes.quadratic_saddle(dim=5, index=2, descent_curvature=0.5, ascent_curvature=3.0)
    np.testing.assert_allclose(eigenvalues(landscape, landscape.sample(key)), [-0.5, -0.5, 3, 3, 3])


@pytest.mark.parametrize(("index", "num_minima", "rate"), [(0, 1, 2.0), (1, 0, None), (3, 0, None)])
def test_quadratic_saddle_is_a_minimum_only_at_index_zero(index, num_minima, rate):
    facts = landscapes.quadratic_saddle(dim=3, index=index).facts
    assert (facts.num_minima, facts.max_learning_rate) == (num_minima, rate)


@pytest.mark.parametrize(("start", "variance"), [("normal", 0.25), ("uniform", 0.25 / 3)])
def test_quadratic_saddle_starts_with_the_variance_of_its_law(start, variance, key):
    landscape = landscapes.quadratic_saddle(dim=4, start=start, scale=0.5)
    starts = jax.vmap(landscape.sample)(jax.random.split(key, 5000))
    np.testing.assert_allclose(jnp.mean(starts**2), variance, rtol=4 * np.sqrt(2 / 20_000))


def test_monkey_saddle_has_three_fold_symmetry_and_no_curvature(eigenvalues, key):
    landscape = landscapes.monkey_saddle()
    x = landscape.sample(key)
    turn = 2 * np.pi / 3
    rotation = jnp.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    np.testing.assert_allclose(landscape.value(rotation @ x), landscape.value(x), rtol=1e-12)
    np.testing.assert_allclose(eigenvalues(landscape, jnp.zeros(2)), 0)
    np.testing.assert_allclose(eigenvalues(landscape, jnp.array([-1.0, 0.0])), [3, 9])
