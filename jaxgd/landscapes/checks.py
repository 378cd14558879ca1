"""Checks of the arguments of builders, with one error message for each kind of argument."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from jaxgd.base import InputTypeError, InputValueError


def integer(name: str, value: Any, *, at_least: int, at_most: int | None = None) -> int:
    """Returns `value` as an int that lies in the closed range."""
    bound = f"of at least {at_least}" if at_most is None else f"from {at_least} to {at_most}"
    message = f"`{name}` must be an integer {bound}, got {value!r}."
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputTypeError(message)
    number = int(value)
    if number < at_least or (at_most is not None and number > at_most):
        raise InputValueError(message)
    return number


def real(name: str, value: Any, *, above: float = -math.inf, at_least: float = -math.inf) -> float:
    """Returns `value` as a finite float that lies above, or not below, a bound."""
    kind = "a finite number"
    if above > -math.inf:
        kind += f" above {above:g}"
    if at_least > -math.inf:
        kind += f" of at least {at_least:g}"
    message = f"`{name}` must be {kind}, got {value!r}."
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputTypeError(message)
    if not math.isfinite(value) or value <= above or value < at_least:
        raise InputValueError(message)
    return float(value)


def choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Returns `value` if it is one of `choices`."""
    message = f"`{name}` must be one of {', '.join(map(repr, choices))}, got {value!r}."
    if not isinstance(value, str):
        raise InputTypeError(message)
    if value not in choices:
        raise InputValueError(message)
    return value


def sequence(name: str, value: Any) -> tuple[Any, ...]:
    """Returns `value` as a tuple that is not empty; a single number counts as a tuple of one."""
    values = (value,) if isinstance(value, Real) else value
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InputTypeError(f"`{name}` must be a tuple of numbers, got {value!r}.")
    if not values:
        raise InputValueError(f"`{name}` must hold at least one number, got {value!r}.")
    return tuple(values)
