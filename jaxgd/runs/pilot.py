"""A few seconds of a run before it begins: which layout, how many lanes, how fast, and how large a unit should be.

All processes of a run must compute the same bits, so layout and lanes are chosen once and kept in the manifest. What
looks like a long run is let go on until the engine has measured its layouts.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxgd.base import Ends
from jaxgd.descend import concatenate, stream
from jaxgd.points import classify
from jaxgd.runs.manifest import Arm
from jaxgd.runs.question import Question, fingerprint

UNIT_SECONDS = 5.0
"""What a unit should take: long against its overhead, short against what anybody minds losing."""

_SHORT_RUN_SECONDS = 30.0  # a run that is shorter than this is not worth measuring layouts for
_GLANCE_SECONDS = 0.5
_MEASURED_SECONDS = 4.0  # the engine measures layouts when 3 s have passed
_MAX_SECONDS = 10.0
_MAX_UNIT_BYTES = 2**28
_DESCENTS_PER_LANE = 8  # in a unit at least, so that places seldom stand idle at its end


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """What was measured; rates are of one process.

    Attributes:
      layout: how lanes lie in memory.
      num_lanes: lanes on each device.
      num_devices: devices of the process.
      descents_per_second: NaN where no descent had ended in time.
      ticks_per_second: gradient evaluations, those of idle lanes included.
      points_per_second: ends judged.
      bytes_per_descent: of an end and its point.
    """

    layout: str
    num_lanes: int
    num_devices: int
    descents_per_second: float
    ticks_per_second: float
    points_per_second: float
    bytes_per_descent: int

    @property
    def unit_size(self) -> int:
        """Starts that a unit should hold, a multiple of the lanes."""
        seconds_each = 1 / self.descents_per_second + 1 / self.points_per_second
        wanted = UNIT_SECONDS / seconds_each if np.isfinite(seconds_each) else 1
        wanted = min(wanted, _MAX_UNIT_BYTES / self.bytes_per_descent)
        lanes_full = max(np.ceil(wanted / self.num_lanes), _DESCENTS_PER_LANE * self.num_devices)
        return self.num_lanes * int(lanes_full)


class _Enough(Exception):
    """Ends a stream between two chunks."""


def pilot(question: Question, num_starts: int, *, layout: str | None, num_lanes: int | None, num_devices: int) -> Pilot:
    """Returns what the first seconds of a run of `num_starts` starts show.

    Raises:
      InputValueError, InputTypeError: the question cannot be run.
    """
    began: list[float] = []

    def look(done: int, total: int, ticks: int) -> None:
        began.append(time.perf_counter())
        if began[-1] - began[0] > _MAX_SECONDS:
            raise _Enough

    parts, num_done = [], 0
    try:
        for part in _descents(
            question, num_starts, layout=layout, num_lanes=num_lanes, num_devices=num_devices, progress=look
        ):
            parts.append(part)
            num_done += len(part)
            seconds = part.cost.seconds_run
            is_short = num_done and seconds * num_starts < _SHORT_RUN_SECONDS * num_done
            if seconds > (_GLANCE_SECONDS if is_short else _MEASURED_SECONDS) and num_done:
                break
    except _Enough:
        pass
    ends, cost = concatenate(parts), parts[-1].cost
    leaves = jax.tree.leaves(ends.params)
    return Pilot(
        layout=cost.layout,
        num_lanes=cost.num_lanes,
        num_devices=cost.num_devices,
        descents_per_second=num_done / cost.seconds_run if num_done else np.nan,
        ticks_per_second=cost.lane_ticks / cost.seconds_run,
        points_per_second=_points_per_second(question, ends),
        bytes_per_descent=2 * sum(leaf.itemsize * int(np.prod(leaf.shape[1:])) for leaf in leaves) + 128,
    )


def _points_per_second(question: Question, ends: Ends) -> float:
    """Returns how many ends are judged in a second; NaN where there are none."""
    num_numbers = sum(int(np.prod(leaf.shape[1:])) for leaf in jax.tree.leaves(ends.params))
    num_points = int(np.clip(2**14 // max(num_numbers, 1), 8, 256))
    if not len(ends):
        return float("nan")
    classify(question.landscape, ends[:num_points])  # compiles
    while True:
        some = ends[:num_points]
        began = time.perf_counter()
        classify(question.landscape, some)
        seconds = time.perf_counter() - began
        if seconds > _GLANCE_SECONDS / 2 or len(some) == len(ends):
            return len(some) / seconds
        num_points *= 4


def new_arm(
    question: Question,
    num_starts: int,
    *,
    layout: str | None = None,
    num_lanes: int | None = None,
    block_size: int | None = None,
    num_devices: int = 1,
) -> Arm:
    """Returns an arm that asks `question` of `num_starts` starts, with what was left open chosen by a pilot.

    Raises:
      InputValueError, InputTypeError: the question cannot be run.
    """
    if layout is None or num_lanes is None or block_size is None:
        found = pilot(question, num_starts, layout=layout, num_lanes=num_lanes, num_devices=num_devices)
        layout, num_lanes, block_size = found.layout, num_lanes or found.num_lanes, block_size or found.unit_size
    else:
        _descents(question, num_starts, layout=layout, num_lanes=num_lanes, num_devices=num_devices)  # only checks
    return Arm(
        optimizer=question.optimizer_name,
        stop=question.stop,
        num_starts=(num_starts,),
        block_size=min(block_size, num_starts),
        layout=layout,
        num_lanes=num_lanes,
        code=fingerprint(question),
    )


def _descents(question: Question, num_starts: int, **how: Any) -> Iterator[Ends]:
    """Returns the ends as they come, after everything that can be refused was."""
    return stream(
        question.landscape, question.optimizer, num_starts, key=jax.random.key(question.seed), stop=question.stop,
        is_noisy=question.is_noisy, keep=("params",), **how,
    )  # fmt: skip
