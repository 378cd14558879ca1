r"""Drops an update that is too large, in place of clipping it.

$$u \leftarrow u \;\text{ if } |u| \le m, \text{ else } 0.$$
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgd.base import Params
from jaxgd.transforms import checks
from jaxgd.transforms.algebra import norm, scalar


class DiscardLargeUpdatesState(NamedTuple):
    """What `discard_large_updates` carries.

    Attributes:
      num_discarded: () int32, updates dropped so far.
    """

    num_discarded: jax.Array


def discard_large_updates(max_norm: checks.Scalar) -> optax.GradientTransformationExtraArgs:
    r"""Returns the update, or zero where its norm exceeds `max_norm` or is not finite.

    For noisy gradients with rare, wild outliers, whose direction is as wrong as their size;
    `optax.clip_by_global_norm` keeps the direction. Without noise a discarded step is repeated for ever: the
    point stands still on a wall. Before an optimizer it drops the gradient, but momentum still moves; after
    it, the move.

    Args:
      max_norm: the m of the equation, a Euclidean norm over all parameters together (> 0).

    Returns:
      A transformation whose state is a `DiscardLargeUpdatesState`.

    Raises:
      InputValueError: for a hyperparameter outside its range.

    Example:
      >>> import jax.numpy as jnp
      >>> discard = discard_large_updates(1.0)
      >>> state = discard.init(jnp.zeros(2))
      >>> for update in (jnp.array([0.6, 0.8]), jnp.array([3.0, 4.0]), jnp.array([jnp.nan, 0.0])):
      ...     update, state = discard.update(update, state)
      ...     print(update.tolist(), int(state.num_discarded))
      [0.6, 0.8] 0
      [0.0, 0.0] 1
      [0.0, 0.0] 2
    """
    checks.positive("max_norm", max_norm)

    def init(params: Params) -> DiscardLargeUpdatesState:
        del params
        return DiscardLargeUpdatesState(num_discarded=jnp.zeros([], jnp.int32))

    def update(
        updates: Params, state: DiscardLargeUpdatesState, params: Params | None = None, **extra: Any
    ) -> tuple[Params, DiscardLargeUpdatesState]:
        del params, extra
        is_kept = norm(updates) <= scalar(max_norm, updates)
        kept = optax.tree.where(is_kept, updates, optax.tree.zeros_like(updates))
        return kept, DiscardLargeUpdatesState(state.num_discarded + (~is_kept).astype(jnp.int32))

    return optax.GradientTransformationExtraArgs(init, update)
