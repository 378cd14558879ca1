r"""Branch and prune: boxes are excluded, hold one critical point for certain, or are split.

With a box X, its middle m, a bound J on the Hessian over X and any matrix Y, here the inverse of J's middle, Krawczyk's

$$K(X) = m - Y g(m) + (I - Y J) (X - m)$$

holds every zero of the gradient g in X; there is none where K and X do not meet, and exactly one, with a regular
Hessian, where K lies inside X. Boxes are inflated before they are looked at, so that what lies where two of them meet
is inside of one. Where the function may not be smooth only the gradient's own bounds exclude.

Source: Krawczyk, Computing 4, 187 (1969); Moore, SIAM J. Numer. Anal. 14, 611 (1977).
"""

from typing import NamedTuple

import numpy as np

from jaxgd.proof import intervals
from jaxgd.proof.intervals import Bounds, Rows
from jaxgd.proof.rules import Program

INFLATION = 0.02  # of a box's width
_LEAST_INFLATION = 1e-9  # of the whole box's width, or of how far out it is where it has none
_SPLIT = 0.51  # off the middle, where symmetric functions have their points
_POLISHES = 12  # steps on a box that holds one point


class BoxTest(NamedTuple):
    """What one look at (n, dim) boxes says."""

    is_empty: Rows  # (n,) surely no critical point
    is_one: Rows  # (n,) surely exactly one
    is_smooth: Rows  # (n,)
    low: Rows  # (n, dim) bounds on all critical points in the box
    high: Rows


def inflated(low: Rows, high: Rows, unit: Rows) -> Bounds:
    """Returns somewhat larger boxes."""
    pad = INFLATION * (high - low) + _LEAST_INFLATION * unit + 4 * np.finfo(float).eps * np.maximum(abs(low), abs(high))
    return Bounds(low - pad, high + pad)


def examine(derivatives: Program, gradient: Program, box: Bounds) -> BoxTest:
    """Returns what Krawczyk's operator says about boxes."""
    (slope, curvature), is_smooth = derivatives(box)
    low, high = box
    is_empty = np.any((slope.low > 0) | (slope.high < 0), axis=1)

    with np.errstate(all="ignore"):
        middle = low + (high - low) / 2
        (at_middle,), _ = gradient(Bounds(middle, middle))
        inverse = _inverses(curvature)
        point = intervals.thin(inverse)
        newton = _times(point, at_middle)
        products = intervals.multiply(
            intervals.thin(inverse[:, :, :, None]), Bounds(curvature.low[:, None], curvature.high[:, None])
        )
        rest = intervals.subtract(intervals.thin(np.eye(low.shape[1])[None]), intervals.total(products, (2,)))
        away = intervals.subtract(box, intervals.thin(middle))
        krawczyk = intervals.add(intervals.subtract(intervals.thin(middle), newton), _times(rest, away))

        is_known = is_smooth & np.all(np.isfinite(krawczyk.low) & np.isfinite(krawczyk.high), axis=1)
        is_empty |= is_known & np.any((krawczyk.low > high) | (krawczyk.high < low), axis=1)
        is_one = is_known & np.all((krawczyk.low > low) & (krawczyk.high < high), axis=1) & ~is_empty
    cut = lambda new, old: np.where(is_known[:, None], new, old)
    return BoxTest(
        is_empty, is_one, is_smooth, cut(np.maximum(krawczyk.low, low), low), cut(np.minimum(krawczyk.high, high), high)
    )


def polished(derivatives: Program, gradient: Program, low: Rows, high: Rows) -> Bounds:
    """Returns tight bounds on the one critical point that each box holds."""
    for _ in range(_POLISHES if len(low) else 0):
        step = examine(derivatives, gradient, Bounds(low, high))
        if not np.any((step.low > low) | (step.high < high)):
            break
        low, high = step.low, step.high
    return Bounds(low, high)


def halves(low: Rows, high: Rows, unit: Rows) -> Bounds:
    """Returns both parts of each box, split across its relatively longest side."""
    side = np.argmax((high - low) / unit, axis=1)
    row = np.arange(len(low))
    at = low[row, side] + _SPLIT * (high[row, side] - low[row, side])
    left, right = high.copy(), low.copy()
    left[row, side], right[row, side] = at, at
    return Bounds(np.concatenate([low, right]), np.concatenate([left, high]))


def indices_of(derivatives: Program, at: Bounds) -> Rows:
    """Returns (n,) the proven number of negative eigenvalues of the Hessian all over each box, -1 where there is none.

    In approximate eigenvectors V of its middle, V^T H V has diagonals that outweigh their rows; then it is regular,
    with as many negative eigenvalues as negative diagonals, and so is H by Sylvester's law.
    """
    (_, curvature), is_smooth = derivatives(at)
    middle = np.nan_to_num((curvature.low + curvature.high) / 2, posinf=0, neginf=0)
    vectors = np.linalg.eigh((middle + np.swapaxes(middle, 1, 2)) / 2)[1]
    right = intervals.total(intervals.multiply(_spread(curvature, 3), intervals.thin(vectors[:, None])), (2,))
    left = intervals.thin(np.swapaxes(vectors, 1, 2)[:, :, :, None])
    found = intervals.total(intervals.multiply(left, _spread(right, 1)), (2,))
    size = np.maximum(np.abs(found.low), np.abs(found.high))
    low, high = (np.diagonal(bound, axis1=1, axis2=2) for bound in found)
    others = (np.sum(size, axis=2) - np.diagonal(size, axis1=1, axis2=2)) * (1 + 1e-12)
    is_proven = is_smooth & np.all((low > others) | (high < -others), axis=1)
    return np.where(is_proven, np.sum(high < 0, axis=1), -1)


def boundary_sign(gradient: Program, low: Rows, high: Rows, max_boxes: int) -> int:
    """Returns what the signs (-1)^index of all critical points in the box add up to, 0 where the boundary does not say.

    If along each coordinate the value grows outward on both faces, or falls on both, the gradient's degree is the
    product of these signs (Poincare and Miranda).
    """
    degree = 1
    for side in range(len(low)):
        signs = [_sign_on_face(gradient, low, high, side, end, max_boxes) for end in (low, high)]
        if 0 in signs or signs[0] == signs[1]:
            return 0
        degree *= signs[1]
    return degree


def _sign_on_face(gradient: Program, low: Rows, high: Rows, side: int, end: Rows, max_boxes: int) -> int:
    """Returns the sign of one component of the gradient on a face, 0 if it has none or it is not told."""
    low, high, unit = low[None].copy(), high[None].copy(), high - low
    low[:, side] = high[:, side] = end[side]
    seen, sign = 0, 0
    while len(low):
        seen += len(low)
        if seen > max_boxes:
            return 0
        (slope,), _ = gradient(Bounds(low, high))
        is_up, is_down = slope.low[:, side] > 0, slope.high[:, side] < 0
        told = {one for one, some in ((1, is_up), (-1, is_down)) if np.any(some)}
        if len(told | ({sign} - {0})) > 1:
            return 0
        sign = next(iter(told), sign)
        left = ~(is_up | is_down)
        if np.any(left) and (len(unit) == 1 or not np.any(unit > 0)):
            return 0
        low, high = halves(low[left], high[left], np.where(unit > 0, unit, 1)) if np.any(left) else (low[:0], high[:0])
    return sign


def _times(matrix: Bounds, vector: Bounds) -> Bounds:
    """Returns products of (n, dim, dim) matrices with (n, dim) vectors."""
    row = Bounds(vector.low[:, None], vector.high[:, None])
    return intervals.total(intervals.multiply(matrix, row), (2,))


def _spread(matrix: Bounds, axis: int) -> Bounds:
    return Bounds(np.expand_dims(matrix.low, axis), np.expand_dims(matrix.high, axis))


def _inverses(curvature: Bounds) -> Rows:
    """Returns inverses of the middles, zeros where there is none: any matrix will do."""
    middle = curvature.low + (curvature.high - curvature.low) / 2
    middle = np.where(np.all(np.isfinite(middle), axis=(1, 2), keepdims=True), middle, 0)
    scale = np.max(np.abs(middle), axis=(1, 2), keepdims=True)
    middle = np.where(scale > 0, middle, np.eye(middle.shape[1]))
    try:
        return np.nan_to_num(np.linalg.inv(middle), posinf=0, neginf=0)
    except np.linalg.LinAlgError:
        found = np.zeros_like(middle)
        for row, one in enumerate(middle):
            try:
                found[row] = np.linalg.inv(one)
            except np.linalg.LinAlgError:
                continue
        return np.nan_to_num(found, posinf=0, neginf=0)
