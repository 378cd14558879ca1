r"""Paired differences of optimizers on the same starts: the record, and how it is made of judged ends.

Start i is decided by the key and by i, whatever descends from it. Descents of one landscape and key are therefore
paired start by start, and a difference is one of pairs: what the start decides cancels. All ends share one catalogue.

All limits of differences hold at once: of m differences each has the confidence $1 - \alpha / m$ (Bonferroni). Shares
of one optimizer have exact binomial intervals, each for itself, as in a survey.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy

from jaxgd.base import Ends, Landscape, Points, Status, Verdict
from jaxgd.face import Face, plain, room
from jaxgd.points.catalogue import counted, distinct, points_of_catalogue
from jaxgd.points.classify import join_points
from jaxgd.statistics import Estimate, paired_difference, proportion_interval

LOWER = "share that ends lower than the other"
APART = "pairs that reach different critical points"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One number in which two arms differ, the second minus the first.

    Attributes:
      what: the statistic, in words.
      first: its value for the first arm; NaN where it belongs to pairs only.
      second: for the second arm.
      difference: with simultaneous limits.
    """

    what: str
    first: float
    second: float
    difference: Estimate

    @property
    def is_sure(self) -> bool:
        """Whether the limits leave out zero."""
        return not self.difference.low <= 0 <= self.difference.high


@dataclass(frozen=True, kw_only=True, eq=False)
class Arm:
    """What one optimizer, or one run, made of the common starts; arrays have one entry for each point of the catalogue.

    Attributes:
      name: what it is called.
      optimizer: as it was written; "optimizer" for an object.
      statuses: how many descents stopped for each reason.
      verdicts: how many descents got each verdict.
      hits: (k,) int64, descents that ended at each point.
      share: (k,) their share of all starts.
      low: (k,) lower end of its exact (Clopper-Pearson) interval.
      high: (k,) upper end.
      gradients: gradient evaluations of these descents together.
      hvps: Hessian-vector products of these descents together.
    """

    name: str
    optimizer: str
    statuses: Mapping[str, int]
    verdicts: Mapping[str, int]
    hits: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray
    gradients: int
    hvps: int


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Comparison(Face):
    """How optimizers, or runs, differ from the first of them, on the same starts.

    Attributes:
      landscape: name of the landscape.
      dtype: of the values.
      names: of the arms.
      num_pairs: starts that all of them have done.
      points: the distinct critical points among all ends, lowest value first.
      arms: what each of them did.
      rows: for each arm but the first, its differences from the first.
      confidence: that all limits of differences hold together, and of every other interval by itself.
    """

    landscape: str
    dtype: str
    names: tuple[str, ...]
    num_pairs: int
    points: Points
    arms: tuple[Arm, ...]
    rows: tuple[tuple[Difference, ...], ...]
    confidence: float

    def __str__(self) -> str:
        percent = f"{100 * self.confidence:g}%"
        lines = [room("report.reading").read(self, max_rows=_MAX_SHOWN).text()]
        lines += ["", f"All intervals of differences hold together with {percent}."]
        for name, rows in zip(self.names[1:], self.rows, strict=True):
            lines += ["", f"{name} against {self.names[0]}"]
            lines.append(f"{'':<44} {'first':>10} {'second':>10} {'difference':>11}  interval")
            for row in rows:
                value, low, high = row.difference
                mark = " *" if row.is_sure else ""
                cells = (
                    f"{number:>10.4g}" if np.isfinite(number) else f"{'':>10}" for number in (row.first, row.second)
                )
                lines.append(f"{row.what:<44} {' '.join(cells)} {value:>11.4g}  {low:.4g} to {high:.4g}{mark}")
        return "\n".join(lines)

    def sentences(self) -> list[str]:
        """Returns a sentence on each arm: how its descents stopped, what they cost, how they differ from the first."""
        return [self._sentence(place) for place in range(len(self.arms))]

    def _sentence(self, place: int) -> str:
        arm, first, num = self.arms[place], self.arms[0], self.num_pairs
        stopped = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in arm.statuses.items())
        own = f" ({arm.optimizer})" if arm.optimizer not in (arm.name, "optimizer") else ""
        said = f"{arm.name}{own}: {stopped}; {arm.gradients / num:,.4g} gradients per descent"
        said += f" and {arm.hvps / num:,.4g} Hessian-vector products" if arm.hvps else ""
        if not place:
            return f"{said}."
        rows = {row.what: row for row in self.rows[place - 1]}
        value, low, high = rows[APART].difference
        lower = rows[LOWER]
        apart = f"{value:.1%} of pairs end at different points ({low:.1%} to {high:.1%})"
        apart = apart if np.isfinite(value) else "no pair has both ends at critical points"
        return f"{said}; {apart}; {lower.second:.1%} end lower than {first.name}, {lower.first:.1%} higher."

    def to_json(self) -> dict[str, Any]:
        """Returns the comparison as a JSON object; what is not finite becomes null."""
        rows = [
            {"run": name, "against": self.names[0], "statistic": row.what, "first": row.first,
             "second": row.second, **row.difference._asdict()}
            for name, each_rows in zip(self.names[1:], self.rows, strict=True)
            for row in each_rows
        ]  # fmt: skip
        points = [
            {"value": value, "verdict": Verdict(verdict).name.lower(), "index": index}
            for value, verdict, index in zip(
                *(np.asarray(getattr(self.points, name)).tolist() for name in ("value", "verdict", "index")),
                strict=True,
            )
        ]
        tree: dict[str, Any] = plain(
            {
                "landscape": self.landscape,
                "dtype": self.dtype,
                "names": self.names,
                "num_pairs": self.num_pairs,
                "confidence": self.confidence,
                "points": points,
                "arms": [dict(vars(arm)) for arm in self.arms],
                "rows": rows,
            }
        )
        return tree


class Side(NamedTuple):
    """The judged ends of one arm, in order of start number."""

    name: str
    optimizer: str
    ends: Ends
    points: Points


def compared(landscape: Landscape, sides: Sequence[Side], confidence: float) -> Comparison:
    """Returns how judged ends of the same starts differ between two or more arms."""
    num_pairs = len(sides[0].ends)
    found = distinct(landscape, join_points([side.points for side in sides]), confidence)
    entries = np.split(found.entry, len(sides))
    pairs = [_Pair.of(side, entry) for side, entry in zip(sides, entries, strict=True)]

    # every point that was found counts as a row, shown or not, since those that are shown were chosen by their hits
    verdicts = [verdict for verdict in Verdict if any(np.any(pair.points.verdict == int(verdict)) for pair in pairs)]
    basins = {int(place): found.value[place] for place in np.argsort(-found.hits, kind="stable")[:_MAX_BASINS]}
    makers = [_rows(pairs[0], other, verdicts, basins) for other in pairs[1:]]
    num_rows = sum(len(each) for each in makers) + len(makers) * max(len(found) - _MAX_BASINS, 0)
    level = 1 - (1 - confidence) / num_rows
    return Comparison(
        landscape=landscape.name,
        dtype=str(np.asarray(sides[0].ends.value).dtype),
        names=tuple(side.name for side in sides),
        num_pairs=num_pairs,
        points=points_of_catalogue(found),
        arms=tuple(_arm(side, entry, len(found), confidence) for side, entry in zip(sides, entries, strict=True)),
        rows=tuple(tuple(row(level) for row in each) for each in makers),
        confidence=confidence,
    )


def _arm(side: Side, entry: np.ndarray, num_points: int, confidence: float) -> Arm:
    """Returns what one arm did."""
    hits = np.bincount(entry[entry >= 0], minlength=num_points).astype(np.int64)
    num_dropped = int(np.sum(np.asarray(side.ends.status) == int(Status.INTERRUPTED)))
    counts = counted(hits, len(entry), num_dropped, confidence)
    return Arm(
        name=side.name,
        optimizer=side.optimizer,
        statuses=side.ends.status_counts(),
        verdicts=side.points.verdict_counts(),
        hits=hits,
        share=counts["weight"],
        low=counts["weight_low"],
        high=counts["weight_high"],
        gradients=int(_ticks(side.ends).sum()),
        hvps=int(np.sum(side.ends.num_hvps, dtype=np.int64)),
    )


def _ticks(ends: Ends) -> np.ndarray:
    """Returns (n,) the gradient evaluations of each descent."""
    return np.asarray(ends.num_steps, float) + np.asarray(ends.num_restarts, float) + 1


class _Pair(NamedTuple):
    """One arm of a pair: the ticks of each descent, what its end is, and its row in the common catalogue."""

    ticks: np.ndarray
    points: Points
    entry: np.ndarray

    @classmethod
    def of(cls, side: Side, entry: np.ndarray) -> "_Pair":
        return cls(_ticks(side.ends), side.points, entry)


def _rows(first: _Pair, second: _Pair, verdicts: list[Verdict], basins: Mapping[int, float]) -> list[Any]:
    """Returns the differences of one pair of arms, each as a function of its confidence; the same ones for all pairs.

    Args:
      first: the arm that all others are compared with.
      second: another arm.
      verdicts: those that some end of any arm has.
      basins: value of each point whose basins are compared, by its row in the catalogue.
    """
    sides = first, second

    # what the ends are
    is_verdict = {verdict: [np.asarray(side.points.verdict == int(verdict)) for side in sides] for verdict in verdicts}
    rows = [_shares(f"share of {verdict.name.lower()}", *masks) for verdict, masks in is_verdict.items()]

    # how low they are; a value that is not finite is higher than any other
    one, two = (np.where(np.isfinite(side.points.value), side.points.value, np.inf) for side in sides)
    rounding = np.sqrt(np.finfo(one.dtype).eps) * np.maximum(1, np.minimum(np.abs(one), np.abs(two)))
    rows.append(_shares(LOWER, one < two - rounding, two < one - rounding))

    # what they took
    fewer = first.ticks < second.ticks, second.ticks < first.ticks
    rows.append(_shares("share that needs fewer ticks than the other", *fewer))
    rows.append(lambda level: _mean("mean ticks", first.ticks, second.ticks, level))

    # where they are
    both = (first.entry >= 0) & (second.entry >= 0)
    rows.append(lambda level: _apart(both & (first.entry != second.entry), both, level))
    for place, value in basins.items():
        name = f"basin of point {place + 1}, value {value:.6g}"
        rows.append(_shares(name, first.entry == place, second.entry == place))
    return rows


_MAX_BASINS = 16  # whose differences are shown, the most visited ones
_MAX_SHOWN = 16  # points in the printed table


def _shares(what: str, first: np.ndarray, second: np.ndarray) -> Any:
    """Returns the difference of two shares of the same starts."""

    def row(level: float) -> Difference:
        difference = paired_difference(second, first, level)
        return Difference(what=what, first=float(first.mean()), second=float(second.mean()), difference=difference)

    return row


def _mean(what: str, first: np.ndarray, second: np.ndarray, level: float) -> Difference:
    """Returns the mean difference of two numbers of each pair, with Student's limits."""
    difference = second - first
    mean, num = float(difference.mean()), len(difference)
    error = float(difference.std(ddof=1) / np.sqrt(num)) if num > 1 else np.inf
    reach = float(scipy.stats.t.isf((1 - level) / 2, max(num - 1, 1))) * error if error else 0.0
    limits = Estimate(mean, mean - reach, mean + reach)
    return Difference(what=what, first=float(first.mean()), second=float(second.mean()), difference=limits)


def _apart(is_apart: np.ndarray, both: np.ndarray, level: float) -> Difference:
    """Returns the share of pairs that reach different critical points, of those where both reach one."""
    num = int(both.sum())
    low, high = proportion_interval(int(is_apart.sum()), num, level)
    share = Estimate(float(is_apart.sum() / num) if num else np.nan, float(low), float(high))
    return Difference(what=APART, first=np.nan, second=np.nan, difference=share)
