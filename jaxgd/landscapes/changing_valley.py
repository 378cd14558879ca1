"""A way whose steepness changes: steep walls, then a long and gentle floor."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Array, Facts, KnownPoint, Landscape, Stop
from jaxgd.landscapes import checks


def changing_valley(
    dim: int = 2, *, steepness: float = 100.0, floor: float = 10.0, half_width: float = 20.0
) -> Landscape:
    """Returns a valley with a floor of slope about 1 between walls of slope about `steepness`.

        value(x) = sum_i (sqrt(1 + x_i^2) - 1 + steepness wall(|x_i|)),
        wall(s) = softplus(s - floor) - softplus(-floor) - s sigmoid(-floor).

    The last term takes away the walls' slope at the origin, where it would be a kink. Along the way in from a
    wall the slope falls from `steepness` + 1 to 1 within a few units of |x_i| = floor, stays there for the rest
    of the way, and vanishes at the only critical point, the origin.

    Starts are uniform on [-half_width, half_width]^dim.

    Args:
      dim: number of coordinates, at least 1.
      steepness: slope of the walls, above 0.
      floor: half the length of the floor, above 0.
      half_width: half the side of the box of starts, above 0.

    Example:
      >>> slope = jax.grad(changing_valley(dim=1).value)
      >>> print([round(float(slope(jnp.array([x]))[0]), 1) for x in (1.0, 5.0, 15.0)])
      [0.7, 1.6, 100.3]
    """
    dim = checks.integer("dim", dim, at_least=1)
    floor = checks.real("floor", floor, above=0)
    steep = checks.real("steepness", steepness, above=0)
    half_width = checks.real("half_width", half_width, above=0)
    offset, kink = float(np.logaddexp(0, -floor)), float(1 / (1 + np.exp(floor)))

    def value(x: Array) -> Array:
        size = jnp.abs(x)
        wall = jax.nn.softplus(size - floor) - offset - kink * size
        return jnp.sum(jnp.sqrt(1 + x**2) - 1 + steep * wall)

    return Landscape(
        name="changing_valley",
        value=value,
        sample=lambda key: jax.random.uniform(key, (dim,), minval=-half_width, maxval=half_width),
        facts=Facts(
            source="odd slope that vanishes at 0 alone",
            points=(KnownPoint(value=0.0, index=0, params=np.zeros(dim)),),
            num_minima=1,
            num_critical_points=1,
        ),
        default_optimizer="sgd:learning_rate=0.01",
        default_stop=Stop(gradient_norm=1e-8, max_steps=20_000),
    )
