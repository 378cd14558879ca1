"""The few operations on pytrees that `optax.tree` does not have, or not for scalars of another dtype.

A hyperparameter may be a Python float, a numpy scalar or a traced scalar of any float dtype; it is converted to the
dtype of the parameters, so float32 parameters stay float32 in 64-bit mode.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxgd.base import Params

ROUNDING = 64  # a rise of this many machine epsilons of |value| counts as none

dot: Callable[[Params, Params], jax.Array] = optax.tree.vdot
norm: Callable[[Params], jax.Array] = optax.tree.norm


def scalar(number: Any, like: Params) -> jax.Array:
    """Returns `number` as a scalar of the highest dtype of the leaves of `like`."""
    return jnp.asarray(number, optax.tree.dtype(like, "highest"))


def scale(factor: Any, tree: Params) -> Params:
    """Returns factor * tree, each leaf in its own dtype."""
    return jax.tree.map(lambda leaf: jnp.asarray(factor, leaf.dtype) * leaf, tree)


def add_scaled(tree: Params, factor: Any, other: Params) -> Params:
    """Returns tree + factor * other, each leaf in its own dtype."""
    return jax.tree.map(lambda leaf, more: leaf + jnp.asarray(factor, leaf.dtype) * more, tree, other)


def rounding(value: jax.Array) -> jax.Array:
    """Returns the difference from `value` that rounding may explain."""
    return ROUNDING * jnp.finfo(value.dtype).eps * jnp.abs(value)


def is_no_rise(value: jax.Array, before: jax.Array, max_rise: Any = 0.0) -> jax.Array:
    """Returns whether `value` exceeds `before` by no more than `max_rise` and rounding."""
    return value <= before + rounding(before) + jnp.asarray(max_rise, before.dtype)


def at_step(number: Any, count: jax.Array) -> Any:
    """Returns a hyperparameter at step `count`: a schedule's value there, or the number itself."""
    return number(count) if callable(number) else number


def choose(number: jax.Array, *trees: Params) -> Params:
    """Returns the tree whose place in `trees` is `number`, an int32 scalar: the branch of a state machine."""
    return jax.tree.map(lambda *leaves: jax.lax.select_n(number, *leaves), *trees)
