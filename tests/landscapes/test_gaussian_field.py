import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd import landscapes


@pytest.mark.parametrize("seed", [0, 2, 7])
def test_all_stationary_points_of_a_line_are_listed(seed, spectra):
    landscape = landscapes.gaussian_field(dim=1, seed=seed)
    points = landscape.facts.points
    batch = jnp.stack([jnp.asarray(point.params)[None] for point in points])
    values, grads = jax.vmap(landscape.evaluate)(batch)
    np.testing.assert_allclose(values, [point.value for point in points], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(grads, 0, atol=1e-12)
    assert [int(each[0] < 0) for each in spectra(landscape, batch)] == [point.index for point in points]
    assert [point.index for point in points] == [k % 2 for k in range(len(points))]


@pytest.mark.slow
def test_mean_number_of_stationary_points_is_that_of_kac_and_rice():
    facts = [landscapes.gaussian_field(dim=1, num_features=60, seed=seed).facts for seed in range(100)]
    for counts, expected in (
        ([each.num_critical_points for each in facts], 2.439),
        ([each.num_minima for each in facts], 1.719),
    ):
        standard_error = np.std(counts) / np.sqrt(len(counts))
        assert np.mean(counts) == pytest.approx(expected, abs=4 * standard_error)


def test_covariance_is_the_stated_one():
    dim, distance = 3, 1.5
    here, there = jnp.zeros(dim), jnp.array([distance, 0.0, 0.0])
    pairs = []
    for seed in range(300):
        field = landscapes.gaussian_field(dim=dim, num_features=100, seed=seed, m=0.6)
        pairs.append((field.value(here), field.value(there) - 0.3 * distance**2))
    first, second = np.array(pairs).T
    for product, expected in ((first**2, dim), (first * second, dim * np.exp(-(distance**2) / (2 * dim)))):
        assert product.mean() == pytest.approx(expected, abs=4 * product.std() / np.sqrt(len(product)))


def test_starts_are_twice_as_wide_as_the_trap_is_flat(key):
    landscape = landscapes.gaussian_field(dim=4, m=0.5)
    starts = jax.vmap(landscape.sample)(jax.random.split(key, 5000))
    np.testing.assert_allclose(jnp.mean(starts**2), 16, rtol=4 * np.sqrt(2 / 20_000))
