"""The distinct critical points among many, how often each was hit, and how much remains unseen.

Two points are the same when verdict and index agree, and their values and the landscape's invariants (its own
coordinates, where it has no symmetry) agree within the points' own errors. Weights are shares of all
descents, including those that did not end at a critical point; they depend on landscape, start law, optimizer and step
together. The unseen mass is the probability that one more descent ends at a critical point not in the catalogue.

Points that are alike up to an isometry are of one kind (`jaxgd.points.kinds`); a catalogue of kinds has a row for each.
"""

import functools
import math
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxgd.base import InputValueError, Landscape, Params, Points, Reason, Verdict
from jaxgd.face import Face
from jaxgd.front_door import front_door
from jaxgd.points.joining import join_valleys
from jaxgd.points.kinds import KindBy, kinds_of
from jaxgd.points.rows import ForRows
from jaxgd.points.sameness import equal_rows, group
from jaxgd.statistics import Unseen, proportion_interval, unseen_mass

_SAFETY = 4.0  # on the errors of values and invariants
_NUM_MOVES = 3  # places at which invariants are computed once more
_PLURALS = {
    Verdict.MINIMUM: "minima", Verdict.SADDLE: "saddles", Verdict.MAXIMUM: "maxima",
    Verdict.DEGENERATE: "degenerate points",
}  # fmt: skip

UP_TO = ("symmetry", "isometry")
"""What a catalogue may count points up to: the declared symmetry, or any isometry, as far as spectra show it."""


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Catalogue(Face):
    """Distinct critical points, or kinds of them, lowest value first; every array has one leading axis of rows.

    Attributes:
      params: pytree with leading axis k; for each point, the member with the smallest gradient.
      value: (k,)
      verdict: (k,) int8, see `Verdict`.
      index: (k,) int32
      num_zero_modes: (k,) int32
      num_symmetry_modes: (k,) int32
      dimension: (k,) int32 of the valley that the point lies on, 0 if it is isolated, -1 if unknown.
      placement: pytree with leading axis k, error of each coordinate.
      value_error: (k,) error of the value.
      lowest_eigenvalue: (k,) outside the symmetry's zero modes.
      eigenvalue_error: (k,) its error.
      hits: (k,) int64, descents that ended there.
      weight: (k,) share of all descents.
      weight_low: (k,) lower end of its exact (Clopper-Pearson) interval.
      weight_high: (k,) upper end.
      confidence: level of all intervals, in (0, 1).
      num_descents: total number of descents.
      verdicts: how many descents got each verdict.
      reasons: how many descents did not end at a critical point, by reason.
      unseen: estimate of what remains unseen; None if no descent ended at a critical point.
      is_open: (k,) bool, whether the point lies on a valley that was shown neither to be connected with another one of
        the same value, verdict, index and dimension nor to be separate from it.
      entry: (num_descents,) int64, the row that each descent belongs to, -1 for none.
      kind: (k,) int64, points with the same number are alike up to an isometry: same verdict, index, dimension, value
        and Hessian spectrum, within their errors.
      kind_by: (k,) int8, see `KindBy`: whether this rests on whole spectra, the lowest eigenvalue, or the value alone.
      num_points: (k,) int64, distinct points in the row: 1, or the number seen of the kind.
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
    eigenvalue_error: np.ndarray
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
    kind: np.ndarray
    kind_by: np.ndarray
    num_points: np.ndarray

    def __len__(self) -> int:
        return len(self.value)

    @property
    def num_unjoined(self) -> int:
        """Number of points whose valleys may be one and the same; if there are any, `len` is an upper bound."""
        return int(np.sum(self.is_open))

    @property
    def num_kinds(self) -> int:
        """Number of kinds of points."""
        return len(np.unique(self.kind))

    def kinds(self) -> "Catalogue":
        """Returns the catalogue whose rows are kinds, with the hits of all points of a kind; itself if it is one.

        Example:
          >>> import jax, jaxgd
          >>> found = jaxgd.survey(jaxgd.landscapes.styblinski_tang(dim=2), num_starts=200, key=jax.random.key(0))
          >>> found.catalogue.num_points.tolist(), found.catalogue.kinds().num_points.tolist()
          ([1, 1, 1, 1], [1, 2, 1])
        """
        if self.num_kinds == len(self):
            return self
        _, first, kind = np.unique(self.kind, return_index=True, return_inverse=True)
        total = lambda counts: np.bincount(kind, weights=counts, minlength=len(first)).astype(np.int64)
        picked = {name: jax.tree.map(lambda leaf: leaf[first], getattr(self, name)) for name in _OF_POINTS}
        hits, num_dropped = total(self.hits), self.reasons.get(Reason.INTERRUPTED.name.lower(), 0)
        return replace(
            self,
            **picked,
            **counted(hits, self.num_descents, num_dropped, self.confidence),
            hits=hits,
            is_open=np.zeros(len(first), bool),  # what belongs to one valley is of one kind
            entry=np.append(kind, -1)[self.entry],
            kind=np.arange(len(first)),
            kind_by=self.kind_by[first],
            num_points=total(self.num_points),
        )

    def __str__(self) -> str:
        return self.table()

    def table(self, max_rows: int = 24) -> str:
        """Returns a human-readable table of the lowest `max_rows` points."""
        return "\n".join([*self.rows(max_rows, with_weights=True), "", self.summary()])

    def rows(self, max_rows: int, *, with_weights: bool = False) -> list[str]:
        """Returns the lines of a table of the lowest `max_rows` points, its head first."""
        is_of_kinds = bool(np.any(self.num_points > 1))
        head = f"{'value':>16}  {'verdict':<12} {'index':>5} {'zero':>4} {'dim':>4} {'hits':>9}"
        head += f" {'points':>7}" if is_of_kinds else ""
        head += f" {'weight':>8}  {100 * self.confidence:g}% interval" if with_weights else ""
        lines = [head]
        for i in range(min(len(self), max_rows)):
            line = (
                f"{self.value[i]:>16.9g}  {Verdict(self.verdict[i]).name.lower():<12} {self.index[i]:>5}"
                f" {self.num_zero_modes[i]:>4} {self.dimension[i] if self.dimension[i] >= 0 else '?':>4}"
                f" {self.hits[i]:>9,}{f' {self.num_points[i]:>7,}' if is_of_kinds else ''}"
            )
            if with_weights:
                line += f" {self.weight[i]:>8.4f}  {self.weight_low[i]:.4f} to {self.weight_high[i]:.4f}"
            lines.append(line)
        if len(self) > max_rows:
            lines.append(f"... and {len(self) - max_rows:,} more")
        return lines if len(self) else [*lines, "no critical point was found"]

    def told_reasons(self) -> list[str]:
        """Returns a sentence on each reason for which ends are at no critical point, with their number."""
        return [
            f"{count:,} at no critical point: {Reason[name.upper()].sentence()}."
            for name, count in self.reasons.items()
        ]

    def summary(self) -> str:
        """Returns a few sentences on how many points there are and how much remains unseen."""
        counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in self.verdicts.items())
        num_points = int(np.sum(self.num_points))
        what = f"{num_points:,} distinct critical points"
        if num_points > len(self):
            what = f"{len(self):,} kinds of {what}"
        text = f"{what} from {self.num_descents:,} descents ({counts}).{self._about_kinds()}"
        if self.num_unjoined:
            text += (
                f"\n{self.num_unjoined:,} of them lie on valleys that were not shown to be connected, so the number of"
                f" distinct ones is at most {len(self):,}."
            )
        text += "".join(f"\n{sentence}" for sentence in self.told_reasons())
        if self.unseen is None:
            return text
        at_least = math.floor(self.unseen.num_low)
        new = "one of a new kind" if np.any(self.num_points > 1) else "a new one"
        of_kinds = self.kinds().unseen
        if self.num_kinds < len(self) and of_kinds is not None:
            at_end = (
                f"\nOne of a new kind: with probability {of_kinds.mass:.2g}"
                f" ({of_kinds.mass_low:.2g} to {of_kinds.mass_high:.2g})."
            )
        else:
            at_end = ""
        return (
            f"{text}\nUnseen: one more descent would find {new} with probability {self.unseen.mass:.2g}"
            f" ({self.unseen.mass_low:.2g} to {self.unseen.mass_high:.2g})"
            + (f"; at least {at_least:,} more exist (Chao1)." if at_least else ".")
            + at_end
        )

    def _about_kinds(self) -> str:
        """Returns sentences on the kinds of points, on separate lines; empty if every point is its own kind."""
        if not np.any(self.kind_by):
            return ""
        if self.num_kinds < len(self):
            counts = []
            for verdict, plural in _PLURALS.items():
                kinds = self.kind[self.verdict == int(verdict)]
                if len(np.unique(kinds)) < len(kinds):
                    num_kinds = len(np.unique(kinds))
                    counts.append(f"{len(kinds):,} {plural} of {num_kinds:,} kind{'s' if num_kinds > 1 else ''}")
            text = f"\n{', '.join(counts)}: same value and spectrum, so"
        elif np.any(self.num_points > 1):
            text = "\nThe points of a kind have the same value and spectrum, so they are"
        else:
            return ""
        text += (
            " probably images under a symmetry of the landscape.\nThis may be a coincidence; a declared symmetry"
            " (`jaxgd.symmetry`) is exact."
        )
        by = np.where(self.num_points > 1, self.kind_by, self.kind_by if self.num_kinds < len(self) else 0)
        for code, what in (
            (KindBy.LOWEST, "value and lowest eigenvalue only, as their spectra were not computed"),
            (KindBy.VALUE, "value and dimension only, as the spectrum changes along their valleys"),
        ):
            number = int(np.sum(self.num_points[by == int(code)]))
            text += f"\n{number:,} of them were compared by {what}." if number else ""
        return text


_OF_POINTS = (
    "params", "value", "verdict", "index", "num_zero_modes", "num_symmetry_modes", "dimension", "placement",
    "value_error", "lowest_eigenvalue", "eigenvalue_error",
)  # fmt: skip


@front_door
def catalogue(
    landscape: Landscape,
    points: Points,
    *,
    up_to: str = "symmetry",
    confidence: float = 0.95,
    value_tolerance: float | None = None,
    distance_tolerance: float | None = None,
) -> Catalogue:
    """Returns the distinct critical points among judged points, and how many kinds they fall into.

    Args:
      landscape: whose symmetry says which points are the same.
      points: judged points, as returned by `classify`.
      up_to: "symmetry" counts points, as distinct as the landscape's symmetry leaves them; "isometry" counts kinds,
        whose points have the same verdict, index, dimension, value and Hessian spectrum, so that they are probably
        images of each other. `num_points` is then the number of distinct points seen of each.
      confidence: level of the intervals, in (0, 1).
      value_tolerance: largest difference between values of one point; derived from the points' own errors by default.
      distance_tolerance: largest difference in every entry of its invariants; likewise.

    Raises:
      InputValueError: `up_to` is neither of the two.

    Example:
      >>> import jax, jax.numpy as jnp, jaxgd
      >>> wells = jaxgd.Landscape(value=lambda x: jnp.sum((x**2 - 1) ** 2), sample=lambda k: jax.random.normal(k, (3,)))
      >>> points = jaxgd.classify(wells, 2.0 * jnp.stack(jnp.meshgrid(*[jnp.array([-0.5, 0.5])] * 3)).reshape(3, 8).T)
      >>> len(jaxgd.catalogue(wells, points)), len(jaxgd.catalogue(wells, points, up_to="isometry"))
      (8, 1)
    """
    check_up_to(up_to)
    found = with_kinds(landscape, distinct(landscape, points, confidence, value_tolerance, distance_tolerance))
    return found.kinds() if up_to == "isometry" else found


def check_up_to(up_to: Any) -> None:
    """Refuses what no catalogue can be counted up to."""
    if up_to not in UP_TO:
        raise InputValueError(f'`up_to` must be "symmetry" or "isometry", got {up_to!r}.')


def with_kinds(landscape: Landscape, found: Catalogue) -> Catalogue:
    """Returns a catalogue of points that says of which kind each is."""
    kinds = kinds_of(landscape, points_of_catalogue(found))
    return replace(found, kind=kinds.kind, kind_by=kinds.by)


def points_of_catalogue(found: Catalogue) -> Points:
    """Returns the rows as points again; what a catalogue does not keep is zero."""
    zeros = np.zeros(len(found), found.value.dtype)
    columns = {name: getattr(found, name) if name in _OF_POINTS else zeros for name in Points.column_names()}
    return Points(**columns)  # type: ignore[arg-type]


def distinct(
    landscape: Landscape,
    points: Points,
    confidence: float,
    value_tolerance: float | None = None,
    distance_tolerance: float | None = None,
) -> Catalogue:
    """Returns the distinct critical points among judged points, each of a kind of its own; see `catalogue`."""
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
    reasons = points.reason_counts()
    return Catalogue(
        **{name: jax.tree.map(pick, getattr(points, name)) for name in _OF_POINTS},
        **counted(hits, len(points), reasons.get(Reason.INTERRUPTED.name.lower(), 0), confidence),
        hits=hits,
        confidence=confidence,
        num_descents=len(points),
        verdicts=points.verdict_counts(),
        reasons=reasons,
        is_open=is_open,
        entry=entry,
        kind=np.arange(len(leaders)),
        kind_by=np.zeros(len(leaders), np.int8),
        num_points=np.ones(len(leaders), np.int64),
    )


def counted(hits: np.ndarray, num_descents: int, num_dropped: int, confidence: float) -> dict[str, Any]:
    """Returns weights, their limits, and what was not seen, as fields of a catalogue.

    Descents that were dropped on their way might have ended anywhere: they count in every weight's denominator, and the
    upper limits are those that would hold if all of them belonged to one point, known or new.

    Args:
      hits: (k,) of each row.
      num_descents: in all, at least 1.
      num_dropped: those of them that were dropped.
      confidence: level of the limits, in (0, 1).
    """
    num = np.full_like(hits, num_descents)
    low, _ = proportion_interval(hits, num, confidence)
    _, high = proportion_interval(hits + num_dropped, num, confidence)
    unseen = _unseen(hits, num_dropped, confidence) if len(hits) else None
    return {"weight": hits / num_descents, "weight_low": low, "weight_high": high, "unseen": unseen}


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


def invariants_of(landscape: Landscape, params: Params) -> np.ndarray:
    """Returns (n, k) what is compared of each point: the symmetry's invariants, or the coordinates themselves."""
    if landscape.symmetry is None or not len(jax.tree.leaves(params)[0]):
        return _coordinates(params)
    return np.asarray(_invariants(landscape)(jax.tree.map(np.asarray, params)))


def _coordinates(params: Params) -> np.ndarray:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
    return np.concatenate([leaf.reshape(len(leaf), math.prod(leaf.shape[1:])) for leaf in leaves], axis=1)


@functools.lru_cache(maxsize=8)
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
    # Moves of different length: two coordinates that move alike leave what depends on their difference where it was.
    share = lambda leaf: draw.choice([-1, 1], leaf.shape) * draw.uniform(0.5, 1, leaf.shape)
    for _ in range(_NUM_MOVES):
        move = lambda leaf, off: np.asarray(leaf) + (share(off) * off).astype(off.dtype)
        moved = jax.tree.map(move, points.params, placement)
        largest = np.maximum(largest, np.abs(invariants_of(landscape, moved) - invariants))
    return _SAFETY * largest + rounding
