"""The distinct critical points among many, how often each was hit, and how much was not seen.

Two points are the same when verdict and index agree, their values agree to rounding, and the landscape's invariants
(its own coordinates, where it has no symmetry) agree within what polishing can place. Weights are shares of all
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

from jaxgd.base import Landscape, Params, Points, Verdict
from jaxgd.points.rows import ForRows
from jaxgd.statistics import Unseen, proportion_interval, unseen_mass


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Distinct critical points, lowest value first; every array has one leading axis of them.

    Attributes:
      params: pytree with leading axis k, of each point the member with the smallest gradient.
      value: (k,)
      verdict: (k,) int8, see `Verdict`.
      index: (k,) int32
      num_zero_modes: (k,) int32
      num_symmetry_modes: (k,) int32
      lowest_eigenvalue: (k,) outside the symmetry's zero modes.
      hits: (k,) int64, descents that ended there.
      weight: (k,) share of all descents.
      weight_low: (k,) lower end of its exact (Clopper-Pearson) interval.
      weight_high: (k,) upper end.
      confidence: level of all intervals, in (0, 1).
      num_descents: descents in all.
      verdicts: how many descents got each verdict.
      unseen: what was not seen; None where no descent ended at a critical point.
      entry: (num_descents,) int64, which row each descent belongs to, -1 for none.
    """

    params: Params
    value: np.ndarray
    verdict: np.ndarray
    index: np.ndarray
    num_zero_modes: np.ndarray
    num_symmetry_modes: np.ndarray
    lowest_eigenvalue: np.ndarray
    hits: np.ndarray
    weight: np.ndarray
    weight_low: np.ndarray
    weight_high: np.ndarray
    confidence: float
    num_descents: int
    verdicts: dict[str, int]
    unseen: Unseen | None
    entry: np.ndarray

    def __len__(self) -> int:
        return len(self.value)

    def __str__(self) -> str:
        return self.table()

    def table(self, max_rows: int = 24) -> str:
        """Returns the catalogue as a table for a person, the lowest `max_rows` points of it."""
        percent = f"{100 * self.confidence:g}% interval"
        lines = [f"{'value':>16}  {'verdict':<12} {'index':>5} {'zero':>4} {'hits':>9} {'weight':>8}  {percent}"]
        for i in range(min(len(self), max_rows)):
            lines.append(
                f"{self.value[i]:>16.9g}  {Verdict(self.verdict[i]).name.lower():<12} {self.index[i]:>5}"
                f" {self.num_zero_modes[i]:>4} {self.hits[i]:>9,} {self.weight[i]:>8.4f}"
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
        counts = ", ".join(f"{count:,} {name}" for name, count in self.verdicts.items())
        text = f"{len(self):,} distinct critical points from {self.num_descents:,} descents ({counts})."
        if self.unseen is None:
            return text
        at_least = math.floor(self.unseen.num_low)
        return (
            f"{text}\nNot seen: one more descent finds a new one with probability {self.unseen.mass:.2g}"
            f" ({self.unseen.mass_low:.2g} to {self.unseen.mass_high:.2g})"
            + (f"; at least {at_least:,} more are there (Chao1)." if at_least else ".")
        )


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
      value_tolerance: values that differ by no more than this times max(1, |value|) may be the same point; by
        default the square root of the rounding unit.
      distance_tolerance: invariants that differ by no more than this in every entry may be the same point; by
        default the cube root of the rounding unit times the size of the invariants.
    """
    members = np.flatnonzero(points.is_critical())  # others may hold NaN
    first, repeats = _distinct_rows(points, members)
    of_first = lambda field: np.asarray(field)[first]
    invariants = invariants_of(landscape, jax.tree.map(of_first, points.params))
    if value_tolerance is None:
        value_tolerance = float(np.sqrt(np.finfo(np.asarray(points.value).dtype).eps))
    if distance_tolerance is None:
        distance_tolerance, _ = tolerances(invariants)
    entry_of_first, leaders = group(
        np.stack([of_first(points.verdict), of_first(points.index)], axis=1),
        of_first(points.value),
        invariants,
        value_tolerance,
        distance_tolerance,
        of_first(points.gradient_norm),
    )
    entry = np.full(len(points), -1, np.int64)
    entry[members], leaders = entry_of_first[repeats], first[leaders]
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
        lowest_eigenvalue=pick(points.lowest_eigenvalue),
        hits=hits,
        weight=hits / len(points),
        weight_low=low,
        weight_high=high,
        confidence=confidence,
        num_descents=len(points),
        verdicts=points.verdict_counts(),
        unseen=unseen_mass(hits, confidence) if len(hits) else None,
        entry=entry,
    )


def group(
    kind: np.ndarray,
    value: np.ndarray,
    invariants: np.ndarray,
    value_tolerance: float,
    distance_tolerance: float,
    gradient_norm: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (entry of every point; representative of every entry), lowest value first.

    The point of lowest value that has no entry yet opens one and takes in all others of its kind within both
    tolerances of it.
    """
    entry = np.full(len(value), -1, np.int64)
    order = np.argsort(value, kind="stable")
    sorted_value = value[order]
    leaders: list[int] = []
    for place, point in enumerate(order):
        if entry[point] >= 0:
            continue
        window = sorted_value[place] + value_tolerance * max(1.0, abs(float(sorted_value[place])))
        near = order[place : np.searchsorted(sorted_value, window, side="right")]
        near = near[(entry[near] < 0) & np.all(kind[near] == kind[point], axis=1)]
        near = near[np.max(np.abs(invariants[near] - invariants[point]), axis=1, initial=0) <= distance_tolerance]
        entry[near] = len(leaders)
        leaders.append(int(near[np.argmin(gradient_norm[near])]))
    return entry, np.asarray(leaders, np.int64)


def tolerances(invariants: np.ndarray) -> tuple[float, float]:
    """Returns (by how much invariants of the same point may differ, the size of invariants)."""
    eps = np.finfo(invariants.dtype).eps
    size = float(np.median(np.max(np.abs(invariants), axis=1, initial=0))) if len(invariants) else 0.0
    size = max(size, float(np.sqrt(eps)))
    return float(np.cbrt(eps)) * size, size


def invariants_of(landscape: Landscape, params: Params) -> np.ndarray:
    """Returns (n, k) what is compared of each point: the symmetry's invariants, or the coordinates themselves."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
    num_points = len(leaves[0])
    if landscape.symmetry is None or num_points == 0:
        return np.concatenate([leaf.reshape(num_points, math.prod(leaf.shape[1:])) for leaf in leaves], axis=1)
    return np.asarray(_invariants(landscape)(jax.tree.map(np.asarray, params)))


@functools.lru_cache(maxsize=32)
def _invariants(landscape: Landscape) -> ForRows:
    return ForRows(lambda params: jnp.ravel(ravel_pytree(landscape.symmetry.invariants(params))[0]))  # type: ignore[union-attr]


def _distinct_rows(points: Points, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (the first member of every distinct row, which of these each member equals), bit by bit."""
    columns = (points.verdict, points.index, points.value, *jax.tree.leaves(points.params))
    picked = [np.asarray(column)[members] for column in columns]
    rows = [np.ascontiguousarray(leaf.reshape(len(members), math.prod(leaf.shape[1:]))) for leaf in picked]
    words = np.concatenate([row.view(np.uint8) for row in rows], axis=1)
    words = np.pad(words, ((0, 0), (0, -words.shape[1] % 8)))
    _, first, inverse = np.unique(named(words.view(np.uint64)), return_index=True, return_inverse=True)
    return members[first], inverse


def named(rows: np.ndarray) -> np.ndarray:
    """Returns (n,) numbers, equal for equal rows of (n, k) words of 64 bits, for others once in 2^64 pairs."""
    factors = np.random.default_rng(0).integers(2**63, size=rows.shape[1], dtype=np.uint64) * 2 + 1
    return rows.view(np.uint64) @ factors
