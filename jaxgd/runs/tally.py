"""Parts put together one at a time, so that memory grows with what is distinct and not with what was descended.

Each part is reduced to its distinct points with their hits; these are grouped once more as if they were points of one
part. Both groupings are those of `jaxgd.catalogue`.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import jax
import numpy as np

from jaxgd.base import Cost, Landscape, Points, Status, Stop, Verdict
from jaxgd.points import Catalogue, catalogue
from jaxgd.runs.parts import Part
from jaxgd.statistics import proportion_interval, unseen_mass
from jaxgd.survey import Survey

_AT_ONCE = 2**16  # distinct points of several parts that are kept before they are grouped


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Ends or points that were counted and not kept: as much of `jaxgd.Ends` and `jaxgd.Points` as a survey prints.

    Attributes:
      counts: how many there are of each status or verdict.
      num_starts: descents asked for.
      cost: what the descents cost.
      value: (0,) of the dtype of the values.
      notes: sentences for a person.
    """

    counts: dict[str, int]
    num_starts: int
    cost: Cost
    value: np.ndarray
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return sum(self.counts.values())

    def status_counts(self) -> dict[str, int]:
        """Returns how many descents stopped for each reason."""
        return self.counts

    def verdict_counts(self) -> dict[str, int]:
        """Returns how many points got each verdict."""
        return self.counts


def tally(landscape: Landscape, optimizer: str, stop: Stop, num_starts: int, parts: Iterable[Part]) -> Survey | None:
    """Returns the survey that parts come to, or None where there are none; its ends and points are only counted."""
    statuses: Counter[int] = Counter()
    verdicts: Counter[int] = Counter()
    costs: list[Cost] = []
    notes: dict[str, None] = {}
    entries: list[np.ndarray] = []  # row in `distinct` of every descent of a part, -1 for none
    distinct: list[Catalogue] = []
    for part in parts:
        statuses.update(np.asarray(part.ends.status).tolist())
        verdicts.update(np.asarray(part.points.verdict).tolist())
        costs.append(part.ends.cost)
        notes.update(dict.fromkeys(part.points.notes))
        found = catalogue(landscape, part.points)
        offset = sum(len(some) for some in distinct)
        entries.append(np.where(found.entry < 0, -1, found.entry + offset).astype(np.int32))
        distinct.append(found)
        if offset > _AT_ONCE and len(distinct) > 2:
            joined = _group(landscape, distinct)
            entries = [_renumbered(entry, joined.entry) for entry in entries]
            distinct = [joined]
    if not costs:
        return None
    joined = _group(landscape, distinct)
    entry = _renumbered(np.concatenate(entries), joined.entry)
    low, high = proportion_interval(joined.hits, np.full_like(joined.hits, len(entry)), joined.confidence)
    ends = Counted(
        counts={status.name.lower(): statuses[status] for status in Status if statuses[status]},
        num_starts=num_starts,
        cost=total_cost(costs),
        value=np.asarray(part.ends.value)[:0],
    )
    counts = {verdict.name.lower(): verdicts[verdict] for verdict in Verdict if verdicts[verdict]}
    points = replace(ends, counts=counts, notes=tuple(notes))
    return Survey(
        landscape=landscape.name,
        optimizer=optimizer,
        stop=stop,
        ends=ends,  # type: ignore[arg-type]
        points=points,  # type: ignore[arg-type]
        catalogue=replace(
            joined,
            weight=joined.hits / len(entry),
            weight_low=low,
            weight_high=high,
            num_descents=len(entry),
            verdicts=points.counts,
            unseen=unseen_mass(joined.hits, joined.confidence) if len(joined) else None,
            entry=entry,
        ),
    )


def _group(landscape: Landscape, parts: list[Catalogue]) -> Catalogue:
    """Returns the distinct points of several catalogues with all their hits; `entry` numbers the rows that went in."""
    total = sum(len(part) for part in parts)
    if len(parts) == 1 or not total:
        return replace(parts[0], entry=np.arange(total))
    join = lambda name: jax.tree.map(lambda *leaves: np.concatenate(leaves), *(getattr(part, name) for part in parts))
    known = {
        name: join(name)
        for name in (
            "params", "value", "verdict", "index", "num_zero_modes", "num_symmetry_modes", "lowest_eigenvalue",
        )
    }  # fmt: skip
    zeros = np.zeros(total, known["value"].dtype)
    others = {item.name: zeros for item in fields(Points) if item.name not in (*known, "notes")}
    points = Points(**known, **others)  # type: ignore[arg-type]
    joined = catalogue(landscape, points, confidence=parts[0].confidence)
    hits = np.bincount(joined.entry, weights=join("hits"), minlength=len(joined)).astype(np.int64)
    return replace(joined, hits=hits)


def _renumbered(entry: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Returns the new row of every descent, -1 staying -1."""
    return np.append(new, -1)[entry].astype(np.int32)


def total_cost(costs: list[Cost]) -> Cost:
    """Returns what several units cost together; seconds are summed over processes."""
    sums = {
        name: sum(getattr(cost, name) for cost in costs)
        for name in ("ticks", "lane_ticks", "seconds_compile", "seconds_run")
    }
    return replace(costs[0], **sums, num_devices=max(cost.num_devices for cost in costs))


def join_points(parts: list[Points]) -> Points:
    """Returns the points of several parts as one, in their order, each note once."""
    joined = {
        item.name: jax.tree.map(lambda *leaves: np.concatenate(leaves), *(getattr(part, item.name) for part in parts))
        for item in fields(Points)
        if item.name != "notes"
    }
    return Points(**joined, notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)))
