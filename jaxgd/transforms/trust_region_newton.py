r"""Newton-CG in a trust region: conjugate gradients minimise the quadratic model within a radius.

$$s \approx \arg\min_{|s| \le r}\; g\cdot s + \tfrac12 s\cdot H s.$$

The step is judged on the next tick, by the fall of the value over the fall that the model promised: the
radius follows, and a bad step is taken back. Sources: Steihaug, SIAM J. Numer. Anal. 20, 626 (1983); Nocedal
and Wright, Numerical Optimization, Algorithms 4.1 and 7.2.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgd.base import Params
from jaxgd.transforms import checks
from jaxgd.transforms.algebra import rounding, scalar
from jaxgd.transforms.krylov import HessianProduct, Vector, VectorProduct, flatten

ACCEPTED = 0.15  # least ratio of a step that is kept


class TrustRegionState(NamedTuple):
    """What `trust_region_newton` carries.

    Attributes:
      params: like the parameters, where the last step began.
      value: () of the parameters' dtype, the value there; infinite where there is no step to judge.
      promised: () of the parameters' dtype, the fall of the value that the model promised.
      radius: () of the parameters' dtype.
      is_at_boundary: () bool, whether the last step ended at the radius.
      num_hvps: () int32, Hessian-vector products so far.
    """

    params: Params
    value: jax.Array
    promised: jax.Array
    radius: jax.Array
    is_at_boundary: jax.Array
    num_hvps: jax.Array


def trust_region_newton(
    initial_radius: checks.Scalar = 1.0,
    max_radius: checks.Scalar = 1000.0,
    *,
    max_products: int = 20,
) -> optax.GradientTransformationExtraArgs:
    r"""Returns trust-region Newton-CG; `update` needs the extra arguments `value` and `hvp`.

    Quadratic convergence near a minimum at a cost that does not grow with the square of the dimension. Where
    conjugate gradients meet negative curvature the step goes to the boundary along it, so saddles are left in
    a few steps, unless the gradient is orthogonal to every negative direction. A rejected step costs two
    ticks.

    Args:
      initial_radius: first trust radius (> 0).
      max_radius: largest one (> 0).
      max_products: Hessian-vector products a tick (>= 1); they are computed, and counted, on every tick.

    Returns:
      A transformation whose state is a `TrustRegionState`.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` lacks `value`, `params` or
        `hvp`.
      InputTypeError: when `max_products` is not an integer.

    Example:
      A quadratic whose minimum lies within the radius takes one step, up to the tolerance of the inner
      iteration:

      >>> import jax.numpy as jnp
      >>> curvature, x = jnp.array([1.0, 10.0]), jnp.array([1e-6, 1e-6])
      >>> optimizer = trust_region_newton(max_products=2)
      >>> state, hvp = optimizer.init(x), lambda v: curvature * v
      >>> move, _ = optimizer.update(curvature * x, state, x, value=0.0, hvp=hvp)
      >>> bool(jnp.linalg.norm(x + move) < 1e-15)
      True

    References:
      Rules and constants are those of scipy's `trust-ncg`: the same iterates, tested.
    """
    checks.positive("initial_radius", initial_radius)
    checks.positive("max_radius", max_radius)
    checks.count("max_products", max_products)

    def init(params: Params) -> TrustRegionState:
        return TrustRegionState(
            params=optax.tree.zeros_like(params),
            value=scalar(jnp.inf, params),
            promised=scalar(1, params),
            radius=scalar(initial_radius, params),
            is_at_boundary=jnp.zeros([], bool),
            num_hvps=jnp.zeros([], jnp.int32),
        )

    def update(
        updates: Params,
        state: TrustRegionState,
        params: Params | None = None,
        *,
        value: jax.Array | None = None,
        hvp: HessianProduct | None = None,
        **extra: Any,
    ) -> tuple[Params, TrustRegionState]:
        del extra
        checks.given("trust_region_newton", params=params, value=value)

        # Judge the last step by its fall over the promised one.
        value = scalar(value, updates)
        is_first = jnp.isinf(state.value)
        fall = jnp.where(is_first, 0, state.value - value)
        is_too_small = jnp.maximum(jnp.abs(fall), state.promised) <= rounding(value)
        ratio = jnp.where(is_too_small | is_first, 0.5, fall / state.promised)

        shrunk = jnp.where(ratio < 0.25, state.radius / 4, state.radius)
        grown = jnp.minimum(2 * state.radius, scalar(max_radius, updates))
        radius = jnp.where((ratio > 0.75) & state.is_at_boundary, grown, shrunk)
        is_kept = ratio > ACCEPTED

        grad, product, unflatten = flatten("trust_region_newton", updates, hvp)
        step, is_at_boundary = _steihaug(grad, product, radius.astype(grad.dtype), max_products)
        curved = product(step)
        promised = -(jnp.dot(grad, step) + jnp.dot(step, curved) / 2)

        move = optax.tree.where(is_kept, unflatten(step), optax.tree.sub(state.params, params))
        return move, TrustRegionState(
            params=optax.tree.where(is_kept, params, state.params),
            value=jnp.where(is_kept, value, jnp.inf),
            promised=jnp.where(is_kept, promised, 1),
            radius=radius,
            is_at_boundary=is_at_boundary & is_kept,
            num_hvps=state.num_hvps + max_products + 1,
        )

    return optax.GradientTransformationExtraArgs(init, update)


class _Iteration(NamedTuple):
    step: Vector
    residual: Vector
    direction: Vector
    is_done: jax.Array
    is_at_boundary: jax.Array


def _steihaug(grad: Vector, product: VectorProduct, radius: jax.Array, max_products: int) -> tuple[Vector, jax.Array]:
    """Returns the step of Nocedal and Wright's Algorithm 7.2, and whether it ended at the radius."""
    size = jnp.linalg.norm(grad)
    tolerance = jnp.minimum(0.5, jnp.sqrt(size)) * size

    def body(_: int, old: _Iteration) -> _Iteration:
        curved = product(old.direction)
        curvature = jnp.dot(old.direction, curved)
        square = jnp.dot(old.residual, old.residual)
        alpha = square / jnp.where(curvature > 0, curvature, 1)
        step = old.step + alpha * old.direction
        leaves = (curvature <= 0) | (jnp.linalg.norm(step) >= radius)

        # The positive root of |step + tau direction| = radius.
        a, b = jnp.dot(old.direction, old.direction), jnp.dot(old.step, old.direction)
        c = jnp.dot(old.step, old.step) - radius**2
        root = jnp.sqrt(jnp.maximum(b * b - a * c, 0))
        tau = jnp.where(b > 0, -c / jnp.where(b > 0, b + root, 1), (root - b) / jnp.where(a > 0, a, 1))
        step = jnp.where(leaves, old.step + tau * old.direction, step)

        residual = old.residual + alpha * curved
        beta = jnp.dot(residual, residual) / jnp.where(square > 0, square, 1)
        is_done = leaves | (jnp.linalg.norm(residual) < tolerance)
        new = _Iteration(step, residual, beta * old.direction - residual, is_done, leaves)
        return optax.tree.where(old.is_done, old, new)

    zero = jnp.zeros_like(grad)
    start = _Iteration(zero, grad, -grad, size == 0, jnp.zeros([], bool))
    end = jax.lax.fori_loop(0, max_products, body, start)
    return end.step, end.is_at_boundary
