r"""Langevin dynamics with inertia, by the BAOAB splitting: kick, drift, friction and noise, drift, kick.

$$v \leftarrow v - \tfrac{h}{2} g,\quad x \leftarrow x + \tfrac{h}{2} v,\quad
v \leftarrow e^{-\gamma h} v + \sqrt{T(1 - e^{-2\gamma h})}\,\xi,\quad
x \leftarrow x + \tfrac{h}{2} v,\quad v \leftarrow v - \tfrac{h}{2} g'.$$

One gradient a step: the last kick is made on the next tick, together with the next step's first one.
Source: Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34 (2013), arXiv:1203.5428.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgd.base import Key, Params
from jaxgd.transforms import checks
from jaxgd.transforms.algebra import add_scaled, at_step, scalar, scale
from jaxgd.transforms.randomness import normal, step_key


class UnderdampedLangevinState(NamedTuple):
    """What `underdamped_langevin` carries.

    Attributes:
      velocity: like the parameters, before the half kick of the gradient that is not known yet.
      num_steps: () int32, updates so far.
      key: the builder's key, or None.
    """

    velocity: Params
    num_steps: jax.Array
    key: Key | None


def underdamped_langevin(
    time_step: checks.Scalar,
    temperature: checks.ScalarOrSchedule,
    friction: checks.Scalar = 1.0,
    *,
    key: Key | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Returns BAOAB Langevin dynamics of unit masses, begun at rest.

    At low friction it crosses flat stretches and shallow barriers ballistically, where `langevin` diffuses.
    Its positions are distributed as exp(-f/T) up to O(h^2), and exactly on quadratics, at any stable step h <
    2 / sqrt(largest curvature): the sampler to use when the stationary law matters. With temperature 0 it is
    a ball with friction, and with friction 0 as well velocity Verlet.

    Args:
      time_step: the h of the equation (> 0).
      temperature: the T of the equation, in the value's unit (>= 0), or an optax schedule.
      friction: the gamma of the equation, in 1 / time (>= 0).
      key: a key for use without the extra argument `key`; one for each lane.

    Returns:
      A transformation whose state is an `UnderdampedLangevinState`.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` has no key.

    Example:
      A bowl of curvature 2 at temperature 1 has the variance 1/2 of the exact law, even at a step near the
      limit:

      >>> import jax, jax.numpy as jnp
      >>> optimizer = underdamped_langevin(1.2, 1.0, 1.0, key=jax.random.key(0))
      >>> def step(carry, _):
      ...     x, state = carry
      ...     move, state = optimizer.update(2 * x, state)
      ...     return (x + move, state), None
      >>> x = jnp.zeros(20_000)
      >>> (x, _), _ = jax.lax.scan(step, (x, optimizer.init(x)), length=30)
      >>> print(f"{jnp.var(x):.2f}")
      0.50
    """
    checks.positive("time_step", time_step)
    checks.not_negative("temperature", temperature, schedule=True)
    checks.not_negative("friction", friction)

    def init(params: Params) -> UnderdampedLangevinState:
        return UnderdampedLangevinState(
            velocity=optax.tree.zeros_like(params), num_steps=jnp.zeros([], jnp.int32), key=key
        )

    def update(
        updates: Params,
        state: UnderdampedLangevinState,
        params: Params | None = None,
        *,
        key: Key | None = None,
        **extra: Any,
    ) -> tuple[Params, UnderdampedLangevinState]:
        del params, extra
        noise = normal(step_key("underdamped_langevin", key, state.key, state.num_steps), updates)
        step = scalar(time_step, updates)
        decay = jnp.exp(-scalar(friction, updates) * step)
        heat = scalar(at_step(temperature, state.num_steps), updates)
        kick = jnp.where(state.num_steps > 0, step, step / 2)
        before = add_scaled(state.velocity, -kick, updates)
        after = add_scaled(scale(decay, before), jnp.sqrt(heat * (1 - decay * decay)), noise)
        move = scale(step / 2, optax.tree.add(before, after))
        return move, UnderdampedLangevinState(velocity=after, num_steps=state.num_steps + 1, key=state.key)

    return optax.GradientTransformationExtraArgs(init, update)
