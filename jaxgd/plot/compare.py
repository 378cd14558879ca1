"""Comparisons: the shares of several optimizers on the same starts, and their paired differences, with limits."""

from typing import Any

import numpy as np

from jaxgd.base import InputTypeError
from jaxgd.plot.style import ARMS, FAINT, INK, dressed, legend, name_of

_SHAPES = ("o", "D", "s", "^", "v", "P")


def compare(result: Any, axis: Any = None, *, max_rows: int = 14) -> Any:
    """Returns an axis with the differences of shares, filled where the limits leave out zero.

    Args:
      result: a `Comparison` of `jaxgd.compare`.
      axis: of matplotlib; a new one if None.
      max_rows: statistics to show.

    Raises:
      InputValueError: matplotlib is not installed.
      InputTypeError: it is something else.

    Example:
      >>> import jaxgd
      >>> found = jaxgd.compare("x_plus_sin_x", {"slow": "sgd(0.1)", "fast": "sgd(0.5)"}, 40, seed=0)
      >>> compare(found).get_xlabel()
      'difference of shares, 40 pairs'
    """
    if not hasattr(result, "num_pairs"):
        raise InputTypeError(f"`compare` draws what jaxgd.compare returns, got {type(result).__name__}.")
    is_share = lambda row: "share" in row.what or "ticks" not in row.what
    kept = [[row for row in rows if is_share(row)][:max_rows] for rows in result.rows]
    names = [row.what for row in kept[0]]  # the same for all arms
    axis = dressed(axis, width=6.4, height=max(1.8, 0.3 * len(names) + 1))
    for place, (arm, rows) in enumerate(zip(result.names[1:], kept, strict=True)):
        colour, shape = ARMS[place % len(ARMS)], _SHAPES[place % len(_SHAPES)]
        offset = 0.18 * (place - (len(kept) - 1) / 2)
        for line, row in enumerate(rows):
            value, low, high = row.difference
            at = [line + offset, line + offset]
            axis.plot(np.clip([low, high], -1, 1), at, color=colour, lw=2, alpha=0.6)
            axis.plot(value, at[0], shape, color=colour, ms=5, mfc=colour if row.is_sure else "white")
        axis.plot([], [], shape, color=colour, ms=5, label=f"{arm} minus {result.names[0]}; open: may be zero")
    axis.axvline(0, color=INK, lw=0.8)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set(
        xlabel=f"difference of shares, {result.num_pairs:,} pairs", ylabel="statistic", ylim=(len(names) - 0.4, -0.6)
    )
    axis.grid(axis="y", visible=False)
    axis.tick_params(color=FAINT)
    legend(axis, always=True, loc="lower right", bbox_to_anchor=(1, 1))
    return axis


def shares(result: Any, axis: Any = None, *, max_rows: int = 12) -> Any:
    """Returns an axis with the share of each arm at the distinct points, lowest value on top, with their intervals.

    Args:
      result: a `Comparison` of `jaxgd.compare`.
      axis: of matplotlib; a new one if None.
      max_rows: points to show, those of lowest value.

    Raises:
      InputValueError: matplotlib is not installed.
      InputTypeError: it is something else.

    Example:
      >>> import jaxgd
      >>> found = jaxgd.compare("x_plus_sin_x", {"slow": "sgd(0.1)", "fast": "sgd(0.5)"}, 40, seed=0)
      >>> shares(found).get_xlabel()
      'share of 40 starts'
    """
    if not hasattr(result, "num_pairs"):
        raise InputTypeError(f"`shares` draws what jaxgd.compare returns, got {type(result).__name__}.")
    num, num_arms = min(len(result.points), max_rows), len(result.arms)
    axis = dressed(axis, width=6.4, height=max(1.8, 0.14 * num * (num_arms + 1) + 1))
    for place, arm in enumerate(result.arms):
        colour, shape = ARMS[place % len(ARMS)], _SHAPES[place % len(_SHAPES)]
        at = np.arange(num) + 0.6 * ((place + 0.5) / num_arms - 0.5)
        axis.hlines(at, arm.low[:num], arm.high[:num], color=colour, lw=2, alpha=0.55)
        each = arm.gradients / result.num_pairs
        axis.plot(arm.share[:num], at, shape, color=colour, ms=4.5, label=f"{arm.name}, {each:,.4g} gradients each")
    points = result.points
    names = [f"{points.value[i]:.5g}, {name_of(int(points.verdict[i]))}" for i in range(num)]
    axis.set_yticks(range(num), names, fontsize=8)
    axis.set(xlabel=f"share of {result.num_pairs:,} starts", ylabel="value of the point", ylim=(num - 0.4, -0.6))
    axis.set_xlim(left=0)
    axis.grid(axis="y", visible=False)
    if len(points) > num:
        axis.set_title(f"{num} of {len(points):,} points", fontsize=9, loc="left", color=INK)
    legend(axis, always=True, loc="lower right", bbox_to_anchor=(1, 1))
    return axis
