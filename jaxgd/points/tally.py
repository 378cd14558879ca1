"""One catalogue of many batches, so that memory grows with what is distinct and not with what was descended.

Each batch of judged points is reduced to its catalogue; catalogues are joined by grouping their rows once more as if
they were points of one batch.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from jaxgd.base import Cost, Ends, Landscape, Points, Reason, Status, Stop, Verdict, merged_notes
from jaxgd.points.catalogue import Catalogue, catalogue
from jaxgd.statistics import Unseen, proportion_interval, unseen_mass

_AT_ONCE = 2**16  # rows of several catalogues that are kept before they are joined


@dataclass(kw_only=True)
class Tally:
    """What batches of ends and their points come to.

    Attributes:
      landscape: whose symmetry says which points are the same.
      confidence: level of all intervals, in (0, 1).
    """

    landscape: Landscape
    confidence: float = 0.95

    costs: list[Cost] = field(default_factory=list, init=False)
    dtype: Any = field(default=None, init=False)
    stop: Stop | None = field(default=None, init=False)  # as resolved
    num_at_start: int = field(default=0, init=False)  # descents that had converged before their first step
    _catalogues: list[Catalogue] = field(default_factory=list, init=False)
    _entries: list[np.ndarray] = field(default_factory=list, init=False)  # row in these of every descent, -1 for none
    _numbers: list[np.ndarray] = field(default_factory=list, init=False)  # its start number
    _marked: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64), init=False)
    _statuses: Counter[int] = field(default_factory=Counter, init=False)
    _verdicts: Counter[int] = field(default_factory=Counter, init=False)
    _reasons: Counter[int] = field(default_factory=Counter, init=False)
    _notes: tuple[str, ...] = field(default=(), init=False)

    def add(self, ends: Ends, points: Points) -> None:
        """Counts the ends of a batch and what they are."""
        self._statuses.update(np.asarray(ends.status).tolist())
        self._verdicts.update(np.asarray(points.verdict).tolist())
        self._reasons.update(np.asarray(points.reason).tolist())
        self._notes = merged_notes(self._notes, dict.fromkeys((*ends.notes, *points.notes)))
        self.costs.append(ends.cost)
        self.dtype, self.stop = np.asarray(ends.value).dtype, ends.stop
        self.num_at_start += ends.num_at_start()
        found = catalogue(self.landscape, points, confidence=self.confidence)
        num_rows = sum(len(some) for some in self._catalogues)
        self._entries.append(np.where(found.entry < 0, -1, found.entry + num_rows).astype(np.int32))
        self._numbers.append(np.asarray(ends.start_number, np.int32))
        self._catalogues.append(found)
        if num_rows > _AT_ONCE:
            self._joined()

    def __len__(self) -> int:
        return sum(len(numbers) for numbers in self._numbers)

    def _joined(self) -> Catalogue:
        """Joins the catalogues, and returns the one."""
        if len(self._catalogues) > 1:
            marked = np.pad(self._marked, (0, sum(len(some) for some in self._catalogues) - len(self._marked)))
            joined, row = join_catalogues(self.landscape, self._catalogues)
            self._entries = [np.append(row, -1)[np.concatenate(self._entries)].astype(np.int32)]
            self._numbers = [np.concatenate(self._numbers)]
            self._marked = np.bincount(row, weights=marked, minlength=len(joined)).astype(np.int64)
            self._catalogues = [joined]
        return self._catalogues[0]

    @property
    def hits(self) -> np.ndarray:
        """(number of distinct points,) int64, descents that ended at each so far."""
        return self._joined().hits if self._catalogues else np.zeros(0, np.int64)

    def mark(self) -> None:
        """Remembers the hits so far as `marked`."""
        self._marked = self.hits

    @property
    def marked(self) -> np.ndarray:
        """(number of distinct points,) int64, hits that each of them had at the last `mark`."""
        return np.pad(self._marked, (0, len(self.hits) - len(self._marked)))

    @property
    def statuses(self) -> dict[str, int]:
        """How many descents stopped for each reason."""
        return _named(Status, self._statuses)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know, each sentence once."""
        return self._notes

    def catalogue(self) -> Catalogue:
        """Returns the catalogue of all batches, as one batch of them would have; `entry` is by start number.

        Descents that were dropped on their way might have ended anywhere: they count in every weight's denominator, and
        the upper limits are those that would hold if all of them belonged to one point, known or new.
        """
        joined = self._joined()
        order = np.argsort(np.concatenate(self._numbers), kind="stable")
        entry = np.concatenate(self._entries)[order]
        num_dropped = self._statuses[Status.INTERRUPTED]
        num = np.full_like(joined.hits, len(entry))
        low, _ = proportion_interval(joined.hits, num, self.confidence)
        _, high = proportion_interval(joined.hits + num_dropped, num, self.confidence)
        return replace(
            joined,
            weight=joined.hits / len(entry),
            weight_low=low,
            weight_high=high,
            num_descents=len(entry),
            verdicts=_named(Verdict, self._verdicts),
            reasons={name: count for name, count in _named(Reason, self._reasons).items() if name != "none"},
            unseen=_unseen(joined.hits, num_dropped, self.confidence) if len(joined) else None,
            entry=entry,
        )


def _unseen(hits: np.ndarray, num_dropped: int, confidence: float) -> Unseen:
    """Returns what was not seen, with limits that hold wherever the dropped descents would have ended."""
    found = unseen_mass(hits, confidence)
    if not num_dropped:
        return found
    singletons = np.flatnonzero(hits == 1)[:num_dropped]
    repeated = hits.copy()
    repeated[singletons] += 1
    least = unseen_mass(repeated, confidence)
    most = unseen_mass(np.append(hits, np.ones(num_dropped, hits.dtype)), confidence)
    return replace(
        found,
        mass_low=min(found.mass_low, least.mass_low),
        mass_high=max(found.mass_high, most.mass_high),
        num_low=min(found.num_low, least.num_low),
    )


def join_catalogues(landscape: Landscape, parts: list[Catalogue]) -> tuple[Catalogue, np.ndarray]:
    """Returns the distinct points of several catalogues with all their hits, and the row that each row became.

    What depends on the number of descents is that of the first part.
    """
    total = sum(len(part) for part in parts)
    if len(parts) == 1 or not total:
        return parts[0], np.arange(total)
    join = lambda name: jax.tree.map(lambda *leaves: np.concatenate(leaves), *(getattr(part, name) for part in parts))
    known = {
        name: join(name)
        for name in (
            "params", "value", "verdict", "index", "num_zero_modes", "num_symmetry_modes", "lowest_eigenvalue",
            "dimension", "placement", "value_error",
        )
    }  # fmt: skip
    zeros = np.zeros(total, known["value"].dtype)
    others = {name: zeros for name in Points.column_names() if name not in known}
    points = Points(**known, **others)  # type: ignore[arg-type]
    joined = catalogue(landscape, points, confidence=parts[0].confidence)
    hits = np.bincount(joined.entry, weights=join("hits"), minlength=len(joined)).astype(np.int64)
    return replace(joined, hits=hits), joined.entry


def _named(kinds: type[Status] | type[Verdict] | type[Reason], counts: Counter[int]) -> dict[str, int]:
    return {kind.name.lower(): counts[kind] for kind in kinds if counts[kind]}
