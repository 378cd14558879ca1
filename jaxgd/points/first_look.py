"""A first look at ends, for a few gradients each: which are plainly not at a critical point, and why.

The value is tried along d = -u^2 g, with u the units of length, so that it does not matter in which units somebody
measures. One product gives the length of step over which the quadratic model falls for sure. If the value does fall,
there or a few halvings before, by more than what an end at rest may still have to fall, the end is still descending. If
it does not fall at all along its own gradient, however short the step, there is a kink. And if it keeps falling as far
as a million units of length away, there is nothing to arrive at (a function that raises an error so far out says
nothing).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Reason
from jaxgd.points.evidence import Rows
from jaxgd.points.flat import Flat
from jaxgd.points.rows import ForRows, in_halves

_HALVINGS = 24
_ARMIJO = 0.1  # of the fall that the gradient promises
_LONGEST = 0.1  # units of length, of a step whose length no curvature limits
_TINY = 1e-4  # units of length, within which the fall that the gradient promises has to come about
_FAR = 7  # powers of ten of a unit of length
_REPEATS = 3  # ends that stand at the very same number in a coordinate: a limit


class Look(NamedTuple):
    """What a first look found at each end; arrays with one leading axis of points."""

    value: Rows
    gradient: Rows  # (n, dim)
    reason: Rows  # (n,) int8, `NONE` where the end may be at a critical point


@np.errstate(all="ignore")
def first_look(
    functions: Flat, ends: Rows, unit: Rows, height: Rows, least_fall: Rows, drift: Rows | None = None
) -> Rows:
    """Returns (n,) int8 the reasons why ends (n, dim) are plainly not at a critical point; `NONE` where they may be.

    Args:
      functions: of a landscape, on flat points.
      ends: where descents ended.
      unit: (n, dim) of length.
      height: (n,) of values.
      least_fall: (n,) how far the value may still fall at an end that is at rest.
      drift: (n, dim) directions in which to look far out, against the gradient where they are zero. Without it only
        what is not at a critical point is looked at far out.
    """
    ask, far_out = _programs(functions)
    least_fall = least_fall.astype(ends.dtype)
    look: Look = ask(ends, unit, least_fall, np.ones_like(ends))
    reason = look.reason.copy()

    # Where coordinates stand at a limit that several ends share, only the others can descend.
    falling = np.flatnonzero(reason == int(Reason.STILL_DESCENDING))
    is_held = _at_limits(ends, look.gradient)[falling]
    some = np.flatnonzero(is_held.any(axis=1))
    if len(some):
        rows, weight = falling[some], np.where(is_held[some], 0, 1).astype(ends.dtype)
        others: Look = ask(ends[rows], unit[rows], least_fall[rows], weight)
        reason[rows[others.reason != int(Reason.STILL_DESCENDING)]] = int(Reason.HELD)

    # Nothing to arrive at, where the gradient pulls.
    outward, asked = -(unit**2) * look.gradient, np.flatnonzero(reason)
    if drift is not None:
        outward, asked = np.where(np.any(drift != 0, axis=1, keepdims=True), drift, outward), np.arange(len(ends))
    for rows, falls_on in in_halves(lambda rows: far_out(ends[rows], unit[rows], height[rows], outward[rows]), asked):
        reason[rows[falls_on]] = int(Reason.UNBOUNDED)
    return reason


def _at_limits(ends: Rows, gradient: Rows) -> Rows:
    """Returns (n, dim) whether a coordinate is exactly zero, or where several ends are, against its gradient."""
    at_limit = np.zeros(ends.shape, bool)
    for column in range(ends.shape[1]):
        values, inverse, counts = np.unique(ends[:, column], return_inverse=True, return_counts=True)
        at_limit[:, column] = (counts[inverse] >= _REPEATS) | (values[inverse] == 0)
    return at_limit & (gradient != 0)


@functools.lru_cache(maxsize=8)
def _programs(functions: Flat) -> tuple[ForRows, ForRows]:
    return ForRows(functools.partial(_look, functions)), ForRows(functools.partial(_falls_far_out, functions))


def _look(functions: Flat, x: jax.Array, unit: jax.Array, least_fall: jax.Array, weight: jax.Array) -> Look:
    """Returns what is plain about one end, with its gradient weighted by coordinate."""
    eps = jnp.finfo(x.dtype).eps
    value, gradient = functions.evaluate(x)
    direction = -(unit**2) * gradient * weight
    slope = -(gradient @ direction)
    length = jnp.max(jnp.abs(direction) / unit)  # in units of length
    product = functions.second_order(x).product(x, direction, unit)

    # Beside a saddle curvature along the direction may cancel: its size is that of the whole product.
    curvature = jnp.linalg.norm(product * unit) * jnp.linalg.norm(direction / unit)

    # Steps as long as the quadratic model can be trusted to fall, halved again and again.
    longest = _LONGEST / jnp.where(length > 0, length, 1)
    step = jnp.where(curvature > 0, slope / jnp.where(curvature > 0, curvature, 1), longest)
    steps = jnp.minimum(step, longest) * 0.5 ** jnp.arange(_HALVINGS, dtype=x.dtype)
    falls = value - jax.lax.map(lambda t: functions.value(x + t * direction), steps)
    promised, rounding = steps * slope, 16 * eps * jnp.abs(value)

    # Where the value is all but zero, what the rounding of x itself makes of it is more than its own.
    squared = jnp.sum((direction / unit) ** 2)
    place = 16 * eps * jnp.maximum(1, jnp.max(jnp.abs(x) / unit))
    rounding += place**2 * curvature / jnp.where(squared > 0, squared, 1)
    keeps_promise = falls >= _ARMIJO * promised
    is_falling = jnp.any(keeps_promise & (falls > jnp.maximum(least_fall, rounding)))

    # Where the promise can be seen above rounding, and is not kept at the shortest steps, the gradient is not the
    # slope.
    is_asked = (promised > 64 * rounding) & (steps * length <= _TINY)
    is_kink = jnp.any(is_asked) & ~jnp.any(is_asked & keeps_promise)

    code = jnp.where(is_falling, int(Reason.STILL_DESCENDING), jnp.where(is_kink, int(Reason.NOT_SMOOTH), 0))
    return Look(value, gradient, code.astype(jnp.int8))


def _falls_far_out(functions: Flat, x: jax.Array, unit: jax.Array, height: jax.Array, outward: jax.Array) -> jax.Array:
    """Returns whether the value falls from one end as far as anybody may look, and never rises on the way."""
    eps, value, size = jnp.finfo(x.dtype).eps, functions.value(x), jnp.max(jnp.abs(outward) / unit)
    far = 10.0 ** jnp.arange(_FAR, dtype=x.dtype) / jnp.where(size > 0, size, 1)
    values = jax.lax.map(lambda t: functions.value(x + t * outward), far)
    onward = jnp.concatenate([value[None], values])
    falls = values[0] < value - jnp.maximum(16 * eps * jnp.abs(value), eps**0.875 * height)
    return falls & jnp.all(onward[1:] <= onward[:-1]) & jnp.all(jnp.isfinite(onward))
