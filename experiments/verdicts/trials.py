"""Are verdicts true on other people's problems?

The public trial ground: published test problems, reference regressions, classical functions with all critical points
known, statistics, small networks, symmetric and scale-invariant functions, and random problems whose inertia is known
by construction, through `survey` and `classify` with their own settings. Every end is a trial, every listed critical
point judged by itself is one, and so is the number of distinct points in each catalogue. What is right, undecided and
wrong is said in `experiments.verdicts.problems.outcomes`. Undecided counts against the claim only where the numbers
have the digits to tell.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import jaxgd
from experiments.verdicts.problems import (
    classical,
    more_garbow_hillstrom,
    networks,
    nist_strd,
    random_inertia,
    regressions,
    symmetric,
)
from experiments.verdicts.problems.outcomes import Outcome, outcomes
from experiments.verdicts.problems.problem import Row, tried
from jaxgd import Verdict, experiment
from jaxgd.experiment import Claim

FAMILIES = {
    "classical functions": classical,
    "More-Garbow-Hillstrom": more_garbow_hillstrom,
    "NIST StRD": nist_strd,
    "regressions": regressions,
    "networks": networks,
    "symmetric functions": symmetric,
}
NUM_RANDOM, NUM_RANDOM_QUICK = 10_000, 600
QUICK = 4  # every so many of the problems, and this share of the starts, in a quick run


@dataclass(frozen=True, kw_only=True)
class Trials(Claim):
    """The claim with the table of all problems.

    Attributes:
      problems: what came of each.
    """

    problems: list[Row] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Returns the object of the contract, with the table."""
        return super().to_json() | {"problems": [_columns(row) | {"details": row.details} for row in self.problems]}

    def __str__(self) -> str:
        """Returns the table of problems, what was wrong, and the claim."""
        rows = [{name: str(value) for name, value in _columns(row).items()} for row in self.problems]
        wrong = [f"{row.family}, {row.name}: {line}" for row in self.problems if row.wrong for line in row.details]
        return "\n\n".join([experiment.table(rows), "\n".join(wrong) or "Nothing was wrong.", super().__str__()])


def measure(options: experiment.Options) -> Trials:
    """Returns what came of all problems, or of a share of them if quick."""
    rows = [*_listed(options.quick), *_random(NUM_RANDOM_QUICK if options.quick else NUM_RANDOM)]
    statistics = []
    for family in dict.fromkeys(row.family for row in rows):
        of = [row for row in rows if row.family == family]
        num, wrong = sum(row.num_trials for row in of), sum(row.wrong for row in of)
        needless = sum(row.undecided_needlessly for row in of) / num
        statistics += [
            experiment.exactly(f"{family}: wrong", wrong, expected=0, source="known truth", num_descents=num),
            experiment.exactly(f"{family}: undecided where it can be told", needless, at_most=0.05, num_descents=num),
        ]
    return Trials(
        name="verdicts.trials",
        claim="No verdict on other people's problems is wrong, and at most 5 % are undecided where it can be told.",
        rows=statistics,
        problems=rows,
    )


def _listed(quick: bool) -> Iterator[Row]:
    """Yields what came of the problems with listed critical points."""
    for family, module in FAMILIES.items():
        for problem in module.problems()[:: QUICK if quick else 1]:
            experiment.note(f"{family}: {problem.name}")
            yield tried(problem, family, num_starts=max(problem.num_starts // QUICK, 10) if quick else None)


def _random(num_problems: int) -> Iterator[Row]:
    """Yields what came of random problems, by setting and kind."""
    counts: dict[tuple[str, str], Row] = {}
    for batch in random_inertia.batches(num_problems):
        experiment.note(f"random problems: {batch.setting}, {batch.size - 1} coordinates")
        with random_inertia.precision(batch.setting):
            points = jaxgd.classify(batch.landscape, batch.ends)
        says = outcomes(points, batch.truth, batch.size)
        for kind in random_inertia.KINDS:
            those = batch.kind == kind
            of = lambda outcome, those=those, says=says: int((those & (says == outcome)).sum())
            wrong = those & (says == Outcome.WRONG)
            names = sorted({Verdict(verdict).name.lower() for verdict in points.verdict[wrong]})
            row = counts.get((str(batch.setting), kind))
            counts[str(batch.setting), kind] = Row(
                family="random problems",
                name=f"{kind}, {batch.setting}",
                right=of(Outcome.RIGHT) + (row.right if row else 0),
                undecided=of(Outcome.UNDECIDED) + (row.undecided if row else 0),
                undecided_needlessly=int((those & batch.can_tell & (says == Outcome.UNDECIDED)).sum())
                + (row.undecided_needlessly if row else 0),
                wrong=int(wrong.sum()) + (row.wrong if row else 0),
                details=(row.details if row else [])
                + [f"wrong: {int(wrong.sum())} x {' or '.join(names)}, {batch.size - 1} coordinates"]
                * bool(wrong.any()),
            )
    yield from counts.values()


def _columns(row: Row) -> dict[str, Any]:
    return {
        "family": row.family,
        "problem": row.name,
        "trials": row.num_trials,
        "right": row.right,
        "undecided": row.undecided,
        "of these needlessly": row.undecided_needlessly,
        "wrong": row.wrong,
    }


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__))
