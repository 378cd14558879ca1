"""A row of a published table beside ours: what was measured, the source's number, an interval, a z-score, a verdict.

One rule for all: numbers that chance has a part in disagree where |z| > 4, z being the difference over the standard
errors of both sides; numbers without chance (counts, energies) disagree where they differ by more than their rounding.
A row for which no table at hand has a number is a prediction. Intervals have the confidence of four standard errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from jaxgd.base import InputValueError
from jaxgd.experiment import Claim, Statistic
from jaxgd.experiment.printing import short, table
from jaxgd.face import plain
from jaxgd.statistics import proportion_interval

MOST_Z = 4.0
LEVEL = float(2 * scipy.stats.norm.cdf(MOST_Z) - 1)
"""Confidence of all intervals, 0.99994."""

PREDICTION = "prediction"


@dataclass(frozen=True, kw_only=True)
class Row(Statistic):
    """One number of a source beside ours.

    Example:
      >>> row = mean("mean steps", np.arange(100.0), expected=49.5, source="symmetry")
      >>> row.verdict, row.z
      ('agrees', 0.0)
    """

    @property
    def holds(self) -> bool | None:
        """Whether |z| is at most 4; where there is no z, whether interval and claim agree."""
        if self.z is None or self.expected is None or self.relation != "equal":
            return super().holds
        return bool(abs(self.z) <= MOST_Z) if np.isfinite(self.z) else None

    @property
    def verdict(self) -> str:
        """What the row says: "agrees", "disagrees", "cannot tell" or "prediction"."""
        if self.expected is None:
            return PREDICTION
        return {True: "agrees", False: "disagrees", None: "cannot tell"}[self.holds]

    def to_json(self) -> dict[str, Any]:
        """Returns the row of the contract, with its verdict."""
        return super().to_json() | {"verdict": self.verdict}


def estimate(
    statistic: str, measured: float, error: float, num_descents: int, *, expected: float | None = None,
    source: str = PREDICTION, source_error: float = 0.0, **fields: Any,
) -> Row:  # fmt: skip
    """Returns a row from an estimate and its standard error.

    Args:
      statistic: what was measured, in words.
      measured: the estimate.
      error: its standard error (>= 0).
      num_descents: how many descents or draws it rests on.
      expected: the source's number; None makes the row a prediction.
      source: where it stands, with the year.
      source_error: standard error of the source's number (>= 0).
      **fields: further fields of `Row`.

    Raises:
      InputValueError: a standard error is negative, or both are zero.
    """
    if not (error >= 0 and source_error >= 0):
        raise InputValueError(f"`error` and `source_error` must not be negative, got {error} and {source_error}.")
    both, z = float(np.hypot(error, source_error)), None
    if expected is not None and np.isfinite(measured):
        if both == 0:
            raise InputValueError(f"`{statistic}` has no error on either side; use `exact`.")
        z = float((measured - expected) / both)
    half = MOST_Z * error
    return Row(
        statistic=statistic, measured=float(measured), low=float(measured - half), high=float(measured + half),
        expected=None if expected is None else float(expected), source=source, z=z, num_descents=num_descents, **fields,
    )  # fmt: skip


def mean(statistic: str, values: Any, **judged: Any) -> Row:
    """Returns the mean of independent numbers, at least two, with the error that their spread says."""
    values = np.asarray(values, float)
    if values.ndim != 1 or values.size < 2:
        raise InputValueError(f"the values of `{statistic}` must be one list of at least two numbers.")
    return estimate(statistic, values.mean(), values.std(ddof=1) / np.sqrt(values.size), values.size, **judged)


def share(
    statistic: str, hits: int, trials: int, *, expected: float | None = None, source: str = PREDICTION,
    source_trials: int | None = None, **fields: Any,
) -> Row:  # fmt: skip
    """Returns a share with its exact interval; z is the score of one proportion, or of two where the source counted.

    Args:
      statistic: what was measured, in words.
      hits: how many of the trials.
      trials: at least 1.
      expected: the source's share; None makes the row a prediction.
      source: where it stands.
      source_trials: how many trials that share rests on; None for an exact one.
      **fields: further fields of `Row`.
    """
    if trials < 1:
        raise InputValueError(f"`{statistic}` has no trials, so that there is no share.")
    low, high = proportion_interval(hits, trials, LEVEL)
    z = None
    if expected is not None and fields.get("relation", "equal") == "equal":
        weight = 0 if source_trials is None else source_trials
        pooled = expected if source_trials is None else (hits + weight * expected) / (trials + weight)
        spread = np.sqrt(pooled * (1 - pooled) * (1 / trials + (1 / weight if weight else 0)))
        difference = hits / trials - expected
        z = float(difference / spread) if spread > 0 else 0.0 if difference == 0 else float("inf") * difference
    z = None if z is not None and not np.isfinite(z) else z  # a share of 0 or 1 that is missed: the interval decides
    return Row(statistic=statistic, measured=hits / trials, low=float(low), high=float(high), expected=expected,
               source=source, z=z, num_descents=trials, **fields)  # fmt: skip


def exact(
    statistic: str, value: float, *, error: float = 0.0, expected: float | None = None, source: str = PREDICTION,
    **fields: Any,
) -> Row:  # fmt: skip
    """Returns a number that no chance has part in, within `error` of rounding; `tolerance` is that of the source."""
    return Row(statistic=statistic, measured=float(value), low=float(value - error), high=float(value + error),
               expected=None if expected is None else float(expected), source=source, **fields)  # fmt: skip


def count(
    statistic: str, found: int, unseen: float, *, expected: float | None = None, source: str = PREDICTION,
    **fields: Any,
) -> Row:  # fmt: skip
    """Returns how many distinct things a search has found, up to what it may not have seen."""
    return Row(statistic=statistic, measured=float(found), low=float(found), high=float(found + unseen),
               expected=None if expected is None else float(expected), source=source, **fields)  # fmt: skip


def counts(statistic: str, observed: Any, probabilities: Any, *, source: str, **fields: Any) -> Row:
    """Returns chi-square over its degrees of freedom for counts against exact probabilities, as a normal z.

    Cells with fewer than five expected are put together with their neighbours.
    """
    observed, chances = np.asarray(observed, float), np.asarray(probabilities, float)
    total = observed.sum()
    groups: list[list[float]] = [[0.0, 0.0]]
    for seen, chance in zip(observed, chances, strict=True):
        if groups[-1][1] * total >= 5:
            groups.append([0.0, 0.0])
        groups[-1][0] += seen
        groups[-1][1] += chance
    if len(groups) > 1 and groups[-1][1] * total < 5:
        last = groups.pop()
        groups[-1] = [groups[-1][0] + last[0], groups[-1][1] + last[1]]
    pairs = np.array(groups)
    freedom = len(pairs) - 1
    if freedom < 1:
        raise InputValueError(f"`{statistic}` has too few counts to compare.")
    square = float(np.sum((pairs[:, 0] - total * pairs[:, 1]) ** 2 / (total * pairs[:, 1])))
    z = float(scipy.stats.norm.isf(max(scipy.stats.chi2.sf(square, freedom), 1e-300)))
    low, high = (max(0.0, square / freedom + k * np.sqrt(2 / freedom)) for k in (-MOST_Z, MOST_Z))
    return Row(statistic=statistic, measured=square / freedom, low=low, high=high, expected=1.0, source=source,
               z=z, num_descents=int(total), **fields)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Table(Claim):
    """A published table, reproduced: printed with the columns experiment, statistic, source, ours, z, verdict."""

    rows: Sequence[Row]

    def __str__(self) -> str:
        condition = f" ({self.condition})" if self.verdict == "conditional" else ""
        return f"{self.claim}\n\n{rows_table([self.to_json()])}\n\n{self.verdict}{condition}, {self.seconds:.1f} s."


def rows_table(results: Sequence[dict[str, Any]]) -> str:
    """Returns all rows of several experiments, as their JSON has them, as one table."""
    return table(lines_of(results))


def lines_of(results: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Returns the cells of that table by column."""
    sign = {"equal": "", "at_least": ">= ", "at_most": "<= "}
    return [
        {
            "experiment": result["experiment"].removeprefix("published."),
            "statistic": row["statistic"],
            "published": "-" if row["expected"] is None else sign[row["relation"]] + _number(row, row["expected"]),
            "ours": _ours(row),
            "z": "-" if row["z"] is None else f"{row['z']:.1f}",
            "verdict": row["verdict"],
            "n": f"{row['num_descents']:,}",
            "source": row["source"],
        }
        for result in results
        for row in plain(result["rows"])
    ]


def _number(row: dict[str, Any], value: Any) -> str:
    """Returns a number in nine digits where no chance has part in the row, else in four."""
    return f"{value:.9g}" if value is not None and _is_sharp(row) else short(value)


def _is_sharp(row: dict[str, Any]) -> bool:
    low, high = row["low"], row["high"]
    return low is not None and high is not None and high - low <= 1e-5 * abs(row["measured"])


def _ours(row: dict[str, Any]) -> str:
    if _is_sharp(row):
        return _number(row, row["measured"])
    return f"{short(row['measured'])} [{short(row['low'])}, {short(row['high'])}]"


def stated(name: str, docstring: str | None, rows: Sequence[Row], **fields: Any) -> Table:
    """Returns the table whose claim is the first sentence of the module's docstring."""
    sentence = " ".join((docstring or "").strip().partition("\n\n")[0].split())
    return Table(name=f"published.{name}", claim=sentence, rows=rows, **fields)


def draw_rows(panel: Any, rows: Sequence[Row], title: str = "z of each row") -> None:
    """Draws the z-scores of rows, with the limits beyond which they disagree."""
    shown = [row for row in rows if row.z is not None]
    panel.axvspan(-MOST_Z, MOST_Z, color="0.92", lw=0)
    colours = {"agrees": "#3d7d3d", "disagrees": "#b03060", "cannot tell": "0.5"}
    for line, row in enumerate(shown):
        panel.plot([row.z], [line], "o", color=colours[row.verdict], ms=5)
    panel.set_yticks(range(len(shown)), [row.statistic for row in shown], fontsize=6)
    panel.set(xlabel="z (standard errors)", ylim=(len(shown) - 0.5, -0.5), title=title)
