"""Does the value fall along a flat direction? Third and fourth derivatives say, for one degenerate point at a time.

Where the Hessian vanishes along v, the value's course along a curve x + t v + t^2 w decides. With w = 0 the third
derivative does: if D3f[v, v, v] is not zero, one of the two signs of t descends (x^3, the monkey saddle, x + sin x at
-pi). Where it vanishes, the curved directions can still help: the best curve has w = -H^+ D3f[v, v] / 2, and the fourth
derivative along it decides (Lyapunov-Schmidt reduction). All derivatives are of the one function f(t) = value along
the curve, by nested forward differentiation.

The point is not the degenerate point itself but one beside it, so that its lower derivatives are not quite zero. They
are taken as barriers: descent is claimed only where the falling term outweighs |f'| t, the bound E on the curvature
that was called zero times t^2 / 2, and the largest term of the next order met at distances up to t:

    |f'| t + E t^2 / 2 - |f'''| t^3 / 6 + max |f''''| t^4 / 24 < 0   for some t.

Beside x^4, at a distance d, f''' = 24 d and E >= 12 d^2 leave no such t, whatever d is. That the value does not fall is
claimed only for a single flat direction among positive ones, where the fourth derivative along the best curve wins over
all lower terms from a distance on that the placement of the point explains. All else is unknown.
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Landscape, Points, Verdict
from jaxgd.curvature import Spectrum
from jaxgd.points.dense import programs_of
from jaxgd.points.flat import Flat, as_rows, at_least_single, fine, flat
from jaxgd.points.rows import ForRows
from jaxgd.points.scaled import RAW_SPECTRUM
from jaxgd.points.units import lengths_at, units_of

NUM_DIRECTIONS = 12
_NUM_DISTANCES = 26  # from a quarter of the unit of length downwards, each half the one before
_NUM_ASCENTS = 6


def with_descents(landscape: Landscape, points: Points) -> Points:
    """Returns the points with `descends` answered for the degenerate ones whose spectrum is known whole."""
    which = np.flatnonzero((points.verdict == int(Verdict.DEGENERATE)) & (points.missed_probability == 0))
    if not len(which):
        return points
    x, kind = as_rows(jax.tree.map(lambda leaf: at_least_single(leaf)[which], points.params))
    functions, unit = flat(landscape, kind), lengths_at(units_of(landscape, kind), x)
    programs, length = programs_of(functions, x.dtype.name), np.max(unit, axis=1)
    at = RAW_SPECTRUM(programs.hessian(x, unit), programs.motions(x, unit), unit)

    # Every eigenvalue's error holds its change over a small distance: the point may not be quite the degenerate one.
    signs = np.random.default_rng(0).choice(np.array([-1, 1], x.dtype), (4, x.shape[1]))
    error = at.error
    for sign in signs:
        moved = programs.hessian(x + fine(x, unit) * sign, unit)
        along = np.einsum("nij,nik,nkj->nj", at.vectors, moved, at.vectors)
        error = np.maximum(error, at.error + np.abs(along - at.eigenvalues))
    answers = points.descends.copy()
    answers[which] = _program(functions)(x, at, error, length)
    return replace(points, descends=answers)


@functools.lru_cache(maxsize=8)
def _program(functions: Flat) -> ForRows:
    return ForRows(functools.partial(descends, functions.value, functions.gradient))


def descends(
    value: Callable[[jax.Array], jax.Array],
    gradient: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    at: Spectrum,
    error: jax.Array,
    length: jax.Array,
) -> jax.Array:
    """Returns () int8: 1 where the value falls along some flat direction, 0 where it does not, -1 where unknown.

    Args:
      value: maps a flat point (dim,) to the value.
      gradient: maps it to the gradient.
      x: (dim,) the degenerate point.
      at: spectrum of the Hessian there.
      error: (dim,) bound on every eigenvalue, the misplacement of the point included.
      length: () the landscape's unit of length.
    """
    is_flat = at.is_mode & (jnp.abs(at.eigenvalues) <= error)
    is_negative, is_positive = at.is_mode & (at.eigenvalues < -error), at.is_mode & (at.eigenvalues > error)
    num_flat = jnp.sum(is_flat)
    barrier = jnp.max(jnp.where(is_flat, error, 0))
    flat = jnp.where(is_flat[None, :], at.vectors, 0)
    curvature_along = lambda v: _second(gradient, x, v)
    draws = jax.random.normal(jax.random.key(0), (NUM_DIRECTIONS, x.size), x.dtype)

    def climb(v: jax.Array) -> jax.Array:
        pushed = flat @ (flat.T @ curvature_along(v))
        return _unit(v + jnp.where(pushed @ v < 0, -1, 1) * _unit(pushed))

    def examine(draw: jax.Array) -> tuple[jax.Array, jax.Array]:
        # towards a direction of large third derivative, by power iteration on the cubic form
        v = jax.lax.fori_loop(0, _NUM_ASCENTS, lambda _, v: climb(v), _unit(flat @ draw))
        bend = at.vectors @ jnp.where(
            is_positive, at.vectors.T @ curvature_along(v) / jnp.where(is_positive, at.eigenvalues, 1), 0
        )
        curves = jax.vmap(lambda bend: _course(lambda t: value(x + t * v - t**2 / 2 * bend), length))
        along = curves(jnp.stack([jnp.zeros_like(bend), bend]))  # the straight line and the best curve
        line, curve = (jax.tree.map(lambda leaf, i=i: leaf[i], along) for i in range(2))
        falls = _falls_by_third(line, barrier) | _falls_by_fourth(curve, barrier)
        return falls, _rises_by_fourth(curve, barrier, length)

    falls, rises = jax.lax.map(examine, draws)
    is_alone = (num_flat == 1) & (jnp.sum(is_negative) == 0)
    answer = jnp.where(jnp.any(is_negative) | jnp.any(falls), 1, jnp.where(is_alone & jnp.all(rises), 0, -1))
    return jnp.where(num_flat > 0, answer, -1).astype(jnp.int8)


class _Course(NamedTuple):
    """Derivatives of a function of one number."""

    first: jax.Array  # () absolute, at 0
    second: jax.Array  # () absolute, at 0
    third: jax.Array  # () absolute, at 0
    distances: jax.Array  # (k,) ascending
    fourth: jax.Array  # (2, k + 1) at 0 and at the distances, on either side
    noise: jax.Array  # (k,) of differences of the value


def _course(fn: Callable[[jax.Array], jax.Array], length: jax.Array) -> _Course:
    first = _derivative(fn)
    second = _derivative(first)
    third = _derivative(second)
    fourth = _derivative(third)
    distances = length * 0.5 ** jnp.arange(_NUM_DISTANCES + 1, 1, -1, dtype=length.dtype)  # ascending
    both_sides = jnp.concatenate([jnp.zeros(1, length.dtype), -distances, distances])
    every = jax.vmap(lambda t: (fn(t), first(t), second(t), third(t), fourth(t)))
    values, slope, bow, cubic, quartic = every(both_sides)
    sides = quartic[1:].reshape(2, -1)
    size = jnp.maximum(jnp.max(jnp.abs(values[1:].reshape(2, -1)), axis=0), jnp.abs(values[0]))
    return _Course(
        first=jnp.abs(slope[0]),
        second=jnp.abs(bow[0]),
        third=jnp.abs(cubic[0]),
        distances=distances,
        fourth=jnp.concatenate([jnp.full((2, 1), quartic[0]), sides], axis=1),
        noise=100 * jnp.finfo(length.dtype).eps * size,
    )


def _falls_by_third(course: _Course, barrier: jax.Array) -> jax.Array:
    t = course.distances
    largest = jax.lax.cummax(jnp.max(jnp.abs(course.fourth), axis=0))[1:]
    return jnp.any(_lower(course, barrier) - course.third * t**3 / 6 + largest * t**4 / 24 < -course.noise)


def _falls_by_fourth(course: _Course, barrier: jax.Array) -> jax.Array:
    t = course.distances
    largest = jnp.min(jax.lax.cummax(course.fourth, axis=1)[:, 1:], axis=0)  # of the better side
    return jnp.any(_lower(course, barrier) + course.third * t**3 / 6 + largest * t**4 / 24 < -course.noise)


def _rises_by_fourth(course: _Course, barrier: jax.Array, length: jax.Array) -> jax.Array:
    """Returns whether the value rises on both sides, from what a wrong placement explains to ten times as far."""
    t = course.distances
    smallest = jnp.min(jax.lax.cummin(course.fourth, axis=1)[:, 1:], axis=0)
    rises = smallest * t**4 / 24 - course.third * t**3 / 6 - _lower(course, barrier) > course.noise
    placed = 30 * jnp.cbrt(jnp.finfo(t.dtype).eps) * length
    is_asked = (t >= placed) & (t <= 16 * placed)
    return jnp.all(rises | ~is_asked) & jnp.any(is_asked)


def _lower(course: _Course, barrier: jax.Array) -> jax.Array:
    """Returns (k,) the most that the first two derivatives can change the value at each distance."""
    t = course.distances
    return course.first * t + jnp.maximum(barrier, course.second) * t**2 / 2


def _derivative(fn: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    return lambda t: jax.jvp(fn, (t,), (jnp.ones_like(t),))[1]


def _second(gradient: Callable[[jax.Array], jax.Array], x: jax.Array, v: jax.Array) -> jax.Array:
    """Returns (dim,) the second derivative of the gradient along v, D3f[v, v]."""
    along = lambda t: gradient(x + t * v)
    return _derivative(_derivative(along))(jnp.zeros((), x.dtype))


def _unit(vector: jax.Array) -> jax.Array:
    length = jnp.linalg.norm(vector)
    return vector / jnp.where(length > 0, length, 1)
