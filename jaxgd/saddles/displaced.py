"""Starts of searches beside points that are known: displaced at random, along soft modes, or towards a neighbour.

A search from a known point leads to the saddles around it, and what lies around is seen in turn by displacements of
several sizes and kinds:

- a normal displacement of every coordinate, in units of length;
- one in which a mode of curvature w takes part by 1 / sqrt(|w|), as heat would displace it: along soft modes;
- a share of the way to one of the nearest other known points, where the landscape has no symmetry that would have to be
  undone first.

One start of four is a random one of the landscape: some saddles lie beside no point that is known. Draw i depends on
the key and on i alone, so that more starts only add to those before.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Key, Landscape
from jaxgd.points.evidence import Rows
from jaxgd.points.flat import Kind, flat
from jaxgd.points.rows import ForRows
from jaxgd.points.units import Units, lengths_at
from jaxgd.saddles.modes import modes_at

SIZES = (0.1, 0.8)
"""Least and largest displacement of a coordinate, in units of length; drawn evenly on a logarithmic scale."""

_NEIGHBOURS = 3  # one of so many nearest ones
_BESIDE = 0.05  # units of length off the straight way to it


class Known(NamedTuple):
    """Points to start beside; arrays with one leading axis of them."""

    x: Rows  # (k, dim)
    unit: Rows  # (k, dim) of length
    modes: Rows  # (k, dim, dim) in units of length; times normal numbers they are a displacement along soft modes
    neighbours: Rows  # (k, m) the nearest others, m may be 0


def lengths_around(units: Units, x: Rows) -> Rows:
    """Returns (n, dim) units of length beside the (n, dim) points: none is smaller than in the middle of the starts.

    Where all starts agree in a coordinate, a point that hardly differs from them says little about its unit.
    """
    return np.maximum(lengths_at(units, x), lengths_at(units, units.middle[None]))


def known_points(landscape: Landscape, kind: Kind, x: Rows, unit: Rows) -> Known:
    """Returns what is needed to start beside the (k, dim) points."""
    neighbours = np.zeros((len(x), 0), np.int64)
    if landscape.symmetry is None and len(x) > 1:
        apart = np.linalg.norm((x[:, None] - x[None]) / unit[:, None], axis=2)
        np.fill_diagonal(apart, np.inf)
        neighbours = np.argsort(apart, axis=1, kind="stable")[:, : min(_NEIGHBOURS, len(x) - 1)]
    return Known(x, unit, _soft_modes(landscape, kind)(x, unit), neighbours)


def draw_beside(
    known: Known, key: Key, numbers: range, x: Rows, unit: Rows, sizes: tuple[float, float] = SIZES
) -> None:
    """Moves random starts to beside known points, three of four of them.

    Args:
      known: the points.
      key: of the random numbers, with the start's own.
      numbers: of the starts.
      x: (n, dim) random starts of these numbers; where they lie is changed.
      unit: (n, dim) of length there; likewise.
      sizes: see `SIZES`.
    """
    words = np.asarray(jax.random.key_data(key)).tolist()
    for row, number in enumerate(numbers):
        draw = np.random.default_rng([*words, number])
        way, origin = draw.integers(4), draw.integers(len(known.x))
        size, normal = np.exp(draw.uniform(*np.log(sizes))), draw.standard_normal(x.shape[1])
        if way == 0:
            continue
        near = known.neighbours[origin]
        if way == 3 and len(near):
            away = known.x[draw.choice(near)] - known.x[origin]
            off = draw.uniform(0.3, 0.7) * away + _BESIDE * known.unit[origin] * normal
        elif way == 2:
            off = size * known.unit[origin] * normal
        else:
            off = size * known.unit[origin] * (known.modes[origin] @ normal)
        x[row], unit[row] = known.x[origin] + off, known.unit[origin]


@functools.lru_cache(maxsize=8)
def _soft_modes(landscape: Landscape, kind: Kind) -> ForRows:
    """Returns the modes of one flat point, each as long as heat would displace it, one unit on average."""
    functions = flat(landscape, kind)

    def modes(x: jax.Array, unit: jax.Array) -> jax.Array:
        curvature, vectors, _, height = modes_at(functions, x, unit, unit, raised=1.0)
        least = jnp.finfo(x.dtype).eps ** 0.5 * height + jnp.finfo(x.dtype).tiny
        length = 1 / jnp.sqrt(jnp.maximum(jnp.abs(curvature), least))
        return vectors * (length / jnp.sqrt(jnp.mean(length**2)))[None, :]

    return ForRows(modes)
