r"""Limited-memory BFGS with one gradient per step: no line search, but a step that may be taken back.

$$d = -H g, \qquad x \leftarrow x + \min(1,\, \text{max\_step}/|d|)\, d,$$

with H the inverse Hessian learned from the last pairs s = x' - x, y = g' - g by the two-loop recursion.
A step is accepted unless it raises the value beyond rounding; else the next tick tries a shorter one, from
the same point: to the minimum of the cubic through both values and slopes. So a line search is spread over
ticks, and no lane waits for another one's.

Sources: Nocedal, Math. Comp. 35, 773 (1980); the acceptance rule follows D. J. Wales' GMIN and pele, the cubic
is equation (3.59) of Nocedal and Wright.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgd.base import Params
from jaxgd.transforms import checks
from jaxgd.transforms.algebra import add_scaled, dot, is_no_rise, norm, scalar, scale

_LONGEST_RETRY = 0.5  # of a step that raised the value


class CurvaturePair(NamedTuple):
    """A step and the change of gradient along it.

    Attributes:
      step: like the parameters, s.
      change: like the parameters, y.
      weight: (), of the parameters' dtype, 1 / s.y; 0 where the pair is not to be used.
    """

    step: Params
    change: Params
    weight: jax.Array


class LBFGSState(NamedTuple):
    """What `lbfgs` carries.

    Attributes:
      params: like the parameters, the last accepted point.
      grad: like the parameters, the gradient there.
      value: () of the parameters' dtype, the value there; infinite before the first step.
      scale: () of the parameters' dtype, where the recursion begins: s.y / y.y of the last good pair, doubled
        by each accepted step since that taught no curvature, and shortened by each rejected one.
      pairs: the last `memory_size` pairs, newest first.
    """

    params: Params
    grad: Params
    value: jax.Array
    scale: jax.Array
    pairs: tuple[CurvaturePair, ...]


def lbfgs(
    memory_size: int = 4,
    max_step: checks.Scalar | None = None,
    *,
    max_first_step: checks.Scalar = 1.0,
    initial_scale: checks.Scalar = 1.0,
    max_rise: checks.Scalar = 0.0,
    shrink: checks.Scalar = 0.1,
) -> optax.GradientTransformationExtraArgs:
    r"""Returns L-BFGS of one gradient per step; `update` needs the extra argument `value`.

    The fastest way to the bottom of a smooth basin, when the gradient is exact. Its steps are long, so it
    often ends in another basin than the gradient flow from the same start would: basin weights are its own.
    It may be drawn to a saddle by its positive curvatures; pairs with s.y not safely positive are skipped,
    and each such step doubles the scale, so that it leaves along negative curvature faster than gradient
    descent. With noisy gradients or values it fails.

    Args:
      memory_size: pairs kept (>= 1). Small lanes want few, since each pair costs four passes over the
        parameters a step; where the gradient costs much more than that, 10 save about 7 % of the gradients.
      max_step: longest Euclidean move of one step (> 0), over all parameters together; None for no cap. Give
        one where the landscape has walls: 0.1 for Lennard-Jones clusters in reduced units.
      max_first_step: longest first move (> 0), when nothing is known of the curvature.
      initial_scale: first guess of the inverse curvature (> 0).
      max_rise: rise of the value that is accepted beyond rounding (>= 0), in the value's unit. Rounding means
        64 machine epsilons of |value|.
      shrink: least factor of the step that is tried after a rise, in (0, 1); the greatest is a half, or this.

    Returns:
      A transformation whose state is an `LBFGSState`.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` is called without `value`,
        `params`.
      InputTypeError: when `memory_size` is not an integer.

    Example:
      Rosenbrock's valley from the usual start, in one gradient per step:

      >>> import jax, jax.numpy as jnp
      >>> rosenbrock = lambda x: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
      >>> optimizer = lbfgs()
      >>> def step(carry, _):
      ...     x, state = carry
      ...     value, grad = jax.value_and_grad(rosenbrock)(x)
      ...     move, state = optimizer.update(grad, state, x, value=value)
      ...     return (x + move, state), None
      >>> x = jnp.array([-1.2, 1.0])
      >>> (x, _), _ = jax.lax.scan(step, (x, optimizer.init(x)), length=70)
      >>> bool(jnp.linalg.norm(jax.grad(rosenbrock)(x)) < 1e-9)
      True

    References:
      GMIN and pele keep pairs of negative curvature and turn a direction that goes uphill; here such pairs
      are skipped when |s|^2 |y|^2 > (s.y)^2 / eps, the condition number that the pair would give H, so a turn
      is needed only against rounding. A rejected step pushes the oldest pair out.
    """
    checks.count("memory_size", memory_size)
    if max_step is not None:
        checks.positive("max_step", max_step)
    checks.positive("max_first_step", max_first_step)
    checks.positive("initial_scale", initial_scale)
    checks.not_negative("max_rise", max_rise)
    checks.between("shrink", shrink, 0, 1)

    def init(params: Params) -> LBFGSState:
        zeros = optax.tree.zeros_like(params)
        return LBFGSState(
            params=zeros,
            grad=zeros,
            value=scalar(jnp.inf, params),
            scale=scalar(initial_scale, params),
            pairs=(CurvaturePair(zeros, zeros, scalar(0, params)),) * memory_size,
        )

    def update(
        updates: Params,
        state: LBFGSState,
        params: Params | None = None,
        *,
        value: jax.Array | None = None,
        **extra: Any,
    ) -> tuple[Params, LBFGSState]:
        del extra
        checks.given("lbfgs", params=params, value=value)
        number = lambda hyperparameter: scalar(hyperparameter, updates)
        value = number(value)
        epsilon = jnp.finfo(value.dtype).eps

        is_first = jnp.isinf(state.value)
        is_accepted = is_first | is_no_rise(value, state.value, max_rise)

        step = optax.tree.sub(params, state.params)
        change = optax.tree.sub(updates, state.grad)
        product, change_square = dot(step, change), dot(change, change)
        safe = jnp.sqrt(epsilon * change_square * dot(step, step))
        is_good = is_accepted & ~is_first & (product > safe)
        weight = jnp.where(is_good, 1 / jnp.where(is_good, product, 1), 0)
        shorter = _minimum_of_cubic(value - state.value, dot(state.grad, step), dot(updates, step))
        shorter = jnp.clip(shorter, number(shrink), jnp.maximum(number(shrink), _LONGEST_RETRY))
        growth = jnp.where(is_first, 1, jnp.where(is_accepted, 2, shorter))
        size = jnp.where(
            is_good,
            product / jnp.where(is_good, change_square, 1),
            jnp.minimum(growth * state.scale, jnp.sqrt(jnp.finfo(value.dtype).max)),
        )
        pairs = (CurvaturePair(step, change, weight), *state.pairs[:-1])

        ascent = _multiply_inverse_hessian(updates, pairs, size)
        length = norm(ascent)
        limit = jnp.inf if max_step is None else number(max_step)
        limit = jnp.where(is_first, jnp.minimum(number(max_first_step), limit), limit)
        factor = jnp.where(length > limit, limit / length, 1)
        size = jnp.where(is_first, factor * size, size)
        factor = jnp.where(dot(ascent, updates) < 0, factor, -factor)
        forward = scale(factor, ascent)
        back = scale(shorter - 1, step)

        keep = lambda new, old: optax.tree.where(is_accepted, new, old)
        new_state = LBFGSState(
            params=keep(params, state.params),
            grad=keep(updates, state.grad),
            value=keep(value, state.value),
            scale=size,
            pairs=pairs,
        )
        return keep(forward, back), new_state

    return optax.GradientTransformationExtraArgs(init, update)


def _minimum_of_cubic(rise: jax.Array, slope: jax.Array, slope_ahead: jax.Array) -> jax.Array:
    """Returns where on [0, 1] the cubic is least that begins downhill and ends higher by `rise`; 0 if it overflows.

    Its slopes at 0 and 1 are `slope` and `slope_ahead`.
    """
    bend = slope + slope_ahead - 3 * rise
    root = jnp.sqrt(jnp.maximum(bend**2 - slope * slope_ahead, 0))
    place = 1 - (slope_ahead + root - bend) / (slope_ahead - slope + 2 * root)
    return jnp.where(jnp.isfinite(place), place, 0)


def _multiply_inverse_hessian(grad: Params, pairs: tuple[CurvaturePair, ...], size: jax.Array) -> Params:
    """Returns H grad by the two-loop recursion (Nocedal and Wright, Algorithm 7.4), pairs newest first."""
    coefficients = []
    for pair in pairs:
        coefficients.append(pair.weight * dot(pair.step, grad))
        grad = add_scaled(grad, -coefficients[-1], pair.change)
    grad = scale(size, grad)
    for pair, coefficient in zip(reversed(pairs), reversed(coefficients), strict=True):
        grad = add_scaled(grad, coefficient - pair.weight * dot(pair.change, grad), pair.step)
    return grad
