"""Polish and judgement from Hessian-vector products alone, where the whole Hessian would not fit.

The rules are those of the dense polish (`jaxgd.points.polish`): a Newton step is taken only if the gradient norm falls,
the whole way stays within a few times the first step, and what breaks a rule stays where it was. The step comes from
MINRES, which solves what can be solved of an indefinite or singular system. An end counts as polished when the step
that is left is as short as numbers can tell and solves for most of the gradient that is left.

What the point is then follows from the ends of its spectrum. One Ritz value below zero by more than its error proves a
direction of descent: `saddle`, and the count of them is a lower bound on the index. The other side can only hold with a
probability: `minimum` where the lowest Ritz value has an interval above zero, together with the depth of curvature that
would have been missed with no more than `MISSED_PROBABILITY`. What is neither stays `undecided`.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.curvature import Ritz, hessian_product, lanczos, num_steps_for
from jaxgd.curvature.minres import Solution, minres
from jaxgd.points.flat import Generators, motions_at, placement_error
from jaxgd.points.polish import MAX_NEWTON_STEPS, REACH, SHORTENINGS

MISSED_PROBABILITY = 1e-3
"""Level at which the depth of curvature that may have been missed is stated."""

RESOLUTION = 0.01
"""Products are made until this share of the spread of the spectrum is resolved at that level, at least."""

SHARPNESS = 0.02
"""Products are made until the lowest eigenvalue's interval is this share of it, unless they run out."""

MAX_PRODUCTS = 384
"""Products of one Lanczos process at most."""

_MAX_POLISH_PRODUCTS = 4000
_MAX_SOLVE_PRODUCTS = 1000
_FORCING = 1e-3  # share of the gradient that a Newton step may leave over
_NUM_MOVES = 2


class Walked(NamedTuple):
    """Where polish arrived from each end; arrays with one leading axis of lanes."""

    x: Any  # (lanes, dim) the critical point, or the end itself where none was reached
    gradient_norm: Any
    move: Any
    is_critical: Any
    is_gradient_flat: Any
    is_loose: Any  # the gradient that is left lies where there is no curvature: the point is placed loosely
    zero_modes: Any  # (lanes, m, dim) orthonormal rows at x


class Judged(NamedTuple):
    """What the ends of the spectrum say; arrays with one leading axis of lanes."""

    num_negative: np.ndarray  # at least so many
    num_positive: np.ndarray  # at least so many
    num_zero: np.ndarray  # found to be zero as far as numbers can tell, symmetry modes not counted
    num_symmetry_modes: np.ndarray
    is_above: np.ndarray  # bool, the lowest eigenvalue found lies above zero, its whole interval
    is_below: np.ndarray  # bool, the highest lies below
    lowest_eigenvalue: np.ndarray
    eigenvalue_error: np.ndarray  # of the lowest
    missed_curvature: np.ndarray
    asymmetry: np.ndarray  # share of the norm
    is_finite: np.ndarray  # bool, whether products were


def walk(
    gradient: Callable[[jax.Array], jax.Array],
    generators: Generators | None,
    end: jax.Array,
    length: jax.Array,
) -> Walked:
    """Returns the critical point beside one end; by the rules of `jaxgd.points.polish`."""
    eps = jnp.finfo(end.dtype).eps
    resolution = placement_error(end, length)
    modes_at = lambda x: motions_at(generators, x, length)

    def solve(x: jax.Array, at_x: jax.Array) -> Solution:
        modes = modes_at(x)
        off_modes = lambda vector: vector - (modes @ vector) @ modes
        product = lambda vector: off_modes(jax.jvp(gradient, (x,), (off_modes(vector),))[1])
        probe = off_modes(jax.random.normal(jax.random.key(0), x.shape, x.dtype))
        norm = jnp.linalg.norm(product(probe)) / jnp.maximum(jnp.linalg.norm(probe), jnp.finfo(x.dtype).tiny)
        return minres(product, -off_modes(at_x), tolerance=_FORCING, max_products=_MAX_SOLVE_PRODUCTS, norm=norm)

    gradient_at_end = gradient(end)
    first = solve(end, gradient_at_end)
    reach = REACH * jnp.linalg.norm(first.step) + resolution
    start = _Walk(
        x=end,
        gradient=gradient_at_end,
        move=jnp.zeros((), end.dtype),
        at=first,
        num_steps=jnp.zeros((), jnp.int32),
        num_products=first.num_products,
        improves=jnp.all(jnp.isfinite(first.step)) & (jnp.linalg.norm(gradient_at_end) > 0),
    )

    def is_going(state: _Walk) -> jax.Array:
        has_room = (state.num_steps < MAX_NEWTON_STEPS) & (state.num_products < _MAX_POLISH_PRODUCTS)
        return state.improves & has_room & (state.move <= reach)

    def advance(state: _Walk) -> _Walk:
        trials = state.x[None] + jnp.asarray(SHORTENINGS, end.dtype)[:, None] * state.at.step[None]
        gradients = jax.lax.map(gradient, trials)
        norms = jnp.linalg.norm(gradients, axis=1)
        best = jnp.argmin(jnp.where(jnp.isfinite(norms), norms, jnp.inf))
        improves = norms[best] < jnp.linalg.norm(state.gradient)
        x = jnp.where(improves, trials[best], state.x)
        at_x = jnp.where(improves, gradients[best], state.gradient)
        at = solve(x, at_x)
        return _Walk(
            x=x,
            gradient=at_x,
            move=jnp.linalg.norm(x - end),
            at=at,
            num_steps=state.num_steps + 1,
            num_products=state.num_products + at.num_products,
            improves=improves & (norms[best] > eps * at.norm * jnp.linalg.norm(x)),
        )

    final = jax.lax.while_loop(is_going, advance, start)
    norm = jnp.linalg.norm(final.gradient)
    is_at_rest = norm <= 10 * eps * final.at.norm * jnp.maximum(jnp.linalg.norm(final.x), length)
    rounding = jnp.sqrt(eps)
    # what is left over lies in the kernel: a slope there if it is large, the slowness of a multiple root if it is not
    is_in_kernel = (final.at.residual > 0.5 * norm) & (final.at.image <= rounding * final.at.norm)
    is_slope = norm > rounding * final.at.norm * length
    is_solved = is_at_rest | (final.at.residual <= 0.1 * norm) | (is_in_kernel & ~is_slope)
    is_settled = is_solved & (jnp.linalg.norm(final.at.step) <= 100 * resolution)
    is_flat = is_in_kernel & is_slope & ~is_at_rest
    is_finite = jnp.all(jnp.isfinite(final.gradient)) & jnp.isfinite(final.at.norm)
    is_critical = is_settled & ~is_flat & (final.move <= reach) & is_finite
    x = jnp.where(is_critical, final.x, end)
    return Walked(
        x=x,
        gradient_norm=jnp.linalg.norm(jnp.where(is_critical, final.gradient, gradient_at_end)),
        move=jnp.where(is_critical, final.move, 0),
        is_critical=is_critical,
        is_gradient_flat=is_flat & is_finite,
        is_loose=is_in_kernel,
        zero_modes=modes_at(x),
    )


class _Walk(NamedTuple):
    x: jax.Array
    gradient: jax.Array
    move: jax.Array
    at: Solution  # of the Newton equation at x
    num_steps: jax.Array
    num_products: jax.Array
    improves: jax.Array


def judge(gradient: Callable[[jax.Array], jax.Array], walked: Walked, length: float) -> Judged:
    """Returns what the ends of the spectra at polished points say.

    Args:
      gradient: of one flat point.
      walked: where polish arrived; lanes that reached no critical point are not waited for.
      length: the landscape's unit of length.
    """
    points = jnp.asarray(walked.x)
    product = hessian_product(gradient, points)
    least = num_steps_for(RESOLUTION, MISSED_PROBABILITY, product.dim)
    is_critical = np.asarray(walked.is_critical)

    def is_told(found: Ritz) -> bool:
        if found.num_products < least:
            return False
        lowest, highest = found.values[:, 0], _last(found.values)
        is_sharp = found.residuals[:, 0] <= SHARPNESS * np.abs(lowest)
        is_saddle = (found.high[:, 0] < 0) & is_sharp & (highest > found.error)
        is_zero = found.residuals[:, 0] + np.abs(lowest) <= found.error
        is_minimum = (found.low[:, 0] > 0) & is_sharp
        is_maximum = (_last(found.high) < 0) & is_sharp
        return bool(np.all(is_saddle | is_zero | is_minimum | is_maximum | np.isnan(found.norm) | ~is_critical))

    found = lanczos(
        product, jax.random.key(0), num_products=max(least, MAX_PRODUCTS), zero_modes=walked.zero_modes, until=is_told
    )
    # MINRES takes curvature under sqrt(eps) of the norm for none; where that left a gradient over, so does the verdict
    loose = np.where(np.asarray(walked.is_loose), np.sqrt(jnp.finfo(product.dtype).eps) * found.norm, 0.0)
    error = found.error + np.maximum(_curvature_change(gradient, points, found, length), loose)
    values, residuals = found.values, found.residuals
    is_negative, is_positive = values < -error[:, None], values > error[:, None]
    is_zero = np.abs(values) + residuals <= error[:, None]
    return Judged(
        num_negative=is_negative.sum(axis=1),
        num_positive=is_positive.sum(axis=1),
        num_zero=is_zero.sum(axis=1),
        num_symmetry_modes=product.dim - found.dim,
        is_above=values[:, 0] - residuals[:, 0] > error,
        is_below=_last(values + residuals) < -error,
        lowest_eigenvalue=values[:, 0],
        eigenvalue_error=residuals[:, 0] + error,
        missed_curvature=np.maximum(-found.least_curvature(MISSED_PROBABILITY), 0.0),
        asymmetry=found.asymmetry / np.where(found.norm > 0, found.norm, 1),
        is_finite=np.isfinite(found.norm),
    )


def _last(entries: np.ndarray) -> np.ndarray:
    """Returns (lanes,) the last entry of each row that is a number; NaN where none is."""
    last = np.sum(np.isfinite(entries), axis=1, keepdims=True) - 1
    return np.take_along_axis(entries, np.maximum(last, 0), axis=1)[:, 0]


def _curvature_change(
    gradient: Callable[[jax.Array], jax.Array], points: jax.Array, found: Ritz, length: float
) -> np.ndarray:
    """Returns (lanes,) how much curvature along telling Ritz vectors changes when x moves as far as it may be wrong.

    Telling are the lowest, the highest, and those next to zero on either side: the largest change counts for all.
    """
    values = np.where(np.isnan(found.values), np.inf, found.values)
    places = np.stack(
        [
            np.argmin(values, axis=1),
            np.argmax(np.where(np.isinf(values), -np.inf, values), axis=1),
            np.argmin(np.where(values > 0, values, np.inf), axis=1),
            np.argmax(np.where(values < 0, values, -np.inf), axis=1),
        ],
        axis=1,
    )
    vectors = found.vectors(places).astype(points.dtype)
    changes = _changes(gradient, points, vectors, jnp.asarray(length, points.dtype))
    at_point = np.take_along_axis(found.values, places, axis=1)
    return np.max(np.abs(np.asarray(changes, np.float64) - at_point[:, None, :]), axis=(1, 2))


@functools.partial(jax.jit, static_argnums=0)
def _changes(
    gradient: Callable[[jax.Array], jax.Array], points: jax.Array, vectors: jax.Array, length: jax.Array
) -> jax.Array:
    """Returns (lanes, moves, vectors) curvature along vectors after moves of random signs."""

    def one(x: jax.Array, rows: jax.Array) -> jax.Array:
        distance = placement_error(x, length)
        signs = jax.random.rademacher(jax.random.key(0), (_NUM_MOVES, x.size), x.dtype)

        def after(sign: jax.Array) -> jax.Array:
            at = x + distance * sign
            return jax.lax.map(lambda row: row @ jax.jvp(gradient, (at,), (row,))[1], rows)

        return jax.lax.map(after, signs)

    return jax.vmap(one)(points, vectors)
