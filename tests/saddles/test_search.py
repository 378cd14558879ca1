import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from jaxgd import InputTypeError, InputValueError, Landscape, landscapes

WELLS = landscapes.product_double_well(dim=2)  # 4 minima, 4 saddles, a maximum
SURFACE = landscapes.mueller_brown()


def plane(value, name="plane"):
    """A landscape on the plane with normal starts."""
    return Landscape(value=value, sample=lambda key: jax.random.normal(key, (2,)), name=name)


BOWL = plane(lambda x: jnp.sum(x**2))


def test_saddles_of_mueller_and_brown_are_both_found(key):
    found = jaxgd.saddles(SURFACE, num_starts=150, key=key)
    known = sorted(point.value for point in SURFACE.facts.points if point.index == 1)
    np.testing.assert_allclose(found.of_index(1).value, known, rtol=1e-10)
    assert found.unseen[1].mass == 0
    assert "Index 1: 2 distinct" in str(found)


def test_points_of_every_index_are_found(key):
    found = jaxgd.critical_points(SURFACE, num_starts=150, key=key)
    np.testing.assert_allclose(found.catalogue.value, sorted(p.value for p in SURFACE.facts.points), rtol=1e-10)
    assert sorted(found.unseen) == [0, 1]


def test_each_wanted_index_is_found_and_counted_by_itself(key):
    found = jaxgd.saddles(WELLS, index=range(3), num_starts=60, key=key)
    assert [len(found.of_index(index)) for index in range(3)] == [4, 4, 1]
    assert len(found.searched) == len(found.catalogue.entry) == 180
    hits = np.bincount(found.catalogue.entry[found.catalogue.entry >= 0], minlength=9)
    np.testing.assert_array_equal(hits, found.catalogue.hits)
    assert found.index == (0, 1, 2)


def test_saddles_beside_the_minima_of_a_survey_are_found(key):
    minima = jaxgd.survey(WELLS, num_starts=40, key=key, keep="catalogue")
    found = jaxgd.saddles(WELLS, minima, num_starts=60, key=key)
    assert len(found.of_index(1)) == 4
    assert found.start == "beside 4 known points"


def test_a_symmetry_does_not_hide_its_points(key):
    """The value does not depend on the length, so the Hessian is singular wherever the gradient vanishes."""
    spins = landscapes.spherical_p_spin(dim=4, p=2)
    found = jaxgd.critical_points(spins, num_starts=100, key=key)
    assert len(found) == spins.facts.num_critical_points == 8
    assert sorted(found.catalogue.index) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_landscape_without_saddles_has_none(key):
    found = jaxgd.saddles(BOWL, index=(0, 1), num_starts=30, key=key)
    assert (len(found.of_index(0)), len(found.of_index(1))) == (1, 0)
    nothing = jaxgd.saddles(BOWL, num_starts=30, key=key)
    assert len(nothing) == 0
    assert nothing.unseen[1].mass_high == 1
    assert "no critical point was found" in str(nothing)


def test_what_runs_off_to_infinity_has_escaped(key):
    found = jaxgd.critical_points(plane(lambda x: jnp.exp(-x[0]) + jnp.exp(-x[1])), num_starts=20, key=key)
    assert found.outcomes == {"escaped": 20}
    assert "20 escaped" in str(found)


def test_a_degenerate_saddle_is_no_saddle_of_index_one(key):
    monkey = plane(lambda x: x[0] ** 3 - 3 * x[0] * x[1] ** 2)
    found = jaxgd.critical_points(monkey, num_starts=30, key=key)
    assert set(found.outcomes) <= {"degenerate", "stuck", "step_limit", "escaped", "undecided"}
    assert found.outcomes["degenerate"] > 0
    assert not len(found.of_index(1))


def test_points_of_one_valley_are_one_entry(key):
    ring = plane(lambda x: (jnp.sum(x**2) - 1) ** 2)
    found = jaxgd.saddles(ring, index=0, num_starts=20, key=key)
    assert (len(found), found.catalogue.dimension[0]) == (1, 1)
    assert found.catalogue.hits[0] == found.outcomes["minimum"] > 5


def test_same_seed_gives_the_same_and_more_starts_only_add(key):
    minima = jaxgd.survey(WELLS, num_starts=40, key=key, keep="catalogue")
    first, again, more = (jaxgd.saddles(WELLS, minima, num_starts=n, key=key) for n in (30, 30, 45))
    np.testing.assert_array_equal(first.catalogue.params, again.catalogue.params)
    np.testing.assert_array_equal(first.catalogue.entry, again.catalogue.entry)
    where = lambda found: np.round(found.catalogue.params[found.catalogue.entry[:30]], 9)
    np.testing.assert_array_equal(where(first), where(more))


def test_search_ends_when_little_is_unseen(key):
    found = jaxgd.saddles(WELLS, num_starts=100_000, until=0.05, key=key)
    assert 256 <= found.num_starts < 2_000
    assert found.unseen[1].mass_high < 0.05


def test_interruption_keeps_what_was_found(key):
    stop = lambda phase, done, total: signal.raise_signal(signal.SIGINT)
    found = jaxgd.saddles(WELLS, num_starts=10_000, key=key, progress=stop)
    assert found.is_interrupted
    assert 0 < found.num_starts < 10_000
    assert len(found.of_index(1)) == 4
    assert "Interrupted" in str(found)


@pytest.mark.slow
def test_units_of_values_and_coordinates_do_not_matter(key):
    unit = jnp.array([1e-5, 1e3])
    scaled = Landscape(value=lambda x: 1e-6 * SURFACE.value(x / unit), sample=lambda key: unit * SURFACE.sample(key))
    plain, other = (jaxgd.saddles(one, num_starts=150, key=key) for one in (SURFACE, scaled))
    np.testing.assert_allclose(other.of_index(1).value, 1e-6 * plain.of_index(1).value)
    np.testing.assert_allclose(other.catalogue.hits, plain.catalogue.hits, atol=2)


@pytest.mark.slow
def test_params_keep_their_structure(key):
    pair = Landscape(
        value=lambda p: WELLS.value(p["x"]) + p["y"] ** 2,
        sample=lambda key: {"x": WELLS.sample(key), "y": jax.random.normal(key)},
    )
    found = jaxgd.saddles(pair, num_starts=60, key=key)
    assert found.of_index(1).params["x"].shape == (4, 2)
    given = {"x": jnp.full((3, 2), 0.9), "y": jnp.zeros(3)}
    assert jaxgd.saddles(pair, given, key=key).num_starts == 3


@pytest.mark.slow
def test_single_precision_finds_the_same_points(key):
    wells = Landscape(value=WELLS.value, sample=lambda key: jnp.asarray(WELLS.sample(key), jnp.float32))
    found = jaxgd.saddles(wells, num_starts=60, key=key)
    assert found.catalogue.params.dtype == np.float32
    assert len(found.of_index(1)) == 4


@pytest.mark.slow
@pytest.mark.parametrize(("num_atoms", "num_starts", "num_saddles"), [(6, 1_000, 3), (7, 6_000, 12), (8, 4_000, 42)])
def test_all_saddles_of_clusters_are_found_and_no_other(key, num_atoms, num_starts, num_saddles):
    atoms = landscapes.lennard_jones(num_atoms=num_atoms)
    minima = jaxgd.survey(atoms, num_starts=2_000, key=key, keep="catalogue")
    found = jaxgd.saddles(atoms, minima, num_starts=num_starts, key=key)
    assert len(found.of_index(1)) == num_saddles
    assert np.all(found.of_index(1).num_zero_modes == 6)
    if num_atoms == 7:
        known = sorted(point.value for point in atoms.facts.points if point.index == 1)
        np.testing.assert_allclose(found.of_index(1).value, known, atol=1e-4)


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (InputValueError, "`index` must be at most the number of parameters, 2, got 3", {"index": 3}),
        (InputTypeError, "`index` must be an integer, several of them or None, got 'one'", {"index": "one"}),
        (InputValueError, "`index` holds no number", {"index": ()}),
        (InputValueError, "`index` must be at least 0", {"index": -1}),
        (InputValueError, "`max_move` must be positive", {"max_move": 0.0}),
        (InputValueError, "`reach` must be positive", {"reach": float("nan")}),
        (InputValueError, "`max_steps` must be at least 1", {"max_steps": 0}),
        (InputValueError, "`until` must lie strictly between", {"until": 1.0}),
        (InputValueError, "either `num_starts` or points", {"start": jnp.ones((3, 2)), "num_starts": 5}),
        (InputValueError, r"have shapes \[\(3,\)\], but landscape", {"start": jnp.ones((3, 3))}),
        (InputValueError, "`confidence` must", {"confidence": 2.0}),
    ],
)
def test_what_cannot_be_meant_is_refused(key, error, message, options):
    with pytest.raises(error, match=message):
        jaxgd.saddles(BOWL, key=key, **options)


def test_a_catalogue_of_nothing_is_refused(key):
    nothing = jaxgd.saddles(BOWL, num_starts=5, key=key)
    with pytest.raises(InputValueError, match="holds no critical point"):
        jaxgd.saddles(BOWL, nothing, key=key)


def test_landscapes_too_large_for_whole_hessians_are_refused(key):
    large = Landscape(value=lambda x: jnp.sum(x**2), sample=lambda key: jnp.ones(2_000), name="large")
    with pytest.raises(InputValueError, match="`large` has 2,000 parameters"):
        jaxgd.saddles(large, num_starts=1, key=key)
