r"""AdaGrad with the mean of all past squares in place of their sum.

$$u_t = \frac{g_t}{\sigma_t + \epsilon}, \qquad \sigma_t = \sqrt{\tfrac1t \textstyle\sum_{i\le t} g_i^2}
\quad\text{(each coordinate by itself)}.$$

Source: the form taught as AdaGrad in several courses; the original (Duchi, Hazan, Singer, 2011) has the sum,
`optax.scale_by_rss`, and with a rate eta/sqrt(t) this one equals it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgd.base import Params
from jaxgd.transforms import checks


class RootMeanSquareState(NamedTuple):
    """What `scale_by_root_mean_square` carries.

    Attributes:
      mean_square: like the parameters, the mean of all squares so far.
      num_steps: () int32, gradients so far.
    """

    mean_square: Params
    num_steps: jax.Array


def scale_by_root_mean_square(epsilon: checks.Scalar = 1e-8) -> optax.GradientTransformationExtraArgs:
    r"""Returns the gradient divided by the root of the mean of all past squares, coordinate by coordinate.

    Chain it with a step: `optax.chain(scale_by_root_mean_square(), optax.scale_by_learning_rate(0.1))`. It
    evens out axis-aligned curvatures, and unlike the sum form its steps do not die out. After a long flat
    stretch the mean is tiny, so the first steep gradient gives a burst of up to sqrt(t) times the rate: let
    the rate decay. Near a saddle it enlarges the slow, unstable coordinates, if they are aligned with the
    axes.

    Args:
      epsilon: added to sigma (>= 0).

    Returns:
      A transformation whose state is a `RootMeanSquareState`.

    Raises:
      InputValueError: for a negative or infinite `epsilon`.

    Example:
      On x^2/2 from 1 at rate 0.1 it is at 0.2618 after ten steps, where the sum form is at 0.5537:

      >>> import jax.numpy as jnp, optax
      >>> def run(direction):
      ...     optimizer, x = optax.chain(direction, optax.scale(-0.1)), jnp.array(1.0)
      ...     state = optimizer.init(x)
      ...     for tick in range(10):
      ...         move, state = optimizer.update(x, state)
      ...         x = x + move
      ...     return round(float(x), 4)
      >>> run(scale_by_root_mean_square()), run(optax.scale_by_rss(initial_accumulator_value=0.0))
      (0.2618, 0.5537)
    """
    checks.not_negative("epsilon", epsilon)

    def init(params: Params) -> RootMeanSquareState:
        return RootMeanSquareState(mean_square=optax.tree.zeros_like(params), num_steps=jnp.zeros([], jnp.int32))

    def update(
        updates: Params, state: RootMeanSquareState, params: Params | None = None, **extra: Any
    ) -> tuple[Params, RootMeanSquareState]:
        del params, extra
        count = state.num_steps + 1

        def average(grad: jax.Array, mean: jax.Array) -> jax.Array:
            return mean + (grad * grad - mean) / count.astype(mean.dtype)

        def divide(grad: jax.Array, mean: jax.Array) -> jax.Array:
            sigma = jnp.sqrt(mean) + jnp.asarray(epsilon, mean.dtype)
            return jnp.where(sigma > 0, grad / jnp.where(sigma > 0, sigma, 1), 0)

        mean_square = jax.tree.map(average, updates, state.mean_square)
        scaled = jax.tree.map(divide, updates, mean_square)
        return scaled, RootMeanSquareState(mean_square=mean_square, num_steps=count)

    return optax.GradientTransformationExtraArgs(init, update)
