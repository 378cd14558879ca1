"""A claim: a file that says which process does a piece of work, so that others do something else.

A claim on `NAME` is the file `NAME.claim-0`, made by a hard link, which only one process can win. Where its owner has
died, the next process makes `NAME.claim-1`, and again only one can; nothing is ever taken away from anybody. A claim
only saves work: all processes would write the same bits, and a part never replaces another, so that two owners (a host
that was thought lost and comes back) do no harm.

An owner on the same machine is alive as long as its process is. One on another machine is alive as long as it touches
its claim; its age is read from the clock of the file system, so that clocks that disagree do not matter.
"""

import contextlib
import json
import os
import secrets
import socket
from pathlib import Path
from typing import Any

from jaxgd.base import InputValueError
from jaxgd.runs.files import read_json, write_atomically

BEAT_SECONDS = 10.0
STALE_SECONDS = 120.0
"""A claim of another machine that was not touched for this long is given up for lost."""


class Claim:
    """A claim that this process holds; as a context, it is given up at the end."""

    def __init__(self, path: Path) -> None:
        """The file `path` was made by this process."""
        self.path = path

    def beat(self) -> None:
        """Says that the owner is alive."""
        with contextlib.suppress(OSError):
            os.utime(self.path)

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, *error: Any) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def claim(directory: Path, name: str) -> Claim | None:
    """Returns a claim on `name`, or None where a living process has one.

    Raises:
      InputValueError: the directory cannot be written to.
    """
    owner = json.dumps(_owner()).encode()
    generation = 0
    while True:
        path = directory / f"{name}.claim-{generation}"
        if not path.exists() and write_atomically(path, owner, replace=False):
            return Claim(path)
        if _is_alive(path):
            return None
        generation += path.exists()  # it may have been given up just now


def tidy(directory: Path, name: str) -> None:
    """Removes what dead processes left behind of work that is done: their claims and half-written files."""
    for path in (*directory.glob(f"{name}.claim-*"), *directory.glob(f".{name}.*")):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _owner() -> dict[str, Any]:
    pid = os.getpid()
    return {"place": _place(), "pid": pid, "began": _began(pid)}


def _place() -> str:
    """Returns where a process number means the same process."""
    words = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with contextlib.suppress(OSError):
            words.append(os.readlink(path) if path.endswith("pid") else Path(path).read_text().strip())
    return " ".join(words)


def _began(pid: int) -> str:
    """Returns when a process began, so that a number that was given again is noticed; "" where nobody can say."""
    with contextlib.suppress(OSError, IndexError):
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "dead, not yet buried" if words[0] in "ZX" else words[19]
    return ""


def _is_alive(path: Path) -> bool:
    try:
        owner = read_json(path)
        if owner["place"] == _place():
            pid = int(owner["pid"])
            return _exists(pid) and _began(pid) == owner["began"]
    except (InputValueError, TypeError, KeyError, ValueError, OverflowError):
        pass  # no claim of ours; its age decides
    with contextlib.suppress(OSError):
        return _now(path.parent) - path.stat().st_mtime < STALE_SECONDS
    return False


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _now(directory: Path) -> float:
    """Returns the time on the clock of the file system."""
    probe = directory / f".clock.{os.getpid()}-{secrets.token_hex(4)}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
