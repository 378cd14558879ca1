"""Lanes-last rules for reductions and products, the sums over a lane's own axes.

The compiler's own reduction computes one output element at a time, with strides of a whole lane axis in its inner loop.
A sum of slices is elementwise instead: it runs along lanes and fuses with the computation of the summands. Few summands
are added in one expression. Many are added in rounds of `NUM_SLICES` slices, each a pass over consecutive memory; a
barrier between rounds prevents their fusion into one expression that rereads everything. Measured with jax 0.12 on CPU,
64 lanes: two to five times the rate of the compiler's reduction, ten times for a product of lanes.

Products: a constant times lanes is a matrix product with lanes as columns; lanes times lanes is a
multiplication and a sum, or rank-one updates in a loop, or a batch of matrix products where the matrices of
one lane are large.

Values are computed in that way, derivatives are those of the primitive itself (`_with_derivative_of`).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgd.lanes_last.interpreter import Context, Lanes, Rule, Value, bind, bind_lanes, map_by_vmap

FEW_SUMMANDS = 16
"""Up to this many summands are added in one expression."""
CHEAP_SUMMANDS = 4
"""Up to this many summands, repeating the additions for each use of the sum is harmless."""
NUM_SLICES = 8
"""Slices that are added in one round if there are more summands."""
LARGE_RESULT = 1 << 19
"""Size of a product of lanes (all lanes, bytes) that no longer fits in a core's cache while it is summed."""

IS_REDUCTION_VECTORISED = jax.__version_info__ < (0, 12)
"""Whether the compiler's own reductions run along lanes; that of jax 0.9 does, and ignores barriers."""

Combine = Callable[[Any, Any], Any]


# ----------------------------------------------------------------------------------------------- reductions


def reduction(combine: Combine) -> Rule:
    """Returns the rule of a primitive that combines the elements along `axes` two by two."""

    def reduce(context: Context, eqn: Any, operands: list[Value]) -> list[Value]:
        (lanes,) = operands
        axes = tuple(eqn.params["axes"])
        array = lanes.array
        num_summands = math.prod(array.shape[axis] for axis in axes)
        if num_summands == 1:
            return [Lanes(lax.squeeze(array, axes))]
        is_long = IS_REDUCTION_VECTORISED and num_summands > FEW_SUMMANDS
        if num_summands == 0 or is_long or lanes.is_transcendental or _is_narrow(array.dtype):
            return bind_lanes(eqn, operands)
        value = lambda array: combine_axes(combine, array, axes)
        result = _with_derivative_of(lambda array: bind(eqn, [array])[0], value)(array)
        return [Lanes(result, is_sum=num_summands > CHEAP_SUMMANDS)]

    return reduce


def combine_axes(combine: Combine, array: jax.Array, axes: Sequence[int]) -> jax.Array:
    """Returns the elements of `array` combined along `axes`, which exclude the lane axis."""
    for first, last in reversed(_runs(sorted(axes))):
        shape = array.shape
        merged = lax.reshape(array, (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))
        array = _combine_axis(combine, merged, first)
    return array


def _combine_axis(combine: Combine, array: jax.Array, axis: int) -> jax.Array:
    size = array.shape[axis]
    if size <= FEW_SUMMANDS:
        slices = [lax.index_in_dim(array, number, axis, keepdims=False) for number in range(size)]
        return _combine_all(combine, slices)
    width = -(-size // NUM_SLICES)
    num_whole = size // width
    cuts = [number * width for number in range(num_whole + 1)]
    slices = [lax.slice_in_dim(array, start, start + width, axis=axis) for start in cuts[:-1]]
    total = _combine_axis(combine, lax.optimization_barrier(_combine_all(combine, slices)), axis)
    if cuts[-1] == size:
        return total
    return combine(total, _combine_axis(combine, lax.slice_in_dim(array, cuts[-1], size, axis=axis), axis))


def _combine_all(combine: Combine, arrays: Sequence[jax.Array]) -> jax.Array:
    total = arrays[0]
    for array in arrays[1:]:
        total = combine(total, array)
    return total


def _runs(axes: Sequence[int]) -> list[tuple[int, int]]:
    """Returns the first and last of each run of consecutive numbers."""
    runs: list[tuple[int, int]] = []
    for axis in axes:
        if runs and runs[-1][1] == axis - 1:
            runs[-1] = (runs[-1][0], axis)
        else:
            runs.append((axis, axis))
    return runs


def _is_narrow(dtype: Any) -> bool:
    """Returns whether sums of this type may be carried in a wider one by the compiler."""
    return jnp.issubdtype(dtype, jnp.inexact) and jnp.dtype(dtype).itemsize < 4


def _with_derivative_of(plain: Callable[..., Any], fast: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `fast` with the derivative of `plain`, a function with the same values."""

    def run(*arrays: Any) -> Any:
        if not any(jnp.issubdtype(array.dtype, jnp.inexact) for array in arrays):
            return fast(*arrays)
        call = jax.custom_jvp(fast)
        call.defjvp(lambda primals, tangents: (call(*primals), jax.jvp(plain, primals, tangents)[1]))
        return call(*arrays)

    return run


# ------------------------------------------------------------------------------------------------- products


def dot_general(context: Context, eqn: Any, operands: list[Value]) -> Any:
    """Sums of products over contracted axes; the result has batch axes, then those of left, then of right."""
    left, right = operands
    dtype = eqn.outvars[0].aval.dtype
    if _is_narrow(dtype) or dtype == np.bool_:
        return map_by_vmap(context, eqn, operands)
    if isinstance(left, Lanes) and isinstance(right, Lanes):
        return _lanes_by_lanes(context, eqn, left.array, right.array)
    return _constant_by_lanes(eqn, left, right)


def _constant_by_lanes(eqn: Any, left: Value, right: Value) -> list[Value]:
    """A matrix product with lanes as columns."""
    (left_sum, right_sum), (left_batch, right_batch) = eqn.params["dimension_numbers"]
    if isinstance(right, Lanes):
        return bind_lanes(eqn, [left, right])
    swapped = ((right_sum, left_sum), (right_batch, left_batch))
    (product,) = bind(eqn, [right, left.array], dimension_numbers=swapped)
    num_batch = len(left_batch)
    num_left = left.ndim - num_batch - len(left_sum)
    num_right = product.ndim - 1 - num_batch - num_left
    batch, rights, lefts = _blocks(num_batch, num_right, num_left)
    if not lefts or not rights:
        return [Lanes(product)]
    return [Lanes(lax.transpose(product, (*batch, *lefts, *rights, product.ndim - 1)))]


def _lanes_by_lanes(context: Context, eqn: Any, left: jax.Array, right: jax.Array) -> Any:
    """A product within each lane, by the method that suits its size."""
    out = eqn.outvars[0].aval
    shape = _ProductShape(eqn, left, right)
    if shape.is_large(out.dtype):
        return map_by_vmap(context, eqn, [Lanes(left), Lanes(right)])

    def value(left: jax.Array, right: jax.Array) -> jax.Array:
        left, right = shape.in_standard_order(left, right, out.dtype)
        left = lax.optimization_barrier(left) if shape.num_right > 1 else left
        right = lax.optimization_barrier(right) if shape.num_left > 1 else right
        is_vector = shape.num_left == 1 or shape.num_right == 1
        product = _by_summing if is_vector or shape.num_sum <= FEW_SUMMANDS else _by_updating
        return lax.reshape(product(left, right), (*out.shape, context.num_lanes))

    plain = jax.vmap(lambda *one_lane: bind(eqn, one_lane)[0], -1, -1)
    is_sum = shape.num_sum > CHEAP_SUMMANDS and not IS_REDUCTION_VECTORISED
    return [Lanes(_with_derivative_of(plain, value)(left, right), is_sum=is_sum)]


class _ProductShape:
    """Axes of a product, put in the order (batch, left, sum, lane) and (batch, sum, right, lane)."""

    def __init__(self, eqn: Any, left: jax.Array, right: jax.Array) -> None:
        (left_sum, right_sum), (left_batch, right_batch) = eqn.params["dimension_numbers"]
        left_free = [axis for axis in range(left.ndim - 1) if axis not in (*left_batch, *left_sum)]
        right_free = [axis for axis in range(right.ndim - 1) if axis not in (*right_batch, *right_sum)]
        size = lambda axes, array: math.prod(array.shape[axis] for axis in axes)
        self.num_batch, self.num_sum = size(left_batch, left), size(left_sum, left)
        self.num_left, self.num_right = size(left_free, left), size(right_free, right)
        self.left_order = (*left_batch, *left_free, *left_sum, left.ndim - 1)
        self.right_order = (*right_batch, *right_sum, *right_free, right.ndim - 1)
        self.num_lanes = left.shape[-1]

    def is_large(self, dtype: Any) -> bool:
        """Returns whether a batch of matrix products is worth moving the lanes to the front."""
        size = self.num_batch * self.num_left * self.num_right * self.num_lanes
        is_matrix = min(self.num_left, self.num_right, self.num_sum) > FEW_SUMMANDS
        return is_matrix and size * jnp.dtype(dtype).itemsize >= LARGE_RESULT

    def in_standard_order(self, left: jax.Array, right: jax.Array, dtype: Any) -> tuple[jax.Array, jax.Array]:
        """Returns both factors with four axes, each a product of the original ones."""
        left = lax.transpose(lax.convert_element_type(left, dtype), self.left_order)
        right = lax.transpose(lax.convert_element_type(right, dtype), self.right_order)
        return (
            lax.reshape(left, (self.num_batch, self.num_left, self.num_sum, self.num_lanes)),
            lax.reshape(right, (self.num_batch, self.num_sum, self.num_right, self.num_lanes)),
        )


def _by_summing(left: jax.Array, right: jax.Array) -> jax.Array:
    """Multiplies everything, then sums; the compiler fuses both."""
    batch, num_left, num_sum, lanes = left.shape
    num_right = right.shape[2]
    shape = (batch, num_left, num_sum, num_right, lanes)
    products = lax.mul(
        lax.broadcast_in_dim(left, shape, (0, 1, 2, 4)), lax.broadcast_in_dim(right, shape, (0, 2, 3, 4))
    )
    if IS_REDUCTION_VECTORISED or num_sum == 0:
        return lax.reduce_sum(products, axes=(2,))
    return combine_axes(lax.add, products, (2,))


def _by_updating(left: jax.Array, right: jax.Array) -> jax.Array:
    """Adds outer products one by one to a result that stays in cache."""
    batch, num_left, num_sum, lanes = left.shape
    num_right = right.shape[2]
    shape = (batch, num_left, num_right, lanes)

    def add_outer_product(number: Any, total: jax.Array) -> jax.Array:
        column = lax.dynamic_index_in_dim(left, number, 2, keepdims=False)
        row = lax.dynamic_index_in_dim(right, number, 1, keepdims=False)
        spread = lax.broadcast_in_dim(column, shape, (0, 1, 3)), lax.broadcast_in_dim(row, shape, (0, 2, 3))
        return total + spread[0] * spread[1]

    start = jnp.zeros_like(left, shape=shape)
    return lax.fori_loop(np.int32(0), np.int32(num_sum), add_outer_product, start)


def _blocks(*counts: int) -> list[list[int]]:
    """Returns consecutive axis numbers, cut into blocks of the given lengths."""
    blocks, start = [], 0
    for count in counts:
        blocks.append(list(range(start, start + count)))
        start += count
    return blocks


SUM_RULES: dict[str, Rule] = {
    "reduce_sum": reduction(lax.add),
    "reduce_prod": reduction(lax.mul),
    "reduce_max": reduction(lax.max),
    "reduce_min": reduction(lax.min),
    "reduce_and": reduction(lax.bitwise_and),
    "reduce_or": reduction(lax.bitwise_or),
    "reduce_xor": reduction(lax.bitwise_xor),
    "dot_general": dot_general,
}
