"""Walks on a valley: short steps from one critical point to another, each of which is shown.

A step goes along the kernel of the Hessian, and Newton's method leads back across it, in the plane through the new
place that the Hessian's range spans at the old one. With N and P orthonormal bases of kernel and range at x, in units
of length, the valley is there the graph of z(a): the place y = x + N a + P z with P' grad f(y) = 0. A step counts only
if

- it is short in the units in which the function changes, since a long one may leap from one valley to another;
- the corrections shrink from the first on, which itself is short against the step (a bend that is too sharp is not);
- P' H P has the same inertia at every iterate, and at three places on the straight line from x to y (between two
  valleys there is a ridge, where it is another);
- y is a critical point of the same value, and of the same inertia, zero modes counted;
- the kernel has not turned by more than sixty degrees.

A step that fails is tried again at a third of its length, and one that holds lets the next be twice as long. A goal is
reached when it lies in the plane of a step, at the place where Newton's method ends.
"""

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from jaxgd.points.dense import Places, places_at, programs_of
from jaxgd.points.evidence import Rows
from jaxgd.points.flat import Flat
from jaxgd.points.newton import norms, put, take
from jaxgd.points.units import Units, lengths_at

_MAX_STEPS = 96
_MAX_NEWTON = 8
_SHORTEST = 1e-5  # units of length, of a step
_LONGEST = 0.25  # in the coordinate of most; with the way back across less than from one valley to another
_THIRD = 1 / 3
_BEND = 0.5  # share of a step that the first correction may have
_ON_THE_WAY = (0.25, 0.5, 0.75)  # of the straight line
_TURN = 0.5  # cosine of the angle by which the kernel may turn
_BLOCKED = 1e-2  # share of the way to a goal that has to lie along the kernel
_GAIN = 0.25  # share of the gain that the first order promises
_SAFETY = 8.0  # on errors of values and places
_SETTLED = 0.75  # power of eps: units of length, a correction that leaves nothing to do
_SMALL = 0.375  # power of eps: units of length within which valleys are not told apart
_BYTES_TOGETHER = 2**28
_MATRICES_OF_A_WALK = 16
_MAX_TOGETHER = 1024


class Why(IntEnum):
    """Why a step did not count."""

    NONE = 0
    """It did."""
    LEAVES = 1
    """Newton's method does not lead back across the kernel."""
    RIDGE = 2
    """The inertia changes on the straight line to it."""
    GRADIENT = 3
    """A gradient is left."""
    VALUE = 4
    """The value is another."""
    RANK = 5
    """The rank or the index is another."""
    TURNS = 6
    """The kernel turns too far."""


class Like(NamedTuple):
    """What every place on a walk has to be like; arrays with one leading axis of walks."""

    value: Rows
    value_error: Rows
    height: Rows  # scale of values
    num_negative: Rows


class Ground(NamedTuple):
    """Where walks go."""

    functions: Flat
    units: Units | None  # None where the units of length are those of the first place all the way
    dimension: int  # of the valleys, motions of the symmetry among it

    def look(self, x: Rows, like: Like, unit: Rows | None = None) -> tuple[Places, Rows]:
        """Returns what there is at points (n, dim), and why each is not like what it should be (see `Why`)."""
        unit = unit if self.units is None else lengths_at(self.units, x)
        places = places_at(self.functions, x, unit, like.height)
        is_level = np.abs(places.value - like.value) <= _SAFETY * (places.value_error + like.value_error)
        is_ranked = (places.num_kernel == self.dimension) & (places.num_negative == like.num_negative)
        rules = [(~is_ranked, Why.RANK), (~places.is_critical, Why.GRADIENT), (~is_level, Why.VALUE)]
        conditions, codes = zip(*rules, strict=True)
        return places, np.select(conditions, [np.int8(code) for code in codes], np.int8(Why.NONE))


def in_chunks(walk: Callable[[slice], Rows], num_walks: int, dim: int, dtype: np.dtype) -> Rows:
    """Returns what a function of slices of walks makes of all of them, as many at a time as memory allows."""
    each = int(np.clip(_BYTES_TOGETHER // (_MATRICES_OF_A_WALK * dim**2 * dtype.itemsize), 1, _MAX_TOGETHER))
    return np.concatenate([walk(slice(begin, begin + each)) for begin in range(0, num_walks, each)])


def walk_to(
    ground: Ground, x: Rows, goal: Rows, off: Rows, like: Like, trail: list[tuple[Rows, Rows]] | None = None
) -> Rows:
    """Returns (n,) whether a walk from each of the (n, dim) places to its goal was shown.

    Args:
      ground: where they go.
      x: (n, dim) critical points.
      goal: (n, dim) others.
      off: (n, dim) how far off these may be in each coordinate.
      like: what every place has to be like.
      trail: gets (which of the walks, their places) of each step that was taken.
    """
    trail = [] if trail is None else trail

    def go(part: slice) -> Rows:
        way: list[tuple[Rows, Rows]] = []
        is_there = _walk_to(ground, x[part], goal[part], off[part], take(like, part), way)
        trail.extend((part.start + which, places) for which, places in way)
        return is_there

    return in_chunks(go, len(x), x.shape[1], x.dtype)


@np.errstate(all="ignore")
def _walk_to(ground: Ground, x: Rows, goal: Rows, off: Rows, like: Like, trail: list[tuple[Rows, Rows]]) -> Rows:
    places, why = ground.look(x.copy(), like)  # places are written over as walks go on
    is_alike = why == Why.NONE
    small = float(np.finfo(x.dtype).eps) ** _SMALL
    is_there = is_alike & np.all(np.abs(goal - x) <= off + places.placement, axis=1)
    longest = np.full(len(x), np.inf, x.dtype)
    going = np.flatnonzero(is_alike & ~is_there)
    for _ in range(_MAX_STEPS):
        if not len(going):
            break
        here, gap = take(places, going), goal[going] - places.x[going]
        step = step_on(ground, here, gap, longest[going], take(like, going))

        # It arrives, or at least comes nearer.
        left = goal[going] - step.places.x
        is_close = np.abs(left) <= off[going] + _SAFETY * step.places.placement + small * here.unit
        arrives = step.is_shown & np.all(is_close, axis=1)
        before, after = norms(gap / here.unit), norms(left / here.unit)
        nears = step.is_shown & (before - after >= _GAIN * step.length * step.along / before)
        is_there[going[arrives]] = True
        put(places, going[nears], take(step.places, nears))
        trail.append((going[nears], step.places.x[nears]))
        longest[going] = np.where(nears, 2, _THIRD) * step.length

        # Nothing of the way lies along the valley, or it would take too many steps.
        is_blocked = (step.along <= _BLOCKED * before) | (step.along > _MAX_STEPS * longest[going])
        going = going[~arrives & ~is_blocked & (longest[going] > _SHORTEST)]
    return is_there


class Ahead(NamedTuple):
    """One step of some of the walks; arrays with one leading axis of these."""

    which: Rows  # int, of the walks
    step: "Step"
    is_over: Rows  # bool, the walk ends here, as not even the shortest step was shown


@np.errstate(all="ignore")
def walk_on(
    ground: Ground,
    x: Rows,
    direction: Callable[[int], Rows],
    like: Like,
    num_steps: int,
    longest: float,
    *,
    is_straight: bool = True,
) -> Iterator[Ahead]:
    """Yields the steps that walks try, straight ahead or at random, until each has taken so many or is stuck.

    Args:
      ground: where they go.
      x: (n, dim) critical points, each like what it should be.
      direction: gives of the number of the try (n, dim) where to, in units of length.
      like: what every place has to be like.
      num_steps: that each walk takes, at most; it tries twice as often, and as often as it takes to shrink a step.
      longest: units of length of a step.
      is_straight: only the first direction counts, and walks go on as straight as the valley lets them.
    """
    places, why = ground.look(x.copy(), like)  # places are written over as walks go on
    ahead = direction(0) * places.unit
    length, taken = np.full(len(x), longest, x.dtype), np.zeros(len(x), int)
    going = np.flatnonzero(why == Why.NONE)
    for number in range(2 * num_steps + round(np.log(longest / _SHORTEST) / np.log(3)) + 1):
        if not len(going):
            break
        here = take(places, going)
        towards = ahead[going] if is_straight else direction(number)[going] * here.unit
        step = step_on(ground, here, towards, length[going], take(like, going), is_direction=True)
        moved = going[step.is_shown]
        ahead[moved] = (step.places.x - here.x)[step.is_shown]
        put(places, moved, take(step.places, step.is_shown))
        taken[moved] += 1
        length[going] = np.where(step.is_shown, np.minimum(2 * step.length, longest), _THIRD * step.length)
        is_over = length[going] <= _SHORTEST
        yield Ahead(going, step, is_over)
        going = going[~is_over & (taken[going] < num_steps)]


class Step(NamedTuple):
    """Steps that were tried; arrays with one leading axis of them."""

    places: Places  # to where they led
    why: Rows  # int8, why each does not count, see `Why`
    length: Rows  # units of length along the kernel
    along: Rows  # units of length of the whole way there

    @property
    def is_shown(self) -> Rows:
        """Whether each counts."""
        return self.why == Why.NONE


def step_on(ground: Ground, here: Places, gap: Rows, longest: Rows, like: Like, *, is_direction: bool = False) -> Step:
    """Returns where steps along the kernel, and back across, lead.

    Args:
      ground: where they go.
      here: where they begin.
      gap: (n, dim) where to, and no further; or a direction.
      longest: (n,) units of length.
      like: what the new places have to be like.
      is_direction: whether each step is as long as `longest` says.
    """
    kernel, across = here.basis[:, :, : ground.dimension], here.basis[:, :, ground.dimension :]
    along = np.einsum("nik,ni->nk", kernel, gap / here.unit)
    whole = norms(along)
    along = along / np.where(whole > 0, whole, 1)[:, None]
    widest = np.max(np.abs(np.einsum("nik,nk->ni", kernel, along)), axis=1)
    length = longest if is_direction else np.minimum(whole, longest)
    length = np.minimum(length, _LONGEST / np.where(widest > 0, widest, 1))
    along = along * length[:, None]
    y = here.x + here.unit * np.einsum("nik,nk->ni", kernel, along)
    if across.shape[2]:
        y, is_settled = _corrected(ground, here, across, y, length, like)
    else:
        is_settled = length > 0  # nothing lies across
    why = np.where(is_settled, Why.NONE, Why.LEAVES).astype(np.int8)

    # Nothing else lies between.
    which = np.flatnonzero(is_settled)
    for share in _ON_THE_WAY:
        if len(which) and across.shape[2]:
            between = here.x[which] + np.asarray(share, y.dtype) * (y[which] - here.x[which])
            keeps = _newton_across(ground, take(here, which), across[which], between, take(like, which))[1]
            why[which[~keeps]] = Why.RIDGE
            which = which[keeps]

    places = Places(*(np.copy(leaf) for leaf in here))
    if len(which):
        there, unlike = ground.look(y[which], take(like, which), here.unit[which])
        overlap = np.swapaxes(kernel[which], 1, 2) @ there.basis[:, :, : ground.dimension]
        turns = (unlike == Why.NONE) & (np.linalg.svd(overlap, compute_uv=False)[:, -1] < _TURN)
        why[which] = np.where(turns, np.int8(Why.TURNS), unlike)
        put(places, which, there)
    return Step(places, why, length, whole)


def _corrected(ground: Ground, here: Places, across: Rows, y: Rows, length: Rows, like: Like) -> tuple[Rows, Rows]:
    """Returns where Newton's method across leads from places (n, dim), and whether it settles under its rules."""
    eps = float(np.finfo(y.dtype).eps)
    y, is_settled = y.copy(), np.zeros(len(y), bool)
    most = _BEND * length
    going = np.flatnonzero(length > 0)
    for _ in range(_MAX_NEWTON):
        if not len(going):
            break
        correction, keeps = _newton_across(ground, take(here, going), across[going], y[going], take(like, going))
        size = norms(correction / here.unit[going])
        shrinks = keeps & (size <= most[going])
        y[going[shrinks]] += correction[shrinks]
        is_done = keeps & ((size <= eps**_SETTLED) | ((size <= eps**_SMALL) & ~shrinks))
        is_settled[going[is_done]] = True
        most[going] = size / 2
        going = going[shrinks & ~is_done]
    return y, is_settled


def _newton_across(ground: Ground, here: Places, across: Rows, y: Rows, like: Like) -> tuple[Rows, Rows]:
    """Returns (n, dim) Newton's steps in the range of the old Hessian, and whether the inertia there is as it was."""
    programs = programs_of(ground.functions, y.dtype.name)
    basis = here.unit[:, :, None] * across
    gradient = np.einsum("nik,ni->nk", basis, programs.evaluate(y)[1])
    matrix = np.swapaxes(basis, 1, 2) @ programs.hessian(y, here.unit) @ basis
    matrix = (matrix + np.swapaxes(matrix, 1, 2)) / 2

    # Rows of very different units are brought to one, which leaves the inertia as it is (Sylvester).
    row = np.max(np.abs(matrix), axis=2)
    scale = 1 / np.sqrt(np.where(row > 0, row, 1))
    own = scale[:, :, None] * matrix * scale[:, None, :]
    is_finite = np.all(np.isfinite(own), axis=(1, 2)) & np.all(np.isfinite(gradient), axis=1)
    own = np.where(is_finite[:, None, None], own, np.eye(own.shape[1], dtype=own.dtype))
    eigenvalues, vectors = np.linalg.eigh(own)
    rounding = own.shape[1] * np.finfo(y.dtype).eps * np.max(np.abs(eigenvalues), axis=1, keepdims=True)
    is_regular = np.all(np.abs(eigenvalues) > rounding, axis=1)
    keeps = is_finite & is_regular & (np.sum(eigenvalues < 0, axis=1) == like.num_negative)
    inverse = 1 / np.where(keeps[:, None], eigenvalues, 1)
    step = -scale * np.einsum("nij,nj->ni", vectors, inverse * np.einsum("nij,ni->nj", vectors, scale * gradient))
    return np.einsum("nik,nk->ni", basis, step), keeps
