r"""NEON: a direction of negative curvature from differences of gradients.

Where the gradient is small, the iterate x is held, and a displacement u is grown from noise by

$$u \leftarrow u - \eta\,\bigl(\nabla f(x + u) - \nabla f(x)\bigr) \approx (I - \eta H)\,u,$$

so that its part along negative curvature grows and the rest shrinks. Once |u| reaches a given length, x moves
by it, with the sign that goes downhill; if it does not in a given number of ticks, there is no curvature to
be found. Source: Xu, Jin, Yang, NeurIPS 2018, arXiv:1711.01944.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgd.base import Key, Params
from jaxgd.transforms import checks
from jaxgd.transforms.algebra import add_scaled, choose, dot, norm, scalar, scale
from jaxgd.transforms.randomness import step_key, uniform_in_ball


class NeonState(NamedTuple):
    """What `neon` carries.

    Attributes:
      displacement: like the parameters, u; the parameters are at x + u during a search.
      grad: like the parameters, the gradient at x.
      num_search: () int32, ticks of this search; 0 while descending.
      is_settled: () bool, whether a search has failed here: no more until the gradient has grown again.
      num_steps: () int32, updates so far.
      key: the builder's key, or None.
    """

    displacement: Params
    grad: Params
    num_search: jax.Array
    is_settled: jax.Array
    num_steps: jax.Array
    key: Key | None


def neon(
    learning_rate: checks.Scalar,
    gradient_norm: checks.Scalar,
    *,
    start_radius: checks.Scalar,
    escape_length: checks.Scalar,
    max_search: checks.Scalar,
    key: Key | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Returns gradient descent that searches for negative curvature with gradients alone where it is flat.

    For problems whose Hessian-vector products are dear. A search takes about
    log(escape_length / start_radius) / log(1 + eta |lambda|) ticks, so weak negative curvature looks like
    none, and during a search the parameters leave x by up to `escape_length`. Differences of gradients lose
    digits: keep `start_radius` above 1e-6 in float64, 1e-2 in float32, relative to the size of x.

    Args:
      learning_rate: the eta of descent and search (> 0, at most 1 / largest curvature).
      gradient_norm: a search begins where the gradient's norm is at most this (> 0).
      start_radius: of the ball that u is first drawn from (> 0).
      escape_length: length of u that proves negative curvature (> 0, larger than `start_radius`).
      max_search: ticks of a search (>= 1).
      key: a key for use without the extra argument `key`; one for each lane.

    Returns:
      A transformation whose state is a `NeonState`.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` has no key.

    Example:
      From the exact saddle of x^4/4 - x^2/2 + y^2/2 to the gradient's zero at |x| = 1:

      >>> import jax, jax.numpy as jnp
      >>> grad_fn = jax.grad(lambda x: x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2 / 2)
      >>> optimizer = neon(
      ...     0.1, 1e-3, start_radius=1e-4, escape_length=0.1, max_search=200, key=jax.random.key(0)
      ... )
      >>> def step(carry, _):
      ...     x, state = carry
      ...     move, state = optimizer.update(grad_fn(x), state, x)
      ...     return (x + move, state), None
      >>> x = jnp.zeros(2)
      >>> (x, state), _ = jax.lax.scan(step, (x, optimizer.init(x)), length=600)
      >>> print(f"{abs(x[0]):.6f}", bool(state.is_settled))
      1.000000 True

    References:
      The source returns the direction; here x moves by u itself, whose length the caller has set.
    """
    checks.positive("learning_rate", learning_rate)
    checks.positive("gradient_norm", gradient_norm)
    checks.positive("start_radius", start_radius)
    checks.positive("escape_length", escape_length)
    checks.at_least("max_search", max_search, 1)

    def init(params: Params) -> NeonState:
        zeros = optax.tree.zeros_like(params)
        return NeonState(
            displacement=zeros,
            grad=zeros,
            num_search=jnp.zeros([], jnp.int32),
            is_settled=jnp.zeros([], bool),
            num_steps=jnp.zeros([], jnp.int32),
            key=key,
        )

    def update(
        updates: Params,
        state: NeonState,
        params: Params | None = None,
        *,
        key: Key | None = None,
        **extra: Any,
    ) -> tuple[Params, NeonState]:
        del params, extra
        is_searching = state.num_search > 0
        is_flat = norm(updates) <= scalar(gradient_norm, updates)
        begins = ~is_searching & is_flat & ~state.is_settled
        noise_key = step_key("neon", key, state.key, state.num_steps)
        noise = uniform_in_ball(noise_key, updates, start_radius)

        curved = optax.tree.sub(updates, state.grad)
        grown = add_scaled(state.displacement, -learning_rate, curved)
        is_found = is_searching & (norm(grown) >= scalar(escape_length, updates))
        has_failed = is_searching & ~is_found & (state.num_search >= jnp.asarray(max_search, jnp.int32))
        sign = jnp.where(dot(state.grad, grown) > 0, -1, 1)
        downhill = scale(sign, grown)
        zeros = optax.tree.zeros_like(updates)

        # Where x + u goes next: descent moves x, the others move u.
        branch = jnp.where(begins, 1, jnp.where(is_found, 3, jnp.where(has_failed, 4, 2)))
        branch = jnp.where(is_searching | begins, branch, 0).astype(jnp.int32)
        target = choose(branch, scale(-learning_rate, updates), noise, grown, downhill, zeros)
        continues = (branch == 1) | (branch == 2)
        return optax.tree.sub(target, state.displacement), NeonState(
            displacement=optax.tree.where(continues, target, zeros),
            grad=optax.tree.where(begins, updates, state.grad),
            num_search=jnp.where(continues, state.num_search + 1, 0),
            is_settled=has_failed | (state.is_settled & (is_flat | is_searching)),
            num_steps=state.num_steps + 1,
            key=state.key,
        )

    return optax.GradientTransformationExtraArgs(init, update)
