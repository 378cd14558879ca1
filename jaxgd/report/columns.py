"""Records as columns of plain arrays: enums by name, every coordinate or array under its path."""

import dataclasses
import json
from typing import Any

import jax
import numpy as np

from jaxgd.base import InputValueError, Reason, Rows, Status, Verdict

_ENUMS: dict[str, Any] = {"status": Status, "verdict": Verdict, "reason": Reason}


def named(name: str, codes: Any) -> np.ndarray:
    """Returns a column with the names of its codes in the place of these, where it holds codes.

    Example:
      >>> named("verdict", np.array([0, 1, 0])).tolist()
      ['minimum', 'saddle', 'minimum']
    """
    column = np.asarray(codes)
    kinds = _ENUMS.get(name.removeprefix("point_"))
    if kinds is None or column.dtype.kind not in "iu":
        return column
    names = np.array([kind.name.lower() for kind in kinds])
    return names[column]


def columns(record: Any) -> dict[str, np.ndarray]:
    """Returns the columns of a record of rows, arrays of any rank with one leading axis.

    Raises:
      InputValueError: the record has no rows.
    """
    own = _columns_of(record)
    found: dict[str, np.ndarray] = {}
    for name, column in own.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(column):
            found[f"{name}{jax.tree_util.keystr(path)}"] = named(name, leaf)
    return found


def _columns_of(record: Any) -> dict[str, Any]:
    kind = type(record).__name__
    if isinstance(record, Rows):
        return {name: column for name, column in record.columns().items() if column is not None}
    if kind == "Catalogue":
        skipped = ("entry", "confidence", "num_descents", "verdicts", "reasons", "unseen")
        names = [item.name for item in dataclasses.fields(record) if item.name not in skipped]
        return {name: getattr(record, name) for name in names}

    # Records that hold others give the columns of these.
    if _is_run(record):
        return _columns_of(record.ends) | {f"point_{name}": each for name, each in _columns_of(record.points).items()}
    if kind == "Survey":
        return _columns_of(record.catalogue)
    if kind == "GradientFlow":
        return _columns_of(record.ends) | {"time": record.time}
    if kind == "Sweep":
        parts = [columns(ends) for ends in record.ends]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        lengths = [len(ends) for ends in record.ends]
        return {
            name: np.repeat([setting[name] for setting in record.settings], lengths) for name in record.settings[0]
        } | joined

    # A comparison gives one row for each difference.
    if kind == "Comparison":
        rows = record.to_json()["rows"]
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}
    raise InputValueError(f"a {kind} has no rows.")


def to_dataframe(record: Any) -> Any:
    """Returns a `pandas.DataFrame` with a column for every coordinate.

    Raises:
      InputValueError: pandas is not installed, or the record has no rows.
    """
    try:
        import pandas
    except ImportError as error:
        raise InputValueError("`to_dataframe` needs `pip install pandas`.") from error
    flat = {}
    for name, array in columns(record).items():
        for place in np.ndindex(*array.shape[1:]):
            flat[f"{name}[{','.join(map(str, place))}]" if place else name] = array[(slice(None), *place)]
    found = pandas.DataFrame(flat)
    return found.rename(columns={"start_number": "descent"}).set_index("descent") if _is_run(record) else found


def to_xarray(record: Any) -> Any:
    """Returns an `xarray.Dataset` with the dimension `row`, for a run directory `descent`, with the manifest beside it.

    Raises:
      InputValueError: xarray is not installed, or the record has no rows.
    """
    try:
        import xarray
    except ImportError as error:
        raise InputValueError("`to_xarray` needs `pip install 'jaxgd[xarray]'`.") from error
    row = "descent" if _is_run(record) else "row"
    found = xarray.Dataset(
        {
            name: ([row, *(f"{name}_axis_{axis}" for axis in range(1, array.ndim))], array)
            for name, array in columns(record).items()
        }
    )
    if not _is_run(record):
        return found
    manifest = json.dumps(record.manifest.to_json())
    return found.rename(start_number="descent").set_coords("descent").assign_attrs(manifest=manifest)


def _is_run(record: Any) -> bool:
    return type(record).__name__ == "StoredRun"
