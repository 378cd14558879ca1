"""Empty panels in one style, under a title that says the finding."""

import textwrap
from typing import Any

COLOURS = ("#1b5e8c", "#c2571a", "#3d7d3d", "#7a4f9a", "#8c8c8c", "#b8962e", "#b03060", "#40a0a0")
"""Colours of the arms, in order: told apart in print and by most colour-blind readers."""


def panels(title: str, num: int = 2, *, width: float = 4.6, height: float = 3.6) -> tuple[Any, list[Any]]:
    """Returns a matplotlib figure with `num` panels in a row, and the panels.

    No global state of matplotlib is touched, and no display is needed.

    Args:
      title: the finding, in one sentence; broken into lines as the width needs.
      num: number of panels, at least 1.
      width: of one panel, in inches.
      height: of the panels, in inches.

    Raises:
      ImportError: matplotlib is not installed; `pip install 'jaxgd[plot]'` brings it.
    """
    from matplotlib.figure import Figure

    size = num * width
    lines = textwrap.wrap(title, int(size * 11))
    figure = Figure(figsize=(size, height + 0.25 * len(lines)), layout="constrained")
    figure.suptitle("\n".join(lines), fontsize=11)
    axes = list(figure.subplots(1, num, squeeze=False)[0])
    for axis in axes:
        axis.set_prop_cycle(color=COLOURS)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25, linewidth=0.6)
    return figure, axes


def add_legends(figure: Any) -> None:
    """Gives every panel that names its curves a legend, where it has none."""
    for axis in figure.axes:
        if axis.get_legend() is None and axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8)
