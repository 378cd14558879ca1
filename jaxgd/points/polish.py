"""From ends to the critical points beside them, and what the Hessians there say, for many points at once.

Plain minima are proven without a spectrum (`jaxgd.points.minima`). The others take Newton's steps by whole spectra
(`jaxgd.points.newton`), the symmetry's zero modes projected out, and no eigenvalue may change sign clearly on the way.
What breaks a rule is left where it was. A few small programs do the work of one point each (`Programs`); each is
compiled once and serves every stage.

An eigenvalue counts as zero when it cannot be told from zero, and rounding is not the only reason. At a multiple root
of the gradient, x^3 say, floating-point numbers cannot place the root better than about sqrt(eps), and the curvature
found there is that of a point beside it: noise of either sign. So each eigenvalue's error bound also holds the change
of curvature along its eigenvector when the point moves over that distance.
"""

import functools
from typing import NamedTuple

import numpy as np

from jaxgd.curvature import Spectrum, hessian, spectrum
from jaxgd.points.flat import Flat, motions_at, placement_error
from jaxgd.points.minima import Minima, plain_minima
from jaxgd.points.newton import Rows, norms, put, walk
from jaxgd.points.rows import ForRows


class Polished(NamedTuple):
    """What was found beside each end; arrays with one leading axis of points."""

    x: Rows  # (n, dim) the critical point, or the end itself where none was reached
    value: Rows  # there
    gradient_norm: Rows
    move: Rows  # distance from the end
    is_critical: Rows  # bool, a critical point was reached
    is_gradient_flat: Rows  # bool, the gradient is not zero but lies in the Hessian's kernel
    num_negative: Rows  # int32, eigenvalues below zero by more than their error
    num_positive: Rows  # int32
    num_zero: Rows  # int32, neither, symmetry modes not counted
    num_symmetry_modes: Rows  # int32
    lowest_eigenvalue: Rows
    eigenvalue_error: Rows  # of the eigenvalue nearest to zero
    asymmetry: Rows  # of the Hessian at the end, as a share of its norm
    is_finite: Rows  # bool, whether the Hessian at the end is


class Programs(NamedTuple):
    """What is computed for one point at a time."""

    evaluate: ForRows  # x -> value, gradient
    hessian: ForRows  # x -> (dim, dim)
    motions: ForRows  # x, length -> (k, dim)


class Inertia(NamedTuple):
    """How many eigenvalues lie below zero, above it, and neither; (n,) int32 each."""

    num_negative: Rows
    num_positive: Rows
    num_zero: Rows


def polish(functions: Flat, ends: Rows, length: Rows) -> Polished:
    """Returns what was found beside each of the (n, dim) ends.

    Args:
      functions: of a landscape, on flat points.
      ends: where descents ended.
      length: () the landscape's unit of length, which says how well a point can be placed.
    """
    found = _as_polished(plain_minima(functions, ends, length))
    rest = np.flatnonzero(~found.is_critical)
    if len(rest):
        put(found, rest, _by_spectra(functions, ends[rest], length))
    return found


def _as_polished(found: Minima) -> Polished:
    """Returns the minima among these in the words of all points."""
    num_points, dim = found.x.shape
    return Polished(
        is_critical=found.is_minimum,
        is_gradient_flat=np.zeros(num_points, bool),
        num_negative=np.zeros(num_points, np.int32),
        num_positive=dim - found.num_symmetry_modes,
        num_zero=np.zeros(num_points, np.int32),
        is_finite=found.is_minimum.copy(),
        **{name: value for name, value in found._asdict().items() if name != "is_minimum"},
    )


@np.errstate(all="ignore")  # what is not finite is left where it was
def _by_spectra(functions: Flat, ends: Rows, length: Rows) -> Polished:
    """Returns what was found beside each end, judged by the whole spectrum."""
    programs = programs_of(functions)
    _SPECTRUM.prepare(programs.hessian.prepare(ends), programs.motions.prepare(ends, length))
    resolution = placement_error(ends, length)
    walked = walk(programs.evaluate, _WholeSpectra(programs, length), ends, resolution)
    x, gradient, at, first = walked.x, walked.gradient, walked.seen, walked.seen_at_end
    error = at.error + curvature_change(programs, walked.place, at, resolution)
    inertia, inertia_at_end = _inertia(at, error), _inertia(first, first.error)
    keeps_signs = (inertia_at_end.num_negative <= inertia.num_negative + inertia.num_zero) & (
        inertia_at_end.num_positive <= inertia.num_positive + inertia.num_zero
    )
    is_flat = _is_gradient_flat(at, gradient, length)
    is_finite = np.all(np.isfinite(gradient), axis=1) & np.isfinite(at.norm)
    is_settled = norms(newton_step(at, gradient)) <= 100 * resolution
    is_critical = is_settled & ~is_flat & walked.is_within_reach & keeps_signs & is_finite
    found = np.where(is_critical[:, None], x, ends)
    nearest = np.argmin(np.where(at.is_mode, np.abs(at.eigenvalues), np.inf), axis=1)
    asymmetry = first.asymmetry / np.where(first.norm > 0, first.norm, 1)
    return Polished(
        x=found,
        value=programs.evaluate(found)[0],
        gradient_norm=norms(np.where(is_critical[:, None], gradient, walked.gradient_at_end)),
        move=np.where(is_critical, walked.move, 0),
        is_critical=is_critical,
        is_gradient_flat=is_flat & is_finite,
        num_symmetry_modes=at.num_symmetry_modes,
        lowest_eigenvalue=np.where(at.is_mode[:, 0], at.eigenvalues[:, 0], np.nan),
        eigenvalue_error=error[np.arange(len(x)), nearest],
        asymmetry=asymmetry,
        is_finite=np.isfinite(asymmetry),
        **inertia._asdict(),
    )


class _WholeSpectra(NamedTuple):
    """Hessians seen by their spectra."""

    programs: Programs
    length: Rows
    max_steps: int = 40
    serves_again: bool = True

    def look(self, x: Rows, gradient: Rows) -> Spectrum:
        return spectra(self.programs, x, self.length)

    def step(self, seen: Spectrum, gradient: Rows) -> Rows:
        return newton_step(seen, gradient)

    def norm(self, seen: Spectrum) -> Rows:
        return seen.norm


def newton_step(at: Spectrum, gradient: Rows) -> Rows:
    """Returns (n, dim) steps to where the quadratic model's gradient vanishes, within the modes that have curvature."""
    is_curved = at.is_mode & (np.abs(at.eigenvalues) > at.error)
    along = _applied(np.swapaxes(at.vectors, 1, 2), gradient)
    return -_applied(at.vectors, np.where(is_curved, along / np.where(is_curved, at.eigenvalues, 1), 0))


def spectra(programs: Programs, x: Rows, length: Rows) -> Spectrum:
    """Returns the spectra at points (n, dim)."""
    return _SPECTRUM(programs.hessian(x), programs.motions(x, length))


def curvature_change(programs: Programs, x: Rows, at: Spectrum, resolution: Rows) -> Rows:
    """Returns (n, dim) how much curvature along each eigenvector changes when x moves by `resolution` in every mode.

    The largest change over three moves of random signs, so that no third derivative goes unseen but by accident.
    """
    signs = np.random.default_rng(0).choice(np.array([-1, 1], x.dtype), (2, x.shape[1]))
    moves = resolution[:, None, None] * np.stack([signs[0], -signs[0], signs[1]]) @ np.swapaxes(at.vectors, 1, 2)
    moved = programs.hessian((x[:, None] + moves).reshape(-1, x.shape[1])).reshape(*moves.shape, x.shape[1])
    vectors = at.vectors[:, None]
    curvature = np.sum(vectors * (moved @ vectors), axis=2)
    return np.max(np.abs(curvature - at.eigenvalues[:, None]), axis=1)


def _inertia(at: Spectrum, error: Rows) -> Inertia:
    count = lambda mask: np.sum(mask & at.is_mode, axis=1).astype(np.int32)
    is_negative, is_positive = at.eigenvalues < -error, at.eigenvalues > error
    return Inertia(count(is_negative), count(is_positive), count(~is_negative & ~is_positive))


def _is_gradient_flat(at: Spectrum, gradient: Rows, length: Rows) -> Rows:
    """Returns whether the gradient lies in the kernel of the Hessian without being zero."""
    along = _applied(np.swapaxes(at.vectors, 1, 2), gradient)
    image = norms(np.where(at.is_mode, at.eigenvalues * along, 0))
    norm = norms(np.where(at.is_mode, along, 0))
    rounding = np.sqrt(np.finfo(gradient.dtype).eps)
    return (image <= rounding * at.norm * norm) & (norm > rounding * at.norm * length) & (norm > 0)


def _applied(matrix: Rows, vector: Rows) -> Rows:
    return (matrix @ vector[..., None])[..., 0]


_SPECTRUM = ForRows(spectrum)


@functools.lru_cache(maxsize=32)
def programs_of(functions: Flat) -> Programs:
    """Returns the programs of a landscape."""
    return Programs(
        evaluate=ForRows(functions.evaluate),
        hessian=ForRows(lambda x: hessian(functions.gradient, x)),
        motions=ForRows(lambda x, length: motions_at(functions.generators, x, length), num_shared=1),
    )
