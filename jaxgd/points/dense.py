"""What whole spectra say about the critical points beside ends.

Newton's method leads from an end to the point (`jaxgd.points.newton`); everything that is then said is computed at the
point itself, in units in which its Hessian is balanced (`scaled`).

A mode's gradient has to be explained: by the rounding noise of gradients, which is measured beside the point, or by a
Newton step so short that nothing is left to go. How far the true point may be off along the mode follows from both. The
curvature may be another there, most of all where it is small, so the Hessian is computed once more at places as far off
as that: the change of curvature belongs to each eigenvalue's error. At a multiple root of the gradient the curvature is
that of a point beside it, of either sign, and its change over the Newton steps that are left is as large as itself:
such an eigenvalue counts as zero. The places are samples, so that errors are estimates and no bounds.
"""

import functools
from typing import NamedTuple

import jax
import numpy as np

from jaxgd.curvature import hessian
from jaxgd.curvature.dense import hessian_and_error
from jaxgd.points.evidence import Evidence, Rows, nothing_found, put_fields
from jaxgd.points.flat import Flat, fine, motions_at
from jaxgd.points.newton import norms, put, walk
from jaxgd.points.noise import Noise, a_few_roundings, at_places, both_signs, noise_at
from jaxgd.points.rows import ForRows
from jaxgd.points.scaled import (
    RAW_SPECTRUM,
    SCALED_SPECTRUM,
    Scaled,
    along_modes,
    as_step,
    extent,
    is_curved,
    model_of,
    rounding_of,
    spread_over_modes,
)
from jaxgd.points.smooth import is_smooth

_BALANCE = 0.375  # power of 1 / eps by which rows of little curvature are scaled up at the point that is judged
_TRUST = 0.5  # units of length that a Newton step may go along one mode
_FARTHEST = 0.1  # units of length over which the change of curvature is looked at
_SHORT = 0.375  # power of eps: units of length, a Newton step that leaves nothing to go
_NEAR = 1e-2  # units of length within which a critical point lies beside another
_FARTHER = 4.0  # times as far off
_BACK = 8  # steps onto a path, each of which gains a digit or so
_STEPS_LEFT = 8.0  # Newton steps that a multiple root may still be away
_STANDS_OUT = 16.0  # times the gradient that is left along a mode
_SAFETY = 4.0  # on measured noise
_SPREADS = 2.0  # of slopes a few roundings off
_ANGLE = 0.25  # power of eps
_TINY = float(np.finfo(np.float32).tiny)
_MAX_LOOKS = 16  # modes of a point that are looked at one by one


class Programs(NamedTuple):
    """What is computed for one point at a time."""

    is_free: Rows  # (dim,) bool, False for frozen coordinates
    is_exact: bool  # Hessians are derivatives, and no differences
    evaluate: ForRows  # x -> value, gradient
    hessian: ForRows  # x, unit -> (dim, dim)
    hessian_and_error: ForRows  # x, unit -> (dim, dim) twice
    motions: ForRows  # x, unit -> (k, dim), in units of length


@functools.lru_cache(maxsize=8)
def programs_of(functions: Flat, dtype: str) -> Programs:
    """Returns the programs of a landscape for points of this type."""
    point = jax.ShapeDtypeStruct(functions.is_free.shape, dtype)
    return Programs(
        is_free=functions.is_free,
        is_exact=functions.second_order(point).kind != "differences",
        evaluate=ForRows(functions.evaluate),
        hessian=ForRows(lambda x, unit: hessian(functions.second_order(x), x, unit)),
        hessian_and_error=ForRows(lambda x, unit: hessian_and_error(functions.second_order(x), x, unit)),
        motions=ForRows(lambda x, unit: motions_at(functions, x, unit)),
    )


@np.errstate(all="ignore")  # what is not finite is left where it was
def judge_by_spectra(functions: Flat, ends: Rows, unit: Rows, height: Rows) -> Evidence:
    """Returns what was found beside each of the (n, dim) ends.

    Args:
      functions: of a landscape, on flat points.
      ends: where descents ended.
      unit: (n, dim) of length.
      height: (n,) of values.
    """
    programs = programs_of(functions, ends.dtype.name)
    SCALED_SPECTRUM.prepare(
        programs.hessian.prepare(ends, unit), programs.motions.prepare(ends, unit), unit, height, height
    )
    walked = walk(programs.evaluate, _Spectra(programs, unit, height), ends, fine(ends, unit))
    first, x, fall = walked.seen_at_end, walked.x, _fall(walked.seen_at_end, walked.gradient_at_end)
    is_within_reach = walked.is_within_reach
    found = _found_at(programs, x, unit, height)

    # Curvature that was taken for rounding may be real, and still have somewhere to go.
    left = np.flatnonzero(~np.all(found.placed.is_explained, axis=1) & np.all(np.isfinite(found.gradient), axis=1))
    if len(left):
        spectra = _Spectra(programs, unit[left], height[left], looks_closely=True)
        onward = walk(programs.evaluate, spectra, x[left], fine(x[left], unit[left]))
        x[left], is_within_reach[left] = onward.x, onward.is_within_reach
        fall[left] += _fall(onward.seen_at_end, onward.gradient_at_end)
        put(found, left, _found_at(programs, onward.x, unit[left], height[left]))

    # Evidence is computed at the point that is judged.
    at, placed, gradient = found.at, found.placed, found.gradient
    change = _change_of_hessian(programs, x, at, placed.distance)
    error = at.error + _shift(at, change)

    # Newton's method has to have kept the signs of the curvature on its way.
    inertia, inertia_at_end = inertia_of(at, error), inertia_of(first, first.error)
    keeps_signs = (inertia_at_end.num_negative <= inertia.num_negative + inertia.num_zero) & (
        inertia_at_end.num_positive <= inertia.num_positive + inertia.num_zero
    )
    is_settled = np.all(placed.is_explained, axis=1)
    is_finite = np.all(np.isfinite(gradient), axis=1) & np.all(np.isfinite(at.eigenvalues), axis=1)
    is_reached = is_settled & is_within_reach & keeps_signs & is_finite

    # Doubtful curvature is no curvature where the gradient crosses zero and all of it may be change.
    is_doubtful = _is_doubtful(at, along_modes(at, gradient), spread_over_modes(at, found.noise.gradient))
    is_told = ~np.any(is_doubtful & ~(placed.is_crossed & (np.abs(at.eigenvalues) <= error)), axis=1)
    num_frozen = np.sum(~functions.is_free).astype(np.int32)
    lowest, lowest_error = _lowest(programs, x, at, change)
    distance = _bracketed(programs.evaluate, x, at, error, placed, found.noise)
    return put_fields(
        nothing_found(ends),
        {
            "x": np.where(is_reached[:, None], x, ends),
            "value": np.where(is_reached, found.value, programs.evaluate(ends)[0]),
            "gradient_norm": norms(np.where(is_reached[:, None], gradient, walked.gradient_at_end)),
            "move": np.where(is_reached, norms(x - ends), 0),
            "is_reached": is_reached,
            "is_gradient_flat": ~is_settled & _is_gradient_flat(at, gradient) & is_finite,
            "is_smooth": is_smooth(programs.evaluate, x, gradient, model_of(at, x, programs.is_free), found.noise),
            "is_finite": is_finite,
            "is_told": is_told,
            "drift": _drift(at, gradient, found.noise, placed),
            "fall": fall,
            "away": np.max(np.abs(x - ends) / unit, axis=1),
            "num_symmetry_modes": at.num_aside - num_frozen,
            "index_high": inertia.num_negative + inertia.num_zero,
            "dimension": np.where(inertia.num_zero == 0, at.num_aside - num_frozen, -1).astype(np.int32),
            "lowest_eigenvalue": lowest,
            "eigenvalue_error": lowest_error,
            "asymmetry": at.asymmetry,
            "placement": _in_coordinates(at, distance) + 2 * np.finfo(x.dtype).eps * np.abs(x),
            "value_error": found.noise.value,
            "softness": _softness(at, inertia, lowest - lowest_error),
            **inertia._asdict(),
        },
    )


class Places(NamedTuple):
    """Points as they stand, and the directions of no curvature there; arrays with one leading axis of points."""

    x: Rows  # (n, dim)
    unit: Rows  # (n, dim) of length
    value: Rows
    value_error: Rows
    placement: Rows  # (n, dim) how far off the critical point may be across the kernel
    is_critical: Rows  # bool, whether what is left of the gradient is explained
    num_negative: Rows  # int32
    num_kernel: Rows  # int32, zero modes and motions of the symmetry
    basis: Rows  # (n, dim, dim) orthonormal in units of length; the first `num_kernel` columns span the kernel


@np.errstate(all="ignore")
def places_at(functions: Flat, x: Rows, unit: Rows, height: Rows) -> Places:
    """Returns what there is at points (n, dim), none of which is moved."""
    found, error = _found_with_errors(programs_of(functions, x.dtype.name), x, unit, height)
    at, inertia = found.at, inertia_of(found.at, error)
    is_kernel = ~at.is_mode | at.is_faint | (np.abs(at.eigenvalues) <= error)
    is_finite = np.all(np.isfinite(found.gradient), axis=1) & np.all(np.isfinite(at.eigenvalues), axis=1)

    # Singular vectors of the kernel's come first.
    columns = np.where(is_kernel[:, None, :], (at.scale / unit)[:, :, None] * at.vectors, 0)
    size = np.linalg.norm(columns, axis=1, keepdims=True)
    columns = np.where((size > 0) & is_finite[:, None, None], columns / np.where(size > 0, size, 1), 0)
    return Places(
        x=x,
        unit=unit,
        value=found.value,
        value_error=found.noise.value,
        placement=_in_coordinates(at, found.placed.distance) + 2 * np.finfo(x.dtype).eps * np.abs(x),
        is_critical=is_finite & np.all(found.placed.is_explained, axis=1),
        num_negative=inertia.num_negative,
        num_kernel=np.sum(is_kernel, axis=1).astype(np.int32),
        basis=np.linalg.svd(columns)[0],
    )


class Inertia(NamedTuple):
    """How many eigenvalues lie below zero, above it, and neither; (n,) int32 each."""

    num_negative: Rows
    num_positive: Rows
    num_zero: Rows


def inertia_of(at: Scaled, error: Rows) -> Inertia:
    """Returns the inertia, eigenvalues within their error of zero counted as zero."""
    count = lambda mask: np.sum(mask & at.is_mode, axis=1).astype(np.int32)
    is_negative, is_positive = (sign * at.eigenvalues > np.where(at.is_faint, np.inf, error) for sign in (-1, 1))
    return Inertia(count(is_negative), count(is_positive), count(~is_negative & ~is_positive))


class _Spectra(NamedTuple):
    """Hessians seen by their spectra."""

    programs: Programs
    unit: Rows
    height: Rows
    looks_closely: bool = False  # at faint curvature, in balanced units
    max_steps: int = 40
    serves_again: bool = True

    def look(self, which: Rows, x: Rows, gradient: Rows) -> Scaled:
        if self.looks_closely:
            return _found_at(self.programs, x, self.unit[which], self.height[which]).at
        return spectra_at(self.programs, x, self.unit[which], self.height[which], balance=0)

    def step(self, seen: Scaled, gradient: Rows) -> Rows:
        return as_step(seen, newton_steps(seen, gradient))

    def weight(self, seen: Scaled) -> Rows:
        return seen.scale

    def rounding(self, seen: Scaled, x: Rows) -> Rows:
        return rounding_of(seen, x)


def spectra_at(programs: Programs, x: Rows, unit: Rows, height: Rows, balance: float) -> Scaled:
    """Returns the spectra at points (n, dim); rows may be scaled up by eps to the power of minus `balance`."""
    most = np.full(len(x), float(np.finfo(x.dtype).eps) ** -balance, x.dtype)
    return SCALED_SPECTRUM(programs.hessian(x, unit), programs.motions(x, unit), unit, height, most)


def newton_steps(at: Scaled, gradient: Rows) -> Rows:
    """Returns (n, dim) how far Newton's step goes along each mode.

    It goes nowhere in modes without curvature, and in those where the quadratic model would carry it out of its range.
    """
    curved = is_curved(at)
    steps = np.where(curved, -along_modes(at, gradient) / np.where(curved, at.eigenvalues, 1), 0)
    return np.where(np.abs(steps) * extent(at) <= _TRUST, steps, 0)


def _fall(at: Scaled, gradient: Rows) -> Rows:
    """Returns (n,) by how much the value changes on the way to the critical point, by the quadratic model."""
    return np.sum(np.abs(newton_steps(at, gradient) * along_modes(at, gradient)), axis=1) / 2


class _Found(NamedTuple):
    """What there is at points, with one leading axis of them."""

    at: Scaled
    value: Rows
    gradient: Rows
    noise: Noise
    placed: "_Placed"


def _found_at(programs: Programs, x: Rows, unit: Rows, height: Rows) -> _Found:
    at = spectra_at(programs, x, unit, height, _BALANCE)
    value, gradient = programs.evaluate(x)
    noise = noise_at(programs.evaluate, x, value, gradient, model_of(at, x, programs.is_free))
    at = at._replace(is_faint=at.is_faint & ~_is_seen_in_gradients(programs.evaluate, x, at, noise))
    if not programs.is_exact:  # a Hessian of differences brings an error of its own
        off = programs.hessian_and_error(x, unit)[1]
        off = (off + np.swapaxes(off, 1, 2)) / 2
        at = at._replace(error=at.error + _shift(at, off), skew=at.skew + np.linalg.norm(off, axis=(1, 2)))
    return _Found(at, value, gradient, noise, _placed(programs, at, x, value, gradient, noise, height))


def _found_with_errors(programs: Programs, x: Rows, unit: Rows, height: Rows) -> tuple[_Found, Rows]:
    """Returns what there is at points (n, dim), and (n, dim) how far off the eigenvalues of the true ones may be."""
    found = _found_at(programs, x, unit, height)
    change = _change_of_hessian(programs, x, found.at, found.placed.distance)
    return found, found.at.error + _shift(found.at, change)


class _Placed(NamedTuple):
    """How well points are placed along their modes."""

    is_explained: Rows  # (n, dim) bool, whether the gradient that is left along a mode is
    is_crossed: Rows  # (n, dim) bool, whether the gradient changes its sign along a mode nearby
    distance: Rows  # (n, dim) how far off the true point may be


def _placed(
    programs: Programs, at: Scaled, x: Rows, value: Rows, gradient: Rows, noise: Noise, height: Rows
) -> _Placed:
    eps = np.finfo(x.dtype).eps
    along, hidden = along_modes(at, gradient), spread_over_modes(at, noise.gradient)
    size, curved = np.abs(at.eigenvalues), is_curved(at)
    steps = np.where(curved, np.abs(along) / np.where(curved, size, 1), 0)
    is_short = curved & (steps * extent(at) <= eps**_SHORT)
    # Over a whole unit of length such a gradient changes the value by rounding alone.
    is_nothing = ~curved & (np.abs(along) <= (_SAFETY * eps * (height + np.abs(value)))[:, None] * extent(at))
    is_noise = np.abs(along) <= _SAFETY * hidden
    is_explained = is_noise | is_short | is_nothing | ~at.is_mode
    is_explained &= ~_is_slope(programs, x, at, noise, is_noise & at.is_mode & ~is_short & ~is_nothing)
    is_near = ~curved | (_STEPS_LEFT * steps * extent(at) <= _NEAR)
    is_open = is_near & ~is_explained | _is_doubtful(at, along, hidden)
    crossed = _crossings(programs, x, at, noise, is_open)
    is_crossed = np.isfinite(crossed)

    # One rounding of each coordinate, and what noise and the steps that are left come to.
    rounding = np.einsum("nij,ni->nj", np.abs(at.vectors), eps * np.abs(x) / at.scale)
    off = np.where(curved, _STEPS_LEFT * (hidden / np.where(curved, size, 1) + steps), 0)
    off = np.maximum(off, np.where(is_crossed, crossed, 0))
    distance = np.minimum(rounding + off, _FARTHEST / extent(at))
    return _Placed(is_explained | is_crossed, is_crossed, np.where(at.is_mode, distance, 0))


def _is_doubtful(at: Scaled, along: Rows, hidden: Rows) -> Rows:
    """Returns (n, dim) along which modes critical points would lie far off, were curvature that may be rounding real.

    Noise explains the gradient along a faint mode; but with the curvature that was computed there, gradient and noise
    may mean a point that is far away.
    """
    doubtful = at.is_mode & at.is_faint & (np.abs(at.eigenvalues) > np.maximum(at.error, _SAFETY * at.rounding))
    distance = np.where(doubtful, (np.abs(along) + hidden) / np.where(doubtful, np.abs(at.eigenvalues), 1), 0)
    return distance * extent(at) > _NEAR


def _is_slope(programs: Programs, x: Rows, at: Scaled, noise: Noise, is_wanted: Rows) -> Rows:
    """Returns (n, dim) which of the wanted modes have a gradient that is no noise, though it is below all noise.

    The noise of all coordinates, and of all curvature, hides a slope along a faint mode. What the gradient along it
    comes to at places a few roundings off is compared with how much these differ.
    """
    is_slope = np.zeros(is_wanted.shape, bool)
    modes = _modes(at, noise, is_wanted)
    if len(modes.point):
        points, of = np.unique(modes.point, return_inverse=True)
        is_slope[modes.point, modes.mode] = _slopes(programs, at, x[points], of, modes)[1]
    return is_slope


def _crossings(programs: Programs, x: Rows, at: Scaled, noise: Noise, is_wanted: Rows) -> Rows:
    """Returns (n, dim) distances along modes within which there is a multiple root; infinite where none is shown.

    At a root of odd order, such as that of x^3, noise along all other modes ends Newton's method before its steps are
    short, or hides the curvature. Then the gradient is asked on both sides, along a path on which it stays zero in all
    other modes: if its signs are opposite, both clear of noise, a critical point lies between. Four times as far off
    the two differ by four times as much at a simple root, where Newton's method would have to arrive, and by 19 times
    and more at a triple one.
    """
    crossed = np.full(is_wanted.shape, np.inf, x.dtype)
    modes = _modes(at, noise, is_wanted)
    each = np.arange(len(modes.point))

    def slopes_at(lengths: Rows, which: Rows) -> tuple[Rows, Rows]:
        """Gradients along some of the modes where the path has gone so far, and whether their signs are sure."""
        those = jax.tree.map(lambda leaf: leaf[which], modes)
        own, rows = jax.tree.map(lambda leaf: leaf[those.point], at), np.arange(len(which))
        along = np.zeros((len(which), x.shape[1]), x.dtype)
        along[rows, those.mode] = lengths[which]
        there = x[those.point] + as_step(own, along)
        for _ in range(_BACK):  # onto the path: Newton's steps in all other modes
            across = newton_steps(own, programs.evaluate(there)[1])
            across[rows, those.mode] = 0
            there = there + as_step(own, across)
        return _slopes(programs, at, there, rows, those)

    def opposite(power: float, which: Rows) -> tuple[Rows, Rows]:
        """By how much the two sides differ, and whether their signs are opposite for sure."""
        ahead, is_sure_ahead = slopes_at(power * modes.reach, which)
        behind, is_sure_behind = slopes_at(-power * modes.reach, which)
        return np.abs(ahead - behind), is_sure_ahead & is_sure_behind & (ahead * behind < 0)

    for power in _powers(x.dtype):
        if not len(each):
            break
        difference, is_opposite = opposite(power, each)
        found, each = each[is_opposite], each[~is_opposite]
        if len(found):
            farther = opposite(_FARTHER * power, found)[0]
            found = found[farther > 2 * _FARTHER * difference[is_opposite]]
            crossed[modes.point[found], modes.mode[found]] = power * modes.reach[found]
    return crossed


def _slopes(programs: Programs, at: Scaled, places: Rows, of: Rows, modes: "_Modes") -> tuple[Rows, Rows]:
    """Returns (k,) the gradients along modes, and whether places a few roundings off agree about their signs.

    Args:
      programs: of the landscape.
      at: the points whose modes are meant.
      places: (n, dim) where gradients are asked.
      of: (k,) which place belongs to each mode.
      modes: k of them.
    """
    unit = np.zeros_like(places)
    unit[of] = at.unit[modes.point]
    near = a_few_roundings(places, unit, both_signs(places, 4) * programs.is_free)
    gradients = at_places(programs.evaluate, places, near)[1]
    slopes = np.einsum("nki,ni->nk", gradients[of], modes.direction)
    slope, spread = np.mean(slopes, axis=1), np.max(slopes, axis=1) - np.min(slopes, axis=1)

    # Modes are known up to an angle only, by which the gradient along others shows.
    own = jax.tree.map(lambda leaf: leaf[modes.point], at)
    along = along_modes(own, np.mean(gradients, axis=1)[of])
    aside = np.sqrt(np.maximum(np.sum(np.where(own.is_mode, along, 0) ** 2, axis=1) - slope**2, 0))
    return slope, np.abs(slope) > _SPREADS * spread + np.finfo(places.dtype).eps ** _ANGLE * aside


def _change_of_hessian(programs: Programs, x: Rows, at: Scaled, distance: Rows) -> Rows:
    """Returns (n, dim, dim) how much each entry of the Hessian changes where the true point may lie, at most."""
    largest = np.zeros_like(at.matrix)
    for signs in _signs_of_modes(x):
        moved = programs.hessian(x + as_step(at, distance * signs), at.unit)
        largest = np.maximum(largest, np.abs((moved + np.swapaxes(moved, 1, 2)) / 2 - at.matrix))
    return largest


def _signs_of_modes(x: Rows) -> Rows:
    """Returns (6, dim) signs by which modes are moved together.

    Modes of one eigenvalue come in any mixture, in which the moves of two may cancel: so of the first three draws any
    two modes whose places differ modulo four have equal signs in one and opposite ones in another. Their opposites
    follow.
    """
    mode = np.arange(x.shape[1])
    draw = both_signs(x, 1)[0, 0]
    signs = np.stack([draw, draw * (1 - 2 * (mode % 2)), draw * (1 - 2 * (mode // 2 % 2))]).astype(x.dtype)
    return np.concatenate([signs, -signs])


def _shift(at: Scaled, change: Rows) -> Rows:
    """Returns (n, dim) how far such a change of the Hessian can shift the eigenvalues, to second order."""
    size = np.abs(at.vectors)
    own = at.scale[:, :, None] * change * at.scale[:, None, :]
    between = np.swapaxes(size, 1, 2) @ own @ size
    gaps = np.abs(at.eigenvalues[:, :, None] - at.eigenvalues[:, None, :])
    aside = ~(at.is_mode[:, :, None] & at.is_mode[:, None, :]) | np.eye(own.shape[1], dtype=bool)
    mixed = np.where(aside | (between == 0), 0, between**2 / np.maximum(np.maximum(gaps, between), _TINY))
    return np.diagonal(between, axis1=1, axis2=2) + np.sum(mixed, axis=2)


def _lowest(programs: Programs, x: Rows, at: Scaled, change: Rows) -> tuple[Rows, Rows]:
    """Returns (n,) the lowest eigenvalue in the units of the parameters, and its error."""
    raw = RAW_SPECTRUM(at.matrix, programs.motions(x, at.unit), at.unit)
    size = np.abs(raw.vectors[:, :, 0])
    shift = np.einsum("ni,nij,nj->n", size, change, size)
    return np.where(raw.is_mode[:, 0], raw.eigenvalues[:, 0], np.nan), raw.error[:, 0] + at.skew + shift


class _Modes(NamedTuple):
    """Some modes of some points, one a row."""

    point: Rows  # (k,) which point
    mode: Rows  # (k,) and which of its modes
    direction: Rows  # (k, dim) of x
    reach: Rows  # (k,) steps that go a unit of length in some coordinate
    hidden: Rows  # (k,) what noise comes to in the gradient along it


def _modes(at: Scaled, noise: Noise, is_wanted: Rows) -> _Modes:
    """Returns the wanted modes, the first few of each point."""
    point, mode = np.nonzero(is_wanted & (np.cumsum(is_wanted, axis=1) <= _MAX_LOOKS))
    direction = at.scale[point] * at.vectors[point, :, mode]
    hidden = spread_over_modes(at, noise.gradient)[point, mode]
    return _Modes(point, mode, direction, 1 / extent(at)[point, mode], hidden)


def _along(evaluate: ForRows, x: Rows, modes: _Modes, distance: Rows) -> Rows:
    """Returns (k,) the gradient along each mode at this distance along it."""
    gradient = evaluate(x[modes.point] + distance[:, None] * modes.direction)[1]
    return np.einsum("ni,ni->n", modes.direction, gradient)


def _powers(dtype: np.dtype) -> Rows:
    """Returns distances along a mode in units of length, ascending."""
    return (10.0 ** np.arange(-2.0, np.log10(np.finfo(dtype).eps) * 0.7, -0.5)[::-1]).astype(dtype)


def _is_seen_in_gradients(evaluate: ForRows, x: Rows, at: Scaled, noise: Noise) -> Rows:
    """Returns (n, dim) whether faint curvature is real: the gradient changes along the mode as it says.

    Gradients at two opposite places are free of the Hessian's own rounding. At the first distance from which on they
    differ by more than noise, they have to differ by what the curvature makes of it.
    """
    seen = np.zeros(at.is_faint.shape, bool)
    modes = _modes(at, noise, at.is_mode & at.is_faint & (np.abs(at.eigenvalues) > at.error))
    if not len(modes.point):
        return seen
    curvature = at.eigenvalues[modes.point, modes.mode]
    is_open, agrees = np.ones(len(curvature), bool), np.zeros(len(curvature), bool)
    for power in _powers(x.dtype):
        lengths = power * modes.reach
        there, back = _along(evaluate, x, modes, lengths), _along(evaluate, x, modes, -lengths)
        is_told = is_open & (np.maximum(np.abs(there), np.abs(back)) > 2 * _SAFETY * modes.hidden)
        ratio = (there - back) / (2 * lengths * curvature)
        agrees = np.where(is_told, (ratio > 0.5) & (ratio < 2), agrees)
        is_open &= ~is_told
    seen[modes.point, modes.mode] = agrees
    return seen


def _bracketed(evaluate: ForRows, x: Rows, at: Scaled, error: Rows, placed: _Placed, noise: Noise) -> Rows:
    """Returns (n, dim) the distances within which the true point lies along each mode.

    Along one whose curvature is zero within its error it may be anywhere where the gradient does not show above noise.
    Where the gradient shows nowhere nearby the mode leads along a valley, and the point may as well be this one.
    Where one of these modes leads far, the others may have to follow as far.
    """
    distance = placed.distance.copy()
    is_zero = at.is_mode & (at.is_faint | (np.abs(at.eigenvalues) <= error))
    modes = _modes(at, noise, is_zero)
    if not len(modes.point):
        return distance
    shows = np.full(len(modes.point), np.inf, x.dtype)
    before = _along(evaluate, x, modes, np.zeros_like(shows))
    hidden = np.maximum(2 * _SAFETY * modes.hidden, _STANDS_OUT * np.abs(before))
    for power in _powers(x.dtype):
        for sign in (-1, 1):
            along = _along(evaluate, x, modes, sign * power * modes.reach)
            shows = np.where((np.abs(along - before) > hidden) & np.isinf(shows), power * modes.reach, shows)
    known = distance[modes.point, modes.mode]
    distance[modes.point, modes.mode] = np.where(np.isfinite(shows), np.maximum(known, shows), known)
    farthest = np.max(np.where(is_zero, distance * extent(at), 0), axis=1, keepdims=True)
    return np.where(is_zero, np.maximum(distance, farthest / extent(at)), distance)


def _drift(at: Scaled, gradient: Rows, noise: Noise, placed: _Placed) -> Rows:
    """Returns (n, dim) where the gradient pulls along modes in which Newton's method has nowhere to arrive."""
    along = along_modes(at, gradient)
    is_pulled = np.abs(along) > _SAFETY * spread_over_modes(at, noise.gradient)
    is_adrift = at.is_mode & is_pulled & (~placed.is_explained | ~is_curved(at))
    return -as_step(at, np.where(is_adrift, np.sign(along) / extent(at), 0))


def _in_coordinates(at: Scaled, distance: Rows) -> Rows:
    """Returns (n, dim) distances along modes as distances in each coordinate, at most."""
    return at.scale * np.einsum("nij,nj->ni", np.abs(at.vectors), distance)


def _softness(at: Scaled, inertia: Inertia, lowest: Rows) -> Rows:
    """Returns (n, dim) the factors by which a gradient's norm bounds how far off a minimum's coordinates are."""
    is_definite = (inertia.num_negative == 0) & (inertia.num_zero == 0) & (lowest > 0)
    curvature = np.where(at.is_mode & is_definite[:, None], at.eigenvalues, 1)
    inverse = np.einsum("nij,nj->ni", at.vectors**2, np.where(at.is_mode, 1 / curvature, 0))
    softness = np.sqrt(2 * at.scale**2 * inverse / np.where(is_definite, lowest, 1)[:, None])
    return np.where(is_definite[:, None], softness, np.inf)


def _is_gradient_flat(at: Scaled, gradient: Rows) -> Rows:
    """Returns whether the gradient lies in the kernel of the Hessian without being zero."""
    along = np.where(at.is_mode, along_modes(at, gradient), 0)
    image, size = norms(at.eigenvalues * along), norms(along)
    largest = np.max(np.where(at.is_mode, np.abs(at.eigenvalues), 0), axis=1, initial=0)
    return (image <= np.finfo(gradient.dtype).eps ** 0.5 * largest * size) & (size > 0)
