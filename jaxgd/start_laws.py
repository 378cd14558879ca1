"""Laws of random starts for plain functions: `box` and `normal_like`; `grid` lists explicit starts.

A law is an object that maps a key to one start. It is compared by its parameters and can be pickled, so the same law
written twice is the same question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Array, InputTypeError, InputValueError, Key, Params
from jaxgd.checks import check_count, check_params

_MAX_GRID = 2**24
"""Largest number of starts of a grid."""


@dataclass(frozen=True)
class Box:
    """Uniform starts between two corners; see `box`.

    Attributes:
      low: the lower corner, or one number for all coordinates.
      high: the upper corner, likewise.
      dim: number of coordinates; None for a single number.
    """

    low: float | tuple[float, ...]
    high: float | tuple[float, ...]
    dim: int | None

    def __call__(self, key: Key) -> jax.Array:
        """Returns one start, (dim,) or () of the default floating-point type."""
        low, high = (jnp.asarray(corner, jax.dtypes.canonicalize_dtype(float)) for corner in (self.low, self.high))
        return low + (high - low) * jax.random.uniform(key, () if self.dim is None else (self.dim,), low.dtype)


def box(low: float | Sequence[float], high: float | Sequence[float], dim: int | None = None) -> Box:
    """Returns the law of starts that are uniform in a box.

    Args:
      low: lower end, one number for all coordinates or a number for each.
      high: upper end, likewise; above `low`.
      dim: number of coordinates (>= 1); read from `low` and `high` where these are lists. Left out between two
        numbers, a start is a single number.

    Raises:
      InputValueError: `low` is not below `high`, or the lengths differ.
      InputTypeError: `low` or `high` are not numbers.

    Example:
      >>> import jax
      >>> box(-2, 2, dim=3)(jax.random.key(0)).shape, box([0, 10], [1, 20])(jax.random.key(0)).shape
      ((3,), (2,))
    """
    corners = [_numbers(name, corner) for name, corner in (("low", low), ("high", high))]
    lengths = {len(corner) for corner in corners if corner.ndim}
    if dim is not None:
        lengths.add(check_count("dim", dim))
    if len(lengths) > 1:
        raise InputValueError(
            f"`low`, `high` and `dim` must agree on the number of coordinates, got {sorted(lengths)}."
        )
    if not np.all(corners[0] < corners[1]):
        raise InputValueError(f"`low` must be below `high` in every coordinate, got {low} and {high}.")
    plain = [tuple(corner.tolist()) if corner.ndim else float(corner) for corner in corners]
    return Box(low=plain[0], high=plain[1], dim=lengths.pop() if lengths else None)


@dataclass(frozen=True, eq=False)
class NormalLike:
    """Normal starts in the shape of some params; see `normal_like`.

    Attributes:
      params: whose structure, shapes and types a start has.
      scale: standard deviation of every number.
      is_around: whether `params` is the mean; else it is zero.
    """

    params: Params
    scale: float
    is_around: bool

    def __call__(self, key: Key) -> Params:
        """Returns one start, a pytree like `params`."""
        leaves, structure = jax.tree.flatten(self.params)
        keys = jax.random.split(key, len(leaves))
        draws = [
            jnp.asarray(self.scale, leaf.dtype) * jax.random.normal(each, leaf.shape, leaf.dtype)
            + (leaf if self.is_around else jnp.zeros_like(leaf))
            for each, leaf in zip(keys, leaves, strict=True)
        ]
        return jax.tree.unflatten(structure, draws)


def normal_like(params: Params, scale: float = 1.0, *, is_around: bool = False) -> NormalLike:
    """Returns the law of normal starts in the shape of `params`.

    Args:
      params: a pytree of floating-point arrays, for example the parameters of a network.
      scale: standard deviation of every number, positive.
      is_around: draw around `params` instead of around zero.

    Raises:
      InputValueError: `scale` is not positive and finite, or `params` hold no number.
      InputTypeError: `params` are not floating-point arrays.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> law = normal_like({"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}, scale=0.1)
      >>> {name: leaf.shape for name, leaf in law(jax.random.key(0)).items()}
      {'b': (3,), 'w': (2, 3)}
    """
    check_params(params, "`params`")
    size = _numbers("scale", scale)
    if size.ndim or not size > 0:
        raise InputValueError(f"`scale` must be one positive number, got {scale}.")
    return NormalLike(params=jax.tree.map(jnp.asarray, params), scale=float(size), is_around=is_around)


def grid(low: float | Sequence[float], high: float | Sequence[float], num: int, dim: int | None = None) -> Array:
    """Returns the points of a regular grid, to be passed as `starts=`; they are not a random sample.

    Args:
      low: lower end, one number for all coordinates or a number for each.
      high: upper end, likewise; above `low`.
      num: points along each side (>= 2), the ends among them.
      dim: number of coordinates, as in `box`.

    Returns:
      (num ** dim, dim), the last coordinate running fastest; (num,) where a start is a single number.

    Raises:
      InputValueError: as in `box`, or more than 2**24 points.
      InputTypeError: as in `box`, or `num` is not an integer.

    Example:
      >>> grid(-1, 1, 3, dim=2).shape, grid(0, 1, 3).tolist()
      ((9, 2), [0.0, 0.5, 1.0])
    """
    law, num = box(low, high, dim), check_count("num", num, low=2)
    corners = np.broadcast_arrays(law.low, law.high, np.zeros(law.dim or 1))[:2]
    if num ** len(corners[0]) > _MAX_GRID:
        raise InputValueError(
            f"a grid of {num} points along {len(corners[0])} sides has more than {_MAX_GRID:,} points."
        )
    sides = [np.linspace(a, b, num) for a, b in zip(*corners, strict=True)]
    points = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, len(sides))
    return jnp.asarray(points if law.dim else points[:, 0], jax.dtypes.canonicalize_dtype(float))


def _numbers(name: str, given: Any) -> np.ndarray:
    """Returns one finite real number or a list of them as float64."""
    try:
        array = np.asarray(given)
    except Exception:
        array = np.asarray(None)
    if array.dtype.kind not in "iuf" or array.ndim > 1:
        raise InputTypeError(f"`{name}` must be a number or a list of numbers, got {given!r}.")
    if array.size == 0 or not np.isfinite(array).all():
        raise InputValueError(f"`{name}` must be finite, got {given!r}.")
    return array.astype(float)
