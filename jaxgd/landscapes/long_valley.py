"""A straight valley as long as one likes: a gentle slope along it, steep sides across it, and a little noise."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Array, Facts, Key, KnownPoint, Landscape, Stop
from jaxgd.landscapes import checks


def long_valley(
    *, length: float = 100.0, stiffness: float = 10.0, half_width: float = 1.0, noise: float = 1e-6
) -> Landscape:
    """Returns a valley of slope about 1 along x, with its bottom at y = 0 and its only minimum at the origin.

        value(x, y) = sqrt(1 + x^2) - 1 + stiffness/2 y^2.

    Starts have x = length and y uniform on [-half_width, half_width]. Once a descent has found the bottom it
    sees no gradient in y for the rest of the way. `noisy_value` adds noise (xi . params) with xi ~ N(0, I): a
    trace of noise is what keeps y from becoming exactly zero in finite precision.

    Args:
      length: of the way along the valley, above 0.
      stiffness: curvature across the valley, above 0.
      half_width: of the law of starts across the valley, above 0.
      noise: standard deviation of the noise on each coordinate of the gradient, at least 0.

    Example:
      >>> print(round(float(long_valley().value(jnp.array([100.0, 1.0]))), 3))
      104.005
    """
    length = checks.real("length", length, above=0)
    stiffness = checks.real("stiffness", stiffness, above=0)
    half_width = checks.real("half_width", half_width, above=0)
    noise = checks.real("noise", noise, at_least=0)

    def value(params: Array) -> Array:
        return jnp.sqrt(1 + params[0] ** 2) - 1 + stiffness / 2 * params[1] ** 2

    def noisy_value(params: Array, key: Key) -> Array:
        return value(params) + noise * jnp.sum(params * jax.random.normal(key, params.shape, params.dtype))

    def sample(key: jax.Array) -> Array:
        across = jax.random.uniform(key, (1,), minval=-half_width, maxval=half_width)
        return jnp.concatenate([jnp.full((1,), length, across.dtype), across])

    return Landscape(
        name="long_valley",
        value=value,
        sample=sample,
        noisy_value=noisy_value,
        facts=Facts(
            source="both terms are least where their arguments vanish",
            points=(KnownPoint(value=0.0, index=0, params=np.zeros(2)),),
            num_minima=1,
            num_critical_points=1,
            max_learning_rate=2 / max(stiffness, 1.0),
        ),
        default_optimizer=f"sgd:learning_rate={1 / (1 + stiffness):g}",
        default_stop=Stop(gradient_norm=1e-8, max_steps=20_000),
    )
