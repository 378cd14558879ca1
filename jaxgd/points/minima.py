"""Plain minima, proven by a Cholesky factor. Most ends of descents are beside one; it costs a fraction of a spectrum.

The Hessian at the end, inverted once, gives Newton's steps to the point, for as long as each gains a digit. The Hessian
at the point itself is what is judged, and computed anew unless the point is so near, and all curvature so large, that
it is the same: inverse iteration gives its lowest curvature, and that there is no lower one a Cholesky factor proves
(`jaxgd.curvature.definite`). The symmetry's motions are raised out of the way first: what then
bounds all eigenvalues from below bounds those across the motions.

That the function is its quadratic model here is seen at a few places beside the point: the gradients there have to
follow from the Hessian, closely against the lowest curvature. What is not shown in this way is left to whole spectra.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.curvature import hessian
from jaxgd.curvature.definite import about_inverse, lowest_of_definite
from jaxgd.curvature.dense import num_not_zero
from jaxgd.points.evidence import Evidence, nothing_found, put_fields
from jaxgd.points.flat import Flat, fine, motions_at
from jaxgd.points.newton import DIGIT, REACH
from jaxgd.points.rows import ForRows

_HEIGHT = 4.0  # of the symmetry's motions, in units of the Hessian's Frobenius norm
_MAX_STEPS = 8
_CLOSELY = 0.2  # power of eps: of the lowest eigenvalue, its error
_FAITHFUL = 0.05  # of the lowest curvature, what gradients beside the point may differ by from the quadratic model
_NUM_MOVES = 2  # pairs of places beside the point
_SAME = 8.0  # resolutions that a point may be off, for the end's Hessian to serve there
_LARGE = 0.25  # power of eps: of the Hessian's norm, curvature that is large


class _Minima(NamedTuple):
    """What was found beside each end; meant only where `is_minimum`; the fields of `Evidence` by these names."""

    is_minimum: jax.Array
    x: jax.Array
    value: jax.Array
    gradient_norm: jax.Array
    move: jax.Array
    fall: jax.Array
    away: jax.Array
    num_symmetry_modes: jax.Array
    lowest_eigenvalue: jax.Array
    eigenvalue_error: jax.Array
    asymmetry: jax.Array
    placement: jax.Array
    value_error: jax.Array
    softness: jax.Array


def plain_minima(functions: Flat, ends: np.ndarray, unit: np.ndarray) -> Evidence:
    """Returns the minima beside those of the (n, dim) ends where it can be proven in this way.

    Args:
      functions: of a landscape, on flat points.
      ends: where descents ended.
      unit: (n, dim) of length.
    """
    if not _is_exact(functions, ends):
        return nothing_found(ends)
    found: _Minima = _program(functions)(ends, unit)
    proven = np.flatnonzero(found.is_minimum)
    num_frozen = int(np.sum(~functions.is_free))
    fields = {name: getattr(found, name)[proven] for name in _Minima._fields if name != "is_minimum"}
    fields["num_symmetry_modes"] = fields["num_symmetry_modes"] - num_frozen
    num_positive = (ends.shape[1] - num_frozen - fields["num_symmetry_modes"]).astype(np.int32)
    fields |= {"is_reached": np.ones(len(proven), bool), "num_positive": num_positive}
    fields["dimension"] = fields["num_symmetry_modes"]
    return put_fields(nothing_found(ends), fields, proven)


def prepare(functions: Flat, ends: np.ndarray) -> None:
    """Begins to compile what this takes."""
    if _is_exact(functions, ends):
        _program(functions).prepare(ends, ends)


def _is_exact(functions: Flat, ends: np.ndarray) -> bool:
    """Returns whether Hessians are derivatives, and no differences."""
    return functions.second_order(jax.ShapeDtypeStruct(ends.shape[1:], ends.dtype)).kind != "differences"


@functools.lru_cache(maxsize=8)
def _program(functions: Flat) -> ForRows:
    return ForRows(
        lambda end, unit: hessian(functions.gradient, end),
        lambda end, unit, matrix: motions_at(functions, end, jnp.max(unit)),
        functools.partial(_reach, functions),
        functools.partial(_at_point, functions),
        functools.partial(_judge, functions),
        lambda end, unit, matrix, motions, found, at_point, judged: _proven(judged),
    )


class _Reached(NamedTuple):
    """Where Newton's steps led from one end."""

    x: jax.Array
    value: jax.Array
    gradient: jax.Array
    is_settled: jax.Array
    inverse: jax.Array  # (dim, dim) about that of the end's Hessian, raised and in units of its norm
    step: jax.Array  # (dim,) the first
    fall: jax.Array


def _raised(matrix: jax.Array, motions: jax.Array, scale: jax.Array) -> jax.Array:
    """Returns the matrix in units of its norm, with curvature along the motions."""
    raise_one = lambda i, raised: raised + (_HEIGHT * motions[i])[:, None] * motions[i][None, :]
    return jax.lax.fori_loop(0, len(motions), raise_one, matrix * (1 / scale), unroll=min(len(motions), 8))


def _reach(functions: Flat, end: jax.Array, unit: jax.Array, matrix: jax.Array, motions: jax.Array) -> _Reached:
    """Returns where steps with one inverse Hessian lead, for as long as each gains a digit."""
    scale = jnp.linalg.norm(matrix)
    inverse = about_inverse(_raised(matrix, motions, scale))
    step = lambda gradient: -(inverse @ gradient) * (1 / scale)
    resolution = fine(end, unit)

    def move(state: Any) -> Any:
        _, count, trial, first, reach, old = state
        value, gradient = functions.evaluate(trial)
        norm, onward = jnp.linalg.norm(gradient), step(gradient)
        first = (jnp.where(count == 0, onward, first[0]), jnp.where(count == 0, -(onward @ gradient) / 2, first[1]))
        reach = jnp.where(count == 0, REACH * jnp.linalg.norm(onward) + jnp.max(resolution), reach)

        gains = (count == 0) | (norm <= DIGIT * jnp.linalg.norm(old[2]))
        new = jax.tree.map(functools.partial(jnp.where, gains), (trial, value, gradient), old)
        is_left = norm > jnp.finfo(end.dtype).eps * scale * jnp.linalg.norm(trial)
        is_within = jnp.linalg.norm(trial + onward - end) <= reach
        return gains & is_left & is_within & (count < _MAX_STEPS), count + 1, trial + onward, first, reach, new

    nothing, still = jnp.zeros((), end.dtype), jnp.zeros_like(end)
    begin = (jnp.bool_(True), jnp.int32(0), end, (still, nothing), nothing, (end, nothing, still))
    *_, first, _, (x, value, gradient) = jax.lax.while_loop(lambda state: state[0], move, begin)
    is_settled = jnp.all(jnp.abs(step(gradient)) <= resolution)
    return _Reached(x, value, gradient, is_settled, inverse, *first)


class _AtPoint(NamedTuple):
    """The Hessian at a point."""

    matrix: jax.Array
    is_ends: jax.Array  # bool, whether it is that at the end


def _at_point(
    functions: Flat, end: jax.Array, unit: jax.Array, matrix: jax.Array, motions: jax.Array, found: _Reached
) -> _AtPoint:
    """Returns the Hessian at the point that was reached; the end's, where that is near and all curvature large."""
    is_near = jnp.all(jnp.abs(found.x - end) <= _SAME * fine(end, unit))
    is_large = jnp.linalg.norm(found.inverse) < jnp.finfo(end.dtype).eps ** -_LARGE
    is_ends = is_near & is_large
    return _AtPoint(jax.lax.cond(is_ends, lambda: matrix, lambda: hessian(functions.gradient, found.x)), is_ends)


class _Judged(NamedTuple):
    """What would be shown if `definite` were positive definite."""

    minimum: _Minima
    definite: jax.Array  # in units of the norm


def _judge(
    functions: Flat,
    end: jax.Array,
    unit: jax.Array,
    matrix: jax.Array,
    motions: jax.Array,
    found: _Reached,
    there: _AtPoint,
) -> _Judged:
    """Returns the minimum, proven but for `definite`: all that is said is of the Hessian at the point itself."""
    at_point, x = there.matrix, found.x
    eps, scale = jnp.finfo(end.dtype).eps, jnp.linalg.norm(at_point)
    asymmetry = jnp.linalg.norm(at_point - at_point.T) / 2 * (1 / scale)
    raised = _raised(at_point, motions, scale)
    across = lambda vector: vector - (motions @ vector) @ motions
    inverse = jax.lax.cond(there.is_ends, lambda: found.inverse, lambda: about_inverse(raised))
    lowest = lowest_of_definite(raised, inverse, across, found.is_settled)
    curvature = lowest.eigenvalue * scale

    # The motions are those at the end: what the Hessian makes of them pushes the lowest curvature down, if at all.
    # (One product after the other: matrix products would call a library within the loop over points.)
    leak = jax.lax.fori_loop(
        0, len(motions), lambda i, total: total + jnp.sum((at_point @ motions[i]) ** 2), jnp.zeros_like(scale)
    ) / (scale * _HEIGHT)
    error = (lowest.error + 2 * asymmetry) * scale + leak

    # Beside the point the gradients have to follow from the Hessian.
    beside = _beside(functions, x, found.gradient, at_point, fine(x, unit))
    is_faithful = beside.mismatch < _FAITHFUL * (curvature - error)
    is_steep = curvature - error > eps**0.5 * scale
    is_close = error <= eps**_CLOSELY * curvature

    # Where the true point lies follows from the gradient that is left and its noise.
    soft = jnp.maximum(jnp.diagonal(inverse), 0) * (1 / scale)
    softness = jnp.sqrt(2 * soft / jnp.maximum(curvature - error, jnp.finfo(end.dtype).tiny))
    gradient_norm = jnp.linalg.norm(found.gradient)
    placement = softness * (gradient_norm + beside.noise) + 2 * eps * jnp.abs(x)

    # The curvature changes by as much less as the true point is nearer than those places, or more if it is farther.
    away = jnp.linalg.norm(placement) + jnp.where(there.is_ends, 2 * jnp.linalg.norm(x - end), 0)
    share = away / jnp.linalg.norm(fine(x, unit))
    error = error + beside.mismatch * jnp.where(there.is_ends, share, jnp.minimum(1, share))
    minimum = _Minima(
        is_minimum=found.is_settled & is_close & is_faithful & is_steep,
        x=x,
        value=found.value,
        gradient_norm=gradient_norm,
        move=jnp.linalg.norm(x - end),
        fall=found.fall,
        away=jnp.max(jnp.abs(x - end) / unit),
        num_symmetry_modes=num_not_zero(motions),
        lowest_eigenvalue=curvature,
        eigenvalue_error=error,
        asymmetry=asymmetry,
        placement=placement,
        value_error=beside.value_noise + 16 * eps * jnp.abs(found.value),
        softness=softness,
    )
    return _Judged(minimum, raised - lowest.floor * jnp.eye(len(end), dtype=end.dtype))


def _proven(judged: _Judged) -> _Minima:
    """Returns the minimum, if it is proven to be one."""
    factor = jax.lax.linalg.cholesky(judged.definite, symmetrize_input=False)
    return judged.minimum._replace(is_minimum=judged.minimum.is_minimum & jnp.isfinite(factor[-1, -1]))


class _Beside(NamedTuple):
    """How the function behaves beside a point."""

    mismatch: jax.Array  # () largest difference of gradients from the quadratic model, for each unit of distance
    noise: jax.Array  # () about the norm of a gradient's rounding error
    value_noise: jax.Array  # () about the rounding error of a value


def _beside(functions: Flat, x: jax.Array, gradient: jax.Array, matrix: jax.Array, resolution: jax.Array) -> _Beside:
    """Returns how gradients at places `resolution` off in each coordinate, to either side, differ from the model."""
    draw = np.random.default_rng(0)
    signs = jnp.asarray(draw.choice([-1, 1], (_NUM_MOVES, len(x))) * functions.is_free, x.dtype)
    moves = [sign * resolution for sign in signs]
    mismatch, second, uneven = [], [], []
    for move in moves:
        model = matrix @ move
        (above, ahead), (below, behind) = functions.evaluate(x + move), functions.evaluate(x - move)
        off = jnp.maximum(jnp.linalg.norm(ahead - gradient - model), jnp.linalg.norm(behind - gradient + model))
        mismatch.append(off / jnp.linalg.norm(move))
        second.append(jnp.linalg.norm(ahead + behind - 2 * gradient))
        uneven.append(jnp.abs(above - below - 2 * (move @ gradient)))
    return _Beside(*(jnp.max(jnp.stack(found)) for found in (mismatch, second, uneven)))
