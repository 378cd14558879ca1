"""A goal that is felt only from near: the landscape of sparse rewards."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Array, Facts, Key, KnownPoint, Landscape, Stop
from jaxgd.landscapes import checks


def sparse_goal(dim: int = 10, *, width: float = 1.0, height: float = 1.0, noise: float = 0.0) -> Landscape:
    """Returns a single Gaussian well at the origin, whose signal dies out with the distance from it.

        value(x) = height (1 - exp(-|x|^2 / (2 dim width^2))).

    Starts are N(0, 1) in every coordinate, so that |x|^2 / dim is close to 1 and the gradient there is smaller
    than its maximum by about exp(-1 / (2 width^2)): 0.6 at width 1, 1e-22 at width 0.1. There is no other
    critical point than the goal; far out there is only a plain.

    `noisy_value` adds noise xi . x with xi ~ N(0, I): the gradient of every coordinate gets noise of that
    standard deviation, everywhere alike.

    Args:
      dim: number of coordinates, at least 1.
      width: how far the goal is felt, in units of the typical distance of a start, above 0.
      height: depth of the well, above 0.
      noise: standard deviation of the noise on each coordinate of the gradient, at least 0.

    Example:
      >>> near, far = sparse_goal(dim=2, width=0.2), jnp.ones(2)
      >>> print(f"{float(near.value(far)):.6f}")  # 1 - exp(-12.5): all but flat
      0.999996
    """
    dim = checks.integer("dim", dim, at_least=1)
    width = checks.real("width", width, above=0)
    height = checks.real("height", height, above=0)
    noise = checks.real("noise", noise, at_least=0)
    spread = dim * width**2

    def value(x: Array) -> Array:
        return -height * jnp.expm1(-jnp.sum(x**2) / (2 * spread))

    def noisy_value(x: Array, key: Key) -> Array:
        return value(x) + noise * jnp.sum(x * jax.random.normal(key, x.shape, x.dtype))

    return Landscape(
        name="sparse_goal",
        value=value,
        sample=lambda key: jax.random.normal(key, (dim,)),
        noisy_value=noisy_value,
        facts=Facts(
            source="gradient height x exp(-|x|^2 / (2 dim width^2)) / (dim width^2)",
            points=(KnownPoint(value=0.0, index=0, params=np.zeros(dim), name="goal"),),
            num_minima=1,
            num_critical_points=1,
            max_learning_rate=2 * spread / height,
        ),
        default_optimizer=f"sgd:learning_rate={spread / height:g}",
        default_stop=Stop(gradient_norm=1e-8, max_steps=20_000),
    )
