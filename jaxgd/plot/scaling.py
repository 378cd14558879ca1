"""Scaling: a quantity against size with the laws that the data allow, and the one that fits best."""

from typing import Any

import numpy as np

from jaxgd.base import InputTypeError
from jaxgd.plot.style import ARMS, DASHES, FAINT, INK, dressed, legend


def scaling(result: Any, axis: Any = None, *, xlabel: str = "size", ylabel: str = "quantity") -> Any:
    """Returns an axis with the data and the laws of `jaxgd.statistics.compare_laws`, both axes by their logarithm.

    Args:
      result: a `Scaling`.
      axis: of matplotlib; a new one if None.
      xlabel: name and unit of x.
      ylabel: name and unit of y.

    Raises:
      InputValueError: matplotlib is not installed.
      InputTypeError: it is something else.

    Example:
      >>> from jaxgd.statistics import compare_laws
      >>> x = np.array([4.0, 8, 16, 32, 64])
      >>> scaling(compare_laws(x, 2 * x**1.5), xlabel="dimension").get_xlabel()
      'dimension'
    """
    if not hasattr(result, "fits"):
        raise InputTypeError(f"`scaling` draws what compare_laws returns, got {type(result).__name__}.")
    axis = dressed(axis)
    x = np.geomspace(result.x.min(), result.x.max(), 200)
    excluded = result.excluded()
    for place, fit in enumerate(result.fits):
        is_out = fit.law in excluded
        y = np.where(fit.predict(x) > 0, fit.predict(x), np.nan)
        look = {"color": FAINT, "lw": 1.0} if is_out else {"color": ARMS[place % len(ARMS)], "lw": 2.0}
        label = f"{fit.law}, excluded" if is_out else fit.law
        axis.plot(x, y, ls=DASHES[place % len(DASHES)], label=label, **look)
    error = None if result.standard_error is None else 1.96 * np.asarray(result.standard_error)
    axis.errorbar(result.x, result.y, yerr=error, fmt="o", color=INK, ms=4, lw=1, zorder=3, label="data")
    low, high = np.min(result.y[result.y > 0]), np.max(result.y)
    axis.set(xlabel=xlabel, ylabel=ylabel, xscale="log", yscale="log", ylim=(low / 2, high * 2))
    legend(axis, always=True)
    return axis
