"""From evidence to verdicts: the rules, as one table.

An end takes the verdict of a critical point only if it is beside it. The point has to be reached by Newton's method
under its rules; the value may change on the way by no more than a small share of what the starts' values differ by; and
the way has to be short against the units of length. How small depends on what the descent itself says: one that had
come to rest may be further off than one that was cut off.
"""

import numpy as np

from jaxgd.base import Params, Points, Reason, Status, Verdict
from jaxgd.points.evidence import Evidence, Rows

_FALL_AT_REST, _FALL_GIVEN, _FALL_CUT_OFF = 1e-4, 1e-3, 0.75  # shares of the value scale; the last a power of eps
_AWAY_AT_REST, _AWAY_CUT_OFF = 0.25, 1e-2  # units of length


def is_at_rest(status: Rows | None, num_points: int) -> Rows:
    """Returns (n,) whether descents say that they had come to rest."""
    if status is None:
        return np.zeros(num_points, bool)
    return np.isin(status, [int(Status.CONVERGED), int(Status.PLATEAU)])


def least_fall(status: Rows | None, scale: Rows, dtype: np.dtype) -> Rows:
    """Returns (n,) how far the value may still fall at an end that is beside its critical point."""
    if status is None:
        return _FALL_GIVEN * scale
    cut_off = float(np.finfo(dtype).eps) ** _FALL_CUT_OFF
    return np.where(is_at_rest(status, len(scale)), _FALL_AT_REST, cut_off) * scale


def is_beside(found: Evidence, status: Rows | None, least: Rows) -> Rows:
    """Returns (n,) whether each end lies beside the critical point that was reached from it."""
    rests = is_at_rest(status, len(found.value)) | (status is None)
    is_near = found.away <= np.where(rests, _AWAY_AT_REST, _AWAY_CUT_OFF)
    noise = np.where(np.isfinite(found.value_error), found.value_error, 0)
    return found.is_reached & found.is_smooth & is_near & (found.fall <= least + noise)


def verdicts(found: Evidence, is_critical: Rows, is_diverged: Rows, rests: Rows) -> Rows:
    """Returns (n,) int8 verdicts; the first rule that holds wins, in the order of the table."""
    has = {sign: getattr(found, f"num_{sign}") > 0 for sign in ("negative", "positive", "zero")}
    rules = [
        (is_diverged, Verdict.DIVERGED),
        (~is_critical & ~found.is_smooth, Verdict.UNDECIDED),
        (~is_critical & found.is_gradient_flat, Verdict.GRADIENT_FLAT),
        (~is_critical & rests, Verdict.PLATEAU),
        (~is_critical, Verdict.UNDECIDED),
        (~found.is_told, Verdict.UNDECIDED),
        (has["negative"] & has["positive"], Verdict.SADDLE),
        (has["zero"] & (found.dimension < 0), Verdict.DEGENERATE),
        (~has["negative"] & ~has["positive"], Verdict.DEGENERATE),
        (has["negative"], Verdict.MAXIMUM),
    ]
    conditions, codes = zip(*rules, strict=True)
    return np.select(list(conditions), [np.int8(code) for code in codes], np.int8(Verdict.MINIMUM))


def reasons(found: Evidence, is_critical: Rows, is_diverged: Rows, looked: Rows, least: Rows) -> Rows:
    """Returns (n,) int8 why ends have no verdict of a critical point.

    Args:
      found: what was found beside each end.
      is_critical: (n,) whether each is beside a critical point.
      is_diverged: (n,) whether each left the finite range.
      looked: (n,) int8 what the first look said.
      least: (n,) how far the value may still fall at an end that is at rest.
    """
    rules = [
        (is_diverged, Reason.NONE),
        (is_critical & found.is_told, Reason.NONE),
        (is_critical, Reason.PRECISION),
        (~found.is_finite, Reason.NO_CURVATURE),
        (looked == int(Reason.UNBOUNDED), Reason.UNBOUNDED),
        (~found.is_smooth, Reason.NOT_SMOOTH),
        (looked != 0, looked),
        (found.is_reached & ~(found.fall <= least), Reason.STILL_DESCENDING),
        (found.is_reached, Reason.TOO_FAR),
    ]
    conditions, codes = zip(*rules, strict=True)
    return np.select(
        list(conditions), [np.asarray(code, np.int8) for code in codes], np.int8(Reason.UNEXPLAINED_GRADIENT)
    )


def points_of(found: Evidence, verdict: Rows, reason: Rows, params: Params, placement: Params) -> Points:
    """Returns the points; what is known of the curvature is said even where it does not decide."""
    known = (verdict != int(Verdict.DIVERGED)) & found.is_reached

    def if_known(found: Rows, otherwise: float, dtype: np.dtype | type) -> Rows:
        return np.asarray(np.where(known, found, otherwise), dtype)

    dtype = found.value.dtype
    return Points(
        params=params,
        value=found.value,
        gradient_norm=found.gradient_norm,
        verdict=verdict,
        reason=reason,
        index=if_known(found.num_negative, -1, np.int32),
        index_high=if_known(found.index_high, -1, np.int32),
        num_zero_modes=if_known(found.num_zero + found.num_symmetry_modes, -1, np.int32),
        num_symmetry_modes=if_known(found.num_symmetry_modes, -1, np.int32),
        lowest_eigenvalue=if_known(found.lowest_eigenvalue, np.nan, dtype),
        eigenvalue_error=if_known(found.eigenvalue_error, np.nan, dtype),
        move=found.move,
        placement=placement,
        value_error=if_known(found.value_error, np.nan, dtype),
        dimension=if_known(found.dimension, -1, np.int32),
        descends=np.full(len(known), -1, np.int8),
        missed_probability=if_known(found.missed_probability, np.nan, dtype),
        missed_curvature=if_known(found.missed_curvature, np.nan, dtype),
    )
