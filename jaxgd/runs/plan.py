"""How long a survey will take, and how much memory and disk: measured on a few seconds of it, before it begins.

The model. A run of n starts is n / b units of b starts. A pilot chooses layout, lanes and b; then one unit is done and
written down exactly as the run would do it, which takes u seconds and d bytes, and its points are put into a catalogue,
at c seconds each. With P processes like this one,

    seconds = s + u * ceil(n / (b P)) + c n,    disk = d n / b,    memory = m + e n,

where s is what a process needs before its first unit (compilation, the pilot), m what this process has come to, and e
the bytes that the last process keeps of each descent while it counts points: which row of the catalogue it belongs to.
Processes share nothing but the directory, so that P of them do P times as much, as long as each has cores like those of
this one.
"""

import math
import resource
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jaxgd.base import InputValueError
from jaxgd.runs.carry import How
from jaxgd.runs.manifest import Arm, Manifest, part_name
from jaxgd.runs.parts import write_part
from jaxgd.runs.pilot import Pilot, pilot
from jaxgd.runs.progress import duration
from jaxgd.runs.question import Question, setting
from jaxgd.runs.result import merge
from jaxgd.runs.work import do_unit

_ENTRY_BYTES = 4 * 4  # a row number, its successor, both put together, and the file that they go to


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a survey will cost.

    Attributes:
      num_starts: descents.
      num_processes: processes like this one.
      pilot: what was measured first.
      unit_size: starts in a unit.
      unit_seconds: what a process needs for one unit.
      start_seconds: what a process needs before its first unit.
      merge_seconds: what the last process needs to put the parts together.
      seconds: wall time of the whole.
      memory_bytes: of the largest process.
      disk_bytes: of the run directory.
    """

    num_starts: int
    num_processes: int
    pilot: Pilot
    unit_size: int
    unit_seconds: float
    start_seconds: float
    merge_seconds: float
    seconds: float
    memory_bytes: int
    disk_bytes: int

    def __str__(self) -> str:
        measured = self.pilot
        processes = "1 process" if self.num_processes == 1 else f"{self.num_processes:,} processes"
        return (
            f"{self.num_starts:,} starts by {processes} of {measured.num_devices} devices:"
            f" {duration(self.seconds)}, {_bytes(self.memory_bytes)} of memory in the largest process,"
            f" {_bytes(self.disk_bytes)} on disk.\n\n"
            f"Measured: {measured.ticks_per_second:,.0f} gradient evaluations and"
            f" {measured.descents_per_second:,.0f} descents per second, {measured.points_per_second:,.0f} points judged"
            f" per second, with {measured.num_lanes} lanes, {measured.layout}.\n"
            f"A unit of {self.unit_size:,} starts took {duration(self.unit_seconds)}; a process needs"
            f" {duration(self.start_seconds)} to begin, the last one {duration(self.merge_seconds)} to put it together."
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the plan as a JSON object."""
        return asdict(self)


def plan(question: Question, num_starts: int, num_processes: int, how: How) -> Plan:
    """Returns what a survey of `num_starts` starts by some processes like this one will cost.

    Raises:
      InputValueError, InputTypeError: the question cannot be run.
    """
    began = time.perf_counter()
    found = pilot(question, num_starts, layout=how.layout, num_lanes=how.num_lanes, num_devices=how.num_devices)
    if not math.isfinite(found.descents_per_second):
        raise InputValueError("no descent had ended after ten seconds; there is nothing to plan with.")
    unit_size = min(how.block_size or found.unit_size, num_starts)
    arm = Arm(
        optimizer=question.optimizer_name, stop=question.stop, num_starts=(unit_size,), block_size=unit_size,
        layout=found.layout, num_lanes=found.num_lanes, code="",
    )  # fmt: skip
    manifest = Manifest(
        landscape=question.landscape_name, params=question.params, seed=question.seed, dtype=question.dtype,
        is_noisy=question.is_noisy, arms=(arm,), setting=setting(),
    )  # fmt: skip
    unit, few = range(unit_size), range(min(unit_size, found.num_lanes))
    do_unit(question, arm, few, how.num_devices)  # compiles what the pilot has not
    start_seconds = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as directory:
        began = time.perf_counter()
        ends, points = do_unit(question, arm, unit, how.num_devices)
        write_part(Path(directory), manifest, 0, unit, ends, points)
        unit_seconds = time.perf_counter() - began
        part_bytes = (Path(directory) / part_name(0, unit)).stat().st_size
        began = time.perf_counter()
        merge(Path(directory), manifest, {0: question})
        merge_each = (time.perf_counter() - began) / unit_size
    memory_bytes = _peak_bytes()
    num_units = math.ceil(num_starts / unit_size)
    merge_seconds = merge_each * num_starts
    return Plan(
        num_starts=num_starts,
        num_processes=num_processes,
        pilot=found,
        unit_size=unit_size,
        unit_seconds=unit_seconds,
        start_seconds=start_seconds,
        merge_seconds=merge_seconds,
        seconds=start_seconds + unit_seconds * math.ceil(num_units / num_processes) + merge_seconds,
        memory_bytes=memory_bytes + _ENTRY_BYTES * num_starts,
        disk_bytes=int(part_bytes / unit_size * num_starts),
    )


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _bytes(count: float) -> str:
    units = ("bytes", "kB", "MB", "GB", "TB")
    power = min(int(math.log(max(count, 1), 1000)), len(units) - 1)
    return f"{count / 1000**power:.3g} {units[power]}"
