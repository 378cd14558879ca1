"""Where critical points are not isolated: is a point with zero modes on a valley, or singular?

A valley is a connected manifold of critical points along which value and rank of the Hessian do not change (Morse and
Bott); across it the Hessian is definite, or of some index, and says what the point is. At a singular point (x^4, the
monkey saddle, the crossing of x^2 y^2) the kernel is larger than the manifold through it.

So steps are taken from the point along random directions of its kernel, over two lengths, and back across
(`jaxgd.points.valley_walks`): on a valley each of them leads to another critical point of the same value and inertia.
Beside a singular point a gradient is left, or the rank changes: nothing moves back along the kernel to a multiple root.
"""

import numpy as np

from jaxgd.points.dense import places_at
from jaxgd.points.evidence import Evidence, Rows
from jaxgd.points.flat import Flat
from jaxgd.points.newton import take
from jaxgd.points.valley_walks import Ground, Like, step_on

_LENGTHS = {8: (1e-2, -1e-3), 4: (1e-1, -3e-2)}  # units of length, to either side; by bytes of a number
_NUM_DIRECTIONS = 2
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
    each = len(_LENGTHS[unit.dtype.itemsize]) * _NUM_DIRECTIONS
    for begin in range(0, len(which), _AT_ONCE // each):
        part = which[begin : begin + _AT_ONCE // each]
        on_valley = part[_leads_on(functions, found, part, unit, height)]
        found.dimension[on_valley] = found.num_zero[on_valley] + found.num_symmetry_modes[on_valley]
        found.index_high[on_valley] = found.num_negative[on_valley]
        found.is_told[on_valley] = True


@np.errstate(all="ignore")
def _leads_on(functions: Flat, found: Evidence, which: Rows, unit: Rows, height: Rows) -> Rows:
    """Returns whether steps along their kernels lead from points to critical points of the same kind."""
    here = places_at(functions, found.x[which], unit[which], height[which])
    like = Like(found.value[which], found.value_error[which], height[which], found.num_negative[which])
    draw, dim = np.random.default_rng(0), found.x.shape[1]
    lengths = np.asarray(_LENGTHS[unit.dtype.itemsize])
    leads_on = np.zeros(len(which), bool)
    for dimension in np.unique(here.num_kernel):
        some = np.flatnonzero(here.num_kernel == dimension)
        steps = draw.standard_normal((_NUM_DIRECTIONS, int(dimension)))
        steps /= np.linalg.norm(steps, axis=1, keepdims=True)
        steps = (lengths[:, None, None] * steps).reshape(-1, int(dimension)).astype(unit.dtype)

        moves = unit[which[some], None] * np.einsum("nij,kj->nki", here.basis[some, :, :dimension], steps)
        row = np.repeat(some, len(steps))
        step = step_on(
            Ground(functions, None, int(dimension)),
            take(here, row),
            moves.reshape(-1, dim),
            np.full(len(row), np.inf, unit.dtype),
            take(like, row),
        )
        leads_on[some] = np.all(step.is_shown.reshape(len(some), -1), axis=1)
    return leads_on
