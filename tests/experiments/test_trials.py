"""The rule that compares verdicts with the truth, and the table made of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from experiments.verdicts.problems.outcomes import NOTHING, Outcome, Truth, minimum, outcomes
from experiments.verdicts.problems.problem import Known, Problem, tried


@pytest.fixture(scope="module")
def bowl() -> jaxgd.Points:
    landscape = jaxgd.Landscape(
        value=lambda x: jnp.sum(x**2), sample=lambda key: jax.random.normal(key, (2,)), name="bowl"
    )
    return jaxgd.classify(landscape, jnp.zeros((1, 2)))


@pytest.mark.parametrize(
    ("truth", "outcome"),
    [
        (minimum(2), Outcome.RIGHT),
        (NOTHING, Outcome.WRONG),
        (minimum(2, dimension=1), Outcome.WRONG),
        (Truth(num_positive=1), Outcome.WRONG),
        (Truth(num_positive=1, num_negative=1), Outcome.WRONG),
    ],
)
def test_a_minimum_is_right_only_at_a_minimum(bowl, truth, outcome):
    assert outcomes(bowl, truth, 2).tolist() == [outcome]


def test_a_degenerate_verdict_is_undecided_where_there_is_curvature_and_right_where_there_is_none():
    landscape = jaxgd.Landscape(value=lambda x: jnp.sum(x**4), sample=lambda key: jax.random.normal(key, (2,)))
    points = jaxgd.classify(landscape, jnp.zeros((1, 2)))
    assert outcomes(points, Truth(), 2).tolist() == [Outcome.RIGHT]
    assert outcomes(points, minimum(2), 2).tolist() == [Outcome.UNDECIDED]


def test_a_point_that_is_not_listed_is_wrong_and_a_listed_one_right():
    wells = dict(
        source="closed form", value=lambda x: jnp.sum((x**2 - 1) ** 2), sample=lambda key: jax.random.normal(key, (1,))
    )
    both = (Known(value=0.0, params=np.ones(1)), Known(value=0.0, params=-np.ones(1)))
    right, wrong = (
        tried(Problem(name="wells", known=known, num_starts=20, **wells), "test") for known in (both, both[:1])
    )
    assert (right.right, right.wrong) == (23, 0)  # twenty ends, two listed points, one count
    assert wrong.wrong > 0
    assert any("where none is listed" in line for line in wrong.details)
