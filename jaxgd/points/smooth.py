"""Is the function smooth here? A kink is told by how gradients beside a point differ from its quadratic model.

With the Hessian H at x, the mismatch g(x + d) - g(x) - H d of a smooth function falls with the square of d; where the
curvature jumps at x it falls like d, and where the gradient jumps not at all. So the mismatch is followed down over
distances that shrink by four each time, in random directions and their opposites (a kink through the point has both
sides beside it): where it stays above rounding to the last and falls by less than eight each time, it is a kink.
"""

import math

import numpy as np

from jaxgd.points.evidence import Rows
from jaxgd.points.noise import Model, Noise, at_places, both_signs
from jaxgd.points.rows import ForRows

_SHRINKS = 4.0
_FALLS = 8.0  # between the 16 of a smooth function and the 4 of a jump of curvature
_ABOVE = 8.0  # noise levels
_SHARE = 1e-4  # of the largest noise, in units of length, that every entry of the gradient is granted
_ROUNDINGS = 4.0
_NUM_DRAWS = 3


def is_smooth(evaluate: ForRows, x: Rows, gradient: Rows, model: Model, noise: Noise) -> Rows:
    """Returns (n,) whether the function is smooth at each of the (n, dim) points, as far as gradients tell.

    Args:
      evaluate: x -> value, gradient.
      x: (n, dim) points.
      gradient: (n, dim) there.
      model: of the function there.
      noise: of the gradients there.
    """
    eps = float(np.finfo(x.dtype).eps)
    farthest, nearest = eps ** (1 / 3), eps**0.5 / 16
    distances = farthest * _SHRINKS ** -np.arange(int(math.log(farthest / nearest, _SHRINKS)) + 1)
    signs = both_signs(x, _NUM_DRAWS) * model.is_free
    # Each entry of the gradient has its own noise, but for a small share of the largest.
    largest = np.max(model.unit * noise.gradient, axis=1, keepdims=True)
    level = noise.gradient + (_SHARE * largest + np.finfo(x.dtype).tiny) / model.unit

    def mismatch(distance: float) -> Rows:
        moves = np.asarray(distance, x.dtype) * model.unit[:, None] * signs
        moves = (x[:, None] + moves) - x[:, None]
        change, expected = at_places(evaluate, x, moves)[1] - gradient[:, None], model.product(moves)
        rounding = _ROUNDINGS * eps * np.max(np.abs(expected), axis=1)  # of the change itself, small where x is zero
        return np.max(np.abs(change - expected) / (level + rounding)[:, None], axis=(1, 2))

    far, middle, near = (mismatch(distance) for distance in distances[-3:])
    is_kink = (near > _ABOVE) & (middle < _FALLS * near) & (far < _FALLS * middle)
    return ~is_kink
