"""Ten reasons for being stuck, built on the digits, and whether `jaxgd.diagnose` tells them; healthy runs beside them.

One architecture, `convolution`, was not looked at while the rules were made, and no seed from 1,000 on was drawn
before they stood as they are. Of a network with two causes the one counts that it was built for.

    python -m experiments.diagnose.ten_causes [--quick] [--json] [--out DIR]

There are 50 seeds, and 2 if quick; `DIAGNOSE_SEEDS` and `DIAGNOSE_ARCHITECTURES` (names with commas) change both.
"""

import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from experiments.diagnose.problems import ARCHITECTURES, FRESH, case, data
from jaxgd import experiment
from jaxgd.diagnose import Cause, diagnose

CAUSES = (
    Cause.MINIMUM,
    Cause.SADDLE,
    Cause.SATURATED_UNITS,
    Cause.DEAD_UNITS,
    Cause.STEP_TOO_LARGE,
    Cause.STEP_TOO_SMALL,
    Cause.NOISE,
    Cause.CONDITIONING,
    Cause.STALE_STATE,
    Cause.CLIPPED,
    Cause.DESCENDING,
)
FIRST_SEED = 1000


@dataclass(frozen=True, kw_only=True)
class Causes(experiment.Claim):
    """The claim, with a confusion matrix for each architecture.

    Attributes:
      told: for each architecture how often each pair of (truth, answer) came.
    """

    told: dict[str, Counter[tuple[Cause, Cause]]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns the object of the contract, with the matrices."""
        matrices = {
            name: [{"truth": truth, "told": told, "times": times} for (truth, told), times in counts.items()]
            for name, counts in self.told.items()
        }
        return super().to_json() | {"confusion": experiment.plain(matrices)}

    def __str__(self) -> str:
        """Returns the matrices and the rows for a person."""
        return "\n\n".join([*(f"{name}\n{_matrix(counts)}" for name, counts in self.told.items()), super().__str__()])


def measure(options: experiment.Options) -> Causes:
    """Returns how often each cause was told."""
    num_seeds = int(os.environ.get("DIAGNOSE_SEEDS", 2 if options.quick else 50))
    names = os.environ.get("DIAGNOSE_ARCHITECTURES", ",".join(ARCHITECTURES)).split(",")
    rows, told = [], {}
    for name in names:
        counts: Counter[tuple[Cause, Cause]] = Counter()
        told[name] = counts
        for cause in CAUSES:
            for seed in range(FIRST_SEED, FIRST_SEED + num_seeds):
                counts[cause, _answer(cause, name, seed)] += 1
            experiment.note(f"{name}, {cause}: {_line(counts, cause)}")
        least = 0.90 if name in FRESH else 0.95
        flags = _flags(counts, [cause for cause in CAUSES if cause != Cause.DESCENDING])
        rows.append(experiment.share(f"{name}: told rightly", flags, at_least=least, source="truth by construction"))
        healthy = np.array([answer != Cause.DESCENDING for answer in _answers(counts, Cause.DESCENDING)])
        rows.append(experiment.share(f"{name}: healthy runs called stuck", healthy, at_most=0.02))
    return Causes(
        name="diagnose.ten_causes",
        claim="Of ten causes for being stuck 95 % are told, 90 % on an architecture not looked at before, and at most"
        " 2 % of healthy runs are called stuck.",
        rows=rows,
        told=told,
    )


def _answer(cause: Cause, name: str, seed: int) -> Cause:
    built = case(cause, name, jax.random.key(seed))
    return diagnose(
        built.params,
        built.loss,
        data(),
        key=jax.random.key(seed + 1),
        optimizer=built.optimizer,
        optimizer_state=built.state,
        batch_size=built.batch_size,
    ).cause


def _answers(counts: Counter[tuple[Cause, Cause]], cause: Cause) -> list[Cause]:
    return [answer for (truth, answer), times in counts.items() if truth == cause for _ in range(times)]


def _flags(counts: Counter[tuple[Cause, Cause]], causes: list[Cause]) -> np.ndarray:
    """Returns whether each answer was right; causes are equally frequent, so that its mean is the balanced accuracy."""
    return np.array([answer == cause for cause in causes for answer in _answers(counts, cause)])


def _line(counts: Counter[tuple[Cause, Cause]], cause: Cause) -> str:
    found = Counter(_answers(counts, cause))
    return ", ".join(f"{times} {answer}" for answer, times in found.most_common())


def _matrix(counts: Counter[tuple[Cause, Cause]]) -> str:
    answers = [cause for cause in Cause if any(answer == cause for _, answer in counts)]
    rows = [
        {"truth": str(cause)} | {str(answer): str(counts[cause, answer] or "") for answer in answers}
        for cause in CAUSES
        if any(truth == cause for truth, _ in counts)
    ]
    return experiment.table(rows)


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__))
