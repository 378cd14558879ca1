"""The data as arrays of examples, from arrays, a list, an iterator or a loader, within a stated memory.

The loss of all data is taken for the mean over examples. Where they do not fit at once they are gone through in parts
of equal size, with what is left over as a smaller one, each weighed by its examples.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import InputTypeError, InputValueError

MAX_EXAMPLES = 4096
"""Examples that are looked at; more cost time and tell little more."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """Examples along the first axis of every leaf.

    Attributes:
      arrays: pytree of (num_examples, ...) arrays; None where the loss needs none.
      num_examples: 0 without data.
      batch_size: examples in one training step; None where a step sees all.
      notes: what is to be said about it.
    """

    arrays: Any
    num_examples: int
    batch_size: int | None
    notes: tuple[str, ...] = ()


def read_data(data: Any, batch_size: int | None, max_examples: int = MAX_EXAMPLES) -> Data:
    """Returns the first examples of the data, `max_examples` at most.

    Args:
      data: a pytree of arrays with one axis of examples in common; or an iterable of such pytrees, one a batch; or
        None for a loss that needs no data.
      batch_size: of a training step. None means all data for arrays, and the batch's size for iterables.
      max_examples: at most (>= 1); of an iterable whole batches are read until there are so many.

    Raises:
      InputValueError: there are no examples, the leaves differ in their number, or `batch_size` is not possible.

    Example:
      >>> batches = ((np.ones((8, 3)), np.zeros(8)) for _ in range(5))
      >>> read = read_data(batches, None)
      >>> read.num_examples, read.batch_size, read.arrays[0].shape
      (40, 8, (40, 3))
    """
    if data is None:
        return Data(arrays=None, num_examples=0, batch_size=None)
    notes: list[str] = []
    if _is_stream(data):
        data, found, notes = _gathered(data, max_examples)
        batch_size = found if batch_size is None else batch_size
    else:
        data = jax.tree.map(_array, data)
    num = _num_examples(data)
    if num > max_examples:
        rows = np.sort(np.random.default_rng(0).choice(num, max_examples, replace=False))
        data = jax.tree.map(lambda leaf: leaf[rows], data)
        notes.append(f"{max_examples:,} of {num:,} examples were looked at, chosen at random")
        batch_size = None if batch_size == num else batch_size
        num = max_examples
    if batch_size is not None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise InputValueError(f"`batch_size` must be an integer of at least 1, got {batch_size!r}.")
        if batch_size > num:
            notes.append(f"there are only {num:,} examples, fewer than one batch of {batch_size:,}: all are taken")
        batch_size = None if batch_size >= num else int(batch_size)
    return Data(arrays=jax.tree.map(jnp.asarray, data), num_examples=num, batch_size=batch_size, notes=tuple(notes))


def in_parts(arrays: Any, size: int) -> tuple[Any, Any]:
    """Returns the examples as (num_parts, size, ...) and what is left over, or None."""
    if arrays is None:
        return None, None
    num = jax.tree.leaves(arrays)[0].shape[0]
    whole = num // size * size
    main = jax.tree.map(lambda leaf: leaf[:whole].reshape(-1, size, *leaf.shape[1:]), arrays)
    return main, jax.tree.map(lambda leaf: leaf[whole:], arrays) if whole < num else None


def _is_stream(data: Any) -> bool:
    """Whether the data are batches one after the other, not one pytree of arrays."""
    if hasattr(data, "shape") or isinstance(data, (tuple, Mapping)):
        return False
    if isinstance(data, list):
        return not all(hasattr(leaf, "shape") for leaf in data)
    return isinstance(data, Iterable)


def _gathered(batches: Any, max_examples: int) -> tuple[Any, int, list[str]]:
    """Returns the examples of the first batches, the size of a batch, and notes."""
    found: list[Any] = []
    num, notes = 0, []
    for batch in batches:
        batch = jax.tree.map(_array, batch)
        structure: Any = jax.tree.structure(batch)
        if found and structure != jax.tree.structure(found[0]):
            raise InputValueError("the batches of `data` differ in structure: give batches of one kind.")
        found.append(batch)
        num += _num_examples(batch)
        if num >= max_examples:
            break
    if not found:
        raise InputValueError("`data` ran dry before its first batch: give a fresh iterator, or the loader itself.")
    if len(found) == 1:
        notes.append("`data` gave a single batch, so that its noise is that of examples of this batch")
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)
    return joined, _num_examples(found[0]), notes


def _array(leaf: Any) -> Any:
    if isinstance(leaf, (jax.Array, np.ndarray)):
        return np.asarray(leaf)
    if hasattr(leaf, "__array__") or isinstance(leaf, (int, float, bool, list)):
        return np.asarray(leaf)
    raise InputTypeError(f"`data` must hold arrays, got a {type(leaf).__name__}.")


def _num_examples(tree: Any) -> int:
    nums = {leaf.shape[0] if np.ndim(leaf) else None for leaf in jax.tree.leaves(tree)}
    if len(nums) != 1 or None in nums:
        raise InputValueError(
            "`data` must have one axis of examples in common, the first of every array, got lengths"
            f" {sorted(map(str, nums))}."
        )
    num = nums.pop()
    if not num:
        raise InputValueError("`data` has no examples.")
    return int(num)
