"""Chooses how to compute Hessian-vector products from a gradient, by tracing, before anything runs.

Not every gradient has a forward derivative: a function with a reverse rule of its own (`jax.custom_vjp`, and what is
built on it, such as `jax.experimental.ode.odeint`) often has none, and a callback that gives a gradient has neither.
The first way that can be traced is taken:

    forward        H v = d/dt g(x + t v) at t = 0                (`jax.jvp` of the gradient)
    reverse        H v = grad of <g(x), v>, H being symmetric    (`jax.vjp` of the gradient)
    differences    H v = (g(x + t v) - g(x - t v)) / 2t + O(t^2) + O(noise / t)

Differences come with an estimate of their error, from steps up to twice as long: truncation grows fourfold,
noise falls by half, so that what they disagree by is the error of the shortest, or more. The step follows the noise
of the gradient, which is far above rounding where it comes from a solver with a tolerance: of a few steps, each eight
times the last, that one is taken from which a product along a random direction changes least to the next.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.curvature.held import bytes_held

Gradient = Callable[[jax.Array], jax.Array]
Operator = Callable[[jax.Array], jax.Array]
Lengths = jax.Array | np.ndarray | float  # () or (dim,), how far apart things are along each coordinate

_FACTOR = 8.0  # from one step to the next
_LONGEST = 0.5  # units
_LONGER = (1.4, 1.7, 2.0)  # times the step, for its error; three, since noise may agree by chance
_SAFETY = 2.0  # times what they disagree by


@dataclass(frozen=True, kw_only=True, eq=False)
class SecondOrder:
    """A method for Hessian-vector products of one function.

    Attributes:
      gradient: the function that was traced.
      kind: "forward", "reverse" or "differences".
      prepare: maps (flat point (dim,), units) to the values that all products at that point share, a pytree of arrays.
      apply: maps (what was prepared, vector (dim,)) to the product (dim,).
      is_mappable: whether `jax.vmap` can map products; else they are made one after the other.
      bytes_each: what one of several mapped products holds at once, at most.
      note: a sentence for a person where second derivatives are not exact; else empty.
    """

    gradient: Gradient
    kind: str
    prepare: Callable[[jax.Array, Lengths], Any]
    apply: Callable[[Any, jax.Array], jax.Array]
    is_mappable: bool
    bytes_each: int
    note: str = ""

    def at(self, x: jax.Array, units: Lengths = 1.0) -> Operator:
        """Returns the function that multiplies a vector (dim,) by the Hessian at `x`.

        Args:
          x: (dim,) flat point.
          units: () or (dim,), how far apart things are along each coordinate; the steps of differences follow it.
        """
        return functools.partial(self.apply, self.prepare(x, units))

    def with_error_at(self, x: jax.Array, units: Lengths = 1.0) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
        """Returns the function that maps a vector to its product at `x` and an estimate of how far off each entry is.

        The estimate is zero where products are exact; else it costs three more products.
        """
        if self.kind == "differences":
            return functools.partial(_with_error, self.gradient, self.prepare(x, units))
        operator = self.at(x, units)
        return lambda vector: (operator(vector), jnp.zeros_like(vector))

    def product(self, x: jax.Array, vector: jax.Array, units: Lengths = 1.0) -> jax.Array:
        """Returns (dim,) the product of the Hessian at `x` with a vector."""
        return self.at(x, units)(vector)

    def of(self, gradient: Gradient) -> "SecondOrder":
        """Returns the same way for another gradient, one that is traced to the same program but for its numbers."""
        return replace(self, **_WAYS[self.kind](gradient))

    def map(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a function of one row that makes such products as a function of many, side by side if it can be."""
        return jax.vmap(fn) if self.is_mappable else lambda *rows: jax.lax.map(lambda row: fn(*row), rows)


def second_order(gradient: Gradient, x: Any) -> SecondOrder:
    """Returns how to compute Hessian-vector products from a function's gradient; nothing is computed.

    Args:
      gradient: maps a flat point (dim,) to the gradient (dim,). What was found is remembered for this function.
      x: (dim,) a point, or its `jax.ShapeDtypeStruct`; only shape and type matter.

    Raises:
      Exception: whatever tracing the gradient itself raises.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> rule = second_order(jax.grad(lambda x: x[0] ** 2 * x[1]), jnp.zeros(2))
      >>> rule.kind, rule.product(jnp.array([1.0, 2.0]), jnp.array([1.0, 0.0])).tolist()
      ('forward', [4.0, 2.0])
    """
    return _second_order(gradient, tuple(x.shape), jnp.dtype(x.dtype).name)


@functools.lru_cache(maxsize=16)
def _second_order(gradient: Gradient, shape: tuple[int, ...], dtype: str) -> SecondOrder:
    x, reasons = jax.ShapeDtypeStruct(shape, dtype), list[Exception]()
    for look in (_side_by_side, _one_by_one):
        for kind, way in _WAYS.items():
            rule = SecondOrder(kind=kind, is_mappable=True, bytes_each=0, **way(gradient))
            try:
                found = look(rule, x)
            except Exception as error:
                reasons.append(error)
                continue
            return replace(found, note=_note(reasons[0])) if kind == "differences" else found
    raise reasons[-1]


def _side_by_side(rule: SecondOrder, x: jax.ShapeDtypeStruct) -> SecondOrder:
    """Returns the rule for products that are mapped; some derivatives only fail when they are."""
    several = lambda x, vectors: jax.vmap(rule.at(x))(vectors)
    program = jax.make_jaxpr(several)(x, jax.ShapeDtypeStruct((2, *x.shape), x.dtype))
    return replace(rule, bytes_each=bytes_held(program, [False, True]) // 2)


def _one_by_one(rule: SecondOrder, x: jax.ShapeDtypeStruct) -> SecondOrder:
    """Returns the rule for products of a gradient that cannot be mapped; here derivatives may fail when lowered."""
    jax.jit(rule.product).lower(x, x)
    return replace(rule, is_mappable=False)


def _note(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (
        "the gradient of this landscape has no derivative that jax can trace"
        f" ({lines[0].rstrip('.') if lines else type(error).__name__}); Hessians are differences of gradients, and the"
        " estimated error of those counts in all error bounds."
    )


# --------------------------------------------------------------------------------------------- the three ways


def _forward(gradient: Gradient) -> dict[str, Any]:
    return {
        "gradient": gradient,
        "prepare": lambda x, units: x,
        "apply": lambda x, vector: jax.jvp(gradient, (x,), (vector,))[1],
    }


def _reverse(gradient: Gradient) -> dict[str, Any]:
    return {
        "gradient": gradient,
        "prepare": lambda x, units: jax.vjp(gradient, x)[1],
        "apply": lambda pull, vector: pull(vector)[0],
    }


def _differences(gradient: Gradient) -> dict[str, Any]:
    gradient = jax.jit(gradient)  # traced once, wherever it is called
    return {
        "gradient": gradient,
        "prepare": functools.partial(_chosen_step, gradient),
        "apply": lambda at, vector: _difference(gradient, at, vector)[0],
    }


_WAYS = {"forward": _forward, "reverse": _reverse, "differences": _differences}


# ------------------------------------------------------------------------------------------------ differences


class _Step(NamedTuple):
    """Where differences are taken, and how far apart."""

    x: jax.Array  # (dim,)
    units: jax.Array  # (dim,)
    length: jax.Array  # () the coordinate that moves most, in its unit, moves by so much


def _difference(gradient: Gradient, at: _Step, vector: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns a product by central differences, and what the rounding of both gradients makes of it; (dim,) each."""
    along = vector / at.units
    size = jnp.max(jnp.abs(along))
    is_zero = size == 0
    reach = at.length / jnp.where(is_zero, 1, size)
    ahead, behind = at.x + reach * vector, at.x - reach * vector

    # Far from the origin both points are rounded, so their actual distance is measured.
    apart = jnp.dot((ahead - behind) / at.units, along) / jnp.where(is_zero, 1, jnp.dot(along, along))
    apart = jnp.where(is_zero, 1, apart)
    first, second = gradient(ahead), gradient(behind)
    rounding = jnp.finfo(at.x.dtype).eps * (jnp.abs(first) + jnp.abs(second)) / apart
    return jnp.where(is_zero, 0, (first - second) / apart), jnp.where(is_zero, 0, rounding)


def _with_error(gradient: Gradient, at: _Step, vector: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns a product by differences, and how far off its entries are by longer steps; (dim,) each."""
    near, rounding = _difference(gradient, at, vector)
    far = [_difference(gradient, at._replace(length=factor * at.length), vector)[0] for factor in _LONGER]
    return near, _SAFETY * functools.reduce(jnp.maximum, [jnp.abs(other - near) for other in far]) + rounding


def _chosen_step(gradient: Gradient, x: jax.Array, units: Lengths) -> _Step:
    """Returns the step from which a product along a random direction changes least to the next."""
    shortest = float(jnp.finfo(x.dtype).eps) ** (1 / 3)
    num_lengths = 1 + int(np.log(_LONGEST / shortest) / np.log(_FACTOR))
    lengths = jnp.asarray(shortest * _FACTOR ** np.arange(num_lengths), x.dtype)
    units = jnp.broadcast_to(jnp.asarray(units, x.dtype), x.shape)
    direction = units * jnp.asarray(np.random.default_rng(0).choice([-1, 1], x.shape), x.dtype)

    product = lambda length: units * _difference(gradient, _Step(x, units, length), direction)[0]
    products = jax.lax.map(product, lengths)
    change = jnp.linalg.norm(products[1:] - products[:-1], axis=1)

    # Steps too short to change anything agree with each other, too.
    is_still = jnp.all(products[:-1] == 0, axis=1) & jnp.any(products != 0)
    return _Step(x, units, lengths[jnp.argmin(jnp.where(jnp.isfinite(change) & ~is_still, change, jnp.inf))])
