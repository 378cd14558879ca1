"""How far rounding reaches: the noise of gradients and values at a point, measured beside it.

Close by, differences from the quadratic model are noise, for a smooth function. A few roundings away a function may be
constant in steps; over the root of the rounding unit what the model misses is itself of the size of rounding. Both are
looked at.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxgd.points.evidence import Rows
from jaxgd.points.rows import ForRows

_ROUNDINGS = 4.0  # that the near places lie off
_FARTHER = 0.5  # times the root of the rounding unit, in units of length, that the others do
_SAFETY = 4.0  # on the largest of a few draws
_NUM_DRAWS = 2  # each gives a place and its opposite
_AROUND = 0.3  # units of length
_MOST = 2.0**10  # rounding units of the value and of gradients around; more is no noise but a jump


class Model(NamedTuple):
    """The quadratic models at points."""

    product: Callable[[Rows], Rows]  # (n, k, dim) moves -> (n, k, dim), what the Hessians make of them
    rounding: Rows  # (n, dim) what one rounding of x makes of the gradient
    unit: Rows  # (n, dim) of length
    is_free: Rows  # (dim,) bool, False for frozen coordinates


class Noise(NamedTuple):
    """Errors that rounding leaves; arrays with one leading axis of points."""

    gradient: Rows  # (n, dim) of each entry
    value: Rows  # (n,)


def noise_at(evaluate: ForRows, x: Rows, value: Rows, gradient: Rows, model: Model) -> Noise:
    """Returns the noise at points (n, dim); a jump of the gradient at the point is told from it by its size.

    Args:
      evaluate: x -> value, gradient.
      x: (n, dim) points.
      value: (n,) there.
      gradient: (n, dim) there.
      model: of the function there.
    """
    eps = np.finfo(x.dtype).eps
    signs = both_signs(x, _NUM_DRAWS) * model.is_free
    near = a_few_roundings(x, model.unit, signs)
    moves = np.concatenate([near, near + _FARTHER * eps**0.5 * model.unit[:, None] * signs], axis=1)
    values, gradients = at_places(evaluate, x, moves)

    # The move that was made is the one that rounding left of it.
    moves = (x[:, None] + moves) - x[:, None]
    differences = np.max(np.abs(gradients - gradient[:, None] - model.product(moves)), axis=1)
    uneven = np.max(np.abs(values - value[:, None] - np.einsum("ni,nki->nk", gradient, moves)), axis=1)

    # A jump is large against the gradients around.
    _, around = at_places(evaluate, x, _AROUND * model.unit[:, None] * signs[:, :2])
    size = np.abs(value) + np.max(np.abs(model.unit[:, None] * around), axis=(1, 2))
    most = _MOST * eps * np.where(np.isfinite(size), size, np.inf)[:, None] / model.unit

    # Rounding comes in steps, and a few draws may miss them all: a value's own rounding is always granted.
    least = eps * np.abs(value)[:, None] / model.unit
    noise = np.minimum(_SAFETY * differences, most) + 2 * model.rounding + least
    return Noise(noise, _SAFETY * uneven + 16 * eps * np.abs(value))


def a_few_roundings(x: Rows, unit: Rows, signs: Rows) -> Rows:
    """Returns (n, k, dim) moves of points `x` (n, dim) by a few roundings, by each of the signs (1, k, dim)."""
    return _ROUNDINGS * np.finfo(x.dtype).eps * np.maximum(np.abs(x), unit)[:, None] * signs


def both_signs(x: Rows, num_draws: int) -> Rows:
    """Returns (1, 2 num_draws, dim) random signs, each draw followed by its opposite."""
    signs = np.random.default_rng(0).choice(np.array([-1, 1], x.dtype), (num_draws, x.shape[1]))
    return np.stack([signs, -signs], axis=1).reshape(1, -1, x.shape[1])


def at_places(evaluate: ForRows, x: Rows, moves: Rows) -> tuple[Rows, Rows]:
    """Returns values (n, k) and gradients (n, k, dim) at `x` (n, dim) moved by `moves` (n, k, dim)."""
    places = x[:, None] + moves
    values, gradients = evaluate(places.reshape(-1, x.shape[1]))
    return values.reshape(places.shape[:2]), gradients.reshape(places.shape)
