"""The command line of every experiment and benchmark, and how jax is started for it."""

import argparse
import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax

from jaxgd.base import InputTypeError, InputValueError
from jaxgd.experiment.claims import Claim
from jaxgd.experiment.figures import add_legends
from jaxgd.experiment.printing import note, num_cores
from jaxgd.experiment.races import Benchmark


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was asked for on the command line.

    Attributes:
      quick: show in seconds that it works, rather than measure.
      out: directory for the JSON object and the figure, or None.
    """

    quick: bool = False
    out: Path | None = None


Result = Claim | Benchmark


def main(
    measure: Callable[[Options], Result],
    arguments: Sequence[str] | None = None,
    *,
    description: str,
    dtype: str = "float64",
    figure: Callable[[Any], Any] | None = None,
) -> int:
    """Runs `measure` as a command and returns its exit code, 2 for a mistake of the caller.

    Args:
      measure: does the work; what it prints goes to standard error.
      arguments: of the command line; those of the process if None.
      description: the module's docstring.
      dtype: "float64" or "float32", set before anything is computed.
      figure: maps the result to a matplotlib figure; the result's own if None.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--quick", action="store_true", help="a small run that shows that it works")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--out", type=_directory, metavar="DIR", help="write JSON and figure here")
    try:
        asked = parser.parse_args(arguments)
    except SystemExit as stop:  # argparse has printed its sentence, or the help
        return int(stop.code or 0)
    start_jax(dtype)
    began = time.perf_counter()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            result = measure(Options(quick=asked.quick, out=asked.out))
    except (InputValueError, InputTypeError) as error:
        note(f"{parser.prog}: {error}")
        return 2
    if isinstance(result, Claim) and math.isnan(result.seconds):
        result = replace(result, seconds=time.perf_counter() - began)
    text = json.dumps(result.to_json(), indent=1, allow_nan=False)
    if asked.out is not None:
        _write(asked.out, result, text, figure)
    print(text if asked.json else result)
    return 0


def _write(out: Path, result: Result, text: str, figure: Callable[[Any], Any] | None) -> None:
    (out / f"{result.name}.json").write_text(text + "\n")
    try:
        drawn = figure(result) if figure else result.figure() if isinstance(result, Benchmark) else None
    except ImportError:
        note("no figure: it needs `pip install 'jaxgd[plot]'`.")
        return
    if drawn is not None:
        add_legends(drawn)
        drawn.savefig(out / f"{result.name}.png", dpi=150)


def start_jax(dtype: str = "float64", num_devices: int | None = None) -> None:
    """Sets what must be set before jax computes anything: precision, and one CPU device for each core.

    Where jax has already begun, its devices stay what they are.

    Args:
      dtype: "float64" or "float32".
      num_devices: CPU devices; one for each core that this process may use if None.
    """
    if dtype not in ("float32", "float64"):
        raise InputValueError(f"`dtype` must be float32 or float64, got {dtype!r}.")
    jax.config.update("jax_enable_x64", dtype == "float64")
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", num_cores() if num_devices is None else num_devices)


def _directory(text: str) -> Path:
    path = Path(text)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot write to {text}: {error.strerror}.") from error
    return path
