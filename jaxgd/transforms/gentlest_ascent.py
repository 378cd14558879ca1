r"""Gentlest ascent dynamics: up the softest direction, down all others, to a saddle of index one.

$$\dot x = -g + 2\,(v\cdot g)\,v, \qquad \dot v = -H v + (v\cdot H v)\,v, \qquad |v| = 1,$$

by Euler's method, with v normalised after each step.
Source: E and Zhou, Nonlinearity 24, 1831 (2011), arXiv:1011.0042, Eqs. (6) and (7) for a symmetric Hessian.
"""

import optax

from jaxgd.base import Key
from jaxgd.transforms import checks
from jaxgd.transforms.saddle_dynamics import saddle_dynamics


def gentlest_ascent(
    learning_rate: checks.Scalar,
    direction_rate: checks.Scalar | None = None,
    *,
    max_step: checks.Scalar | None = None,
    key: Key | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Returns gentlest ascent dynamics; `update` needs the extra argument `hvp`.

    The way from a minimum to a mountain pass: from a point beside the minimum it climbs the valley that v has
    found, usually the softest one. It is `saddle_dynamics` of index 1: normalised, its Euler step for v turns
    v as the equation does, since the term along v only changes the length. It may circle where the two lowest
    curvatures cross, and in high dimension reaches only the passes of soft directions.

    Args:
      learning_rate: Euler step of x (> 0).
      direction_rate: Euler step of v (> 0); None for `learning_rate`. A larger one keeps v at the softest
        direction.
      max_step: longest Euclidean move of one step (> 0); None for no cap.
      key: a key for the first direction, for use without the extra argument `key`; one for each lane.

    Returns:
      A transformation whose state is a `SaddleDynamicsState` of one direction.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` lacks `hvp` or a key.

    Example:
      From beside the minimum at (1, 0) of x^4/4 - x^2/2 + 2 y^2 to the pass at the origin:

      >>> import jax, jax.numpy as jnp
      >>> grad_fn = jax.grad(lambda x: x[0] ** 4 / 4 - x[0] ** 2 / 2 + 2 * x[1] ** 2)
      >>> optimizer = gentlest_ascent(0.02, 0.1, key=jax.random.key(0))
      >>> def step(carry, _):
      ...     x, state = carry
      ...     grad, hvp = jax.linearize(grad_fn, x)
      ...     move, state = optimizer.update(grad, state, x, hvp=hvp)
      ...     return (x + move, state), None
      >>> x = jnp.array([0.9, 0.1])
      >>> (x, _), _ = jax.lax.scan(step, (x, optimizer.init(x)), length=2000)
      >>> bool(jnp.linalg.norm(x) < 1e-8)
      True
    """
    return saddle_dynamics(learning_rate, 1, direction_rate, max_step=max_step, key=key)
