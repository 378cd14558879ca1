"""A run from its question to its result: begun or found, worked at, and put together by the process that is last."""

import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jaxgd.base import InputValueError
from jaxgd.runs.catalogues import catalogue_name
from jaxgd.runs.claims import claim, tidy
from jaxgd.runs.files import write_atomically
from jaxgd.runs.manifest import MANIFEST, Manifest, add_starts, read_manifest, write_manifest
from jaxgd.runs.pilot import new_arm
from jaxgd.runs.question import Question, arm_differences, differences, setting
from jaxgd.runs.result import merge, result_name, result_stamp, set_aside, write_result
from jaxgd.runs.work import Signals, find_missing, work
from jaxgd.survey import Survey

Show = Callable[[str, int, int], None]
"""Called as show(phase, done, total)."""


@dataclass(frozen=True, kw_only=True)
class How:
    """What a process may choose about a run; None leaves it open.

    Attributes:
      layout: how lanes lie in memory; must be the run's own where there is one.
      num_lanes: lanes on each device; likewise.
      block_size: starts in a unit; likewise.
      num_devices: devices of this process.
    """

    layout: str | None = None
    num_lanes: int | None = None
    block_size: int | None = None
    num_devices: int = 1


def begin(directory: Path, question: Question, num_starts: int, how: How) -> tuple[Manifest, int]:
    """Returns the manifest of a run that asks this question, new, found or extended, and which of its arms does.

    Raises:
      InputValueError: the run asks something else, or had been extended further; the difference is named.
    """
    if not (directory / MANIFEST).exists():
        is_new = _make(directory)
        try:
            arm = new_arm(question, num_starts, layout=how.layout, num_lanes=how.num_lanes,
                          block_size=how.block_size, num_devices=how.num_devices)  # fmt: skip
            manifest = Manifest(
                landscape=question.landscape_name, params=question.params, seed=question.seed, dtype=question.dtype,
                is_noisy=question.is_noisy, arms=(arm,), setting=setting(),
            )  # fmt: skip
            if write_manifest(directory, manifest):
                return manifest, 0
        finally:
            if is_new:
                with contextlib.suppress(OSError):  # it is not empty
                    directory.rmdir()
    manifest = read_manifest(directory)
    check_same(directory, question, manifest)
    unlike = [arm_differences(question, arm) for arm in manifest.arms]
    if [] not in unlike:
        nearest = "; ".join(sorted(unlike, key=len)[0])
        raise InputValueError(
            f"`{directory}` holds a run that asks something else ({nearest});"
            f" name another directory, or add an optimizer with `jaxgd extend`."
        )
    number = unlike.index([])
    arm = manifest.arms[number]
    for name in ("layout", "num_lanes", "block_size"):
        asked = getattr(how, name)
        if asked not in (None, getattr(arm, name)) and not (name == "block_size" and asked > arm.num_starts[0]):
            raise InputValueError(f"`{directory}` holds a run with {name} {getattr(arm, name)}, not {asked}.")
    if num_starts < arm.num_starts[-1]:
        raise InputValueError(
            f"`{directory}` holds a run of {arm.num_starts[-1]:,} starts; it cannot shrink to {num_starts:,}."
        )
    return (add_starts(directory, number, num_starts) if num_starts > arm.num_starts[-1] else manifest), number


def check_same(directory: Path, question: Question, manifest: Manifest) -> None:
    """Refuses to go on with a run whose landscape, versions or flags are not those of this process.

    Raises:
      InputValueError: with the difference named.
    """
    unlike = differences(question, manifest)
    if unlike:
        raise InputValueError(
            f"`{directory}` holds a run that would compute something else here ({'; '.join(unlike)})."
        )


def carry_on(
    directory: Path, questions: Mapping[int, Question], told: Signals, num_devices: int, show: Show
) -> dict[int, Survey] | None:
    """Returns the surveys of these arms once everything is there, or None if another process has reported them.

    Raises:
      Stopped: this process was told to stop first.
      InputValueError: the directory cannot be read or written.
    """
    was_there = not find_missing(directory, read_manifest(directory), questions)[0]
    before = {arm: result_stamp(directory, arm) for arm in questions}
    while True:
        is_whole = work(
            directory, questions, told, num_devices=num_devices,
            progress=lambda done, total: show("descents", done, total),
        )  # fmt: skip
        manifest = read_manifest(directory)
        if not is_whole:
            _, done, total = find_missing(directory, manifest, questions)
            raise Stopped(f"stopped: {done:,} of {total:,} descents are in `{directory}`; `jaxgd resume` goes on.")
        held = claim(directory, "results")
        if held is None and was_there and not told.count:
            time.sleep(0.5)  # another process writes the report that this one is asked for, too
            continue
        if held is None:
            return None
        with held:
            if not was_there and all(result_stamp(directory, arm) != before[arm] for arm in questions):
                return None
            surveys, runs = merge(directory, manifest, questions)
            problems = [problem for run in runs for problem in run.problems]
            for problem in problems:
                print(f"jaxgd: {problem} Its descents are done again.", file=sys.stderr, flush=True)
            if not problems:
                for run in runs:
                    write_result(run, surveys[run.arm])
                    tidy(directory, result_name(run.arm))
                    tidy(directory, catalogue_name(run.arm))
                tidy(directory, "results")
                return surveys
            set_aside(runs)


class Stopped(Exception):
    """A process was told to stop; the message says what is kept."""


def _make(directory: Path) -> bool:
    """Makes a directory that can be written to, and returns whether it is new."""
    is_new = not directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputValueError(f"cannot write to `{directory}`: {error.strerror or error}.") from error
    probe = directory / f".probe.{id(directory)}"
    try:
        write_atomically(probe, b"")
        probe.unlink(missing_ok=True)
    except (InputValueError, OSError) as error:
        raise InputValueError(f"cannot write to `{directory}`: {_reason(error)}.") from error
    return is_new


def _reason(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    return getattr(cause, "strerror", None) or str(cause)
