"""Replaces a layout in which a landscape cannot be traced by the other one, with a note.

Both layouts evaluate the same function, but some functions can be mapped in one only: the interpreter of lanes last
does not support mutable arrays (`jax.new_ref`), and a callback without `vmap_method` can be mapped in neither. Failures
are found by tracing two lanes, before anything is compiled.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxgd.base import InputValueError, Key, Params
from jaxgd.checks import first_line
from jaxgd.lanes.lane import Descent
from jaxgd.lanes_last.mapping import LANE_AXIS, map_lanes
from jaxgd.tracing import Signature, signature_of


def usable_layout(
    descent: Descent, key: Key, starts: Params | None, wanted: str, *, is_asked: bool = False
) -> tuple[str, tuple[str, ...]]:
    """Returns the layout to use, and a note if it is not the preferred one.

    Args:
      descent: whose start, value and gradient are traced.
      key: of the run.
      starts: explicit ones, or None.
      wanted: "lanes_first" or "lanes_last".
      is_asked: whether the caller requested this layout; then it is not replaced.

    Raises:
      InputValueError: no layout can be traced, or not the requested one.
    """
    signature = signature_of(key, starts)
    error = _why_not(descent, signature, wanted)
    if error is None:
        return wanted, ()
    (other,) = (layout for layout in LANE_AXIS if layout != wanted)
    name, other_error = descent.landscape.name, _why_not(descent, signature, other)
    if other_error is not None:
        reason = first_line(other_error if other == "lanes_first" else error)
        raise InputValueError(
            f"value or gradient of landscape `{name}` cannot be mapped over lanes, as jax.vmap would: {reason}"
            + (' Give the callback `vmap_method="sequential"`.' if "vmap_method" in reason else "")
        )
    reason = f"{type(error).__name__}: {first_line(error)}"
    if is_asked:
        raise InputValueError(f"landscape `{name}` cannot be traced with {wanted}, only with {other} ({reason})")
    return other, (f"landscape `{name}` cannot be traced with {wanted}, so it runs with {other} ({reason})",)


@functools.lru_cache(maxsize=16)
def _why_not(descent: Descent, signature: Signature, layout: str) -> Exception | None:
    """Returns the exception raised when start, value and gradient of two lanes are traced, or None."""
    key, starts = signature.abstract
    numbers = jax.ShapeDtypeStruct((2,), jnp.int32)

    def two_lanes(numbers: Any, key: Any, starts: Any) -> Any:
        params = map_lanes(descent.start, layout, (-1, -1, None, None))(numbers, numbers, key, starts)
        if descent.is_noisy:
            return map_lanes(descent.landscape.evaluate_noisy, layout, (-1, None))(params, key)
        return map_lanes(descent.landscape.evaluate, layout)(params)

    try:
        jax.eval_shape(two_lanes, numbers, key, starts)
    except Exception as error:
        return error.with_traceback(None)
    return None
