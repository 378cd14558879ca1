"""Lanes-last rules for slices, gathers and scatters at computed places.

If the place is the same for all lanes, the lane axis is taken whole. If it differs, a
gather or scatter pairs the lane axis of the array with that of the places (`operand_batching_dims`), so
nothing is moved.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgd.lanes_last.interpreter import Context, Lanes, Rule, Value, bind_lanes, is_mapped, to_lanes


def dynamic_slice(context: Context, eqn: Any, operands: list[Value]) -> list[Value]:
    """A block cut out at a place."""
    array, *starts = operands
    sizes = eqn.params["slice_sizes"]
    if not any(is_mapped(starts)):
        lanes = [array, *starts, _zero_like(starts)]
        return bind_lanes(eqn, lanes, slice_sizes=(*sizes, context.num_lanes))
    axes = tuple(range(len(sizes)))
    pairs: dict[str, Any] = {}
    if isinstance(array, Lanes):
        pairs = {"operand_batching_dims": (len(sizes),), "start_indices_batching_dims": (0,)}
        array, sizes = array.array, (*sizes, 1)
    numbers = lax.GatherDimensionNumbers(offset_dims=axes, collapsed_slice_dims=(), start_index_map=axes, **pairs)
    return [Lanes(lax.gather(array, _places(context, starts), numbers, sizes, mode=_CLIP))]


def dynamic_update_slice(context: Context, eqn: Any, operands: list[Value]) -> list[Value]:
    """A block written at a place."""
    array, update, *starts = operands
    array, update = to_lanes(context, array), to_lanes(context, update)
    if not any(is_mapped(starts)):
        return bind_lanes(eqn, [array, update, *starts, _zero_like(starts)])
    axes = tuple(range(array.ndim))
    numbers = lax.ScatterDimensionNumbers(
        update_window_dims=axes,
        inserted_window_dims=(),
        scatter_dims_to_operand_dims=axes,
        operand_batching_dims=(array.ndim,),
        scatter_indices_batching_dims=(0,),
    )
    options: dict[str, Any] = {"mode": _CLIP, "indices_are_sorted": True, "unique_indices": True}
    return [Lanes(lax.scatter(array.array, _places(context, starts), update.array, numbers, **options))]


_CLIP = lax.GatherScatterMode.CLIP  # a block that would exceed the array is moved inside, as jax does


def _places(context: Context, starts: list[Value]) -> Any:
    """Returns (lanes, axes), the place of each lane's block."""
    return jnp.stack([to_lanes(context, start).array for start in starts], axis=-1)


def _zero_like(starts: list[Any]) -> Any:
    """Returns the start along lanes, of the type of the other starts."""
    return lax.full_like(starts[0], 0, shape=()) if starts else np.int32(0)


def gather(context: Context, eqn: Any, operands: list[Value]) -> list[Value]:
    """Blocks cut out at many places; `indices` has the place along its last axis."""
    array, indices = operands
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    rank_out = eqn.outvars[0].aval.ndim
    if not isinstance(indices, Lanes):
        changed = lax.GatherDimensionNumbers(**_fields(numbers, offset_dims=(*numbers.offset_dims, rank_out)))
        return bind_lanes(eqn, operands, dimension_numbers=changed, slice_sizes=(*sizes, context.num_lanes))
    places = _lanes_before_place(indices)
    loose = {"indices_are_sorted": False, "unique_indices": False}
    if not isinstance(array, Lanes):
        return bind_lanes(eqn, [array, places], **loose)
    paired = _pair_lanes(numbers, array.ndim, places.ndim - 2, "start_indices_batching_dims")
    changed = lax.GatherDimensionNumbers(**paired)
    return bind_lanes(eqn, [array, places], dimension_numbers=changed, slice_sizes=(*sizes, 1), **loose)


def scatter(context: Context, eqn: Any, operands: list[Value]) -> list[Value]:
    """Blocks written or combined at many places; `indices` has the place along its last axis."""
    array, indices, updates = operands
    numbers = eqn.params["dimension_numbers"]
    array, updates = to_lanes(context, array), to_lanes(context, updates)
    if not isinstance(indices, Lanes):
        window = (*numbers.update_window_dims, updates.ndim)
        changed = lax.ScatterDimensionNumbers(**_fields(numbers, update_window_dims=window))
        return bind_lanes(eqn, [array, indices, updates], dimension_numbers=changed)
    places = _lanes_before_place(indices)
    paired = _pair_lanes(numbers, array.ndim, places.ndim - 2, "scatter_indices_batching_dims")
    changed = lax.ScatterDimensionNumbers(**paired)
    return bind_lanes(eqn, [array, places, updates], dimension_numbers=changed, indices_are_sorted=False)


def _lanes_before_place(indices: Lanes) -> Any:
    """Returns the array of places with lanes on the second-last axis: coordinates must come last."""
    return jnp.swapaxes(indices.array, -1, -2)


def _pair_lanes(numbers: Any, array_axis: int, indices_axis: int, indices_name: str) -> dict[str, Any]:
    """Returns dimension numbers that pair the lanes of the array with the lanes of the places."""
    return _fields(
        numbers,
        operand_batching_dims=(*numbers.operand_batching_dims, array_axis),
        **{indices_name: (*getattr(numbers, indices_name), indices_axis)},
    )


def _fields(numbers: Any, **changes: Any) -> dict[str, Any]:
    return {**numbers._asdict(), **changes}


_SCATTERS = [
    "scatter",
    "scatter-add",
    "scatter-mul",
    "scatter-min",
    "scatter-max",
    "scatter_sub",
    "scatter-sub",
]

INDEXING_RULES: dict[str, Rule] = {
    "dynamic_slice": dynamic_slice,
    "dynamic_update_slice": dynamic_update_slice,
    "gather": gather,
    **dict.fromkeys(_SCATTERS, scatter),
}
