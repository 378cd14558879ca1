"""Many experiments at once, each in a process of its own, so that one that fails does not stop the rest."""

import argparse
import ast
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from jaxgd import experiment


def command_line(prog: str, description: str | None, each: str) -> argparse.ArgumentParser:
    """Returns the options of a command that runs many; `each` is the word for one of them."""
    parser = argparse.ArgumentParser(prog=prog, description=description, allow_abbrev=False)
    parser.add_argument("--all", action="store_true", help=f"every {each}, each in a process of its own")
    parser.add_argument("--quick", action="store_true", help="small runs that show that it works")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write JSON, figures and the gallery here")
    parser.add_argument("--jobs", type=int, default=min(experiment.num_cores(), 8), help=f"{each}s that run at once")
    return parser


def first_paragraph(file: Path) -> str:
    """Returns the first paragraph of a module's docstring on one line, read without running the module."""
    docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
    return " ".join(docstring.partition("\n\n")[0].split())


def run_all(
    commands: Mapping[str, Sequence[str]], sentences: Mapping[str, str], *, limit: float, jobs: int
) -> list[dict[str, Any]]:
    """Returns the JSON object that each command prints, in order; one that fails has the verdict `failed` and says why.

    Args:
      commands: arguments of the Python interpreter for each name.
      sentences: what each one claims, said of those that fail.
      limit: seconds after which one counts as failed.
      jobs: how many run at once (>= 1).
    """
    found = {}
    with ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(_run, command, limit): name for name, command in commands.items()}
        for done, future in enumerate(as_completed(waiting), start=1):
            name, (result, reason, seconds) = waiting[future], future.result()
            if result is None:
                result = {
                    "experiment": name,
                    "claim": sentences.get(name, ""),
                    "rows": [],
                    "verdict": "failed",
                    "condition": reason,
                    "seconds": seconds,
                }
            found[name] = result
            experiment.note(f"{done}/{len(commands)} {name} {result['verdict']} ({result['seconds']:.0f} s)")
    return [found[name] for name in commands]


def _run(command: Sequence[str], limit: float) -> tuple[dict[str, Any] | None, str, float]:
    """Returns the object that was printed or None, why there is none, and the seconds."""
    began = time.perf_counter()
    try:
        ended = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=limit, check=True)
        return json.loads(ended.stdout), "", time.perf_counter() - began
    except subprocess.TimeoutExpired:
        reason = f"did not end within {limit} s"
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["no message"])[-1]
    except json.JSONDecodeError:
        reason = "printed no JSON"
    return None, reason, time.perf_counter() - began
