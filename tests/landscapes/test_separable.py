from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd import landscapes


@pytest.mark.parametrize("builder", [landscapes.product_double_well, landscapes.styblinski_tang])
@pytest.mark.parametrize("dim", [1, 3, 5])
def test_saddles_of_index_k_number_binomial(builder, dim):
    facts = builder(dim=dim).facts
    assert (facts.num_minima, facts.num_critical_points) == (2**dim, 3**dim)
    found = np.bincount([point.index for point in facts.points])
    assert found.tolist() == [comb(dim, k) * 2 ** (dim - k) for k in range(dim + 1)]


def test_beyond_a_thousand_points_only_the_lowest_is_listed():
    facts = landscapes.styblinski_tang(dim=10).facts
    assert (facts.num_minima, facts.num_critical_points, len(facts.points)) == (1024, 59_049, 1)
    assert facts.points[0].value == pytest.approx(-391.661657, abs=1e-6)


def test_styblinski_tang_matches_published_coordinates(eigenvalues):
    landscape = landscapes.styblinski_tang(dim=1)
    points = landscape.facts.points
    np.testing.assert_allclose([p.params[0] for p in points], [-2.90353403, 2.74680277, 0.15673126], atol=5e-9)
    np.testing.assert_allclose([p.value for p in points[:2]], [-39.1661657, -25.0294467], atol=5e-8)
    bends = [eigenvalues(landscape, jnp.asarray(point.params))[0] for point in points[:2]]
    np.testing.assert_allclose(bends, [34.583, 29.270], atol=5e-4)


def test_styblinski_tang_goes_left_as_often_as_the_maximum_says(descend):
    top = landscapes.styblinski_tang(dim=1).facts.points[2].params[0]
    assert (top + 5) / 10 == pytest.approx(0.515673, abs=5e-7)
    edges = jnp.array([[-5.0], [top - 1e-3], [top + 1e-3], [5.0]])
    ends = descend(landscapes.styblinski_tang(dim=1), edges, 0.0069, 2000)
    np.testing.assert_allclose(ends[:, 0], [-2.903534, -2.903534, 2.746803, 2.746803], atol=1e-6)


def test_rastrigin_has_eleven_minima_and_ten_maxima_a_coordinate():
    facts = landscapes.rastrigin(dim=1).facts
    assert (facts.num_minima, facts.num_critical_points) == (11, 21)
    assert sorted(point.index for point in facts.points) == [0] * 11 + [1] * 10
    assert facts.points[0].value == pytest.approx(0, abs=1e-14)
    assert facts.max_learning_rate == pytest.approx(2 / 396.8, rel=1e-4)
    assert landscapes.rastrigin(dim=3).facts.num_critical_points == 21**3


def test_value_is_a_sum_over_coordinates(key):
    for builder in (landscapes.product_double_well, landscapes.styblinski_tang, landscapes.rastrigin):
        x = jax.random.normal(key, (7,))
        parts = jax.vmap(builder(dim=1).value)(x[:, None])
        np.testing.assert_allclose(builder(dim=7).value(x), jnp.sum(parts), rtol=1e-12)
