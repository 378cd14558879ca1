"""Verdicts for many ends by judging one of each group in full, and testing that the others belong to it.

Ends that converged are put into small cells by a few fixed projections of their invariants. The one of each cell with
the smallest gradient is judged in full. Where it is an isolated minimum, another end of the cell, with gradient g, is
taken for the same one if everything about it is explained by its not having quite arrived. In the quadratic model at
the minimum, with Hessian H of lowest eigenvalue m,

    |x_i - p_i| <= sqrt((H^-1)_ii g' H^-1 g) <= sqrt((H^-1)_ii / m) |g|,    0 <= f(x) - f(p) <= |g|^2 / 2m,

up to twice and the errors of the minimum itself; invariants of a symmetry are no further off than |g| / m. (Another
point would have to lie within that distance with the same value.) Whatever fails, every end that did not converge, and
all ends of a cell that holds anything but such a minimum are judged in full, and so is a random sample of those that
passed: how many of them turn out otherwise is reported.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np

from jaxgd.base import Ends, Landscape, Params, Points, Reason, Status, Verdict, joined_columns, merged_notes
from jaxgd.checks import first_line
from jaxgd.front_door import front_door
from jaxgd.points.catalogue import errors_of, invariants_of
from jaxgd.points.declared import check_declared
from jaxgd.points.flat import at_least_single
from jaxgd.points.flat_directions import with_descents
from jaxgd.points.judge import judge_in_full
from jaxgd.points.sameness import hashed

NUM_AUDITED = 32
"""Ends that passed and are judged in full all the same."""

_FEW = 256  # ends that are all judged in full
_NUM_PROJECTIONS = 3
_FOR_SPREAD = 512  # ends of which the spread of the invariants is taken
_CELL = 1e-3  # edge of a cell, in units of the spread of the invariants
_NEAR = 1e-2  # units of length up to which an end is beside its minimum
_SAFETY = 2.0  # on what the quadratic model says


@front_door(phase="judging")
def classify(
    landscape: Landscape,
    ends: Ends | Params,
    *,
    in_full: bool = False,
    with_descends: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Points:
    """Returns what each end is, judged by curvature.

    An end gets the verdict of a critical point only if it lies beside it: Newton's method leads there under strict
    rules, over a short way, and the value hardly changes. Otherwise it is `plateau` or `gradient_flat` if the descent
    had come to rest, else `undecided`, and `Points.reason` says why.

    Args:
      landscape: what was descended, as in `descend`; a plain function needs the `sample=` of its starts, since units of
        length and value come from them.
      ends: ends of `descend`, or any batch of params with one leading axis.
      in_full: judge every end by itself. Otherwise ends of `descend` (more than a few hundred) that have converged to a
        minimum are judged in groups: one of each in full, the others by whether gradient, value and invariants show
        them to be beside the same minimum; a sample of these is audited, and `notes` says with what result.
      with_descends: ask of degenerate points whether the value falls along a flat direction (`Points.descends`), by
        fourth derivatives, which can take far longer than all else.
      progress: called as progress(points judged, points in all) now and then. True shows a bar, False none, and None
        one in terminals and notebooks.

    Returns:
      `Points`, in the order of the ends; those of one group share one point. Above 1,024 parameters index and
      dimension of a valley are lower bounds, and a minimum is one but for what `missed_probability` and
      `missed_curvature` say.

    Raises:
      InputValueError: the ends kept no params, the batch does not fit the landscape, or the value changes under the
        landscape's declared symmetry.
      InputTypeError: the batch is not of floating-point arrays.

    Example:
      >>> import jax, jax.numpy as jnp, jaxgd
      >>> saddle = jaxgd.Landscape(value=lambda x: x[0] ** 2 - x[1] ** 2, sample=lambda k: jax.random.normal(k, (2,)))
      >>> points = jaxgd.classify(saddle, jnp.array([[1e-4, 2e-4], [0.1, 0.2]]))
      >>> points.verdict_counts(), points.index.tolist(), points.reason_counts()
      ({'saddle': 1, 'undecided': 1}, [1, -1], {'unbounded': 1})
    """
    check_declared(landscape, frozen=getattr(ends, "frozen", None) if isinstance(ends, Ends) else None)
    if in_full or not isinstance(ends, Ends) or ends.params is None or len(ends) <= _FEW:
        points = judge_in_full(landscape, ends, progress=progress).points
    else:
        points = _in_groups(landscape, ends, progress)
    return with_descents(landscape, points) if with_descends else points


def _in_groups(landscape: Landscape, ends: Ends, progress: Callable[[int, int], None] | None) -> Points:
    """Returns what each end is, one of each group judged in full."""
    ends = replace(ends, params=jax.tree.map(at_least_single, ends.params))
    invariants = invariants_of(landscape, ends.params)
    is_converged = np.asarray(ends.status) == int(Status.CONVERGED)
    able = np.flatnonzero(is_converged & np.all(np.isfinite(invariants), axis=1))
    leader = _leaders(invariants, np.asarray(ends.gradient_norm), able)
    itself = np.arange(len(ends))
    leads = leader == itself

    # The leaders, and a sample of the others for the audit.
    sample = np.random.default_rng(0).permutation(np.flatnonzero(~leads))[:NUM_AUDITED]
    judging = _Judging(landscape, ends, progress)
    judging.judge(np.concatenate([np.flatnonzero(leads), sample]))
    passed = np.flatnonzero(~leads)
    if len(passed):
        passed = passed[_belongs(landscape, ends, invariants, passed, judging, judging.row[leader[passed]])]

    # All the rest, and as many for the audit as the sample lacks.
    shuffled = np.random.default_rng(0).permutation(passed)
    audited = shuffled[np.argsort(judging.row[shuffled] < 0, kind="stable")][:NUM_AUDITED]  # first those of the sample
    followers = np.setdiff1d(passed, audited)
    judging.take_over(followers, leader[followers])
    judging.judge(np.flatnonzero(judging.row < 0))
    points = judging.points_of(itself)
    if not len(passed):
        return points
    num_changed = _num_different(judging.points_of(leader[audited]), judging.points_of(audited))
    note = f"Ends were grouped; {num_changed} of {len(audited)} audited ends changed verdict."
    return replace(points, notes=(*points.notes, note))


def classify_or_say_why(
    landscape: Landscape, ends: Ends, *, progress: Callable[[int, int], None] | None = None
) -> Points:
    """Returns what each end is; all are undecided, with a note, where judging fails with an error.

    What `progress` raises is raised.
    """
    raised: list[Exception] = []

    def report(done: int, total: int) -> None:
        try:
            if progress is not None:
                progress(done, total)
        except Exception as error:
            raised.append(error)
            raise

    try:
        return classify(landscape, ends, progress=report)
    except Exception as error:
        if error in raised:
            raise
        return _undecided(ends, f"judging failed, {type(error).__name__}: {first_line(error)}")


def _undecided(ends: Ends, note: str) -> Points:
    """Returns points of which nothing is known."""
    params, value = jax.tree.map(at_least_single, ends.params), at_least_single(ends.value)
    number = lambda fill: np.full(len(ends), fill, value.dtype)
    count = lambda fill, dtype=np.int32: np.full(len(ends), fill, dtype)
    is_diverged = np.asarray(ends.status) == int(Status.DIVERGED)
    return Points(
        params=params,
        value=value,
        gradient_norm=at_least_single(ends.gradient_norm),
        verdict=np.where(is_diverged, int(Verdict.DIVERGED), int(Verdict.UNDECIDED)).astype(np.int8),
        reason=np.select(
            [is_diverged, np.asarray(ends.status) == int(Status.INTERRUPTED)],
            [int(Reason.NONE), int(Reason.INTERRUPTED)],
            int(Reason.JUDGING_FAILED),
        ).astype(np.int8),
        index=count(-1),
        index_high=count(-1),
        num_zero_modes=count(-1),
        num_symmetry_modes=count(-1),
        lowest_eigenvalue=number(np.nan),
        eigenvalue_error=number(np.nan),
        move=number(0),
        placement=jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), params),
        value_error=number(np.nan),
        dimension=count(-1),
        descends=count(-1, np.int8),
        missed_probability=number(np.nan),
        missed_curvature=number(np.nan),
        notes=(note,),
    )


class _Judging:
    """Ends judged so far: the points that came of it, and the one that stands for each end (`row`, -1 for none)."""

    def __init__(self, landscape: Landscape, ends: Ends, progress: Callable[[int, int], None] | None) -> None:
        self.landscape, self.ends, self.progress = landscape, ends, progress
        self.row = np.full(len(ends), -1, np.int64)
        self.points: Points | None = None
        self.softness = self.unit = np.zeros((0, 0))  # (n, dim) of the points

    def judge(self, which: np.ndarray) -> None:
        """Judges ends in full."""
        if not len(which):
            return
        num_done, total, report = int(np.sum(self.row >= 0)), len(self.row), self.progress
        found = judge_in_full(
            self.landscape,
            self.ends[which],
            progress=None if report is None else lambda done, _: report(min(num_done + done, total), total),
        )
        self.row[which] = np.arange(len(which)) + (len(self.points) if self.points is not None else 0)
        if self.points is None:
            self.points, self.softness, self.unit = found
            return
        self.points = join_points([self.points, found.points])
        self.softness = np.concatenate([self.softness, found.softness])
        self.unit = np.concatenate([self.unit, found.unit])

    @property
    def judged(self) -> Points:
        """The points so far, one for each end that was judged."""
        assert self.points is not None
        return self.points

    def take_over(self, which: np.ndarray, leader: np.ndarray) -> None:
        """Lets ends have the points of their leaders."""
        self.row[which] = self.row[leader]

    def points_of(self, which: np.ndarray) -> Points:
        """Returns the points that stand for these ends."""
        return self.judged[self.row[which]]


def _leaders(invariants: np.ndarray, gradient_norm: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Returns (n,) of each end the one of smallest gradient in its cell; itself for those not among `which`."""
    leader = np.arange(len(invariants))
    if not len(which):
        return leader
    rows = invariants[which].astype(float, copy=False)
    low, high = np.quantile(rows[:: math.ceil(len(rows) / _FOR_SPREAD)], (0.05, 0.95), axis=0)
    rounding = 1e3 * np.finfo(invariants.dtype).eps * np.maximum(np.abs(low), np.abs(high))
    size = np.maximum(high - low, np.where(rounding > 0, rounding, 1))
    directions = np.random.default_rng(0).standard_normal((invariants.shape[1], _NUM_PROJECTIONS))
    directions /= np.linalg.norm(directions, axis=0) * _CELL * size[:, None]
    places = np.floor(rows @ directions + 0.5)
    cells = hashed(np.ascontiguousarray(places).view(np.uint64))  # cells that collide fail the test of belonging

    # The one of smallest gradient leads.
    order = np.argsort(cells, kind="stable")
    which, cells = which[order], cells[order]
    begins = np.flatnonzero(np.append(True, cells[1:] != cells[:-1]))
    cell_of = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(which)))
    smallest = np.minimum.reduceat(gradient_norm[which], begins)
    candidates = np.flatnonzero(gradient_norm[which] == smallest[cell_of])
    _, first = np.unique(cell_of[candidates], return_index=True)
    leader[which] = which[candidates[first]][cell_of]
    return leader


def _belongs(
    landscape: Landscape, ends: Ends, invariants: np.ndarray, which: np.ndarray, judging: _Judging, row: np.ndarray
) -> np.ndarray:
    """Returns whether each of these ends is beside point `row`, an isolated minimum."""
    used, row = np.unique(row, return_inverse=True)
    points, softness, unit = judging.judged[used], judging.softness[used], judging.unit[used]
    curvature = np.asarray(points.lowest_eigenvalue - points.eigenvalue_error, float)
    is_plain = (points.verdict == int(Verdict.MINIMUM)) & (points.num_zero_modes == points.num_symmetry_modes)
    is_plain &= (points.missed_probability == 0) & (curvature > 0)
    gradient, lowest = np.asarray(ends.gradient_norm)[which].astype(float), np.asarray(points.value, float)[row]
    away = gradient / np.where(is_plain, curvature, 1)[row]

    # In value, and in every invariant.
    at = invariants_of(landscape, points.params)
    errors = _SAFETY * errors_of(landscape, points, at)
    is_level = np.abs(np.asarray(ends.value)[which].astype(float) - lowest) <= (
        _SAFETY * gradient * away + _SAFETY * np.nan_to_num(points.value_error)[row]
    )
    off = np.abs(invariants[which] - at[row])
    if landscape.symmetry is None:
        reach = softness[row] * gradient[:, None]
        is_near = np.all(reach <= _NEAR * unit[row], axis=1)
        is_within = np.all(off <= _SAFETY * reach + errors[row], axis=1)
    else:
        is_near = away <= _NEAR * np.min(unit, axis=1)[row]
        is_within = np.all(off <= 2 * _SAFETY * away[:, None] + errors[row], axis=1)
    return is_plain[row] & is_level & is_near & is_within


def _num_different(taken: Points, judged: Points) -> int:
    """Returns how many points are not what they were taken for."""
    tolerance = 4 * np.nan_to_num(taken.value_error + judged.value_error)
    is_same = (taken.verdict == judged.verdict) & (taken.index == judged.index)
    return int(np.sum(~(is_same & (np.abs(taken.value - judged.value) <= tolerance))))


def join_points(parts: list[Points]) -> Points:
    """Returns the points of several parts as one, in their order, with their notes merged."""
    return Points(**joined_columns(parts), notes=merged_notes(*(part.notes for part in parts)))
