"""A verdict for every end, each judged by itself.

A first look sorts out what is plainly not at a critical point. Up to `MAX_DENSE_DIM` parameters the Hessian is formed:
a Cholesky factor proves plain minima, a whole spectrum tells what anything else is. Beyond, the ends of the spectrum
are computed by Hessian-vector products. What the evidence comes to is said in one place (`jaxgd.points.verdict`).
"""

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgd.base import Ends, InputValueError, Landscape, Params, Points, Reason, Status, Verdict
from jaxgd.checks import check_params, check_value
from jaxgd.points import matrix_free, minima
from jaxgd.points.dense import judge_by_spectra, programs_of
from jaxgd.points.evidence import Evidence, Rows, nothing_found
from jaxgd.points.first_look import first_look
from jaxgd.points.flat import Flat, Kind, as_params, as_rows, at_least_single, flat
from jaxgd.points.large_valleys import CONFIDENCE, NUM_DIRECTIONS, find_large_valleys
from jaxgd.points.newton import put
from jaxgd.points.noise import at_places, both_signs
from jaxgd.points.rows import ForRows
from jaxgd.points.units import Units, lengths_at, units_of, value_scale_at
from jaxgd.points.valleys import find_valleys
from jaxgd.points.verdict import is_at_rest, is_beside, least_fall, points_of, reasons, verdicts
from jaxgd.tracing import work_of

MAX_DENSE_DIM = 1024
"""Above this many parameters the whole Hessian is not formed: verdicts rest on Hessian-vector products."""

_BYTES_PER_CHUNK = 2**28  # held at once
_MAX_CHUNK = 1024
_HESSIANS_OF_A_POINT = 12  # held, eigenvectors and moved ones among them
_MAX_LARGE_CHUNK = 32
_ROWS_OF_A_LARGE_POINT = 128  # vectors held for each
_NEARBY = 0.25  # power of eps: units of length
_TELLING_ASYMMETRY = 1e3  # rounding units of the norm, times the dimension


class InFull(NamedTuple):
    """Ends judged one by one; arrays with one leading axis of points."""

    points: Points
    softness: Rows  # (n, dim), see `Evidence`
    unit: Rows  # (n, dim) of length


def judge_in_full(
    landscape: Landscape, ends: Ends | Params, *, progress: Callable[[int, int], None] | None = None
) -> InFull:
    """Returns what each end is, every one judged by itself; see `jaxgd.classify`."""
    batch, status, frozen = _batch_of(ends)
    rows, kind = as_rows(batch, frozen)
    largest = _largest_array(landscape, kind)
    functions, (num_points, dim) = flat(landscape, kind), rows.shape
    is_small = dim <= MAX_DENSE_DIM
    if is_small:
        minima.prepare(functions, rows)  # while the units are found
    units = units_of(landscape, kind)

    # As many points together as memory allows.
    if is_small:
        bytes_each, most = _HESSIANS_OF_A_POINT * dim**2 * rows.itemsize, _MAX_CHUNK
    else:
        bytes_each, most = (8 * largest + _ROWS_OF_A_LARGE_POINT * dim) * 8, _MAX_LARGE_CHUNK
    num_together = 2 ** int(math.log2(np.clip(_BYTES_PER_CHUNK // bytes_each, 1, most)))
    parts = []
    for begin in range(0, num_points, num_together):
        part = slice(begin, begin + num_together)
        of_part = None if status is None else status[part]
        values = None if not isinstance(ends, Ends) else np.asarray(ends.value)[part]
        parts.append(_judge(functions, units, rows[part], of_part, values, is_small))
        if progress is not None:
            progress(min(begin + num_together, num_points), num_points)
    found, verdict, reason = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    points = points_of(found, verdict, reason, as_params(found.x, kind), as_params(found.placement, kind))
    notes = (*_notes(found, points), functions.second_order(jax.ShapeDtypeStruct((dim,), rows.dtype)).note)
    points = replace(points, notes=tuple(note for note in notes if note))
    return InFull(points, found.softness, lengths_at(units, found.x))


@np.errstate(all="ignore")
def _judge(
    functions: Flat, units: Units, ends: Rows, status: Rows | None, value: Rows | None, is_small: bool
) -> tuple[Evidence, Rows, Rows]:
    """Returns what was found beside each of the (n, dim) ends, the verdicts and the reasons."""
    unit, rests = lengths_at(units, ends), is_at_rest(status, len(ends))
    looked = np.zeros(len(ends), np.int8)
    found = nothing_found(ends)
    evaluate = programs_of(functions, ends.dtype.name).evaluate
    found.value[:], gradient = evaluate(ends)
    found.gradient_norm[:] = np.linalg.norm(gradient, axis=1)
    height = value_scale_at(units, found.value).astype(ends.dtype)
    least = least_fall(status, height, ends.dtype)

    is_diverged = ~(np.isfinite(found.value) & np.all(np.isfinite(gradient), axis=1))
    is_dropped = np.zeros(len(ends), bool)
    if status is not None:
        is_dropped = status == int(Status.INTERRUPTED)  # undecided, at no cost
        is_diverged |= is_dropped | (status == int(Status.DIVERGED))

    def look(which: Rows, x: Rows, drift: Rows | None = None) -> Rows:
        drift = None if drift is None else drift[which]
        return first_look(functions, x[which], unit[which], height[which], least[which], drift)

    # What had come to rest is judged at once; of the others, what a first look leaves.
    look_at = np.flatnonzero(~rests & ~is_diverged)
    if len(look_at):
        looked[look_at] = look(look_at, ends)
    candidates = np.flatnonzero((looked == 0) & ~is_diverged)
    if len(candidates):
        judge_all = _by_hessians if is_small else matrix_free.judge
        put(found, candidates, judge_all(functions, ends[candidates], unit[candidates], height[candidates]))
    is_critical = is_beside(found, status, least) & (looked == 0) & ~is_diverged

    # A flat direction along which the gradient still pulls may lead on without end.
    look_at = np.flatnonzero(is_critical & np.any(found.drift != 0, axis=1))
    if len(look_at):
        leads_on = look(look_at, found.x, found.drift) == int(Reason.UNBOUNDED)
        is_critical[look_at[leads_on]] = False

    has_zeros = np.flatnonzero(is_critical & (found.num_zero > 0))
    if is_small:
        find_valleys(functions, found, has_zeros, unit, height)
    else:
        find_large_valleys(functions, found, has_zeros, unit)

    # A whole neighbourhood without slope or curvature is a plateau, unless the function has nothing else.
    has_none = (found.num_negative == 0) & (found.num_positive == 0)
    level = np.flatnonzero(is_critical & has_none & (height > 0))
    if len(level):
        level = level[(found.dimension[level] >= 0) | _is_constant(evaluate, found.x[level], unit[level])]
        is_critical[level], looked[level] = False, int(Reason.FLAT)

    # What turns out not to be beside a critical point is looked at, too, to say why.
    look_at = np.flatnonzero(~is_critical & ~is_diverged & (looked == 0))
    if len(look_at):
        looked[look_at] = look(look_at, ends, found.drift)
    _take_back(found, np.flatnonzero(~is_critical), ends, evaluate)
    verdict = verdicts(found, is_critical, is_diverged, rests)
    reason = reasons(found, is_critical, is_diverged, looked, least)
    verdict[is_dropped], reason[is_dropped] = int(Verdict.UNDECIDED), int(Reason.INTERRUPTED)
    return found, verdict, reason


def _is_constant(evaluate: ForRows, x: Rows, unit: Rows) -> Rows:
    """Returns whether the gradient is exactly zero at points and at places around, as where a function underflows."""
    around = np.finfo(x.dtype).eps ** _NEARBY * unit[:, None] * both_signs(x, 2)
    places = np.concatenate([np.zeros_like(around[:, :1]), around], axis=1)
    return np.all(at_places(evaluate, x, places)[1] == 0, axis=(1, 2))


def _by_hessians(functions: Flat, ends: Rows, unit: Rows, height: Rows) -> Evidence:
    """Returns what was found beside ends whose Hessian can be formed."""
    found = minima.plain_minima(functions, ends, unit)
    rest = np.flatnonzero(~found.is_reached)
    if len(rest):
        put(found, rest, judge_by_spectra(functions, ends[rest], unit[rest], height[rest]))
    return found


def _take_back(found: Evidence, which: Rows, ends: Rows, evaluate: ForRows) -> None:
    """Leaves ends that have no verdict of a critical point where they were."""
    which = which[np.any(found.x[which] != ends[which], axis=1)]
    if len(which):
        found.x[which], found.move[which] = ends[which], 0
        found.value[which], gradient = evaluate(ends[which])
        found.gradient_norm[which] = np.linalg.norm(gradient, axis=1)


def _batch_of(ends: Any) -> tuple[Params, np.ndarray | None, Params | None]:
    """Returns (params, status, frozen leaves) of what is to be judged."""
    status = frozen = None
    if isinstance(ends, Ends):
        if ends.params is None:
            raise InputValueError('these ends kept no params; descend with keep=("params",) to judge them.')
        batch, status, frozen = ends.params, np.asarray(ends.status), getattr(ends, "frozen", None)
    else:
        batch = jax.tree.map(np.asarray, ends)
    leaves = jax.tree.leaves(batch)
    if not leaves or any(np.ndim(leaf) == 0 for leaf in leaves) or len({len(leaf) for leaf in leaves}) != 1:
        raise InputValueError("the points to judge must be params with one leading axis of points in every leaf.")
    if len(leaves[0]) == 0:
        raise InputValueError("there are no points to judge.")
    return jax.tree.map(at_least_single, batch), status, frozen


@functools.lru_cache(maxsize=8)
def _largest_array(landscape: Landscape, kind: Kind) -> int:
    """Returns the entries of the largest array on the way to the gradient; refuses points that do not fit."""
    one = jax.tree.unflatten(kind.treedef, [jax.ShapeDtypeStruct(*leaf) for leaf in kind.leaf_types])
    check_params(one, "the points to judge")
    start = jax.eval_shape(landscape.sample, jax.eval_shape(lambda: jax.random.key(0)))
    shapes = lambda tree: [leaf.shape for leaf in jax.tree.leaves(tree)]
    if shapes(one) != shapes(start):
        raise InputValueError(
            f"the points to judge have shapes {shapes(one)}, but landscape `{landscape.name}` has {shapes(start)}."
        )
    check_value(landscape, one)
    return work_of(landscape.evaluate, one).largest


def _notes(found: Evidence, points: Points) -> tuple[str, ...]:
    """Returns what the verdicts suffered from, one sentence for each."""
    dtype, num_points = found.value.dtype, len(found.value)
    rounding = float(np.finfo(dtype).eps) * found.x.shape[1]
    is_asymmetric = found.is_finite & (found.asymmetry > _TELLING_ASYMMETRY * rounding)
    notes = []
    if np.any(is_asymmetric):
        notes.append(
            f"the Hessian is asymmetric by up to {found.asymmetry[is_asymmetric].max():.2g} of its norm at"
            f" {is_asymmetric.sum()} of {num_points} points: a custom derivative contradicts itself, and all errors"
            " are larger by as much."
        )
    is_large = np.isfinite(found.flat_low) & (found.dimension > 0)
    if np.any(is_large):
        low, high = 100 * found.flat_low[is_large].min(), 100 * found.flat_high[is_large].max()
        length, missed = found.flat_length[is_large].min(), points.missed_curvature[is_large].max()
        notes.append(
            f"{is_large.sum():,} of {num_points:,} points lie on valleys, as products of the Hessian with vectors show:"
            f" along each of {NUM_DIRECTIONS} random flat directions, over {length:.1g} units of length and a tenth of"
            f" that, value and gradient stay to rounding. {low:.2f} to {high:.2f} % of all directions are flat, with"
            f" curvature below {np.sqrt(np.finfo(dtype).eps):.1g} of the largest (limits at {100 * CONFIDENCE:g} % over"
            f" the random directions); the dimension is the lower limit. Curvature below -{missed:.1g} goes unseen with"
            f" probability {points.missed_probability[is_large].max():.1g}."
        )
    is_imprecise = np.isin(points.reason, [int(Reason.PRECISION), int(Reason.UNEXPLAINED_GRADIENT)])
    if dtype == np.float32 and np.any(is_imprecise):
        notes.append(
            f"{is_imprecise.sum():,} of {num_points:,} points could not be classified in float32; try float64"
            ' (jax.config.update("jax_enable_x64", True)).'
        )
    is_zero = points.verdict == int(Verdict.DEGENERATE)
    if dtype == np.float32 and np.any(is_zero):
        notes.append(
            f"{is_zero.sum():,} of {num_points:,} points have curvature that cannot be told from zero in float32, where"
            " that means below about 1e-5 of the largest."
        )
    return tuple(notes)
