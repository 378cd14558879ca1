"""Where critical points are not isolated: is a point with zero modes on a valley, or singular?

A valley is a connected manifold of critical points along which value and rank of the Hessian do not change (Morse and
Bott); across it the Hessian is definite, or of some index, and says what the point is. At a singular point (x^4, the
monkey saddle, the crossing of x^2 y^2) the kernel is larger than the manifold through it.

So the end is moved along its kernel, over two lengths a decade apart, and Newton's method leads back across: on a
valley every place is again a critical point of the same value and inertia, and stays away from the first one. At a
multiple root Newton's method leads back to it, and at a crossing the rank changes. Beside a bent valley Newton's method
may also be led astray by what little curvature the kernel has there: then it goes across alone
(`jaxgd.points.valley_walks`).
"""

import numpy as np

from jaxgd.points.dense import judge_by_spectra, kernel_directions, places_at
from jaxgd.points.evidence import Evidence, Rows
from jaxgd.points.flat import Flat
from jaxgd.points.newton import take
from jaxgd.points.valley_walks import Ground, Like, step_on

_LENGTHS = {8: (1e-2, -1e-3), 4: (1e-1, -3e-2)}  # units of length, to either side; by bytes of a number
_NUM_DIRECTIONS = 2
_STAYS = 0.1  # share of the length that a place has to stay away
_CLEARLY = 4.0  # times the cube root of the rounding unit, as well as a multiple root is placed: it has to stay away
_SAFETY = 8.0  # on the errors of values
_AT_ONCE = 1024


def find_valleys(functions: Flat, found: Evidence, which: Rows, unit: Rows, height: Rows) -> None:
    """Writes the dimension of the valley into the record of those points that lie on one.

    Args:
      functions: of a landscape, on flat points.
      found: what was found beside each end; changed.
      which: critical points with zero modes that no symmetry explains.
      unit: (n, dim) of length.
      height: (n,) of values.
    """
    each = len(_LENGTHS[found.x.dtype.itemsize]) * _NUM_DIRECTIONS
    for begin in range(0, len(which), _AT_ONCE // each):
        part = which[begin : begin + _AT_ONCE // each]
        on_valley = part[_stays_critical(functions, found, part, unit, height)]
        found.dimension[on_valley] = found.num_zero[on_valley] + found.num_symmetry_modes[on_valley]
        found.index_high[on_valley] = found.num_negative[on_valley]


@np.errstate(all="ignore")
def _stays_critical(functions: Flat, found: Evidence, which: Rows, unit: Rows, height: Rows) -> Rows:
    """Returns whether points that are moved along their kernels come to critical points of the same kind."""
    x, num_points = found.x[which], len(which)
    directions = kernel_directions(functions, x, unit[which], height[which], _NUM_DIRECTIONS)
    lengths = np.asarray(_LENGTHS[x.dtype.itemsize], x.dtype)
    moves = (lengths[None, :, None, None] * directions[:, None]).reshape(num_points, -1, x.shape[1])
    each = moves.shape[1]

    of_place = np.repeat(which, each)
    at = judge_by_spectra(functions, (x[:, None] + moves).reshape(-1, x.shape[1]), unit[of_place], height[of_place])
    away = np.max(np.abs(at.x - found.x[of_place]) / unit[of_place], axis=1)
    tolerance = _SAFETY * (at.value_error + found.value_error[of_place])
    holds = at.is_reached & at.is_smooth
    holds &= np.abs(at.value - found.value[of_place]) <= tolerance
    least = np.maximum(_STAYS * np.abs(lengths), _CLEARLY * np.finfo(x.dtype).eps ** (1 / 3))
    holds &= away >= np.tile(np.repeat(least, _NUM_DIRECTIONS), num_points)
    for sign in ("negative", "positive", "zero"):
        count = getattr(found, f"num_{sign}")
        holds &= getattr(at, f"num_{sign}") == count[of_place]
    lost = np.flatnonzero(~at.is_reached & at.is_smooth)
    if len(lost):
        moves = moves.reshape(-1, x.shape[1])
        holds[lost] = _is_walked(functions, found, of_place[lost], moves[lost], unit, height)
    return np.all(holds.reshape(num_points, each), axis=1)


def _is_walked(functions: Flat, found: Evidence, which: Rows, moves: Rows, unit: Rows, height: Rows) -> Rows:
    """Returns whether steps across the kernel lead from moved points to others of the same kind."""
    is_shown = np.zeros(len(which), bool)
    like = Like(found.value[which], found.value_error[which], height[which], found.num_negative[which])
    here = places_at(functions, found.x[which], unit[which], height[which])
    for dimension in np.unique(here.num_kernel[here.num_kernel < moves.shape[1]]):
        some = np.flatnonzero(here.num_kernel == dimension)
        ground = Ground(functions, None, int(dimension))
        far = np.full(len(some), np.inf, moves.dtype)
        is_shown[some] = step_on(ground, take(here, some), moves[some], far, take(like, some)).is_shown
    return is_shown
