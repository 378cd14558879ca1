"""What a run comes to: its parts put together, judged as one survey for each arm, and written down beside them."""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgd.base import InputValueError
from jaxgd.runs.catalogues import write_catalogue
from jaxgd.runs.files import write_atomically
from jaxgd.runs.manifest import SCHEMA, Manifest
from jaxgd.runs.question import Question
from jaxgd.runs.stored import StoredRun
from jaxgd.survey import Survey


def merge(
    directory: Path, manifest: Manifest, questions: Mapping[int, Question]
) -> tuple[dict[int, Survey], list[StoredRun]]:
    """Returns the surveys of some arms by number, where anything is there, and what they were read from.

    Ends and points are counted and not kept; `open_run` reads them.

    Raises:
      InputValueError: nothing is there at all.
    """
    surveys, runs = {}, []
    for arm, question in questions.items():
        run = StoredRun(path=directory, manifest=manifest, arm=arm, given_landscape=question.landscape)
        found = run.survey()
        runs.append(run)
        if found is not None:
            surveys[arm] = found
    if not surveys and not any(run.problems for run in runs):
        raise InputValueError(f"`{directory}` has no parts yet.")
    return surveys, runs


def write_result(run: StoredRun, survey: Survey) -> None:
    """Writes the survey of an arm and its catalogue, in place of earlier ones.

    Raises:
      InputValueError: they cannot be written.
    """
    write_catalogue(run.path, run.manifest, run.arm, survey.catalogue)
    state = "finished" if run.is_finished and not run.problems else "partial"
    result = {"schema": SCHEMA, "run": run.manifest.run, "state": state, "problems": run.problems,
              "result": arm_json(run.manifest, survey)}  # fmt: skip
    write_atomically(run.path / result_name(run.arm), json.dumps(result, indent=1, allow_nan=False).encode())


def result_name(arm: int) -> str:
    """Returns the name of the file that holds the survey of an arm."""
    return f"result-{arm:03d}.json"


def arm_json(manifest: Manifest, survey: Survey) -> dict[str, Any]:
    """Returns the survey of an arm as a JSON object."""
    return {"seed": manifest.seed, **survey.to_json()}


def result_stamp(directory: Path, arm: int) -> tuple[int, int] | None:
    """Returns what changes whenever the result of an arm is written; None while there is none."""
    try:
        found = (directory / result_name(arm)).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def set_aside(runs: list[StoredRun]) -> None:
    """Gives parts that cannot be used another name, so that their units are done again; nothing is deleted.

    Raises:
      InputValueError: the directory cannot be written to.
    """
    for run in runs:
        for path in run.damaged:
            try:
                path.rename(path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}"))
            except FileNotFoundError:
                continue  # another process did
            except OSError as error:
                raise InputValueError(f"cannot set `{path}` aside: {error.strerror or error}.") from error
