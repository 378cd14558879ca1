"""Dwell: how long descents were watched at each index of the Hessian."""

from typing import Any

import numpy as np

from jaxgd.base import InputTypeError
from jaxgd.plot.style import FAINT, LOOKS, Verdict, dressed, legend
from jaxgd.statistics import time_by_index


def dwell(result: Any, axis: Any = None, *, confidence: float = 0.95) -> Any:
    """Returns an axis with the mean ticks that descents spend at each index, with limits.

    Args:
      result: a `DwellByIndex`.
      axis: of matplotlib; a new one if None.
      confidence: of the limits, in (0, 1).

    Raises:
      InputValueError: matplotlib is not installed.
      InputTypeError: it is something else.

    Example:
      >>> import jaxgd
      >>> seen = jaxgd.dwell_by_index("double_well_1d", "sgd(0.1)", 4, seed=0, num_steps=20)
      >>> dwell(seen).get_ylabel()
      'mean ticks'
    """
    if not hasattr(result, "spells"):
        raise InputTypeError(f"`dwell` draws what jaxgd.dwell_by_index returns, got {type(result).__name__}.")
    times = {index: time for index, time in time_by_index(result.spells, confidence).items() if index >= 0}
    watched = int(np.asarray(result.steps)[-1])
    axis = dressed(axis)
    for is_rest, name in ((False, "on the way"), (True, "positive curvature, watched to the end")):
        rows = [index for index in times if (index == 0) == is_rest]
        colour, shape = LOOKS[Verdict.MINIMUM if is_rest else Verdict.SADDLE]
        middle = np.array([times[index].value for index in rows])
        limits = np.array([[times[index].low, min(times[index].high, watched)] for index in rows]).reshape(-1, 2)
        axis.errorbar(
            rows, middle, yerr=[middle - limits[:, 0], limits[:, 1] - middle] if rows else None, fmt=shape, ms=6, lw=2,
            color=colour, label=name if rows else None,
        )  # fmt: skip
    axis.axhline(watched, color=FAINT, lw=0.8, ls=":")
    axis.annotate("watched", (1, watched), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8)
    axis.set(xlabel="index", ylabel="mean ticks", xticks=sorted(times))
    axis.set(xlim=(min(times, default=0) - 0.5, max(times, default=0) + 0.5), ylim=(0, 1.1 * watched))
    legend(axis, loc="center right")
    return axis
