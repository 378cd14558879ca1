"""All critical points of a box, proven: none is missed, none is counted twice, and what is undecided is said."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxgd.base import InputTypeError, InputValueError, Landscape, Params, Progress
from jaxgd.checks import check_count, check_share, check_value, what_is
from jaxgd.front_door import as_landscape
from jaxgd.interrupt import interruptible
from jaxgd.progress import shown
from jaxgd.proof.intervals import Bounds, Rows
from jaxgd.proof.rules import Program
from jaxgd.proof.search import boundary_sign, examine, halves, indices_of, inflated, polished

_BATCH = 2**21  # numbers of the largest array, for all boxes that are looked at together
_MOST_BOXES = 2048  # of these
_FACE_BOXES = 20_000  # looked at on each face of the box


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The critical points of a box.

    Attributes:
      landscape: name of the function.
      low: (dim,) corner of the box.
      high: (dim,) likewise.
      points: (k, dim) one for each proven critical point, in the middle of its bounds.
      radius: (k, dim) how far off the point it may be.
      index: (k,) proven number of negative eigenvalues of its Hessian; -1 where that is not proven.
      is_at_edge: (k,) bool, whether its bounds reach over the box's boundary, so that it may lie just outside.
      undecided_low: (m, dim) corners of boxes of which nothing could be proven; every other critical point is in one.
      undecided_high: (m, dim) likewise.
      covered: the share of the box that is decided, at least.
      num_boxes: boxes that were looked at.
      degree: what (-1)^index of all critical points must add up to, by the gradient on the boundary; 0 where that is
        not proven.
      is_interrupted: whether it was.
      is_exhausted: whether `max_boxes` was reached.
      dtype: type of numbers in which the function was traced; the bounds are in float64.
    """

    landscape: str
    low: Rows
    high: Rows
    points: Rows
    radius: Rows
    index: Rows
    is_at_edge: Rows
    undecided_low: Rows
    undecided_high: Rows
    covered: float
    num_boxes: int
    degree: int
    is_interrupted: bool
    is_exhausted: bool
    dtype: str

    def __len__(self) -> int:
        return len(self.points)

    @property
    def is_complete(self) -> bool:
        """Whether the points are all critical points of the box, none of them on its edge."""
        return not len(self.undecided_low) and not np.any(self.is_at_edge)

    def to_json(self) -> dict[str, Any]:
        """Returns all of it as plain lists and numbers."""
        return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in vars(self).items()}

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        counts = ", ".join(
            f"{np.sum(self.index == one):,} of index {one}"
            if one >= 0
            else f"{np.sum(self.index < 0):,} of unproven index"
            for one in np.unique(self.index).tolist()
        )

        all_of_it = "exactly" if self.is_complete else "at least"
        num_inside = len(self) if self.is_complete else int(np.sum(~self.is_at_edge))
        lines = [f"{self.landscape}: {all_of_it} {num_inside:,} critical points in the box, proven"]
        lines[0] += f" ({counts})." if counts else "."

        # The first 24 points, one a line.
        for place, index in zip(self.points[:24], self.index[:24].tolist(), strict=True):
            where = ", ".join(f"{x:.6g}" for x in place[:6]) + (", ..." if len(place) > 6 else "")
            lines.append(f"  ({where})  {f'index {index}' if index >= 0 else 'index not proven'}")
        if len(self) > 24:
            lines.append(f"  ... and {len(self) - 24:,} more")

        # What the proof leaves open, and how it compares with the degree.
        if np.any(self.is_at_edge):
            lines.append(f"{np.sum(self.is_at_edge):,} of them lie on the edge of the box, or just outside of it.")
        if len(self.undecided_low):
            why = "Interrupted: " if self.is_interrupted else "Out of boxes: " if self.is_exhausted else ""
            lines.append(
                f"{why}{len(self.undecided_low):,} small boxes are undecided, each may hold none, one or many;"
                f" {100 * self.covered:.6g} % of the box is decided."
            )

        if self.degree:
            found = int(np.sum((-1.0) ** self.index[self.index >= 0]))
            lines.append(f"By the gradient on the boundary the signs (-1)^index sum to {self.degree}; found: {found}.")
        if self.dtype != "float64":
            lines.append(f"The function was traced in {self.dtype}, so that its constants are rounded to it.")
        return "\n".join([*lines, f"{self.num_boxes:,} boxes looked at, bounds in float64 rounded outward."])


def prove(
    landscape: Any,
    low: Params,
    high: Params,
    *,
    resolution: float = 1e-6,
    max_boxes: int = 200_000,
    progress: Progress | bool | None = None,
) -> Proof:
    """Returns all critical points of a box, proven by interval arithmetic; what cannot be proven is returned as boxes.

    A search says what it found, this says what there is: every critical point in the box is one of `points` or lies in
    an undecided box. The cost grows with the volume, so it is for a few parameters. Degenerate points, valleys and
    kinks stay undecided. The derivative rules of the function are taken at their word.

    Args:
      landscape: a `Landscape`, a registered name, or a function of params, whose shapes are then those of `low`.
      low: corner of the box: params, one number for all coordinates of a `Landscape`, or a list of all its numbers.
      high: likewise.
      resolution: width, as a share of the box's, below which a box is not split further; in (0, 1).
      max_boxes: boxes that are looked at (>= 1); what is left then is undecided.
      progress: True, False, a function called as progress("proving", done, max_boxes), or nothing: a bar in terminals
        and notebooks.

    Returns:
      `Proof`; printed, it is a table. After Ctrl-C it holds what was proven so far.

    Raises:
      InputValueError: the box is empty or not finite, or the function uses a primitive without an interval rule.
      InputTypeError: an argument is of the wrong kind.

    Example:
      >>> import jax.numpy as jnp, jaxgd
      >>> wells = lambda x: jnp.sum((x**2 - 1) ** 2 + 0.3 * x)
      >>> jaxgd.prove(wells, jnp.array([-2.0, -2.0]), jnp.array([2.0, 2.0])).index.tolist()
      [0, 1, 0, 1, 2, 1, 0, 1, 0]
    """
    max_boxes = check_count("max_boxes", max_boxes)
    check_share("resolution", resolution)
    landscape, lowest, highest, unravel, dtype = _asked(landscape, low, high)
    flat_gradient = jax.grad(lambda x: landscape.value(unravel(x)))
    both = lambda x: (flat_gradient(x), jax.jacfwd(flat_gradient)(x))
    zeros = jax.ShapeDtypeStruct(lowest.shape, dtype)
    gradient, derivatives = (Program(jax.make_jaxpr(function)(zeros)) for function in (flat_gradient, both))

    span = highest - lowest
    unit = np.where(span > 0, span, np.maximum(np.abs(lowest), 1))
    together = int(np.clip(_BATCH // (derivatives.largest + len(span) ** 3), 16, _MOST_BOXES))
    boxes = Bounds(lowest[None], highest[None])
    proven: list[tuple[Rows, Rows]] = []
    stuck: list[tuple[Rows, Rows]] = []
    num_boxes, is_smooth = 0, True
    with shown(progress, None) as show, interruptible() as told:
        while len(boxes.low) and num_boxes < max_boxes and not told.count:
            count = min(together, max_boxes - num_boxes)
            low_now, high_now = boxes.low[:count], boxes.high[:count]
            larger = inflated(low_now, high_now, unit)
            step = examine(derivatives, gradient, larger)
            num_boxes += len(low_now)
            is_smooth &= bool(np.all(step.is_smooth | ~step.is_empty))
            proven.append((larger.low[step.is_one], larger.high[step.is_one]))

            # What is left of the box itself: others hold what lies beyond it.
            new_low, new_high = np.maximum(step.low, low_now), np.minimum(step.high, high_now)
            is_open = ~step.is_empty & ~step.is_one & np.all(new_low <= new_high, axis=1)
            new_low, new_high = new_low[is_open], new_high[is_open]
            is_small = np.all(new_high - new_low <= resolution * unit, axis=1)
            stuck.append((new_low[is_small], new_high[is_small]))
            parts = halves(new_low[~is_small], new_high[~is_small], unit)
            boxes = Bounds(
                np.concatenate([boxes.low[count:], parts.low]), np.concatenate([boxes.high[count:], parts.high])
            )
            if show is not None:
                show("proving", num_boxes, max_boxes)

    is_left = len(boxes.low) > 0
    stuck.append(boxes)
    undecided = Bounds(*(np.concatenate(parts) for parts in zip(*stuck, strict=True)))
    around = Bounds(
        *(np.concatenate(parts) for parts in zip(*proven, (lowest[None][:0], highest[None][:0]), strict=True))
    )
    at, around, doubtful = _distinct(polished(derivatives, gradient, *around), around)
    undecided = Bounds(*(np.concatenate(pair) for pair in zip(undecided, doubtful, strict=True)))
    is_inside = np.all((at.high >= lowest) & (at.low <= highest), axis=1)
    at = Bounds(at.low[is_inside], at.high[is_inside])

    # A box within one where the point is the only one holds no other.
    is_new = np.ones(len(undecided.low), bool)
    for one_low, one_high in zip(*around, strict=True):
        is_new &= ~np.all((undecided.low >= one_low) & (undecided.high <= one_high), axis=1)
    undecided = Bounds(undecided.low[is_new], undecided.high[is_new])

    order = np.lexsort(at.low.T[::-1]) if len(at.low) else np.zeros(0, np.int64)
    at = Bounds(at.low[order], at.high[order])
    points = at.low + (at.high - at.low) / 2
    sides = (undecided.high - undecided.low)[:, span > 0] / span[span > 0]
    is_whole = is_smooth and bool(np.all(span > 0)) and not len(undecided.low)
    return Proof(
        landscape=landscape.name,
        low=lowest,
        high=highest,
        points=points,
        radius=np.nextafter(np.maximum(at.high - points, points - at.low), np.inf),
        index=indices_of(derivatives, at) if len(points) else np.zeros(0, np.int64),
        is_at_edge=np.any((at.low < lowest) | (at.high > highest), axis=1),
        undecided_low=undecided.low,
        undecided_high=undecided.high,
        covered=float(np.clip(1 - np.sum(np.prod(sides, axis=1)), 0, 1)),
        num_boxes=num_boxes,
        degree=boundary_sign(gradient, lowest, highest, _FACE_BOXES) if is_whole else 0,
        is_interrupted=bool(told.count) and is_left,
        is_exhausted=is_left and not told.count,
        dtype=np.dtype(dtype).name,
    )


def _asked(landscape: Any, low: Params, high: Params) -> tuple[Landscape, Rows, Rows, Any, Any]:
    """Returns the landscape, the flat corners of the box, what makes params of a flat point, and their type."""
    has_shapes = isinstance(landscape, (Landscape, str)) or not callable(landscape)
    like_low = None if has_shapes else jax.tree.map(lambda leaf: np.zeros(np.shape(leaf), np.result_type(float)), low)
    landscape = as_landscape(
        landscape, sample=None if has_shapes else lambda key: jax.tree.map(jax.numpy.asarray, like_low)
    )
    one = jax.eval_shape(landscape.sample, jax.eval_shape(lambda: jax.random.key(0)))
    example = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), one)

    start, unravel = ravel_pytree(example)
    corners = [_corner("low", low, example), _corner("high", high, example)]
    if not len(start):
        raise InputValueError("the box has no coordinates; `low` must hold at least one number.")
    if not np.all(corners[0] <= corners[1]):
        raise InputValueError("`low` must not be larger than `high` in any coordinate; exchange them.")
    check_value(landscape, one)
    return landscape, *corners, unravel, start.dtype


def _corner(name: str, given: Any, example: Params) -> Rows:
    """Returns a flat corner of the box in float64."""
    if np.ndim(given) == 0 and isinstance(given, (int, float, np.number)):
        given = jax.tree.map(lambda leaf: np.full(np.shape(leaf), given), example)
    elif isinstance(given, (tuple, list)) and all(isinstance(one, (int, float)) for one in given):
        leaves = jax.tree.leaves(example)
        if len(leaves) == 1 and np.size(leaves[0]) == len(given):
            given = jax.tree.map(lambda leaf: np.reshape(np.asarray(given, np.float64), np.shape(leaf)), example)
    if isinstance(given, (str, bytes, bool)) or given is None:
        raise InputTypeError(f"`{name}` must be a number or params, got {what_is(given)}.")
    shapes = lambda tree: [np.shape(leaf) for leaf in jax.tree.leaves(tree)]
    structure: Any = jax.tree.structure
    if structure(given) != structure(example) or shapes(given) != shapes(example):
        raise InputValueError(f"`{name}` must have the shapes of the params, {shapes(example)}, or be one number.")
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(given)]
    if any(leaf.dtype.kind not in "iuf" for leaf in leaves):
        raise InputTypeError(f"`{name}` must hold real numbers, got {what_is(given)}.")
    flat = np.concatenate([np.zeros(0), *(np.ravel(leaf.astype(np.float64)) for leaf in leaves)])
    if not np.all(np.isfinite(flat)):
        raise InputValueError(f"`{name}` must be finite; give the corner of a bounded box.")
    return flat


def _distinct(at: Bounds, around: Bounds) -> tuple[Bounds, Bounds, Bounds]:
    """Returns the distinct points, the boxes in which each is the only one, and what could not be told from another.

    Two bounds are of one point where one lies in the other's box, in which there is only one.
    """
    kept: list[int] = []
    doubtful: list[int] = []
    for row in range(len(at.low)):
        low, high = at.low[kept], at.high[kept]
        is_met = np.all((low <= at.high[row]) & (high >= at.low[row]), axis=1)
        in_theirs = (around.low[kept] <= at.low[row]) & (around.high[kept] >= at.high[row])
        in_ours = (around.low[row] <= low) & (around.high[row] >= high)
        is_same = np.all(in_theirs, axis=1) | np.all(in_ours, axis=1)
        if not np.any(is_met | is_same):
            kept.append(row)
        elif not np.any(is_same):
            doubtful.append(row)
    pick = lambda box, rows: Bounds(box.low[rows], box.high[rows])
    return pick(at, kept), pick(around, kept), pick(around, doubtful)
