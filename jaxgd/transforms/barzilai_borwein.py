r"""Barzilai and Borwein's gradient descent: the step length is a secant estimate of the inverse curvature.

$$x \leftarrow x - \alpha g, \qquad \alpha_{\rm long} = \frac{s\cdot s}{s\cdot y}, \quad
\alpha_{\rm short} = \frac{s\cdot y}{y\cdot y}, \qquad s = x - x_{\rm before},\; y = g - g_{\rm before}.$$

Source: Barzilai and Borwein, IMA J. Numer. Anal. 8, 141 (1988).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgd.base import Params
from jaxgd.transforms import checks
from jaxgd.transforms.algebra import dot, scalar, scale


class BarzilaiBorweinState(NamedTuple):
    """What `barzilai_borwein` carries.

    Attributes:
      params: like the parameters, the point before.
      grad: like the parameters, the gradient there.
      num_steps: () int32, updates so far.
    """

    params: Params
    grad: Params
    num_steps: jax.Array


def barzilai_borwein(
    learning_rate: checks.Scalar,
    max_learning_rate: checks.Scalar = 1e3,
    *,
    form: str = "short",
) -> optax.GradientTransformationExtraArgs:
    r"""Returns gradient descent with Barzilai-Borwein steps.

    Far faster than a fixed step on smooth, badly scaled basins, at the price of values that do not fall
    steadily; without a line search it converges surely only on convex quadratics. Beside a saddle the
    curvature met changes its sign: where s.y is not positive the step is |s|/|y|, the geometric mean of the
    two forms in absolute value, and never above `max_learning_rate`. In high dimension with noise s.y is
    noise too: use momentum instead.

    Args:
      learning_rate: step of the first update, and of any update after a standstill (> 0).
      max_learning_rate: bound of every later step (> 0).
      form: "short" (s.y / y.y, cautious) or "long" (s.s / s.y).

    Returns:
      A transformation whose state is a `BarzilaiBorweinState`.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` is called without `params`.

    Example:
      In one dimension the secant is exact on a parabola, whatever the first step:

      >>> import jax.numpy as jnp
      >>> optimizer, x = barzilai_borwein(1e-3), jnp.array([1.0])
      >>> state = optimizer.init(x)
      >>> for tick in range(2):
      ...     move, state = optimizer.update(7 * x, state, x)
      ...     x = x + move
      >>> bool(abs(x[0]) < 1e-12)
      True

    References:
      The step for s.y <= 0 follows Dai, Al-Baali and Yang (2015), who use it everywhere.
    """
    checks.positive("learning_rate", learning_rate)
    checks.positive("max_learning_rate", max_learning_rate)
    checks.choice("form", form, ("short", "long"))

    def init(params: Params) -> BarzilaiBorweinState:
        zeros = optax.tree.zeros_like(params)
        return BarzilaiBorweinState(params=zeros, grad=zeros, num_steps=jnp.zeros([], jnp.int32))

    def update(
        updates: Params, state: BarzilaiBorweinState, params: Params | None = None, **extra: Any
    ) -> tuple[Params, BarzilaiBorweinState]:
        del extra
        checks.given("barzilai_borwein", params=params)
        step, change = optax.tree.sub(params, state.params), optax.tree.sub(updates, state.grad)
        step_square, product, change_square = dot(step, step), dot(step, change), dot(change, change)
        divide = lambda numerator, divisor: numerator / jnp.where(divisor > 0, divisor, 1)
        rate = divide(product, change_square) if form == "short" else divide(step_square, product)
        rate = jnp.where(product > 0, rate, jnp.sqrt(divide(step_square, change_square)))
        rate = jnp.minimum(rate, scalar(max_learning_rate, updates))
        is_known = (state.num_steps > 0) & (step_square > 0) & (change_square > 0)
        rate = jnp.where(is_known, rate, scalar(learning_rate, updates))
        return scale(-rate, updates), BarzilaiBorweinState(params=params, grad=updates, num_steps=state.num_steps + 1)

    return optax.GradientTransformationExtraArgs(init, update)
