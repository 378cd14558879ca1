"""What the experiments on run directories share: the run, its processes, and the comparison of its bits."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import jaxgd
from jaxgd.cores import own_cores

SURVEY = (
    "survey styblinski_tang --param dim=4 --optimizer sgd:learning_rate=0.005 --lanes 256 --layout lanes_last"
).split()


def start(*words: object, share: tuple[int, int] = (0, 1)) -> "subprocess.Popen[bytes]":
    """Starts `jaxgd WORDS` without its output, as process number `share[0]` of `share[1]` with cores of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxgd.cli", *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    cores = own_cores()
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(process.pid, cores[share[0] :: share[1]] or [cores[share[0] % len(cores)]])
    return process


def finish(process: "subprocess.Popen[bytes]") -> None:
    """Waits for a process that must succeed."""
    _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {said.decode()[-1000:]}")


def blocks(directory: Path) -> dict[str, int]:
    """Returns the blocks of a run with the number of the file each lies in, which changes when it is written again."""
    return {path.name: path.stat().st_ino for path in directory.glob("block-*.npz")}


def num_unlike(one: Path, other: Path, *, landscape: jaxgd.Landscape | None = None) -> int:
    """Returns how many arrays of ends, points and catalogue differ in any bit between two runs."""
    runs = [jaxgd.open_run(directory, landscape=landscape) for directory in (one, other)]
    count = 0
    for record in ("ends", "points", "catalogue"):
        mine, theirs = (vars(getattr(run, record)) for run in runs)
        for name, array in mine.items():
            if isinstance(array, np.ndarray):
                count += not (array.dtype == theirs[name].dtype and array.tobytes() == theirs[name].tobytes())
    return count
