r"""Gradient descent that, where it is flat, looks for the lowest curvature and steps along it.

At |grad f| below a threshold the iterate is held while a Lanczos process is built from a random start, one
Hessian-vector product a tick. If its lowest Ritz value theta is negative, x moves by

$$x \leftarrow x \pm \ell\, v, \qquad H v \approx \theta v,\; |v| = 1,$$

with the sign that goes downhill. A negative Ritz value proves negative curvature, a positive one proves
nothing: that a random start misses it is unlikely, Kuczynski and Wozniakowski, SIAM J. Matrix Anal. Appl. 13,
1094 (1992). Source of the step: Carmon, Duchi, Hinder, Sidford, SIAM J. Optim. 28, 1751 (2018),
arXiv:1611.00756.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from jaxgd.base import Key, Params
from jaxgd.transforms import checks
from jaxgd.transforms.algebra import scalar
from jaxgd.transforms.krylov import (
    HessianProduct,
    Lanczos,
    begin_lanczos,
    extend_lanczos,
    flatten,
    lanczos_row,
    ritz,
    subspace_size,
)
from jaxgd.transforms.randomness import normal, step_key


class NegativeCurvatureState(NamedTuple):
    """What `negative_curvature` carries.

    Attributes:
      lanczos: the process; its basis has min(num_vectors, parameters) rows.
      num_search: () int32, products of this search; 0 while descending.
      is_settled: () bool, whether a search has failed here: no more until the gradient has grown again.
      curvature: () of the parameters' dtype, the lowest Ritz value of the last search; NaN before it.
      num_hvps: () int32, Hessian-vector products so far.
      num_steps: () int32, updates so far.
      key: the builder's key, or None.
    """

    lanczos: Lanczos
    num_search: jax.Array
    is_settled: jax.Array
    curvature: jax.Array
    num_hvps: jax.Array
    num_steps: jax.Array
    key: Key | None


def negative_curvature(
    learning_rate: checks.Scalar,
    gradient_norm: checks.Scalar,
    step_length: checks.Scalar,
    *,
    num_vectors: int = 10,
    min_curvature: checks.Scalar = 1e-6,
    key: Key | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Returns gradient descent with steps along negative curvature; `update` needs the extra argument `hvp`.

    A saddle costs `num_vectors` ticks, whatever its curvature: best where saddles are nearly flat, and noise
    would take 1 / |lambda| steps. In high dimension a negative eigenvalue close to the rest of the spectrum
    needs more vectors. Every tick computes one Hessian-vector product, also while descending.

    Args:
      learning_rate: step of the descent (> 0).
      gradient_norm: a search begins where the gradient's norm is at most this (> 0).
      step_length: the ell of the equation (> 0).
      num_vectors: products of a search (>= 1).
      min_curvature: curvature counts as negative below minus this (>= 0).
      key: a key for use without the extra argument `key`; one for each lane.

    Returns:
      A transformation whose state is a `NegativeCurvatureState`.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` lacks `hvp` or a key.
      InputTypeError: when `num_vectors` is not an integer.

    Example:
      From the exact saddle of x^4/4 - x^2/2 + y^2/2 to a minimum, whose lowest curvature is 1:

      >>> import jax, jax.numpy as jnp
      >>> grad_fn = jax.grad(lambda x: x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2 / 2)
      >>> optimizer = negative_curvature(0.1, 1e-3, 0.1, num_vectors=2, key=jax.random.key(0))
      >>> def step(carry, _):
      ...     x, state = carry
      ...     grad, hvp = jax.linearize(grad_fn, x)
      ...     move, state = optimizer.update(grad, state, x, hvp=hvp)
      ...     return (x + move, state), None
      >>> x = jnp.zeros(2)
      >>> (x, state), _ = jax.lax.scan(step, (x, optimizer.init(x)), length=200)
      >>> print(f"{abs(x[0]):.6f} {state.curvature:.4f}")
      1.000000 1.0000
    """
    checks.positive("learning_rate", learning_rate)
    checks.positive("gradient_norm", gradient_norm)
    checks.positive("step_length", step_length)
    checks.count("num_vectors", num_vectors)
    checks.not_negative("min_curvature", min_curvature)

    def init(params: Params) -> NegativeCurvatureState:
        zeros = ravel_pytree(optax.tree.zeros_like(params))[0]
        return NegativeCurvatureState(
            lanczos=begin_lanczos(zeros, subspace_size(zeros.size, num_vectors)),
            num_search=jnp.zeros([], jnp.int32),
            is_settled=jnp.zeros([], bool),
            curvature=scalar(jnp.nan, params),
            num_hvps=jnp.zeros([], jnp.int32),
            num_steps=jnp.zeros([], jnp.int32),
            key=key,
        )

    def update(
        updates: Params,
        state: NegativeCurvatureState,
        params: Params | None = None,
        *,
        hvp: HessianProduct | None = None,
        key: Key | None = None,
        **extra: Any,
    ) -> tuple[Params, NegativeCurvatureState]:
        del params, extra
        grad, product, unflatten = flatten("negative_curvature", updates, hvp)
        number = lambda hyperparameter: jnp.asarray(hyperparameter, grad.dtype)

        is_flat = jnp.linalg.norm(grad) <= number(gradient_norm)
        is_searching = is_flat & ~state.is_settled
        noise_key = step_key("negative_curvature", key, state.key, state.num_steps)
        size = subspace_size(grad.size, num_vectors)
        fresh = begin_lanczos(ravel_pytree(normal(noise_key, updates))[0], size)
        step = jnp.where(is_searching, state.num_search, 0)
        lanczos = optax.tree.where(step == 0, fresh, state.lanczos)
        lanczos = extend_lanczos(lanczos, step, product(lanczos_row(lanczos, step)))

        is_last = is_searching & (step == size - 1)
        values, vectors = ritz(lanczos)
        is_found = is_last & (values[0] < -number(min_curvature))
        sign = jnp.where(jnp.dot(vectors[0], grad) > 0, -1, 1).astype(grad.dtype)
        along = sign * number(step_length) * vectors[0]
        held = jnp.where(is_searching, 0, -number(learning_rate) * grad)
        return unflatten(jnp.where(is_found, along, held)), NegativeCurvatureState(
            lanczos=lanczos,
            num_search=jnp.where(is_searching & ~is_last, step + 1, 0),
            is_settled=(is_last & ~is_found) | (state.is_settled & is_flat),
            curvature=jnp.where(is_last, values[0].astype(state.curvature.dtype), state.curvature),
            num_hvps=state.num_hvps + 1,
            num_steps=state.num_steps + 1,
            key=state.key,
        )

    return optax.GradientTransformationExtraArgs(init, update)
