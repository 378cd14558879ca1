"""A survey that only counts finds what one that keeps everything finds; `until` stops on fresh descents."""

import jax
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd import InputValueError, Landscape, Symmetry, survey

WELLS = jaxgd.landscapes.styblinski_tang(dim=2)


@pytest.fixture(scope="module")
def whole():
    return survey(WELLS, "sgd:learning_rate=0.005", 1500, key=jax.random.key(0))


def test_counting_gives_the_catalogue_that_keeping_gives(whole):
    counted = survey(WELLS, "sgd:learning_rate=0.005", 1500, key=jax.random.key(0), keep="catalogue", block_size=400)
    one, other = (np.lexsort(np.round(found.catalogue.params, 6).T) for found in (counted, whole))  # values are tied
    for name in ("params", "value", "hits", "weight_low", "weight_high", "index"):
        of_one, of_other = getattr(counted.catalogue, name)[one], getattr(whole.catalogue, name)[other]
        np.testing.assert_allclose(of_one, of_other, rtol=1e-9)
    np.testing.assert_array_equal(np.argsort(one)[counted.catalogue.entry], np.argsort(other)[whole.catalogue.entry])
    assert counted.catalogue.unseen == whole.catalogue.unseen
    assert counted.to_json()["status"] == whole.to_json()["status"] == {"converged": 1500}
    assert counted.to_json()["verdicts"] == {"minimum": 1500}
    assert counted.ends is counted.points is None
    assert "4 distinct critical points from 1,500 descents" in str(counted)


def test_until_stops_at_the_first_block_whose_fresh_descents_show_little_unseen(whole):
    found = survey(WELLS, "sgd:learning_rate=0.005", 100_000, key=jax.random.key(0), until=0.02)
    assert len(found.ends) == found.ends.num_starts == 2048  # every point of the first block was new
    np.testing.assert_array_equal(found.ends.num_steps[:1500], whole.ends.num_steps)
    assert found.cost.ticks == found.ends.num_steps.sum() + 2048
    np.testing.assert_allclose(found.points.value, found.catalogue.value[found.catalogue.entry], rtol=1e-12)


def test_argon_in_metres_and_joules_has_the_minimum_and_the_rigid_motions_of_reduced_units():
    reduced, metres, joules = jaxgd.landscapes.lennard_jones(num_atoms=3), 3.4e-10, 1.65e-21
    argon = Landscape(
        value=lambda x: joules * reduced.value(x / metres),
        sample=lambda key: metres * reduced.sample(key),
        symmetry=Symmetry(
            name="rigid motions",
            invariants=lambda x: reduced.symmetry.invariants(x / metres),
            generators=reduced.symmetry.generators,
        ),
        name="argon",
    )
    optimizer = optax.chain(optax.clip_by_global_norm(50 * joules / metres), optax.sgd(2e-3 * metres**2 / joules))
    found = survey(argon, optimizer, 12, key=jax.random.key(0))
    assert found.to_json()["status"] == {"converged": 12}
    assert found.points.verdict_counts() == {"minimum": 12}
    assert found.ends.num_steps.min() > 10
    np.testing.assert_allclose(found.catalogue.value, [-3 * joules], rtol=1e-9)
    assert found.catalogue.num_zero_modes.tolist() == [6]
    assert found.notes == ()


@pytest.mark.slow
def test_until_that_is_out_of_reach_ends_with_all_starts():
    found = survey(WELLS, "sgd:learning_rate=0.005", 1100, key=jax.random.key(0), until=1e-6, keep="catalogue")
    assert found.catalogue.num_descents == 1100


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"engine": {"num_lanes": 4}}, "`engine` must be a jaxgd.Engine"),
        ({"keep": "all"}, '`keep` must be "ends" or "catalogue"'),
        ({"until": 1.0}, "`until` must lie strictly between"),
        ({"out": ""}, "`out` must name a directory"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong, sentence):
    with pytest.raises((InputValueError, jaxgd.InputTypeError), match=sentence):
        survey(WELLS, num_starts=10, key=jax.random.key(0), **wrong)
