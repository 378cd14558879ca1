"""Checks of the arguments of builders, and of the extra arguments of `update`.

Hyperparameters may be traced scalars with unknown values; so only Python and NumPy numbers are checked, before any
tracing.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from jaxgd.base import InputTypeError, InputValueError

Scalar = float | jax.Array | np.ndarray  # a hyperparameter: a number, or a traced scalar in a sweep
ScalarOrSchedule = Scalar | optax.Schedule

_MEANING = {
    "value": "the function's value at `params`",
    "params": "the point at which `updates` was evaluated",
    "hvp": "a callable that maps v to the Hessian at `params` times v",
    "key": "a random key that differs from step to step (or give the builder a `key=`)",
}


def positive(name: str, number: Any, *, schedule: bool = False) -> None:
    """Rejects a number that is not positive and finite; accepts a callable if `schedule` is true."""
    _check(name, number, lambda x: 0 < x < math.inf, "positive and finite", schedule)


def not_negative(name: str, number: Any, *, schedule: bool = False) -> None:
    """Rejects a number that is negative or not finite; accepts a callable if `schedule` is true."""
    _check(name, number, lambda x: 0 <= x < math.inf, "finite and not negative", schedule)


def finite(name: str, number: Any) -> None:
    """Rejects a number that is not finite."""
    _check(name, number, math.isfinite, "finite", False)


def fraction(name: str, number: Any, *, one: bool = False) -> None:
    """Rejects a number outside [0, 1), or outside [0, 1] with `one`."""
    _check(name, number, lambda x: 0 <= x < 1 or (one and x == 1), f"in [0, 1{']' if one else ')'}", False)


def between(name: str, number: Any, low: float, high: float, *, closed: bool = False) -> None:
    """Rejects a number outside (low, high), or outside (low, high] if `closed`."""
    _check(
        name,
        number,
        lambda x: low < x < high or (closed and x == high),
        f"in ({low}, {high}{']' if closed else ')'}",
        False,
    )


def at_least(name: str, number: Any, bound: float) -> None:
    """Rejects a number that is not finite or is smaller than `bound`."""
    _check(name, number, lambda x: bound <= x < math.inf, f"finite and at least {bound}", False)


def count(name: str, number: Any, *, least: int = 1) -> None:
    """Rejects anything but a Python integer of at least `least`: a count determines shapes and cannot be traced."""
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
        raise InputTypeError(
            f"`{name}` must be an integer, got {number!r}. It fixes the shape of the state: "
            "with `optax.inject_hyperparams` name it in `static_args`."
        )
    if number < least:
        raise InputValueError(f"`{name}` must be at least {least}, got {number}.")


def choice(name: str, word: Any, words: tuple[str, ...]) -> None:
    """Rejects a word that is not one of `words`."""
    if word not in words:
        raise InputValueError(f"`{name}` must be one of {', '.join(map(repr, words))}, got {word!r}.")


def given(method: str, **extra: Any) -> None:
    """Raises if an `update` of `method` was called without one of the named arguments."""
    for name, argument in extra.items():
        if argument is None:
            raise missing(method, name)


def missing(method: str, name: str) -> InputValueError:
    """Returns the error for an `update` of `method` that was called without `name`."""
    where = "as its third argument" if name == "params" else "as an extra argument"
    return InputValueError(f"`{method}` needs `{name}`, {_MEANING[name]}: pass it to `update` {where}.")


def _check(name: str, number: Any, rule: Callable[[float], bool], words: str, schedule: bool) -> None:
    if isinstance(number, jax.Array) or (schedule and callable(number)):
        return
    array = np.asarray(number)
    if array.ndim or array.dtype.kind not in "iuf":
        also = " or a schedule" if schedule else ""
        raise InputTypeError(f"`{name}` must be a scalar{also}, got {number!r}.")
    if not rule(float(array)):
        raise InputValueError(f"`{name}` must be {words}, got {number}.")
