"""Survival: the share of descents that had not escaped by each time, with its limits."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxgd.plot.style import ARMS, DASHES, arms_of, dressed, legend
from jaxgd.statistics import SurvivalCurve


def survival(curves: SurvivalCurve | Mapping[str, SurvivalCurve], axis: Any = None, *, is_log: bool = False) -> Any:
    """Returns an axis with survival curves and their pointwise limits.

    Args:
      curves: of `jaxgd.statistics.survival_curve`, one or several by name.
      axis: of matplotlib; a new one if None.
      is_log: draw the share by its logarithm, in which a constant rate of escape is a straight line.

    Raises:
      InputValueError: matplotlib is not installed, or there is no curve.

    Example:
      >>> from jaxgd.statistics import survival_curve
      >>> survival(survival_curve([1, 2, 3], [True, True, False])).get_ylabel()
      'share not escaped'
    """
    arms = arms_of(curves, SurvivalCurve)
    axis = dressed(axis)
    for place, (name, curve) in enumerate(arms.items()):
        colour, dash = ARMS[place % len(ARMS)], DASHES[place % len(DASHES)]
        times = np.concatenate([[0.0], curve.times])
        axis.step(times, _from_one(curve.survival), where="post", color=colour, ls=dash, lw=2, label=name or None)
        axis.fill_between(
            times, _from_one(curve.low), _from_one(curve.high), step="post", color=colour, alpha=0.16, lw=0,
        )  # fmt: skip
    axis.set(xlabel="ticks", ylabel="share not escaped", xlim=(0, None))
    if is_log:
        axis.set_yscale("log")
    else:
        axis.set_ylim(0, 1.02)
    legend(axis, loc="upper right")
    return axis


def _from_one(side: np.ndarray) -> np.ndarray:
    """Returns a curve that begins at time zero, when none has escaped."""
    return np.concatenate([[1.0], side])
