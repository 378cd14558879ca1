"""The distinct critical points among many, how often each was hit, and how much was not seen.

Two points are the same when verdict and index agree, and their values and the landscape's invariants (its own
coordinates, where it has no symmetry) agree within the points' own errors. Weights are shares of all
descents, those that ended at no critical point included, and belong to landscape, start law, optimizer and step
together. The unseen mass is the probability that one more descent ends at a critical point not in the catalogue.
"""

import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxgd.base import Landscape, Params, Points, Reason, Verdict
from jaxgd.face import Face
from jaxgd.front_door import front_door
from jaxgd.points.joining import join_valleys
from jaxgd.points.rows import ForRows
from jaxgd.points.sameness import equal_rows, group
from jaxgd.statistics import Unseen, proportion_interval, unseen_mass

_SAFETY = 4.0  # on the errors of values and invariants
_NUM_MOVES = 2  # places at which invariants are computed once more


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Catalogue(Face):
    """Distinct critical points, lowest value first; every array has one leading axis of them.

    Attributes:
      params: pytree with leading axis k, of each point the member with the smallest gradient.
      value: (k,)
      verdict: (k,) int8, see `Verdict`.
      index: (k,) int32
      num_zero_modes: (k,) int32
      num_symmetry_modes: (k,) int32
      dimension: (k,) int32 of the valley that the point lies on, 0 where it is isolated, -1 where that is unknown.
      placement: pytree with leading axis k, how far off each coordinate may be.
      value_error: (k,) of the value.
      lowest_eigenvalue: (k,) outside the symmetry's zero modes.
      hits: (k,) int64, descents that ended there.
      weight: (k,) share of all descents.
      weight_low: (k,) lower end of its exact (Clopper-Pearson) interval.
      weight_high: (k,) upper end.
      confidence: level of all intervals, in (0, 1).
      num_descents: descents in all.
      verdicts: how many descents got each verdict.
      reasons: why descents ended at no critical point, and how many for each reason.
      unseen: what was not seen; None where no descent ended at a critical point.
      is_open: (k,) bool, the point lies on a valley that was not shown to be connected with another one of the same
        value, verdict, index and dimension; nor was it shown not to be.
      entry: (num_descents,) int64, which row each descent belongs to, -1 for none.
    """

    params: Params
    value: np.ndarray
    verdict: np.ndarray
    index: np.ndarray
    num_zero_modes: np.ndarray
    num_symmetry_modes: np.ndarray
    dimension: np.ndarray
    placement: Params
    value_error: np.ndarray
    lowest_eigenvalue: np.ndarray
    hits: np.ndarray
    weight: np.ndarray
    weight_low: np.ndarray
    weight_high: np.ndarray
    confidence: float
    num_descents: int
    verdicts: dict[str, int]
    reasons: dict[str, int]
    unseen: Unseen | None
    is_open: np.ndarray
    entry: np.ndarray

    def __len__(self) -> int:
        return len(self.value)

    @property
    def num_unjoined(self) -> int:
        """Number of points whose valleys may be one and the same; if there are any, `len` is an upper bound."""
        return int(np.sum(self.is_open))

    def __str__(self) -> str:
        return self.table()

    def table(self, max_rows: int = 24) -> str:
        """Returns the catalogue as a table for a person, the lowest `max_rows` points of it."""
        percent = f"{100 * self.confidence:g}% interval"
        head = f"{'value':>16}  {'verdict':<12} {'index':>5} {'zero':>4} {'dim':>4} {'hits':>9}"
        lines = [f"{head} {'weight':>8}  {percent}"]
        for i in range(min(len(self), max_rows)):
            lines.append(
                f"{self.value[i]:>16.9g}  {Verdict(self.verdict[i]).name.lower():<12} {self.index[i]:>5}"
                f" {self.num_zero_modes[i]:>4} {self.dimension[i] if self.dimension[i] >= 0 else '?':>4}"
                f" {self.hits[i]:>9,} {self.weight[i]:>8.4f}"
                f"  {self.weight_low[i]:.4f} to {self.weight_high[i]:.4f}"
            )
        if len(self) > max_rows:
            lines.append(f"... and {len(self) - max_rows:,} more")
        if not len(self):
            lines.append("no critical point was found")
        lines += ["", self.summary()]
        return "\n".join(lines)

    def summary(self) -> str:
        """Returns in a few sentences how many points there are, and what was not seen."""
        counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in self.verdicts.items())
        text = f"{len(self):,} distinct critical points from {self.num_descents:,} descents ({counts})."
        if self.num_unjoined:
            text += (
                f"\n{self.num_unjoined:,} of them lie on valleys that were not shown to be connected, so the number of"
                f" distinct ones is at most {len(self):,}."
            )
        for name, count in self.reasons.items():
            text += f"\n{count:,} at no critical point: {Reason[name.upper()].sentence()}."
        if self.unseen is None:
            return text
        at_least = math.floor(self.unseen.num_low)
        return (
            f"{text}\nNot seen: one more descent finds a new one with probability {self.unseen.mass:.2g}"
            f" ({self.unseen.mass_low:.2g} to {self.unseen.mass_high:.2g})"
            + (f"; at least {at_least:,} more are there (Chao1)." if at_least else ".")
        )


@front_door
def catalogue(
    landscape: Landscape,
    points: Points,
    *,
    confidence: float = 0.95,
    value_tolerance: float | None = None,
    distance_tolerance: float | None = None,
) -> Catalogue:
    """Returns the distinct critical points among judged points.

    Args:
      landscape: whose symmetry says which points are the same.
      points: judged points of `classify`.
      confidence: level of the intervals, in (0, 1).
      value_tolerance: values of one point may differ by no more than this; by default by what the points' own errors
        come to.
      distance_tolerance: invariants of one point may differ by no more than this in every entry; likewise.
    """
    members = np.flatnonzero(points.is_critical())  # others may hold NaN
    if len(members):
        columns = (points.verdict, points.index, points.value, *jax.tree.leaves(points.params))
        first, repeats = equal_rows([np.asarray(column)[members] for column in columns])
        first = members[first]
    else:
        first, repeats = members, members
    distinct = points[first]
    invariants = invariants_of(landscape, distinct.params)
    value_error, error = _SAFETY * np.nan_to_num(distinct.value_error), errors_of(landscape, distinct, invariants)
    if value_tolerance is not None:
        value_error = np.full_like(value_error, value_tolerance / 2)
    if distance_tolerance is not None:
        error = np.full_like(error, distance_tolerance / 2)
    kind = np.stack([distinct.verdict, distinct.index, distinct.dimension], axis=1)
    entry_of_first, leaders = group(
        kind, np.asarray(distinct.value), value_error, invariants, error, np.asarray(distinct.gradient_norm)
    )

    # Those on one valley are one entry, which the best placed of them represents.
    valley, is_open = join_valleys(landscape, distinct[leaders])
    order = np.lexsort((np.asarray(distinct.gradient_norm)[leaders], valley))
    _, best, entry_of_leader = np.unique(valley[order], return_index=True, return_inverse=True)
    best, entry_of_leader[order] = order[best], entry_of_leader.copy()
    is_open, leaders = is_open[best], leaders[best]

    entry = np.full(len(points), -1, np.int64)
    entry[members], leaders = entry_of_leader[entry_of_first[repeats]], first[leaders]
    pick = lambda field: np.asarray(field)[leaders]
    hits = np.bincount(entry[entry >= 0], minlength=len(leaders)).astype(np.int64)
    low, high = proportion_interval(hits, np.full_like(hits, len(points)), confidence)
    return Catalogue(
        params=jax.tree.map(pick, points.params),
        value=pick(points.value),
        verdict=pick(points.verdict),
        index=pick(points.index),
        num_zero_modes=pick(points.num_zero_modes),
        num_symmetry_modes=pick(points.num_symmetry_modes),
        dimension=pick(points.dimension),
        placement=jax.tree.map(pick, points.placement),
        value_error=pick(points.value_error),
        lowest_eigenvalue=pick(points.lowest_eigenvalue),
        hits=hits,
        weight=hits / len(points),
        weight_low=low,
        weight_high=high,
        confidence=confidence,
        num_descents=len(points),
        verdicts=points.verdict_counts(),
        reasons=points.reason_counts(),
        unseen=unseen_mass(hits, confidence) if len(hits) else None,
        is_open=is_open,
        entry=entry,
    )


def invariants_of(landscape: Landscape, params: Params) -> np.ndarray:
    """Returns (n, k) what is compared of each point: the symmetry's invariants, or the coordinates themselves."""
    if landscape.symmetry is None or not len(jax.tree.leaves(params)[0]):
        return _coordinates(params)
    return np.asarray(_invariants(landscape)(jax.tree.map(np.asarray, params)))


def _coordinates(params: Params) -> np.ndarray:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
    return np.concatenate([leaf.reshape(len(leaf), math.prod(leaf.shape[1:])) for leaf in leaves], axis=1)


@functools.lru_cache(maxsize=32)
def _invariants(landscape: Landscape) -> ForRows:
    return ForRows(lambda params: jnp.ravel(ravel_pytree(landscape.symmetry.invariants(params))[0]))  # type: ignore[union-attr]


def errors_of(landscape: Landscape, points: Points, invariants: np.ndarray) -> np.ndarray:
    """Returns (n, k) how far each invariant of each point may be off, by its placement and by rounding."""
    rounding = 16 * np.finfo(invariants.dtype).eps * np.abs(invariants)
    placement = jax.tree.map(lambda leaf: np.nan_to_num(np.asarray(leaf)), points.placement)
    if landscape.symmetry is None:
        return _coordinates(placement) + rounding

    # The invariants are no functions that can be differentiated: they are computed once more, a few times beside.
    draw, largest = np.random.default_rng(0), np.zeros_like(invariants)
    sign = lambda leaf: draw.choice(np.array([-1, 1], leaf.dtype), leaf.shape)
    for _ in range(_NUM_MOVES):
        moved = jax.tree.map(lambda leaf, off: np.asarray(leaf) + sign(off) * off, points.params, placement)
        largest = np.maximum(largest, np.abs(invariants_of(landscape, moved) - invariants))
    return _SAFETY * largest + rounding
