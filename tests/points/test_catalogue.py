"""The catalogue: which points are the same, and how sure the counts are."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd import Landscape, Verdict, landscapes
from jaxgd.points.catalogue import errors_of, invariants_of
from jaxgd.points.sameness import equal_rows, group


@pytest.mark.slow
def test_basin_weights_of_styblinski_tang_are_products(key):
    landscape = landscapes.styblinski_tang(dim=3)
    found = jaxgd.survey(landscape, "sgd:learning_rate=0.005", 4000, key=key, confidence=0.999).catalogue
    left = (found.params < 0).sum(axis=1)
    exact = 0.515673**left * 0.484327 ** (3 - left)
    assert len(found) == 8
    assert np.all((found.weight_low < exact) & (exact < found.weight_high))
    assert found.hits.sum() == 4000
    assert found.unseen.mass == 0
    assert found.unseen.mass_high < 0.005


def test_points_that_agree_in_value_alone_stay_distinct(key):
    twins = Landscape(value=lambda x: (x**2 - 1) ** 2, sample=lambda k: jax.random.normal(k, ()))
    found = jaxgd.survey(twins, optax.sgd(0.05), 50, key=key).catalogue
    np.testing.assert_allclose(np.sort(found.params), [-1, 1], atol=1e-9)
    mirrored = Landscape(
        value=twins.value,
        sample=twins.sample,
        symmetry=jaxgd.Symmetry(name="sign", invariants=lambda x: jnp.abs(x)[None]),
    )
    assert len(jaxgd.survey(mirrored, optax.sgd(0.05), 50, key=key).catalogue) == 1


@pytest.mark.slow
def test_a_found_subset_says_that_more_is_there(key):
    found = jaxgd.survey(landscapes.rastrigin(dim=4), num_starts=300, key=key).catalogue
    assert len(found) < 300 < 11**4
    assert found.unseen.mass_low > 0.5
    assert found.unseen.num_low > 300
    assert "Unseen" in str(found)


@pytest.mark.slow
def test_descents_that_found_nothing_still_count(key):
    half = Landscape(value=lambda x: jnp.where(x > 0, (x - 1) ** 2, -(x**4)), sample=lambda k: jax.random.normal(k, ()))
    found = jaxgd.survey(half, optax.sgd(0.1), 400, key=key)
    (minimum,) = np.flatnonzero(found.catalogue.verdict == Verdict.MINIMUM)
    assert found.catalogue.num_descents == 400
    assert 0.3 < found.catalogue.weight[minimum] < 0.7
    np.testing.assert_array_equal(found.catalogue.entry == minimum, found.points.verdict == Verdict.MINIMUM)


@pytest.mark.slow
def test_nothing_found_is_a_table_that_says_so(key):
    falling = Landscape(value=lambda x: -(x**4), sample=lambda k: 1 + jax.random.uniform(k, ()))
    found = jaxgd.survey(falling, optax.sgd(0.1), 5, key=key)
    assert len(found.catalogue) == 0
    assert found.catalogue.unseen is None
    assert "no critical point was found" in str(found)
    assert "5 diverged" in str(found)
    assert found.to_json()["unseen"]["mass"] is None


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_those_of_the_points_that_were_scattered(seed):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, 3))
    label = rng.integers(20, size=500)
    value = np.round(np.linalg.norm(centres, axis=1), 1)[label] + 1e-10 * rng.normal(size=500)
    found, leaders = group(
        np.zeros((500, 1)),
        value,
        np.full(500, 5e-9),
        centres[label] + 1e-8 * rng.normal(size=(500, 3)),
        np.full((500, 3), 1e-6),
        np.ones(500),
    )
    assert len(leaders) == len(np.unique(label))
    assert len(set(zip(found, label, strict=True))) == len(leaders)


@pytest.mark.parametrize("size", [12, pytest.param(16, marks=pytest.mark.slow)])
def test_of_all_sign_vectors_none_is_lost(size):
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * size, indexing="ij")).reshape(size, -1).T
    twice = np.concatenate([signs, signs])
    first, which = equal_rows([np.zeros(len(twice)), twice])
    assert len(first) == 2**size
    np.testing.assert_array_equal(twice[first[which]], twice)
    entry, leaders = group(
        np.zeros((2**size, 1)),
        np.ones(2**size),
        np.full(2**size, 1e-12),
        signs,
        np.full(signs.shape, 1e-9),
        np.ones(2**size),
    )
    assert len(leaders) == len(np.unique(entry)) == 2**size


def test_each_point_brings_its_own_error():
    place = np.array([[0.0], [1e-3], [2e-3], [5.0]])
    error = np.array([[1e-9], [2e-3], [1e-9], [1e-9]])
    entry, _ = group(np.zeros((4, 1)), np.zeros(4), np.full(4, 1e-9), place, error, np.arange(4.0))
    assert len(np.unique(entry)) == 3
    assert entry[0] == entry[1] != entry[2]


def test_errors_of_differences_of_coordinates_do_not_cancel():
    """Moved together, two angles keep their difference: their own errors still show in it."""
    angles = jaxgd.Landscape(
        value=lambda x: jnp.sum(jnp.sin(x - jnp.roll(x, 1)) ** 2),
        sample=lambda key: jax.random.uniform(key, (3,), maxval=6.0),
        symmetry=jaxgd.symmetry.torus(),
    )
    turns = np.random.default_rng(0).uniform(0, 6, (200, 1)) + np.zeros(3)
    points = jaxgd.classify(angles, jnp.asarray(turns))
    points = dataclasses.replace(points, placement=np.full_like(turns, 1e-9))
    invariants = invariants_of(angles, points.params)
    assert errors_of(angles, points, invariants)[:, 1::2].min() > 1e-12  # of the sines
