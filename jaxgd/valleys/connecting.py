"""Ways from one point to another, and the barrier on them: are two minima connected?

Three ways are looked for: the straight line, after hidden units were matched where that is asked for; a walk along the
valley, if both points lie on valleys that may be one; and a string that is let down from the straight line. The lowest
of them is the answer. A walk along the valley is shown, step by step, so that there is no barrier at all. The largest
value on any other path is an upper bound of what has to be passed: a lower path may exist.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Array, InputValueError, Landscape, Params, Points
from jaxgd.checks import check_count
from jaxgd.platforms import in_full_precision
from jaxgd.points.flat import as_params, as_rows, at_least_single, flat
from jaxgd.points.judge import MAX_DENSE_DIM, judge_in_full
from jaxgd.points.newton import take
from jaxgd.points.units import Units, lengths_at, units_of, value_scale_at
from jaxgd.points.valley_walks import Ground, Like, walk_on, walk_to
from jaxgd.valleys.matching import matched
from jaxgd.valleys.string import SWEEPS_TOGETHER, let_down

_PER_SEGMENT = 8  # places between two images at which the value is looked at
_ON_STRAIGHT = 64  # images of the straight line
_TURNS = 4  # two opposite walks each, that a blocked way is tried to be led around by
_STEPS_OF_A_DETOUR, _LENGTH_OF_A_DETOUR = 48, 0.25
_LOOKS_FROM_A_DETOUR = 8  # places of it from which the way to the goal is tried
_GAIN = 0.02  # share by which a round of sweeps has to lower the barrier
_SAFETY = 8.0  # on errors of values


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A path between two points, by its corners; a valley bends between them, other ways are straight there.

    Attributes:
      params: pytree with leading axis k, the corners of the path; the last is the second point, units matched.
      along: (m,) places on it, corner i at i.
      values: (m,) there.
      gradient_norm: (m,) there.
      barrier: largest of the values, above the higher one of the two ends; at least 0. The least barrier of all paths
        is no larger, but for what `barrier_error` says.
      barrier_error: estimate of what the largest value misses between two places, and by rounding.
      straight_barrier: the same of the straight line.
      unmatched_barrier: of the straight line before units were matched; equal to `straight_barrier` where none were.
      way: "straight", "valley" or "string".
      is_connected: the path was shown to stay on one valley, step by step. False does not mean that there is no way.
    """

    params: Params
    along: Array
    values: Array
    gradient_norm: Array
    barrier: float
    barrier_error: float
    straight_barrier: float
    unmatched_barrier: float
    way: str
    is_connected: bool

    def __str__(self) -> str:
        top = int(np.argmax(self.values))
        ends = f"values {self.values[0]:.6g} and {self.values[-1]:.6g} at the ends"
        if self.is_connected:
            text = f"Connected: a walk of {len(self.along) - 1} steps along one valley was shown; {ends}."
        elif self.barrier <= self.barrier_error:
            text = f"No barrier was seen on the {self.way} way (error {self.barrier_error:.1g}), {ends}."
        else:
            text = (
                f"Barrier of at most {self.barrier:.4g} (error {self.barrier_error:.1g}) on the {self.way} way, {ends},"
                f" gradient norm {self.gradient_norm[top]:.2g} at the top; a lower way may exist."
            )
        straight = f"straight {self.straight_barrier:.4g}"
        if self.unmatched_barrier != self.straight_barrier:
            straight = f"straight {self.unmatched_barrier:.4g}, after matching units {self.straight_barrier:.4g}"
        return f"{text}\nBarriers on the way there: {straight}, {self.way} {self.barrier:.4g}."


@in_full_precision
def connect(
    landscape: Landscape,
    a: Params,
    b: Params,
    *,
    match: Sequence[str] = (),
    num_images: int = 17,
    max_sweeps: int = 1000,
) -> Connection:
    """Returns the lowest way found between two points, with its barrier.

    Args:
      landscape: where they lie.
      a: params of one point.
      b: params of another.
      match: names of successive fully connected layers of a network, in order ("layer_1", or "0" in a list, joined by
        dots where nested): the hidden units of `b` between each of them and the next are first permuted, and their
        signs flipped where the value allows it, to be nearest to those of `a`.
      num_images: images of the string, at least 3.
      max_sweeps: that it is let down for; each takes a gradient for each image. It stops when the barrier is gone, or
        hardly falls any more. 0 for no string.

    Returns:
      The connection. Its barrier is an upper bound, since there may be lower ways; and `is_connected` says whether a
      walk along one valley was shown, which is tried up to 1,024 parameters.

    Raises:
      InputValueError: the points do not fit the landscape, units cannot be matched, or a number is out of range.

    Example:
      >>> import jax, jax.numpy as jnp, jaxgd
      >>> ring = jaxgd.Landscape(
      ...     value=lambda x: (jnp.sum(x**2) - 1) ** 2, sample=lambda key: jax.random.normal(key, (2,))
      ... )
      >>> found = jaxgd.connect(ring, jnp.array([1.0, 0.0]), jnp.array([-1.0, 0.0]))
      >>> found.way, found.is_connected, round(found.straight_barrier, 6)
      ('valley', True, 1.0)
    """
    check_count("num_images", num_images, low=3)
    check_count("max_sweeps", max_sweeps, low=0)
    pair = jax.tree.map(lambda *leaves: np.stack([at_least_single(leaf) for leaf in leaves]), a, b)
    judged = judge_in_full(landscape, pair).points
    rows, kind = as_rows(pair)
    units = units_of(landscape, kind)
    ground = _Paths(landscape, kind, rows, units)

    unmatched = ground.look(_straight(rows))
    straight, way = unmatched, "straight"
    if len(match) == 1:
        raise InputValueError("`match` must name at least two layers: units lie between a layer and the next.")
    if match:
        one = lambda number: jax.tree.map(lambda leaf: leaf[number], pair)
        b = matched(landscape, one(0), one(1), match, ground.rounding)
        pair = jax.tree.map(lambda *leaves: np.stack(leaves), one(0), b)
        judged, rows = judge_in_full(landscape, pair).points, as_rows(pair)[0]
        straight = ground.look(_straight(rows))
    best = straight

    trail = _along_valley(ground, judged) if rows.shape[1] <= MAX_DENSE_DIM else None
    if trail is not None:
        best, way = ground.look(np.concatenate([rows[:1], trail, rows[1:]]), each=1), "valley"
    elif max_sweeps and best.barrier > best.error:
        path, last = rows[0] + np.linspace(0, 1, num_images, dtype=rows.dtype)[:, None] * (rows[1] - rows[0]), np.inf
        for _ in range(-(-max_sweeps // SWEEPS_TOGETHER)):
            path = let_down(ground.functions, path, ground.unit)
            found = ground.look(path)
            if found.barrier < best.barrier:
                best, way = found, "string"
            if not found.barrier <= (1 - _GAIN) * last or found.barrier <= found.error:
                break
            last = found.barrier
    return Connection(
        params=as_params(best.path, kind),
        along=best.along,
        values=best.values,
        gradient_norm=best.gradient_norm,
        barrier=best.barrier,
        barrier_error=best.error,
        straight_barrier=straight.barrier,
        unmatched_barrier=unmatched.barrier,
        way=way,
        is_connected=trail is not None,
    )


@dataclass(frozen=True)
class _Seen:
    """What there is along a path."""

    path: np.ndarray
    along: np.ndarray
    values: np.ndarray
    gradient_norm: np.ndarray
    barrier: float
    error: float


class _Paths:
    """Where paths lie."""

    def __init__(self, landscape: Landscape, kind: Any, ends: np.ndarray, units: Units) -> None:
        self.landscape, self.functions, self.units = landscape, flat(landscape, kind), units
        self.unit = np.max(lengths_at(units, ends), axis=0)
        evaluate = self.functions.evaluate

        @jax.jit
        def look(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
            values, gradients = jax.lax.map(evaluate, rows)
            return values, jnp.linalg.norm(gradients, axis=1)

        self._look = look
        values = np.asarray(look(jnp.asarray(ends))[0])
        eps = float(np.finfo(ends.dtype).eps)
        self.height = float(np.max(value_scale_at(units, values)))
        self.rounding = eps**0.75 * (self.height + float(np.max(np.abs(values))))

    def look(self, path: np.ndarray, each: int = _PER_SEGMENT) -> _Seen:
        """Returns what there is along a path, looked at so often on each straight piece."""
        along = np.linspace(0, len(path) - 1, each * (len(path) - 1) + 1)
        before = np.minimum(along.astype(int), len(path) - 2)
        share = (along - before)[:, None].astype(path.dtype)
        values, norm = self._look(jnp.asarray((1 - share) * path[before] + share * path[before + 1]))
        values = np.asarray(values)
        top = int(np.argmax(np.where(np.isfinite(values), values, np.inf)))
        barrier = float(values[top] - max(values[0], values[-1])) if np.isfinite(values[top]) else np.inf

        # A parabola through the top and its neighbours rises above them by an eighth of the second difference at most.
        beside = values[max(top - 1, 0) : top + 2]
        between = float(np.abs(np.diff(beside, 2)).max(initial=0)) / 8
        return _Seen(path, along, values, np.asarray(norm), barrier, between + self.rounding)


def _straight(ends: np.ndarray) -> np.ndarray:
    return ends[0] + np.linspace(0, 1, _ON_STRAIGHT, dtype=ends.dtype)[:, None] * (ends[1] - ends[0])


def _along_valley(ground: _Paths, pair: Points) -> np.ndarray | None:
    """Returns (k, dim) places of a walk from the one point to the other that was shown, None if there is none."""
    critical = pair.is_critical() & (pair.dimension > 0)
    is_alike = np.ptp(pair.verdict) == np.ptp(pair.index) == np.ptp(pair.dimension) == 0
    is_level = np.abs(np.diff(pair.value)[0]) <= _SAFETY * np.sum(np.nan_to_num(pair.value_error))
    if not (critical.all() and is_alike and is_level):
        return None
    x, off = as_rows(pair.params)[0], np.nan_to_num(as_rows(pair.placement)[0])
    like = Like(
        value=pair.value[:1],
        value_error=np.nan_to_num(pair.value_error[:1]),
        height=np.full(1, ground.height, x.dtype),
        num_negative=pair.index[:1],
    )
    valley = Ground(ground.functions, ground.units, int(pair.dimension[0]))

    found, draw = _to_goal(valley, x[:1], x[1:], off[1:], like), np.random.default_rng(0)
    for _ in range(_TURNS):
        if found is not None:
            break

        # Straight ahead, one way and the opposite one, and from what lies nearest to the goal on to it.
        one = draw.standard_normal(x[:1].shape).astype(x.dtype)
        both, again = np.concatenate([one, -one]), np.zeros(2, int)
        detours = [[x[0]], [x[0]]]
        for ahead in walk_on(
            valley, x[again], _always(both), take(like, again), _STEPS_OF_A_DETOUR, _LENGTH_OF_A_DETOUR
        ):
            for which in np.flatnonzero(ahead.step.is_shown):
                detours[ahead.which[which]].append(ahead.step.places.x[which])
        for detour in map(np.array, detours):
            near = np.argsort(np.linalg.norm((detour - x[1]) / ground.unit, axis=1))[:_LOOKS_FROM_A_DETOUR]
            rest = _to_goal(valley, detour[near], x[1:], off[1:], like)
            if rest is not None:
                begin = int(np.flatnonzero(np.all(detour == rest[0], axis=1))[0])
                found = np.concatenate([detour[:begin], rest])
                break
    return found


def _to_goal(valley: Ground, starts: np.ndarray, goal: np.ndarray, off: np.ndarray, like: Like) -> np.ndarray | None:
    """Returns (k, dim) places of a walk from one of (n, dim) starts to the goal (1, dim), None if none is shown."""
    trail: list[tuple[np.ndarray, np.ndarray]] = []
    again = np.zeros(len(starts), int)
    there = np.flatnonzero(walk_to(valley, starts, goal[again], off[again], take(like, again), trail))
    if not len(there):
        return None
    places = [here[which == there[0]] for which, here in trail]
    return np.concatenate([starts[there[:1]], *places, goal])


def _always(direction: np.ndarray) -> Callable[[int], np.ndarray]:
    return lambda _: direction
