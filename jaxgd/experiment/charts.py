"""The two pictures that most claims need: numbers with their intervals, and curves with their spread.

matplotlib is an option; it is imported when a figure is drawn.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxgd.experiment.claims import Statistic


def forest(panel: Any, rows: Sequence[Statistic], *, xlabel: str, scale: str = "linear") -> None:
    """Draws rows as points with their intervals, one a line, and what is claimed of each as a vertical mark.

    Args:
      panel: matplotlib axes.
      rows: what to draw, from top to bottom; rows without a number are left out.
      xlabel: name and unit of the numbers.
      scale: "linear", "log" or "symlog".
    """
    shown = [row for row in rows if np.isfinite(row.measured)]
    for line, row in enumerate(shown):
        colour = {True: "tab:green", False: "tab:red", None: "tab:grey"}[row.holds]
        low, high = (row.measured if not np.isfinite(end) else end for end in (row.low, row.high))
        panel.plot([low, high], [line, line], color=colour, lw=2, solid_capstyle="butt")
        panel.plot([row.measured], [line], "o", color=colour)
        if row.expected is not None:
            mark = {"equal": "|", "at_least": 5, "at_most": 4}[row.relation]  # carets point to where it should be
            panel.plot([row.expected], [line], marker=mark, color="black", ms=10)
    panel.set_title("black: claimed; green holds, red does not, grey cannot tell", fontsize="small", color="0.4")
    panel.set_yticks(range(len(shown)), [row.statistic for row in shown])
    panel.set(xlabel=xlabel, xscale=scale, ylim=(len(shown) - 0.5, -0.5))
    panel.grid(axis="x", alpha=0.3)


def band(panel: Any, x: Any, samples: Any, label: str, *, quantiles: tuple[float, float] = (0.25, 0.75)) -> None:
    """Draws the median over descents, with the range between two quantiles as a band.

    Args:
      panel: matplotlib axes.
      x: (k,) steps, or any other axis.
      samples: (n, k), one row for each descent; NaN is left out.
      label: of the curve.
      quantiles: lower and upper end of the band.
    """
    samples = np.asarray(samples, float)
    (line,) = panel.plot(x, np.nanmedian(samples, axis=0), label=label)
    low, high = np.nanquantile(samples, quantiles, axis=0)
    panel.fill_between(x, low, high, color=line.get_color(), alpha=0.2, lw=0)


def with_intervals(panel: Any, x: Any, rows: Sequence[Statistic], label: str, **style: Any) -> None:
    """Draws rows against a number that each was measured at, with their intervals as error bars."""
    middle = np.array([row.measured for row in rows])
    below = middle - np.array([row.low if np.isfinite(row.low) else row.measured for row in rows])
    above = np.array([row.high if np.isfinite(row.high) else row.measured for row in rows]) - middle
    panel.errorbar(x, middle, yerr=[below, above], label=label, **{"fmt": "o-", "capsize": 3} | style)
