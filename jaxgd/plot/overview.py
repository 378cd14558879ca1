"""Which figures fit which result, and all of them on one sheet."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxgd.base import InputValueError
from jaxgd.plot.compare import compare, shares
from jaxgd.plot.dwell import dwell
from jaxgd.plot.style import new_figure
from jaxgd.plot.unseen import unseen
from jaxgd.plot.value_against_index import value_against_index
from jaxgd.plot.waterfall import waterfall
from jaxgd.plot.weights import weights


def fitting(result: Any) -> dict[str, Callable[[Any, Any], Any]]:
    """Returns the figures that fit a result, by name: functions of (result, axis).

    Example:
      >>> import jax, jaxgd
      >>> found = jaxgd.survey("x_plus_sin_x", num_starts=8, seed=0)
      >>> list(fitting(found))
      ['waterfall', 'weights', 'unseen']
    """
    kind = type(result).__name__
    if kind in ("Survey", "Catalogue"):
        found = getattr(result, "catalogue", result)
        figures: dict[str, Callable[[Any, Any], Any]] = {}
        if getattr(result, "ends", None) is not None and np.isfinite(np.asarray(result.ends.value)).any():
            figures["waterfall"] = waterfall
        if len(found):
            figures["weights"] = weights
            if len(np.unique(found.index)) > 1:
                figures["value_against_index"] = value_against_index
        if np.any(np.asarray(found.entry) >= 0):
            figures["unseen"] = unseen
        return figures
    if kind == "Points":
        return {"value_against_index": value_against_index} if result.is_critical().any() else {}
    known: dict[str, Callable[..., Any]] = {
        "Ends": waterfall,
        "Sweep": waterfall,
        "GradientFlow": waterfall,
        "DwellByIndex": dwell,
    }
    if kind == "Comparison":
        return {"shares": shares, "compare": compare} if len(result.points) else {"compare": compare}
    return {known[kind].__name__: known[kind]} if kind in known else {}


def overview(result: Any) -> Any:
    """Returns a figure with all figures that fit a result.

    Raises:
      InputValueError: matplotlib is not installed, or nothing can be drawn of it.

    Example:
      >>> import jaxgd
      >>> len(overview(jaxgd.survey("x_plus_sin_x", num_starts=8, seed=0)).axes)
      3
    """
    figures = fitting(result)
    if not figures:
        raise InputValueError(f"there is nothing to draw of this {type(result).__name__}.")
    num_columns = len(figures) if len(figures) < 4 else 2
    num_rows = math.ceil(len(figures) / num_columns)
    figure = new_figure(5.2 * num_columns, 3.5 * num_rows)
    for place, draw in enumerate(figures.values()):
        draw(result, figure.add_subplot(num_rows, num_columns, place + 1))
    return figure
