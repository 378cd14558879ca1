r"""Keeps a descent near its start: by a pull, or inside a ball around it.

$$g \leftarrow g + \mu\,(x - x_0), \qquad\text{or}\qquad
x + u \leftarrow x_0 + \min\bigl(1,\, r / |x + u - x_0|\bigr)\,(x + u - x_0).$$

The pull is the gradient of the proximal term mu |x - x_0|^2 / 2; the ball is a projection.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from jaxgd.base import Params
from jaxgd.transforms import checks
from jaxgd.transforms.algebra import add_scaled, norm, scalar, scale


class StayCloseState(NamedTuple):
    """What `pull_to_start` and `stay_within` carry.

    Attributes:
      start: like the parameters, what `init` was called with.
    """

    start: Params


def pull_to_start(strength: checks.Scalar) -> optax.GradientTransformationExtraArgs:
    r"""Returns the gradient with a pull to the start added; put it before an optimizer in `optax.chain`.

    It moves the critical points: an end is one of f + mu |x - x_0|^2 / 2, not of f. A pull stronger than the
    most negative curvature on the way leaves no saddle to be stuck at, and no way out of the basin. The pull
    grows with the distance, about sqrt(d) for random directions. Methods that also look at the value see that
    of f.

    Args:
      strength: the mu of the equation, in the unit of a curvature (>= 0).

    Returns:
      A transformation whose state is a `StayCloseState`.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` is called without `params`.

    Example:
      >>> import jax.numpy as jnp
      >>> pull = pull_to_start(0.5)
      >>> grad, _ = pull.update(jnp.array([0.0]), pull.init(jnp.array([1.0])), jnp.array([3.0]))
      >>> grad.tolist()
      [1.0]
    """
    checks.not_negative("strength", strength)

    def update(
        updates: Params, state: StayCloseState, params: Params | None = None, **extra: Any
    ) -> tuple[Params, StayCloseState]:
        del extra
        checks.given("pull_to_start", params=params)
        return add_scaled(updates, strength, optax.tree.sub(params, state.start)), state

    return optax.GradientTransformationExtraArgs(StayCloseState, update)


def stay_within(radius: checks.Scalar) -> optax.GradientTransformationExtraArgs:
    r"""Returns the update cut so that the new point stays in a ball around the start; put it last.

    It leaves the critical points inside the ball as they are. A descent that wants out ends on the ball's
    surface, where the gradient is not zero: such an end is no critical point. Most of a ball in high
    dimension is surface.

    Args:
      radius: the r of the equation (> 0).

    Returns:
      A transformation whose state is a `StayCloseState`.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` is called without `params`.

    Example:
      >>> import jax.numpy as jnp
      >>> ball = stay_within(2.0)
      >>> move, _ = ball.update(jnp.array([5.0]), ball.init(jnp.array([1.0])), jnp.array([1.0]))
      >>> move.tolist()
      [2.0]
    """
    checks.positive("radius", radius)

    def update(
        updates: Params, state: StayCloseState, params: Params | None = None, **extra: Any
    ) -> tuple[Params, StayCloseState]:
        del extra
        checks.given("stay_within", params=params)
        offset = optax.tree.sub(optax.tree.add(params, updates), state.start)
        distance, limit = norm(offset), scalar(radius, updates)
        inside = scale(jnp.where(distance > limit, limit / distance, 1), offset)
        cut = optax.tree.sub(optax.tree.add(state.start, inside), params)
        return optax.tree.where(distance > limit, cut, updates), state

    return optax.GradientTransformationExtraArgs(StayCloseState, update)
