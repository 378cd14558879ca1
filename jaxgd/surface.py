r"""A loss around a point, seen along two random directions that are normalised filter by filter.

$$ s(a, b) = f(\theta + a\,\delta + b\,\eta), \qquad
   \delta_{j} \leftarrow \frac{|\theta_{j}|}{|\delta_{j}|}\,\delta_{j} $$

for every filter j, the weights that lead into one unit: the columns of a matrix of shape (inputs, outputs), the last
axis of a convolution. How weights lie differs: `filter_axes` knows flax, haiku and equinox, and takes a function for
all others. Biases, scales and shifts are not moved. A step of length 1 then changes every filter by its
own size, so that pictures of different networks can be compared: rescaling a rectified layer by a and the next one by
1/a, which changes no output, changes the picture neither. Source: Li, Xu, Taylor, Studer and Goldstein, Visualizing
the loss landscape of neural nets (NeurIPS 2018), arXiv:1712.09913.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd.base import Array, InputValueError, Key, Params
from jaxgd.checks import check_count

Filters = str | Callable[[str, Array], tuple[int, ...] | None]

_NO_WEIGHTS = frozenset(("bias", "scale", "offset", "mean", "var"))  # names of leaves that are never weights


def filter_axes(name: str, leaf: Array, layout: str) -> tuple[int, ...] | None:
    """Returns the axes along which the filters of a leaf are counted; None for one that is no weight.

    Args:
      name: of the leaf, such as "attention/query/kernel".
      leaf: the weights.
      layout: "last" for (..., inputs, outputs), as in flax and haiku; "first" for (outputs, inputs, ...), as in
        equinox. Of flax's attention the kernels of query, key and value are (inputs, heads, outputs), and the embedding
        of each token is a filter.

    Example:
      >>> filter_axes("query/kernel", jnp.ones((8, 2, 4)), "last"), filter_axes("weight", jnp.ones((2, 4)), "first")
      ((1, 2), (0,))
    """
    *inside, own = name.split("/")
    if leaf.ndim < 2 or own in _NO_WEIGHTS:
        return None
    if layout == "first" or own == "embedding":
        return (0,)
    if leaf.ndim == 3 and own == "kernel" and inside and inside[-1] in ("query", "key", "value"):
        return (1, 2)
    return (leaf.ndim - 1,)


def filter_normalised(direction: Params, params: Params, filters: Filters = "auto") -> Params:
    """Returns the direction with every filter as long as that of `params`, and no component along other parameters.

    Args:
      direction: like `params`.
      params: a pytree; its leaves with two or more axes hold filters, the others stay.
      filters: "last" or "first", the axis of filters (see `filter_axes`); "auto", which is "first" inside equinox
        modules; or a function that maps (name, leaf) to the axes of filters, or None to leave it. Layers that are
        scanned over need one: with layers along the first axis it returns (0, leaf.ndim - 1).

    Raises:
      InputValueError: `filters` is none of these.

    Example:
      >>> weights = {"w": jnp.array([[3.0, 0.0], [4.0, 2.0]]), "b": jnp.ones(2)}
      >>> ones = jax.tree.map(jnp.ones_like, weights)
      >>> print(jnp.sum(filter_normalised(ones, weights)["w"] ** 2, axis=0))  # 5^2 and 2^2
      [25.  4.]
    """
    if filters not in ("auto", "first", "last") and not callable(filters):
        raise InputValueError(f"`filters` must be 'auto', 'first', 'last' or a function, got {filters!r}.")

    def of_leaf(path: Any, towards: Array, leaf: Array, layout: str) -> Array:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        axes = filters(name, leaf) if callable(filters) else filter_axes(name, leaf, layout)
        if axes is None:
            return jnp.zeros_like(leaf)
        counted = {axis % leaf.ndim for axis in axes}
        inside = tuple(axis for axis in range(leaf.ndim) if axis not in counted)
        length = lambda array: jnp.sqrt(jnp.sum(array**2, axis=inside, keepdims=True))
        own = length(towards)
        return jnp.where(own > 0, towards * (length(leaf) / jnp.where(own > 0, own, 1)), 0)

    def of_part(path: Any, towards: Params, part: Params) -> Params:
        layout = ("first" if _is_equinox(part) else "last") if filters == "auto" else str(filters)
        below = lambda inner, towards, leaf: of_leaf((*path, *inner), towards, leaf, layout)
        return jax.tree_util.tree_map_with_path(below, towards, part)

    return jax.tree_util.tree_map_with_path(of_part, direction, params, is_leaf=_is_equinox)


def _is_equinox(node: Any) -> bool:
    """Whether it is a module of equinox, which need not be installed."""
    equinox = sys.modules.get("equinox")
    return equinox is not None and isinstance(node, equinox.Module)


def whole_normalised(direction: Params, params: Params) -> Params:
    """Returns the direction with the length of all `params` together, for comparison: it sees the scale of layers."""
    return optax.tree.scale(optax.tree.norm(params) / optax.tree.norm(direction), direction)


def surface(
    value: Callable[[Params], Any],
    params: Params,
    *,
    key: Key,
    radius: float = 1.0,
    num: int = 21,
    normalise: Callable[[Params, Params], Params] | None = None,
    filters: Filters = "auto",
) -> Array:
    """Returns the values on a square grid around `params`, along two random directions.

    It can be mapped over `params` and `key` by `jax.vmap`.

    Args:
      value: maps params to a scalar.
      params: the middle of the picture.
      key: of the two directions, drawn from a normal law.
      radius: how far to go either way, in lengths of the filters, above 0.
      num: points along each side, at least 3; odd, so that `params` itself is one of them.
      normalise: maps (direction, params) to the direction to take; `filter_normalised` with `filters` if None.
      filters: how weights lie, as in `filter_normalised`.

    Returns:
      (num, num), the first direction along the first axis.

    Raises:
      InputValueError: `num` is even or below 3, or `radius` is not positive.

    Example:
      >>> bowl = lambda x: jnp.sum(x**2)
      >>> seen = surface(bowl, jnp.zeros((3, 2)) + 0.5, key=jax.random.key(0), num=3)
      >>> print(f"{seen[1, 1]:.2f} {bool(seen.sum() > 9 * seen[1, 1])}")
      1.50 True
    """
    if check_count("num", num) < 3 or num % 2 == 0:
        raise InputValueError(f"`num` must be odd and at least 3, got {num}.")
    if not radius > 0 or not np.isfinite(radius):
        raise InputValueError(f"`radius` must be positive and finite, got {radius}.")
    if normalise is None:
        normalise = functools.partial(filter_normalised, filters=filters)
    first, second = (
        normalise(optax.tree.random_like(each, params, jax.random.normal), params) for each in jax.random.split(key)
    )
    ticks = np.linspace(-radius, radius, num)
    grid = jnp.asarray(np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2))

    def at(place: Array) -> Array:
        shift = lambda leaf, d, e: leaf + place[0].astype(leaf.dtype) * d + place[1].astype(leaf.dtype) * e
        return value(jax.tree.map(shift, params, first, second))

    return jax.lax.map(at, grid).reshape(num, num)


def roughness(values: Any) -> np.ndarray:
    """Returns the share of a surface's bending that is downward, 0 for a bowl and about 1/2 for noise.

    Second differences along the rows, the columns and both diagonals: the sum of the sizes of the negative ones over
    that of all. It does not depend on the scale of the values, and is 0 for every convex function.

    Args:
      values: (..., num, num), num >= 3; a surface that is not finite everywhere gives NaN.

    Returns:
      (...) in [0, 1]; 0 where nothing bends.

    Raises:
      InputValueError: fewer than 3 points along a side.

    Example:
      >>> x = np.linspace(-1, 1, 21)
      >>> print(roughness(x[:, None] ** 2 + x**2), f"{roughness(x[:, None] ** 2 - x**2):.2f}")
      0.0 0.50
    """
    values = np.asarray(values, float)
    if values.ndim < 2 or min(values.shape[-2:]) < 3:
        raise InputValueError(f"`values` must have at least 3 points along both sides, got shape {values.shape}.")
    middle = values[..., 1:-1, 1:-1]
    num_rows, num_columns = values.shape[-2:]
    down, whole = np.zeros(values.shape[:-2]), np.zeros(values.shape[:-2])
    with np.errstate(invalid="ignore", over="ignore"):
        for row, column in ((0, 1), (1, 0), (1, 1), (1, -1)):
            part = lambda r, c: values[..., 1 + r : num_rows - 1 + r, 1 + c : num_columns - 1 + c]
            bend = part(row, column) + part(-row, -column) - 2 * middle
            bend = np.where(np.abs(bend) > 1e-13 * np.abs(middle), bend, 0.0)  # rounding is no bending
            down += np.sum(np.maximum(-bend, 0), axis=(-2, -1))
            whole += np.sum(np.abs(bend), axis=(-2, -1))
        share = np.where(whole > 0, down / np.where(whole > 0, whole, 1), 0.0)
    return np.where(np.isfinite(values).all(axis=(-2, -1)), share, np.nan)
