"""A run directory: the ends of a survey in parts, and a manifest that says what they are.

    DIR/manifest.json          what was asked and, when it has finished, what was found
    DIR/ends-000000.npz        ends in the order in which they came in; plain arrays, no pickle

Every file is written under a temporary name, flushed to disk and renamed, so that a file with its final name is whole
whenever the process was killed. Params are stored leaf by leaf under their paths, for example `params['w']`.
"""

import io
import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgd.base import Ends, InputValueError

SCHEMA = 1
MANIFEST = "manifest.json"


class RunDirectory:
    """A directory that takes the parts of one run; as a context, it vanishes again if nothing was written.

    Attributes:
      path: where it is.
      configuration: what was asked, for the manifest.
      num_parts: parts written so far.
    """

    def __init__(self, path: str | Path, configuration: dict[str, Any]) -> None:
        """Makes the directory if need be.

        Raises:
          InputValueError: it cannot be made or written, or already holds a run.
        """
        self.path = Path(path)
        self.configuration = configuration
        self.num_parts = 0
        if (self.path / MANIFEST).exists():
            raise InputValueError(f"`{self.path}` already holds a run; name another directory.")
        self._is_new = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path / ".probe", b"")
            (self.path / ".probe").unlink()
        except OSError as error:
            raise InputValueError(f"cannot write to `{self.path}`: {error.strerror or error}.") from error

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(self, *error: Any) -> None:
        if self._is_new and not any(self.path.iterdir()):
            self.path.rmdir()

    def write_part(self, ends: Ends) -> None:
        """Writes one part of the ends."""
        arrays: dict[str, np.ndarray] = {
            name: np.asarray(getattr(ends, name))
            for name in ("start_number", "value", "gradient_norm", "status", "num_steps", "best_value")
        }
        for name in ("params", "best_params", "event_steps"):
            for path, leaf in jax.tree_util.tree_leaves_with_path(getattr(ends, name)):
                arrays[name + jax.tree_util.keystr(path)] = np.asarray(leaf)
        content = io.BytesIO()
        np.savez(content, **arrays)  # type: ignore[arg-type]
        self._write(f"ends-{self.num_parts:06d}.npz", content.getvalue())
        self.num_parts += 1
        self._write_manifest("running", None)

    def finish(self, state: str, result: dict[str, Any]) -> None:
        """Writes what was found; `state` is "finished" or "interrupted"."""
        self._write_manifest(state, result)

    def _write_manifest(self, state: str, result: dict[str, Any] | None) -> None:
        manifest = {
            "schema": SCHEMA,
            "state": state,
            "parts": [f"ends-{part:06d}.npz" for part in range(self.num_parts)],
            "configuration": self.configuration,
            "result": result,
        }
        self._write(MANIFEST, json.dumps(manifest, indent=1, allow_nan=False).encode())

    def _write(self, name: str, content: bytes) -> None:
        try:
            write_atomically(self.path / name, content)
        except OSError as error:
            raise InputValueError(
                f"cannot write `{self.path / name}`: {error.strerror or error}; the parts before it are whole."
            ) from error


def read_ends(path: str | Path) -> dict[str, np.ndarray]:
    """Returns all ends of a run directory as flat arrays by name, in order of start number.

    Raises:
      InputValueError: there is no run, or a part cannot be read.
    """
    parts = []
    for part in sorted(Path(path).glob("ends-*.npz")):
        try:
            with np.load(part, allow_pickle=False) as arrays:
                parts.append({name: arrays[name] for name in arrays.files})
        except (OSError, ValueError, EOFError, KeyError) as error:
            raise InputValueError(f"`{part}` cannot be read: {error}.") from error
    if not parts:
        raise InputValueError(f"`{path}` holds no ends.")
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(joined["start_number"], kind="stable")
    return {name: array[order] for name, array in joined.items()}


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that it appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
