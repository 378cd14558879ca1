r"""High-index saddle dynamics: uphill along k directions, downhill along all others.

$$x \leftarrow x - \eta\,\Bigl(g - 2\sum_{i \le k} (v_i \cdot g)\, v_i\Bigr), \qquad
v_i \leftarrow \text{orthonormalise}(v_i - \eta_v\, H v_i),$$

so that the v turn to the k lowest eigenvectors, and the stable rest points are the nondegenerate saddles of
index k. Source: Yin, Zhang, Zhang, SIAM J. Sci. Comput. 41, A3576 (2019), doi:10.1137/19M1253356 (HiSD).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from jaxgd.base import InputValueError, Key, Params
from jaxgd.transforms import checks
from jaxgd.transforms.krylov import HessianProduct, flatten
from jaxgd.transforms.randomness import normal, step_key


class SaddleDynamicsState(NamedTuple):
    """What `saddle_dynamics` carries.

    Attributes:
      directions: (index, number of parameters) orthonormal rows, lowest curvature first; zeros before the
        first step.
      curvatures: (index,) their Rayleigh quotients on the last tick.
      num_hvps: () int32, Hessian-vector products so far.
      num_steps: () int32, updates so far.
      key: the builder's key, or None.
    """

    directions: jax.Array
    curvatures: jax.Array
    num_hvps: jax.Array
    num_steps: jax.Array
    key: Key | None


def saddle_dynamics(
    learning_rate: checks.Scalar,
    index: int,
    direction_rate: checks.Scalar | None = None,
    *,
    max_step: checks.Scalar | None = None,
    num_turns: int = 1,
    key: Key | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Returns dynamics that converge to saddles of a given index; `update` needs the extra argument `hvp`.

    It goes to saddles as descent goes to minima, and with `index` = 0 it is gradient descent. While the
    directions have not yet turned it may run off uphill: start near a critical point, give it `max_step`, or
    more turns. It has no value that falls, and where the k-th and the next curvature cross it may circle for
    ever. In high dimension the directions turn at the rate of the gap between those two.

    Args:
      learning_rate: the eta of the equation (> 0).
      index: number of directions k (>= 0): the index of the saddle that is sought, at most the number of
        parameters.
      direction_rate: the eta_v of the equation (> 0, below 1 / largest curvature); None for `learning_rate`.
      max_step: longest Euclidean move of one step (> 0); None for no cap.
      num_turns: turns of the directions a tick (>= 1), each at k Hessian-vector products.
      key: a key for the first directions, for use without the extra argument `key`; one for each lane.

    Returns:
      A transformation whose state is a `SaddleDynamicsState`.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` lacks `hvp` or a key.
      InputTypeError: when `index` or `num_turns` is not an integer.

    Example:
      The saddle of x^4/4 - x^2/2 + y^2/2 at the origin:

      >>> import jax, jax.numpy as jnp
      >>> grad_fn = jax.grad(lambda x: x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2 / 2)
      >>> optimizer = saddle_dynamics(0.1, index=1, key=jax.random.key(0))
      >>> def step(carry, _):
      ...     x, state = carry
      ...     grad, hvp = jax.linearize(grad_fn, x)
      ...     move, state = optimizer.update(grad, state, x, hvp=hvp)
      ...     return (x + move, state), None
      >>> x = jnp.array([0.4, 0.5])
      >>> (x, state), _ = jax.lax.scan(step, (x, optimizer.init(x)), length=300)
      >>> bool(jnp.linalg.norm(x) < 1e-8), state.curvatures.round(6).tolist()
      (True, [-1.0])

    References:
      The source turns the v one after another with projections; here all at once, then orthonormalised in
      order (QR), which has the same fixed points. Hessian-vector products are exact, not dimer differences.
    """
    checks.positive("learning_rate", learning_rate)
    checks.count("index", index, least=0)
    if direction_rate is not None:
        checks.positive("direction_rate", direction_rate)
    if max_step is not None:
        checks.positive("max_step", max_step)
    checks.count("num_turns", num_turns)

    def init(params: Params) -> SaddleDynamicsState:
        zeros = ravel_pytree(optax.tree.zeros_like(params))[0]
        if index > zeros.size:
            raise InputValueError(f"`index` must be at most the number of parameters, {zeros.size}, got {index}.")
        return SaddleDynamicsState(
            directions=jnp.zeros((index, zeros.size), zeros.dtype),
            curvatures=jnp.zeros(index, zeros.dtype),
            num_hvps=jnp.zeros([], jnp.int32),
            num_steps=jnp.zeros([], jnp.int32),
            key=key,
        )

    def update(
        updates: Params,
        state: SaddleDynamicsState,
        params: Params | None = None,
        *,
        hvp: HessianProduct | None = None,
        key: Key | None = None,
        **extra: Any,
    ) -> tuple[Params, SaddleDynamicsState]:
        del params, extra
        grad, product, unflatten = flatten("saddle_dynamics", updates, hvp)
        number = lambda hyperparameter: jnp.asarray(hyperparameter, grad.dtype)
        turn = number(learning_rate if direction_rate is None else direction_rate)

        noise_key = step_key("saddle_dynamics", key, state.key, jnp.zeros([], jnp.int32))
        first = jnp.linalg.qr(normal(noise_key, state.directions).T)[0].T
        directions, curvatures = jnp.where(state.num_steps > 0, state.directions, first), state.curvatures
        for _ in range(num_turns if index else 0):
            products = jax.vmap(product)(directions)
            curvatures = jnp.sum(directions * products, axis=1)
            directions = jnp.linalg.qr((directions - turn * products).T)[0].T

        step = -number(learning_rate) * (grad - 2 * (directions @ grad) @ directions)
        if max_step is not None:
            length = jnp.linalg.norm(step)
            step = jnp.where(length > number(max_step), number(max_step) / length, 1) * step
        return unflatten(step), SaddleDynamicsState(
            directions=directions,
            curvatures=curvatures,
            num_hvps=state.num_hvps + index * num_turns,
            num_steps=state.num_steps + 1,
            key=state.key,
        )

    return optax.GradientTransformationExtraArgs(init, update)
