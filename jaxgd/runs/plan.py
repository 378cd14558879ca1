"""How long a survey will take and how much memory and disk it needs, estimated from a few seconds of it.

The model: descents from the first starts are run for a few seconds, judged, counted and packed as for a run directory,
at d descents, p verdicts and c catalogue entries per second and b bytes each. With n starts and P processes like this
one, each with its own cores,

    seconds = s + n (1 / d + 1 / p) / P + n / c,    disk = b n,    memory = m + e n,

where s is the time before the first block (compilation), m the memory of this process so far, and e the number of bytes
kept per descent while points are counted.
"""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from jaxgd.base import Ends, Engine, InputValueError
from jaxgd.blocks import Question
from jaxgd.descend import concatenate, stream
from jaxgd.points import classify
from jaxgd.points.tally import Tally
from jaxgd.progress_bar import duration
from jaxgd.runs.parts import block_content

_SECONDS, _MAX_SECONDS = 3.0, 10.0  # to run descents for, and to wait for a first end
_NUM_JUDGED = 4096
_ENTRY_BYTES = 4 * 4  # a row number, its successor, both put together, and the file that they go to


class _Enough(Exception):
    """Ends a stream between two chunks."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The estimated cost of a survey.

    Attributes:
      num_starts: descents.
      num_processes: processes like this one.
      engine: the engine that was measured.
      block_size: starts in a block.
      block_seconds: time of one block in one process.
      descents_per_second: of one process.
      ticks_per_second: gradient evaluations, including those of idle lanes.
      points_per_second: ends judged.
      start_seconds: time before the first block.
      seconds: total wall time.
      memory_bytes: of the largest process.
      disk_bytes: of the run directory.
    """

    num_starts: int
    num_processes: int
    engine: Engine
    block_size: int
    block_seconds: float
    descents_per_second: float
    ticks_per_second: float
    points_per_second: float
    start_seconds: float
    seconds: float
    memory_bytes: int
    disk_bytes: int

    def __str__(self) -> str:
        processes = "1 process" if self.num_processes == 1 else f"{self.num_processes:,} processes"
        return (
            f"{self.num_starts:,} starts by {processes} of {self.engine.num_devices} devices:"
            f" {duration(self.seconds)}, {_bytes(self.memory_bytes)} of memory in the largest process,"
            f" {_bytes(self.disk_bytes)} on disk.\n\n"
            f"Measured: {self.ticks_per_second:,.0f} gradient evaluations and {self.descents_per_second:,.0f} descents"
            f" per second, {self.points_per_second:,.0f} points judged per second, with {self.engine}.\n"
            f"A block of {self.block_size:,} starts takes {duration(self.block_seconds)};"
            f" a process needs {duration(self.start_seconds)} to start."
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the plan as a JSON object."""
        return asdict(self)


def plan(question: Question, num_starts: int, num_processes: int) -> Plan:
    """Estimates the cost of a survey of `num_starts` starts by some processes like this one.

    Raises:
      InputValueError, InputTypeError: an argument is invalid, or no descent ended within ten seconds.
    """
    began = time.perf_counter()
    ends, seconds = _descend_a_while(question, num_starts)
    ends = ends[:_NUM_JUDGED]
    classify(question.landscape, ends)  # compiles
    start_seconds = time.perf_counter() - began - seconds

    points, judging = _timed(lambda: classify(question.landscape, ends))
    tally = Tally(landscape=question.landscape)
    tally.add(ends, points)
    counting = _timed(tally.catalogue)[1]
    content, packing = _timed(lambda: block_content("", range(len(ends)), ends, points))

    cost = ends.cost
    descending = seconds / _num_ended(cost.ticks, ends)
    each = descending + (judging + packing) / len(ends)
    return Plan(
        num_starts=num_starts,
        num_processes=num_processes,
        engine=question.engine,
        block_size=question.block_size,
        block_seconds=each * question.block_size,
        descents_per_second=1 / descending,
        ticks_per_second=cost.lane_ticks / seconds,
        points_per_second=len(ends) / judging,
        start_seconds=start_seconds,
        seconds=start_seconds + each * num_starts / num_processes + counting / len(ends) * num_starts,
        memory_bytes=_peak_bytes() + _ENTRY_BYTES * num_starts,
        disk_bytes=int(len(content) / len(ends) * num_starts),
    )


def _descend_a_while(question: Question, num_starts: int) -> tuple[Ends, float]:
    """Returns the ends of descents that finished within a few seconds, and the seconds."""
    first: list[float] = []

    def look(phase: str, done: int, total: int) -> None:
        first.append(time.perf_counter())
        if first[-1] - first[0] > _MAX_SECONDS:
            raise _Enough

    parts: list[Ends] = []
    try:
        for part in stream(
            question.landscape,
            question.optimizer,
            num_starts,
            key=question.key,
            stop=question.stop,
            is_noisy=question.is_noisy,
            keep=("params",),
            engine=question.engine,
            progress=look,
        ):
            parts.append(part)
            if part.cost.seconds_run > _SECONDS and any(len(each) for each in parts):
                break
    except _Enough:
        pass

    ends = concatenate(parts)
    if not len(ends):
        raise InputValueError("no descent ended within ten seconds, so nothing can be estimated.")
    return ends, ends.cost.seconds_run


def _num_ended(ticks: int, ends: Ends) -> float:
    """Converts ticks to descents, by the mean length of those that ended."""
    return ticks / float((ends.num_steps + 1).mean())


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    found = call()
    return found, time.perf_counter() - began


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _bytes(count: float) -> str:
    power, units = 0, ("bytes", "kB", "MB", "GB", "TB")
    while count >= 1000 and power < len(units) - 1:
        count, power = count / 1000, power + 1
    return f"{count:.3g} {units[power]}"
