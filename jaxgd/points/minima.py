"""Plain minima, proven by a Cholesky factor. Most ends of descents are beside one; it costs a fraction of a spectrum.

One Hessian does, at the end itself. Its inverse gives Newton's steps to the point, for as long as each gains a digit,
and the lowest eigenvalue; that there is no lower one a Cholesky factor proves (`jaxgd.curvature.definite`). The
symmetry's motions are raised out of the way first: what then bounds all eigenvalues from below bounds those across the
motions.

The error of the eigenvalue also holds the change of curvature along its vector from the end to the point, and when the
point moves as far as it cannot be placed better in every coordinate. No curvature may change by as much as the lowest
one; that is seen along a few random vectors. What is not shown in this way, or not closely, is left to whole spectra.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.curvature import hessian
from jaxgd.curvature.definite import about_inverse, lowest_of_definite
from jaxgd.curvature.dense import num_not_zero
from jaxgd.points.flat import Flat, motions_at, placement_error
from jaxgd.points.newton import DIGIT, REACH
from jaxgd.points.rows import ForRows

_HEIGHT = 4.0  # of the symmetry's motions, in units of the Hessian's Frobenius norm
_MAX_STEPS = 8
_NEAR = 100.0  # times the placement error that the point may lie from the end
_CLOSELY = 0.2  # power of eps: of the lowest eigenvalue, its error but for what placing the point adds
_NUM_MOVES, _NUM_PROBES = 2, 2


class Minima(NamedTuple):
    """What was found beside each end; meant only where `is_minimum`; arrays with one leading axis of points."""

    is_minimum: Any  # bool, proven
    x: Any  # (n, dim)
    value: Any
    gradient_norm: Any
    move: Any  # distance from the end
    num_symmetry_modes: Any  # int32
    lowest_eigenvalue: Any
    eigenvalue_error: Any
    asymmetry: Any  # of the Hessian, as a share of its Frobenius norm


def plain_minima(functions: Flat, ends: np.ndarray, length: np.ndarray) -> Minima:
    """Returns the minima beside those of the (n, dim) ends where it can be proven in this way.

    Args:
      functions: of a landscape, on flat points.
      ends: where descents ended.
      length: () the landscape's unit of length.
    """
    return _program(functions)(ends, length)


def prepare(functions: Flat, ends: np.ndarray) -> None:
    """Begins to compile what this takes."""
    _program(functions).prepare(ends, np.zeros((), ends.dtype))


@functools.lru_cache(maxsize=32)
def _program(functions: Flat) -> ForRows:
    return ForRows(
        lambda x, length: hessian(functions.gradient, x),
        lambda x, matrix, length: motions_at(functions.generators, x, length),
        functools.partial(_find, functions),
        functools.partial(_judge, functions),
        _prove,
        num_shared=1,
    )


class _Found(NamedTuple):
    """What would be shown if `definite` were positive definite."""

    x: jax.Array
    value: jax.Array
    gradient: jax.Array
    is_settled: jax.Array
    vector: jax.Array  # of the lowest curvature across the motions
    curvature: jax.Array
    error: jax.Array
    scale: jax.Array  # the Hessian's Frobenius norm
    asymmetry: jax.Array  # as a share of it
    definite: jax.Array  # in units of it


def _find(functions: Flat, end: jax.Array, matrix: jax.Array, motions: jax.Array, length: jax.Array) -> _Found:
    """Returns where Newton's steps lead, and the lowest curvature at the end."""
    scale = jnp.linalg.norm(matrix)
    asymmetry = jnp.linalg.norm(matrix - matrix.T) / 2 * (1 / scale)
    raise_one = lambda i, raised: raised + (_HEIGHT * motions[i])[:, None] * motions[i][None, :]
    raised = jax.lax.fori_loop(0, len(motions), raise_one, matrix * (1 / scale), unroll=min(len(motions), 8))
    inverse = about_inverse(raised)
    resolution = placement_error(end, length)
    reached = _reached(functions, end, lambda gradient: -(inverse @ gradient) * (1 / scale), scale, resolution)
    across = lambda vector: vector - (motions @ vector) @ motions
    lowest = lowest_of_definite(raised, inverse, across, reached.is_settled)
    return _Found(
        **reached._asdict(),
        vector=lowest.vector,
        curvature=lowest.eigenvalue * scale,
        error=(lowest.error + 2 * asymmetry) * scale,
        scale=scale,
        asymmetry=asymmetry,
        definite=raised - lowest.floor * jnp.eye(len(end), dtype=end.dtype),
    )


def _judge(
    functions: Flat, end: jax.Array, matrix: jax.Array, motions: jax.Array, found: _Found, length: jax.Array
) -> Minima:
    """Returns the minimum, proven but for `definite`."""
    along, overall = _changes(functions, end, found.x, found.vector, matrix, placement_error(end, length))
    curvature, error = found.curvature + along[0], found.error + jnp.abs(along[0])
    is_steep = curvature - error > jnp.finfo(end.dtype).eps ** 0.5 * found.scale
    is_close = error <= jnp.finfo(end.dtype).eps ** _CLOSELY * curvature
    is_stable = jnp.max(overall) < curvature - error
    return Minima(
        is_minimum=found.is_settled & is_close & is_stable & is_steep,
        x=found.x,
        value=found.value,
        gradient_norm=jnp.linalg.norm(found.gradient),
        move=jnp.linalg.norm(found.x - end),
        num_symmetry_modes=num_not_zero(motions),
        lowest_eigenvalue=curvature,
        eigenvalue_error=error + jnp.max(jnp.abs(along[1:])),
        asymmetry=found.asymmetry,
    )


def _prove(
    end: jax.Array, matrix: jax.Array, motions: jax.Array, found: _Found, minimum: Minima, length: jax.Array
) -> Minima:
    """Returns the minimum, if it is proven to be one."""
    factor = jax.lax.linalg.cholesky(found.definite, symmetrize_input=False)
    return minimum._replace(is_minimum=minimum.is_minimum & jnp.isfinite(factor[-1, -1]))


class _Reached(NamedTuple):
    """Where Newton's steps led from one end."""

    x: jax.Array
    value: jax.Array
    gradient: jax.Array
    is_settled: jax.Array


def _reached(functions: Flat, end: jax.Array, step: Any, scale: jax.Array, resolution: jax.Array) -> _Reached:
    """Returns where steps with one inverse Hessian lead, for as long as each gains a digit."""

    def is_going(state: Any) -> jax.Array:
        return state[0]

    def move(state: Any) -> Any:
        _, count, trial, reach, old = state
        new = _Reached(trial, *functions.evaluate(trial), old.is_settled)
        norm, onward = jnp.linalg.norm(new.gradient), step(new.gradient)
        reach = jnp.where(count == 0, REACH * jnp.linalg.norm(onward) + resolution, reach)
        gains = (count == 0) | (norm <= DIGIT * jnp.linalg.norm(old.gradient))
        new = jax.tree.map(functools.partial(jnp.where, gains), new, old)
        is_left = norm > jnp.finfo(end.dtype).eps * scale * jnp.linalg.norm(trial)
        is_within = jnp.linalg.norm(trial + onward - end) <= reach
        return gains & is_left & is_within & (count < _MAX_STEPS), count + 1, trial + onward, reach, new

    nothing = jnp.zeros((), end.dtype)
    begin = _Reached(end, nothing, jnp.zeros_like(end), jnp.bool_(False))
    reached = jax.lax.while_loop(is_going, move, (jnp.bool_(True), jnp.int32(0), end, nothing, begin))[-1]
    is_near = jnp.linalg.norm(reached.x - end) <= _NEAR * resolution
    return reached._replace(is_settled=is_near & (jnp.linalg.norm(step(reached.gradient)) <= resolution))


def _changes(
    functions: Flat, end: jax.Array, x: jax.Array, vector: jax.Array, matrix: jax.Array, resolution: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the changes of the Hessian from the end to the point, and to a few places beside the end.

    These are `resolution` off in each coordinate, to either side at random.

    Returns:
      (1 + _NUM_MOVES,) of curvature along a unit vector, and about the Frobenius norms of all change, rather too much.
    """
    draw = np.random.default_rng(0)
    signs = lambda number: jnp.asarray(draw.choice([-1, 1], (number, len(end))), end.dtype)
    places = jnp.concatenate([x[None], end[None] + resolution * signs(_NUM_MOVES)])
    directions = jnp.concatenate([vector[None], signs(_NUM_PROBES)])
    before = jnp.stack([matrix @ direction for direction in directions])

    def change_at(place: jax.Array) -> tuple[jax.Array, jax.Array]:
        product = lambda direction: jax.jvp(functions.gradient, (place,), (direction,))[1]
        change = jax.vmap(product)(directions) - before
        return change[0] @ vector, jnp.linalg.norm(change)

    return jax.lax.map(change_at, places)
