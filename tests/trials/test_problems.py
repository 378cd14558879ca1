"""Problems with listed critical points, through a survey with jaxgd's own settings: nothing wrong, little undecided."""

import pytest

from experiments.verdicts.problems import classical, more_garbow_hillstrom, networks, nist_strd, regressions, symmetric
from experiments.verdicts.problems.problem import Problem, tried

FAMILIES = (classical, more_garbow_hillstrom, nist_strd, regressions, networks, symmetric)
FAST = ("Powell badly scaled", "Misra1c", "phases of pairs")


LISTED = [
    pytest.param(problem, id=problem.title, marks=() if problem.title in FAST else pytest.mark.slow)
    for family in FAMILIES
    for problem in family.problems()
]


@pytest.mark.parametrize("problem", LISTED)
def test_no_verdict_on_a_listed_problem_is_wrong(problem: Problem) -> None:
    row = tried(problem, "trial", num_starts=min(problem.num_starts, 50))
    assert row.wrong == 0, row.details
    assert row.undecided_needlessly <= 0.05 * row.num_trials, row.details
