"""Basins: from where in the plane descents reach which critical point, with some of the ways."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import InputValueError
from jaxgd.front_door import as_landscape, as_optimizer
from jaxgd.plot.style import FAINT, INK, LOOKS, PALE, dressed, legend, name_of
from jaxgd.start_laws import Box, grid
from jaxgd.survey import survey
from jaxgd.trajectory import trajectories

_NUM_LEVELS = 18
_NUM_SAMPLES = 256  # starts that say how large the picture is
_NUM_NOTES = 60  # places along a path


def basins(
    landscape: Any,
    optimizer: Any = None,
    axis: Any = None,
    *,
    low: Any = None,
    high: Any = None,
    num: int = 81,
    num_paths: int = 10,
    sample: Any = None,
    seed: int = 0,
    **rules: Any,
) -> Any:
    """Returns an axis with a map of the plane: each start in the colour of the point where its descent ends.

    The value is drawn as contours, critical points by verdict, and the ways of some descents as thin lines. Starts that
    reach no critical point stay white. It runs num x num descents.

    Args:
      landscape: of two parameters, in any form that `jaxgd.survey` takes.
      optimizer: likewise.
      axis: of matplotlib; a new one if None.
      low: lower left corner, one number or two; where starts are drawn, if None.
      high: upper right corner.
      num: starts along each side (>= 2).
      num_paths: descents whose way is drawn.
      sample: law of starts of a plain function.
      seed: of noise, and of which ways are drawn.
      **rules: stop rules such as max_steps=1000.

    Raises:
      InputValueError: matplotlib is not installed, or the landscape has not two parameters.
      InputTypeError: it is no landscape.

    Example:
      >>> import jax.numpy as jnp, jaxgd
      >>> wells = lambda x: jnp.sum((x**2 - 1) ** 2)
      >>> axis = jaxgd.plot.basins(wells, "sgd(0.05)", sample=jaxgd.box(-2, 2, dim=2), num=5, num_paths=0)
      >>> axis.get_xlabel()
      'first parameter'
    """
    landscape = as_landscape(landscape, sample=sample)
    key = jax.random.key(seed)
    one = jax.eval_shape(landscape.sample, key)
    if getattr(one, "shape", None) != (2,):
        raise InputValueError("a map of basins needs params of shape (2,); use `waterfall` and `weights` for more.")
    corners = _corners(landscape, low, high)
    starts = grid(corners[0].tolist(), corners[1].tolist(), num).astype(one.dtype)
    found = survey(landscape, optimizer, starts=starts, key=key, progress=False, **rules)
    entry = np.asarray(found.catalogue.entry).reshape(num, num)

    axis = dressed(axis, width=4.8, height=4.4)
    sides = [np.linspace(corners[0][side], corners[1][side], num) for side in (0, 1)]
    _areas(axis, sides, entry, np.asarray(found.catalogue.params).reshape(-1, 2))
    values = np.asarray(jax.lax.map(landscape.value, starts, batch_size=256), float).reshape(num, num)
    _contours(axis, sides, values)
    if num_paths:
        _paths(axis, landscape, optimizer, starts, found, num_paths, key)

    rows, seen = np.asarray(found.catalogue.params), set()
    inside = np.all((rows >= corners[0]) & (rows <= corners[1]), axis=1)
    for row, verdict in zip(rows[inside], found.catalogue.verdict[inside], strict=True):
        colour, shape = LOOKS[int(verdict)]
        label = name_of(int(verdict)) if int(verdict) not in seen else None
        seen.add(int(verdict))
        axis.plot(*row, shape, color=colour, mec="white", mew=1, ms=8, label=label, zorder=5)
    axis.set(xlabel="first parameter", ylabel="second parameter", xlim=_ends(sides[0]), ylim=_ends(sides[1]))
    axis.grid(visible=False)
    legend(axis, always=bool(seen), loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    return axis


def _ends(side: np.ndarray) -> tuple[float, float]:
    return float(side[0]), float(side[-1])


def _corners(landscape: Any, low: Any, high: Any) -> list[np.ndarray]:
    """Returns the corners of the picture."""
    if isinstance(landscape.sample, Box):
        drawn = [np.broadcast_to(landscape.sample.low, (2,)), np.broadcast_to(landscape.sample.high, (2,))]
    else:
        rows = np.asarray(jax.vmap(landscape.sample)(jax.random.split(jax.random.key(0), _NUM_SAMPLES)), float)
        drawn = [rows.min(axis=0), rows.max(axis=0)]
    given = [drawn[place] if corner is None else corner for place, corner in enumerate((low, high))]
    return [np.broadcast_to(np.asarray(corner, float), (2,)) for corner in given]


def _areas(axis: Any, sides: list[np.ndarray], entry: np.ndarray, rows: np.ndarray) -> None:
    """Colours each start by where it ends, with a line where neighbours end elsewhere.

    Colours follow the places of the points, so that two maps of one landscape agree.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.colors import ListedColormap

    rank = np.empty(len(rows) + 1, int)
    rank[np.lexsort(np.round(rows, 3).T)] = np.arange(len(rows))
    rank[-1] = -1  # no critical point
    colours = ListedColormap(["#ffffff", *(PALE[place % len(PALE)] for place in range(max(len(rows), 1)))])
    shown, num = rank[entry], max(len(rows), 1)
    axis.pcolormesh(*sides, shown.T, cmap=colours, vmin=-1.5, vmax=num - 0.5, shading="nearest", rasterized=True)

    lines = []
    for first, (i, j) in ((0, (1, 0)), (1, (0, 1))):
        here, there = entry[: len(entry) - i, : len(entry) - j], entry[i:, j:]
        half = [(side[1] - side[0]) / 2 for side in sides]
        for place in np.argwhere(here != there):
            middle = np.array([sides[0][place[0]], sides[1][place[1]]])
            middle[first] += half[first]
            reach = np.zeros(2)
            reach[1 - first] = half[1 - first]
            lines.append([middle - reach, middle + reach])
    axis.add_collection(LineCollection(lines, colors="white", linewidths=1.6, capstyle="projecting"))


def _contours(axis: Any, sides: list[np.ndarray], values: np.ndarray) -> None:
    """Draws the value as contours, evenly spaced in rank so that steep walls do not take them all."""
    finite = values[np.isfinite(values)]
    if len(finite):
        levels = np.unique(np.quantile(finite, np.linspace(0.01, 0.97, _NUM_LEVELS)))
        axis.contour(*sides, values.T, levels=levels, colors=FAINT, linewidths=0.5, alpha=0.7, linestyles="solid")


def _paths(axis: Any, landscape: Any, optimizer: Any, starts: Any, found: Any, num: int, key: Any) -> None:
    """Draws the ways of some descents."""
    draw = np.random.default_rng(0)
    chosen = starts[jnp.asarray(draw.permutation(len(starts))[:num])]
    longest = int(np.quantile(np.asarray(found.ends.num_steps), 0.9)) + 1
    every = max(longest // _NUM_NOTES, 1)
    _, seen = trajectories(
        landscape, as_optimizer(optimizer, landscape), key=key, starts=chosen, num_steps=longest, every=every,
        observe=lambda params, state: params,
    )  # fmt: skip
    for way in np.asarray(seen):
        axis.plot(*way.T, color=INK, lw=0.9, alpha=0.8, zorder=4)
        axis.plot(*way[0], ".", color=INK, ms=4, zorder=4)
