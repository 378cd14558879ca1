r"""Steps by the value that is still to fall over the gradient: for functions whose minimum value is known.

$$x \leftarrow x - h\,(f(x) - f_*)\,\min\Bigl(\frac{1}{|g|}, M\Bigr)\,\frac{g}{|g|},$$

the Euler step of $\dot x = -(f - f_*)\,g/|g|^2$, along which $\dot f = -(f - f_*)$ whatever the landscape: it
goes through local minima, where g is small and the step is large, up to the cap. Sources: Polyak, USSR
Comput. Math. Math. Phys. 9, 14 (1969) for the step length.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxgd.base import Params
from jaxgd.transforms import checks
from jaxgd.transforms.algebra import norm, scalar, scale


def known_minimum(
    learning_rate: checks.Scalar,
    minimum_value: checks.Scalar = 0.0,
    max_inverse_gradient: checks.Scalar = 1000.0,
) -> optax.GradientTransformationExtraArgs:
    r"""Returns the step for a known minimum value; `update` needs the extra argument `value`.

    It cannot rest at a local minimum or a saddle, where the value is above f_*: it jumps off at h (f - f_*)
    M. Nor does it settle at the global one if f_* is only a lower bound: it then jumps about it at h (f_min -
    f_*) M. In high dimension a jump off a saddle in the direction of a tiny gradient is as good as random.

    Args:
      learning_rate: the h of the equation, the share of f - f_* that a step should take away (> 0).
      minimum_value: f_*, or a lower bound of it.
      max_inverse_gradient: the M of the equation (> 0): 1 / |g| counts as at most this.

    Returns:
      A transformation without state.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` is called without `value`.

    Example:
      x (x - 1)(x - 3)^2 + 1.62276, whose minimum value is 0, from beyond its local minimum at 3:

      >>> import jax, jax.numpy as jnp
      >>> value_and_grad = jax.value_and_grad(lambda x: x * (x - 1) * (x - 3) ** 2 + 1.62276)
      >>> optimizer = known_minimum(0.01)
      >>> def step(x, _):
      ...     value, grad = value_and_grad(x)
      ...     move, _ = optimizer.update(grad, optimizer.init(x), x, value=value)
      ...     return x + move, None
      >>> x, _ = jax.lax.scan(step, jnp.array(4.0), length=2500)
      >>> print(f"{x:.3f}")
      0.407

    References:
      `optax.polyak_sgd` caps the rate (f - f_*) / |g|^2 instead, which near a critical point gives a step
      that vanishes with g, so it rests there.
    """
    checks.positive("learning_rate", learning_rate)
    checks.finite("minimum_value", minimum_value)
    checks.positive("max_inverse_gradient", max_inverse_gradient)

    def update(
        updates: Params,
        state: optax.EmptyState,
        params: Params | None = None,
        *,
        value: jax.Array | None = None,
        **extra: Any,
    ) -> tuple[Params, optax.EmptyState]:
        del params, extra
        checks.given("known_minimum", value=value)
        number = lambda hyperparameter: scalar(hyperparameter, updates)
        length = norm(updates)
        inverse = 1 / jnp.where(length > 0, length, 1)
        excess = number(value) - number(minimum_value)
        rate = number(learning_rate) * excess * jnp.minimum(inverse, number(max_inverse_gradient))
        return scale(-rate * inverse, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
