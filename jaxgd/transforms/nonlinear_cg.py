r"""Nonlinear conjugate gradients (Polak-Ribiere+), its line search spread over ticks.

$$d' = -g' + \beta\, d, \qquad \beta = \max\{0,\; g'\cdot(g' - g) / g\cdot g\}.$$

Along d, each tick evaluates one trial point. It ends the line when the value has not risen and the slope has
fallen to a fraction of the first one; else the next trial is where the secant of the two slopes is zero, kept
inside the bracket. On a quadratic a line takes at most two ticks and ends at its exact minimum.

Sources: Polak and Ribiere (1969); Gilbert and Nocedal, SIAM J. Optim. 2, 21 (1992); Nocedal and Wright,
Numerical Optimization, section 5.2 and Eq. (3.60).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgd.base import Params
from jaxgd.transforms import checks
from jaxgd.transforms.algebra import add_scaled, dot, is_no_rise, scalar, scale

REACH = 100.0  # without an upper bracket a secant is trusted up to this many times the trial before
GROWTH = 4.0  # where it cannot be, the trial grows by this factor
MARGIN = 0.05  # a trial stays this fraction of the bracket away from its ends


class NonlinearCGState(NamedTuple):
    """What `nonlinear_cg` carries. All scalars but `num_trials` have the parameters' dtype.

    Attributes:
      direction: like the parameters, the line.
      grad: like the parameters, the gradient where the line began.
      value: () the value there; infinite before the first step.
      slope: () the slope of the line there.
      step: () the trial's distance from there, in units of the direction.
      low: () the longest trial that was too short.
      high: () the shortest trial that was too long; infinite if none.
      num_trials: () int32, trials on this line.
    """

    direction: Params
    grad: Params
    value: jax.Array
    slope: jax.Array
    step: jax.Array
    low: jax.Array
    high: jax.Array
    num_trials: jax.Array


def nonlinear_cg(
    max_first_step: checks.Scalar = 1.0,
    *,
    slope_fraction: checks.Scalar = 0.3,
    max_trials: checks.Scalar = 20,
) -> optax.GradientTransformationExtraArgs:
    r"""Returns Polak-Ribiere+ conjugate gradients; `update` needs the extra argument `value`.

    Needs the memory of two gradients, and about sqrt(condition number) lines of two ticks each: for high
    dimension where `lbfgs` is too large. Beside a saddle a line of negative curvature is followed as far as
    it falls, so it leaves quickly but far. Noise in the gradient destroys the conjugacy.

    Args:
      max_first_step: Euclidean length of the first trial, at most (> 0).
      slope_fraction: slope that ends a line, relative to the slope where it began, in (0, 1).
      max_trials: trials after which any value that has not risen ends a line (>= 1).

    Returns:
      A transformation whose state is a `NonlinearCGState`.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` is called without `value`.

    Example:
      A quadratic in three dimensions takes three lines, here of two ticks each, and a last tick to see it:

      >>> import jax, jax.numpy as jnp
      >>> stiffness, x = jnp.array([1.0, 5.0, 25.0]), jnp.ones(3)
      >>> optimizer = nonlinear_cg(slope_fraction=1e-6)
      >>> state = optimizer.init(x)
      >>> for tick in range(6):
      ...     move, state = optimizer.update(stiffness * x, state, x, value=0.5 * jnp.sum(stiffness * x**2))
      ...     x = x + move
      >>> bool(jnp.linalg.norm(x) < 1e-12)
      True
    """
    checks.positive("max_first_step", max_first_step)
    checks.between("slope_fraction", slope_fraction, 0, 1)
    checks.at_least("max_trials", max_trials, 1)

    def init(params: Params) -> NonlinearCGState:
        zeros, zero = optax.tree.zeros_like(params), scalar(0, params)
        return NonlinearCGState(
            direction=zeros,
            grad=zeros,
            value=scalar(jnp.inf, params),
            slope=zero,
            step=zero,
            low=zero,
            high=scalar(jnp.inf, params),
            num_trials=jnp.zeros([], jnp.int32),
        )

    def update(
        updates: Params,
        state: NonlinearCGState,
        params: Params | None = None,
        *,
        value: jax.Array | None = None,
        **extra: Any,
    ) -> tuple[Params, NonlinearCGState]:
        del params, extra
        checks.given("nonlinear_cg", value=value)
        value = scalar(value, updates)
        is_first = jnp.isinf(state.value)
        slope = dot(updates, state.direction)
        is_lower = is_no_rise(value, state.value)
        is_flat = jnp.abs(slope) <= scalar(slope_fraction, updates) * jnp.abs(state.slope)
        is_last = state.num_trials >= jnp.asarray(max_trials, jnp.int32)
        is_done = is_first | (is_lower & (is_flat | is_last))

        # The next trial on this line.
        is_long = ~is_lower | (slope > 0)
        low = jnp.where(is_long, state.low, state.step)
        high = jnp.where(is_long, state.step, state.high)
        secant = state.step * state.slope / (state.slope - slope)
        reach = jnp.where(jnp.isinf(high), REACH * state.step, high)
        margin = jnp.where(jnp.isinf(high), 0, MARGIN * (high - low))
        is_inside = (secant > low) & (secant < reach)
        middle = jnp.where(jnp.isinf(high), GROWTH * state.step, (low + high) / 2)
        trial = jnp.where(is_inside, jnp.clip(secant, low + margin, reach - margin), middle)

        # The next line.
        old_square = dot(state.grad, state.grad)
        square = dot(updates, updates)
        beta = (square - dot(updates, state.grad)) / jnp.where(old_square > 0, old_square, 1)
        beta = jnp.where(is_first, 0, jnp.maximum(beta, 0))
        beta = jnp.where(beta * slope < square, beta, 0)  # else the new line would go uphill
        direction = add_scaled(optax.tree.scale(-1, updates), beta, state.direction)
        new_slope = beta * slope - square
        length = jnp.sqrt(square)
        limit = scalar(max_first_step, updates)
        first = jnp.where(length > limit, limit / length, 1)
        start = jnp.where(is_first, first, state.step)

        move = optax.tree.where(is_done, scale(start, direction), scale(trial - state.step, state.direction))
        keep = lambda new, old: optax.tree.where(is_done, new, old)
        return move, NonlinearCGState(
            direction=keep(direction, state.direction),
            grad=keep(updates, state.grad),
            value=keep(value, state.value),
            slope=keep(new_slope, state.slope),
            step=jnp.where(is_done, start, trial),
            low=jnp.where(is_done, 0, low),
            high=jnp.where(is_done, jnp.inf, high),
            num_trials=jnp.where(is_done, 1, state.num_trials + 1),
        )

    return optax.GradientTransformationExtraArgs(init, update)
