"""Valleys of so many parameters that no Hessian is formed: steps along random flat directions, from products alone.

A random vector v becomes a flat direction when its curved part H^+ H v, found by MINRES, is taken away. A step goes
along it, and steps back across solve with the Hessian at the old place,

    y <- y - H(x)^+ grad f(y),

so that they never move along its kernel: at a singular point (x^4) the gradient that a step finds there is left over.
MINRES solves for stiff directions first, so that one step back may be longer than the last, which does not matter:
all together have to stay within half the step. And the step has to be so long that a singular point would show.
If a random direction of the kernel leads to critical points of the same value, over two lengths a decade apart, then
all of them do but for an unlucky draw: directions that lead on would be a set of measure zero otherwise. And where the
kernel is the tangent space of critical points, the rank cannot change along them: it can only rise beside a point, and
the kernel is at least as large as the valley. What such a step cannot see is a single singular direction among very
many flat ones, of which a random one of length L has no more than L / sqrt(dim): the length is stated for that reason.

How much of a random vector is flat says how large the kernel is, as a poll does: |v_0|^2 / |v|^2 has the kernel's share
for its mean, and varies no more than if dim / 2 directions had been drawn.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from jaxgd.curvature.minres import minres
from jaxgd.points.dense import programs_of
from jaxgd.points.evidence import Evidence, Rows
from jaxgd.points.flat import Flat
from jaxgd.points.rows import ForRows

CONFIDENCE = 0.999
"""Of the limits of the kernel's share."""

NUM_DIRECTIONS = 2
"""Random flat directions along which a valley has to lead on."""

_LONGEST = 1.0  # units of length, of the longer of the two steps
_DECADE = -0.1  # times the longer one
_THIRD = 1 / 3
_MAX_PRODUCTS = 4000  # to find the flat part of a vector
_MAX_SOLVE_PRODUCTS = 1000  # of a step back
_FORCING = 1e-3  # share of the gradient that it may leave over
_MAX_BACK = 48
_UNSOLVED = 0.5  # share of the gradient that lies in the kernel: steps back cannot do anything about it
_BEND = 0.5  # share of a step that the whole way back may have
_ROUNDINGS = 10.0  # of the place, whose gradient counts as none
_SAFETY = 8.0  # on errors of values

BENDS = "the valley ends, or bends too sharply to be followed"
IS_LEFT = "a gradient is left that no curvature explains"
CHANGES = "the value changes"
UNSOLVED = "flat directions could not be told from curved ones"


class LargeStep(NamedTuple):
    """A step that was tried."""

    x: np.ndarray  # (dim,) to where it led
    is_shown: bool
    why: str  # it does not count; empty where it does
    length: float  # units of length along the kernel
    value_error: float


class FlatDirection(NamedTuple):
    """The flat part of a direction."""

    vector: np.ndarray  # (dim,) of length one, in units of length
    is_told: bool  # it was told from the curved part
    norm: float  # of the Hessian
    share: float  # of the direction that is flat, squared


class _Flattened(NamedTuple):
    direction: jax.Array  # (dim,) the flat part of a vector
    curvature: jax.Array  # () that is left along it
    norm: jax.Array  # () of the Hessian


def find_large_valleys(functions: Flat, found: Evidence, which: Rows, unit: Rows) -> None:
    """Writes the dimension of the valley, its lower limit, into the record of those points that lie on one.

    Args:
      functions: of a landscape, on flat points.
      found: what was found beside each end; changed.
      which: critical points with zero modes that no symmetry explains.
      unit: (n, dim) of length.
    """
    num_free, draw = int(np.sum(functions.is_free)), np.random.default_rng(0)
    for point in which.tolist():
        lengths, shares = [], []
        for _ in range(NUM_DIRECTIONS):
            towards = draw.choice(np.array([-1, 1], unit.dtype), unit.shape[1])
            flat = flat_direction(functions, found.x[point], unit[point], towards)
            length = _leads_on(functions, found.x[point], unit[point], flat, float(found.value_error[point]))
            if length is None:
                break
            lengths.append(length)
            shares.append(flat.share)
        if len(lengths) == NUM_DIRECTIONS:
            low, high = _limits(float(np.mean(shares)), NUM_DIRECTIONS * num_free / 2)
            found.flat_low[point], found.flat_high[point] = low, high
            found.flat_length[point] = min(lengths)
            found.dimension[point] = max(1, int(low * num_free))
            found.index_high[point] = found.num_negative[point]


def _leads_on(functions: Flat, x: Rows, unit: Rows, flat: FlatDirection, value_error: float) -> float | None:
    """Returns how far the longer step goes, None if the direction leads to no critical points of the same value."""
    length, shortest = _LONGEST, _telling_length(flat, x, unit)
    while length >= shortest:
        step = step_by_products(functions, x, unit, flat, length, value_error)
        if step.is_shown:
            other = step_by_products(functions, x, unit, flat, _DECADE * length, value_error)
            return step.length if other.is_shown else None
        if step.why != BENDS:
            return None
        length *= _THIRD
    return None


def _nothing(flat: FlatDirection, x: Rows, unit: Rows) -> float:
    """Returns the gradient that some roundings of the place explain, in units of length."""
    return _ROUNDINGS * float(np.finfo(x.dtype).eps) * flat.norm * max(float(np.linalg.norm(x / unit)), 1.0)


def _telling_length(flat: FlatDirection, x: Rows, unit: Rows) -> float:
    """Returns how long a step has to be, in units of length, for a singular point to show.

    A fourth power of every coordinate, as large as the Hessian, leaves a gradient of |H| length^3 / dim.
    """
    return float(np.cbrt(len(x) * _nothing(flat, x, unit) / flat.norm)) if flat.norm > 0 else np.inf


def _limits(share: float, trials: float) -> tuple[float, float]:
    """Returns limits of a share that was measured so precisely as if so many had been drawn (Clopper and Pearson)."""
    tail = (1 - CONFIDENCE) / 2
    low = scipy.stats.beta.ppf(tail, share * trials, (1 - share) * trials + 1) if share > 0 else 0.0
    high = scipy.stats.beta.ppf(1 - tail, share * trials + 1, (1 - share) * trials) if share < 1 else 1.0
    return float(low), float(high)


@np.errstate(all="ignore")
def flat_direction(functions: Flat, x: Rows, unit: Rows, towards: Rows) -> FlatDirection:
    """Returns the flat part of a direction; up to some thousands of products, so that steps along it share it.

    Args:
      functions: of a landscape, on flat points.
      x: (dim,) a critical point.
      unit: (dim,) of length.
      towards: (dim,) the direction, in units of length.
    """
    row = lambda vector: np.asarray(vector, x.dtype)[None]
    towards = np.where(functions.is_free, towards, 0)
    found = _flatten(functions)(row(x), row(unit), row(towards))
    flat, norm = found.direction[0], float(found.norm[0])
    size = float(np.linalg.norm(flat))
    little = float(np.finfo(x.dtype).eps) ** 0.375 * norm
    is_told = bool(np.isfinite(norm) and size > 0 and found.curvature[0] <= little)  # what is not small is none
    return FlatDirection(flat / size, is_told, norm, (size / float(np.linalg.norm(towards))) ** 2)


@np.errstate(all="ignore")
def step_by_products(
    functions: Flat, x: Rows, unit: Rows, flat: FlatDirection, length: float, value_error: float
) -> LargeStep:
    """Returns where a step along a flat direction, and back across, leads.

    Args:
      functions: of a landscape, on flat points.
      x: (dim,) a critical point.
      unit: (dim,) of length.
      flat: the direction, flat at `x`.
      length: of the step, in units of length; below zero the other way.
      value_error: of the value at `x`.
    """
    eps, row = float(np.finfo(x.dtype).eps), lambda vector: np.asarray(vector, x.dtype)[None]
    evaluate = programs_of(functions, x.dtype.name).evaluate
    nothing = _nothing(flat, x, unit)

    def unshown(why: str) -> LargeStep:
        return LargeStep(x, False, why, abs(length), value_error)

    if not flat.is_told:
        return unshown(UNSOLVED)
    value = float(evaluate(row(x))[0][0])
    first = y = x + row(length)[0] * unit * flat.vector
    for _ in range(_MAX_BACK):
        value_there, gradient = (leaf[0] for leaf in evaluate(row(y)))
        left = float(np.linalg.norm(unit * gradient))
        if left <= nothing:
            break
        back, unsolved = (leaf[0] for leaf in _solve(functions)(row(x), row(unit), row(unit * gradient)))
        if unsolved > _UNSOLVED * left:
            return unshown(IS_LEFT)
        y = y - unit * back
        if not np.linalg.norm((y - first) / unit) <= _BEND * abs(length):
            return unshown(BENDS)
    else:
        return unshown(IS_LEFT)

    error = max(value_error, 16 * eps * abs(float(value_there)))
    if abs(float(value_there) - value) > _SAFETY * (value_error + error):
        return unshown(CHANGES)
    return LargeStep(y, True, "", abs(length), error)


@functools.lru_cache(maxsize=8)
def _flatten(functions: Flat) -> ForRows:
    """Returns what takes the curved part of a direction away: x, unit, direction -> _Flattened."""

    def flatten(x: jax.Array, unit: jax.Array, direction: jax.Array) -> _Flattened:
        operator = functions.second_order(x).at(x, unit)
        product = lambda vector: unit * operator(unit * vector)
        image = product(direction)
        norm = jnp.linalg.norm(image) / jnp.linalg.norm(direction)
        tolerance = float(jnp.finfo(x.dtype).eps ** 0.5)
        curved = minres(product, image, tolerance=tolerance, max_products=_MAX_PRODUCTS, norm=norm)
        flat = direction - curved.step
        size = jnp.linalg.norm(flat)
        return _Flattened(flat, jnp.linalg.norm(product(flat)) / jnp.where(size > 0, size, 1), curved.norm)

    return ForRows(flatten)


@functools.lru_cache(maxsize=8)
def _solve(functions: Flat) -> ForRows:
    """Returns what solves H s = g in the range of H: x, unit, g -> s and what is left of g, all in units of length."""

    def solve(x: jax.Array, unit: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
        operator = functions.second_order(x).at(x, unit)
        product = lambda vector: unit * operator(unit * vector)
        norm = jnp.linalg.norm(product(gradient)) / jnp.linalg.norm(gradient)
        found = minres(product, gradient, tolerance=_FORCING, max_products=_MAX_SOLVE_PRODUCTS, norm=norm)
        return found.step, found.residual

    return ForRows(solve)
