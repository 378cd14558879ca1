"""Polish and judgement from Hessian-vector products alone, where the whole Hessian would not fit.

Newton's steps (`jaxgd.points.newton`) come from MINRES, which solves what can be solved of an indefinite or singular
system. An end counts as polished when the step that is left is as short as numbers can tell and solves for most of the
gradient that is left.

What the point is then follows from the ends of its spectrum. One Ritz value below zero by more than its error proves a
direction of descent: `saddle`, and the count of them is a lower bound on the index. The other side can only hold with a
probability: `minimum` where the lowest Ritz value has an interval above zero, together with the depth of curvature that
would have been missed with no more than `MISSED_PROBABILITY`. What is neither stays `undecided`.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.curvature import Ritz, hessian_product, lanczos, num_steps_for
from jaxgd.curvature.minres import Solution, minres
from jaxgd.curvature.second_order import second_order
from jaxgd.points.dense import programs_of
from jaxgd.points.evidence import Evidence, Rows, nothing_found, put_fields
from jaxgd.points.flat import Flat, fine, motions_at
from jaxgd.points.newton import norms, take, walk
from jaxgd.points.noise import Model, noise_at
from jaxgd.points.rows import ForRows
from jaxgd.points.smooth import is_smooth

MISSED_PROBABILITY = 1e-3
"""Level at which the depth of curvature that may have been missed is stated."""

RESOLUTION = 0.01
"""Products are made until this share of the spread of the spectrum is resolved at that level, at least."""

SHARPNESS = 0.02
"""Products are made until the lowest eigenvalue's interval is this share of it, unless they run out."""

MAX_PRODUCTS = 384
"""Products of one Lanczos process at most."""

_MAX_SOLVE_PRODUCTS = 1000
_FORCING = 1e-3  # share of the gradient that a Newton step may leave over
_NUM_MOVES = 2


class Reached(NamedTuple):
    """Where Newton's steps arrived from each end; arrays with one leading axis of lanes."""

    x: Rows  # (lanes, dim) the critical point, or the end itself where none was reached
    unit: Rows  # (lanes, dim) of length
    is_critical: Rows
    is_loose: Rows  # the gradient that is left lies where there is no curvature: the point is placed loosely
    zero_modes: Rows  # (lanes, m, dim) orthonormal rows at x


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


class _Solved(NamedTuple):
    """Hessians seen by what they make of the gradient."""

    solve: ForRows
    unit: Rows
    max_steps: int = 12  # of up to _MAX_SOLVE_PRODUCTS each
    serves_again: bool = False

    def look(self, which: Rows, x: Rows, gradient: Rows) -> Solution:
        return self.solve(x, gradient, self.unit[which])

    def step(self, seen: Solution, gradient: Rows) -> Rows:
        return seen.step

    def weight(self, seen: Solution) -> Rows:
        return np.ones_like(self.unit)

    def rounding(self, seen: Solution, x: Rows) -> Rows:
        return _rounding(seen, x)


def _rounding(seen: Solution, x: Rows) -> Rows:
    """Returns (lanes, dim) what one rounding of x makes of the gradient, if it falls into one coordinate."""
    return np.broadcast_to((np.finfo(x.dtype).eps * seen.norm * norms(x))[:, None], x.shape)


@np.errstate(all="ignore")  # what is not finite is left where it was
def judge(functions: Flat, ends: Rows, unit: Rows, height: Rows) -> Evidence:
    """Returns what was found beside each of the (lanes, dim) ends.

    Args:
      functions: of a landscape, on flat points.
      ends: where descents ended.
      unit: (lanes, dim) of length.
      height: (lanes,) of values, which is not asked for here.
    """
    programs = programs_of(functions, ends.dtype.name)
    eps, resolution, length = np.finfo(ends.dtype).eps, fine(ends, unit), np.max(unit, axis=1)
    rounding = np.sqrt(eps)
    walked = walk(programs.evaluate, _Solved(_newton_equation(functions), unit), ends, resolution)
    left, norm = walked.seen, norms(walked.gradient)
    is_at_rest = norm <= 10 * eps * left.norm * np.maximum(norms(walked.x), length)

    # What is left over lies in the kernel: a slope there if it is large, the slowness of a multiple root if it is not.
    is_in_kernel = (left.residual > 0.5 * norm) & (left.image <= rounding * left.norm)
    is_slope = norm > rounding * left.norm * length
    is_solved = is_at_rest | (left.residual <= 0.1 * norm) | (is_in_kernel & ~is_slope)
    is_settled = is_solved & np.all(np.abs(left.step) <= 100 * resolution, axis=1)
    is_flat = is_in_kernel & is_slope & ~is_at_rest
    is_finite = np.all(np.isfinite(walked.gradient), axis=1) & np.isfinite(left.norm)
    is_reached = is_settled & ~is_flat & walked.is_within_reach & is_finite
    x = np.where(is_reached[:, None], walked.x, ends)

    value, gradient = programs.evaluate(x)
    product = functools.partial(_products(functions), x)
    model = Model(product, _rounding(left, x), unit, functions.is_free)
    noise = noise_at(programs.evaluate, x, value, gradient, model)
    spectrum = _ends_of_spectrum(functions, Reached(x, unit, is_reached, is_in_kernel, programs.motions(x, length)))
    num_frozen = np.sum(~functions.is_free).astype(np.int32)
    has_negative, has_positive = spectrum.num_negative > 0, spectrum.num_positive > 0
    return put_fields(
        nothing_found(ends),
        {
            "x": x,
            "value": value,
            "gradient_norm": norms(gradient),
            "move": np.where(is_reached, walked.move, 0),
            "is_reached": is_reached & spectrum.is_finite,
            "is_gradient_flat": is_flat & is_finite,
            "is_smooth": is_smooth(programs.evaluate, x, gradient, model, noise),
            "is_finite": is_finite & spectrum.is_finite,
            "fall": np.abs(np.sum(walked.first_step * walked.gradient_at_end, axis=1)) / 2,
            "away": np.max(np.abs(walked.x - ends) / unit, axis=1),
            "num_negative": spectrum.num_negative,
            "num_positive": spectrum.num_positive,
            "num_zero": spectrum.num_zero,
            "num_symmetry_modes": spectrum.num_symmetry_modes - num_frozen,
            "index_high": ends.shape[1] - spectrum.num_positive - spectrum.num_symmetry_modes,
            "is_told": (has_negative & has_positive) | (spectrum.num_zero > 0) | spectrum.is_above | spectrum.is_below,
            "lowest_eigenvalue": spectrum.lowest_eigenvalue,
            "eigenvalue_error": spectrum.eigenvalue_error,
            "missed_probability": MISSED_PROBABILITY,
            "missed_curvature": spectrum.missed_curvature,
            "asymmetry": spectrum.asymmetry,
            "placement": 8 * np.abs(left.step) + resolution,
            "value_error": noise.value,
        },
    )


@functools.lru_cache(maxsize=8)
def _products(functions: Flat) -> Callable[[Rows, Rows], Rows]:
    """Returns what gives the Hessians' products at (lanes, dim) points with (lanes, k, dim) vectors."""
    one = ForRows(lambda x, vector: functions.second_order(x).product(x, vector))

    def products(x: Rows, vectors: Rows) -> Rows:
        flat = vectors.reshape(-1, x.shape[1])
        return one(np.repeat(x, vectors.shape[1], axis=0), flat).reshape(vectors.shape)

    return products


@functools.lru_cache(maxsize=8)
def _newton_equation(functions: Flat) -> ForRows:
    """Returns what solves the Newton equation: x, gradient, unit -> Solution."""

    def solve(x: jax.Array, gradient: jax.Array, unit: jax.Array) -> Solution:
        modes = motions_at(functions, x, jnp.max(unit))
        off_modes = lambda vector: vector - (modes @ vector) @ modes
        operator = functions.second_order(x).at(x, unit)
        product = lambda vector: off_modes(operator(off_modes(vector)))
        probe = off_modes(jax.random.normal(jax.random.key(0), x.shape, x.dtype))
        norm = jnp.linalg.norm(product(probe)) / jnp.maximum(jnp.linalg.norm(probe), jnp.finfo(x.dtype).tiny)
        return minres(product, -off_modes(gradient), tolerance=_FORCING, max_products=_MAX_SOLVE_PRODUCTS, norm=norm)

    return ForRows(solve)


def _ends_of_spectrum(functions: Flat, reached: Reached) -> Judged:
    """Returns what the ends of the spectra at points say; lanes that reached no critical point are not waited for."""
    gradient, num_lanes = functions.gradient, len(reached.x)
    filled_up = np.resize(np.arange(num_lanes), 2 ** math.ceil(math.log2(num_lanes)))  # few sizes, few programs
    reached = take(reached, filled_up)
    points = jnp.asarray(reached.x)
    product = hessian_product(gradient, points, units=float(np.median(reached.unit)))
    least = num_steps_for(RESOLUTION, MISSED_PROBABILITY, product.dim)
    is_critical = np.asarray(reached.is_critical)

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
        product,
        jax.random.key(0),
        num_products=max(least, MAX_PRODUCTS),
        zero_modes=jnp.asarray(reached.zero_modes),
        until=is_told,
    )
    # MINRES takes curvature under sqrt(eps) of the norm for none; where that left a gradient over, so does the verdict
    loose = np.where(np.asarray(reached.is_loose), np.sqrt(jnp.finfo(product.dtype).eps) * found.norm, 0.0)
    error = found.error + np.maximum(_curvature_change(gradient, points, found, reached.unit), loose)
    values, residuals = found.values, found.residuals
    is_negative, is_positive = values < -error[:, None], values > error[:, None]
    is_zero = np.abs(values) + residuals <= error[:, None]
    judged = Judged(
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
    return take(judged, slice(num_lanes))


def _last(entries: np.ndarray) -> np.ndarray:
    """Returns (lanes,) the last entry of each row that is a number; NaN where none is."""
    last = np.sum(np.isfinite(entries), axis=1, keepdims=True) - 1
    return np.take_along_axis(entries, np.maximum(last, 0), axis=1)[:, 0]


def _curvature_change(
    gradient: Callable[[jax.Array], jax.Array], points: jax.Array, found: Ritz, unit: Rows
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
    changes = _changes(gradient, points, vectors, jnp.asarray(unit))
    at_point = np.take_along_axis(found.values, places, axis=1)
    return np.max(np.abs(np.asarray(changes, np.float64) - at_point[:, None, :]), axis=(1, 2))


@functools.partial(jax.jit, static_argnums=0)
def _changes(
    gradient: Callable[[jax.Array], jax.Array], points: jax.Array, vectors: jax.Array, unit: jax.Array
) -> jax.Array:
    """Returns (lanes, moves, vectors) curvature along vectors after moves of random signs."""

    def one(x: jax.Array, rows: jax.Array, unit: jax.Array) -> jax.Array:
        distance = fine(x, unit)
        signs = jax.random.rademacher(jax.random.key(0), (_NUM_MOVES, x.size), x.dtype)

        def after(sign: jax.Array) -> jax.Array:
            at = x + distance * sign
            operator = second_order(gradient, at).at(at, unit)
            return jax.lax.map(lambda row: row @ operator(row), rows)

        return jax.lax.map(after, signs)

    return second_order(gradient, points[0]).map(one)(points, vectors, unit)
