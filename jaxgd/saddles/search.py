"""Searches for critical points of a wanted index, or of any, from known points, given ones or random starts.

A search climbs along as many eigenvectors of the Hessian as the index says, and descends along all others
(`eigenvector_following`). Where it arrives is judged like every end of a descent, by `classify`, and counted in one
catalogue. How often a point is found says nothing about basins of descent, but it does say what further searches of
this kind would find: each index has its own estimate of what was not seen.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import CRITICAL, InputTypeError, InputValueError, Key, Landscape, Params, Progress
from jaxgd.checks import check_count, check_key, check_starts
from jaxgd.interrupt import interruptible
from jaxgd.platforms import in_full_precision
from jaxgd.points.catalogue import Catalogue
from jaxgd.points.evidence import Rows
from jaxgd.points.flat import Kind, as_rows, at_least_single
from jaxgd.points.units import Units, units_of
from jaxgd.saddles.displaced import Known, draw_beside, known_points, lengths_around
from jaxgd.saddles.eigenvector_following import ANY_INDEX, Found, SearchEnd, search_program
from jaxgd.saddles.found import Search, unseen_by_index
from jaxgd.saddles.judged import DistinctEnds
from jaxgd.statistics import coverage_stop
from jaxgd.statistics.inputs import check_confidence

MAX_DIM = 1024
"""Above this many parameters the whole Hessian is not formed, and nothing is searched."""

_TOGETHER = 256  # searches between two looks at what was found


@in_full_precision
def saddles(
    landscape: Landscape,
    start: Any = None,
    index: int | Iterable[int] | None = 1,
    *,
    num_starts: int | None = None,
    key: Key,
    until: float | None = None,
    max_steps: int = 100,
    max_move: float = 0.25,
    reach: float = 8.0,
    confidence: float = 0.95,
    progress: Progress | None = None,
) -> Search:
    """Returns the critical points of an index that searches find, each judged, counted, and with what was not seen.

    Args:
      landscape: whose critical points are sought; the whole Hessian is formed at every step.
      start: where to begin. A catalogue, or a survey or search that holds one: beside its critical points, displaced at
        random, along soft modes, towards neighbours, and at random starts of the landscape. Params with one leading
        axis: at these points. None: at random starts.
      index: how many directions of negative curvature are wanted; or several such numbers, for example range(3), each
        of which is searched for from every start; or None for any, by Newton's method (`critical_points`).
      num_starts: how many starts (>= 1), at most where there is an `until`; 1,000 if None; left out where points are
        given.
      key: a key such as `jax.random.key(0)`; start i depends on it and on i alone.
      until: an unseen mass in (0, 1). The number of starts is doubled until, with this confidence for all looks and
        indices together, one more search that arrives would find a new point of its index with no more than this
        probability.
      max_steps: steps of a search (>= 1), each of them a Hessian and its eigenvectors.
      max_move: longest step in any coordinate, in units of length (> 0). Shorter ones find rare points more often, and
        cost more.
      reach: how far from its start a search may go in any coordinate, in units of length (> 0); what goes farther has
        escaped.
      confidence: level of all intervals, in (0, 1).
      progress: called as progress(phase, done, total).

    Returns:
      `Search`; printed, it is a table. Points of another index that turn up are in its catalogue as well. After Ctrl-C
      it holds what was found so far.

    Raises:
      InputValueError, InputTypeError: the question cannot be run.

    Example:
      >>> import jax, jaxgd
      >>> surface = jaxgd.landscapes.mueller_brown()
      >>> found = jaxgd.saddles(surface, num_starts=200, key=jax.random.key(0))
      >>> found.of_index(1).value.round(4).tolist()
      [-72.2489, -40.6648]
    """
    key, max_steps = check_key(key), check_count("max_steps", max_steps)
    for name, number in (("max_move", max_move), ("reach", reach)):
        if not (np.isfinite(number) and number > 0):
            raise InputValueError(f"`{name}` must be positive and finite, got {number}.")
    if until is not None and not 0 < until < 1:
        raise InputValueError(f"`until` must lie strictly between 0 and 1, got {until}.")
    check_confidence(confidence)
    starts = _starts_of(landscape, start, num_starts, key)
    indices = _indices(index, starts.dim)
    asked = np.asarray(indices if indices is not None else [ANY_INDEX], np.int32)

    program = search_program(landscape, starts.kind)
    limits = (np.int32(max_steps), np.asarray(max_move, starts.dtype), np.asarray(reach, starts.dtype))
    judged = DistinctEnds(
        landscape=landscape, kind=starts.kind, dim=starts.dim, dtype=starts.dtype, confidence=confidence
    )

    outcomes: list[Rows] = []
    num_steps = num_done = num_looks = 0
    seen_before: dict[int, Rows] = {}
    report = progress or (lambda phase, done, total: None)

    # Searches in groups, until all are done or `until` is met.
    with interruptible() as told:
        while num_done < starts.number and not told.count:
            numbers = range(num_done, min(num_done + max(_TOGETHER // len(asked), 1), starts.number))
            x, unit = starts.draw(numbers)
            each = np.repeat(np.arange(len(x)), len(asked))
            found: Found = program(x[each], unit[each], np.tile(asked, len(x)), *limits)
            judged.add(found.x, found.last_step, found.outcome == int(SearchEnd.ARRIVED))
            outcomes.append(found.outcome)
            num_steps, num_done = num_steps + int(np.sum(found.num_steps)), numbers.stop
            report("searching", num_done, starts.number)

            # Looks cost a share of the confidence each, so only doublings are looked at.
            if until is not None and num_done >= _TOGETHER * 2**num_looks:
                num_looks += 1
                seen = _hits_by_index(judged, asked)
                if _covers(seen, seen_before, until, num_looks, confidence):
                    break
                seen_before = seen

    catalogue = judged.catalogue()
    searched = np.tile(asked, num_done)
    return Search(
        landscape=landscape.name,
        start=starts.what,
        index=indices,
        num_starts=num_done,
        num_asked=starts.number,
        is_interrupted=bool(told.count),
        catalogue=catalogue,
        searched=searched,
        outcomes=_counts(np.concatenate([np.zeros(0, np.int32), *outcomes]), judged),
        unseen=unseen_by_index(catalogue, searched, confidence),
        num_steps=num_steps,
        notes=tuple(note for note in (judged.audit(), *judged.points.notes) if note),
    )


def critical_points(
    landscape: Landscape, start: Any = None, *, num_starts: int | None = None, key: Key, **options: Any
) -> Search:
    """Returns the critical points of every index that Newton's method finds: `saddles` of any index.

    Newton's method does not care which way a direction curves, so it finds minima, saddles and maxima alike. What it
    finds is no fair sample: each point counts as often as its Newton basin is large.

    Args:
      landscape: whose critical points are sought.
      start: as in `saddles`; random starts if None.
      num_starts: likewise.
      key: likewise.
      **options: all other options of `saddles`.

    Returns:
      `Search`, as `saddles`.

    Raises:
      InputValueError, InputTypeError: as `saddles`.

    Example:
      >>> import jax, jaxgd
      >>> well = jaxgd.landscapes.product_double_well(dim=1)  # minima at -1 and 1, a maximum at 0
      >>> found = jaxgd.critical_points(well, num_starts=30, key=jax.random.key(0))
      >>> found.catalogue.params.round(6).ravel().tolist()[-1], found.catalogue.index.tolist()
      (0.0, [0, 0, 1])
    """
    return saddles(landscape, start, None, num_starts=num_starts, key=key, **options)


# ----------------------------------------------------------------------------------------------------- starts


@dataclass(frozen=True, kw_only=True)
class _Starts:
    """Where searches begin: given points, or random draws beside known points or of the landscape."""

    landscape: Landscape
    key: Key
    kind: Kind
    number: int
    units: Units
    what: str  # for a person
    given: Rows | None
    known: Known | None
    dim: int
    dtype: Any

    def draw(self, numbers: range) -> tuple[Rows, Rows]:
        """Returns the (n, dim) starts of these numbers, and the unit of length of each coordinate."""
        if self.given is not None:
            x = self.given[numbers.start : numbers.stop]
            return x, lengths_around(self.units, x)
        x = random_rows(self.landscape, self.key, numbers)
        unit = lengths_around(self.units, x)
        if self.known is not None:
            draw_beside(self.known, self.key, numbers, x, unit)
        return x, unit


def random_rows(landscape: Landscape, key: Key, numbers: range) -> Rows:
    """Returns the (n, dim) random starts of these numbers."""
    keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(jnp.arange(numbers.start, numbers.stop))
    return as_rows(jax.tree.map(at_least_single, jax.vmap(landscape.sample)(keys)))[0]


def _starts_of(landscape: Landscape, start: Any, num_starts: int | None, key: Key) -> _Starts:
    """Returns the starts that were asked for."""
    held = start if isinstance(start, Catalogue) else getattr(start, "catalogue", None)
    one = jax.eval_shape(landscape.sample, jax.eval_shape(lambda: jax.random.key(0)))

    # Where the searches begin, as far as it is given.
    given = known = None
    if held is None and start is not None:
        if num_starts is not None:
            raise InputValueError("give either `num_starts` or points to start at, not both.")
        num_starts, batch = check_starts(start), jax.tree.map(at_least_single, start)
        _check_shapes(landscape, batch, one)
        given, kind = as_rows(batch)
        what = f"at {num_starts:,} given points"
    else:
        num_starts = 1000 if num_starts is None else check_count("num_starts", num_starts)
        kind = as_rows(jax.tree.map(lambda leaf: at_least_single(np.zeros((1, *leaf.shape), leaf.dtype)), one))[1]
        what = "at random starts"

    dim = sum(int(np.prod(shape)) for shape, _ in kind.leaf_types)
    if dim > MAX_DIM:
        raise InputValueError(
            f"`{landscape.name}` has {dim:,} parameters, and searches form whole Hessians, up to {MAX_DIM:,}; descend"
            " with `jaxgd.transforms.saddle_dynamics` instead, and classify its ends."
        )

    # Beside the critical points of a catalogue.
    units = units_of(landscape, kind)
    if held is not None:
        which = np.isin(held.verdict, [int(verdict) for verdict in CRITICAL])
        if not np.any(which):
            raise InputValueError("`start` holds no critical point to start beside; leave it out for random starts.")
        x = as_rows(jax.tree.map(lambda leaf: np.asarray(leaf)[which], held.params))[0]
        known = known_points(landscape, kind, x, lengths_around(units, x))
        what = f"beside {len(x):,} known points"

    dtype = np.result_type(*(dtype for _, dtype in kind.leaf_types))
    return _Starts(
        landscape=landscape,
        key=key,
        kind=kind,
        number=num_starts,
        units=units,
        what=what,
        given=given,
        known=known,
        dim=dim,
        dtype=dtype,
    )


def _check_shapes(landscape: Landscape, batch: Params, one: Params) -> None:
    shapes = lambda tree, skip: [np.shape(leaf)[skip:] for leaf in jax.tree.leaves(tree)]
    structure: Any = jax.tree.structure
    if structure(batch) != structure(one) or shapes(batch, 1) != shapes(one, 0):
        raise InputValueError(
            f"the points to start at have shapes {shapes(batch, 1)}, but landscape `{landscape.name}` has"
            f" {shapes(one, 0)}."
        )


def _indices(index: Any, dim: int) -> tuple[int, ...] | None:
    """Returns the indices that are wanted, in order; None for any."""
    if index is None:
        return None
    if isinstance(index, (str, bytes)) or (
        not isinstance(index, Iterable) and not isinstance(index, (int, np.integer))
    ):
        raise InputTypeError(f"`index` must be an integer, several of them or None, got {index!r}.")
    wanted = list(index) if isinstance(index, Iterable) else [index]
    for one in wanted:
        check_count("index", one, low=0)
        if one > dim:
            raise InputValueError(f"`index` must be at most the number of parameters, {dim}, got {one}.")
    if not wanted:
        raise InputValueError("`index` holds no number; give at least one, or None for any.")
    return tuple(sorted({int(one) for one in wanted}))


# ------------------------------------------------------------------------------------------------ what was found


def _hits_by_index(judged: DistinctEnds, asked: Rows) -> dict[int, Rows]:
    """Returns for each wanted index the hits of its distinct points, in order of discovery."""
    points, searched = judged.points, np.tile(asked, len(judged.entry) // len(asked))
    is_critical, hits = points.is_critical(), {}
    for one in asked.tolist():
        counted = judged.entry[(judged.entry >= 0) & (searched == one)]
        wanted = is_critical & ((points.index == one) | (one == ANY_INDEX))
        hits[one] = np.where(wanted, np.bincount(counted, minlength=len(points.value)), 0)
    return hits


def _covers(seen: dict[int, Rows], before: dict[int, Rows], until: float, look: int, confidence: float) -> bool:
    """Returns whether what was not seen of each index is surely little."""
    each = 1 - (1 - confidence) / len(seen)
    return all(
        coverage_stop(hits, before.get(index, hits[:0]), until, look=look, confidence=each).stop
        for index, hits in seen.items()
    )


def _counts(outcomes: Rows, judged: DistinctEnds) -> dict[str, int]:
    """Returns how many searches ended in which way; of those that arrived, what they arrived at."""
    counts = Counter({SearchEnd(code).name.lower(): int(np.sum(outcomes == code)) for code in np.unique(outcomes)})
    members = judged.points[judged.entry[judged.entry >= 0]]
    counts.pop("arrived", None)
    counts.update(members.verdict_counts())
    return dict(counts)
