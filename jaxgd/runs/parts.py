"""A part: the ends of one unit of starts and what they are, as one file of plain arrays.

    ends.value, ends.status, ..., ends.params['w'], ...      the fields of `jaxgd.Ends`, a pytree leaf by leaf
    points.value, points.verdict, ..., points.params['w']    the fields of `jaxgd.Points`
    record                                                   a JSON text: run, arm, starts, cost, who made it, checksum

Rows are in order of start number. `numpy.load(part, allow_pickle=False)` reads it without jaxgd.
"""

import hashlib
import json
import math
import os
import socket
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgd.base import Cost, Ends, InputValueError, Params, Points, Status, Verdict
from jaxgd.runs.files import read_arrays, write_arrays, write_atomically
from jaxgd.runs.manifest import Manifest, part_name

_ENDS = tuple(name for name in Ends.column_names() if name not in ("params", "best_params", "event_steps"))
_POINTS = tuple(name for name in Points.column_names() if name != "params")

Unflatten = Callable[[dict[str, np.ndarray]], Params]
"""Builds params from their leaves by path, in the order in which they were stored."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a part file holds.

    Attributes:
      ends: of the unit, in order of start number; its cost is that of the unit.
      points: what they are.
    """

    ends: Ends
    points: Points


def write_part(directory: Path, manifest: Manifest, arm: int, unit: range, ends: Ends, points: Points) -> bool:
    """Writes the part of a unit, and returns False where it was there already."""
    return write_atomically(
        directory / part_name(arm, unit), part_content(manifest, arm, unit, ends, points), replace=False
    )


def part_content(manifest: Manifest, arm: int, unit: range, ends: Ends, points: Points) -> bytes:
    """Returns the content of the part of a unit."""
    arrays = {
        **{f"ends.{name}": np.asarray(getattr(ends, name)) for name in _ENDS},
        **{f"points.{name}": np.asarray(getattr(points, name)) for name in _POINTS},
        **{f"ends.params{path}": np.asarray(leaf) for path, leaf in leaves_by_path(ends.params).items()},
        **{f"points.params{path}": np.asarray(leaf) for path, leaf in leaves_by_path(points.params).items()},
    }
    record = {
        "run": manifest.run,
        "arm": arm,
        "starts": [unit.start, unit.stop],
        "cost": asdict(ends.cost),
        "notes": list(points.notes),
        "notes_on_ends": list(ends.notes),
        "gradient_norm": ends.stop.gradient_norm if ends.stop else None,
        "origin": ends.origin,
        "made": {"host": socket.gethostname(), "pid": os.getpid(), "devices": ends.cost.num_devices},
    }
    record["sha256"] = _checksum(arrays, record)
    return write_arrays({**arrays, "record": np.asarray(json.dumps(record, allow_nan=False))})


def read_part(
    directory: Path,
    manifest: Manifest,
    arm: int,
    unit: range,
    *,
    leave_out: Collection[str] = (),
    unflatten: Unflatten = dict,
) -> Part:
    """Returns the part of a unit.

    Args:
      directory: where the run is.
      manifest: of the run.
      arm: number of the arm.
      unit: its starts.
      leave_out: "ends.params" or "points.params", where they are not needed.
      unflatten: builds params from their leaves by path.

    Raises:
      InputValueError: it is damaged, of another run, or no such part.
    """
    path = directory / part_name(arm, unit)
    arrays = read_arrays(path)
    try:
        record = json.loads(str(arrays.pop("record")))
        if record["run"] != manifest.run:
            raise ValueError("it is a part of another run")
        if record["arm"] != arm or record["starts"] != [unit.start, unit.stop]:
            raise ValueError("it is another part of the run, under a false name")
        if record.pop("sha256") != _checksum(arrays, record):
            raise ValueError("its checksum does not agree with its arrays")
        _check(arrays, unit)
        cost = _cost(record["cost"])
        stop = replace(manifest.arms[arm].stop, gradient_norm=record["gradient_norm"])
        origin = None if record["origin"] is None else str(record["origin"])
        notes, notes_on_ends = (tuple(str(note) for note in record[name]) for name in ("notes", "notes_on_ends"))
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError) as error:
        text = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise InputValueError(f"`{path}` cannot be used: {text if text.isprintable() else 'it is damaged'}.") from error

    def params(name: str) -> Params | None:
        found = {key.removeprefix(name): leaf for key, leaf in arrays.items() if key.startswith(name)}
        return None if name in leave_out else unflatten(found)

    return Part(
        ends=Ends(
            **{name: arrays[f"ends.{name}"] for name in _ENDS},
            params=params("ends.params"),
            best_params=None,
            event_steps={},
            num_starts=len(unit),
            cost=cost,
            stop=stop,
            origin=origin,
            notes=notes_on_ends,
        ),
        points=Points(
            **{name: arrays[f"points.{name}"] for name in _POINTS}, params=params("points.params"), notes=notes
        ),
    )


def leaves_by_path(params: Params) -> dict[str, Any]:
    """Returns the leaves of a pytree under their paths, for example `['w']`, in the pytree's order."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}


def _checksum(arrays: dict[str, np.ndarray], record: dict[str, Any]) -> str:
    found = hashlib.sha256(json.dumps(record, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        found.update(array.data if array.size else b"")
    return found.hexdigest()


def _check(arrays: dict[str, np.ndarray], unit: range) -> None:
    """Refuses arrays that are not those of a part, whoever computed their checksum."""
    expected = [*(f"ends.{name}" for name in _ENDS), *(f"points.{name}" for name in _POINTS)]
    for name in expected:
        if arrays[name].shape != (len(unit),) or arrays[name].dtype.kind not in "fi":
            raise ValueError(f"`{name}` has the wrong shape or type")
    for name in arrays.keys() - set(expected):
        array = arrays[name]
        is_params = name.startswith(("ends.params", "points.params")) and name.isprintable()
        if not is_params or array.dtype.kind != "f" or array.shape[:1] != (len(unit),):
            raise ValueError("it holds arrays that are none of a part")
    for prefix in ("ends.params", "points.params"):
        if not any(name.startswith(prefix) for name in arrays):
            raise ValueError(f"it has no {prefix}")
    if not np.array_equal(arrays["ends.start_number"], np.arange(unit.start, unit.stop)):
        raise ValueError("its start numbers are not those of its name")
    for name, codes in (("ends.status", Status), ("points.verdict", Verdict)):
        if not np.isin(arrays[name], [int(code) for code in codes]).all():
            raise ValueError(f"`{name}` has unknown codes")


def _cost(tree: Any) -> Cost:
    """Returns what a record says of the cost."""
    cost = Cost(**tree)
    counts = (cost.ticks, cost.lane_ticks, cost.num_lanes, cost.num_devices)
    seconds = (cost.seconds_compile, cost.seconds_run)
    if (
        not all(type(count) is int and 0 <= count < 2**63 for count in counts)
        or not all(type(number) in (int, float) and number >= 0 and math.isfinite(number) for number in seconds)
        or cost.layout not in ("lanes_first", "lanes_last")
    ):
        raise ValueError("what it says of its cost is none")
    return cost
