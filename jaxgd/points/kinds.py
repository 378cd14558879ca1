"""Kinds: which distinct critical points are alike up to an isometry, whether or not a symmetry was declared.

A rotation, reflection, translation, permutation or change of sign of the parameters that leaves the value unchanged
leaves the Hessian's eigenvalues unchanged, too, in the coordinates of the parameters as they stand. So two points are
of one kind if verdict, index and dimension agree, and value and sorted spectrum do within each point's own errors. That
is evidence and no proof: two points may have the same value and spectrum by chance.

Most symmetries that are no isometries (the length of a vector, ReLU units) stretch valleys: the spectrum then changes
along the valley, which is measured beside the point, and says nothing about the whole of it. Such valleys are of one
kind if their values agree, a weaker sign, which is said.

Spectra are computed only of points that share a value with others, and of no more than `max_spectra` of them, some of
every value. The others of so many, and points with too many parameters for a whole spectrum, are counted by value and
lowest eigenvalue.
"""

from enum import IntEnum
from typing import NamedTuple

import jax
import numpy as np

from jaxgd.base import Landscape, Points
from jaxgd.curvature import Spectrum
from jaxgd.points.dense import Programs, programs_of
from jaxgd.points.evidence import Rows
from jaxgd.points.flat import as_rows, at_least_single, flat
from jaxgd.points.judge import MAX_DENSE_DIM
from jaxgd.points.sameness import _alike, _runs, group
from jaxgd.points.scaled import RAW_SPECTRUM
from jaxgd.points.units import lengths_at, units_of

_SAFETY = 4.0  # on errors
_NUM_MOVES = 2  # places at which the Hessian is computed once more
_STEPS_LEFT, _ROUNDINGS = 8.0, 4.0  # Newton steps, and roundings of a point, that may be left
_STEP = 3e-3  # units of length along a valley
_CHANGING = 1e-6  # of the largest eigenvalue, over such a step
_MANY, _MANY_ENTRIES = 4096, 2**26  # spectra, and entries of their Hessians
_FEW = 64  # spectra that are always computed
_ENTRIES_TOGETHER = 2**22


class KindBy(IntEnum):
    """What it rests on that a point is of its kind."""

    ALONE = 0
    SPECTRUM = 1
    LOWEST = 2
    VALUE = 3


class Kinds(NamedTuple):
    """The kinds of distinct points; arrays with one leading axis of points."""

    kind: Rows  # int64, numbered in order of their first points
    by: Rows  # int8, see `KindBy`


def max_spectra(dim: int) -> int:
    """Returns how many spectra are computed at most for one catalogue of points with so many parameters."""
    return int(np.clip(_MANY_ENTRIES // max(dim**2, 1), _FEW, _MANY))


@np.errstate(all="ignore")
def kinds_of(landscape: Landscape, points: Points) -> Kinds:
    """Returns of which kind each of the distinct critical points is."""
    number = len(points.value)
    label, by = np.arange(number), np.zeros(number, np.int8)
    value = np.asarray(points.value, np.float64)
    value_error = _SAFETY * np.nan_to_num(points.value_error).astype(np.float64)
    families = _families(points, value, value_error)
    if not families:
        return Kinds(label, by)

    # Points whose spectra are compared, some of every family.
    chosen = _chosen(families, points)
    if len(chosen):
        family = np.empty(number, np.int64)
        for place, members in enumerate(families):
            family[members] = place
        seen = _seen(landscape, points[chosen])
        is_known = np.all(np.isfinite(seen.spectrum) & np.isfinite(seen.error), axis=1)
        which = chosen[is_known]
        spectrum, error = seen.spectrum[is_known], seen.error[is_known]
        is_changing = seen.is_changing[is_known]
        spectrum[is_changing] = error[is_changing] = 0
        alike_in = np.stack([family[which], is_changing], axis=1)
        entry, leaders = group(alike_in, value[which], value_error[which], spectrum, error, value_error[which])
        label[which] = which[leaders][entry]
        by[which] = np.where(is_changing, KindBy.VALUE, KindBy.SPECTRUM)

    # The others follow those that share their lowest eigenvalue, or their value where spectra change along valleys.
    for members in families:
        others = np.setdiff1d(members, chosen)
        if len(others):
            _follow(points, value, value_error, members, others, label, by)
    by[np.bincount(label, minlength=number)[label] == 1] = KindBy.ALONE
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    rank = np.empty_like(first)
    rank[np.argsort(first)] = np.arange(len(first))
    return Kinds(rank[inverse.reshape(-1)], by)


def _families(points: Points, value: Rows, error: Rows) -> list[Rows]:
    """Returns the sets of several points that agree in verdict, index, dimension and value."""
    whole = np.stack([points.verdict, points.index, points.dimension], axis=1)
    families = [family for members in _alike(whole) for family in _runs(members, value, error)]
    return [family for family in families if len(family) > 1]


def _chosen(families: list[Rows], points: Points) -> Rows:
    """Returns the rows whose spectra are to be compared, in rising order."""
    dim = sum(int(np.prod(np.shape(leaf)[1:])) for leaf in jax.tree.leaves(points.params))
    if dim > MAX_DENSE_DIM:
        return np.zeros(0, np.int64)
    most = max_spectra(dim)
    if sum(map(len, families)) <= most:
        return np.sort(np.concatenate(families))
    draw, some = np.random.default_rng(0), []
    each = max(most // len(families), 2)
    for family in sorted(families, key=len, reverse=True)[: most // each]:
        some.append(draw.permutation(family)[:each])
    return np.sort(np.concatenate(some))


def _follow(points: Points, value: Rows, value_error: Rows, members: Rows, others: Rows, label: Rows, by: Rows) -> None:
    """Counts points of a family that have no spectrum with those that have one, or with each other."""
    seen = np.setdiff1d(members, others)
    changing = seen[by[seen] == KindBy.VALUE]
    if len(changing):
        label[others], by[others] = label[changing[0]], KindBy.VALUE
        return
    lowest = np.asarray(points.lowest_eigenvalue, np.float64)
    error = np.asarray(points.eigenvalue_error, np.float64)
    both = members[np.isfinite(lowest[members]) & np.isfinite(error[members])]
    if not len(both):
        return
    rounding = 16 * np.finfo(np.asarray(points.value).dtype).eps * np.abs(lowest)
    off = _SAFETY * error + rounding
    entry, leaders = group(
        np.zeros((len(both), 1)), value[both], value_error[both], lowest[both, None], off[both, None], off[both]
    )
    for number in range(len(leaders)):
        together = both[entry == number]
        known, new = (together[np.isin(together, some)] for some in (seen, others))
        if len(new):
            kinds, counts = np.unique(label[known], return_counts=True)
            label[new] = kinds[np.argmax(counts)] if len(known) else new[0]
            by[new] = KindBy.LOWEST


class _Seen(NamedTuple):
    """Spectra of points, in the coordinates of the parameters; arrays with one leading axis of points."""

    spectrum: Rows  # (n, dim) float64, ascending
    error: Rows  # (n, dim) of each
    is_changing: Rows  # bool, whether it changes along the valley


def _seen(landscape: Landscape, points: Points) -> _Seen:
    """Returns the spectra of points."""
    x, kind = as_rows(jax.tree.map(at_least_single, points.params))
    off = np.nan_to_num(as_rows(jax.tree.map(at_least_single, points.placement))[0]).astype(x.dtype)
    unit = lengths_at(units_of(landscape, kind), x)
    programs = programs_of(flat(landscape, kind), x.dtype.name)
    together = max(_ENTRIES_TOGETHER // x.shape[1] ** 2, 1)
    parts = [
        _some_seen(programs, *(each[begin : begin + together] for each in (x, off, unit, points.dimension)))
        for begin in range(0, len(x), together)
    ]
    return _Seen(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _some_seen(programs: Programs, x: Rows, off: Rows, unit: Rows, dimension: Rows) -> _Seen:
    """Returns the spectra of (n, dim) points that may be `off` by so much."""
    matrix = programs.hessian(x, unit)
    at = _spectrum(matrix, unit)
    order = np.argsort(np.argsort(np.abs(at.eigenvalues), axis=1), axis=1)
    is_kernel = order < np.maximum(dimension, 0)[:, None]
    on = np.flatnonzero(dimension > 0)
    if len(on):
        off[on] = _off_across(programs, x[on], matrix[on], at.eigenvalues[on], at.vectors[on], is_kernel[on])

    # What rounding and the point's own place come to, by Weyl's inequality.
    change, draw = np.zeros(len(x)), np.random.default_rng(0)
    if not programs.is_exact:
        change = np.linalg.norm(programs.hessian_and_error(x, unit)[1].astype(np.float64), axis=(1, 2))
    for _ in range(_NUM_MOVES):
        moved = programs.hessian(x + draw.choice(np.array([-1, 1], x.dtype), x.shape) * off, unit)
        change = np.maximum(change, np.linalg.norm((moved - matrix).astype(np.float64), axis=(1, 2)))
    spectrum = at.eigenvalues.astype(np.float64)
    error = _SAFETY * (at.error + change[:, None])

    is_changing = np.zeros(len(x), bool)
    if len(on):
        along = np.where(is_kernel[on], draw.standard_normal((len(on), x.shape[1])), 0).astype(x.dtype)
        step = np.einsum("nij,nj->ni", at.vectors[on], along)
        step *= _STEP / np.max(np.abs(step) / unit[on], axis=1, keepdims=True)
        is_changing[on] = _changes(programs, x[on], step, unit[on], spectrum[on], error[on])
    return _Seen(spectrum, error, is_changing)


def _off_across(programs: Programs, x: Rows, matrix: Rows, eigenvalues: Rows, vectors: Rows, is_kernel: Rows) -> Rows:
    """Returns (n, dim) how far off points of valleys may be across them: along them they are where they are.

    A few Newton steps of what is left of the gradient, and of what rounding of the point makes of it.
    """
    eps = np.finfo(x.dtype).eps
    size = np.abs(vectors)
    left = np.abs(np.einsum("nij,ni->nj", vectors, programs.evaluate(x)[1]))
    left = left + _ROUNDINGS * eps * np.einsum("nij,ni->nj", size, np.einsum("nij,nj->ni", np.abs(matrix), np.abs(x)))
    steps = np.where(is_kernel, 0, left / np.where(eigenvalues == 0, 1, np.abs(eigenvalues)))
    return np.einsum("nij,nj->ni", size, _STEPS_LEFT * steps) + 2 * eps * np.abs(x)


def _changes(programs: Programs, x: Rows, step: Rows, unit: Rows, spectrum: Rows, error: Rows) -> Rows:
    """Returns (n,) whether the spectrum changes along a direction of the valley.

    A straight step leaves a bent valley, by as much to both sides, which cancels in the difference of opposite places
    up to the third order; that of half the step takes this away, too.
    """
    whole, half = (
        _spectrum(programs.hessian(x + part * step, unit), unit).eigenvalues.astype(np.float64)
        - _spectrum(programs.hessian(x - part * step, unit), unit).eigenvalues
        for part in (x.dtype.type(1), x.dtype.type(0.5))
    )
    change = np.linalg.norm(8 * half - whole, axis=1) / 3
    noise = 6 * np.linalg.norm(error, axis=1) + _CHANGING * np.max(np.abs(spectrum), axis=1)
    return change > noise


def _spectrum(matrix: Rows, unit: Rows) -> Spectrum:
    """Returns the whole spectra, no direction set aside."""
    return RAW_SPECTRUM(matrix, np.zeros_like(unit)[:, None, :], unit)
