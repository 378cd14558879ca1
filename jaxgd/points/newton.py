"""From ends to the critical points beside them by Newton's method, under rules that keep it from wandering.

Newton's method on grad f = 0 goes to the nearest critical point of any index. A step is taken only if the gradient norm
falls, and the whole way stays within a few times the first step (Kantorovich: where Newton converges quadratically,
within twice of it). What breaks a rule stops there, and the caller leaves it where it was.

Driven from the host, in NumPy: the points that are going take a step together, those that are done wait for nobody.
"""

from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from jaxgd.points.rows import ForRows

REACH = 4.0  # of the first Newton step; an m-fold root needs m - 1 of them, a simple one less than 2
SHORTENINGS = (1.0, 0.5, 0.25, 0.125)
DIGIT = 0.1  # share to which a step must bring the gradient down for its Hessian to serve once more

Rows = Any  # a NumPy array with one leading axis of points


class Hessians(Protocol):
    """What is seen of the Hessians at points, and the Newton steps that follow from it."""

    @property
    def max_steps(self) -> int:
        """Steps at most."""

    @property
    def serves_again(self) -> bool:
        """Whether what was seen at a point also gives the step from one beside it."""

    def look(self, x: Rows, gradient: Rows) -> Any:
        """Returns what is seen at points (n, dim), a pytree of rows."""

    def step(self, seen: Any, gradient: Rows) -> Rows:
        """Returns (n, dim) the steps to where the quadratic models' gradients vanish, as far as they can."""

    def norm(self, seen: Any) -> Rows:
        """Returns (n,) the largest absolute eigenvalues, or about."""


class Walked(NamedTuple):
    """Where Newton's steps led; arrays with one leading axis of points."""

    gradient_at_end: Rows  # (n, dim)
    seen_at_end: Any
    x: Rows  # (n, dim)
    gradient: Rows  # (n, dim) at x
    seen: Any  # last, on the way
    place: Rows  # (n, dim) where it was seen
    move: Rows  # (n,) distance of x from the end
    is_within_reach: Rows  # (n,) bool


def walk(evaluate: ForRows, hessians: Hessians, ends: Rows, resolution: Rows) -> Walked:
    """Returns where Newton's steps lead from each of the (n, dim) ends.

    Args:
      evaluate: x -> value, gradient.
      hessians: how they are seen.
      ends: where descents ended.
      resolution: (n,) how well points can be placed. What has moved no further since it was seen, and gained a digit
        by that, is not looked at again, if what was seen serves again.
    """
    gradient_at_end = evaluate(ends)[1]
    first = hessians.look(ends, gradient_at_end)
    step = hessians.step(first, gradient_at_end)
    reach = REACH * norms(step) + resolution
    x, gradient, place, seen = ends.copy(), gradient_at_end.copy(), ends.copy(), jax.tree.map(np.copy, first)
    going = np.flatnonzero(np.all(np.isfinite(step), axis=1) & (norms(gradient) > 0))
    for _ in range(hessians.max_steps):
        going = going[norms(x[going] - ends[going]) <= reach[going]]
        if not len(going):
            break
        before = norms(gradient[going])
        new, at_new = _stepped(evaluate, hessians, x[going], gradient[going], take(seen, going))
        improves = norms(at_new) < before
        is_seen = (norms(at_new) <= DIGIT * before) & (norms(new - place[going]) <= resolution[going])
        is_seen &= hessians.serves_again
        x[going[improves]], gradient[going[improves]] = new[improves], at_new[improves]
        going = going[improves & ~is_seen]
        if len(going):
            place[going] = x[going]
            put(seen, going, hessians.look(x[going], gradient[going]))
        going = going[_is_left(x[going], gradient[going], hessians.norm(seen)[going])]
    move = norms(x - ends)
    return Walked(gradient_at_end, first, x, gradient, seen, place, move, move <= reach)


def _stepped(evaluate: ForRows, hessians: Hessians, x: Rows, gradient: Rows, seen: Any) -> tuple[Rows, Rows]:
    """Returns where the best of the shortened Newton steps leads, and the gradients there.

    If what was seen serves again, it does so while it gains a digit a step: a gradient costs far less.
    """
    shares = np.asarray(SHORTENINGS, x.dtype)[None, :, None]
    trials = x[:, None] + shares * hessians.step(seen, gradient)[:, None]
    gradients = evaluate(trials.reshape(-1, x.shape[1]))[1].reshape(trials.shape)
    lengths = np.linalg.norm(gradients, axis=2)
    each, best = np.arange(len(x)), np.argmin(np.where(np.isfinite(lengths), lengths, np.inf), axis=1)
    improves = lengths[each, best] < norms(gradient)
    x, gradient = trials[each, best], gradients[each, best]
    norm = hessians.norm(seen)
    goes = np.flatnonzero(improves & _is_left(x, gradient, norm) & hessians.serves_again)
    while len(goes):
        new = x[goes] + hessians.step(take(seen, goes), gradient[goes])
        at_new = evaluate(new)[1]
        gains = norms(at_new) <= DIGIT * norms(gradient[goes])  # false where it is not finite
        goes = goes[gains]
        x[goes], gradient[goes] = new[gains], at_new[gains]
        goes = goes[_is_left(x[goes], gradient[goes], norm[goes])]
    return x, gradient


def _is_left(x: Rows, gradient: Rows, norm: Rows) -> Rows:
    """Returns whether the gradient is above what one rounding of x makes of it."""
    return norms(gradient) > np.finfo(x.dtype).eps * norm * norms(x)


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
