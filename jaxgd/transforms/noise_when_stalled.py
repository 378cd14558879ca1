r"""A random kick when the value has stopped falling.

If the best value has not fallen by a given fraction for a given number of steps, a standard normal vector
times `scale` is added to the update, and the count begins again.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgd.base import Key, Params
from jaxgd.transforms import checks
from jaxgd.transforms.algebra import add_scaled, scalar
from jaxgd.transforms.randomness import normal, step_key


class NoiseWhenStalledState(NamedTuple):
    """What `noise_when_stalled` carries.

    Attributes:
      best_value: () of the parameters' dtype, the lowest value since the last kick.
      since_progress: () int32, steps since it fell.
      num_kicks: () int32, kicks so far.
      num_steps: () int32, updates so far.
      key: the builder's key, or None.
    """

    best_value: jax.Array
    since_progress: jax.Array
    num_kicks: jax.Array
    num_steps: jax.Array
    key: Key | None


def noise_when_stalled(
    scale: checks.Scalar,
    patience: checks.Scalar,
    improvement: checks.Scalar = 1e-6,
    *,
    key: Key | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Returns the update, with noise when the value stalls; put it after an optimizer in `optax.chain`.

    The practitioner's way off a plateau or a saddle, for any optimizer and without a look at the gradient. It
    cannot tell a saddle from a minimum: at a minimum it kicks for ever, and each kick costs the way back. In
    d dimensions a kick has the length scale sqrt(d). `update` needs the extra argument `value`.

    Args:
      scale: standard deviation of each coordinate of the kick (> 0).
      patience: steps without progress until a kick (>= 1).
      improvement: the fall of the best value that counts as progress, relative to max(1, |best value|) (>=
        0).
      key: a key for use without the extra argument `key`; one for each lane.

    Returns:
      A transformation whose state is a `NoiseWhenStalledState`.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` lacks `value` or a key.

    Example:
      Gradient descent from the exact saddle of x^4/4 - x^2/2 + y^2/2:

      >>> import jax, jax.numpy as jnp, optax
      >>> value_fn = lambda x: x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2 / 2
      >>> optimizer = optax.chain(optax.sgd(0.1), noise_when_stalled(1e-2, 50, key=jax.random.key(0)))
      >>> def step(carry, _):
      ...     x, state = carry
      ...     value, grad = jax.value_and_grad(value_fn)(x)
      ...     move, state = optimizer.update(grad, state, x, value=value)
      ...     return (x + move, state), value
      >>> x = jnp.zeros(2)
      >>> _, values = jax.lax.scan(step, (x, optimizer.init(x)), length=300)
      >>> print(f"{values.min():.4f}")
      -0.2500
    """
    checks.positive("scale", scale)
    checks.at_least("patience", patience, 1)
    checks.not_negative("improvement", improvement)

    def init(params: Params) -> NoiseWhenStalledState:
        zero = jnp.zeros([], jnp.int32)
        return NoiseWhenStalledState(
            best_value=scalar(jnp.inf, params), since_progress=zero, num_kicks=zero, num_steps=zero, key=key
        )

    def update(
        updates: Params,
        state: NoiseWhenStalledState,
        params: Params | None = None,
        *,
        value: jax.Array | None = None,
        key: Key | None = None,
        **extra: Any,
    ) -> tuple[Params, NoiseWhenStalledState]:
        del params, extra
        checks.given("noise_when_stalled", value=value)
        value = scalar(value, updates)
        margin = scalar(improvement, updates) * jnp.maximum(1, jnp.abs(state.best_value))
        has_progressed = jnp.isinf(state.best_value) | (value < state.best_value - margin)
        since = jnp.where(has_progressed, 0, state.since_progress + 1)
        is_kicked = since >= jnp.asarray(patience, jnp.int32)
        noise = normal(step_key("noise_when_stalled", key, state.key, state.num_steps), updates)
        kicked = add_scaled(updates, scale, noise)
        best = jnp.where(has_progressed, value, state.best_value)
        return optax.tree.where(is_kicked, kicked, updates), NoiseWhenStalledState(
            best_value=jnp.where(is_kicked, jnp.inf, best),
            since_progress=jnp.where(is_kicked, 0, since),
            num_kicks=state.num_kicks + is_kicked.astype(jnp.int32),
            num_steps=state.num_steps + 1,
            key=state.key,
        )

    return optax.GradientTransformationExtraArgs(init, update)
