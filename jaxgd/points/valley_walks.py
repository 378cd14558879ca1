"""Walks on a valley: short steps from one critical point to another, each of which is shown.

A step goes along the kernel of the Hessian, and Newton's method leads back across it, in the plane through the new
place that the Hessian's range spans at the old one. With N and P orthonormal bases of kernel and range at x, in units
of length, the valley is there the graph of z(a): the place y = x + N a + P z with P' grad f(y) = 0. A step counts only
if

- the corrections shrink from the first on, which itself is short against the step (a bend that is too sharp is not);
- P' H P has the same inertia at every iterate, and at three places on the straight line from x to y (between two
  valleys there is a ridge, where it is another);
- y is a critical point of the same value, and of the same inertia, zero modes counted;
- the kernel has not turned by more than sixty degrees.

A step that fails is tried again at a third of its length, and one that holds lets the next be twice as long. A goal is
reached when it lies in the plane of a step, at the place where Newton's method ends.
"""

from collections.abc import Callable
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
        """Returns what there is at points (n, dim), and whether each is like what it should be."""
        unit = unit if self.units is None else lengths_at(self.units, x)
        places = places_at(self.functions, x, unit, like.height)
        is_alike = places.is_critical & (places.num_kernel == self.dimension)
        is_alike &= places.num_negative == like.num_negative
        is_alike &= np.abs(places.value - like.value) <= _SAFETY * (places.value_error + like.value_error)
        return places, is_alike


def in_chunks(walk: Callable[[slice], Rows], num_walks: int, dim: int, dtype: np.dtype) -> Rows:
    """Returns what a function of slices of walks makes of all of them, as many at a time as memory allows."""
    each = int(np.clip(_BYTES_TOGETHER // (_MATRICES_OF_A_WALK * dim**2 * dtype.itemsize), 1, _MAX_TOGETHER))
    return np.concatenate([walk(slice(begin, begin + each)) for begin in range(0, num_walks, each)])


def walk_to(ground: Ground, x: Rows, goal: Rows, off: Rows, like: Like) -> Rows:
    """Returns (n,) whether a walk from each of the (n, dim) places to its goal was shown.

    Args:
      ground: where they go.
      x: (n, dim) critical points.
      goal: (n, dim) others.
      off: (n, dim) how far off these may be in each coordinate.
      like: what every place has to be like.
    """
    go = lambda part: _walk_to(ground, x[part], goal[part], off[part], take(like, part))
    return in_chunks(go, len(x), x.shape[1], x.dtype)


@np.errstate(all="ignore")
def _walk_to(ground: Ground, x: Rows, goal: Rows, off: Rows, like: Like) -> Rows:
    places, is_alike = ground.look(x, like)
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
        longest[going] = np.where(nears, 2, _THIRD) * step.length

        # Nothing of the way lies along the valley, or it would take too many steps.
        is_blocked = (step.along <= _BLOCKED * before) | (step.along > _MAX_STEPS * longest[going])
        going = going[~arrives & ~is_blocked & (longest[going] > _SHORTEST)]
    return is_there


def walk_on(
    ground: Ground, x: Rows, direction: Rows, like: Like, num_steps: int, longest: float
) -> list[tuple[Rows, Rows]]:
    """Returns the places on walks straight ahead, as (which walk, place) of each step.

    Args:
      ground: where they go.
      x: (n, dim) critical points.
      direction: (n, dim) where to, in units of length.
      like: what every place has to be like.
      num_steps: at most.
      longest: units of length of a step.
    """
    with np.errstate(all="ignore"):
        places, is_alike = ground.look(x, like)
        direction = direction * places.unit
        length = np.full(len(x), longest, x.dtype)
        going, found = np.flatnonzero(is_alike), []
        for _ in range(num_steps):
            if not len(going):
                break
            here = take(places, going)
            step = step_on(ground, here, direction[going], length[going], take(like, going), is_direction=True)
            moved = going[step.is_shown]
            direction[moved] = (step.places.x - here.x)[step.is_shown]
            put(places, moved, take(step.places, step.is_shown))
            found.append((moved, places.x[moved]))
            length[going] = np.where(step.is_shown, np.minimum(2 * step.length, longest), _THIRD * step.length)
            going = going[length[going] > _SHORTEST]
    return found


class Step(NamedTuple):
    """Steps that were tried; arrays with one leading axis of them."""

    places: Places  # to where they led
    is_shown: Rows  # bool
    length: Rows  # units of length along the kernel
    along: Rows  # units of length of the whole way there


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
    length = longest if is_direction else np.minimum(whole, longest)
    along = along * (length / np.where(whole > 0, whole, 1))[:, None]
    y = here.x + here.unit * np.einsum("nik,nk->ni", kernel, along)
    if across.shape[2]:
        y, is_shown = _corrected(ground, here, across, y, length, like)
    else:
        is_shown = length > 0  # nothing lies across

    # Nothing else lies between.
    which = np.flatnonzero(is_shown)
    for share in _ON_THE_WAY:
        if len(which) and across.shape[2]:
            between = here.x[which] + np.asarray(share, y.dtype) * (y[which] - here.x[which])
            keeps = _newton_across(ground, take(here, which), across[which], between, take(like, which))[1]
            is_shown[which[~keeps]] = False
            which = which[keeps]

    places = Places(*(np.copy(leaf) for leaf in here))
    if len(which):
        there, is_alike = ground.look(y[which], take(like, which), here.unit[which])
        overlap = np.swapaxes(kernel[which], 1, 2) @ there.basis[:, :, : ground.dimension]
        is_alike &= np.linalg.svd(overlap, compute_uv=False)[:, -1] >= _TURN
        is_shown[which] = is_alike
        put(places, which, there)
    return Step(places, is_shown, length, whole)


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
