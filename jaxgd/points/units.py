"""The units in which a landscape is judged: a length for each coordinate and a scale of values, from the starts.

Nothing in a verdict may depend on the units that somebody measures in. A coordinate's unit is the spread of the starts
in it, or how far the point lies from their middle where that is more; values are measured by how far those of the
starts lie from the point's. Moving the origin changes neither.
"""

import functools
from typing import NamedTuple

import jax
import numpy as np

from jaxgd.base import Landscape
from jaxgd.points.dense import programs_of
from jaxgd.points.flat import Kind, as_rows, at_least_single, flat

_NUM_STARTS = 64


class Units(NamedTuple):
    """What the starts of a landscape say about its units."""

    middle: np.ndarray  # (dim,) of the starts, in each coordinate
    spread: np.ndarray  # (dim,) of the starts; 0 where all are alike
    values: np.ndarray  # (at most 64,) finite ones of the starts


@functools.lru_cache(maxsize=8)
@np.errstate(all="ignore")
def units_of(landscape: Landscape, kind: Kind) -> Units:
    """Returns the units of a landscape whose params are of this kind."""
    keys = jax.random.split(jax.random.key(0), _NUM_STARTS)
    starts = jax.tree.map(at_least_single, jax.jit(jax.vmap(landscape.sample))(keys))
    rows = as_rows(starts)[0]
    values = programs_of(flat(landscape, kind), rows.dtype.name).evaluate(rows)[0]
    low, middle, high = np.quantile(rows, (0.16, 0.5, 0.84), axis=0)
    spread = (high - low) / 2

    # a few starts that differ are a spread, too
    spread = np.where(spread > 0, spread, np.std(rows, axis=0))
    spread = np.where(np.isfinite(spread) & np.any(rows != rows[:1], axis=0), spread, 0)
    return Units(
        middle=np.where(np.isfinite(middle), middle, 0).astype(rows.dtype),
        spread=spread.astype(rows.dtype),
        values=values[np.isfinite(values)],
    )


@np.errstate(all="ignore")
def lengths_at(units: Units, x: np.ndarray) -> np.ndarray:
    """Returns (n, dim) the unit of length of each coordinate at the (n, dim) points; positive and finite.

    A coordinate that never varies has no unit of its own: it gets the geometric mean of the others', else the largest
    absolute coordinate of the point, else 1.
    """
    lengths = np.maximum(units.spread, np.abs(x - units.middle))
    is_known = (lengths > 0) & np.isfinite(lengths)
    logs = np.log(np.where(is_known, lengths, 1).astype(np.float64))
    number = np.sum(is_known, axis=1, keepdims=True)
    mean = np.exp(np.sum(logs, axis=1, keepdims=True) / np.maximum(number, 1))

    largest = np.max(np.where(np.isfinite(x), np.abs(x), 0), axis=1, keepdims=True, initial=0)
    otherwise = np.where(number > 0, mean, np.where(largest > 0, largest, 1))
    return np.where(is_known, lengths, otherwise).astype(x.dtype)


@np.errstate(all="ignore")
def value_scale_at(units: Units, value: np.ndarray) -> np.ndarray:
    """Returns (n,) float64, how far the values of the starts lie from these: the lower quartile, robust to overlaps.

    Where that is zero it is the largest distance.
    """
    if not len(units.values):
        return np.zeros(len(value))
    values = np.sort(units.values.astype(np.float64))
    quarter = len(values) // 4

    # the distances from one value grow to both sides, so that the quartile lies among the nearest in sorted order
    scale = np.empty(len(value))
    for begin in range(0, len(value), 4096):
        part = slice(begin, begin + 4096)
        away = np.abs(values[None, :] - value[part, None].astype(np.float64))
        away.sort(axis=1)
        scale[part] = np.where(away[:, quarter] > 0, away[:, quarter], away[:, -1])
    return np.where(np.isfinite(scale), scale, 0)
