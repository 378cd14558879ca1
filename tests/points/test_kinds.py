"""Kinds: points alike up to an isometry that nobody declared are counted together, and nothing else is."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd import Landscape, Verdict
from jaxgd.points import kinds as room
from jaxgd.points.kinds import KindBy, kinds_of, max_spectra
from jaxgd.points.tally import Tally

WELL = np.array([-2.903534027771177, 2.746802773998988])  # minima of a coordinate of Styblinski and Tang's function


def normal(*shape, dtype=jnp.float64):
    return lambda key: jax.random.normal(key, shape, dtype)


def corners(places, dim):
    """Returns all points whose coordinates are among some places."""
    return np.stack(np.meshgrid(*[places] * dim, indexing="ij"), axis=-1).reshape(-1, dim)


@cache  # tests share its programs
def wells(dim, unit=1.0, dtype=jnp.float64):
    value = lambda x: jnp.asarray(unit, dtype) * jnp.sum(x**4 - 16 * x**2 + 5 * x) / 2
    return Landscape(value=value, sample=lambda key: 5 * jax.random.uniform(key, (dim,), dtype, -1, 1))


def counted(landscape, places, **how):
    places = jnp.asarray(places)
    return jaxgd.catalogue(landscape, jaxgd.classify(landscape, places), **how)


def test_minima_of_equal_coordinates_in_any_order_are_of_one_kind():
    landscape, places = wells(4), np.repeat(corners(WELL, 4), 2, axis=0)
    found = counted(landscape, places)
    assert (len(found), found.num_kinds) == (16, 5)
    assert np.bincount(found.kind).tolist() == [1, 4, 6, 4, 1]
    assert set(found.kind_by[found.kind == 2]) == {KindBy.SPECTRUM}
    assert found.kind_by[0] == KindBy.ALONE
    assert "16 minima of 5 kinds: same value and spectrum" in str(found)
    assert "`jaxgd.symmetry`" in str(found)

    # Rows of kinds, with hits, weights and what was not seen of their own.
    kinds = counted(landscape, places, up_to="isometry")
    assert len(kinds) == kinds.num_kinds == 5
    assert kinds.num_points.tolist() == [1, 4, 6, 4, 1]
    assert kinds.hits.tolist() == [2, 8, 12, 8, 2]
    assert kinds.weight.tolist() == [hits / 32 for hits in kinds.hits]
    assert np.all((kinds.weight_low < kinds.weight) & (kinds.weight < kinds.weight_high))
    assert np.bincount(kinds.entry).tolist() == [2, 8, 12, 8, 2]
    assert kinds.unseen == jaxgd.statistics.unseen_mass(kinds.hits)
    assert kinds.kinds() is kinds
    assert "5 kinds of 16 distinct critical points" in str(kinds)


@pytest.mark.slow
@pytest.mark.parametrize(("unit", "dtype"), [(1.0, jnp.float32), (1e-20, jnp.float64), (1e20, jnp.float64)])
def test_kinds_do_not_depend_on_units_of_value_or_precision(unit, dtype):
    found = counted(wells(3, unit, dtype), corners(WELL, 3).astype(dtype))
    assert np.bincount(found.kind).tolist() == [1, 3, 3, 1]


def test_equal_values_with_other_curvature_are_two_kinds():
    lopsided = Landscape(value=lambda x: (x[0] ** 2 - 1) ** 2 * (1 + 0.3 * x[0]) + x[1] ** 2, sample=normal(2))
    found = counted(lopsided, [[1.0, 0.0], [-1.0, 0.0]])
    np.testing.assert_allclose(found.value, 0, atol=1e-15)
    assert found.num_kinds == len(found) == 2
    assert "kind" not in str(found)


def test_points_of_other_verdict_or_index_are_other_kinds():
    landscape = wells(4)
    points = jaxgd.classify(landscape, jnp.asarray(corners(WELL, 4)[1:3]))
    assert kinds_of(landscape, points).kind.tolist() == [0, 0]
    for name, code in (("verdict", Verdict.SADDLE), ("index", 1), ("dimension", 1)):
        changed = getattr(points, name).copy()
        changed[1] = code
        assert kinds_of(landscape, replace(points, **{name: changed})).kind.tolist() == [0, 1]


@pytest.mark.slow
def test_kinds_of_batches_are_those_of_all_at_once(key):
    landscape, stop = wells(4), jaxgd.Stop(gradient_norm=1e-8, max_steps=5000)
    found = jaxgd.survey(landscape, optax.sgd(5e-3), 60, key=key, stop=stop, block_size=20)
    whole = jaxgd.catalogue(landscape, found.points)
    np.testing.assert_array_equal(found.catalogue.kind, whole.kind)
    np.testing.assert_array_equal(found.catalogue.kinds().hits, whole.kinds().hits)
    np.testing.assert_array_equal(found.catalogue.kinds().weight_high, whole.kinds().weight_high)

    # What a tally has seen of kinds, and had seen at its mark.
    tally = Tally(landscape=landscape, up_to="isometry")
    for begin in (0, 20, 40):
        tally.add(found.ends[begin : begin + 20], found.points[begin : begin + 20])
        if begin == 20:
            tally.mark()
    assert sorted(tally.hits) == sorted(whole.kinds().hits)
    assert tally.marked.sum() == 40
    assert np.all(tally.marked <= tally.hits)

    # A survey up to isometry is of kinds, and needs few starts to know them.
    kinds = jaxgd.survey(landscape, optax.sgd(5e-3), 60, key=key, stop=stop, block_size=20, up_to="isometry")
    np.testing.assert_array_equal(kinds.catalogue.hits, whole.kinds().hits)
    assert [point["num_points"] for point in kinds.to_json()["points"]] == kinds.catalogue.num_points.tolist()


def test_none_one_and_equal_points_have_as_many_kinds():
    landscape = wells(4)
    none = counted(landscape, [[0.3, 4.0, 0.3, 4.0]])
    assert (len(none), none.num_kinds, len(none.kinds())) == (0, 0, 0)
    for places in (corners(WELL, 4)[:1], np.repeat(corners(WELL, 4)[1:2], 7, axis=0)):
        found = counted(landscape, places, up_to="isometry")
        assert (len(found), found.num_points.tolist()) == (1, [1])


@pytest.mark.slow
def test_degenerate_points_have_kinds():
    flat = Landscape(value=lambda x: (x[0] ** 2 - 1) ** 4 + x[1] ** 2 * (1 + 0.1 * x[0] ** 2), sample=normal(2))
    found = counted(flat, [[1.0, 0.0], [-1.0, 0.0]])
    assert found.verdicts == {"degenerate": 2}
    assert "2 degenerate points of 1 kind:" in str(found)


@pytest.mark.slow
def test_valleys_along_which_the_spectrum_changes_are_told_by_their_value():
    """A hyperbola of two branches: the Hessian's trace is x^2 + 1 / x^2."""
    t = np.array([0.6, 1.0, 1.7, -0.7, -1.1, -1.5])
    hyperbola = Landscape(value=lambda x: (x[0] * x[1] - 1) ** 2 / 2, sample=normal(2))
    found = counted(hyperbola, np.stack([t, 1 / t], axis=1))
    assert found.dimension.tolist() == [1, 1]
    assert found.num_kinds == 1
    assert "2 of them were compared by value and dimension only" in str(found)


@pytest.mark.slow
def test_valleys_made_by_isometries_are_told_by_their_spectrum():
    """Two circles of one value: one steeper, and each the same all around."""

    def value(x):
        square = jnp.sum(x**2)
        return (square - 1) ** 2 * (square - 4) ** 2

    angle = np.linspace(0.1, 6, 4)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    landscape = Landscape(value=value, sample=normal(2))
    points = jaxgd.classify(landscape, jnp.asarray(np.concatenate([circle, 2 * circle])))
    points = replace(points, verdict=points.verdict * 0, index=points.index * 0, dimension=np.ones(8, np.int32))
    kinds = kinds_of(landscape, points)
    assert kinds.kind.tolist() == [0] * 4 + [1] * 4
    assert set(kinds.by) == {KindBy.SPECTRUM}


@pytest.mark.slow
def test_images_of_a_trained_network_are_of_one_kind():
    group = jaxgd.symmetry.hidden_units(["w1"], ["w2"], signs=True)
    inputs = jnp.linspace(-2, 2, 9)[:, None]
    goals = jnp.tanh(inputs @ jnp.array([[0.5, 1.5]])) @ jnp.array([[1.0], [-0.7]])
    value = lambda p: jnp.mean((jnp.tanh(inputs @ p["w1"]) @ p["w2"] - goals) ** 2)
    sample = lambda key: {"w1": jax.random.normal(key, (1, 2)), "w2": jax.random.normal(key, (2, 1))}
    best = {"w1": jnp.array([[0.5, 1.5]]), "w2": jnp.array([[1.0], [-0.7]])}
    images = jax.vmap(lambda key: group.random_motion(best, key))(jax.random.split(jax.random.key(0), 40))
    plain, declared = (Landscape(value=value, sample=sample, symmetry=symmetry) for symmetry in (None, group))
    points = jaxgd.classify(plain, images)
    found = jaxgd.catalogue(plain, points)
    assert (len(found), found.num_kinds) == (8, 1)
    assert len(jaxgd.catalogue(declared, points)) == 1


def test_no_more_spectra_are_computed_than_are_stated(monkeypatch):
    landscape = wells(4)
    points = jaxgd.classify(landscape, jnp.asarray(corners(WELL, 4)))
    whole = kinds_of(landscape, points)
    looked = []
    monkeypatch.setattr(room, "_MANY", 6)
    monkeypatch.setattr(room, "_FEW", 6)
    seen = room._seen
    monkeypatch.setattr(room, "_seen", lambda landscape, points: looked.append(len(points)) or seen(landscape, points))
    few = kinds_of(landscape, points)
    assert looked == [6] == [max_spectra(4)]
    np.testing.assert_array_equal(few.kind, whole.kind)
    assert np.bincount(few.by).tolist() == [2, 6, 8]
    assert (max_spectra(1024), max_spectra(10**6)) == (6, 6)


def test_points_too_large_for_a_spectrum_are_told_by_their_lowest_eigenvalue(monkeypatch):
    monkeypatch.setattr(room, "MAX_DENSE_DIM", 2)
    found = counted(wells(4), corners(WELL, 4))
    assert np.bincount(found.kind).tolist() == [1, 4, 6, 4, 1]
    assert np.bincount(found.kind_by).tolist() == [2, 0, 14]
    assert "14 of them were compared by value and lowest eigenvalue only" in str(found)


@pytest.mark.slow
def test_points_whose_hessian_is_not_finite_are_alone():
    landscape = wells(4)
    points = jaxgd.classify(landscape, jnp.asarray(corners(WELL, 4)[1:3]))
    broken = Landscape(value=lambda x: jnp.nan * jnp.sum(x**2), sample=landscape.sample)
    assert kinds_of(broken, points).kind.tolist() == [0, 1]


def test_an_unknown_level_of_counting_is_refused(key):
    with pytest.raises(jaxgd.InputValueError, match='`up_to` must be "symmetry" or "isometry", got \'rotation\''):
        jaxgd.survey(wells(4), num_starts=4, key=key, up_to="rotation")


# ------------------------------------------------------------------------------------------------------- slow


@pytest.mark.slow
def test_seven_atoms_as_a_plain_function_have_four_kinds_of_minima_and_four_minima_once_declared(key):
    known = jaxgd.landscapes.lennard_jones(num_atoms=7)
    energies = sorted(point.value for point in known.facts.points if point.index == 0)
    plain = Landscape(value=known.value, sample=known.sample)
    symmetry = jaxgd.symmetry.rigid_motions() * jaxgd.symmetry.permutations()
    declared = replace(plain, symmetry=symmetry)
    ends = jaxgd.descend(plain, jaxgd.transforms.lbfgs(max_step=0.1), 60, key=key, stop=known.default_stop)
    found = jaxgd.catalogue(plain, jaxgd.classify(plain, ends))
    kinds = found.kinds()
    assert len(found) > 4
    np.testing.assert_allclose(kinds.value[kinds.verdict == Verdict.MINIMUM], energies, atol=2e-5)
    assert set(kinds.dimension) == {6}
    minima = jaxgd.catalogue(declared, jaxgd.classify(declared, ends))
    np.testing.assert_allclose(minima.value[minima.verdict == Verdict.MINIMUM], energies, atol=2e-5)
    np.testing.assert_array_equal(minima.hits, kinds.hits)


@pytest.mark.slow
def test_charges_on_normalised_vectors_have_the_two_kinds_of_minima_of_the_tables(key):
    def energy(x):
        unit = x / jnp.sqrt(jnp.sum(x**2, axis=1, keepdims=True))
        square = jnp.sum((unit[:, None] - unit[None]) ** 2, axis=-1) + jnp.eye(16)
        return jnp.sum(jnp.triu(1 / jnp.sqrt(square), 1))

    plain = Landscape(value=energy, sample=normal(16, 3))
    points = jaxgd.classify(plain, jaxgd.descend(plain, jaxgd.transforms.lbfgs(), 12, key=key))
    kinds = jaxgd.catalogue(plain, points, up_to="isometry")
    np.testing.assert_allclose(kinds.value, [92.91165530, 92.92035396], atol=1e-7)
    assert set(kinds.dimension) == {19}

    # Declared, with lengths of rows, turns and the order of charges, the same two are points.
    symmetry = jaxgd.symmetry.scale(rows=True) * jaxgd.symmetry.orthogonal() * jaxgd.symmetry.permutations()
    minima = jaxgd.catalogue(replace(plain, symmetry=symmetry), points)
    np.testing.assert_allclose(minima.value, [92.91165530, 92.92035396], atol=1e-7)


@pytest.mark.slow
def test_minima_of_rastrigin_are_of_as_many_kinds_as_there_are_unordered_pairs_of_levels(key):
    landscape = jaxgd.landscapes.rastrigin(dim=2)
    points = jaxgd.classify(landscape, jnp.asarray(corners(0.995 * np.arange(-5.0, 6), 2)))
    found = jaxgd.catalogue(landscape, points)
    assert (len(found), found.num_kinds) == (121, 21)
