r"""How long descents stay at points of each index: observed sequences cut into spells.

Observed at ticks t_0 < t_1 < ..., a lane has index i_j at t_j. A spell is a longest run of equal indices; it lasts
from its first observation to the first one of the next spell, and is an escape. The last spell of a lane is cut off
by the end of the watch: censored, never data. What happens between two observations is not seen, so a spell is
known to one interval of observation on either side, and shorter ones may be missed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its subpackages are imported on first use

from jaxgd.base import InputValueError
from jaxgd.statistics.inputs import as_counts, as_numbers, check_confidence
from jaxgd.statistics.proportions import Estimate


@dataclass(frozen=True, kw_only=True)
class Spells:
    """The spells of many lanes, lane by lane and in order of time; every array has one entry a spell.

    Attributes:
      lane: (m,) int64, its lane.
      index: (m,) int64, the index during it.
      begin: (m,) tick of its first observation.
      ticks: (m,) how long it was watched, > 0.
      escaped: (m,) bool, whether it ended; if not, it was cut off.
      next_index: (m,) int64, the index after it, -1 where it was cut off.
      num_lanes: lanes that were watched.
    """

    lane: np.ndarray
    index: np.ndarray
    begin: np.ndarray
    ticks: np.ndarray
    escaped: np.ndarray
    next_index: np.ndarray
    num_lanes: int

    def __len__(self) -> int:
        return len(self.lane)

    def of(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (ticks, escaped) of the spells at `index`, as `survival_curve` and `log_rank` take them."""
        here = self.index == index
        return self.ticks[here], self.escaped[here]


def index_spells(steps: Any, index: Any) -> Spells:
    """Returns the spells of equal index of each lane.

    Args:
      steps: (k,) ascending ticks of observation, k >= 1.
      index: (n, k) whole numbers, the index of each lane at each of them; -1 where it is not known; this is treated
        like an index.

    Returns:
      Spells; a last spell that was observed only once is left out.

    Raises:
      InputValueError: shapes do not fit, or `steps` do not ascend.

    Example:
      >>> spells = index_spells([0, 10, 20, 30], [[2, 2, 0, 0], [1, 1, 1, 1]])
      >>> print(spells.index, spells.ticks, spells.escaped)
      [2 0 1] [20. 10. 30.] [ True False False]
    """
    steps = as_numbers("steps", steps)
    index = np.asarray(index)
    if steps.size == 0 or not np.all(np.diff(steps) > 0):
        raise InputValueError("`steps` must ascend and hold at least one tick.")
    if index.ndim != 2 or index.shape[1] != steps.size:
        raise InputValueError(f"`index` must have shape (lanes, {steps.size}), got {index.shape}.")
    index = as_counts("index + 1", index + 1) - 1

    # A spell begins wherever the index differs from the previous observation.
    num_lanes, num_looks = index.shape
    is_first = np.ones(index.shape, bool)
    is_first[:, 1:] = index[:, 1:] != index[:, :-1]
    lane, place = np.nonzero(is_first)

    # It ends where the next one of the same lane begins, or at the last observation.
    escaped = np.append(lane[1:] == lane[:-1], [False])[: lane.size]
    following = np.where(escaped, np.append(place[1:], [0])[: lane.size], num_looks - 1)
    ticks = steps[following] - steps[place]
    seen = ticks > 0

    return Spells(
        lane=lane[seen],
        index=index[lane, place][seen],
        begin=steps[place][seen],
        ticks=ticks[seen],
        escaped=escaped[seen],
        next_index=np.where(escaped, index[lane, following], -1)[seen],
        num_lanes=num_lanes,
    )


def time_by_index(spells: Spells, confidence: float = 0.95) -> dict[int, Estimate]:
    """Returns the mean ticks that a lane spends at each index while it is watched, with limits.

    Limits are Student's over lanes, cut at zero: lanes are independent, spells of one lane are not. It is the time
    *watched*: at the final index it grows with the time of observation.

    Args:
      spells: of at least one lane.
      confidence: in (0, 1).

    Returns:
      index to Estimate, by rising index; with a single lane the limits are [0, inf].

    Raises:
      InputValueError: no lanes.

    Example:
      >>> spells = index_spells([0, 10, 20, 30], [[2, 2, 0, 0], [1, 1, 1, 1]])
      >>> {index: time.value for index, time in time_by_index(spells).items()}
      {0: 5.0, 1: 15.0, 2: 10.0}
    """
    check_confidence(confidence)
    num = spells.num_lanes
    if num < 1:
        raise InputValueError("`spells` hold no lane: there is no mean.")
    found = {}
    for index in np.unique(spells.index).tolist():
        here = spells.index == index
        ticks = np.bincount(spells.lane[here], spells.ticks[here], minlength=num)
        mean = float(ticks.mean())
        if num == 1:
            found[index] = Estimate(mean, 0.0, float("inf"))
            continue
        half = float(scipy.stats.t.ppf((1 + confidence) / 2, num - 1) * ticks.std(ddof=1) / np.sqrt(num))
        found[index] = Estimate(mean, max(mean - half, 0.0), mean + half)
    return found
