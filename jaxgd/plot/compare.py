"""Compare: paired differences of shares between optimizers on the same starts, with limits that hold together."""

from typing import Any

import numpy as np

from jaxgd.base import InputTypeError
from jaxgd.plot.style import ARMS, FAINT, INK, dressed, legend

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
      >>> from jaxgd.compare import Comparison, Difference
      >>> from jaxgd.statistics import Estimate
      >>> row = Difference(what="share of minimum", first=0.5, second=0.8, difference=Estimate(0.3, 0.1, 0.5))
      >>> compare(Comparison(names=("sgd", "fire"), num_pairs=40, rows=((row,),), confidence=0.95)).get_xlabel()
      'difference of shares, 40 pairs'
    """
    if not hasattr(result, "num_pairs"):
        raise InputTypeError(f"`compare` draws what jaxgd.compare returns, got {type(result).__name__}.")
    is_share = lambda row: "share" in row.what or "ticks" not in row.what
    kept = [[row for row in rows if is_share(row)][:max_rows] for rows in result.rows]
    names = [row.what for row in max(kept, key=len)]
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
