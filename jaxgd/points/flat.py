"""A landscape on flat points: value, gradient, and the directions in which its symmetry moves a point."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxgd.base import Landscape, Params
from jaxgd.curvature.dense import orthonormal_rows

Generators = Callable[[jax.Array], jax.Array]
"""Maps a flat point (dim,) to the (num_motions, dim) velocities of the continuous symmetries."""

_STILL = 4.0  # times the change of the velocities over the placement error


class Flat(NamedTuple):
    """The functions of a landscape on flat points."""

    value: Callable[[jax.Array], jax.Array]
    gradient: Callable[[jax.Array], jax.Array]
    evaluate: Callable[[jax.Array], tuple[jax.Array, jax.Array]]  # both
    generators: Generators | None


class Kind(NamedTuple):
    """What params of a batch are like; hashable."""

    treedef: Any
    leaf_types: tuple[Any, ...]  # (shape, dtype) of one point's leaves


def as_rows(batch: Params) -> tuple[np.ndarray, Kind]:
    """Returns (n, dim) flat points, in the type that holds all leaves, and of what kind they were."""
    leaves, treedef = jax.tree.flatten(batch)
    rows = [np.asarray(leaf).reshape(len(leaf), math.prod(leaf.shape[1:])) for leaf in leaves]
    kind = Kind(treedef, tuple((leaf.shape[1:], leaf.dtype) for leaf in leaves))
    return np.concatenate(rows, axis=1).astype(jnp.result_type(*leaves)), kind


def as_params(rows: np.ndarray, kind: Kind) -> Params:
    """Returns flat points as params again, with one leading axis."""
    ends = np.cumsum([math.prod(shape) for shape, _ in kind.leaf_types])[:-1]
    columns = zip(np.split(rows, ends, axis=1), kind.leaf_types, strict=True)
    leaves = [part.reshape(len(rows), *shape).astype(dtype) for part, (shape, dtype) in columns]
    return jax.tree.unflatten(kind.treedef, leaves)


@functools.lru_cache(maxsize=32)
def flat(landscape: Landscape, kind: Kind) -> Flat:
    """Returns the functions of a landscape whose params are of this kind."""
    example = jax.tree.unflatten(kind.treedef, [jnp.zeros(shape, dtype) for shape, dtype in kind.leaf_types])
    unravel = ravel_pytree(example)[1]
    flatten = lambda tree: ravel_pytree(tree)[0]
    symmetry, generators = landscape.symmetry, None
    if symmetry is not None and symmetry.generators is not None:
        generators = lambda x: jax.vmap(flatten)(symmetry.generators(unravel(x)))

    def evaluate(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        value, gradient = landscape.evaluate(unravel(x))
        return value, flatten(gradient)

    return Flat(
        value=lambda x: landscape.value(unravel(x)),
        gradient=lambda x: flatten(landscape.gradient(unravel(x))),
        evaluate=evaluate,
        generators=generators,
    )


def at_least_single(leaf: Any) -> np.ndarray:
    """Returns an array, in float32 where it has half precision, in which no spectrum is computed."""
    array = np.asarray(leaf)
    is_half = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize < np.dtype(np.float32).itemsize
    return array.astype(np.float32) if is_half else array


def placement_error(x: Any, length: Any) -> Any:
    """Returns the distance that numbers cannot place a double root of the gradient at (..., dim) better than."""
    xp = x.__array_namespace__()  # NumPy's or jax's
    return jnp.finfo(x.dtype).eps ** 0.5 * xp.maximum(length, xp.max(xp.abs(x), axis=-1))


def motions_at(generators: Generators | None, x: jax.Array, length: jax.Array) -> jax.Array:
    """Returns (k, dim) orthonormal directions in which continuous symmetries move `x`, padded with zero rows.

    A fixed point is not moved at all; beside one, where velocities are no larger than their change over the distance
    that `x` cannot be placed better than, nothing is moved either.
    """
    if generators is None:
        return jnp.zeros((1, x.size), x.dtype)
    velocities = generators(x)
    signs = jnp.asarray(np.random.default_rng(0).choice([-1, 1], x.shape), x.dtype)
    change = generators(x + placement_error(x, length) * signs) - velocities
    return orthonormal_rows(velocities.astype(x.dtype), slowest=_STILL * jnp.linalg.norm(change).astype(x.dtype))
