"""A claim, the numbers that decide it, and the rule by which they do.

The verdict follows from the rows alone. A row holds where its interval agrees with what is claimed, fails
where the interval excludes it, and may not be able to tell.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from jaxgd.base import InputValueError
from jaxgd.experiment.printing import environment, short, table
from jaxgd.face import plain

RELATIONS = ("equal", "at_least", "at_most")


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """One measured number beside what is claimed of it.

    Attributes:
      statistic: what was measured, in words.
      measured: the estimate.
      low: lower end of its interval; choose the level so that all rows of a claim hold together.
      high: upper end.
      expected: the claimed number, or None for a number that is only reported.
      source: where the claimed number comes from.
      relation: "equal", or "at_least" / "at_most" where the claim is an inequality.
      tolerance: error of `expected` itself (>= 0), for example half a unit of its last printed digit.
      z: distance from `expected` in standard errors, where it is meant.
      num_descents: how many descents the number rests on.
      is_outside: whether it was measured where the claim's condition fails.
    """

    statistic: str
    measured: float
    low: float
    high: float
    expected: float | None = None
    source: str = ""
    relation: Literal["equal", "at_least", "at_most"] = "equal"
    tolerance: float = 0.0
    z: float | None = None
    num_descents: int = 0
    is_outside: bool = False

    def __post_init__(self) -> None:
        """Refuses intervals and relations that cannot be meant."""
        if self.relation not in RELATIONS:
            raise InputValueError(f"`relation` must be one of {', '.join(RELATIONS)}, got {self.relation!r}.")
        if self.low > self.high:
            raise InputValueError(f"`low` must not exceed `high`, got {self.low} and {self.high}.")
        if not self.tolerance >= 0:
            raise InputValueError(f"`tolerance` must not be negative, got {self.tolerance}.")

    @property
    def holds(self) -> bool | None:
        """Whether the interval agrees with the claim; None where it cannot tell, or nothing is claimed."""
        if self.expected is None or any(math.isnan(x) for x in (self.measured, self.low, self.high)):
            return None
        least, most = self.expected - self.tolerance, self.expected + self.tolerance
        if self.relation == "equal":
            return self.low <= most and self.high >= least
        if self.relation == "at_least":
            return True if self.low >= least else False if self.high < least else None
        return True if self.high <= most else False if self.low > most else None

    def to_json(self) -> dict[str, Any]:
        """Returns the row of the contract, with how it was judged."""
        names = (
            "statistic",
            "expected",
            "source",
            "measured",
            "low",
            "high",
            "z",
            "num_descents",
            "relation",
        )
        return {name: getattr(self, name) for name in names} | {
            "relation": self.relation,
            "holds": self.holds,
        }


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim, and the numbers that decide it.

    Attributes:
      name: as in `python -m experiments.NAME`.
      claim: what is claimed, in one sentence.
      rows: the measured numbers.
      condition: under which the claim was found to hold; needed where rows are `is_outside` of it.
      seconds: wall time, filled in by `main`.
      data: what a figure needs beyond the rows, such as curves; neither judged nor printed.

    Example:
      >>> row = Statistic(statistic="share going left", measured=0.516, low=0.51, high=0.522, expected=0.5157)
      >>> Claim(name="basins", claim="...", rows=[row]).verdict
      'supported'
      >>> row = Statistic(statistic="share going left", measured=0.516, low=0.51, high=0.522, expected=0.5)
      >>> Claim(name="basins", claim="...", rows=[row]).verdict
      'refuted'
    """

    name: str
    claim: str
    rows: Sequence[Statistic]
    condition: str | None = None
    seconds: float = math.nan
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Refuses a condition that is used but not named."""
        if self.condition is None and any(row.is_outside for row in self.rows):
            raise InputValueError("rows are `is_outside` of a condition, but the claim names no `condition`.")

    @property
    def verdict(self) -> str:
        """What the rows decide: "supported", "refuted", "conditional" or "undecided".

        Refuted as soon as one row within the condition fails, undecided where one of them cannot tell or none
        is judged; else conditional where a row outside of it fails or cannot tell, supported where all hold.
        """
        judged = [row for row in self.rows if row.expected is not None]
        inside = [row.holds for row in judged if not row.is_outside]
        if False in inside:
            return "refuted"
        if not inside or None in inside:
            return "undecided"
        return "supported" if all(row.holds for row in judged if row.is_outside) else "conditional"

    def to_json(self) -> dict[str, Any]:
        """Returns the object of the contract."""
        return plain(
            {
                "experiment": self.name,
                "claim": self.claim,
                "rows": [row.to_json() for row in self.rows],
                "verdict": self.verdict,
                "condition": self.condition,
                "seconds": self.seconds,
                "versions": environment(),
            }
        )

    def __str__(self) -> str:
        """Returns the same for a person."""
        condition = f" ({self.condition})" if self.verdict == "conditional" else ""
        rows = [
            {
                "statistic": row.statistic,
                "claimed": f"{_SIGNS[row.relation]}{short(row.expected)}",
                "measured": f"{short(row.measured)} [{short(row.low)}, {short(row.high)}]",
                "z": short(row.z),
                "descents": f"{row.num_descents:,}",
                "holds": {True: "yes", False: "no", None: "-"}[row.holds],
                "source": row.source,
            }
            for row in self.rows
        ]
        return f"{self.claim}\n\n{table(rows)}\n\n{self.verdict}{condition}, {self.seconds:.1f} s."


def stated(docstring: str | None, rows: Sequence[Statistic], **fields: Any) -> Claim:
    """Returns the claim that a module's docstring states in its first paragraph, as "NAME: sentence.".

    Args:
      docstring: of the experiment's module.
      rows: the measured numbers.
      **fields: further fields of `Claim`.

    Raises:
      InputValueError: the docstring does not begin with a name and a sentence.

    Example:
      >>> stated("T0.0: Descent goes down.", []).claim
      'Descent goes down.'
    """
    name, colon, sentence = " ".join((docstring or "").strip().partition("\n\n")[0].split()).partition(": ")
    if not colon or " " in name:
        raise InputValueError(f"`docstring` must begin with a name, a colon and a sentence, got {docstring!r}.")
    return Claim(name=name, claim=sentence, rows=rows, **fields)


_SIGNS = {"equal": "", "at_least": ">= ", "at_most": "<= "}
