r"""A wrapper that watches an optimizer at work: noise, critical step, how long it has dwelt, how much is clipped.

At every so many steps two gradients g and g' that follow each other are compared. Their batches being independent,

$$ \mathrm{E}\, \langle g, g' \rangle \approx |\nabla f|^2, \qquad \mathrm{E}\, \tfrac12 |g' - g|^2 \approx
   \operatorname{tr} S, $$

with S the covariance of one batch's gradient, as long as the step between them changes the gradient little. Where the
optimizer's caller passes `value` and `value_fn`, the loss after the step on the same batch gives the curvature along
the step, and so the factor of the step at which the loss would no longer fall,

$$ c = \frac{-\langle g, u \rangle}{f(x + u) - f(x) - \langle g, u \rangle}, $$

by the quadratic model: below one the steps are too large, and it is infinite where the loss curves downward.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgd.base import Params
from jaxgd.checks import check_optimizer
from jaxgd.transforms import checks
from jaxgd.transforms.algebra import dot, scalar


class MonitorRecord(NamedTuple):
    """What was seen; all () of the parameters' dtype but for the counts, () int32.

    Attributes:
      gradient_norm: of the last recorded gradient.
      largest_norm: of all recorded gradients.
      signal: running mean of <g, g'>, about the squared norm of the true gradient.
      noise: running mean of |g' - g|^2 / 2, about the variance of one batch's gradient.
      critical_step: the factor c; nan where no `value_fn` is passed, or only a part of the parameters is seen.
      dwell: recorded steps in a row with a gradient norm below `small` times the largest.
      clipped_share: running mean of whether the gradient norm exceeds `clip_norm`.
      num_recorded: records so far.
    """

    gradient_norm: jax.Array
    largest_norm: jax.Array
    signal: jax.Array
    noise: jax.Array
    critical_step: jax.Array
    dwell: jax.Array
    clipped_share: jax.Array
    num_recorded: jax.Array

    @property
    def signal_to_noise(self) -> jax.Array:
        """Of one step: below one it goes where the batch says, not where the loss does."""
        return self.signal / self.noise


class MonitorState(NamedTuple):
    """What `monitor` carries.

    Attributes:
      inner: the optimizer's own state.
      record: what was seen.
      gradient: like the parameters, the last recorded gradient.
      num_steps: () int32, steps so far.
    """

    inner: Any
    record: MonitorRecord
    gradient: Params
    num_steps: jax.Array


def monitor(
    optimizer: optax.GradientTransformation,
    every: int = 10,
    *,
    decay: checks.Scalar = 0.9,
    small: checks.Scalar = 0.01,
    clip_norm: checks.Scalar | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Returns the optimizer, unchanged in what it does, with a record of how the descent goes in its state.

    Read `state.record` whenever you like. Two of `every` steps are looked at, by two inner products over the
    parameters, and one evaluation of the loss where `value_fn` is passed; the rest of the time nothing is computed.
    Under `vmap` all steps cost as much as those two.

    Args:
      optimizer: what to watch; give it the raw gradients, so that clipping is inside.
      every: steps from one record to the next (>= 2).
      decay: of the running means, in [0, 1), a record.
      small: share of the largest gradient norm, in (0, 1), below which a descent dwells.
      clip_norm: the norm to which `optimizer` clips, for `clipped_share`; None where it does not.

    Returns:
      A transformation whose state is a `MonitorState`.

    Raises:
      InputValueError: for a hyperparameter outside its range.
      InputTypeError: when `optimizer` is no optax transformation, or `every` is not an integer.

    Example:
      On x^2/2 a step of gradient descent at a rate of 0.5 could be four times as long before the loss rises:

      >>> import jax.numpy as jnp, optax
      >>> bowl = lambda x: x**2 / 2
      >>> optimizer, x = monitor(optax.sgd(0.5), every=2), jnp.array(1.0)
      >>> state = optimizer.init(x)
      >>> move, state = optimizer.update(x, state, x, value=bowl(x), value_fn=bowl)
      >>> float(state.record.critical_step)
      4.0
    """
    check_optimizer(optimizer)
    checks.count("every", every, least=2)
    checks.fraction("decay", decay)
    checks.between("small", small, 0, 1)
    if clip_norm is not None:
        checks.positive("clip_norm", clip_norm)
    inner = optax.with_extra_args_support(optimizer)

    def init(params: Params) -> MonitorState:
        zero, none = scalar(0, params), jnp.zeros([], jnp.int32)
        record = MonitorRecord(
            gradient_norm=zero,
            largest_norm=zero,
            signal=zero,
            noise=zero,
            critical_step=scalar(jnp.nan, params),
            dwell=none,
            clipped_share=zero,
            num_recorded=none,
        )
        zeros = optax.tree.zeros_like(params)
        return MonitorState(inner=inner.init(params), record=record, gradient=zeros, num_steps=none)

    def update(
        updates: Params, state: MonitorState, params: Params | None = None, **extra: Any
    ) -> tuple[Params, MonitorState]:
        moves, inner_state = inner.update(updates, state.inner, params, **extra)
        place = state.num_steps % every
        keep = scalar(decay, updates)
        mean = lambda old, new, number: jnp.where(number == 0, new, keep * old + (1 - keep) * new)

        def first(_: None) -> tuple[MonitorRecord, Params]:
            record = state.record
            norm = jnp.sqrt(dot(updates, updates))
            largest = jnp.maximum(norm, record.largest_norm)
            is_clipped = (
                scalar(0, updates) if clip_norm is None else (norm > scalar(clip_norm, updates)).astype(norm.dtype)
            )
            record = record._replace(
                gradient_norm=norm,
                largest_norm=largest,
                dwell=jnp.where(norm < scalar(small, updates) * largest, record.dwell + 1, 0),
                clipped_share=mean(record.clipped_share, is_clipped, record.num_recorded),
                critical_step=_critical_step(updates, moves, params, extra, record.critical_step),
            )
            return record, updates

        def second(_: None) -> tuple[MonitorRecord, Params]:
            record = state.record
            away = jax.tree.map(jnp.subtract, updates, state.gradient)
            record = record._replace(
                signal=mean(record.signal, dot(updates, state.gradient), record.num_recorded),
                noise=mean(record.noise, dot(away, away) / 2, record.num_recorded),
                num_recorded=record.num_recorded + 1,
            )
            return record, state.gradient

        def pass_by(_: None) -> tuple[MonitorRecord, Params]:
            return state.record, state.gradient

        record, gradient = jax.lax.switch(jnp.minimum(place, 2), (first, second, pass_by), None)
        return moves, MonitorState(inner=inner_state, record=record, gradient=gradient, num_steps=state.num_steps + 1)

    return optax.GradientTransformationExtraArgs(init, update)


def _critical_step(gradient: Params, moves: Params, params: Any, extra: Any, unknown: jax.Array) -> jax.Array:
    """Returns the factor of the step at which the loss no longer falls."""
    value, value_fn = extra.get("value"), extra.get("value_fn")
    if value is None or value_fn is None or params is None or _is_part(params):
        return unknown
    slope = dot(gradient, moves)
    bend = value_fn(optax.apply_updates(params, moves)).astype(slope.dtype) - value - slope
    return jnp.where(bend > 0, -slope / jnp.where(bend > 0, bend, 1), jnp.inf).astype(unknown.dtype)


def _is_part(params: Params) -> bool:
    """Whether `optax.masked` or `optax.multi_transform` has taken something away, so that there is no loss of it."""
    is_masked = lambda node: isinstance(node, optax.MaskedNode)
    return any(map(is_masked, jax.tree.leaves(params, is_leaf=is_masked)))
