r"""Walks on a valley: places of equal value, for sampling minima of equal loss, their sharpness, their test error.

A step goes along the kernel of the Hessian, in a random direction or straight ahead, and Newton's method leads back
across it,

$$ y = x + N a + P z, \qquad P^\top \nabla f(y) = 0, $$

with N and P orthonormal bases of kernel and range at x, in units of length. It counts only if y is shown to lie on the
same valley (`jaxgd.points.valley_walks`): value, index and rank are as they were, no gradient is left, and nothing else
lies between. A step that does not count is tried again at a third of its length; where even the shortest one does not,
the walk ends, and says why. Above `MAX_DENSE_DIM` parameters steps come from products (`jaxgd.points.large_valleys`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Array, InputValueError, Key, Landscape, Params, Points, Verdict
from jaxgd.checks import check_count, check_key
from jaxgd.platforms import in_full_precision
from jaxgd.points.flat import as_params, as_rows, at_least_single, flat
from jaxgd.points.judge import MAX_DENSE_DIM, judge_in_full
from jaxgd.points.large_valleys import flat_direction, step_by_products
from jaxgd.points.units import lengths_at, units_of, value_scale_at
from jaxgd.points.valley_walks import Ground, Like, Why, walk_on

_WHY = {
    Why.NONE: "",
    Why.LEAVES: "the valley ends or bends too sharply: Newton's method does not lead back to it",
    Why.RIDGE: "the curvature across changes its signs on the way: an edge, a kink or a crossing",
    Why.GRADIENT: "a gradient is left beside the last place: an edge or a kink",
    Why.VALUE: "the value changes: an edge or a kink",
    Why.RANK: "the rank of the Hessian changes: a crossing, an edge or a kink",
    Why.TURNS: "the valley turns by more than sixty degrees at once: a corner",
}


@dataclass(frozen=True, kw_only=True)
class ValleyWalk:
    """Walks on valleys; every array has the leading axes (walks, num_steps + 1), the first place being the start.

    Attributes:
      params: pytree of places. After its end a walk stays where it was.
      value: (n, num_steps + 1)
      value_error: (n, num_steps + 1) estimated error of the value, by rounding.
      gradient_norm: (n, num_steps + 1) Euclidean norm of the gradient.
      length: (n, num_steps + 1) of the step to each place, in units of length; 0 for the first.
      is_shown: (n, num_steps + 1) bool, the place was reached by a step that was shown to stay on the valley.
      verdict: (n,) int8 of the starts, see `Verdict`.
      dimension: (n,) int32 of the valleys, as `Points.dimension` has it.
      ended: (n,) sentences on why a walk took fewer steps than asked for; empty where it took all.
    """

    params: Params
    value: Array
    value_error: Array
    gradient_norm: Array
    length: Array
    is_shown: Array
    verdict: Array
    dimension: Array
    ended: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.value)

    @property
    def num_steps(self) -> np.ndarray:
        """(n,) steps that each walk took."""
        return np.sum(self.is_shown, axis=1) - np.asarray(self.is_shown[:, 0], int)

    @property
    def drift(self) -> np.ndarray:
        """(n,) largest change of the value from the start, over the walk."""
        return np.max(np.abs(self.value - self.value[:, :1]), axis=1)

    def __str__(self) -> str:
        steps, asked = self.num_steps, self.value.shape[1] - 1
        lines = [
            f"{len(self):,} walks on valleys, {steps.sum():,} of {len(self) * asked:,} steps taken,"
            f" {np.sum(self.length):.3g} units of length in all.",
            f"Value drifts by {np.max(self.drift):.2g} at most (error {np.max(np.nan_to_num(self.value_error)):.2g});"
            f" gradient norm {np.max(self.gradient_norm):.2g} at most.",
        ]
        for why in dict.fromkeys(filter(None, self.ended)):
            lines.append(f"{self.ended.count(why):,} ended early: {why}.")
        return "\n".join(lines)


@in_full_precision
def walk_valley(
    landscape: Landscape,
    params: Params | Points,
    num_steps: int,
    *,
    key: Key,
    step_length: float = 0.1,
    is_straight: bool = False,
) -> ValleyWalk:
    """Returns walks along the valleys that some points lie on, each step shown to stay there.

    Args:
      landscape: whose critical points they are.
      params: critical points, or ends beside some, with one leading axis of points; each is judged and polished first.
      num_steps: that each walk takes, at least 1.
      key: of the random directions; a walk does not depend on how many others there are.
      step_length: the longest step, in units of length (the spread of the starts along each coordinate);
        where the valley bends more sharply, steps get shorter by themselves.
      is_straight: draw one direction for each walk and go on straight, as far as the valley lets it; otherwise each
        step has a direction of its own, and where one is blocked another is drawn.

    Returns:
      The walks. Steps are random in the valley's own directions, so that places far down a walk sample the valley,
      but not uniformly.

    Raises:
      InputValueError: `num_steps` or `step_length` is out of range, or the points do not fit the landscape.
      InputTypeError: `key` is not a key.

    Example:
      >>> import jax, jax.numpy as jnp, jaxgd
      >>> sphere = jaxgd.Landscape(
      ...     value=lambda x: (jnp.sum(x**2) - 1) ** 2, sample=lambda key: jax.random.normal(key, (3,))
      ... )
      >>> walk = jaxgd.walk_valley(sphere, jnp.array([[0.6, 0.8, 0.0]]), 20, key=jax.random.key(0))
      >>> radius = jnp.linalg.norm(walk.params, axis=-1)
      >>> int(walk.num_steps[0]), int(walk.dimension[0]), bool(jnp.allclose(radius, 1, atol=1e-3))
      (20, 2, True)
    """
    num_steps, key = check_count("num_steps", num_steps), check_key(key)
    if not (np.isfinite(step_length) and step_length > 0):
        raise InputValueError(f"`step_length` must be positive and finite, got {step_length}.")
    batch = params.params if isinstance(params, Points) else params
    points = judge_in_full(landscape, jax.tree.map(at_least_single, batch)).points
    x, kind = as_rows(jax.tree.map(at_least_single, points.params))
    is_small = x.shape[1] <= MAX_DENSE_DIM
    trails = _Trails(x, points, num_steps)

    def directions(which: np.ndarray, number: int) -> np.ndarray:
        draw = lambda walk: jax.random.normal(
            jax.random.fold_in(jax.random.fold_in(key, walk), number), x.shape[1:], x.dtype
        )
        return np.asarray(jax.vmap(draw)(jnp.asarray(which)))

    walk = _walk_by_spectra if is_small else _walk_by_products
    has_way = np.isin(points.verdict, [int(verdict) for verdict in _ON_VALLEYS]) & (points.dimension > 0)
    walk(landscape, kind, points, np.flatnonzero(has_way), directions, step_length, is_straight, trails)

    value_and_gradient = flat(landscape, kind).evaluate
    value, gradient = jax.jit(lambda rows: jax.lax.map(value_and_gradient, rows))(trails.x.reshape(-1, x.shape[1]))
    shape = (len(x), num_steps + 1)
    return ValleyWalk(
        params=jax.tree.map(
            lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), as_params(trails.x.reshape(-1, x.shape[1]), kind)
        ),
        value=np.asarray(value).reshape(shape),
        value_error=trails.value_error,
        gradient_norm=np.linalg.norm(np.asarray(gradient), axis=1).reshape(shape),
        length=trails.length,
        is_shown=trails.is_shown,
        verdict=np.asarray(points.verdict),
        dimension=np.asarray(points.dimension),
        ended=tuple(trails.ended),
    )


_ON_VALLEYS = (Verdict.MINIMUM, Verdict.SADDLE, Verdict.MAXIMUM)


class _Trails:
    """Where walks have been."""

    def __init__(self, x: np.ndarray, points: Points, num_steps: int) -> None:
        self.num_steps, self.taken = num_steps, np.zeros(len(x), int)
        self.x = np.repeat(x[:, None], num_steps + 1, axis=1)
        self.value_error = np.repeat(np.asarray(points.value_error)[:, None], num_steps + 1, axis=1)
        self.length = np.zeros(self.x.shape[:2], x.dtype)
        self.is_shown = np.zeros(self.x.shape[:2], bool)
        is_valley = np.isin(points.verdict, [int(verdict) for verdict in _ON_VALLEYS])
        self.is_shown[:, 0] = is_valley & (points.dimension > 0)
        self.ended = [
            _why_not(Verdict(verdict), dimension)
            for verdict, dimension in zip(points.verdict.tolist(), points.dimension.tolist(), strict=True)
        ]

    def add(self, which: np.ndarray, x: np.ndarray, value_error: np.ndarray, length: np.ndarray) -> None:
        """Takes in a step of some walks."""
        self.taken[which] += 1
        number = self.taken[which]
        for walk, place, row, error in zip(which.tolist(), number.tolist(), x, value_error, strict=True):
            self.x[walk, place:], self.value_error[walk, place:] = row, error
        self.length[which, number], self.is_shown[which, number] = length, True


def _why_not(verdict: Verdict, dimension: int) -> str:
    """Returns why no walk begins at a point; empty where one does."""
    if verdict not in _ON_VALLEYS:
        return f"the start is {verdict.name.lower().replace('_', ' ')}, and not shown to lie on a valley"
    return "the start is isolated" if dimension == 0 else ""


def _walk_by_spectra(
    landscape: Landscape,
    kind: Any,
    points: Points,
    which: np.ndarray,
    directions: Callable[..., np.ndarray],
    longest: float,
    is_straight: bool,
    trails: _Trails,
) -> None:
    units = units_of(landscape, kind)
    height = value_scale_at(units, np.asarray(points.value)).astype(trails.x.dtype)

    # Valleys of one dimension are walked together.
    for dimension in np.unique(points.dimension[which]):
        some = which[points.dimension[which] == dimension]
        like = Like(
            value=np.asarray(points.value)[some],
            value_error=np.nan_to_num(points.value_error)[some],
            height=height[some],
            num_negative=np.asarray(points.index)[some],
        )
        ground = Ground(flat(landscape, kind), units, int(dimension))

        draw = lambda number, some=some: directions(some, number)
        last = np.full(len(some), int(Why.NONE))
        for ahead in walk_on(ground, trails.x[some, 0], draw, like, trails.num_steps, longest, is_straight=is_straight):
            last[ahead.which] = ahead.step.why
            shown = ahead.step.is_shown
            moved, there = some[ahead.which[shown]], ahead.step.places
            trails.add(moved, there.x[shown], there.value_error[shown], ahead.step.length[shown])

        # Why the others stopped early.
        for walk in np.flatnonzero(trails.taken[some] < trails.num_steps):
            trails.ended[some[walk]] = _WHY[Why(last[walk])] or "the start could not be looked at again"


def _walk_by_products(
    landscape: Landscape,
    kind: Any,
    points: Points,
    which: np.ndarray,
    directions: Callable[..., np.ndarray],
    longest: float,
    is_straight: bool,
    trails: _Trails,
) -> None:
    functions, units = flat(landscape, kind), units_of(landscape, kind)
    for walk in which.tolist():
        one, x = np.array([walk]), trails.x[walk, 0]
        unit, length, ahead = lengths_at(units, x[None])[0], longest, None
        for number in range(2 * trails.num_steps + 8):
            towards = directions(one, number)[0] if ahead is None or not is_straight else ahead
            flat_there = flat_direction(functions, x, unit, towards)

            # Longer steps after one that counts, shorter ones after one that does not.
            step = step_by_products(functions, x, unit, flat_there, length, float(points.value_error[walk]))
            if step.is_shown:
                ahead, x = (step.x - x) / unit, step.x
                trails.add(one, x[None], np.array([step.value_error]), np.array([step.length]))
                length, unit = min(2 * length, longest), lengths_at(units, x[None])[0]
                if trails.taken[walk] == trails.num_steps:
                    break
            else:
                length /= 3
                if length <= 1e-4 * longest:
                    break

        if trails.taken[walk] < trails.num_steps:
            trails.ended[walk] = step.why
