r"""Polyak's heavy ball: a step keeps a fraction of the step before.

$$x_{k+1} = x_k - \eta_k\,g_k + \beta\,(x_k - x_{k-1}).$$

Source: Polyak, USSR Comput. Math. Math. Phys. 4, 1 (1964).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgd.base import Params
from jaxgd.transforms import checks
from jaxgd.transforms.algebra import add_scaled, at_step, scale


class HeavyBallState(NamedTuple):
    """What `heavy_ball` carries.

    Attributes:
      move: like the parameters, x_k - x_{k-1}.
      num_steps: () int32, updates so far.
    """

    move: Params
    num_steps: jax.Array


def heavy_ball(
    learning_rate: checks.ScalarOrSchedule, momentum: checks.Scalar
) -> optax.GradientTransformationExtraArgs:
    r"""Returns gradient descent with momentum in displacements.

    `optax.sgd(learning_rate, momentum)` makes the same steps while the rate is constant; with a schedule its
    momentum is rescaled by the rate, this one's is not. On a quadratic of curvature a it is the power of the
    companion matrix [[1 + beta - eta a, -beta], [1, 0]], so at a saddle (a < 0) momentum leaves faster; past
    a barrier it may carry the ball into a neighbouring basin.

    Args:
      learning_rate: the eta of the equation (> 0), or an optax schedule. Stable below 2 (1 + beta) /
        curvature.
      momentum: the beta of the equation, in [0, 1).

    Returns:
      A transformation whose state is a `HeavyBallState`.

    Raises:
      InputValueError: for a hyperparameter outside its range.

    Example:
      At the saddle of curvature -1, fifty steps without and with momentum:

      >>> import jax.numpy as jnp
      >>> def distance(momentum):
      ...     x, optimizer = jnp.array(1e-3), heavy_ball(0.1, momentum)
      ...     state = optimizer.init(x)
      ...     for tick in range(50):
      ...         move, state = optimizer.update(-x, state)
      ...         x = x + move
      ...     return float(x)
      >>> print(f"{distance(0.0):.3f} {distance(0.9):.0f}")
      0.117 609
    """
    checks.positive("learning_rate", learning_rate, schedule=True)
    checks.fraction("momentum", momentum)

    def init(params: Params) -> HeavyBallState:
        return HeavyBallState(move=optax.tree.zeros_like(params), num_steps=jnp.zeros([], jnp.int32))

    def update(
        updates: Params, state: HeavyBallState, params: Params | None = None, **extra: Any
    ) -> tuple[Params, HeavyBallState]:
        del params, extra
        move = add_scaled(scale(momentum, state.move), -at_step(learning_rate, state.num_steps), updates)
        return move, HeavyBallState(move=move, num_steps=state.num_steps + 1)

    return optax.GradientTransformationExtraArgs(init, update)
