r"""Which optimizer does better on one landscape, judged on the same starts.

Start i of a run is decided by the key and by i, whatever descends from it. So runs with the same landscape and key are
paired start by start, and a difference is one of pairs: what the start decides cancels.

Every limit of a comparison holds at once with the others: a table of m differences gives each of them the confidence
$1 - \alpha / m$ (Bonferroni).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy

from jaxgd.base import InputValueError, Landscape, Points, Verdict
from jaxgd.face import Face, plain
from jaxgd.points import catalogue
from jaxgd.points.classify import join_points
from jaxgd.runs.stored import StoredRun, open_run
from jaxgd.statistics import Estimate, paired_difference, proportion_interval


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One number in which two runs differ, the second minus the first.

    Attributes:
      what: the statistic, for a person.
      first: its value in the first run; NaN where it is of pairs alone.
      second: in the second run.
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


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Comparison(Face):
    """How runs differ from the first of them, on the same starts.

    Attributes:
      names: of the runs.
      num_pairs: starts that all of them have done.
      rows: for each run but the first, its differences from the first.
      confidence: that all limits hold together.
    """

    names: tuple[str, ...]
    num_pairs: int
    rows: tuple[tuple[Difference, ...], ...]
    confidence: float

    def __str__(self) -> str:
        percent = f"{100 * self.confidence:g}%"
        lines = [f"{self.num_pairs:,} paired starts; all intervals hold together with {percent}."]
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

    def to_json(self) -> dict[str, Any]:
        """Returns the comparison as a JSON object; what is not finite becomes null."""
        rows = [
            {"run": name, "against": self.names[0], "statistic": row.what, "first": row.first,
             "second": row.second, **row.difference._asdict()}
            for name, each_rows in zip(self.names[1:], self.rows, strict=True)
            for row in each_rows
        ]  # fmt: skip
        tree: dict[str, Any] = plain(
            {"names": self.names, "num_pairs": self.num_pairs, "confidence": self.confidence, "rows": rows}
        )
        return tree


def compare(
    runs: Mapping[str, Any] | Sequence[Any],
    *,
    landscape: Landscape | None = None,
    confidence: float = 0.95,
) -> Comparison:
    """Returns the paired differences of run directories from the first of them.

    Of each pair of descents it compares the verdict, the value, the ticks and the critical point that was reached. One
    value is lower than another when it is so by more than rounding (the square root of the rounding unit).

    Args:
      runs: two or more directories, or what `open_run` returned, by name or in a list; starts that not all of them
        have done are left out.
      landscape: their landscape, where that is not one of jaxgd's own.
      confidence: that all limits hold together, in (0, 1).

    Raises:
      InputValueError: fewer than two runs, or their landscapes, keys or precisions differ.

    Example:
      >>> import jax, jaxgd, tempfile
      >>> wells, directory = jaxgd.landscapes.styblinski_tang(dim=1), tempfile.mkdtemp()
      >>> for rate in ("0.02", "0.01"):
      ...     optimizer, out = f"sgd:learning_rate={rate}", f"{directory}/{rate}"
      ...     _ = jaxgd.survey(wells, optimizer, 100, key=jax.random.key(0), out=out)
      >>> found = compare([f"{directory}/0.02", f"{directory}/0.01"], landscape=wells)
      >>> [(row.what, row.difference.value > 0) for row in found.rows[0] if row.is_sure][-1]
      ('mean ticks', True)
    """
    named = dict(runs) if isinstance(runs, Mapping) else {str(_path(run)): run for run in runs}
    if len(named) < 2:
        raise InputValueError("a comparison needs two different runs or more.")
    opened = {
        name: run if isinstance(run, StoredRun) else open_run(run, landscape=landscape) for name, run in named.items()
    }
    first, *others = opened.values()
    for run in others:
        for what in ("landscape_fingerprint", "key", "dtype"):
            if getattr(run.manifest, what) != getattr(first.manifest, what):
                raise InputValueError(
                    f"`{run.path}` and `{first.path}` cannot be compared: their {what.partition('_')[0]}s differ."
                )
    known = first.landscape or landscape
    if known is None:
        raise InputValueError(f"pass the `landscape` of `{first.path}` to say which of its points are the same.")

    num_pairs = min(run.num_whole for run in opened.values())
    if num_pairs == 0:
        raise InputValueError("there is no start that all of these runs have done.")
    points = [run.points[:num_pairs] for run in opened.values()]
    found = catalogue(known, join_points(points))
    entries = np.split(found.entry, len(points))
    sides = [
        _Side(np.asarray(run.ends[:num_pairs].num_steps, float) + 1, each, entry)
        for run, each, entry in zip(opened.values(), points, entries, strict=True)
    ]

    # every point that was found counts as a row, shown or not, since those that are shown were chosen by their hits
    pairs = [_rows(sides[0], other, found.value) for other in sides[1:]]
    num_rows = sum(len(each) for each in pairs) + len(pairs) * max(len(found) - _MAX_BASINS, 0)
    level = 1 - (1 - confidence) / num_rows
    rows = tuple(tuple(row(level) for row in each) for each in pairs)
    return Comparison(names=tuple(named), num_pairs=num_pairs, rows=rows, confidence=confidence)


class _Side(NamedTuple):
    """One run of a pair: the ticks of each descent, what its end is, and its row in the common catalogue."""

    ticks: np.ndarray
    points: Points
    entry: np.ndarray


def _rows(first: _Side, second: _Side, values: np.ndarray) -> list[Any]:
    """Returns the differences of one pair of runs, each as a function of its confidence."""
    sides = first, second

    # what the ends are
    is_verdict = {verdict: [np.asarray(side.points.verdict == int(verdict)) for side in sides] for verdict in Verdict}
    rows = [
        _shares(f"share of {verdict.name.lower()}", *masks) for verdict, masks in is_verdict.items() if np.any(masks)
    ]

    # how low they are; a value that is not finite is higher than any other
    one, two = (np.where(np.isfinite(side.points.value), side.points.value, np.inf) for side in sides)
    rounding = np.sqrt(np.finfo(one.dtype).eps) * np.maximum(1, np.minimum(np.abs(one), np.abs(two)))
    rows.append(_shares("share that ends lower than the other", one < two - rounding, two < one - rounding))

    # what they took
    fewer = first.ticks < second.ticks, second.ticks < first.ticks
    rows.append(_shares("share that needs fewer ticks than the other", *fewer))
    rows.append(lambda level: _mean("mean ticks", first.ticks, second.ticks, level))

    # where they are
    both = (first.entry >= 0) & (second.entry >= 0)
    rows.append(lambda level: _apart(both & (first.entry != second.entry), both, level))
    entries = np.concatenate([first.entry, second.entry])
    hits = np.bincount(entries[entries >= 0], minlength=len(values))
    for place in np.argsort(-hits, kind="stable")[:_MAX_BASINS]:
        name = f"basin of the point of value {values[place]:.6g}"
        rows.append(_shares(name, first.entry == place, second.entry == place))
    return rows


_MAX_BASINS = 16  # that are shown, the most visited ones


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
    what = "pairs that reach different critical points"
    return Difference(what=what, first=np.nan, second=np.nan, difference=share)


def _path(run: Any) -> Path:
    return run.path if isinstance(run, StoredRun) else Path(run)
