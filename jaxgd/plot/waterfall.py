"""Waterfall: the values of all ends, sorted, so that each distinct value is a step as wide as its share."""

from typing import Any

import numpy as np

from jaxgd.base import CRITICAL, Ends, InputValueError, Verdict
from jaxgd.plot.style import ARMS, DASHES, LOOKS, dressed, legend, name_of

_ROUNDING = 1e-9  # of the values, below which those of half the ends are one
_WIDE = 30.0  # ratio of spreads from which values are drawn by their logarithm


def waterfall(result: Any, axis: Any = None, *, scale: str = "auto") -> Any:
    """Returns an axis with the values of all ends from lowest to highest, against the share of starts.

    Args:
      result: a `Survey` or `Ends`; a `Sweep`, or several `Ends` by name, as one curve each.
      axis: of matplotlib; a new one if None.
      scale: "linear", or "log" for the value above the lowest of all; "auto" takes the latter where few values are far
        above the rest.

    Raises:
      InputValueError: matplotlib is not installed, or the ends were not kept.

    Example:
      >>> import jaxgd
      >>> jaxgd.plot.waterfall(jaxgd.survey("x_plus_sin_x", num_starts=8, seed=0)).get_ylabel()
      'value'
    """
    if scale not in ("auto", "linear", "log"):
        raise InputValueError(f'`scale` must be "auto", "linear" or "log", got {scale!r}.')
    arms, points = _arms(result)
    finite = np.concatenate([_sorted(ends.value) for ends in arms.values()])
    if not len(finite):
        raise InputValueError("there is no finite value to draw.")
    low, middle, high = finite.min(), np.median(finite), np.quantile(finite, 0.98)
    is_log = scale == "log" or (scale == "auto" and high - low > _WIDE * (middle - low) > _ROUNDING * max(-low, high))
    above = finite[finite > low] - low
    floor = max(above.max() * 1e-16, above.min() / 3) if len(above) else 1.0  # the lowest stands a little below
    height = (lambda value: np.maximum(value - low, floor)) if is_log else (lambda value: value)

    axis = dressed(axis)
    for place, (name, ends) in enumerate(arms.items()):
        values = np.asarray(ends.value, float)
        order = np.argsort(np.where(np.isfinite(values), values, np.inf), kind="stable")
        order = order[np.isfinite(values[order])]
        share = (np.arange(len(order)) + 0.5) / max(len(values), 1)
        if points is None:
            colour, dash = ARMS[place % len(ARMS)], DASHES[place % len(DASHES)]
            axis.plot(share, height(values[order]), color=colour, linestyle=dash, lw=2, label=name or "ends")
            continue
        verdict = np.asarray(points.verdict)[order]
        axis.plot(share, height(values[order]), color="#c9c9c9", lw=1, zorder=1)
        for code in np.unique(verdict):
            colour, shape = LOOKS[int(code)]
            which = verdict == code
            size, level = (3.5, 2) if Verdict(int(code)) in CRITICAL else (5, 3)
            axis.plot(
                share[which], height(values[order][which]), shape, color=colour, ms=size, zorder=level,
                rasterized=which.sum() > 2000, label=f"{name_of(int(code))} ({which.sum():,})",
            )  # fmt: skip
    axis.set(xlabel="share of starts", ylabel="value above the lowest" if is_log else "value", xlim=(0, 1))
    if is_log:
        axis.set_yscale("log")
    legend(axis, always=points is not None, loc="upper left")
    return axis


def _sorted(values: Any) -> np.ndarray:
    array = np.asarray(values, float)
    return np.sort(array[np.isfinite(array)])


def _arms(result: Any) -> tuple[dict[str, Ends], Any]:
    """Returns the ends to be drawn by name, and the points of a survey."""
    if isinstance(result, Ends):
        return {"": result}, None
    if hasattr(result, "settings"):
        names = [", ".join(f"{key}={value:g}" for key, value in each.items()) for each in result.settings]
        return dict(zip(names, result.ends, strict=True)), None
    if hasattr(result, "catalogue"):
        if result.ends is None or result.points is None:
            raise InputValueError('a waterfall needs the ends; survey with keep="ends".')
        return {"": result.ends}, result.points
    if hasattr(result, "ends"):
        return {"": result.ends}, None
    arms = dict(result)
    if not arms or not all(isinstance(ends, Ends) for ends in arms.values()):
        raise InputValueError("a waterfall is drawn of a Survey, of Ends, or of several Ends by name.")
    return arms, None
