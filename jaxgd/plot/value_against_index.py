"""Value against index: how high critical points of each index lie, the picture of random landscapes."""

from typing import Any

import numpy as np

from jaxgd.base import InputValueError, Points
from jaxgd.plot.style import LOOKS, dressed, legend, name_of


def value_against_index(result: Any, axis: Any = None) -> Any:
    """Returns an axis with the distinct critical points by index and value, larger where more descents ended.

    Args:
      result: a `Survey`, `Search`, `Catalogue` or `Points`.
      axis: of matplotlib; a new one if None.

    Raises:
      InputValueError: matplotlib is not installed, or there is no critical point.

    Example:
      >>> import jaxgd
      >>> jaxgd.plot.value_against_index(jaxgd.survey("x_plus_sin_x", num_starts=8, seed=0)).get_ylabel()
      'value'
    """
    found = getattr(result, "catalogue", result)
    verdict, index, value = (np.asarray(column) for column in (found.verdict, found.index, found.value))
    hits = np.ones(len(value)) if isinstance(found, Points) else np.asarray(found.hits, float)
    is_critical = found.is_critical() if isinstance(found, Points) else np.ones(len(value), bool)
    if not is_critical.any():
        raise InputValueError("there is no critical point to draw.")
    axis = dressed(axis)
    sizes = 14 + 120 * hits / np.max(hits) if not isinstance(found, Points) else np.full(len(value), 10.0)
    for code in np.unique(verdict[is_critical]):
        colour, shape = LOOKS[int(code)]
        which = is_critical & (verdict == code)
        offset = _spread(value[which], index[which])
        axis.scatter(
            index[which] + offset, value[which], s=sizes[which], marker=shape, facecolor=colour, edgecolor="white",
            linewidth=0.5, alpha=0.85, label=name_of(int(code)), rasterized=which.sum() > 2000,
        )  # fmt: skip
    axis.set_xticks(np.unique(index[is_critical]) if len(np.unique(index)) < 12 else axis.get_xticks())
    axis.set(xlabel="index", ylabel="value")
    axis.set_xlim(index[is_critical].min() - 0.6, index[is_critical].max() + 0.6)
    legend(axis, always=True)
    return axis


def _spread(value: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Returns small shifts sideways that tell points of one index and nearly one value apart."""
    shift = np.zeros(len(value))
    size = max(float(np.ptp(value)), 1e-300) / 40
    for each in np.unique(index):
        rows = np.flatnonzero(index == each)
        cells = np.round(value[rows] / size)
        for cell in np.unique(cells):
            same = rows[cells == cell]
            reach = min(0.06 * (len(same) - 1), 0.38)
            shift[same] = np.linspace(-reach, reach, len(same))
    return shift
