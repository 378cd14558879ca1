r"""Perturbed accelerated gradient descent, with negative curvature exploitation.

$$y = x + (1-\theta)\,v, \qquad x' = y - \eta\,\nabla f(y), \qquad v' = x' - x,$$

and where f is seen to be too concave between x and y,
$f(x) \le f(y) + \nabla f(y)\cdot(x - y) - \tfrac{\gamma}{2} |x - y|^2$, the step is replaced: back to x with
v = 0 if |v| is at least s, else to the better of x + s v/|v| and x - s v/|v|. Small gradients bring a kick.

Source: Jin, Netrapalli, Jordan, COLT 2018, arXiv:1711.10456, Algorithms 2 and 3.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgd.base import Key, Params
from jaxgd.transforms import checks
from jaxgd.transforms.algebra import add_scaled, choose, dot, norm, rounding, scalar, scale
from jaxgd.transforms.randomness import step_key, uniform_in_ball

AT_POINT, AHEAD, FORWARD, BACKWARD = range(4)  # where the parameters are: x, y, x + s v/|v|, x - s v/|v|


class PerturbedAcceleratedState(NamedTuple):
    """What `perturbed_accelerated` carries.

    Attributes:
      phase: () int32, where the parameters are: 0 at x, 1 at y, 2 and 3 at the two probes.
      point: like the parameters, x.
      velocity: like the parameters, v; during the probes, s v/|v|.
      value: () of the parameters' dtype, the value at x; during the probes, at the first probe.
      since_kick: () int32, ticks since the last kick.
      num_steps: () int32, updates so far.
      key: the builder's key, or None.
    """

    phase: jax.Array
    point: Params
    velocity: Params
    value: jax.Array
    since_kick: jax.Array
    num_steps: jax.Array
    key: Key | None


def perturbed_accelerated(
    learning_rate: checks.Scalar,
    momentum: checks.Scalar,
    radius: checks.Scalar,
    gradient_norm: checks.Scalar,
    wait: checks.Scalar,
    *,
    concavity: checks.Scalar,
    probe_length: checks.Scalar,
    key: Key | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Returns perturbed accelerated gradient descent; `update` needs the extra argument `value`.

    It leaves a strict saddle in about the square root of the steps of `perturbed_gradient`, in theory; each
    step takes two ticks here, one at x and one at y, so the gain shows at small curvatures only. The kicks
    never cease at a minimum: read the best value, or use it to get close and another method to converge.

    Args:
      learning_rate: the eta of the equation (> 0).
      momentum: the 1 - theta of the equation, in [0, 1).
      radius: of the ball that a kick is drawn from (> 0).
      gradient_norm: kicks happen where the gradient's norm at x is at most this (> 0).
      wait: ticks between two kicks (>= 1).
      concavity: the gamma of the condition (>= 0).
      probe_length: the s of the condition (> 0).
      key: a key for use without the extra argument `key`; one for each lane.

    Returns:
      A transformation whose state is a `PerturbedAcceleratedState`.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` lacks `value`, `params` or a
        key.

    Example:
      From the exact saddle of x^4/4 - x^2/2 + y^2/2:

      >>> import jax, jax.numpy as jnp
      >>> value_fn = lambda x: x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2 / 2
      >>> optimizer = perturbed_accelerated(
      ...     0.1, 0.9, 1e-4, 1e-3, 500, concavity=0.1, probe_length=0.1, key=jax.random.key(0)
      ... )
      >>> def step(carry, _):
      ...     x, state = carry
      ...     value, grad = jax.value_and_grad(value_fn)(x)
      ...     move, state = optimizer.update(grad, state, x, value=value)
      ...     return (x + move, state), value
      >>> x = jnp.zeros(2)
      >>> _, values = jax.lax.scan(step, (x, optimizer.init(x)), length=400)
      >>> print(f"{values.min():.4f}")
      -0.2500

    References:
      The values at x and at y, and at the two probes of Algorithm 3, take a tick each; a condition that holds
      only within rounding is ignored.
    """
    checks.positive("learning_rate", learning_rate)
    checks.fraction("momentum", momentum)
    checks.positive("radius", radius)
    checks.positive("gradient_norm", gradient_norm)
    checks.at_least("wait", wait, 1)
    checks.not_negative("concavity", concavity)
    checks.positive("probe_length", probe_length)

    def init(params: Params) -> PerturbedAcceleratedState:
        zeros = optax.tree.zeros_like(params)
        return PerturbedAcceleratedState(
            phase=jnp.full([], AT_POINT, jnp.int32),
            point=zeros,
            velocity=zeros,
            value=scalar(0, params),
            since_kick=jnp.full([], jnp.iinfo(jnp.int32).max // 2, jnp.int32),
            num_steps=jnp.zeros([], jnp.int32),
            key=key,
        )

    def update(
        updates: Params,
        state: PerturbedAcceleratedState,
        params: Params | None = None,
        *,
        value: jax.Array | None = None,
        key: Key | None = None,
        **extra: Any,
    ) -> tuple[Params, PerturbedAcceleratedState]:
        del extra
        checks.given("perturbed_accelerated", params=params, value=value)
        value = scalar(value, updates)
        noise_key = step_key("perturbed_accelerated", key, state.key, state.num_steps)
        zeros = optax.tree.zeros_like(params)

        # At x: a kick, or on to y.
        is_flat = norm(updates) <= scalar(gradient_norm, updates)
        is_kicked = (state.phase == AT_POINT) & is_flat & (state.since_kick > jnp.asarray(wait, jnp.int32))
        kicked = optax.tree.add(params, uniform_in_ball(noise_key, updates, radius))
        ahead = add_scaled(params, momentum, state.velocity)
        from_point = optax.tree.where(is_kicked, kicked, ahead)

        # At y: a step, or negative curvature.
        back = optax.tree.sub(state.point, params)
        bound = value + dot(updates, back) - scalar(concavity, updates) / 2 * dot(back, back)
        is_concave = state.value < bound - rounding(value)
        speed = norm(state.velocity)
        is_slow = speed < scalar(probe_length, updates)
        is_probing = is_concave & is_slow
        stepped = add_scaled(params, -learning_rate, updates)
        length = scalar(probe_length, updates) / jnp.where(speed > 0, speed, 1)
        probe = scale(length, state.velocity)
        branch = jnp.where(is_probing, 2, jnp.where(is_concave, 1, 0)).astype(jnp.int32)
        from_ahead = choose(
            branch,
            stepped,
            state.point,
            optax.tree.add(state.point, probe),
        )
        new_velocity = choose(branch, optax.tree.sub(stepped, state.point), zeros, probe)

        # At the probes: the better one.
        other = optax.tree.sub(state.point, state.velocity)
        first = optax.tree.add(state.point, state.velocity)
        better = optax.tree.where(value <= state.value, params, first)

        target = choose(state.phase, from_point, from_ahead, other, better)
        phase = choose(
            state.phase,
            jnp.where(is_kicked, AT_POINT, AHEAD),
            jnp.where(is_probing, FORWARD, AT_POINT),
            jnp.asarray(BACKWARD),
            jnp.asarray(AT_POINT),
        )
        is_at_point, is_at_first = state.phase == AT_POINT, state.phase == FORWARD
        since = jnp.minimum(state.since_kick, jnp.iinfo(jnp.int32).max // 2) + 1
        return optax.tree.sub(target, params), PerturbedAcceleratedState(
            phase=phase.astype(jnp.int32),
            point=optax.tree.where(is_at_point, params, state.point),
            velocity=choose(state.phase, state.velocity, new_velocity, state.velocity, zeros),
            value=jnp.where(is_at_point | is_at_first, value, state.value),
            since_kick=jnp.where(is_kicked, 0, since),
            num_steps=state.num_steps + 1,
            key=state.key,
        )

    return optax.GradientTransformationExtraArgs(init, update)
