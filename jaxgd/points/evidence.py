"""One record of what was found beside an end, whichever way it was found."""

from typing import Any, NamedTuple

import numpy as np

Rows = Any  # a NumPy array with one leading axis of points


class Evidence(NamedTuple):
    """What was found beside each end; arrays with one leading axis of points.

    Filled by a Cholesky factor (`jaxgd.points.minima`), by whole spectra (`dense`), or by products (`matrix_free`).
    """

    x: Rows  # (n, dim) the critical point, or the end itself where none was reached
    value: Rows  # there
    gradient_norm: Rows
    move: Rows  # Euclidean distance from the end
    is_reached: Rows  # bool, Newton's method settled on a critical point, within its reach
    is_gradient_flat: Rows  # bool, the gradient is not zero but lies in the Hessian's kernel
    is_smooth: Rows  # bool, gradients beside the point follow from its Hessian
    is_finite: Rows  # bool, whether the Hessian is
    drift: Rows  # (n, dim) where the gradient pulls along directions in which Newton's method has nowhere to go
    fall: Rows  # by how much the end's own quadratic model says that the value still changes
    away: Rows  # distance from the end in units of length, in the coordinate where it is most
    num_negative: Rows  # int32, eigenvalues below zero by more than their error
    num_positive: Rows  # int32
    num_zero: Rows  # int32, neither, symmetry modes not counted
    num_symmetry_modes: Rows  # int32
    index_high: Rows  # int32
    dimension: Rows  # int32, of the manifold of critical points that the point lies on; -1 where unknown
    flat_low: Rows  # lower limit of the kernel's share of all directions, where products alone showed a valley
    flat_high: Rows  # upper limit
    flat_length: Rows  # units of length along which it was shown
    is_told: Rows  # bool, whether these numbers decide the verdict
    lowest_eigenvalue: Rows
    eigenvalue_error: Rows
    missed_probability: Rows
    missed_curvature: Rows
    asymmetry: Rows  # of the Hessian, as a share of its norm
    placement: Rows  # (n, dim) how far the true critical point may be off in each coordinate
    value_error: Rows
    softness: Rows  # (n, dim) an end with gradient g lies within softness |g| of a minimum; infinite where unknown


def nothing_found(ends: Rows) -> Evidence:
    """Returns the record of ends at which nothing is known yet."""
    num_points, dim = ends.shape
    number = lambda fill: np.full(num_points, fill, ends.dtype)
    count = lambda: np.zeros(num_points, np.int32)
    flag = lambda fill: np.full(num_points, fill, bool)
    return Evidence(
        x=ends.copy(),
        value=number(np.nan),
        gradient_norm=number(np.nan),
        move=number(0),
        is_reached=flag(False),
        is_gradient_flat=flag(False),
        is_smooth=flag(True),
        is_finite=flag(True),
        drift=np.zeros((num_points, dim), ends.dtype),
        fall=number(np.nan),
        away=number(np.nan),
        num_negative=count(),
        num_positive=count(),
        num_zero=count(),
        num_symmetry_modes=count(),
        index_high=count(),
        dimension=np.full(num_points, -1, np.int32),
        flat_low=number(np.nan),
        flat_high=number(np.nan),
        flat_length=number(np.nan),
        is_told=flag(True),
        lowest_eigenvalue=number(np.nan),
        eigenvalue_error=number(np.nan),
        missed_probability=number(0),
        missed_curvature=number(0),
        asymmetry=number(0),
        placement=np.full((num_points, dim), np.nan, ends.dtype),
        value_error=number(np.nan),
        softness=np.full((num_points, dim), np.inf, ends.dtype),
    )


def put_fields(found: Evidence, fields: dict[str, Rows], which: Rows | slice = slice(None)) -> Evidence:
    """Writes rows of some fields into the record, which it returns."""
    for name, rows in fields.items():
        getattr(found, name)[which] = rows
    return found
