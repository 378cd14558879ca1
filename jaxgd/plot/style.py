"""The one visual language of all figures: what a verdict looks like, the colours of arms, and empty axes.

A colour never speaks alone: verdicts have shapes of their own, arms have dashes of their own, so that a figure can be
read in grey and by the colour-blind. matplotlib is an option; it is imported when a figure is drawn.
"""

import sys
from typing import Any

from jaxgd.base import InputValueError, Verdict
from jaxgd.progress import in_notebook

INK = "#222222"
FAINT = "#8a8a8a"

ARMS = ("#0b5394", "#d9730d", "#3a8f5c", "#8e4585", "#6b6b6b", "#a88400")
"""Colours of curves that are compared, from dark to light and back in grey."""

DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)))
"""Dashes of the same curves."""

PALE = ("#c5d9ee", "#f6d9b8", "#cfe6d5", "#e6d3e6", "#e8e8e8", "#f0e6b8", "#b9d8d8", "#f2c9c9")
"""Colours of areas, on which ink is read."""

LOOKS: dict[int, tuple[str, str]] = {
    Verdict.MINIMUM: ("#0b5394", "o"),
    Verdict.SADDLE: ("#d9730d", "D"),
    Verdict.MAXIMUM: ("#8e4585", "^"),
    Verdict.DEGENERATE: ("#3a8f5c", "s"),
    Verdict.GRADIENT_FLAT: ("#6b6b6b", "_"),
    Verdict.PLATEAU: ("#6b6b6b", "|"),
    Verdict.UNDECIDED: ("#9a9a9a", "x"),
    Verdict.DIVERGED: ("#222222", "+"),
}
"""Colour and shape of each verdict."""


def name_of(verdict: int) -> str:
    """Returns a verdict in words.

    Example:
      >>> name_of(Verdict.GRADIENT_FLAT)
      'gradient flat'
    """
    return Verdict(verdict).name.lower().replace("_", " ")


def new_figure(width: float = 5.2, height: float = 3.4, **subplots: Any) -> Any:
    """Returns an empty figure: pyplot's where that is in use, so that notebooks show it, else one without any display.

    Raises:
      InputValueError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputValueError("figures need `pip install 'jaxgd[plot]'`.") from error
    if "matplotlib.pyplot" in sys.modules or in_notebook():
        from matplotlib import pyplot

        return pyplot.figure(figsize=(width, height), layout="constrained")
    return Figure(figsize=(width, height), layout="constrained")


def dressed(axis: Any = None, *, width: float = 5.2, height: float = 3.4) -> Any:
    """Returns the axis, or a new one, in the style of all figures."""
    if axis is None:
        axis = new_figure(width, height).add_subplot()
    axis.spines[["top", "right"]].set_visible(False)
    for spine in axis.spines.values():
        spine.set(color=FAINT, linewidth=0.8)
    axis.tick_params(colors=INK, labelsize=9, width=0.8, color=FAINT)
    axis.xaxis.label.set(size=10, color=INK)
    axis.yaxis.label.set(size=10, color=INK)
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.set_axisbelow(True)
    return axis


def legend(axis: Any, *, always: bool = False, **how: Any) -> None:
    """Gives an axis a legend, where more than one thing has a name, or `always` where one has."""
    if len(axis.get_legend_handles_labels()[0]) > (0 if always else 1):
        axis.legend(**{"fontsize": 8, "frameon": False} | how)


def arms_of(given: Any, kind: type | tuple[type, ...]) -> dict[str, Any]:
    """Returns several results by name; a single one has the empty name.

    Raises:
      InputValueError: there is none.
    """
    arms = {"": given} if isinstance(given, kind) else dict(given)
    if not arms:
        raise InputValueError("there is nothing to draw.")
    return arms
