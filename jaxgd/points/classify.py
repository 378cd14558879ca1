"""A verdict for every end: polished to the critical point beside it, judged by the Hessian there.

Up to `MAX_DENSE_DIM` parameters the Hessian is formed: a Cholesky factor proves plain minima, a whole spectrum tells
what anything else is. Beyond, the ends of the spectrum are computed by Hessian-vector products.

A verdict never comes from a small step or a small gradient alone. What polish does not bring to a critical point is
no critical point: it is `gradient_flat` where the gradient lies in the Hessian's kernel, `plateau` where the descent
itself had come to rest on a small gradient, `diverged` where it had left the finite range, and `undecided` otherwise.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Ends, InputValueError, Landscape, Params, Points, Status, Verdict
from jaxgd.lanes.checks import check_params, check_value
from jaxgd.lanes.tune import work_of
from jaxgd.points import matrix_free, minima
from jaxgd.points.flat import Flat, Kind, as_params, as_rows, at_least_single, flat, placement_error
from jaxgd.points.flat_directions import descends
from jaxgd.points.newton import take
from jaxgd.points.polish import curvature_change, polish, programs_of, spectra
from jaxgd.points.rows import ForRows

MAX_DENSE_DIM = 1024
"""Above this many parameters the whole Hessian is not formed: verdicts rest on Hessian-vector products."""

_BYTES_PER_CHUNK = 2**28  # held at once
_MAX_CHUNK = 1024
_HESSIANS_OF_A_POINT = 8  # held, eigenvectors and moved ones among them
_MAX_LARGE_CHUNK = 32
_ROWS_OF_A_LARGE_POINT = 128  # vectors held for each
_TELLING_ASYMMETRY = 1e3  # rounding units of the norm, times the dimension
_NUM_LENGTH_STARTS = 16


def judge_in_full(
    landscape: Landscape, ends: Ends | Params, *, progress: Callable[[int, int], None] | None = None
) -> Points:
    """Returns what each end is, every one judged by itself; see `jaxgd.classify`."""
    batch, status = _batch_and_status(ends)
    rows, kind = as_rows(batch)
    largest = _largest_array(landscape, kind)
    functions, (num_points, dim) = flat(landscape, kind), rows.shape
    if dim <= MAX_DENSE_DIM:
        minima.prepare(functions, rows)  # while the unit of length is found
    length = np.asarray(_unit_of_length(landscape), rows.dtype)
    if dim <= MAX_DENSE_DIM:
        judge_chunk, bytes_each, most = _dense, _HESSIANS_OF_A_POINT * dim**2 * rows.itemsize, _MAX_CHUNK
    else:
        judge_chunk, bytes_each, most = (
            _matrix_free,
            (8 * largest + _ROWS_OF_A_LARGE_POINT * dim) * 8,
            _MAX_LARGE_CHUNK,
        )
    num_together = 2 ** int(math.log2(np.clip(_BYTES_PER_CHUNK // bytes_each, 1, most)))
    parts = []
    for begin in range(0, num_points, num_together):
        parts.append(judge_chunk(functions, rows[begin : begin + num_together], length))
        if progress is not None:
            progress(min(begin + num_together, num_points), num_points)
    found: _Found = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    points = _points(found, status, as_params(found.x, kind))
    return _with_flat_directions(functions, points, found.x, length)


class _Found(NamedTuple):
    """What was found of each point, whole or from its ends; arrays with one leading axis of points."""

    x: Any
    value: Any
    gradient_norm: Any
    move: Any
    is_critical: Any
    is_gradient_flat: Any
    num_negative: Any
    num_positive: Any
    num_zero: Any
    num_symmetry_modes: Any
    is_told: Any  # bool, whether these numbers decide the verdict
    index_high: Any
    lowest_eigenvalue: Any
    eigenvalue_error: Any
    missed_probability: Any
    missed_curvature: Any
    asymmetry: Any
    is_finite: Any


def _dense(functions: Flat, chunk: np.ndarray, length: np.ndarray) -> _Found:
    polished = polish(functions, chunk, length)
    nothing = np.zeros(len(chunk), polished.value.dtype)
    return _Found(
        is_told=np.ones(len(chunk), bool),
        index_high=polished.num_negative + polished.num_zero,
        missed_probability=nothing,
        missed_curvature=nothing,
        **polished._asdict(),
    )


def _matrix_free(functions: Flat, chunk: np.ndarray, length: np.ndarray) -> _Found:
    reached, num_points = matrix_free.polish(functions, chunk, length), len(chunk)
    filled_up = np.resize(np.arange(num_points), 2 ** math.ceil(math.log2(num_points)))  # few sizes, few programs
    found = take(matrix_free.judge(functions.gradient, take(reached, filled_up), float(length)), slice(num_points))
    in_value = lambda array: np.asarray(array, reached.value.dtype)
    has_negative, has_positive = found.num_negative > 0, found.num_positive > 0
    is_told = (has_negative & has_positive) | (found.num_zero > 0) | found.is_above | found.is_below
    return _Found(
        x=reached.x,
        value=reached.value,
        gradient_norm=reached.gradient_norm,
        move=reached.move,
        is_critical=reached.is_critical & found.is_finite,
        is_gradient_flat=reached.is_gradient_flat,
        num_negative=found.num_negative,
        num_positive=found.num_positive,
        num_zero=found.num_zero,
        num_symmetry_modes=found.num_symmetry_modes,
        is_told=is_told,
        index_high=chunk.shape[1] - found.num_positive - found.num_symmetry_modes,
        lowest_eigenvalue=in_value(found.lowest_eigenvalue),
        eigenvalue_error=in_value(found.eigenvalue_error),
        missed_probability=np.full(num_points, matrix_free.MISSED_PROBABILITY, reached.value.dtype),
        missed_curvature=in_value(found.missed_curvature),
        asymmetry=in_value(found.asymmetry),
        is_finite=found.is_finite,
    )


def _batch_and_status(ends: Any) -> tuple[Params, np.ndarray | None]:
    if isinstance(ends, Ends):
        if ends.params is None:
            raise InputValueError('these ends kept no params; descend with keep=("params",) to judge them.')
        batch, status = ends.params, np.asarray(ends.status)
    else:
        batch, status = jax.tree.map(np.asarray, ends), None
    leaves = jax.tree.leaves(batch)
    if not leaves or any(np.ndim(leaf) == 0 for leaf in leaves) or len({len(leaf) for leaf in leaves}) != 1:
        raise InputValueError("the points to judge must be params with one leading axis of points in every leaf.")
    if len(leaves[0]) == 0:
        raise InputValueError("there are no points to judge.")
    return jax.tree.map(at_least_single, batch), status


@functools.lru_cache(maxsize=32)
def _largest_array(landscape: Landscape, kind: Kind) -> int:
    """Returns the entries of the largest array on the way to the gradient; refuses points that do not fit."""
    one = jax.tree.unflatten(kind.treedef, [jax.ShapeDtypeStruct(*leaf) for leaf in kind.leaf_types])
    check_params(one, "the points to judge")
    start = jax.eval_shape(landscape.sample, jax.eval_shape(lambda: jax.random.key(0)))
    shapes = lambda tree: jax.tree.map(lambda leaf: leaf.shape, tree)
    if shapes(one) != shapes(start):
        raise InputValueError(
            f"the points to judge have shapes {shapes(one)}, but landscape `{landscape.name}` has {shapes(start)}."
        )
    check_value(landscape, one)
    return work_of(landscape.evaluate, one).largest


def _with_flat_directions(functions: Flat, points: Points, rows: np.ndarray, length: np.ndarray) -> Points:
    """Returns the points with `descends` answered for the degenerate ones whose spectrum is known whole."""
    degenerate = np.flatnonzero((points.verdict == int(Verdict.DEGENERATE)) & (points.missed_probability == 0))
    if not len(degenerate):
        return points
    x, programs, answers = rows[degenerate], programs_of(functions), points.descends.copy()
    at = spectra(programs, x, length)
    error = at.error + curvature_change(programs, x, at, placement_error(x, length))
    answers[degenerate] = _descends(functions)(x, at, error, length)
    return replace(points, descends=answers)


@functools.lru_cache(maxsize=32)
def _descends(functions: Flat) -> ForRows:
    """Returns the question whether the value falls along a flat direction: x, spectrum, error, length -> int8."""
    return ForRows(functools.partial(descends, functions.value, functions.gradient), num_shared=1)


@functools.lru_cache(maxsize=32)
def _unit_of_length(landscape: Landscape) -> float:
    """Returns the largest coordinate among a few starts: how far apart things are in this landscape."""
    starts = jax.jit(jax.vmap(landscape.sample))(jax.random.split(jax.random.key(0), _NUM_LENGTH_STARTS))
    return max(float(jnp.max(jnp.abs(leaf), initial=0)) for leaf in jax.tree.leaves(starts))


def _points(found: _Found, status: np.ndarray | None, params: Params) -> Points:
    num_points = len(found.value)
    is_at_rest = np.isin(status, [int(Status.CONVERGED), int(Status.PLATEAU)]) if status is not None else False
    is_diverged = ~np.isfinite(found.value) | ~np.isfinite(found.gradient_norm)
    if status is not None:
        is_diverged |= status == int(Status.DIVERGED)
    has = {kind: getattr(found, f"num_{kind}") > 0 for kind in ("negative", "positive", "zero")}
    verdict = np.select(
        [
            is_diverged,
            ~found.is_critical & found.is_gradient_flat,
            ~found.is_critical & is_at_rest,
            ~found.is_critical,
            ~found.is_told,
            has["negative"] & has["positive"],
            has["zero"],
            has["negative"],
        ],
        [
            Verdict.DIVERGED,
            Verdict.GRADIENT_FLAT,
            Verdict.PLATEAU,
            Verdict.UNDECIDED,
            Verdict.UNDECIDED,
            Verdict.SADDLE,
            Verdict.DEGENERATE,
            Verdict.MAXIMUM,
        ],
        Verdict.MINIMUM,
    ).astype(np.int8)
    known = ~is_diverged & found.is_critical  # what is known of the curvature is said even where it does not decide

    def unless_known(found: Any, otherwise: float, dtype: Any) -> np.ndarray:
        return np.asarray(np.where(known, found, otherwise), dtype)

    dtype = found.value.dtype
    return Points(
        params=params,
        value=found.value,
        gradient_norm=found.gradient_norm,
        verdict=verdict,
        index=unless_known(found.num_negative, -1, np.int32),
        index_high=unless_known(found.index_high, -1, np.int32),
        num_zero_modes=unless_known(found.num_zero + found.num_symmetry_modes, -1, np.int32),
        num_symmetry_modes=unless_known(found.num_symmetry_modes, -1, np.int32),
        lowest_eigenvalue=unless_known(found.lowest_eigenvalue, np.nan, dtype),
        eigenvalue_error=unless_known(found.eigenvalue_error, np.nan, dtype),
        move=found.move.reshape(num_points),
        descends=np.full(num_points, -1, np.int8),
        missed_probability=unless_known(found.missed_probability, np.nan, dtype),
        missed_curvature=unless_known(found.missed_curvature, np.nan, dtype),
        notes=_notes(found, verdict, is_diverged),
    )


def _notes(found: _Found, verdict: np.ndarray, is_diverged: np.ndarray) -> tuple[str, ...]:
    """Returns what the verdicts suffered from, one sentence for each."""
    dtype, num_points = found.value.dtype, len(found.value)
    rounding = float(np.finfo(dtype).eps) * found.x.shape[1]
    is_asymmetric = found.is_finite & (found.asymmetry > _TELLING_ASYMMETRY * rounding)
    is_hidden = ~found.is_finite & ~is_diverged
    is_vague = np.isin(verdict, [int(Verdict.DEGENERATE), int(Verdict.PLATEAU), int(Verdict.UNDECIDED)])
    notes = []
    if np.any(is_asymmetric):
        notes.append(
            f"the Hessian is asymmetric by up to {found.asymmetry[is_asymmetric].max():.2g} of its norm at"
            f" {is_asymmetric.sum()} of {num_points} points: a custom derivative contradicts itself, and all error"
            " bounds are wider by as much."
        )
    if np.any(is_hidden):
        notes.append(f"the Hessian is not finite at {is_hidden.sum()} of {num_points} points where the gradient is.")
    if dtype == np.float32 and np.any(is_vague):
        notes.append(
            f"{is_vague.sum()} of {num_points} points could not be told in float32; float64 may tell"
            ' (jax.config.update("jax_enable_x64", True)).'
        )
    return tuple(notes)
