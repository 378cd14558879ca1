"""Turns a descent into an ascent: the optimizer sees minus the function.

The gradient, and with it the value, the Hessian-vector product and `value_fn`, change sign before the
optimizer.
"""

from typing import Any

import optax

from jaxgd.base import Params
from jaxgd.checks import check_optimizer


def ascend(optimizer: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    r"""Returns `optimizer`, ascending.

    `optax.chain(optax.scale(-1), optimizer)` does the same for optimizers that look only at the gradient. A
    maximum is to it what a minimum is to a descent: functions without an upper bound send it to infinity, and
    saddles hold it as they hold descent.

    Args:
      optimizer: any optax transformation.

    Returns:
      A transformation with the state of `optimizer`.

    Raises:
      InputTypeError: when `optimizer` is no optax transformation.

    Example:
      25 sin x - x^2 from -2 climbs to a local maximum, not to the global one at 1.4542:

      >>> import jax, jax.numpy as jnp, optax
      >>> grad_fn = jax.grad(lambda x: 25 * jnp.sin(x) - x**2)
      >>> optimizer, x = ascend(optax.sgd(0.03)), jnp.array(-2.0)
      >>> state = optimizer.init(x)
      >>> for tick in range(60):
      ...     move, state = optimizer.update(grad_fn(x), state, x)
      ...     x = x + move
      >>> print(f"{x:.5f}")
      -4.35641
    """
    check_optimizer(optimizer)
    inner = optax.with_extra_args_support(optimizer)

    def update(updates: Params, state: Any, params: Params | None = None, **extra: Any) -> tuple[Params, Any]:
        negate = lambda tree: optax.tree.scale(-1, tree)
        turned: dict[str, Any] = {name: negate(extra[name]) for name in ("value", "grad") if name in extra}
        for name in ("value_fn", "hvp"):
            if name in extra:
                turned[name] = lambda *arguments, fn=extra[name], **kwargs: negate(fn(*arguments, **kwargs))
        return inner.update(negate(updates), state, params, **(extra | turned))

    return optax.GradientTransformationExtraArgs(inner.init, update)
