"""Weights: the share of all starts that ended at each distinct point, with its interval, and what was not seen."""

from typing import Any

import numpy as np

from jaxgd.plot.style import FAINT, INK, LOOKS, dressed, legend, name_of


def weights(result: Any, axis: Any = None, *, max_rows: int = 16) -> Any:
    """Returns an axis with the shares of the distinct points, lowest value on top, with their intervals.

    Args:
      result: a `Survey` or `Catalogue`.
      axis: of matplotlib; a new one if None.
      max_rows: points to show, those of lowest value; the others are one row.

    Raises:
      InputValueError: matplotlib is not installed.

    Example:
      >>> import jaxgd
      >>> jaxgd.plot.weights(jaxgd.survey("x_plus_sin_x", num_starts=8, seed=0)).get_ylabel()
      'value'
    """
    found = getattr(result, "catalogue", result)
    num = min(len(found), max_rows)
    axis = dressed(axis, height=max(1.4, 0.24 * (num + 3)))
    names, seen = [], set()
    for row in range(num):
        verdict = int(found.verdict[row])
        colour, shape = LOOKS[verdict]
        label = name_of(verdict) if verdict not in seen else None
        seen.add(verdict)
        axis.plot([found.weight_low[row], found.weight_high[row]], [row, row], color=colour, lw=2, alpha=0.55)
        axis.plot(found.weight[row], row, shape, color=colour, ms=5, label=label)
        names.append(f"{found.value[row]:.5g}")
    rest = int(np.sum(found.hits[num:]))
    if rest:
        names.append(f"{len(found) - num:,} more")
        axis.annotate(f"{rest / found.num_descents:.1%} together", (0, num), xytext=(4, 0), fontsize=8, color=FAINT,
                      textcoords="offset points", va="center")  # fmt: skip
    if found.unseen is not None:
        unseen = found.unseen
        axis.plot([unseen.mass_low, unseen.mass_high], [len(names)] * 2, color=INK, lw=2, alpha=0.55)
        axis.plot(unseen.mass, len(names), "|", color=INK, ms=9)
        names.append("not seen")
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set(xlabel=f"share of {found.num_descents:,} starts", ylabel="value", ylim=(len(names) - 0.4, -0.6))
    axis.set_xlim(left=0)
    axis.grid(axis="y", visible=False)
    legend(axis)
    return axis
