"""The loss of one model as a function of one flat vector, gone through in parts of the data that fit into memory.

Everything that is compiled belongs to an `Objective`, which holds no arrays: models of one structure with the same loss
function share their programs.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxgd.base import InputTypeError, InputValueError, Key
from jaxgd.checks import first_line
from jaxgd.curvature.held import bytes_held
from jaxgd.curvature.products import Product
from jaxgd.diagnose.data import Data, in_parts
from jaxgd.diagnose.model import Joiner, Parts, flat_dtype

MAX_BYTES = 2**29
"""What intermediates of one gradient may take; more examples are gone through in parts."""


@dataclass(frozen=True)
class Objective:
    """The loss as a traceable function of a flat vector; equal where the programs are.

    Attributes:
      loss: maps (model, batch), or (model, batch, key), to a scalar, or to (scalar, more).
      join: puts the model together.
      structure: of params.
      shapes: of the leaves of params.
      dtypes: in which the loss is given them, names.
      has_aux: whether the loss returns more.
      has_key: whether the loss takes a key.
    """

    loss: Callable[..., Any]
    join: Joiner
    structure: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    has_aux: bool
    has_key: bool

    def params(self, flat: Array) -> Any:
        """Returns params of a flat vector."""
        return jax.tree.unflatten(self.structure, self.leaves(flat))

    def leaves(self, flat: Array) -> list[Array]:
        """Returns the leaves of a flat vector."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1]
        parts = jnp.split(flat, ends)
        return [
            part.reshape(shape).astype(dtype)
            for part, shape, dtype in zip(parts, self.shapes, self.dtypes, strict=True)
        ]

    def flat(self, params: Any, dtype: Any) -> Array:
        """Returns the flat vector of params, or of anything of that structure."""
        return jnp.concatenate([leaf.astype(dtype).ravel() for leaf in jax.tree.leaves(params)])

    def batch(self, flat: Array, fixed: list[Array], batch: Any, key: Key) -> Array:
        """Returns the loss of one batch."""
        arguments = (batch, key) if self.has_key else (batch,)
        found = self.loss(self.join(self.leaves(flat), fixed), *arguments)
        return (found[0] if self.has_aux else found).astype(flat.dtype)


class Operand(NamedTuple):
    """The arrays of a problem, which every program is given."""

    fixed: list[Array]
    main: Any  # (num_parts, size, ...), or None without data
    rest: Any  # (fewer, ...), or None
    key: Key


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One model at one point, with its data.

    Attributes:
      objective: the function.
      x: (dim,) the point.
      operand: its arrays.
      data: its examples.
      names: of the leaves.
      slices: where each leaf lies in x.
      part_size: examples that are gone through at once.
      part_bytes: what intermediates of their gradient take, at most.
    """

    objective: Objective
    x: Array
    operand: Operand
    data: Data
    names: tuple[str, ...]
    slices: tuple[slice, ...] = field(repr=False)
    part_size: int = 0
    part_bytes: int = 0

    @property
    def dim(self) -> int:
        """Trained parameters."""
        return self.x.size

    def value(self, x: Array | None = None) -> float:
        """Returns the loss of all data."""
        return float(value_of(self.objective, self.x if x is None else x, self.operand))

    def gradient(self, x: Array | None = None) -> tuple[float, Array]:
        """Returns the loss of all data and its gradient (dim,)."""
        value, gradient = value_and_gradient(self.objective, self.x if x is None else x, self.operand)
        return float(value), gradient

    def product(self) -> Product:
        """Returns the Hessian of the loss of all data."""
        return Product(
            apply=_hessian(self.objective), operand=(self.x, self.operand), num_lanes=1, dim=self.dim,
            dtype=self.x.dtype, kind="batched",
        )  # fmt: skip


def build(
    parts: Parts, loss: Callable[..., Any], data: Data, key: Key, *, has_aux: bool, has_key: bool, max_bytes: int
) -> Problem:
    """Returns the problem, after looking at what the loss returns.

    Raises:
      InputTypeError: the loss does not return one floating-point number, or raises.
      InputValueError: the loss is random without a key.
    """
    leaves = jax.tree.leaves(parts.params)
    narrow = jnp.dtype(jnp.float32)
    dtypes = tuple(max([jnp.dtype(leaf.dtype), narrow], key=lambda dtype: dtype.itemsize).name for leaf in leaves)
    objective = Objective(
        loss=loss, join=parts.join, structure=jax.tree.structure(parts.params),
        shapes=tuple(leaf.shape for leaf in leaves), dtypes=dtypes, has_aux=has_aux, has_key=has_key,
    )  # fmt: skip
    try:
        hash(objective)
    except TypeError:  # a model with leaves that have no hash keeps programs of its own
        objective = _ByIdentity(**vars(objective))
    x = objective.flat(parts.params, flat_dtype(leaves))
    _check_loss(objective, x, parts.fixed, data, key)

    size = max(data.num_examples, 1)
    held = functools.partial(_bytes, objective, x, parts.fixed, data)
    while (num_bytes := held(size, key)) > max_bytes and size > 1 and data.arrays is not None:
        size = -(-size // 2)
    main, rest = in_parts(data.arrays, size)
    ends = np.cumsum([leaf.size for leaf in leaves])
    slices = tuple(slice(int(end - leaf.size), int(end)) for end, leaf in zip(ends, leaves, strict=True))
    operand = Operand(fixed=parts.fixed, main=main, rest=rest, key=key)
    return Problem(
        objective=objective,
        x=x,
        operand=operand,
        data=data,
        names=parts.names,
        slices=slices,
        part_size=size,
        part_bytes=num_bytes,
    )


class _ByIdentity(Objective):
    __eq__ = object.__eq__
    __hash__ = object.__hash__


def mean_over(fn: Callable[[Any, Key], Any], operand: Operand) -> Any:
    """Returns the mean of fn(batch, key) over all examples, one part of them at a time."""
    if operand.main is None:
        return fn(None, operand.key)
    num_parts, size = jax.tree.leaves(operand.main)[0].shape[:2]
    key_of = functools.partial(jax.random.fold_in, operand.key)
    if num_parts == 1:
        total = fn(jax.tree.map(lambda leaf: leaf[0], operand.main), key_of(0))
    else:
        like = jax.eval_shape(fn, jax.tree.map(lambda leaf: leaf[0], operand.main), operand.key)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)

        def add(total: Any, part: Any) -> tuple[Any, None]:
            number, batch = part
            return jax.tree.map(jnp.add, total, fn(batch, key_of(number))), None

        total = jax.lax.scan(add, zeros, (jnp.arange(num_parts), operand.main))[0]
        total = jax.tree.map(lambda leaf: leaf / num_parts, total)
    if operand.rest is None:
        return total
    left = jax.tree.leaves(operand.rest)[0].shape[0]
    share = left / (left + num_parts * size)
    last = fn(operand.rest, key_of(num_parts))
    return jax.tree.map(lambda one, other: (1 - share) * one + share * other, total, last)


@functools.partial(jax.jit, static_argnums=0)
def value_of(objective: Objective, x: Array, operand: Operand) -> Array:
    """Returns the loss of all data at x."""
    return mean_over(lambda batch, key: objective.batch(x, operand.fixed, batch, key), operand)


@functools.partial(jax.jit, static_argnums=0)
def values_along(objective: Objective, places: Array, operand: Operand) -> Array:
    """Returns (n,) the losses of all data at (n, dim) places."""
    return jax.lax.map(lambda x: value_of(objective, x, operand), places)


@functools.partial(jax.jit, static_argnums=0)
def value_and_gradient(objective: Objective, x: Array, operand: Operand) -> tuple[Array, Array]:
    """Returns the loss of all data at x and its gradient."""
    both = jax.value_and_grad(objective.batch)
    return mean_over(lambda batch, key: both(x, operand.fixed, batch, key), operand)


@functools.lru_cache(maxsize=64)
def _hessian(objective: Objective) -> Callable[[Any, Array], Array]:
    """Returns products of the Hessian at (x, operand); forward over reverse, or reverse twice."""

    def forward(x: Array, operand: Operand, vector: Array) -> Array:
        def one(batch: Any, key: Key) -> Array:
            return jax.jvp(lambda at: jax.grad(objective.batch)(at, operand.fixed, batch, key), (x,), (vector,))[1]

        return mean_over(one, operand)

    def reverse(x: Array, operand: Operand, vector: Array) -> Array:
        def one(batch: Any, key: Key) -> Array:
            along = lambda at: jnp.vdot(jax.grad(objective.batch)(at, operand.fixed, batch, key), vector)
            return jax.grad(along)(x)

        return mean_over(one, operand)

    def apply(operand: Any, vectors: Array) -> Array:
        x, arrays = operand
        try:
            return forward(x, arrays, vectors[0])[None]
        except TypeError:  # a reverse rule of its own (`jax.custom_vjp`) has no forward derivative
            return reverse(x, arrays, vectors[0])[None]

    return apply


def _bytes(objective: Objective, x: Array, fixed: list[Array], data: Data, size: int, key: Key) -> int:
    batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype), data.arrays)
    gradient = lambda at, batch: jax.grad(objective.batch)(at, fixed, batch, key)
    return bytes_held(jax.make_jaxpr(gradient)(x, batch), [True] * (1 + len(jax.tree.leaves(batch))))


def _check_loss(objective: Objective, x: Array, fixed: list[Array], data: Data, key: Key) -> None:
    """Refuses a loss that is no number, or is random without a key."""
    few = None if data.arrays is None else jax.tree.map(lambda leaf: leaf[: min(8, leaf.shape[0])], data.arrays)
    loss, model = objective.loss, objective.join(objective.leaves(x), fixed)
    call = lambda: loss(model, few, key) if objective.has_key else loss(model, few)
    try:
        first, second = call(), call()
    except Exception as error:
        raise InputTypeError(
            f"`loss` raised {type(error).__name__} at the model and the first examples: {first_line(error)}"
        ) from error
    if objective.has_aux != isinstance(first, tuple):
        raise InputTypeError(
            "`loss` returns a tuple: say `has_aux=True` if the first of it is the loss."
            if isinstance(first, tuple)
            else "`has_aux=True` was said, but `loss` returns no tuple."
        )
    first, second = (found[0] if objective.has_aux else found for found in (first, second))
    if jnp.shape(first) != () or not jnp.issubdtype(jnp.asarray(first).dtype, jnp.floating):
        raise InputTypeError(
            f"`loss` must return one floating-point number, got shape {jnp.shape(first)} of"
            f" {jnp.asarray(first).dtype}: take the mean over the examples."
        )
    if not np.array_equal(np.asarray(first), np.asarray(second), equal_nan=True):
        raise InputValueError(
            f"`loss` is random: two calls with the same arguments gave {float(first):.6g} and {float(second):.6g}."
            " Draw with a key, loss(model, batch, key), and say `has_key=True`."
        )
