"""No wrong verdict on random problems of known inertia, and few undecided where they can be told."""

from collections import Counter

import numpy as np
import pytest

import jaxgd
from experiments.verdicts.problems.outcomes import Outcome, outcomes
from experiments.verdicts.problems.random_inertia import Setting, batch, precision

SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("dim", "setting"),
    [
        (4, Setting()),
        (5, Setting(decades=8, shift=1e3, value_unit=-21)),
        (3, Setting(dtype="float32")),
        pytest.param(1, Setting(shift=1e6), marks=SLOW),
        pytest.param(40, Setting(decades=8), marks=SLOW),
        pytest.param(10, Setting(dtype="float32", decades=3), marks=SLOW),
    ],
    ids=str,
)
def test_no_verdict_on_a_random_problem_is_wrong(dim, setting):
    problems = batch(dim, setting, 100, seed=1)
    with precision(setting):
        points = jaxgd.classify(problems.landscape, problems.ends)
    says = outcomes(points, problems.truth, problems.size)
    wrong = Counter(problems.kind[says == Outcome.WRONG].tolist())
    assert not wrong
    undecided = (says == Outcome.UNDECIDED) & problems.can_tell
    assert undecided.sum() <= 0.05 * problems.can_tell.sum(), Counter(problems.kind[undecided].tolist())


@pytest.mark.slow
def test_intervals_of_the_lowest_eigenvalue_hold():
    problems = batch(6, Setting(), 300, seed=2)
    points = jaxgd.classify(problems.landscape, problems.ends)
    is_above = (points.index == 0) & np.isin(points.verdict, [0, 3]) & problems.truth.is_critical  # nearest to zero
    off = np.abs(points.lowest_eigenvalue - problems.lowest) - points.eigenvalue_error
    assert is_above.sum() > 10
    assert off[is_above].max() < 1e-14
