"""From ends to the critical points beside them by Newton's method, under rules that keep it from wandering.

Newton's method on grad f = 0 goes to the nearest critical point of any index. A step is taken only if the gradient
falls, and the whole way stays within a few times the first step (Kantorovich: where Newton converges quadratically,
within twice of it). What breaks a rule stops there, and the caller leaves it where it was. At a multiple root of the
gradient the plain step is too short by the same factor each time; steps twice and three times as long are tried, too.

Driven from the host, in NumPy: the points that are going take a step together, those that are done wait for nobody.
"""

from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from jaxgd.points.evidence import Rows
from jaxgd.points.rows import ForRows

REACH = 8.0  # of the first Newton step; an m-fold root needs m - 1 of them, a simple one less than 2
SHARES = (1.0, 0.5, 0.25, 0.125, 2.0, 3.0)  # of a Newton step that are tried
DIGIT = 0.1  # share to which a step must bring the gradient down for its Hessian to serve once more
GAIN = 0.5  # share to which the first step brings the gradient down, if the end is beside its critical point


class Hessians(Protocol):
    """What is seen of the Hessians at points, and the Newton steps that follow from it."""

    @property
    def max_steps(self) -> int:
        """Steps at most."""

    @property
    def serves_again(self) -> bool:
        """Whether what was seen at a point also gives the step from one beside it."""

    def look(self, which: Rows, x: Rows, gradient: Rows) -> Any:
        """Returns what is seen at points (n, dim), on the way from these of the ends; a pytree of rows."""

    def step(self, seen: Any, gradient: Rows) -> Rows:
        """Returns (n, dim) the steps to where the quadratic models' gradients vanish, as far as they can."""

    def weight(self, seen: Any) -> Rows:
        """Returns (n, dim) the units in which gradients are compared."""

    def rounding(self, seen: Any, x: Rows) -> Rows:
        """Returns (n, dim) what one rounding of x makes of the gradient."""


class Walked(NamedTuple):
    """Where Newton's steps led; arrays with one leading axis of points."""

    gradient_at_end: Rows  # (n, dim)
    seen_at_end: Any
    first_step: Rows  # (n, dim)
    x: Rows  # (n, dim)
    gradient: Rows  # (n, dim) at x
    seen: Any  # last, on the way
    place: Rows  # (n, dim) where it was seen
    move: Rows  # (n,) distance of x from the end
    is_within_reach: Rows  # (n,) bool, and the first step brought the gradient down as a step in a basin does


def walk(evaluate: ForRows, hessians: Hessians, ends: Rows, resolution: Rows) -> Walked:
    """Returns where Newton's steps lead from each of the (n, dim) ends.

    Args:
      evaluate: x -> value, gradient.
      hessians: how they are seen.
      ends: where descents ended.
      resolution: (n, dim) small distances. What has moved no further since it was seen, and gained a digit by that, is
        not looked at again, if what was seen serves again; an end whose first step is no longer is there.
    """
    value_at_end, gradient_at_end = evaluate(ends)
    first = hessians.look(np.arange(len(ends)), ends, gradient_at_end)
    first_step = hessians.step(first, gradient_at_end)
    weight = hessians.weight(first)
    size = lambda gradient, which: norms(weight[which] * gradient)
    reach = REACH * norms(first_step) + np.max(resolution, axis=1, initial=0)
    x, gradient, place, seen = ends.copy(), gradient_at_end.copy(), ends.copy(), jax.tree.map(np.copy, first)
    gained = np.zeros(len(ends), x.dtype)  # share of the gradient that the first step left
    going = np.flatnonzero(np.all(np.isfinite(first_step), axis=1) & np.any(gradient != 0, axis=1))

    for count in range(hessians.max_steps):
        going = going[norms(x[going] - ends[going]) <= reach[going]]
        if not len(going):
            break
        before = size(gradient[going], going)
        new, at_new, level = _stepped(
            evaluate, hessians, x[going], gradient[going], take(seen, going), weight[going], resolution[going]
        )
        after = size(at_new, going)
        improves = (after < before) | (level <= GAIN)
        if count == 0:
            is_left = _is_left(hessians, seen, x, gradient)
            left = np.minimum(np.where(improves, after, before) / before, level)
            gained[going] = np.where(is_left[going], left, 0)

        # What has hardly moved need not be looked at again.
        is_seen = (after <= DIGIT * before) & np.all(np.abs(new - place[going]) <= resolution[going], axis=1)
        is_seen &= hessians.serves_again
        x[going[improves]], gradient[going[improves]] = new[improves], at_new[improves]
        going = going[improves & ~is_seen]
        if len(going):
            place[going] = x[going]
            put(seen, going, hessians.look(going, x[going], gradient[going]))
        going = going[_is_left(hessians, take(seen, going), x[going], gradient[going])]

    # Where nothing is left to fall or to go, what is left of the gradient may be noise that no step brings down.
    fall = np.abs(np.sum(first_step * gradient_at_end, axis=1)) / 2
    is_there = np.all(np.abs(first_step) <= resolution, axis=1)
    is_down = (gained <= GAIN) | (fall <= 16 * np.finfo(x.dtype).eps * np.abs(value_at_end)) | is_there
    move = norms(x - ends)
    is_within_reach = (move <= reach) & is_down
    return Walked(gradient_at_end, first, first_step, x, gradient, seen, place, move, is_within_reach)


def _stepped(
    evaluate: ForRows, hessians: Hessians, x: Rows, gradient: Rows, seen: Any, weight: Rows, resolution: Rows
) -> tuple[Rows, Rows, Rows]:
    """Returns where the best of some shares of the Newton steps leads, the gradients there, and natural levels.

    If what was seen serves again, it does so while it gains a digit a step: a gradient costs far less. In a bent valley
    the gradient rises across it when a step goes along it. Where no share gains much, a whole step is taken if the one
    that would follow it with the same Hessian is at most half as long (the natural level of Deuflhard 2004, which
    linear maps of the gradient do not change); the level is infinite where this was not needed.
    """
    shares, step = np.asarray(SHARES, x.dtype)[None, :, None], hessians.step(seen, gradient)
    trials = x[:, None] + shares * step[:, None]
    gradients = evaluate(trials.reshape(-1, x.shape[1]))[1].reshape(trials.shape)
    lengths = np.linalg.norm(weight[:, None] * gradients, axis=2)
    each, best = np.arange(len(x)), np.argmin(np.where(np.isfinite(lengths), lengths, np.inf), axis=1)
    before, after = norms(weight * gradient), lengths[each, best]

    level = np.full(len(x), np.inf, x.dtype)
    poor = np.flatnonzero(~(after <= GAIN * before) & np.any(step != 0, axis=1) & hessians.serves_again)
    if len(poor):
        onward = hessians.step(take(seen, poor), gradients[poor, 0])
        level[poor] = norms(onward / resolution[poor]) / norms(step[poor] / resolution[poor])
        level[~(level <= GAIN)] = np.inf
        best = np.where(np.isfinite(level), 0, best)

    improves = np.isfinite(level) | (lengths[each, best] < before)
    x, gradient = trials[each, best], gradients[each, best]

    # Go on with the same Hessians.
    goes = np.flatnonzero(improves & _is_left(hessians, seen, x, gradient) & hessians.serves_again)
    while len(goes):
        new = x[goes] + hessians.step(take(seen, goes), gradient[goes])
        at_new = evaluate(new)[1]
        gains = norms(weight[goes] * at_new) < DIGIT * norms(weight[goes] * gradient[goes])  # false if not finite
        goes = goes[gains]
        x[goes], gradient[goes] = new[gains], at_new[gains]
        goes = goes[_is_left(hessians, take(seen, goes), x[goes], gradient[goes])]
    return x, gradient, level


def _is_left(hessians: Hessians, seen: Any, x: Rows, gradient: Rows) -> Rows:
    """Returns (n,) whether any gradient is above what one rounding of x makes of it."""
    return np.any(np.abs(gradient) > hessians.rounding(seen, x), axis=1)


def norms(vectors: Rows) -> Rows:
    """Returns (n,) the lengths of (n, dim) vectors."""
    return np.linalg.norm(vectors, axis=1)


def take(tree: Any, which: Rows) -> Any:
    """Returns some rows."""
    return jax.tree.map(lambda leaf: leaf[which], tree)


def put(tree: Any, which: Rows, new: Any) -> None:
    """Writes new rows over some of a tree's."""
    for leaf, rows in zip(jax.tree.leaves(tree), jax.tree.leaves(new), strict=True):
        leaf[which] = rows
