r"""Overdamped Langevin dynamics: gradient descent with thermal noise, at constant or annealed temperature.

$$x_{k+1} = x_k - \eta\,g_k + \sqrt{2\,\eta\,T}\;\xi_k, \qquad \xi_k \sim N(0, I).$$

The Euler-Maruyama discretisation of dx = -grad f dt + sqrt(2T) dW, whose stationary law is exp(-f/T).
Source: Roberts and Tweedie, Bernoulli 2, 341 (1996); in machine learning Welling and Teh, ICML 2011.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgd.base import Key, Params
from jaxgd.transforms import checks
from jaxgd.transforms.algebra import add_scaled, at_step, scalar, scale
from jaxgd.transforms.randomness import normal, step_key


class LangevinState(NamedTuple):
    """What `langevin` carries.

    Attributes:
      num_steps: () int32, updates so far.
      key: the builder's key, or None.
    """

    num_steps: jax.Array
    key: Key | None


def langevin(
    learning_rate: checks.ScalarOrSchedule,
    temperature: checks.ScalarOrSchedule,
    *,
    key: Key | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Returns gradient descent with noise of a given temperature.

    It leaves any saddle in a time log(1/T), and any minimum in a time exp(barrier / T): anneal the
    temperature, with an optax schedule, to end in a low one. In d dimensions it sits T d / 2 above the
    bottom, so a temperature that crosses barriers in few dimensions never sees the bottom in many. No lane
    ever converges while T > 0.

    Args:
      learning_rate: the eta of the equation (> 0), or an optax schedule. In a bowl of curvature a the
        stationary variance is T / (a (1 - eta a / 2)): the step heats stiff directions.
      temperature: the T of the equation, in the value's unit (>= 0), or an optax schedule.
      key: a key for use without the extra argument `key`; one for each lane.

    Returns:
      A transformation whose state is a `LangevinState`.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` has no key.

    Example:
      The variance in a bowl of curvature 2 at temperature 1 and step 0.5 is 1 / (2 (1 - 0.5)) = 1, twice T/a:

      >>> import jax, jax.numpy as jnp
      >>> optimizer = langevin(0.5, 1.0, key=jax.random.key(0))
      >>> def step(carry, _):
      ...     x, state = carry
      ...     move, state = optimizer.update(2 * x, state)
      ...     return (x + move, state), None
      >>> x = jnp.zeros(20_000)
      >>> (x, _), _ = jax.lax.scan(step, (x, optimizer.init(x)), length=10)
      >>> print(f"{jnp.var(x):.1f}")
      1.0
    """
    checks.positive("learning_rate", learning_rate, schedule=True)
    checks.not_negative("temperature", temperature, schedule=True)

    def init(params: Params) -> LangevinState:
        del params
        return LangevinState(num_steps=jnp.zeros([], jnp.int32), key=key)

    def update(
        updates: Params,
        state: LangevinState,
        params: Params | None = None,
        *,
        key: Key | None = None,
        **extra: Any,
    ) -> tuple[Params, LangevinState]:
        del params, extra
        noise = normal(step_key("langevin", key, state.key, state.num_steps), updates)
        rate = scalar(at_step(learning_rate, state.num_steps), updates)
        amplitude = jnp.sqrt(2 * rate * scalar(at_step(temperature, state.num_steps), updates))
        move = add_scaled(scale(-rate, updates), amplitude, noise)
        return move, LangevinState(num_steps=state.num_steps + 1, key=state.key)

    return optax.GradientTransformationExtraArgs(init, update)
