"""Checks of a descent before anything is compiled, made by tracing one lane without computing anything."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxgd.base import InputValueError, Key, Landscape, Params
from jaxgd.checks import (
    call_checked,
    check_params,
    check_scalar,
    check_static,
    check_value,
    described,
    first_line,
    is_like,
)
from jaxgd.lanes.lane import Descent
from jaxgd.tracing import Signature, first_structure, signature_of


def check_descent(descent: Descent, key: Key, starts: Params | None) -> None:
    """Rejects a landscape, optimizer or events that cannot run, before anything is compiled.

    Raises:
      InputValueError: a function of the caller raises, or gives the wrong shape.
      InputTypeError: parameters or values of the wrong kind.
    """
    _check_descent(descent, signature_of(key, starts))


@functools.lru_cache(maxsize=16)
def _check_descent(descent: Descent, signature: Signature) -> None:
    """Rejects what tracing shows to be wrong; arguments of a signature that has passed are not traced again."""
    key_shape, starts = signature.abstract
    landscape, events = descent.landscape, descent.events

    # whatever is requested must exist
    if descent.is_noisy and landscape.noisy_value is None:
        raise InputValueError(f"landscape `{landscape.name}` has no `noisy_value` to descend.")
    if descent.stop.at_event is not None and descent.stop.at_event not in events:
        raise InputValueError(f"`at_event` names `{descent.stop.at_event}`, but the events are {sorted(events)}.")

    # starts, value and gradient
    number, what = jax.ShapeDtypeStruct((), jnp.int32), f"the starts of landscape `{landscape.name}`"
    if not descent.has_starts or descent.restart is not None:
        drawn = call_checked(
            "the `sample` of the landscape", lambda: jax.eval_shape(_sampled(landscape, what), key_shape)
        )
        check_static(what, jax.tree.structure(drawn), first_structure(landscape))
    params = call_checked("the starts", lambda: jax.eval_shape(descent.start, number, number, key_shape, starts))
    check_params(params, what)
    check_value(landscape, params)
    if descent.is_noisy and landscape.noisy_value is not None:
        check_scalar("`noisy_value`", functools.partial(jax.eval_shape, landscape.noisy_value, params, key_shape))
        call_checked("the gradient", lambda: jax.eval_shape(landscape.evaluate_noisy, params, key_shape))

    # events, then the optimizer
    for name, fires in events.items():
        evaluated = jax.eval_shape(landscape.evaluate, params)
        fired = call_checked(f"event `{name}`", functools.partial(jax.eval_shape, fires, params, *evaluated))
        if getattr(fired, "shape", None) != () or fired.dtype != bool:
            raise InputValueError(f"event `{name}` must return one bool, got {described(fired)}.")
    _check_optimizer(descent, params, key_shape, number)


def _sampled(landscape: Landscape, what: str) -> Callable[[Key], Params]:
    """Returns the function that draws a start and rejects invalid params, before jax fails on them."""

    def draw(key: Key) -> Params:
        params = landscape.sample(key)
        check_params(params, what)
        return params

    return draw


def _check_optimizer(descent: Descent, params: Params, key: Any, number: Any) -> None:
    lane = call_checked("the optimizer's `init`", lambda: jax.eval_shape(descent.begin_at, params, number, number, key))
    tick = jax.ShapeDtypeStruct((), jnp.int32)

    def update(lane: Any, tick: Any, key: Any) -> Any:
        after = descent.tick(lane, tick, key)
        return after.optimizer, after.params

    try:
        state, moved = jax.eval_shape(update, lane, tick, key)
    except Exception as error:
        raise InputValueError(
            "the optimizer's `update` fails on this landscape's params"
            f" (or its state changes structure): {first_line(error)}"
        ) from error
    if not is_like(state, lane.optimizer):
        raise InputValueError("the optimizer's state changes shape from one update to the next; it must stay fixed.")
    if not is_like(moved, params):
        raise InputValueError("the optimizer's updates must have the params' shapes.")
