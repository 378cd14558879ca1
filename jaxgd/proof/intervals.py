"""Interval arithmetic in float64, rounded outward: every result holds all real results of its operands' members.

Sums, products and quotients of IEEE numbers are right to half a unit in the last place, so that one step outward is
enough; NumPy's and SciPy's functions are taken to be right to eight. What is not a number is the whole line.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Rows = Any
"""NumPy arrays; those of intervals have a leading axis of boxes, of length 1 for constants."""

_ULPS = 8 * float(np.finfo(np.float64).eps)
_TINY = float(np.finfo(np.float64).tiny)


class Bounds(NamedTuple):
    """All numbers between two bounds."""

    low: Rows
    high: Rows


def thin(x: Any) -> Bounds:
    """Returns the interval of a single float64 number in each place."""
    return Bounds(np.asarray(x, np.float64), np.asarray(x, np.float64))


def outward(low: Rows, high: Rows) -> Bounds:
    """Returns bounds one step farther out, the whole line where one is not a number."""
    is_unknown = np.isnan(low) | np.isnan(high)
    low, high = np.nextafter(low, -np.inf), np.nextafter(high, np.inf)
    return Bounds(np.where(is_unknown, -np.inf, low), np.where(is_unknown, np.inf, high))


def add(a: Bounds, b: Bounds) -> Bounds:
    """Returns a + b."""
    return outward(a.low + b.low, a.high + b.high)


def negative(a: Bounds) -> Bounds:
    """Returns -a."""
    return Bounds(-a.high, -a.low)


def subtract(a: Bounds, b: Bounds) -> Bounds:
    """Returns a - b."""
    return add(a, negative(b))


def multiply(a: Bounds, b: Bounds) -> Bounds:
    """Returns a b."""
    corners = [x * y for x in a for y in b]
    low, high = corners[0], corners[0]
    for corner in corners[1:]:
        low, high = np.minimum(low, corner), np.maximum(high, corner)
    return outward(low, high)


def divide(a: Bounds, b: Bounds) -> Bounds:
    """Returns a / b, the whole line where b holds 0."""
    has_zero = (b.low <= 0) & (b.high >= 0)
    low, high = np.where(has_zero, np.nan, b.low), np.where(has_zero, np.nan, b.high)
    return multiply(a, outward(1 / high, 1 / low))


def power(a: Bounds, exponent: int) -> Bounds:
    """Returns a to an integer power."""
    if exponent < 0:
        return divide(thin(1.0), power(a, -exponent))
    if exponent <= 1:
        return a if exponent else thin(np.ones_like(a.low))
    low, high = np.power(a.low, exponent), np.power(a.high, exponent)
    if exponent % 2:
        return widened(low, high)
    has_zero = (a.low <= 0) & (a.high >= 0)
    found = widened(np.where(has_zero, 0, np.minimum(low, high)), np.maximum(low, high))
    return Bounds(np.maximum(found.low, 0), found.high)


def monotone(function: Callable[[Rows], Rows], a: Bounds, low: float, high: float) -> Bounds:
    """Returns an increasing function of a, whose values lie between `low` and `high`."""
    found = widened(function(a.low), function(a.high))
    return Bounds(np.maximum(found.low, low), np.minimum(found.high, high))


def cosine(a: Bounds, shift: float = 0.0) -> Bounds:
    """Returns cos(a - shift pi / 2), sine where the shift is 1."""
    function = np.sin if shift else np.cos
    ends = function(a.low), function(a.high)
    found = widened(np.minimum(*ends), np.maximum(*ends))

    # Extrema lie at whole numbers of half turns; those that are nearly touched count, and far out all do.
    turn = lambda x, out: x / np.pi - shift / 2 + out * (1e-9 + 1e-12 * np.abs(x))
    first, last = np.ceil(turn(a.low, -1.0)), np.floor(turn(a.high, 1.0))
    is_far = ~(np.maximum(np.abs(a.low), np.abs(a.high)) < 1e6)
    has_both = is_far | (last - first >= 1)
    has_top = has_both | ((last == first) & (first % 2 == 0))
    has_bottom = has_both | ((last == first) & (first % 2 == 1))
    low, high = np.where(has_bottom, -1, found.low), np.where(has_top, 1, found.high)
    return Bounds(np.maximum(low, -1), np.minimum(high, 1))


def widened(low: Rows, high: Rows) -> Bounds:
    """Returns bounds eight units in the last place farther out."""
    return outward(low - _ULPS * np.abs(low) - _TINY, high + _ULPS * np.abs(high) + _TINY)


def total(a: Bounds, axis: tuple[int, ...]) -> Bounds:
    """Returns the sum over axes, whatever the order in which NumPy adds."""
    number = int(np.prod([a.low.shape[one] for one in axis], dtype=np.int64))
    slack = [2 * number * _ULPS * np.sum(np.abs(bound), axis=axis) + _TINY for bound in a]
    return outward(np.sum(a.low, axis=axis) - slack[0], np.sum(a.high, axis=axis) + slack[1])
