"""Reproduces all published tables: one table of all rows, and a gallery with their figures."""

import json
import pkgutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments import batch, published
from experiments.published.rows import LEVEL, lines_of, rows_table

SECONDS = {True: 900, False: 7200}
"""After so long a script counts as failed, quick or not."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for and returns the exit code: 1 where a script failed, 2 for a mistake."""
    parser = batch.command_line("python -m experiments.published", __doc__, "script")
    asked = parser.parse_args(arguments)
    if not asked.all:
        print("\n".join(f"{name:<20} {sentence(name)}" for name in names()))
        return 0
    if asked.jobs < 1:
        parser.error(f"`--jobs` must be at least 1, got {asked.jobs}.")
    with tempfile.TemporaryDirectory() as place:
        out = asked.out or Path(place)
        out.mkdir(parents=True, exist_ok=True)
        flags = ["--json", "--out", str(out), *["--quick"] * asked.quick]
        results = batch.run_all(
            {name: ["-m", f"experiments.published.{name}", *flags] for name in names()},
            {name: sentence(name) for name in names()},
            limit=SECONDS[asked.quick],
            jobs=asked.jobs,
        )
        if asked.out is not None:
            (out / "GALLERY.md").write_text(gallery(results, out, asked.quick))
    print(json.dumps(results, indent=1) if asked.json else overview(results))
    return int(any(result["verdict"] == "failed" for result in results))


def names() -> list[str]:
    """Returns the scripts, in order."""
    found = (module.name for module in pkgutil.iter_modules(published.__path__))
    return sorted(name for name in found if name not in ("__main__", "rows"))


def sentence(name: str) -> str:
    """Returns what a script says that it reproduces, read without running it."""
    return batch.first_paragraph(Path(published.__file__).parent / f"{name}.py")


def overview(results: Sequence[dict[str, Any]]) -> str:
    """Returns the table of all rows, how many agree, and what each script cost."""
    return f"{rows_table(results)}\n\n{_summary(results)}"


def _summary(results: Sequence[dict[str, Any]]) -> str:
    verdicts = [row["verdict"] for result in results for row in result["rows"]]
    said = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in sorted(set(verdicts)))
    failed = [f"{result['experiment']} failed: {result['condition']}" for result in results if not result["rows"]]
    seconds = sum(result["seconds"] for result in results)
    return "\n".join([f"{len(verdicts)} rows: {said}. {seconds:,.0f} s of all scripts together.", *failed])


def gallery(results: Sequence[dict[str, Any]], out: Path, is_quick: bool) -> str:
    """Returns a page with the figure and the rows of every script; figures lie beside it."""
    parts = [
        "# Published tables, reproduced\n",
        f"Made by `python -m experiments.published --all{' --quick' * is_quick} --out DIR`. Intervals have {LEVEL:.3%}"
        f" confidence; rows disagree where |z| > 4. {_summary(results)}",
    ]
    for result in results:
        name = result["experiment"]
        condition = f" ({result['condition']})" if result["condition"] else ""
        parts += [
            f"\n## {name.removeprefix('published.')}\n",
            f"{result['claim']} **{result['verdict']}**{condition}\n",
        ]
        if (out / f"{name}.png").exists():
            parts.append(f"![{name}]({name}.png)\n")
        lines = lines_of([result])
        if lines:
            columns = [column for column in lines[0] if column != "experiment"]
            parts += [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
            parts += [
                f"| {' | '.join(line[column].replace('|', chr(92) + '|') for column in columns)} |" for line in lines
            ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
