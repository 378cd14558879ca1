"""Lanes-last rules for arithmetic, shapes, and other primitives that treat axes separately.

Almost every primitive numbers its axes from the left, so a trailing lane axis changes nothing (`keep`) or needs one
more entry in a parameter. Unmapped operands are broadcast only where a primitive asks for equal shapes; a scalar stays
a scalar.
"""

from typing import Any

import numpy as np

from jaxgd.lanes_last.interpreter import (
    Context,
    Lanes,
    Rule,
    Value,
    bind,
    bind_lanes,
    is_mapped,
    map_by_vmap,
    to_lanes,
)


def elementwise(context: Context, eqn: Any, operands: list[Value]) -> list[Value]:
    """One operation per element; the primitive takes operands of equal shape, and scalars."""
    shape = eqn.outvars[0].aval.shape
    return bind_lanes(eqn, [_beside(context, value, shape) for value in operands])


def aligned(context: Context, eqn: Any, operands: list[Value]) -> list[Value]:
    """One operation per element; the primitive takes only operands of equal shape."""
    shape = eqn.outvars[0].aval.shape
    return bind_lanes(eqn, [to_lanes(context, value, shape) for value in operands])


def _beside(context: Context, value: Value, shape: tuple[int, ...]) -> Value:
    """Returns an operand that fits beside others of a lane's `shape`: unmapped scalars stay as they are."""
    if isinstance(value, Lanes):
        return value if value.ndim == len(shape) else to_lanes(context, value, shape)
    return value if np.ndim(value) == 0 else to_lanes(context, value, shape)


def select(context: Context, eqn: Any, operands: list[Value]) -> list[Value]:
    """`select_n(which, *cases)`: `which` has the shape of the cases or none."""
    shape = eqn.outvars[0].aval.shape
    which, *cases = operands
    return bind_lanes(eqn, [_beside(context, which, shape), *(to_lanes(context, case, shape) for case in cases)])


def clamp(context: Context, eqn: Any, operands: list[Value]) -> list[Value]:
    """`clamp(low, x, high)`: bounds have the shape of x or none."""
    shape = eqn.outvars[0].aval.shape
    low, x, high = operands
    x = to_lanes(context, x, shape)
    return bind_lanes(eqn, [_beside(context, low, shape), x, _beside(context, high, shape)])


def keep(context: Context, eqn: Any, operands: list[Value]) -> list[Value]:
    """Axes are numbered from the left and do not include the lane axis: nothing changes."""
    return bind_lanes(eqn, [to_lanes(context, value) for value in operands])


def bitcast(context: Context, eqn: Any, operands: list[Value]) -> Any:
    """Between types of equal width an elementwise operation; else the last axis is split or joined."""
    is_same_width = eqn.invars[0].aval.ndim == eqn.outvars[0].aval.ndim
    return keep(context, eqn, operands) if is_same_width else NotImplemented


def barrier(context: Context, eqn: Any, operands: list[Value]) -> list[Value]:
    """Passes its operands through, mapped or not."""
    outs = bind(eqn, [value.array if isinstance(value, Lanes) else value for value in operands])
    return [Lanes(out) if mapped else out for out, mapped in zip(outs, is_mapped(operands), strict=True)]


# --------------------------------------------------------------------------------------------------- shapes


def broadcast_in_dim(context: Context, eqn: Any, operands: list[Value]) -> list[Value]:
    """The lane axis goes to the end of the new shape."""
    shape, axes = eqn.params["shape"], eqn.params["broadcast_dimensions"]
    return bind_lanes(eqn, operands, shape=(*shape, context.num_lanes), broadcast_dimensions=(*axes, len(shape)))


def reshape(context: Context, eqn: Any, operands: list[Value]) -> Any:
    """Elements keep their order within a lane, so lanes can stay last."""
    if eqn.params["dimensions"] is not None:
        return NotImplemented
    return bind_lanes(eqn, operands, new_sizes=(*eqn.params["new_sizes"], context.num_lanes))


def transpose(context: Context, eqn: Any, operands: list[Value]) -> list[Value]:
    """The lane axis stays last."""
    permutation = eqn.params["permutation"]
    return bind_lanes(eqn, operands, permutation=(*permutation, len(permutation)))


def slice_(context: Context, eqn: Any, operands: list[Value]) -> list[Value]:
    """All lanes are kept."""
    starts, limits, strides = (eqn.params[k] for k in ("start_indices", "limit_indices", "strides"))
    return bind_lanes(
        eqn,
        operands,
        start_indices=(*starts, 0),
        limit_indices=(*limits, context.num_lanes),
        strides=None if strides is None else (*strides, 1),
    )


def pad(context: Context, eqn: Any, operands: list[Value]) -> Any:
    """No padding along lanes; padding with a value that differs between lanes is left to `vmap`."""
    array, padding = operands
    if isinstance(padding, Lanes):
        return NotImplemented
    return bind_lanes(eqn, [array, padding], padding_config=(*eqn.params["padding_config"], (0, 0, 0)))


def tile(context: Context, eqn: Any, operands: list[Value]) -> list[Value]:
    """Lanes are not repeated."""
    return bind_lanes(eqn, operands, reps=(*eqn.params["reps"], 1))


# ---------------------------------------------------------------------------------------------------- table

_ELEMENTWISE = """
    abs acos acosh add and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clz complex conj
    copy convert_element_type cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt igamma
    igamma_grad_a igammac imag integer_pow is_finite le lgamma log log1p log2 logistic lt max min mul
    mulhi name ne neg nextafter not one_minus_square or polygamma population_count pow pvary real
    reduce_precision regularized_incomplete_beta rem round rsqrt shift_left shift_right_arithmetic
    shift_right_logical sign sin sinh sqrt square stop_gradient sub tan tanh xor zeta
"""
_KEEP = """
    argmax argmin cumlogsumexp cummax cummin cumprod cumsum rev sort split squeeze stack top_k unstack
"""
# A key has its words along the last axis, and appends the axes of its random numbers.
_VMAP_IS_BEST = """
    random_bits random_clone random_fold_in random_gamma random_seed random_split random_unwrap
    random_wrap
"""
_STREAMING = """
    add_any broadcast_in_dim clamp reduce_max reduce_min reduce_prod reduce_sum reshape select_n squeeze
    transpose
"""

ARRAY_RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE.split(), elementwise),
    **dict.fromkeys(["add_any", "eq_to", "le_to", "lt_to", "threefry2x32"], aligned),
    **dict.fromkeys(_KEEP.split(), keep),
    **dict.fromkeys(_VMAP_IS_BEST.split(), map_by_vmap),
    "select_n": select,
    "clamp": clamp,
    "bitcast_convert_type": bitcast,
    "optimization_barrier": barrier,
    "broadcast_in_dim": broadcast_in_dim,
    "reshape": reshape,
    "transpose": transpose,
    "slice": slice_,
    "pad": pad,
    "tile": tile,
    "concatenate": keep,
}

STREAMING = frozenset((_STREAMING + _ELEMENTWISE).split())
"""Primitives that use each element of an operand once, if their result has its size."""
