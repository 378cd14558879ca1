"""What every result has: a text and a table for a person, columns for pandas and xarray, figures, and equality.

A record that inherits from `Face` is read by `jaxgd.report.reading` and drawn by `jaxgd.plot`, which are imported when
they are asked for. Two results are equal when all is equal but what they cost.
"""

import dataclasses
import importlib
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

_NOT_COMPARED = ("cost",)  # seconds differ from run to run


class Face:
    """A result that can be read, drawn, compared and turned into columns."""

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return room("report.reading").read(self).text()

    def _repr_html_(self) -> str:
        """Returns a table for a notebook."""
        return room("report.reading").read(self).html()

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        names = [item.name for item in dataclasses.fields(self) if item.name not in _NOT_COMPARED]  # type: ignore[arg-type]
        return all(_is_same(getattr(self, name), getattr(other, name)) for name in names)

    def to_dataframe(self) -> Any:
        """Returns a `pandas.DataFrame`: a row for every entry, a column for every coordinate, enums by name.

        Raises:
          InputValueError: pandas is not installed, or the record has no rows.
        """
        return room("report.columns").to_dataframe(self)

    def to_xarray(self) -> Any:
        """Returns an `xarray.Dataset` with one dimension of rows, enums by name.

        Raises:
          InputValueError: xarray is not installed, or the record has no rows.
        """
        return room("report.columns").to_xarray(self)

    def plot(self) -> Any:
        """Returns a `matplotlib.figure.Figure` of the figures that fit this result.

        Raises:
          InputValueError: matplotlib is not installed, or nothing can be drawn of it.
        """
        return room("plot").overview(self)


def room(name: str) -> Any:
    """Returns a room that stands below this one, opened by name and only now, so that imports point one way."""
    return importlib.import_module(f"jaxgd.{name}")


def plain(tree: Any) -> Any:
    """Returns a JSON tree of plain Python numbers, those that are not finite replaced by None."""
    if isinstance(tree, Mapping):
        return {name: plain(leaf) for name, leaf in tree.items()}
    if isinstance(tree, list | tuple):
        return [plain(leaf) for leaf in tree]
    if isinstance(tree, np.ndarray | np.generic | jax.Array):
        return plain(tree.tolist())
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree


def _is_same(mine: Any, theirs: Any) -> bool:
    """Returns whether two fields are equal, NaN being equal to NaN."""
    flat: list[Any] = [jax.tree.flatten(tree, is_leaf=lambda leaf: leaf is None) for tree in (mine, theirs)]
    (ours, structure), (others, other_structure) = flat
    if structure != other_structure:
        return False
    return all(_is_equal(one, other) for one, other in zip(ours, others, strict=True))


def _is_equal(one: Any, other: Any) -> bool:
    if isinstance(one, (np.ndarray, np.generic, jax.Array, float)):
        if not isinstance(other, (np.ndarray, np.generic, jax.Array, float, int)):
            return False
        one, other = np.asarray(one), np.asarray(other)
        return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f" and other.dtype.kind == "f"))
    if dataclasses.is_dataclass(one) and type(one) is type(other) and not isinstance(one, Face):
        fields = (item.name for item in dataclasses.fields(one) if item.compare)
        return all(_is_same(getattr(one, name), getattr(other, name)) for name in fields)
    return bool(one == other)
