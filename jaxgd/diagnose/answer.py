"""The answer in words: two sentences, then what was tried and what was found."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxgd.diagnose.causes import Cause
from jaxgd.diagnose.findings import Finding, Observations
from jaxgd.diagnose.probe import RemedyOutcome
from jaxgd.experiment.printing import plain, short, table

_IS = {
    Cause.DESCENDING: "It is not stuck: the loss keeps falling.",
    Cause.MINIMUM: "It is at a local minimum, as far as curvature tells: nothing that was tried lowers the loss.",
    Cause.SADDLE: "It is at a saddle: the gradient is as good as zero, but the loss curves downward.",
    Cause.PLATEAU: "It is on a plateau: the gradient is as good as zero, and no slope or curvature leads away.",
    Cause.DEAD_UNITS: "Its units are dead: they are zero for every example, and their weights get no gradient.",
    Cause.SATURATED_UNITS: "Its units are saturated: they ignore the input, and their weights get no gradient.",
    Cause.STEP_TOO_LARGE: "Its steps are too large: it bounces, and smaller ones lower the loss.",
    Cause.STEP_TOO_SMALL: "Its steps are too small: larger ones lower the loss.",
    Cause.NOISE: "It is lost in gradient noise: with larger batches the same steps lower the loss.",
    Cause.CONDITIONING: "It is badly conditioned: steps that are stable along the steepest direction are too small"
    " along the others.",
    Cause.STALE_STATE: "Its optimizer's state is stale: with a fresh one the loss falls.",
    Cause.CLIPPED: "Its gradients are clipped to almost nothing: without that the loss falls.",
    Cause.DIVERGED: "It has diverged: the loss or its parameters are not finite.",
    Cause.UNDECIDED: "It is undecided what holds it up.",
}
_DO = {
    Cause.DESCENDING: "Go on training.",
    Cause.MINIMUM: "Accept it, change the model or the data, or begin from another start.",
    Cause.SADDLE: "Step along the negative curvature, or add noise.",
    Cause.PLATEAU: "Begin from other weights, or shake these.",
    Cause.DEAD_UNITS: "Draw the weights of these units anew, and lower the rate or the biases that led there.",
    Cause.SATURATED_UNITS: "Draw the weights of these units anew, with smaller scale, or normalise their input.",
    Cause.STEP_TOO_LARGE: "Lower the rate.",
    Cause.STEP_TOO_SMALL: "Raise the rate.",
    Cause.NOISE: "Raise the batch size, or lower the rate.",
    Cause.CONDITIONING: "Rescale the inputs, normalise layers, or use a method that learns curvature.",
    Cause.STALE_STATE: "Begin with a fresh optimizer state, or shorten its memory.",
    Cause.CLIPPED: "Clip at a larger norm.",
    Cause.DIVERGED: "Go back to the last finite checkpoint and lower the rate.",
    Cause.UNDECIDED: "Look at the table.",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Diagnosis:
    """Why a model has stopped getting better, with the evidence.

    Attributes:
      cause: a `Cause`, a string such as "saddle".
      advice: what to change.
      reason: why it is undecided; else empty.
      remedy: the probe that restored descent; None where none did, or none was run.
      findings: about the point itself.
      probes: what became of each remedy.
      notes: what was done to model and data, and what could not be found out.
      facts: the findings as numbers and arrays; None for a model that is not finite.
      cost: gradients of the loss over all examples that were computed, about.
    """

    cause: Cause
    advice: str
    reason: str = ""
    remedy: RemedyOutcome | None = None
    findings: list[Finding] = field(default_factory=list)
    probes: dict[str, RemedyOutcome] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    facts: Observations | None = field(default=None, repr=False)
    cost: float = 0.0

    @property
    def is_stuck(self) -> bool | None:
        """Whether descent has to be restored; None where that is undecided."""
        return None if self.cause == Cause.UNDECIDED else self.cause not in (Cause.DESCENDING, Cause.MINIMUM)

    def __getitem__(self, name: str) -> Finding:
        """Returns the finding of that name."""
        found = {finding.name: finding for finding in self.findings}
        if name not in found:
            raise KeyError(f"there is no finding {name!r}; there are {', '.join(found)}.")
        return found[name]

    def __str__(self) -> str:
        """Returns the answer for a person."""
        because = f" ({self.reason})" if self.reason else ""
        parts = [f"{_IS[self.cause].rstrip('.')}{because}{self._how_sure()}. {self.advice}"]
        if self.probes:
            rows = [
                {
                    "remedy": one.name,
                    "fall of the loss": _with_error(one.gain, one.error),
                    "beyond as before": "-" if number == 0 else _with_error(one.over_continuing, one.over_error),
                    "cost": short(one.cost),
                }
                for number, one in enumerate(self.probes.values())
            ]
            parts.append(table(rows))
        if self.findings:
            rows = [
                {"finding": one.name, "value": short(one.value), "95% interval": _interval(one), "": one.note}
                for one in self.findings
            ]
            parts.append(table(rows))
        parts.extend(f"Note: {note}." for note in self.notes)
        return "\n\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Returns a tree of plain numbers and texts."""
        return plain(
            {
                "cause": str(self.cause), "is_stuck": self.is_stuck, "advice": self.advice, "reason": self.reason,
                "remedy": self.remedy and self.remedy.name,
                "findings": [vars(one) for one in self.findings],
                "probes": [vars(one) | {"cause": str(one.cause)} for one in self.probes.values()],
                "notes": list(self.notes), "cost": self.cost,
            }
        )  # fmt: skip

    def _how_sure(self) -> str:
        one = self.remedy
        if one is None:
            return ""
        if not np.isfinite(one.over_continuing):
            return f": {one.name}, it falls by {_with_error(one.gain, one.error)}, while going on as before diverges"
        return f": {one.name}, it falls by {_with_error(one.over_continuing, one.over_error)} more than as before"


def advice_for(cause: Cause, remedy: RemedyOutcome | None) -> str:
    """Returns what to change, with the remedy that was seen to work."""
    return _DO[cause] + (f" What worked here: {remedy.name}." if remedy is not None else "")


def _with_error(value: float, error: float) -> str:
    if not np.isfinite(value):
        return "diverges" if value < 0 else "before diverges"
    return f"{value:.3g}" + (f" ± {error:.1g}" if error > 0 else "")


def _interval(one: Finding) -> str:
    return "" if np.isnan(one.low) or np.isnan(one.high) else f"{short(one.low)} to {short(one.high)}"
