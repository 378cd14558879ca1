"""One-lane functions evaluated for many lanes at once, with the lane axis first or last in memory.

`jax.vmap` puts the lane axis first. For a function of small inner arrays (13 x 13 x 3), a CPU compiler then emits loops
over those, and most of each vector register is idle. `lanes_last` evaluates the same traced program with the lane axis
**last** in every input, intermediate and output, so that the compiler vectorises across lanes; results agree with
`vmap`. Neither layout is best for every function, so `map_lanes` offers both through one interface.

The work is done by an interpreter (`interpreter`) that walks the program of one lane, equation by
equation, with one rule per primitive: `elementwise`, `reductions`, `indexing` and `control_flow` hold the rules, and
`RULES` is their table. A primitive without a rule is mapped by `vmap`, and counted (`fallback_counts`).
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxgd.base import InputTypeError, InputValueError
from jaxgd.lanes_last.control_flow import CALLS, CONTROL_RULES
from jaxgd.lanes_last.elementwise import ARRAY_RULES, STREAMING
from jaxgd.lanes_last.indexing import INDEXING_RULES
from jaxgd.lanes_last.interpreter import Context, Lanes, Rule, apply
from jaxgd.lanes_last.reductions import SUM_RULES

LANE_AXIS: dict[str, int] = {"lanes_first": 0, "lanes_last": -1}
"""Where each layout has the lane axis, in every array."""

RULES: dict[str, Rule] = {**ARRAY_RULES, **SUM_RULES, **INDEXING_RULES, **CONTROL_RULES}
"""Name of a primitive -> how it is evaluated with the lane axis last."""

InAxes = int | tuple[int | None, ...]


def lanes_last(fn: Callable[..., Any], in_axes: InAxes = -1) -> Callable[..., Any]:
    """Returns `fn` of one lane as a function of many, like `jax.vmap`, with lanes last in every array.

    Values that depend only on unmapped values are computed once: a uniform index stays a slice, and a loop or branch
    with an unmapped condition stays a loop or branch. Floating-point results agree with `vmap` up to the order of
    summation, integers and random bits exactly. Derivatives of the result are those of `vmap`, including custom rules.

    Args:
      fn: function of positional pytrees of arrays, written for one lane.
      in_axes: -1 where every leaf of every argument carries a trailing lane axis; or a tuple with one entry
        per argument, -1 (mapped) or None (the same for all lanes).

    Returns:
      A function of the same arguments, whose every output leaf carries a trailing lane axis.

    Raises:
      InputTypeError: `fn` cannot be called, or `in_axes` is of the wrong kind.
      InputValueError: `in_axes` maps nothing or along another axis; or, when called, arguments do not fit it.

    Example:
      >>> import jax.numpy as jnp
      >>> points = jnp.arange(6.0).reshape(2, 3)  # three lanes of two coordinates
      >>> lanes_last(lambda point: jnp.sum(point**2))(points).tolist()
      [9.0, 17.0, 29.0]
    """
    _check_function(fn, in_axes, mapped=(-1,))

    @functools.wraps(fn, updated=())
    def mapped_fn(*args: Any) -> Any:
        return _evaluate(fn, in_axes, args)[0]

    return mapped_fn


def map_lanes(fn: Callable[..., Any], layout: str, in_axes: InAxes = -1) -> Callable[..., Any]:
    """Returns `fn` of one lane as a function of many, which lie along `LANE_AXIS[layout]` of every array.

    Args:
      fn: function of positional pytrees of arrays, written for one lane.
      layout: "lanes_first" for `jax.vmap` along the first axis, "lanes_last" for `lanes_last`.
      in_axes: as in `lanes_last`, whatever the layout: -1 says that an argument is mapped, None that it is
        not.

    Returns:
      A function of the same arguments, whose every output leaf carries a lane axis.

    Raises:
      InputTypeError: `fn` cannot be called, or `in_axes` is of the wrong kind.
      InputValueError: `layout` is unknown, or `in_axes` maps nothing.

    Example:
      >>> import jax.numpy as jnp
      >>> scale = map_lanes(lambda x, factor: factor * x, "lanes_first", in_axes=(-1, None))
      >>> scale(jnp.ones((3, 2)), 2.0).shape
      (3, 2)
    """
    if layout not in LANE_AXIS:
        raise InputValueError(f"`layout` must be one of {', '.join(LANE_AXIS)}, got {layout!r}.")
    if layout == "lanes_last":
        return lanes_last(fn, in_axes)
    _check_function(fn, in_axes, mapped=(-1,))
    axes = tuple(None if axis is None else 0 for axis in in_axes) if isinstance(in_axes, tuple) else 0
    return jax.vmap(fn, in_axes=axes)


def fallback_counts(fn: Callable[..., Any], *args: Any, in_axes: InAxes = -1) -> dict[str, int]:
    """Returns how often `lanes_last(fn)` falls back to `vmap` for lack of a rule, by name of the primitive.

    Nothing is computed. The body of a loop or branch counts once, however often it runs.

    Args:
      fn: function of positional pytrees of arrays, written for one lane.
      *args: its arguments for one lane, arrays or `jax.ShapeDtypeStruct`.
      in_axes: as in `lanes_last`.

    Returns:
      Name of a primitive -> number of equations that fell back; empty where every primitive had a rule.

    Example:
      >>> import jax.numpy as jnp
      >>> fallback_counts(lambda x: jnp.linalg.cholesky(x) @ x, jnp.eye(3))
      {'cholesky': 1}
    """
    _check_function(fn, in_axes, mapped=(-1,))
    add_lanes = lambda leaf: jnp.broadcast_to(jnp.asarray(leaf)[..., None], (*jnp.shape(leaf), 2))
    counts: dict[str, int] = {}

    def count(*one_lane: Any) -> Any:
        mapped = _axes_of(in_axes, len(one_lane))
        lanes = [
            arg if axis is None else jax.tree.map(add_lanes, arg) for arg, axis in zip(one_lane, mapped, strict=True)
        ]
        outs, context = _evaluate(fn, in_axes, tuple(lanes))
        counts.update(context.fallbacks)
        return outs

    jax.eval_shape(count, *args)
    return counts


def _evaluate(fn: Callable[..., Any], in_axes: InAxes, args: tuple[Any, ...]) -> tuple[Any, Context]:
    marked, num_lanes = _mark(args, _axes_of(in_axes, len(args)))
    context = Context(num_lanes=num_lanes, rules=RULES, streaming=STREAMING, calls=CALLS)
    outs = apply(context, fn, *marked)
    return jax.tree.map(lambda out: out.array, outs, is_leaf=lambda out: isinstance(out, Lanes)), context


def _mark(args: tuple[Any, ...], axes: tuple[int | None, ...]) -> tuple[tuple[Any, ...], int]:
    """Returns the arguments with mapped leaves marked as `Lanes`, and the number of lanes."""
    sizes: set[int] = set()

    def mark(leaf: Any) -> Lanes:
        array = leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf)
        if array.ndim == 0:
            raise InputValueError(
                "a mapped argument of `lanes_last` must carry a trailing lane axis in every leaf, got the "
                f"scalar {leaf!r}. Give None as its entry of `in_axes` where it is the same for all lanes."
            )
        sizes.add(array.shape[-1])
        return Lanes(array)

    marked = tuple(arg if axis is None else jax.tree.map(mark, arg) for arg, axis in zip(args, axes, strict=True))
    if len(sizes) != 1:
        found = f"sizes {sorted(sizes)}" if sizes else "none"
        raise InputValueError(f"all mapped leaves must agree in the size of their last axis, got {found}.")
    return marked, sizes.pop()


def _axes_of(in_axes: InAxes, num_args: int) -> tuple[int | None, ...]:
    if not isinstance(in_axes, tuple):
        return (in_axes,) * num_args
    if len(in_axes) != num_args:
        raise InputValueError(f"`in_axes` has {len(in_axes)} entries for {num_args} positional arguments.")
    return in_axes


def _check_function(fn: Callable[..., Any], in_axes: InAxes, mapped: tuple[int, ...]) -> None:
    """Rejects arguments that cannot be mapped."""
    if not callable(fn):
        raise InputTypeError(f"`fn` must be callable, got {fn!r}.")
    entries = in_axes if isinstance(in_axes, tuple) else (in_axes,)
    for axis in entries:
        if axis is not None and (isinstance(axis, bool) or not isinstance(axis, int)):
            raise InputTypeError(f"`in_axes` must be -1 or a tuple of -1 and None, got {in_axes!r}.")
        if axis is not None and axis not in mapped:
            raise InputValueError(f"`in_axes` must be -1 where an argument is mapped, got {in_axes!r}.")
    if all(axis is None for axis in entries):
        raise InputValueError(f"`in_axes` must map at least one argument, got {in_axes!r}.")
