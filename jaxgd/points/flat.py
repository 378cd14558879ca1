"""A landscape on flat points: value, gradient, and the directions in which its symmetry moves a point."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxgd.base import Landscape, Params
from jaxgd.curvature.dense import orthonormal_rows
from jaxgd.curvature.second_order import SecondOrder, second_order

Generators = Callable[[jax.Array], jax.Array]
"""Maps a flat point (dim,) to the (num_motions, dim) velocities of the continuous symmetries."""

_STILL = 4.0  # times the change of the velocities over the placement error


@dataclass(frozen=True, kw_only=True, eq=False)  # compiled programs are kept by it
class Flat:
    """The functions of a landscape on flat points; frozen coordinates have no gradient and no curvature."""

    value: Callable[[jax.Array], jax.Array]
    gradient: Callable[[jax.Array], jax.Array]
    evaluate: Callable[[jax.Array], tuple[jax.Array, jax.Array]]  # both
    generators: Generators | None
    is_free: np.ndarray  # (dim,) bool, False for frozen coordinates

    def second_order(self, x: Any) -> SecondOrder:
        """Returns how products of the Hessian with vectors are made at points like this one."""
        return second_order(self.gradient, x)


class Kind(NamedTuple):
    """What params of a batch are like; hashable."""

    treedef: Any
    leaf_types: tuple[Any, ...]  # (shape, dtype) of one point's leaves
    is_frozen: tuple[bool, ...]  # of each leaf


def as_rows(batch: Params, frozen: Params | None = None) -> tuple[np.ndarray, Kind]:
    """Returns (n, dim) flat points, in the type that holds all leaves, and of what kind they were.

    Args:
      batch: params with one leading axis of points.
      frozen: a bool for each leaf, whether it is a constant of the question; None for no such leaf.
    """
    leaves, treedef = jax.tree.flatten(batch)
    rows = [np.asarray(leaf).reshape(len(leaf), math.prod(leaf.shape[1:])) for leaf in leaves]
    is_frozen = tuple(map(bool, jax.tree.leaves(frozen))) if frozen is not None else (False,) * len(leaves)
    kind = Kind(treedef, tuple((leaf.shape[1:], leaf.dtype) for leaf in leaves), is_frozen)
    return np.concatenate(rows, axis=1).astype(jnp.result_type(*leaves)), kind


def as_params(rows: np.ndarray, kind: Kind) -> Params:
    """Returns flat points as params again, with one leading axis."""
    ends = np.cumsum(_sizes(kind))[:-1]
    columns = zip(np.split(rows, ends, axis=1), kind.leaf_types, strict=True)
    leaves = [part.reshape(len(rows), *shape).astype(dtype) for part, (shape, dtype) in columns]
    return jax.tree.unflatten(kind.treedef, leaves)


def _sizes(kind: Kind) -> list[int]:
    return [math.prod(shape) for shape, _ in kind.leaf_types]


@functools.lru_cache(maxsize=8)
def flat(landscape: Landscape, kind: Kind) -> Flat:
    """Returns the functions of a landscape whose params are of this kind."""
    example = jax.tree.unflatten(kind.treedef, [jnp.zeros(shape, dtype) for shape, dtype in kind.leaf_types])
    unravel = ravel_pytree(example)[1]
    flatten = lambda tree: ravel_pytree(tree)[0]
    is_free = ~np.repeat(kind.is_frozen, _sizes(kind))
    of_free = (lambda x: x) if is_free.all() else (lambda x: jnp.where(is_free, x, 0))
    held = (lambda x: x) if is_free.all() else (lambda x: jnp.where(is_free, x, jax.lax.stop_gradient(x)))
    symmetry, generators = landscape.symmetry, None
    if symmetry is not None and symmetry.generators is not None:
        generators = lambda x: jax.vmap(lambda tree: of_free(flatten(tree)))(symmetry.generators(unravel(x)))

    def evaluate(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        value, gradient = landscape.evaluate(unravel(held(x)))
        return value.astype(x.dtype), of_free(flatten(gradient))

    return Flat(
        value=lambda x: landscape.value(unravel(x)).astype(x.dtype),
        gradient=lambda x: of_free(flatten(landscape.gradient(unravel(held(x))))),
        evaluate=evaluate,
        generators=generators,
        is_free=is_free,
    )


def at_least_single(leaf: Any) -> np.ndarray:
    """Returns an array, in float32 where it has half precision, in which no spectrum is computed."""
    array = np.asarray(leaf)
    is_half = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize < np.dtype(np.float32).itemsize
    return array.astype(np.float32) if is_half else array


def fine(x: Any, unit: Any) -> Any:
    """Returns a small distance in each coordinate of (..., dim): the root of the rounding unit, in units of length.

    Over this distance a smooth function is its quadratic model, but for what rounding adds.
    """
    eps = jnp.finfo(x.dtype).eps
    return eps**0.5 * unit + 8 * eps * abs(x)


def motions_at(functions: Flat, x: jax.Array, unit: jax.Array) -> jax.Array:
    """Returns (k, dim) directions, in units of length and orthonormal there, that say nothing about a point.

    Along them continuous symmetries move the point, or coordinates are frozen. Rows that are missing are zero. A
    symmetry's fixed point is not moved at all; beside one, where velocities are no larger than their change over the
    distance that `x` cannot be placed better than, nothing is moved either.

    Args:
      functions: of a landscape, on flat points.
      x: (dim,) the point.
      unit: (dim,) of length; or () for all, where rows are orthonormal as they stand.
    """
    parts = []
    if functions.generators is not None:
        draw = np.random.default_rng(0)
        signs = jnp.asarray(draw.choice([-1, 1], x.shape), x.dtype)
        lengths = jnp.broadcast_to(unit, x.shape)[None]
        at = lambda place: functions.generators(place).astype(x.dtype) / lengths  # type: ignore[misc]
        velocities = at(x)
        change, size = at(x + fine(x, unit) * signs) - velocities, at(x + unit * signs)

        # Each generator may have units of its own.
        size = jnp.maximum(jnp.linalg.norm(size, axis=1), jnp.linalg.norm(velocities, axis=1))
        scale = (1 / jnp.where(size > 0, size, 1))[:, None]
        parts.append(orthonormal_rows(velocities * scale, slowest=_STILL * jnp.linalg.norm(change * scale)))
    if not functions.is_free.all():
        parts.append(jnp.asarray(np.eye(len(functions.is_free))[~functions.is_free], x.dtype))
    return jnp.concatenate(parts) if parts else jnp.zeros((1, x.size), x.dtype)
