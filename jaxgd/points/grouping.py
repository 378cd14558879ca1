"""Verdicts for many ends by judging one of each group in full, and testing that the others belong to it.

Ends that converged are put into small cells by a few fixed projections of their invariants. The one of each cell with
the smallest gradient is judged in full. Where it is a minimum with smallest curvature m > 0 outside the symmetry's zero
modes, another end of the cell, with gradient g, is taken for the same minimum if everything about it is explained by
its not having quite arrived:

    distance of the invariants <= 4 |g| / m,   0 <= difference in value <= 2 |g|^2 / m,   |g| / m small,

each up to the tolerance of sameness. (In the quadratic around the minimum the distance is at most |g| / m and the
difference |g|^2 / 2m; another point would have to lie within that distance with the same value and invariants.)
Whatever fails, every end that did not converge, and all ends of a cell that holds anything but such a minimum are
judged in full, and so is a random sample of those that passed: how many of them turn out otherwise is reported.
"""

from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np

from jaxgd.base import Ends, Landscape, Params, Points, Status, Verdict, joined_columns
from jaxgd.points.catalogue import invariants_of, named, tolerances
from jaxgd.points.classify import judge_in_full
from jaxgd.points.flat import at_least_single

NUM_AUDITED = 32
"""Ends that passed and are judged in full all the same."""

_FEW = 256  # ends that are all judged in full
_NUM_PROJECTIONS = 3
_CELL = 1e-3  # edge of a cell, in units of the size of the invariants
_NEAR = 1e-2  # |g| / m up to which an end is beside its minimum, in the same units


def classify(
    landscape: Landscape,
    ends: Ends | Params,
    *,
    in_full: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Points:
    """Returns what each end is, judged by curvature.

    Args:
      landscape: what was descended.
      ends: ends of `descend`, or any batch of params with one leading axis.
      in_full: judge every end by itself. Otherwise ends of `descend` (more than a few hundred) that have converged to a
        minimum are judged in groups: one of each in full, the others by whether gradient, value and invariants show
        them to be beside the same minimum; a sample of these is audited, and `notes` says with what result.
      progress: called as progress(points judged, points in all) now and then.

    Returns:
      `Points`, in the order of the ends; those of one group share one point. Above 1,024 parameters the index is a
      lower bound, and a minimum is one but for what `missed_probability` and `missed_curvature` say.

    Raises:
      InputValueError: the ends kept no params, or the batch does not fit the landscape.
      InputTypeError: the batch is not of floating-point arrays.

    Example:
      >>> import jax, jax.numpy as jnp, jaxgd
      >>> saddle = jaxgd.Landscape(value=lambda x: x[0] ** 2 - x[1] ** 2, sample=lambda k: jax.random.normal(k, (2,)))
      >>> points = jaxgd.classify(saddle, jnp.array([[0.1, 0.2]]))
      >>> points.verdict_counts(), int(points.index[0])
      ({'saddle': 1}, 1)
    """
    if in_full or not isinstance(ends, Ends) or ends.params is None or len(ends) <= _FEW:
        return judge_in_full(landscape, ends, progress=progress)
    ends = replace(ends, params=jax.tree.map(at_least_single, ends.params))
    invariants = invariants_of(landscape, ends.params)
    is_converged = np.asarray(ends.status) == int(Status.CONVERGED)
    able = np.flatnonzero(is_converged & np.all(np.isfinite(invariants), axis=1))
    tolerance, size = tolerances(invariants[able])
    leader = _leaders(invariants, np.asarray(ends.gradient_norm), able, size)
    itself = np.arange(len(ends))
    leads = leader == itself
    sample = np.random.default_rng(0).permutation(np.flatnonzero(~leads))[:NUM_AUDITED]
    judging = _Judging(landscape, ends, progress)
    judging.judge(np.concatenate([np.flatnonzero(leads), sample]))
    passed = np.flatnonzero(~leads)
    if len(passed):
        row, at = judging.row[leader[passed]], invariants_of(landscape, judging.judged.params)
        apart = invariants[passed]
        apart -= at[row]
        distance = np.max(np.abs(apart, out=apart), axis=1, initial=0)
        end = np.asarray(ends.gradient_norm)[passed], np.asarray(ends.value)[passed]
        passed = passed[_belongs(*end, judging.judged, row, distance, tolerance, size)]
    shuffled = np.random.default_rng(0).permutation(passed)
    audited = shuffled[np.argsort(judging.row[shuffled] < 0, kind="stable")][:NUM_AUDITED]  # first those of the sample
    followers = np.setdiff1d(passed, audited)
    judging.take_over(followers, leader[followers])
    judging.judge(np.flatnonzero(judging.row < 0))
    points = judging.points_of(itself)
    if not len(passed):
        return points
    num_wrong = _num_different(judging.points_of(leader[audited]), judging.points_of(audited))
    note = (
        "most ends were taken for the minimum of a judged neighbour;"
        f" of {len(audited)} such ends judged in full to see, {num_wrong} turned out otherwise."
    )
    return replace(points, notes=(*points.notes, note))


class _Judging:
    """Ends judged so far: the points that came of it, and the one that stands for each end (`row`, -1 for none)."""

    def __init__(self, landscape: Landscape, ends: Ends, progress: Callable[[int, int], None] | None) -> None:
        self.landscape, self.ends, self.progress = landscape, ends, progress
        self.row = np.full(len(ends), -1, np.int64)
        self.points: Points | None = None

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
        self.points = found if self.points is None else join_points([self.points, found])

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


def _leaders(invariants: np.ndarray, gradient_norm: np.ndarray, which: np.ndarray, size: float) -> np.ndarray:
    """Returns for every end the one of smallest gradient in its cell; itself for those not among `which`."""
    leader = np.arange(len(invariants))
    if not len(which):
        return leader
    directions = np.random.default_rng(0).standard_normal((invariants.shape[1], _NUM_PROJECTIONS))
    directions /= np.linalg.norm(directions, axis=0) * _CELL * size
    cells = named(np.floor(invariants[which].astype(float, copy=False) @ directions + 0.5))
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
    gradient_norm: np.ndarray,
    value: np.ndarray,
    points: Points,
    row: np.ndarray,
    distance: np.ndarray,
    tolerance: float,
    size: float,
) -> np.ndarray:
    """Returns whether each end is beside point `row`, a minimum whose invariants lie at this distance."""
    curvature = np.asarray(points.lowest_eigenvalue - points.eigenvalue_error, float)
    is_plain = (points.verdict == int(Verdict.MINIMUM)) & (points.num_zero_modes == points.num_symmetry_modes)
    is_plain &= (points.missed_probability == 0) & (curvature > 0)
    gradient, lowest = gradient_norm.astype(float), np.asarray(points.value, float)[row]
    away = gradient / np.where(is_plain, curvature, 1)[row]
    rounding = np.sqrt(np.finfo(points.value.dtype).eps) * np.maximum(1, np.abs(lowest))
    is_level = np.abs(value.astype(float) - lowest) <= 2 * gradient * away + rounding
    return is_plain[row] & is_level & (away <= _NEAR * size) & (distance <= 4 * away + tolerance)


def _num_different(taken: Points, judged: Points) -> int:
    """Returns how many points are not what they were taken for."""
    tolerance = np.sqrt(np.finfo(np.asarray(taken.value).dtype).eps) * np.maximum(1, np.abs(taken.value))
    is_same = (taken.verdict == judged.verdict) & (taken.index == judged.index)
    return int(np.sum(~(is_same & (np.abs(taken.value - judged.value) <= tolerance))))


def join_points(parts: list[Points]) -> Points:
    """Returns the points of several parts as one, in their order, each note once."""
    return Points(**joined_columns(parts), notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)))
