"""Where the noise of a transformation comes from: a key for each lane and step, and the laws drawn with it.

The extra argument `key` of `update`, different for each lane and step, is used where it is given. Else the
key that the builder was given is kept in the state and folded with the step count, so that `vmap` over `init`
of the same builder draws the same noise in every lane: give each lane its own key there. Where both are
given, the builder's key tells apart two noisy transformations in one chain. Each method also folds in its own
name.
"""

import zlib
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxgd.base import Key, Params
from jaxgd.transforms import checks
from jaxgd.transforms.algebra import norm, scalar, scale


def step_key(method: str, key: Key | None, key_of_state: Key | None, count: jax.Array) -> Key:
    """Returns the key of this step for `method`, from the extra argument and the state."""
    if key is None:
        if key_of_state is None:
            raise checks.missing(method, "key")
        key = jax.random.fold_in(key_of_state, count)
    elif key_of_state is not None:
        key = jax.random.fold_in(key, jax.random.bits(key_of_state))
    return jax.random.fold_in(key, zlib.crc32(method.encode()))


def normal(key: Key, like: Params) -> Params:
    """Returns standard normal noise, like a pytree."""
    return optax.tree.random_like(key, like, jax.random.normal)


def uniform_in_ball(key: Key, like: Params, radius: Any) -> Params:
    """Returns a point drawn uniformly from the ball of `radius` around zero, like a pytree."""
    key_direction, key_length = jax.random.split(key)
    direction = normal(key_direction, like)
    root = jax.random.uniform(key_length, dtype=scalar(0, like).dtype) ** (1 / optax.tree.size(like))
    return scale(scalar(radius, like) * root / norm(direction), direction)


def symmetric_stable(key: Key, like: Params, index: Any) -> Params:
    """Returns symmetric stable noise of tail index 0 < alpha <= 2, unit scale (variance 2 at alpha = 2).

    Chambers, Mallows and Stuck, J. Am. Stat. Assoc. 71, 340 (1976).
    """

    def draw(key: Key, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        key_angle, key_wait = jax.random.split(key)
        angle = jax.random.uniform(key_angle, shape, dtype, -jnp.pi / 2, jnp.pi / 2)
        wait = jax.random.exponential(key_wait, shape, dtype)
        alpha = jnp.broadcast_to(jnp.asarray(index, dtype), shape)
        tilt = (jnp.cos((1 - alpha) * angle) / wait) ** ((1 - alpha) / alpha)
        return jnp.sin(alpha * angle) / jnp.cos(angle) ** (1 / alpha) * tilt

    return optax.tree.random_like(key, like, draw)
