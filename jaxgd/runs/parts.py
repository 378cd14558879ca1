"""A block, or a catalogue, as one file of plain arrays.

    ends.value, ends.status, ..., ends.params['w'], ...      the arrays of `jaxgd.Ends`, a pytree leaf by leaf
    points.value, points.verdict, ..., points.params['w']    the arrays of `jaxgd.Points`
    record                                                   JSON: question, starts, all fields that are not arrays,
                                                             host and process that wrote it, checksum

Rows are in order of start number. `numpy.load(block, allow_pickle=False)` reads it without jaxgd. Every field is stored
under its own name, so that adding one needs no change here.
"""

import dataclasses
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from jaxgd.base import Array, Cost, Ends, InputValueError, Landscape, Params, Points, Reason, Status, Stop, Verdict
from jaxgd.points import Catalogue
from jaxgd.runs.files import checksum, read_arrays, write_arrays, write_once
from jaxgd.statistics import Unseen

Record = TypeVar("Record")

Unflatten = Callable[[dict[str, np.ndarray]], Params]
"""Builds params from their leaves by path, in the order in which they were stored."""

_NESTED: dict[str, Callable[..., Any]] = {"cost": Cost, "unseen": Unseen, "stop": Stop}


def block_content(question: str, block: range, ends: Ends, points: Points) -> bytes:
    """Returns the file content of a block."""
    return _content({"question": question, "starts": [block.start, block.stop]}, ends=ends, points=points)


def read_block(path: Path, question: str, block: range, unflatten: Unflatten) -> tuple[Ends, Points]:
    """Returns the ends of a block and what they are.

    Raises:
      InputValueError: the file is damaged, belongs to another question, or is another block.
    """
    arrays, record = _read(path, question)
    with _sentences(path):
        if record["starts"] != [block.start, block.stop]:
            raise ValueError("it is another block of the run under a wrong name")
        ends = _unpack(Ends, "ends", arrays, record["ends"], unflatten, len(block))
        points = _unpack(Points, "points", arrays, record["points"], unflatten, len(block))
        if arrays:
            raise ValueError("it holds arrays that do not belong to a block")
        if not np.array_equal(ends.start_number, np.arange(block.start, block.stop)):
            raise ValueError("its start numbers do not match its name")
        for name, codes, kinds in _codes(ends, points):
            if np.asarray(codes).dtype.kind != "i" or not np.isin(codes, [int(kind) for kind in kinds]).all():
                raise ValueError(f"`{name}` has unknown codes")
        return ends, points


def _codes(ends: Ends, points: Points) -> list[tuple[str, Any, type[IntEnum]]]:
    return [("status", ends.status, Status), ("verdict", points.verdict, Verdict), ("reason", points.reason, Reason)]


def write_catalogue(path: Path, question: str, found: Catalogue) -> bool:
    """Writes a catalogue, which can be read without the landscape; returns False if the file exists.

    Raises:
      InputValueError: it cannot be written.
    """
    return write_once(path, _content({"question": question}, catalogue=found))


def read_catalogue(path: Path, question: str, unflatten: Unflatten) -> Catalogue:
    """Reads a catalogue.

    Raises:
      InputValueError: there is none, or it cannot be used.
    """
    arrays, record = _read(path, question)
    with _sentences(path):
        return _unpack(Catalogue, "catalogue", arrays, record["catalogue"], unflatten, None)


def leaves_by_path(tree: Any) -> dict[str, Any]:
    """Returns the leaves of a pytree under their paths, for example `['w']`, in the pytree's order."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def unflatten_like(landscape: Landscape | None) -> Unflatten:
    """Returns a function that builds a landscape's params from leaves by path; without a landscape, the identity."""
    if landscape is None:
        return lambda leaves: leaves
    start = jax.eval_shape(landscape.sample, jax.eval_shape(lambda: jax.random.key(0)))
    names, structure = list(leaves_by_path(start)), jax.tree.structure(start)

    def unflatten(leaves: dict[str, np.ndarray]) -> Params:
        if list(leaves) != names:
            raise ValueError("its params are not those of the landscape")
        return jax.tree.unflatten(structure, list(leaves.values()))

    return unflatten


def _content(about: dict[str, Any], **records: Any) -> bytes:
    arrays: dict[str, np.ndarray] = {}
    for prefix, record in records.items():
        about[prefix] = {}
        for item in dataclasses.fields(record):
            value = getattr(record, item.name)
            leaves = leaves_by_path(value)
            if leaves and all(isinstance(leaf, (np.ndarray, jax.Array)) for leaf in leaves.values()):
                arrays |= {f"{prefix}.{item.name}{path}": np.asarray(leaf) for path, leaf in leaves.items()}
            elif leaves and all(isinstance(leaf, bool) for leaf in leaves.values()):
                about[prefix][item.name] = leaves  # one bool per leaf of the params
            else:
                about[prefix][item.name] = dataclasses.asdict(value) if item.name in _NESTED and value else value
    about["made"] = {"host": socket.gethostname(), "pid": os.getpid()}
    about = json.loads(json.dumps(about, default=lambda number: number.item()))
    about["sha256"] = checksum(about, arrays)
    return write_arrays({**arrays, "record": np.asarray(json.dumps(about))})


def _read(path: Path, question: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns the arrays of a file and its record, after verifying their checksum."""
    arrays = read_arrays(path)
    with _sentences(path):
        record = json.loads(str(arrays.pop("record")))
        if record.pop("sha256") != checksum(record, arrays):
            raise ValueError("its checksum does not match its content")
        if record["question"] != question:
            raise ValueError("it belongs to a different question from the run's")
        return arrays, record


def _unpack(
    kind: type[Record],
    prefix: str,
    arrays: dict[str, np.ndarray],
    facts: Mapping[str, Any],
    unflatten: Unflatten,
    num_rows: int | None,
) -> Record:
    """Returns a record, and removes its arrays from `arrays`."""
    given: dict[str, Any] = {}
    for item in dataclasses.fields(kind):  # type: ignore[arg-type]
        name = f"{prefix}.{item.name}"
        own = [key for key in arrays if key == name or key.startswith((f"{name}[", f"{name}."))]
        leaves = {key.removeprefix(name): arrays.pop(key) for key in own}
        is_in_rows = num_rows is not None and item.name not in kind.not_in_rows  # type: ignore[attr-defined]
        for path, leaf in leaves.items():
            is_fitting = leaf.ndim == 1 if item.type == Array else leaf.ndim > 0
            if not path.isprintable() or (is_in_rows and (not is_fitting or len(leaf) != num_rows)):
                raise ValueError(f"`{name}` has the wrong shape")
        if leaves:
            given[item.name] = leaves[""] if list(leaves) == [""] else unflatten(leaves)
        elif item.name == "frozen" and facts[item.name] is not None:
            given[item.name] = unflatten(_is_words(facts[item.name]))
        elif item.name in facts:
            given[item.name] = _fact(item.name, facts[item.name])
    return kind(**given)


def _fact(name: str, value: Any) -> Any:
    """Returns a field that is not an array, as it was before it became JSON."""
    if name in _NESTED and value is not None:
        return _NESTED[name](**value)
    return tuple(_fact("", item) for item in value) if isinstance(value, list) else value


def _is_words(leaves: Any) -> dict[str, Any]:
    """Returns the bool of each leaf of the params, after validating them."""
    if not isinstance(leaves, dict) or not all(isinstance(word, bool) for word in leaves.values()):
        raise ValueError("`frozen` does not have a bool for each leaf of the params")
    return leaves


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    """A context in which any error that a bad file causes becomes one sentence."""
    try:
        yield
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError) as error:
        text = f"it has no {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
        text = text[:200] if text.isprintable() and text else "it is damaged"
        raise InputValueError(f"`{path}` cannot be used: {text}.") from error
