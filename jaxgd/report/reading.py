"""What a record says in about ten lines: values, where they are, verdicts by name, shares with their intervals.

What has no verdict is grouped by reason, with what to try.
"""

import math
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from jaxgd.base import Ends, Points, Reason, Status, Verdict
from jaxgd.report.sheet import Cell, Sheet, number, word

MAX_ROWS = 8
"""Rows of a table for a terminal."""

_FEW_DIMENSIONS = 4  # up to which coordinates are shown
_MAX_ARMS = 4  # columns of shares
_ZERO = 1e-10  # of the largest in its column, below which a coordinate is shown as 0

WHAT_TO_TRY = {
    Reason.STILL_DESCENDING: "more steps (max_steps=), or a faster optimizer such as lbfgs",
    Reason.HELD: "parameters without the limit, for example exp(x) in the place of x > 0",
    Reason.NOT_SMOOTH: "a smooth function in the place of |x|, max or relu",
    Reason.UNBOUNDED: "a term that bounds the value, or starts that are nearer",
    Reason.TOO_FAR: "more steps, or a smaller gradient_norm=",
    Reason.UNEXPLAINED_GRADIENT: "a smaller gradient_norm=, or float64",
    Reason.NO_CURVATURE: "second derivatives that are finite there, and float64",
    Reason.PRECISION: "float64",
    Reason.JUDGING_FAILED: "jaxgd.classify on one of these ends, to see the error",
    Reason.FLAT: "float64, or other starts",
    Reason.INTERRUPTED: "the same call again",
}


def read(record: Any, *, max_rows: int = MAX_ROWS) -> Sheet:
    """Returns what a record says."""
    if isinstance(record, Ends):
        return _of_ends(record, max_rows)
    if isinstance(record, Points):
        return _of_points(record, max_rows)
    kind = type(record).__name__
    if kind == "Catalogue":
        return _of_catalogue(record, max_rows)
    if kind == "Survey":
        return _of_survey(record, max_rows)
    if kind == "Comparison":
        return _of_comparison(record, max_rows)
    if kind == "GradientFlow":
        return _of_ends(record.ends, max_rows, f"GradientFlow by the {record.method} method, of")
    lines = str(record).splitlines()
    if len(lines) > max_rows + 4:
        lines = [*lines[: max_rows + 3], "..."]
    return Sheet(title=lines[0], notes=lines[1:])


def table_rows(params: Any) -> np.ndarray:
    """Returns params with one leading axis as an array (n, dim)."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
    rows = [leaf.reshape(len(leaf), math.prod(leaf.shape[1:])) for leaf in leaves]
    return np.concatenate(rows, axis=1) if rows else np.zeros((0, 0))


def places(params: Any, best: int = 0, *, is_symmetric: bool = False) -> tuple[str, list[Cell]]:
    """Returns the head and the cells of where points are: their coordinates, or how far from the best they are.

    Args:
      params: with one leading axis; None where they were not kept.
      best: which row is the best.
      is_symmetric: motions leave the value unchanged, so that places mean nothing.
    """
    rows = table_rows(params)
    if params is None or is_symmetric or not len(rows):
        return "where", [word("up to symmetry" if is_symmetric else "not kept")] * len(rows)
    if rows.shape[1] <= _FEW_DIMENSIONS:
        smallest = _ZERO * np.max(np.abs(rows), axis=0, initial=0)
        rows = np.where(np.abs(rows) < smallest, 0, rows)
        return "where", [word(f"({', '.join(map(_coordinate, row))})") for row in rows]
    away = np.linalg.norm(rows - rows[best], axis=1)
    return "from the best", [number(distance, ".4g") for distance in away]


def _coordinate(x: float) -> str:
    return f"{x:.4g}" if abs(x) >= 1e-4 else f"{x:.0e}" if x else "0"


def verdict_name(verdict: int, index: int = 0) -> str:
    """Returns what a point is, in words.

    Example:
      >>> verdict_name(1, 2), verdict_name(0), verdict_name(4)
      ('saddle of index 2', 'minimum', 'gradient flat')
    """
    name = Verdict(verdict).name.lower().replace("_", " ")
    return f"{name} of index {index}" if verdict == Verdict.SADDLE else name


# ----------------------------------------------------------------------------------------------- catalogue


def _of_catalogue(record: Any, max_rows: int, title: str = "") -> Sheet:
    num, confidence = len(record), f"{100 * record.confidence:g}%"
    is_symmetric = bool(np.any(np.asarray(record.num_symmetry_modes) > 0))
    head, where = places(record.params, is_symmetric=is_symmetric)
    rows = [
        [
            number(float(record.value[i]), ".9g"),
            where[i],
            word(verdict_name(int(record.verdict[i]), int(record.index[i]))),
            number(int(record.hits[i]), ",.0f"),
            number(float(record.weight[i]), ".4f"),
            Cell(f"{record.weight_low[i]:.4f} to {record.weight_high[i]:.4f}", float(record.weight_low[i])),
        ]
        for i in range(min(num, max_rows))
    ]

    # What lies beside the rows: ends without a verdict, and points not yet seen.
    own = f"{num:,} distinct critical points from {record.num_descents:,} descents."
    notes = [f"... and {num - max_rows:,} more"] if num > max_rows else []
    for name, count in record.reasons.items():
        reason = Reason[name.upper()]
        notes.append(f"{count:,} without a verdict, {reason.sentence()}; try {WHAT_TO_TRY[reason]}.")
    if record.unseen is not None:
        unseen = record.unseen
        notes.append(
            f"One more descent would find a new one with probability {unseen.mass:.2g}"
            f" ({unseen.mass_low:.2g} to {unseen.mass_high:.2g})."
        )

    columns = ("value", head, "verdict", "hits", "share", f"{confidence} interval")
    return Sheet(title=f"{title} {own}" if title else own, columns=columns, rows=rows, notes=notes)


def _of_survey(record: Any, max_rows: int) -> Sheet:
    stopped = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in record.statuses.items())
    title = f"{record.landscape} by {record.optimizer} in {record.dtype}: {stopped}."
    sheet = _of_catalogue(record.catalogue, max_rows, title)
    if record.ends is None or record.points is None:
        return sheet
    groups = without_verdict(record.ends, record.points)
    count = len(record.catalogue.reasons)  # of the notes that the groups say in more words
    at = next((i for i, note in enumerate(sheet.notes) if "without a verdict" in note), None)
    if at is None:
        return sheet
    said = []
    for row in groups.rows:
        num, status, values, norm, why, advice = (cell.text for cell in row)
        said.append(f"{num} without a verdict ({status}, values {values}, gradient norm {norm}): {why}; {advice}.")
    return replace(sheet, notes=[*sheet.notes[:at], *said, *sheet.notes[at + count :]])


def without_verdict(ends: Ends, points: Points, max_rows: int = MAX_ROWS) -> Sheet:
    """Returns the ends that have no verdict of a critical point, grouped by reason and status, with what to try."""
    reason, status = np.asarray(points.reason), np.asarray(ends.status)
    groups = sorted({*zip(reason.tolist(), status.tolist(), strict=True)})
    rows = []
    for code, stopped in groups:
        which = (reason == code) & (status == stopped)
        if code == Reason.NONE:
            which &= ~points.is_critical()
        if not which.any():
            continue

        # What these ends have in common, in one row.
        values = np.asarray(ends.value)[which]
        finite = values[np.isfinite(values)]
        span = f"{finite.min():.6g} to {finite.max():.6g}" if len(finite) else "not finite"
        norms = np.asarray(ends.gradient_norm)[which]
        norm = float(np.median(norms[np.isfinite(norms)])) if np.isfinite(norms).any() else float("nan")
        why = Reason(code).sentence() or verdict_name(int(np.asarray(points.verdict)[which][0]))
        rows.append(
            [
                number(int(which.sum()), ",.0f"),
                word(Status(stopped).name.lower().replace("_", " ")),
                word(span),
                number(norm, ".2g"),
                word(why),
                word(f"try {WHAT_TO_TRY[Reason(code)]}" if Reason(code) in WHAT_TO_TRY else "try smaller steps"),
            ]
        )

    rows.sort(key=lambda row: -float(row[0].order))
    return Sheet(
        title=f"{sum(int(row[0].order) for row in rows):,} ends have no verdict of a critical point.",
        columns=("ends", "stopped by", "values", "median gradient", "reason", "what to try"),
        rows=rows[:max_rows],
    )


# ---------------------------------------------------------------------------------------------- comparisons


def _of_comparison(record: Any, max_rows: int) -> Sheet:
    """Returns the shares of every arm at the distinct points, and a sentence on each arm."""
    said = record.sentences()
    num, max_rows = len(record.points), max(max_rows - len(said), 3)
    shown, arms = min(num, max_rows), record.arms[:_MAX_ARMS]
    is_symmetric = bool(np.any(np.asarray(record.points.num_symmetry_modes) > 0))
    head, where = places(record.points.params, is_symmetric=is_symmetric)

    # A row for each point, a column for each arm.
    rows = [
        [
            number(float(record.points.value[i]), ".9g"),
            where[i],
            word(verdict_name(int(record.points.verdict[i]), int(record.points.index[i]))),
            *(Cell(f"{arm.share[i]:.3f} ({arm.low[i]:.3f} to {arm.high[i]:.3f})", float(arm.share[i])) for arm in arms),
        ]
        for i in range(shown)
    ]
    title = (
        f"{record.landscape}, {record.num_pairs:,} paired starts, {len(record.arms)} arms in {record.dtype}:"
        f" {num:,} distinct critical points; shares of starts with {100 * record.confidence:g}% intervals."
    )
    columns = ("value", head, "verdict", *(shortened(arm.name) for arm in arms))
    notes = [f"... and {num - shown:,} more"] if num > shown else []
    return Sheet(title=title, columns=columns, rows=rows, notes=[*notes, *said])


def shortened(name: str, most: int = 30) -> str:
    """Returns a name cut to so many letters, the last ones, as these tell directories apart.

    Example:
      >>> shortened("runs/sgd"), shortened("/a/long/way/to/sgd", most=10)
      ('runs/sgd', '...way/to/sgd')
    """
    return name if len(name) <= most else f"...{name[-most:]}"


# -------------------------------------------------------------------------------------------- ends, points


def _of_ends(ends: Ends, max_rows: int, title: str = "Ends of") -> Sheet:
    status, value = np.asarray(ends.status), np.asarray(ends.value, float)
    rows = []
    for code, count in zip(*np.unique(status, return_counts=True), strict=True):
        which = np.flatnonzero(status == code)
        values = np.where(np.isfinite(value[which]), value[which], np.inf)
        best = which[np.argmin(values)]

        # Where the lowest of them ended.
        head, where = places(None if ends.params is None else jax.tree.map(lambda leaf: leaf[[best]], ends.params))  # noqa: B023
        norms = np.asarray(ends.gradient_norm, float)[which]
        rows.append(
            [
                word(Status(code).name.lower().replace("_", " ")),
                number(int(count), ",.0f"),
                number(float(value[best])),
                *([where[0]] if head == "where" and where else []),
                number(float(np.median(value[which]))),
                number(float(np.median(norms)), ".2g"),
                number(float(np.median(np.asarray(ends.num_steps)[which])), ",.0f"),
            ]
        )

    has_place = bool(rows) and len(rows[0]) == 7
    columns = (
        "stopped by",
        "ends",
        "lowest value",
        *(("where",) if has_place else ()),
        "median value",
        "median gradient",
        "median steps",
    )

    cost = ends.cost
    asked = f" of {ends.num_starts:,} asked for" if ends.num_starts != len(ends) else ""
    own = f"{title} {len(ends):,} descents{asked} in {value_type(ends)}."
    notes = [*ends.notes, f"{cost.ticks:,} gradient evaluations in {cost.seconds_run:.1f} s."]
    return Sheet(title=own, columns=columns, rows=rows[:max_rows], notes=notes)


def value_type(record: Any) -> str:
    """Returns the precision of a record's values."""
    return str(np.asarray(record.value).dtype)


def _of_points(points: Points, max_rows: int) -> Sheet:
    verdict, index, reason = (np.asarray(column) for column in (points.verdict, points.index, points.reason))
    value = np.asarray(points.value, float)
    rows = []
    for code, at, why in sorted({*zip(verdict.tolist(), index.tolist(), reason.tolist(), strict=True)}):
        which = np.flatnonzero((verdict == code) & (index == at) & (reason == why))
        best = which[np.argmin(np.where(np.isfinite(value[which]), value[which], np.inf))]

        # Where the lowest of them lies.
        head, where = places(jax.tree.map(lambda leaf: leaf[[best]], points.params))  # noqa: B023
        rows.append(
            [
                word(verdict_name(code, at)),
                number(len(which), ",.0f"),
                number(float(value[best])),
                *([where[0]] if head == "where" else []),
                number(float(points.lowest_eigenvalue[best]), ".4g"),
                word(Reason(why).sentence()),
            ]
        )

    has_place = bool(rows) and len(rows[0]) == 6
    columns = ("verdict", "points", "lowest value", *(("where",) if has_place else ()), "lowest eigenvalue", "reason")
    more = [f"... and {len(rows) - max_rows:,} more kinds"] if len(rows) > max_rows else []
    own = f"{len(points):,} judged points in {value_type(points)}."
    return Sheet(title=own, columns=columns, rows=rows[:max_rows], notes=[*more, *points.notes])
