"""Unseen: how many distinct points were known after so many starts, and how many more there may be."""

from typing import Any

import numpy as np

from jaxgd.base import InputValueError
from jaxgd.plot.style import ARMS, FAINT, INK, dressed, legend
from jaxgd.statistics import extrapolation

_NUM_ORDERS = 50  # random orders of the starts that are averaged


def unseen(result: Any, axis: Any = None, *, times: float = 1.0) -> Any:
    """Returns an axis with the number of distinct points against starts, and how it goes on.

    What is seen is the mean over random orders of the descents; beyond, the line is the fewest new points that agree
    with how often the known ones were hit, and the band reaches from the lower to the upper limit.

    Args:
      result: a `Survey` or `Catalogue`.
      axis: of matplotlib; a new one if None.
      times: how far to go on, in multiples of the starts that were done.

    Raises:
      InputValueError: matplotlib is not installed, or no descent ended at a critical point.

    Example:
      >>> import jaxgd
      >>> jaxgd.plot.unseen(jaxgd.survey("x_plus_sin_x", num_starts=8, seed=0)).get_ylabel()
      'distinct critical points'
    """
    found = getattr(result, "catalogue", result)
    entry = np.asarray(found.entry)
    if not np.any(entry >= 0):
        raise InputValueError("no descent ended at a critical point, so that nothing can be said of others.")
    num = len(entry)
    draw = np.random.default_rng(0)
    curves = np.zeros((_NUM_ORDERS, num))
    for curve in curves:
        order = draw.permutation(entry)
        known, first = np.unique(order, return_index=True)
        curve[first[known >= 0]] = 1
    steps = np.unique(np.round(np.geomspace(1, num, 200)).astype(int))
    mean = np.cumsum(curves, axis=1).mean(axis=0)[steps - 1]

    axis = dressed(axis)
    axis.plot(steps, mean, color=ARMS[0], lw=2, label="seen")
    num_known = len(np.unique(entry[entry >= 0]))
    hits = np.bincount(entry[entry >= 0])
    more = np.unique(np.round(np.linspace(0, times * hits.sum(), 40)).astype(int))
    ahead = [extrapolation(hits, int(each), confidence=found.confidence) for each in more]
    at = num + more * num / hits.sum()
    low, high = ([num_known + getattr(each, side) for each in ahead] for side in ("low", "high"))
    axis.plot(
        at, [num_known + each.expected for each in ahead], color=ARMS[0], lw=2, ls="--", label="expected, at least"
    )
    label = f"{100 * found.confidence:g}% limits"
    axis.fill_between(at, low, high, color=ARMS[0], alpha=0.18, lw=0, label=label)
    axis.axvline(num, color=FAINT, lw=0.8)
    axis.annotate("now", (num, 0), xytext=(3, 3), textcoords="offset points", fontsize=8, color=INK)
    axis.set(xlabel="starts", ylabel="distinct critical points")
    axis.set_xlim(0, at[-1])
    axis.set_ylim(bottom=0)
    legend(axis, loc="upper left")
    return axis
