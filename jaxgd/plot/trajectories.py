"""Trajectories: what was observed along descents, every lane as a thin line, their middle half as a band."""

from typing import Any

import numpy as np

from jaxgd.base import InputValueError
from jaxgd.plot.style import ARMS, DASHES, dressed, legend

_MANY = 60  # lanes that are drawn one by one


def trajectories(
    result: Any, axis: Any = None, *, above: float | None = None, label: str = "", ylabel: str = "", place: int = 0
) -> Any:
    """Returns an axis with numbers along descents against steps: the median, the middle half, and some lanes.

    Args:
      result: steps (k,) and numbers (n, k), as `jaxgd.trajectory.trajectories` returns them; of its pair (values,
        gradient norms) the values are drawn.
      axis: of matplotlib; a new one if None. Call again with it to compare, with another `place`.
      above: draw how far the numbers lie above this one, by their logarithm.
      label: name of the curve.
      ylabel: what the numbers are; "value" if it is empty.
      place: number of the colour and dash.

    Raises:
      InputValueError: matplotlib is not installed, or the shapes do not fit.

    Example:
      >>> trajectories((np.arange(3), np.array([[4.0, 2, 1], [3.0, 2, 1]]))).get_xlabel()
      'updates'
    """
    steps, seen = result
    if isinstance(seen, tuple):
        seen = seen[0]
    steps, numbers = np.asarray(steps), np.asarray(seen, float)
    if numbers.ndim != 2 or numbers.shape[1] != len(steps):
        raise InputValueError(f"numbers must have shape (n, {len(steps)}), got {numbers.shape}.")
    axis = dressed(axis)
    colour, dash = ARMS[place % len(ARMS)], DASHES[place % len(DASHES)]
    if above is not None:
        numbers = np.where(numbers > above, numbers - above, np.nan)
        axis.set_yscale("log")
    shown = numbers[np.linspace(0, len(numbers) - 1, min(_MANY, len(numbers))).astype(int)]
    axis.plot(steps, shown.T, color=colour, lw=0.5, alpha=0.25)
    low, middle, high = np.nanquantile(numbers, (0.25, 0.5, 0.75), axis=0)
    axis.fill_between(steps, low, high, color=colour, alpha=0.2, lw=0)
    axis.plot(steps, middle, color=colour, ls=dash, lw=2, label=label or "median")
    axis.set(xlabel="updates", ylabel=ylabel or ("value" if above is None else f"value above {above:.6g}"))
    axis.set_xlim(steps[0], steps[-1])
    if above is None:  # a few high starts do not take the picture
        bottom, top = np.nanmin(numbers), np.nanquantile(numbers, 0.98)
        limits = (bottom - 0.05 * (top - bottom), top + 0.15 * (top - bottom))
        old = axis.get_ylim() if place else limits
        if limits[1] > limits[0]:
            axis.set_ylim(min(limits[0], old[0]), max(limits[1], old[1]))
    legend(axis)
    return axis
