"""Runs one claim of the source texts, or all of them, and writes the gallery."""

import importlib
import json
import pkgutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments import batch, claims
from jaxgd import experiment

SECONDS_PER_CLAIM = {True: 600, False: 7200}
"""After so long a claim counts as failed, quick or not."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for and returns the exit code: 1 where a claim failed, 2 for a mistake."""
    parser = batch.command_line("python -m experiments.claims", __doc__, "claim")
    parser.add_argument("claim", nargs="?", help="for example T2.5; none lists what there is")
    asked = parser.parse_args(arguments)
    if asked.all == (asked.claim is not None):
        if asked.all:
            parser.error("give a claim or --all, not both.")
        print("\n".join(f"{name:<5} {_sentence(name)}" for name in names()))
        return 0
    if asked.jobs < 1:
        parser.error(f"`--jobs` must be at least 1, got {asked.jobs}.")
    flags = ["--quick"] * asked.quick
    if asked.claim is not None:
        name = asked.claim.upper()
        if name not in names():
            parser.error(f"there is no claim {asked.claim}; there are {', '.join(names())}.")
        module = importlib.import_module(_module(name))
        out = [] if asked.out is None else ["--out", str(asked.out)]
        flags += ["--json"] * asked.json + out
        return experiment.main(module.measure, flags, description=module.__doc__, figure=module.figure)
    if asked.out is None:
        with tempfile.TemporaryDirectory() as place:
            results = run_all(names(), flags, Path(place), asked.jobs)
    else:
        asked.out.mkdir(parents=True, exist_ok=True)
        results = run_all(names(), flags, asked.out, asked.jobs)
        (asked.out / "GALLERY.md").write_text(gallery(results, asked.out, asked.quick))
    print(json.dumps(results, indent=1) if asked.json else overview(results))
    return int(any(result["verdict"] == "failed" for result in results))


def names() -> list[str]:
    """Returns the claims that have a module, in order."""
    found = (module.name for module in pkgutil.iter_modules(claims.__path__))
    return sorted(name.upper().replace("_", ".") for name in found if name[0] == "t" and name[1:2].isdigit())


def run_all(which: Sequence[str], flags: Sequence[str], out: Path, jobs: int) -> list[dict[str, Any]]:
    """Returns the JSON object of each claim, in order; one that fails has the verdict `failed` and says why."""
    command = lambda name: ["-m", "experiments.claims", name, "--json", "--out", str(out), *flags]
    return batch.run_all(
        {name: command(name) for name in which}, {name: _sentence(name) for name in which},
        limit=SECONDS_PER_CLAIM["--quick" in flags], jobs=jobs,
    )  # fmt: skip


def overview(results: Sequence[dict[str, Any]]) -> str:
    """Returns one line for each claim: its verdict, what it cost, and what is claimed."""
    lines = [
        {
            "claim": result["experiment"],
            "verdict": result["verdict"],
            "rows": f"{sum(row['holds'] is True for row in result['rows'])}/{len(_judged(result))} hold",
            "descents": f"{sum(row['num_descents'] for row in result['rows']):,}",
            "seconds": f"{result['seconds']:.0f}",
            "sentence": result["claim"] + _condition(result),
        }
        for result in results
    ]
    verdicts = [result["verdict"] for result in results]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))
    return f"{experiment.table(lines)}\n\n{counts}."


def gallery(results: Sequence[dict[str, Any]], out: Path, is_quick: bool) -> str:
    """Returns a page with the figure and the numbers of every claim; figures lie beside it."""
    number = lambda value: "-" if value is None else f"{value:.4g}"
    holds = {True: "yes", False: "no", None: "-"}
    signs = {"equal": "", "at_least": "≥ ", "at_most": "≤ "}
    parts = [
        "# What five articles claim, and what was measured\n",
        f"Made by `python -m experiments.claims --all{' --quick' * is_quick} --out DIR`. Intervals have "
        f"{experiment.CONFIDENCE:.1%} confidence.\n",
        "| claim | verdict | sentence |\n|---|---|---|",
        *(f"| [{r['experiment']}](#{_anchor(r)}) | {r['verdict']} | {r['claim']}{_condition(r)} |" for r in results),
    ]
    for result in results:
        parts += [f"\n## {result['experiment']}\n", f"{result['claim']} **{result['verdict']}**{_condition(result)}\n"]
        if (out / f"{result['experiment']}.png").exists():
            parts.append(f"![{result['experiment']}]({result['experiment']}.png)\n")
        if result["rows"]:
            parts.append("| measured | claimed | found | holds | descents |\n|---|---|---|---|---|")
        for row in result["rows"]:
            claimed = "-" if row["expected"] is None else signs[row["relation"]] + number(row["expected"])
            found = f"{number(row['measured'])} ({number(row['low'])} to {number(row['high'])})"
            statistic = row["statistic"].replace("|", "\\|")
            parts.append(f"| {statistic} | {claimed} | {found} | {holds[row['holds']]} | {row['num_descents']:,} |")
    return "\n".join(parts) + "\n"


def _judged(result: dict[str, Any]) -> list[Any]:
    return [row for row in result["rows"] if row["expected"] is not None]


def _condition(result: dict[str, Any]) -> str:
    return f" ({result['condition']})" if result["verdict"] in ("conditional", "failed") else ""


def _anchor(result: dict[str, Any]) -> str:
    return result["experiment"].lower().replace(".", "")


def _module(name: str) -> str:
    return f"experiments.claims.{name.lower().replace('.', '_')}"


def _sentence(name: str) -> str:
    """Returns the sentence of a claim, read without running its module; empty where it has none."""
    file = Path(claims.__file__).parent / f"{_module(name).rpartition('.')[2]}.py"
    return batch.first_paragraph(file).partition(": ")[2] if file.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
