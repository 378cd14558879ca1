"""The stop rule "auto": a gradient norm that is small for this landscape, read from the first starts of a run.

A gradient norm has a unit, that of value over length, so no number is small in itself: 1e-6 is tiny for a sum over a
million samples, and larger than any gradient of an energy in joules. The rule "auto" therefore uses a fraction of the
gradients at the starts,

    limit = share * (lower quartile of the gradient norms at the first 64 starts that are finite and not zero),

rounded down to a power of two, so that the last digits of a start do not matter. It uses the lower quartile because
starts often lie where a function explodes (overlapping atoms) and rarely where it is nearly flat: too small a limit
costs steps, too large a limit calls everything converged. The share is close to the square root of the rounding unit:
from there Newton steps finish the work, and rounding does not interfere yet. Multiplying the value by a power of two
multiplies the limit by exactly that power. If no gradient is informative (all are zero or not finite), only a zero
gradient counts as converged.
"""

import math

import jax.numpy as jnp
import numpy as np

from jaxgd.base import Key, Params
from jaxgd.lanes.loop import CompiledLoop, DeviceShare, Loop, int32, take_ends

NUM_STARTS = 64
"""Number of starts that are evaluated."""

QUANTILE = 0.25
"""The quantile of their gradient norms that serves as the scale."""

SHARES = {8: 1e-8, 4: 1e-4, 2: 3e-2}
"""The gradient norm at which a descent has converged, relative to the scale; by bytes of the value's type."""


def scale_of(norms: np.ndarray) -> float:
    """Returns the lower quartile of the finite, nonzero gradient norms; zero if there are none."""
    told = np.sort(norms[np.isfinite(norms) & (norms > 0)])
    return float(told[int(QUANTILE * (len(told) - 1))]) if len(told) else 0.0


def relative_limit(norms: np.ndarray) -> float:
    """Returns the gradient norm that "auto" stands for.

    Args:
      norms: (n,) gradient norms at the first starts, in the value's type.

    Example:
      >>> relative_limit(np.asarray([0.0, 8.0, 9.0, 1e30, np.inf])) == 2.0**-24  # 2**-24 <= 8e-8 < 2**-23
      True
      >>> relative_limit(2.0**-70 * np.asarray([8.0, 9.0])) == 2.0**-94
      True
    """
    limit = max(SHARES[norms.dtype.itemsize] * scale_of(norms), float(jnp.finfo(norms.dtype).tiny))
    return math.ldexp(0.5, math.frexp(limit)[1])


def limit_of(loop: Loop, program: CompiledLoop, key: Key, starts: Params | None) -> np.ndarray:
    """Returns the gradient norm at which lanes have converged, in the value's type; -1 for never.

    It is the same for every block of a run, since "auto" always evaluates the run's first starts.
    """
    asked = loop.descent.stop.gradient_norm
    if asked == "auto":
        asked = relative_limit(norms_at_starts(loop, program, key, starts))
    return np.asarray(-1.0 if asked is None else asked, _value_dtype(loop, key, starts))


def norms_at_starts(loop: Loop, program: CompiledLoop, key: Key, starts: Params | None) -> np.ndarray:
    """Returns (n,) gradient norms at the first starts of a run, whichever block is computed here."""
    dtype = _value_dtype(loop, key, starts)
    numbers = loop.descent.first_numbers(starts, NUM_STARTS)
    own, count = DeviceShare.of(numbers.start, 1, numbers.stop), int32(len(numbers))
    chunk, norms = program.begin(), np.zeros(0, dtype)
    while len(norms) < len(numbers):
        chunk, buffer = take_ends(program.advance(chunk, key, starts, own, count, np.asarray(np.inf, dtype)))
        norms = np.append(norms, buffer.scalars[:, 1])
    return norms


def _value_dtype(loop: Loop, key: Key, starts: Params | None) -> np.dtype:
    return loop.descent.limit_type(loop.descent.one_start(key, starts)).dtype
