"""The catalogue of an arm as a file of plain arrays, kept so that nobody needs the landscape to read it."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from jaxgd.base import InputValueError
from jaxgd.points import Catalogue
from jaxgd.runs.files import read_arrays, write_arrays, write_atomically
from jaxgd.runs.manifest import Manifest
from jaxgd.runs.parts import Unflatten, leaves_by_path
from jaxgd.statistics import unseen_mass

_IN_RECORD = ("confidence", "num_descents", "verdicts")
_ARRAYS = tuple(item.name for item in fields(Catalogue) if item.name not in (*_IN_RECORD, "params", "unseen"))


def write_catalogue(directory: Path, manifest: Manifest, arm: int, found: Catalogue) -> None:
    """Writes the catalogue of an arm, in place of an earlier one.

    Raises:
      InputValueError: it cannot be written.
    """
    arrays = {name: np.asarray(getattr(found, name)) for name in _ARRAYS}
    arrays |= {f"params{path}": np.asarray(leaf) for path, leaf in leaves_by_path(found.params).items()}
    record = {"run": manifest.run, **{name: getattr(found, name) for name in _IN_RECORD}}
    content = write_arrays({**arrays, "record": np.asarray(json.dumps(record))})
    write_atomically(directory / catalogue_name(arm), content)


def read_catalogue(directory: Path, manifest: Manifest, arm: int, unflatten: Unflatten) -> Catalogue:
    """Returns the catalogue of an arm as it was last written.

    Raises:
      InputValueError: there is none, or it cannot be used.
    """
    path = directory / catalogue_name(arm)
    arrays = read_arrays(path)
    try:
        record = json.loads(str(arrays.pop("record")))
        if record.pop("run") != manifest.run:
            raise ValueError("it is the catalogue of another run")
        hits, num_descents = arrays["hits"], record["num_descents"]
        if hits.ndim != 1 or hits.dtype.kind != "i" or (hits < 1).any() or hits.sum() > num_descents:
            raise ValueError("its hits are no counts")
        for name, array in arrays.items():
            if array.shape[:1] != ((num_descents,) if name == "entry" else hits.shape):
                raise ValueError("its arrays do not fit together")
        known: dict[str, Any] = {name: arrays[name] for name in _ARRAYS} | {name: record[name] for name in _IN_RECORD}
        params = {name.removeprefix("params"): leaf for name, leaf in arrays.items() if name.startswith("params")}
        unseen = unseen_mass(hits, record["confidence"]) if len(hits) else None
        return Catalogue(**known, params=unflatten(params), unseen=unseen)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputValueError(f"`{path}` cannot be used: {str(error)[:200]}.") from error


def catalogue_name(arm: int) -> str:
    """Returns the name of the file that holds the catalogue of an arm."""
    return f"catalogue-{arm:03d}.npz"
