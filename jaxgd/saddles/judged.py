"""Ends of searches, each distinct one judged once.

Searches that arrive end within their own last step of a critical point, so that many of them stand at one and the same
place. Ends whose values and invariants agree within what their last steps and rounding allow are one end: the best
placed of them is judged in full, and the others take its verdict. A random sample of these is judged as well, and how
many turn out otherwise is reported.
"""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from jaxgd.base import Landscape, Params, Points
from jaxgd.points.catalogue import Catalogue, catalogue, errors_of, invariants_of
from jaxgd.points.classify import classify, join_points
from jaxgd.points.dense import programs_of
from jaxgd.points.evidence import Rows
from jaxgd.points.flat import Kind, as_params, flat
from jaxgd.points.sameness import group
from jaxgd.statistics import proportion_interval, unseen_mass

NUM_AUDITED = 32
"""Ends that took another one's verdict and are judged in full all the same."""

_ROUNDING = 64.0  # rounding units of a value or a coordinate


class _Seen(NamedTuple):
    """What ends are compared by; arrays with one leading axis of them."""

    value: Rows
    value_error: Rows
    invariants: Rows  # (n, k)
    error: Rows  # (n, k)


@dataclass(kw_only=True)
class DistinctEnds:
    """The distinct ends so far, in order of discovery, and which of them each search came to.

    Attributes:
      landscape: that was searched.
      kind: of its params.
      dim: of its flat points.
      dtype: of these.
      confidence: level of all intervals, in (0, 1).
      entry: (num_searches,) int64, the distinct end of each search; -1 for none.
    """

    landscape: Landscape
    kind: Kind
    dim: int
    dtype: Any
    confidence: float
    entry: Rows = field(default_factory=lambda: np.zeros(0, np.int64), init=False)
    _parts: list[Points] = field(default_factory=list, init=False)
    _seen: _Seen | None = field(default=None, init=False)
    _members: list[tuple[Rows, Rows]] = field(default_factory=list, init=False)  # for the audit: x, entry

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    @property
    def points(self) -> Points:
        """One point for each distinct end."""
        if not self._parts:
            nothing = as_params(np.zeros((0, self.dim), self.dtype), self.kind)
            return _placed(nothing, np.zeros(0, self.dtype), nothing)
        if len(self._parts) > 1:
            self._parts = [join_points(self._parts)]
        return self._parts[0]

    def add(self, x: Rows, last_step: Rows, has_arrived: Rows) -> None:
        """Takes in the (n, dim) ends of the next searches; only those that have arrived are looked at."""
        arrived = np.flatnonzero(has_arrived)
        entry = np.full(len(x), -1, np.int64)
        if len(arrived):
            entry[arrived] = self._entries(x[arrived], last_step[arrived])
        self.entry = np.concatenate([self.entry, entry])

    @np.errstate(all="ignore")
    def _entries(self, x: Rows, last_step: Rows) -> Rows:
        """Returns the distinct end that each end is, after judging those that are new."""
        eps, num_known = np.finfo(x.dtype).eps, len(self)
        value, gradient = programs_of(flat(self.landscape, self.kind), x.dtype.name).evaluate(x)
        placement = last_step + _ROUNDING * eps * np.abs(x)
        value_error = _ROUNDING * eps * np.abs(value) + np.sum(np.abs(gradient) * placement, axis=1)
        params = as_params(x, self.kind)
        invariants = invariants_of(self.landscape, params)
        errors = errors_of(self.landscape, _placed(params, value, as_params(placement, self.kind)), invariants)

        # What is known leads; of new ends that are the same the best placed.
        new = _Seen(value, value_error, invariants, errors)
        seen = _Seen(*map(np.concatenate, zip(self._seen, new, strict=True))) if self._seen is not None else new
        quality = np.concatenate([np.full(num_known, -1.0), np.max(placement, axis=1)])
        kind = np.zeros((num_known + len(x), 1), np.int64)
        of_group, leaders = group(kind, *seen, quality)
        found, fresh = leaders[of_group[num_known:]], leaders[leaders >= num_known] - num_known
        if len(fresh):
            self._parts.append(classify(self.landscape, as_params(x[fresh], self.kind)))
            kept = np.concatenate([np.arange(num_known), num_known + fresh])
            self._seen = _Seen(*(column[kept] for column in seen))
        number = np.concatenate([np.arange(num_known), np.full(len(x), -1)])
        number[num_known + fresh] = num_known + np.arange(len(fresh))

        followers = np.setdiff1d(np.arange(len(x)), fresh)
        sample = np.random.default_rng(num_known).permutation(followers)[:NUM_AUDITED]
        self._members.append((x[sample], number[found[sample]]))
        return number[found]

    def audit(self) -> str:
        """Returns in a sentence how many of a sample of ends turn out to be what they were taken for."""
        if not sum(len(entry) for _, entry in self._members):
            return ""
        x, entry = map(np.concatenate, zip(*self._members, strict=True))
        sample = np.random.default_rng(0).permutation(len(x))[:NUM_AUDITED]
        taken, judged = self.points[entry[sample]], classify(self.landscape, as_params(x[sample], self.kind))
        tolerance = 4 * np.nan_to_num(taken.value_error + judged.value_error)
        is_same = (taken.verdict == judged.verdict) & (taken.index == judged.index)
        is_same &= ~taken.is_critical() | (np.abs(taken.value - judged.value) <= tolerance)
        return f"Equal ends were judged once; {int(np.sum(~is_same))} of {len(sample)} audited ones changed verdict."

    def catalogue(self) -> Catalogue:
        """Returns the distinct critical points, hits and weights being shares of all searches."""
        found = catalogue(self.landscape, self.points, confidence=self.confidence)
        row = np.append(found.entry, -1)[self.entry]
        hits = np.bincount(row[row >= 0], minlength=len(found)).astype(np.int64)
        low, high = proportion_interval(hits, np.full_like(hits, len(row)), self.confidence)
        members = self.points[self.entry[self.entry >= 0]]
        return replace(
            found,
            hits=hits,
            weight=hits / len(row),
            weight_low=low,
            weight_high=high,
            num_descents=len(row),
            verdicts=members.verdict_counts(),
            reasons=members.reason_counts(),
            unseen=unseen_mass(hits, self.confidence) if len(hits) else None,
            entry=row,
        )


def _placed(params: Params, value: Rows, placement: Params) -> Points:
    """Returns points of which only the place is known."""
    zeros = np.zeros(len(value), value.dtype)
    known = {"params": params, "value": value, "placement": placement}
    return Points(**{name: known.get(name, zeros) for name in Points.column_names()})
