r"""Descent on half the squared gradient norm: every critical point attracts it, whatever its index.

$$x \leftarrow x - \eta\, H g, \qquad H g = \nabla\,\tfrac12 |\nabla f|^2.$$

Source: McIver and Komornicki, J. Am. Chem. Soc. 94, 2625 (1972); its spurious ends: Doye and Wales, J. Chem.
Phys. 116, 3777 (2002), arXiv:cond-mat/0108310, and Frye et al. (2021), arXiv:2003.10397, who name them
gradient-flat.
"""

from typing import Any

import jax.numpy as jnp
import optax

from jaxgd.base import Params
from jaxgd.transforms import checks
from jaxgd.transforms.krylov import HessianProduct, SecondOrderState, flatten


def gradient_norm_descent(learning_rate: checks.Scalar) -> optax.GradientTransformationExtraArgs:
    r"""Returns descent on half the squared gradient norm; `update` needs the extra argument `hvp`.

    It looks like a way to all critical points, but most of its ends are none in high dimension: it also stops
    where H g = 0 with g not zero, at a gradient-flat point, whose gradient lies in the kernel of the Hessian.
    Near one the gradient norm falls ever more slowly to a positive number. So test |g|, never |H g|. The
    condition number is squared besides. Use it to measure those claims; to find saddles use `saddle_dynamics`
    or polish with Newton.

    Args:
      learning_rate: the eta of the equation (> 0). Stable below 2 / curvature^2.

    Returns:
      A transformation whose state counts Hessian-vector products in `num_hvps`.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` lacks `hvp`.

    Example:
      x^3/3 + x has no critical point; its gradient x^2 + 1 is least at 0, where descent on it ends:

      >>> import jax, jax.numpy as jnp
      >>> grad_fn = jax.grad(lambda x: x**3 / 3 + x)
      >>> optimizer = gradient_norm_descent(0.1)
      >>> def step(carry, _):
      ...     x, state = carry
      ...     grad, hvp = jax.linearize(grad_fn, x)
      ...     move, state = optimizer.update(grad, state, x, hvp=hvp)
      ...     return (x + move, state), None
      >>> x = jnp.array(1.0)
      >>> (x, state), _ = jax.lax.scan(step, (x, optimizer.init(x)), length=200)
      >>> print(f"{x:.6f} {grad_fn(x):.6f} {state.num_hvps}")
      0.000000 1.000000 200
    """
    checks.positive("learning_rate", learning_rate)

    def init(params: Params) -> SecondOrderState:
        del params
        return SecondOrderState(num_hvps=jnp.zeros([], jnp.int32))

    def update(
        updates: Params,
        state: SecondOrderState,
        params: Params | None = None,
        *,
        hvp: HessianProduct | None = None,
        **extra: Any,
    ) -> tuple[Params, SecondOrderState]:
        del params, extra
        grad, product, unflatten = flatten("gradient_norm_descent", updates, hvp)
        move = -jnp.asarray(learning_rate, grad.dtype) * product(grad)
        return unflatten(move), SecondOrderState(state.num_hvps + 1)

    return optax.GradientTransformationExtraArgs(init, update)
