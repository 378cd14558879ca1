"""Numbers as texts, as JSON, and with the versions and the machine that they depend on."""

import contextlib
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from jaxgd.cores import own_cores
from jaxgd.face import plain as plain
from jaxgd.versions import versions


def environment(packages: Sequence[str] = ()) -> dict[str, str]:
    """Returns the versions that a number may depend on, those of `packages` included, and the machine."""
    found = versions()
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return {**found, "machine": f"{num_cores()} cores, {_processor()}"}


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def num_cores() -> int:
    """Returns how many cores this process may use."""
    return len(own_cores())


def note(text: str) -> None:
    """Prints a line of progress to standard error."""
    print(text, file=sys.stderr, flush=True)


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Returns rows of texts as columns under their names.

    Example:
      >>> print(table([{"system": "a", "rate": "10"}, {"system": "bcd", "rate": "7"}]))
      system  rate
      a       10
      bcd     7
    """
    if not rows:
        return ""
    names = list(rows[0])
    lines = [names, *([row[name] for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(names))]
    padded = ("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def short(value: Any) -> str:
    """Returns a number in four digits, or more where it is large; other things as they print."""
    value = value.item() if isinstance(value, np.generic) else value
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"
