"""From ends to the critical points beside them, and the curvature there, for many points at once.

Newton's method on grad f = 0 goes to the nearest critical point of any index, with the symmetry's zero modes projected
out. It must not wander: a step is taken only if the gradient norm falls, the whole way stays within a few times the
first step (Kantorovich: where Newton converges quadratically, within twice of it), and no eigenvalue may change sign
clearly on the way. What breaks a rule is left where it was.

Driven from the host, in NumPy: the points that are going take a step together, those that are done wait for nobody.
A few small programs do the work of one point each (`Programs`); each is compiled once and serves every stage.

An eigenvalue counts as zero when it cannot be told from zero, and rounding is not the only reason. At a multiple root
of the gradient, x^3 say, floating-point numbers cannot place the root better than about sqrt(eps), and the curvature
found there is that of a point beside it: noise of either sign. So each eigenvalue's error bound also holds the change
of curvature along its eigenvector when the point moves over that distance.
"""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgd.curvature import Spectrum, hessian, spectrum
from jaxgd.points.flat import Flat, motions_at, placement_error
from jaxgd.points.rows import ForRows

MAX_NEWTON_STEPS = 40
REACH = 4.0  # of the first Newton step; an m-fold root needs m - 1 of them, a simple one less than 2
SHORTENINGS = (1.0, 0.5, 0.25, 0.125)
DIGIT = 0.1  # share to which a step must bring the gradient down for its Hessian to serve once more

Rows = Any  # a NumPy array with one leading axis of points


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
    asymmetry: Rows  # of the Hessian at the end, as a share of its largest eigenvalue
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


def polish(functions: Flat, ends: Rows, length: Any) -> Polished:
    """Returns what was found beside each of the (n, dim) ends.

    Args:
      functions: of a landscape, on flat points.
      ends: where descents ended.
      length: () the landscape's unit of length, which says how well a point can be placed.
    """
    with np.errstate(all="ignore"):  # what is not finite is left where it was
        return _polish(programs_of(functions), ends, np.asarray(length, ends.dtype))


def _polish(programs: Programs, ends: Rows, length: Rows) -> Polished:
    _SPECTRUM.prepare(programs.hessian.prepare(ends), programs.motions.prepare(ends, length))
    gradient_at_end = programs.evaluate(ends)[1]
    first = spectra(programs, ends, length)
    resolution = np.asarray(placement_error(ends, length))
    reach = REACH * _norm(newton_step(first, gradient_at_end)) + resolution
    x, gradient, at, seen_at = _walk(programs, ends, gradient_at_end, first, reach, length)
    move = _norm(x - ends)
    error = at.error + curvature_change(programs, seen_at, at, resolution)
    inertia, inertia_at_end = _inertia(at, error), _inertia(first, first.error)
    keeps_signs = (inertia_at_end.num_negative <= inertia.num_negative + inertia.num_zero) & (
        inertia_at_end.num_positive <= inertia.num_positive + inertia.num_zero
    )
    is_flat = _is_gradient_flat(at, gradient, length)
    is_finite = np.all(np.isfinite(gradient), axis=1) & np.isfinite(at.norm)
    is_settled = _norm(newton_step(at, gradient)) <= 100 * resolution
    is_critical = is_settled & ~is_flat & (move <= reach) & keeps_signs & is_finite
    found = np.where(is_critical[:, None], x, ends)
    nearest = np.argmin(np.where(at.is_mode, np.abs(at.eigenvalues), np.inf), axis=1)
    asymmetry = first.asymmetry / np.where(first.norm > 0, first.norm, 1)
    return Polished(
        x=found,
        value=programs.evaluate(found)[0],
        gradient_norm=_norm(np.where(is_critical[:, None], gradient, gradient_at_end)),
        move=np.where(is_critical, move, 0),
        is_critical=is_critical,
        is_gradient_flat=is_flat & is_finite,
        num_symmetry_modes=at.num_symmetry_modes,
        lowest_eigenvalue=np.where(at.is_mode[:, 0], at.eigenvalues[:, 0], np.nan),
        eigenvalue_error=error[np.arange(len(x)), nearest],
        asymmetry=asymmetry,
        is_finite=np.isfinite(asymmetry),
        **inertia._asdict(),
    )


def _walk(
    programs: Programs, ends: Rows, gradient: Rows, first: Spectrum, reach: Rows, length: Rows
) -> tuple[Rows, Rows, Spectrum, Rows]:
    """Returns where Newton's steps lead from ends, the gradient there, and the last spectrum on the way, seen where.

    What has moved no further than it can be placed, and gained a digit on the way, need not be looked at again.
    """
    resolution = np.asarray(placement_error(ends, length))
    x, gradient, at, seen_at = ends.copy(), gradient.copy(), jax.tree.map(np.copy, first), ends.copy()
    going = np.flatnonzero(np.all(np.isfinite(newton_step(at, gradient)), axis=1) & (_norm(gradient) > 0))
    for _ in range(MAX_NEWTON_STEPS):
        going = going[_norm(x[going] - ends[going]) <= reach[going]]
        if not len(going):
            break
        before = _norm(gradient[going])
        new, at_new = _stepped(programs, x[going], gradient[going], _rows(at, going))
        improves, gains = _norm(at_new) < before, _norm(at_new) <= DIGIT * before
        x[going[improves]], gradient[going[improves]] = new[improves], at_new[improves]
        is_seen = gains & (_norm(x[going] - seen_at[going]) <= resolution[going])
        going = going[improves & ~is_seen]
        if len(going):
            seen_at[going] = x[going]
            _put(at, going, spectra(programs, x[going], length))
        going = going[_is_left(x[going], gradient[going], _rows(at, going))]
    return x, gradient, at, seen_at


def _stepped(programs: Programs, x: Rows, gradient: Rows, at: Spectrum) -> tuple[Rows, Rows]:
    """Returns where the best of the shortened Newton steps leads, and its repetitions; and the gradients there.

    The same Hessian serves while it gains a digit a step: a gradient costs far less.
    """
    shares = np.asarray(SHORTENINGS, x.dtype)[None, :, None]
    trials = x[:, None] + shares * newton_step(at, gradient)[:, None]
    gradients = programs.evaluate(trials.reshape(-1, x.shape[1]))[1].reshape(trials.shape)
    norms = np.linalg.norm(gradients, axis=2)
    each, best = np.arange(len(x)), np.argmin(np.where(np.isfinite(norms), norms, np.inf), axis=1)
    improves = norms[each, best] < _norm(gradient)
    x, gradient = trials[each, best], gradients[each, best]
    goes = np.flatnonzero(improves & _is_left(x, gradient, at))
    while len(goes):
        new = x[goes] + newton_step(_rows(at, goes), gradient[goes])
        at_new = programs.evaluate(new)[1]
        gains = _norm(at_new) <= DIGIT * _norm(gradient[goes])  # false where it is not finite
        goes = goes[gains]
        x[goes], gradient[goes] = new[gains], at_new[gains]
        goes = goes[_is_left(x[goes], gradient[goes], _rows(at, goes))]
    return x, gradient


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


def _is_left(x: Rows, gradient: Rows, at: Spectrum) -> Rows:
    """Returns whether the gradient is above what one rounding of x makes of it."""
    return _norm(gradient) > np.finfo(x.dtype).eps * at.norm * _norm(x)


def _is_gradient_flat(at: Spectrum, gradient: Rows, length: Rows) -> Rows:
    """Returns whether the gradient lies in the kernel of the Hessian without being zero."""
    along = _applied(np.swapaxes(at.vectors, 1, 2), gradient)
    image = _norm(np.where(at.is_mode, at.eigenvalues * along, 0))
    norm = _norm(np.where(at.is_mode, along, 0))
    rounding = np.sqrt(np.finfo(gradient.dtype).eps)
    return (image <= rounding * at.norm * norm) & (norm > rounding * at.norm * length) & (norm > 0)


def _applied(matrix: Rows, vector: Rows) -> Rows:
    return (matrix @ vector[..., None])[..., 0]


def _norm(vector: Rows) -> Rows:
    return np.linalg.norm(vector, axis=1)


def _rows(tree: Any, which: Rows) -> Any:
    return jax.tree.map(lambda leaf: leaf[which], tree)


def _put(tree: Any, which: Rows, new: Any) -> None:
    for leaf, rows in zip(jax.tree.leaves(tree), jax.tree.leaves(new), strict=True):
        leaf[which] = rows


_SPECTRUM = ForRows(spectrum)


@functools.lru_cache(maxsize=32)
def programs_of(functions: Flat) -> Programs:
    """Returns the programs of a landscape."""
    return Programs(
        evaluate=ForRows(functions.evaluate),
        hessian=ForRows(lambda x: hessian(functions.gradient, x)),
        motions=ForRows(lambda x, length: motions_at(functions.generators, x, length), num_shared=1),
    )
