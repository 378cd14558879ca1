"""A run directory as its reader sees it: ends, points and catalogue, whoever wrote them.

Nothing that is read is run: a landscape of one's own is handed in, never imported on the word of a manifest. Blocks
that cannot be used are left out, each with a sentence in `problems`.
"""

import contextlib
import functools
import json
import operator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgd import names
from jaxgd.base import Ends, Engine, InputValueError, Landscape, Points
from jaxgd.descend import concatenate, with_note_at_start
from jaxgd.points import Catalogue
from jaxgd.points.classify import join_points
from jaxgd.points.tally import Tally
from jaxgd.runs.directory import Directory, unflatten_like
from jaxgd.runs.manifest import Manifest, read_manifest
from jaxgd.runs.parts import leaves_by_path, read_catalogue
from jaxgd.survey import Survey, survey_of


def open_run(directory: str | Path, *, landscape: Landscape | None = None) -> "StoredRun":
    """Returns what a run directory holds; reads nothing but the manifest yet, writes nothing, runs nothing.

    Args:
      directory: as given to `jaxgd survey --out` or `jaxgd.survey(out=...)`.
      landscape: the landscape of the run, where that is not one of jaxgd's own; needed to put params into their pytree
        and to count points that are not in the catalogue yet.

    Raises:
      InputValueError: there is no run, or its manifest cannot be used.

    Example:
      >>> import jax, jaxgd, tempfile
      >>> directory = tempfile.mkdtemp()
      >>> found = jaxgd.survey(jaxgd.landscapes.x_plus_sin_x(), num_starts=8, key=jax.random.key(0), out=directory)
      >>> run = open_run(directory, landscape=jaxgd.landscapes.x_plus_sin_x())
      >>> run.num_starts, run.is_finished, bool((run.ends.value == found.ends.value).all())
      (8, True, True)
    """
    path = Path(directory)
    return StoredRun(path=path, manifest=read_manifest(path), given_landscape=landscape)


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """A run directory.

    Attributes:
      path: where it is.
      manifest: what was asked.
      given_landscape: what was descended, where the reader knows it.
    """

    path: Path
    manifest: Manifest
    given_landscape: Landscape | None = None

    @cached_property
    def landscape(self) -> Landscape | None:
        """What was descended: as given, else one of jaxgd's own; None where it is neither."""
        written = self.manifest.written
        if self.given_landscape is not None or written is None or ":" in names._split(written["landscape"])[0]:
            return self.given_landscape
        params = {name: names.parse_value(text) for name, text in written["params"].items()}
        with contextlib.suppress(InputValueError):  # what it needs may not be installed here
            return names.find_landscape(written["landscape"], params)
        return None

    @cached_property
    def store(self) -> Directory:
        """The directory as a store."""
        landscape = self.landscape
        if landscape is None:
            as_they_lie: Any = lambda leaves: leaves
            return Directory(self.path, self.manifest, as_they_lie)
        return Directory(self.path, self.manifest, unflatten_like(landscape))

    @property
    def num_starts(self) -> int:
        """Starts that were asked for."""
        return max(self.store.ends_of_extents, default=0)

    @property
    def is_finished(self) -> bool:
        """Whether the file of every block is there."""
        return self.store.num_done == self.num_starts

    @property
    def problems(self) -> list[str]:
        """A sentence for every block that is there but cannot be used."""
        return self._read[1]

    @property
    def ends(self) -> Ends:
        """Where descents ended, in order of start number; `num_starts` is what was asked for."""
        parts = [ends for ends, _ in self._any()]
        cost = functools.reduce(operator.add, (ends.cost for ends in parts))
        return with_note_at_start(replace(concatenate(parts), num_starts=self.num_starts, cost=cost))

    @property
    def points(self) -> Points:
        """What the ends are, in the same order."""
        return join_points([points for _, points in self._any()])

    @cached_property
    def catalogue(self) -> Catalogue:
        """The distinct points of the first starts, as last written, or counted anew where descents have come since."""
        num_descents = self._num_whole
        with contextlib.suppress(InputValueError):
            return read_catalogue(
                self.store.catalogue_path(num_descents), self.manifest.digest, self.store._unflatten
            )  # fmt: skip
        if self.landscape is None:
            raise InputValueError(
                f"`{self.path}` has no catalogue of its {num_descents:,} descents; hand in `landscape` to count them."
            )
        if self.manifest.dtype == "float64" and jax.numpy.zeros(()).dtype != np.float64:
            raise InputValueError('this run is in float64; call jax.config.update("jax_enable_x64", True) first.')
        return self.survey().catalogue

    def survey(self) -> Survey:
        """Returns the survey of the first starts up to the first block that is missing; its ends are only counted.

        Blocks beyond are not in it, since blocks that were done first are not a fair sample.

        Raises:
          InputValueError: the first block is missing, or the landscape is not known.
        """
        if self.landscape is None:
            raise InputValueError(f"hand in the `landscape` of `{self.path}` to count its points.")
        tally = Tally(landscape=self.landscape)
        for block in self.store.blocks:
            try:
                if not self.store.has(block):
                    break
                tally.add(*self.store.look_at(block))
            except InputValueError:
                break
        if not len(tally):
            raise InputValueError(f"`{self.path}` has no descents yet to begin a survey with.")
        there = self.manifest
        engine = Engine(layout=there.layout, num_lanes=there.num_lanes, num_devices=tally.costs[-1].num_devices)
        return survey_of(
            tally, landscape=there.landscape, optimizer=there.optimizer, stop=there.stop, engine=engine,
            num_starts=self.num_starts,
        )  # fmt: skip

    def to_xarray(self) -> Any:
        """Returns ends and points as an `xarray.Dataset` with the dimension `descent`, the manifest in its attributes.

        Raises:
          InputValueError: xarray is not installed, or nothing is there yet.
        """
        try:
            import xarray
        except ImportError as error:
            raise InputValueError("`to_xarray` needs `pip install 'jaxgd[xarray]'`.") from error
        variables = {}
        for name, array in self._columns().items():
            axes = [f"{name}_axis_{axis}" for axis in range(1, array.ndim)]
            variables[name] = (["descent", *axes], array)
        manifest = json.dumps(self.manifest.to_json())
        return xarray.Dataset(variables, coords={"descent": self.ends.start_number}, attrs={"manifest": manifest})

    def to_dataframe(self) -> Any:
        """Returns ends and points as a `pandas.DataFrame`, a row for every descent, a column for every coordinate.

        Raises:
          InputValueError: pandas is not installed, or nothing is there yet.
        """
        try:
            import pandas
        except ImportError as error:
            raise InputValueError("`to_dataframe` needs `pip install pandas`.") from error
        columns = {}
        for name, array in self._columns().items():
            for place in np.ndindex(*array.shape[1:]):
                columns[f"{name}[{','.join(map(str, place))}]" if place else name] = array[(slice(None), *place)]
        return pandas.DataFrame(columns, index=pandas.Index(self.ends.start_number, name="descent"))

    def _columns(self) -> dict[str, np.ndarray]:
        """Returns every array by name: those of the ends as they are called, those of the points with `point_`."""
        columns: dict[str, np.ndarray] = {}
        for prefix, record in (("", self.ends), ("point_", self.points)):
            for name, column in record.columns().items():
                columns |= {f"{prefix}{name}{path}": leaf for path, leaf in leaves_by_path(column).items()}
        del columns["start_number"]
        return columns

    @cached_property
    def _read(self) -> tuple[list[tuple[Ends, Points]], list[str]]:
        """All blocks that can be used, in order, and what is wrong with the others."""
        parts, problems = [], []
        for block in self.store.blocks:
            if self.store.has(block):
                try:
                    parts.append(self.store.look_at(block))
                except InputValueError as error:
                    problems.append(str(error))
        return parts, problems

    @property
    def _num_whole(self) -> int:
        """Starts before the first block that is missing."""
        missing = (block.start for block in self.store.blocks if not self.store.has(block))
        return next(missing, self.num_starts)

    def _any(self) -> list[tuple[Ends, Points]]:
        parts, problems = self._read
        if not parts:
            raise InputValueError(f"`{self.path}` has no ends yet{f': {problems[0]}' if problems else '.'}")
        return parts
