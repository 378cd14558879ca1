r"""Gradient descent that is kicked where the gradient is small, so that it leaves saddles.

Where |grad f| is at most a threshold, and the last kick was long ago, a point drawn uniformly from a small
ball is added; if the value has not fallen enough some steps later, the point before the kick was a minimum,
as far as gradients can tell, and descent returns to it.

Sources: Jin, Ge, Netrapalli, Kakade, Jordan, ICML 2017, arXiv:1703.00887 (the trigger and its constants);
Jin, Netrapalli, Ge, Kakade, Jordan, J. ACM 68, 11 (2021), arXiv:1902.04811 (noise at every step).
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgd.base import Key, Params
from jaxgd.transforms import checks
from jaxgd.transforms.algebra import add_scaled, choose, norm, scalar, scale
from jaxgd.transforms.randomness import normal, step_key, uniform_in_ball


class PerturbedGradientState(NamedTuple):
    """What `perturbed_gradient` carries.

    Attributes:
      params: like the parameters, the point before the last kick.
      value: () of the parameters' dtype, the value there.
      since_kick: () int32, steps since the last kick.
      is_settled: () bool, whether a kick has failed here: no more kicks until the gradient has grown again.
      num_steps: () int32, updates so far.
      key: the builder's key, or None.
    """

    params: Params
    value: jax.Array
    since_kick: jax.Array
    is_settled: jax.Array
    num_steps: jax.Array
    key: Key | None


def perturbed_gradient(
    learning_rate: checks.Scalar,
    radius: checks.Scalar,
    gradient_norm: checks.Scalar,
    wait: checks.Scalar,
    value_drop: checks.Scalar = 0.0,
    *,
    key: Key | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Returns perturbed gradient descent; `update` needs the extra argument `value`.

    It leaves any strict saddle in a number of steps that grows with the logarithm of the dimension, where
    plain descent may take exponentially long (the octopus landscape). A degenerate saddle, flat to second
    order, may hold it for good. Each kick at a minimum costs `wait` steps.

    Args:
      learning_rate: step of the descent (> 0).
      radius: of the ball that a kick is drawn from (> 0).
      gradient_norm: kicks happen where the gradient's norm is at most this (> 0).
      wait: steps from a kick to its judgement, and to the next kick (>= 1).
      value_drop: fall of the value over `wait` steps that shows that the kick has worked (>= 0).
      key: a key for use without the extra argument `key`; one for each lane.

    Returns:
      A transformation whose state is a `PerturbedGradientState`.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` lacks `value`, `params` or a
        key.

    Example:
      From the exact saddle of x^4/4 - x^2/2 + y^2/2, where plain descent stays for ever:

      >>> import jax, jax.numpy as jnp
      >>> value_fn = lambda x: x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2 / 2
      >>> optimizer = perturbed_gradient(0.1, 1e-2, 1e-3, 100, 1e-3, key=jax.random.key(0))
      >>> def step(carry, _):
      ...     x, state = carry
      ...     value, grad = jax.value_and_grad(value_fn)(x)
      ...     move, state = optimizer.update(grad, state, x, value=value)
      ...     return (x + move, state), None
      >>> x = jnp.zeros(2)
      >>> (x, state), _ = jax.lax.scan(step, (x, optimizer.init(x)), length=1000)
      >>> print(f"{abs(x[0]):.6f}", bool(state.is_settled))
      1.000000 True

    References:
      The source stops where a kick has failed. Here descent goes on from the point before the kick,
      undisturbed, so that the caller's stop rule decides. A kick takes a tick of its own, since its gradient
      is not known.
    """
    checks.positive("learning_rate", learning_rate)
    checks.positive("radius", radius)
    checks.positive("gradient_norm", gradient_norm)
    checks.at_least("wait", wait, 1)
    checks.not_negative("value_drop", value_drop)

    def init(params: Params) -> PerturbedGradientState:
        return PerturbedGradientState(
            params=optax.tree.zeros_like(params),
            value=scalar(jnp.inf, params),
            since_kick=jnp.full([], jnp.iinfo(jnp.int32).max // 2, jnp.int32),
            is_settled=jnp.zeros([], bool),
            num_steps=jnp.zeros([], jnp.int32),
            key=key,
        )

    def update(
        updates: Params,
        state: PerturbedGradientState,
        params: Params | None = None,
        *,
        value: jax.Array | None = None,
        key: Key | None = None,
        **extra: Any,
    ) -> tuple[Params, PerturbedGradientState]:
        del extra
        checks.given("perturbed_gradient", params=params, value=value)
        value = scalar(value, updates)
        steps = jnp.asarray(wait, jnp.int32)
        is_flat = norm(updates) <= scalar(gradient_norm, updates)
        has_failed = (state.since_kick == steps) & (value > state.value - scalar(value_drop, updates))
        is_kicked = is_flat & ~state.is_settled & (state.since_kick > steps)

        noise_key = step_key("perturbed_gradient", key, state.key, state.num_steps)
        kick = uniform_in_ball(noise_key, updates, radius)
        back = optax.tree.sub(state.params, params)
        branch = jnp.where(has_failed, 2, jnp.where(is_kicked, 1, 0)).astype(jnp.int32)
        move = choose(branch, scale(-learning_rate, updates), kick, back)
        since = jnp.minimum(state.since_kick, jnp.iinfo(jnp.int32).max // 2) + 1
        return move, PerturbedGradientState(
            params=optax.tree.where(is_kicked, params, state.params),
            value=jnp.where(is_kicked, value, state.value),
            since_kick=jnp.where(is_kicked, 0, since),
            is_settled=has_failed | (state.is_settled & is_flat),
            num_steps=state.num_steps + 1,
            key=state.key,
        )

    return optax.GradientTransformationExtraArgs(init, update)


def perturbed_gradient_constants(
    smoothness: float,
    hessian_lipschitz: float,
    accuracy: float,
    value_gap: float,
    dimension: int,
    *,
    failure_probability: float = 0.1,
    c: float = 1.0,
) -> dict[str, float]:
    r"""Returns the hyperparameters of `perturbed_gradient` for which Jin et al. (2017) prove their theorem.

    With $\chi = 3 \max\{\log(d\,\ell\,\Delta_f / (c\,\epsilon^2 \delta)),\, 4\}$: learning_rate $c/\ell$,
    radius $\sqrt c\,\epsilon/(\chi^2 \ell)$, gradient_norm $\sqrt c\,\epsilon/\chi^2$, value_drop
    $(c/\chi^3)\sqrt{\epsilon^3/\rho}$, wait $\chi\,\ell/(c^2\sqrt{\rho\,\epsilon})$. They are far too
    cautious for practice: use them to check the theorem.

    Args:
      smoothness: the Lipschitz constant ell of the gradient (> 0).
      hessian_lipschitz: the Lipschitz constant rho of the Hessian (> 0).
      accuracy: the epsilon of an epsilon-second-order stationary point (> 0).
      value_gap: the value at the start above the minimum, Delta_f (> 0).
      dimension: number of parameters d (>= 1).
      failure_probability: the delta of the theorem, in (0, 1).
      c: the theorem's constant, small enough (> 0).

    Returns:
      A dictionary of the five keyword arguments; `wait` is rounded up.

    Raises:
      InputValueError: for a constant outside its range.

    Example:
      >>> constants = perturbed_gradient_constants(1.0, 1.0, 0.01, 1.0, 100)
      >>> round(constants["wait"] / (3 * 16.118), 1), constants["learning_rate"]
      (10.0, 1.0)
    """
    for name, number in (
        ("smoothness", smoothness),
        ("hessian_lipschitz", hessian_lipschitz),
        ("accuracy", accuracy),
        ("value_gap", value_gap),
        ("c", c),
    ):
        checks.positive(name, number)
    checks.count("dimension", dimension)
    checks.between("failure_probability", failure_probability, 0, 1)
    chi = 3 * max(math.log(dimension * smoothness * value_gap / (c * accuracy**2 * failure_probability)), 4)
    return {
        "learning_rate": c / smoothness,
        "radius": math.sqrt(c) * accuracy / (chi**2 * smoothness),
        "gradient_norm": math.sqrt(c) * accuracy / chi**2,
        "value_drop": c / chi**3 * math.sqrt(accuracy**3 / hessian_lipschitz),
        "wait": math.ceil(chi * smoothness / (c**2 * math.sqrt(hessian_lipschitz * accuracy))),
    }


class AlwaysPerturbedGradientState(NamedTuple):
    """What `always_perturbed_gradient` carries.

    Attributes:
      num_steps: () int32, updates so far.
      key: the builder's key, or None.
    """

    num_steps: jax.Array
    key: Key | None


def always_perturbed_gradient(
    learning_rate: checks.Scalar, radius: checks.Scalar, *, key: Key | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Returns gradient descent with Gaussian noise of norm about `radius` on each gradient (J. ACM 2021).

    x <- x - eta (g + xi), xi ~ N(0, (r^2 / d) I): simpler than the trigger, with the same guarantee up to
    logarithms, but it never comes to rest: it stops within about r of the gradient's zero.

    Args:
      learning_rate: the eta of the equation (> 0).
      radius: the r of the equation (>= 0).
      key: a key for use without the extra argument `key`; one for each lane.

    Returns:
      A transformation whose state is an `AlwaysPerturbedGradientState`.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` has no key.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> optimizer = always_perturbed_gradient(1.0, 0.5, key=jax.random.key(0))
      >>> move, _ = optimizer.update(jnp.zeros(10_000), optimizer.init(jnp.zeros(10_000)))
      >>> print(f"{jnp.linalg.norm(move):.2f}")
      0.50
    """
    checks.positive("learning_rate", learning_rate)
    checks.not_negative("radius", radius)

    def init(params: Params) -> AlwaysPerturbedGradientState:
        del params
        return AlwaysPerturbedGradientState(num_steps=jnp.zeros([], jnp.int32), key=key)

    def update(
        updates: Params,
        state: AlwaysPerturbedGradientState,
        params: Params | None = None,
        *,
        key: Key | None = None,
        **extra: Any,
    ) -> tuple[Params, AlwaysPerturbedGradientState]:
        del params, extra
        noise = normal(step_key("always_perturbed_gradient", key, state.key, state.num_steps), updates)
        amplitude = scalar(radius, updates) / math.sqrt(optax.tree.size(updates))
        move = scale(-learning_rate, add_scaled(updates, amplitude, noise))
        return move, AlwaysPerturbedGradientState(num_steps=state.num_steps + 1, key=state.key)

    return optax.GradientTransformationExtraArgs(init, update)
