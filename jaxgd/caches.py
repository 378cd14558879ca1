"""Caches of compiled programs: on disk, and in the memory of this process.

jax can write compiled programs to a directory; the command line enables this, and a Python program does by calling
`keep_programs`. A program is compiled for the instructions of one kind of processor, so there is one directory for each
kind of processor and each version of jax. jax reads and writes without locks: two processes that compile the same
program write the same bytes, and an unreadable program is compiled again. Whenever the directory is opened, the least
recently used programs are deleted until it is within its limit.
"""

import contextlib
import functools
import gc
import hashlib
import os
import platform
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxgd.base import InputValueError

MAX_BYTES = 2**30
"""Size to which a directory of programs is reduced when it is opened."""

READS_QUIETLY = jax.__version_info__ >= (0, 12)
"""Whether this jax reads kept programs silently; older versions print a page of false alarms for each one on CPU."""

_MIN_SECONDS = 0.02  # of compilation, for a program to be kept
_config: Any = jax.config  # not every jax version declares these settings


class KeptPrograms(NamedTuple):
    """Compiled programs on disk.

    Attributes:
      directory: where they are stored.
      num_programs: how many.
      num_bytes: their total size.
    """

    directory: Path
    num_programs: int
    num_bytes: int


def keep_programs(directory: str | Path | None = None) -> KeptPrograms | None:
    """Keeps compiled programs on disk from now on, and returns what is stored; the command line does this by default.

    Call it before anything is compiled. It sets `jax_compilation_cache_dir` and
    `jax_persistent_cache_min_compile_time_secs`, unless jax has been given a directory already.

    Args:
      directory: where to store them; if None, a directory for this kind of processor and this jax in the user's cache
        directory.

    Returns:
      The stored programs, after the least recently used ones were deleted to reduce the directory to a gibibyte. None
      if jax is configured to keep nothing (`JAX_ENABLE_COMPILATION_CACHE=false`), or if the user has no writable
      directory.

    Raises:
      InputValueError: the directory that was named cannot be written to.

    Example:
      >>> import jaxgd
      >>> kept = jaxgd.keep_programs()  # before anything is compiled
      >>> kept is None or kept.num_bytes <= 2**30
      True
    """
    if not _config.jax_enable_compilation_cache:
        return None
    is_named, there = directory is not None, _config.jax_compilation_cache_dir
    place = Path(directory) if directory is not None else Path(there) if there else programs_directory()
    try:
        place.mkdir(parents=True, exist_ok=True)
        if not os.access(place, os.W_OK):
            raise PermissionError(None, "Permission denied")
    except OSError as error:
        if is_named:
            raise InputValueError(f"programs cannot be kept in `{place}`: {error.strerror}.") from error
        return None
    if is_named or not there:
        _drop_unused(place)
        jax.config.update("jax_compilation_cache_dir", str(place))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _MIN_SECONDS)
    return kept_programs()


def kept_programs() -> KeptPrograms | None:
    """Returns the programs in jax's current cache directory; None if it has none."""
    place = _config.jax_compilation_cache_dir
    if not place or not _config.jax_enable_compilation_cache:
        return None
    sizes = [state.st_size for _, state in _files(Path(place))]
    return KeptPrograms(Path(place), len(sizes), sum(sizes))


def programs_directory() -> Path:
    """Returns the directory of this user's programs for this kind of processor and this jax; it need not exist."""
    if sys.platform == "win32":
        above = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        above = Path.home() / "Library" / "Caches"
    else:
        above = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return above / "jaxgd" / f"programs-jax-{jax.__version__}-{_processor()}"


def clear_caches() -> None:
    """Drops all programs, traces and choices that jaxgd holds in this process; the next call compiles again.

    A process that surveys many functions need not call this: only the last few are held. jax has its own caches, which
    `jax.clear_caches()` frees. Nothing on disk changes.

    Example:
      >>> import jaxgd
      >>> jaxgd.clear_caches()
    """
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "jaxgd":
            for held in list(vars(module).values()):
                if isinstance(held, functools._lru_cache_wrapper) and held.cache_parameters()["maxsize"] is not None:
                    held.cache_clear()
    gc.collect()  # programs and the functions they came from refer to each other


def _processor() -> str:
    """Returns a name for the instruction set of this machine."""
    known = f"{platform.machine()} {platform.processor()}"
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        telling = ("model name", "flags", "Features")
        known += "".join(sorted({line for line in lines if line.startswith(telling)}))
    return f"{platform.machine()}-{hashlib.sha256(known.encode()).hexdigest()[:8]}"


def _files(directory: Path) -> list[tuple[Path, os.stat_result]]:
    """Returns the programs in a directory with their file status; other processes may change it meanwhile."""
    found: list[tuple[Path, Any]] = []
    for path in directory.glob("*-cache"):
        with contextlib.suppress(OSError):
            found.append((path, path.stat()))
    return found


def _drop_unused(directory: Path) -> None:
    """Deletes the least recently used programs until the rest is within the limit."""
    files = _files(directory)
    num_bytes = sum(state.st_size for _, state in files)
    for path, state in sorted(files, key=lambda file: max(file[1].st_atime, file[1].st_mtime)):
        if num_bytes <= MAX_BYTES:
            return
        with contextlib.suppress(OSError):
            path.unlink()
        num_bytes -= state.st_size
