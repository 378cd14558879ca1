"""One process at work on a run: claims a unit, descends and judges it, writes its part, until none is missing.

Any number of processes may do this at once, begin late, or die; none waits for another but at the end, for the last
units. A first SIGINT or SIGTERM lets the unit under way be finished; a second one drops it.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgd.base import Ends, Points
from jaxgd.descend import concatenate, stream
from jaxgd.points import classify
from jaxgd.runs.claims import BEAT_SECONDS, Claim, claim, tidy
from jaxgd.runs.manifest import Arm, Manifest, part_name, read_manifest
from jaxgd.runs.parts import write_part
from jaxgd.runs.question import Question

_WAIT_SECONDS = 0.5

Progress = Callable[[int, int], None]
"""Called as progress(descents done by all processes, descents asked for)."""


class Dropped(Exception):
    """The unit under way was given up, since the process was told to stop for the second time."""


class Signals:
    """What the process was told: how often to stop, and by which signal last."""

    def __init__(self) -> None:
        """Nothing was told yet."""
        self.count, self.number = 0, 0

    def note(self, number: int, frame: Any) -> None:
        """Handles a signal."""
        self.count, self.number = self.count + 1, number
        if self.count == 1:
            os.write(2, b"\njaxgd: finishing the unit under way; once more drops it.\n")


@contextmanager
def signals() -> Iterator[Signals]:
    """Within it, SIGINT and SIGTERM are only noted (in the main thread; elsewhere nothing changes)."""
    noted = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = {number: signal.signal(number, noted.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def work(
    directory: Path,
    questions: Mapping[int, Question],
    told: Signals,
    *,
    num_devices: int = 1,
    progress: Progress | None = None,
) -> bool:
    """Does what is missing of some arms of a run.

    Args:
      directory: where the run is.
      questions: by number of the arm; the same as in the manifest.
      told: whether to stop.
      num_devices: devices of this process that share each unit.
      progress: called now and then.

    Returns:
      Whether the parts of all units are there; if not, the process was told to stop.

    Raises:
      InputValueError: the directory can no longer be read or written; all parts in it are whole.
    """
    report = progress or (lambda done, total: None)
    with ThreadPoolExecutor(1) as pool:
        while True:
            manifest = read_manifest(directory)
            missing, done, total = find_missing(directory, manifest, questions)
            report(done, total)
            if not missing:
                return True
            if told.count:
                return False
            mine = _claim_one(directory, missing)
            if mine is None:  # others are at the last ones; they may die
                time.sleep(_WAIT_SECONDS)
                continue
            held, arm, unit = mine
            with held:
                if (directory / part_name(arm, unit)).exists():
                    continue

                def look(fresh: int, before: int = done, total: int = total) -> None:
                    if told.count > 1:
                        raise Dropped
                    report(before + fresh, total)

                future = pool.submit(do_unit, questions[arm], manifest.arms[arm], unit, num_devices, look)
                try:
                    ends, points = _result(future, held)
                except Dropped:
                    return False
                write_part(directory, manifest, arm, unit, ends, points)
            tidy(directory, part_name(arm, unit))


def find_missing(
    directory: Path, manifest: Manifest, arms: Mapping[int, Any]
) -> tuple[list[tuple[int, range]], int, int]:
    """Returns (units of some arms without a part, descents done, descents asked for)."""
    there = {entry.name for entry in os.scandir(directory)}
    units = [(arm, unit) for arm in arms for unit in manifest.arms[arm].units]
    missing = [(arm, unit) for arm, unit in units if part_name(arm, unit) not in there]
    total = sum(len(unit) for _, unit in units)
    return missing, total - sum(len(unit) for _, unit in missing), total


def do_unit(
    question: Question, arm: Arm, unit: range, num_devices: int, look: Callable[[int], None] | None = None
) -> tuple[Ends, Points]:
    """Returns the ends of a unit and what they are.

    A unit of fewer starts than lanes is filled up, so that the same program computes all units; the rest is dropped.
    """
    num_starts = max(len(unit), arm.num_lanes)
    parts = list(
        stream(
            question.landscape, question.optimizer, num_starts, first_start=unit.start,
            key=jax.random.key(question.seed), stop=arm.stop, is_noisy=question.is_noisy, keep=("params",),
            layout=arm.layout, num_lanes=arm.num_lanes, num_devices=num_devices,
            progress=lambda done, total, ticks: look(min(done, len(unit))) if look else None,
        )
    )  # fmt: skip
    ends = concatenate(parts)
    ends = ends[ends.start_number < unit.stop]
    ticks = int(np.sum(ends.num_steps, dtype=np.int64) + np.sum(ends.num_restarts, dtype=np.int64)) + len(ends)
    ends = replace(ends, num_starts=len(unit), cost=replace(ends.cost, ticks=ticks))
    points = classify(question.landscape, ends, progress=lambda done, total: look(len(unit)) if look else None)
    return ends, points


def _claim_one(directory: Path, missing: list[tuple[int, range]]) -> tuple[Claim, int, range] | None:
    first = random.randrange(len(missing))  # elsewhere than the other processes
    for arm, unit in missing[first:] + missing[:first]:
        held = claim(directory, part_name(arm, unit))
        if held is not None:
            return held, arm, unit
    return None


def _result(future: "Future[tuple[Ends, Points]]", held: Claim) -> tuple[Ends, Points]:
    while not future.done():
        wait([future], timeout=BEAT_SECONDS)
        held.beat()
    return future.result()
