"""Hessian-vector products: one gradient linearised once, or differentiated along each vector anew.

`jax.linearize` evaluates the gradient once and keeps what its linear part needs; a product then costs two gradients
instead of three, and memory for every intermediate of the gradient. `jax.jvp` keeps nothing. Which one is taken
follows from the bytes that would be kept. A gradient without a forward derivative is linearised backward, or its
products are differences of gradients (`jaxgd.curvature.second_order`). A gradient that is a mean over batches of data
is gone through batch by batch, so that all data fit.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from jaxgd.base import InputTypeError, InputValueError
from jaxgd.curvature.second_order import Lengths, SecondOrder, second_order

MAX_LINEARISED_BYTES = 2**30
"""A gradient is linearised if the values to keep take no more than this."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Product:
    """A symmetric operator for each of several lanes, given by its products with vectors.

    Attributes:
      apply: maps (operand, (lanes, dim) vectors) to (lanes, dim) products; traced and compiled, once per function.
      operand: arrays that `apply` needs.
      num_lanes: operators side by side.
      dim: entries of a vector.
      dtype: in which `apply` computes.
      kind: how, "linearised", "forward", "reverse", "differences", "batched" or "given".
    """

    apply: Callable[[Any, jax.Array], jax.Array]
    operand: Any
    num_lanes: int
    dim: int
    dtype: Any
    kind: str = "given"

    def __call__(self, vectors: jax.Array) -> jax.Array:
        """Returns the products with (lanes, dim) vectors, in the vectors' own type."""
        return multiply(self.apply, self.operand, vectors, jnp.dtype(self.dtype).name)


@functools.partial(jax.jit, static_argnums=(0, 3))
def multiply(apply: Any, operand: Any, vectors: jax.Array, dtype: str) -> jax.Array:
    """Returns the products, computed in `dtype` and given back in the vectors' type."""
    return apply(operand, vectors.astype(dtype)).astype(vectors.dtype)


def product_of(apply: Callable[[jax.Array], jax.Array], dim: int, *, dtype: Any = None) -> Product:
    """Returns the operator given by a function of one vector.

    Args:
      apply: maps a (dim,) vector to its product with a symmetric matrix; traceable.
      dim: entries of a vector (>= 1).
      dtype: of the vectors; jax's default floating type if None.

    Example:
      >>> import jax.numpy as jnp
      >>> twice = product_of(lambda vector: 2 * vector, 3)
      >>> twice(jnp.ones((1, 3))).tolist()
      [[2.0, 2.0, 2.0]]
    """
    dtype = jnp.zeros(()).dtype if dtype is None else jnp.dtype(dtype)
    if isinstance(dim, bool) or not isinstance(dim, int) or dim < 1:
        raise InputValueError(f"`dim` must be an integer of at least 1, got {dim!r}.")
    shape = getattr(jax.eval_shape(apply, jax.ShapeDtypeStruct((dim,), dtype)), "shape", None)
    if shape != (dim,):
        raise InputValueError(f"`apply` must map a vector of {dim} to one of {dim}, got shape {shape}.")
    one = lambda _, vectors: apply(vectors[0])[None]
    return Product(apply=one, operand=(), num_lanes=1, dim=dim, dtype=dtype)


def hessian_product(
    gradient: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    *,
    max_bytes: int = MAX_LINEARISED_BYTES,
    units: Lengths = 1.0,
) -> Product:
    """Returns the Hessians at flat points as operators, by the cheapest product that memory allows.

    Args:
      gradient: maps one flat point (dim,) to the gradient (dim,). Programs are kept by this function, so give the
        same one again for another point.
      x: (dim,) one point, or (lanes, dim) several.
      max_bytes: linearise if the kept values take no more than this; 0 for never.
      units: () or (dim,), length scale of each coordinate; only the steps of differences depend on it.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> product = hessian_product(jax.grad(lambda x: x[0] ** 2 * x[1]), jnp.array([1.0, 2.0]))
      >>> product(jnp.array([[1.0, 0.0]])).tolist(), product.kind
      ([[4.0, 2.0]], 'linearised')
    """
    points = _points(x)
    dtype = points.dtype
    rule = second_order(gradient, points[0])
    how: dict[str, Any] = {"num_lanes": points.shape[0], "dim": points.shape[1], "dtype": dtype}
    if rule.kind == "differences":
        return Product(apply=_applied(rule), operand=_prepared(rule)(points, units), kind="differences", **how)
    if rule.is_mappable:
        keep, apply, num_bytes = _linearised(rule, points.shape, dtype.name)
        if num_bytes <= max_bytes:
            return Product(apply=apply, operand=keep(points), kind="linearised", **how)
    return Product(apply=_anew(rule), operand=points, kind=rule.kind, **how)


def batched_hessian_product(gradient: Callable[[jax.Array, Any], jax.Array], x: jax.Array, batches: Any) -> Product:
    """Returns the Hessian of a mean over batches of data as an operator that holds one batch's work at a time.

    Args:
      gradient: maps (flat point (dim,), one batch) to the gradient of that batch's mean. A mini-batched operator is
        `hessian_product` of the gradient on that batch.
      x: (dim,) the point.
      batches: pytree with one leading axis of batches of equal size.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> gradient = jax.grad(lambda x, batch: jnp.mean((batch @ x) ** 2))
      >>> batches = jnp.array([[[1.0, 0.0]], [[0.0, 2.0]]])  # two batches of one sample each
      >>> batched_hessian_product(gradient, jnp.zeros(2), batches)(jnp.array([[1.0, 1.0]])).tolist()
      [[1.0, 4.0]]
    """
    points = _points(x)
    lengths = {leaf.shape[0] if jnp.ndim(leaf) else None for leaf in jax.tree.leaves(batches)}
    if len(lengths) != 1 or None in lengths or 0 in lengths:
        raise InputValueError(f"`batches` must have one leading axis of batches in every leaf, got {lengths}.")
    return Product(
        apply=_batched(gradient),
        operand=(points, batches),
        num_lanes=points.shape[0],
        dim=points.shape[1],
        dtype=points.dtype,
        kind="batched",
    )


def _points(x: jax.Array) -> jax.Array:
    points = jnp.asarray(x)
    if not jnp.issubdtype(points.dtype, jnp.floating):
        raise InputTypeError(f"`x` must be a floating-point array, got {points.dtype}.")
    points = points[None] if points.ndim == 1 else points
    if points.ndim != 2 or points.size == 0:
        raise InputValueError(f"`x` must be one flat point (dim,) or several (lanes, dim), got shape {jnp.shape(x)}.")
    return points


@functools.lru_cache(maxsize=8)
def _anew(rule: SecondOrder) -> Callable[..., jax.Array]:
    """Returns the products that store only the points."""
    return rule.map(rule.product)


@functools.lru_cache(maxsize=8)
def _prepared(rule: SecondOrder) -> Callable[..., Any]:
    """Returns the values to keep for (points, units)."""
    return jax.jit(lambda points, units: rule.map(lambda x: rule.prepare(x, units))(points))


@functools.lru_cache(maxsize=8)
def _applied(rule: SecondOrder) -> Callable[..., jax.Array]:
    """Returns the products, computed from the kept values."""
    return rule.map(rule.apply)


@functools.lru_cache(maxsize=8)
def _batched(gradient: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    def apply(operand: Any, vectors: jax.Array) -> jax.Array:
        points, batches = operand
        num_batches = jax.tree.leaves(batches)[0].shape[0]

        def add(total: jax.Array, batch: Any) -> tuple[jax.Array, None]:
            one = lambda point, vector: jax.jvp(lambda x: gradient(x, batch), (point,), (vector,))[1]
            return total + jax.vmap(one)(points, vectors), None

        return jax.lax.scan(add, jnp.zeros_like(vectors), batches)[0] / num_batches

    return apply


@functools.lru_cache(maxsize=8)
def _linearised(
    rule: SecondOrder, shape: tuple[int, int], dtype: str
) -> tuple[Callable[[jax.Array], Any], Callable[[Any, jax.Array], jax.Array], int]:
    """Returns (what to keep at points, the product with what was kept, bytes kept)."""
    traced = []
    gradients = jax.vmap(rule.gradient)

    def keep(points: jax.Array) -> Any:
        if rule.kind == "forward":
            _, linear = jax.linearize(gradients, points)
        else:
            _, pull = jax.vjp(gradients, points)
            linear = lambda vectors: pull(vectors)[0]
        closed = jax.make_jaxpr(linear)(jnp.zeros_like(points))
        traced.append(closed.jaxpr)
        return tuple(closed.consts)

    def apply(operand: Any, vectors: jax.Array) -> jax.Array:
        return jaxpr_as_fun(ClosedJaxpr(traced[-1], operand))(vectors)[0]

    compiled = jax.jit(keep)
    kept = jax.eval_shape(compiled, jax.ShapeDtypeStruct(shape, dtype))
    num_bytes = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))
    return compiled, apply, num_bytes
