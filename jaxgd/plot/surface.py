"""Surface: a loss on a plane through a point, as filled contours that are read in grey."""

from typing import Any

import numpy as np

from jaxgd.base import InputValueError
from jaxgd.plot.style import INK, dressed


def surface(values: Any, axis: Any = None, *, radius: float = 1.0, num_levels: int = 14) -> Any:
    """Returns an axis with the values of `jaxgd.surface.surface` as contours, the point itself in the middle.

    Args:
      values: (num, num), the first direction along the first axis; what is not finite stays white.
      axis: of matplotlib; a new one if None.
      radius: how far the picture reaches either way, as it was asked for.
      num_levels: contours.

    Raises:
      InputValueError: matplotlib is not installed, or `values` are not a square grid with a finite number.

    Example:
      >>> side = np.linspace(-1, 1, 5)
      >>> surface(side[:, None] ** 2 - side**2).get_xlabel()
      'first direction'
    """
    grid = np.asarray(values, float)
    if grid.ndim != 2 or grid.shape[0] != grid.shape[1] or len(grid) < 3 or not np.isfinite(grid).any():
        raise InputValueError(f"`values` must be a square grid of numbers, got shape {grid.shape}.")
    axis = dressed(axis, width=4.4, height=3.6)
    ticks = np.linspace(-radius, radius, len(grid))
    finite = grid[np.isfinite(grid)]
    low, high = float(finite.min()), float(np.quantile(finite, 0.98))
    levels = np.linspace(low, high if high > low else low + 1, num_levels + 1)
    shown = np.ma.masked_invalid(grid.T)
    filled = axis.contourf(ticks, ticks, shown, levels=levels, cmap="cividis", extend="max")
    axis.contour(ticks, ticks, shown, levels=levels, colors="white", linewidths=0.4, alpha=0.6)
    axis.plot(0, 0, "+", color="white", ms=10, mew=2.4)
    axis.plot(0, 0, "+", color=INK, ms=9, mew=1.2)
    ends = np.linspace(low, levels[-1], 5)
    bar = axis.figure.colorbar(filled, ax=axis, label="value", shrink=0.75, ticks=ends)
    bar.ax.set_yticklabels([f"{each:.3g}" for each in ends])
    axis.set(xticks=[-radius, 0, radius], yticks=[-radius, 0, radius])
    axis.set(xlabel="first direction", ylabel="second direction", aspect="equal")
    axis.grid(visible=False)
    return axis
