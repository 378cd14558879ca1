"""A run directory as its reader sees it: ends, points and catalogue of one arm, whoever wrote them.

Nothing that is read is run: a landscape of one's own is handed in, never imported on the word of a manifest. Parts that
cannot be used are left out, each with a sentence in `problems`.
"""

import contextlib
import functools
import json
import operator
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgd import names
from jaxgd.base import Cost, Ends, InputValueError, Landscape, Params, Points
from jaxgd.descend import concatenate, note_at_start, num_at_start
from jaxgd.points import Catalogue
from jaxgd.points.classify import join_points
from jaxgd.points.tally import Tally
from jaxgd.runs.catalogues import read_catalogue
from jaxgd.runs.manifest import Arm, Manifest, part_name, read_manifest
from jaxgd.runs.parts import Part, leaves_by_path, read_part
from jaxgd.survey import Survey


def open_run(directory: str | Path, *, arm: int | str = 0, landscape: Landscape | None = None) -> "StoredRun":
    """Returns what a run directory holds; reads nothing but the manifest yet, writes nothing, runs nothing.

    Args:
      directory: as given to `jaxgd survey --out`.
      arm: number or written name of the optimizer.
      landscape: the landscape of the run, where that is not one of jaxgd's own; needed to put params into their pytree
        and to count points that are not in the catalogue yet.

    Raises:
      InputValueError: there is no run, its manifest cannot be used, or it has no such arm.
    """
    path = Path(directory)
    manifest = read_manifest(path)
    if isinstance(arm, str):
        optimizers = [arm.optimizer for arm in manifest.arms]
        if arm not in optimizers:
            raise InputValueError(f"`{path}` has no arm `{arm}`; its arms are {', '.join(optimizers)}.")
        arm = optimizers.index(arm)
    if not 0 <= arm < len(manifest.arms):
        raise InputValueError(f"`{path}` has no arm {arm}; it has {len(manifest.arms)}.")
    return StoredRun(path=path, manifest=manifest, arm=arm, given_landscape=landscape)


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """One arm of a run directory.

    Attributes:
      path: where it is.
      manifest: what was asked.
      arm: which arm this is.
      given_landscape: what was descended, where the reader knows it.
    """

    path: Path
    manifest: Manifest
    arm: int
    given_landscape: Landscape | None = None

    @cached_property
    def landscape(self) -> Landscape | None:
        """What was descended: as given, else one of jaxgd's own; None where it is neither."""
        if self.given_landscape is not None or ":" in names._split(self.manifest.landscape)[0]:
            return self.given_landscape
        params = {name: names.parse_value(text) for name, text in self.manifest.params.items()}
        with contextlib.suppress(InputValueError):  # what it needs may not be installed here
            return names.find_landscape(self.manifest.landscape, params)
        return None

    @property
    def arms(self) -> list[str]:
        """The optimizers of the run."""
        return [arm.optimizer for arm in self.manifest.arms]

    @property
    def asked(self) -> Arm:
        """What was asked of this arm."""
        return self.manifest.arms[self.arm]

    def parts(self, leave_out: Collection[str] = ()) -> Iterator[Part]:
        """Yields the parts that are there and can be used, in order of start number.

        Args:
          leave_out: "ends.params" or "points.params", where these are not wanted.
        """
        problems = {}
        for unit in self._there:
            try:
                yield read_part(
                    self.path, self.manifest, self.arm, unit, leave_out=leave_out, unflatten=self._unflatten
                )
            except InputValueError as error:
                problems[self.path / part_name(self.arm, unit)] = str(error)
        self.__dict__["damaged"] = problems  # as if it had been asked for

    @cached_property
    def damaged(self) -> dict[Path, str]:
        """The parts that are there but cannot be used, each with a sentence."""
        for _ in self.parts():
            pass
        return self.__dict__["damaged"]

    @property
    def problems(self) -> list[str]:
        """A sentence for every part that is there but cannot be used."""
        return list(self.damaged.values())

    @cached_property
    def ends(self) -> Ends:
        """Where descents ended, in order of start number; `num_starts` is what was asked for."""
        found = [part.ends for part in self.parts(leave_out=("points.params",))]
        self._check_any(found)
        return replace(
            concatenate(found),
            num_starts=self.asked.num_starts[-1],
            cost=_total([ends.cost for ends in found]),
        )

    @cached_property
    def points(self) -> Points:
        """What the ends are, in the same order."""
        found = [part.points for part in self.parts(leave_out=("ends.params",))]
        self._check_any(found)
        return join_points(found)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The distinct critical points among them, as last written, or counted anew where descents have come since."""
        num_descents = sum(len(unit) for unit in self._there)
        with contextlib.suppress(InputValueError):
            found = read_catalogue(self.path, self.manifest, self.arm, self._unflatten)
            if found.num_descents == num_descents:
                return found
        if self.landscape is None:
            raise InputValueError(
                f"`{self.path}` has no catalogue of its {num_descents:,} descents; hand in `landscape` to count them."
            )
        if self.manifest.dtype == "float64" and jax.numpy.zeros(()).dtype != np.float64:
            raise InputValueError('this run is in float64; call jax.config.update("jax_enable_x64", True) first.')
        survey = self.survey()
        self._check_any([] if survey is None else [survey])
        return survey.catalogue  # type: ignore[union-attr]

    def survey(self) -> Survey | None:
        """Returns the survey of what is there, read part by part: its ends and points are only counted, not kept.

        Returns None where nothing is there.
        """
        if self.landscape is None:
            raise InputValueError(f"hand in the `landscape` of `{self.path}` to count its points.")
        tally, costs, num_still = Tally(landscape=self.landscape), [], 0
        notes: dict[str, None] = {}
        for part in self.parts(leave_out=("ends.params",)):
            tally.add(part.ends, part.points)
            costs.append(part.ends.cost)
            num_still += num_at_start(part.ends)
            notes.update(dict.fromkeys(part.ends.notes))
        if not costs:
            return None
        ends, points = tally.counted(self.asked.num_starts[-1], _total(costs), part.ends.value.dtype)
        stop = part.ends.stop or self.asked.stop
        ends = replace(ends, notes=(*notes, *note_at_start(num_still, len(ends), stop)))
        return Survey(
            landscape=self.landscape.name, optimizer=self.asked.optimizer, stop=stop,
            ends=ends, points=points, catalogue=tally.catalogue(),
        )  # fmt: skip

    @cached_property
    def is_finished(self) -> bool:
        """Whether the part of every unit is there."""
        return len(self._there) == len(self.asked.units)

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
        return xarray.Dataset(
            variables, coords={"descent": self.ends.start_number}, attrs={"manifest": manifest, "arm": self.arm}
        )

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
            if array.ndim == 1:
                columns[name] = array
            else:
                places = np.ndindex(*array.shape[1:])
                columns |= {f"{name}[{','.join(map(str, place))}]": array[(slice(None), *place)] for place in places}
        index = pandas.Index(self.ends.start_number, name="descent")
        return pandas.DataFrame(columns, index=index)

    def _columns(self) -> dict[str, np.ndarray]:
        """Returns every array by name: those of the ends as they are called, those of the points with `point_`."""
        columns: dict[str, np.ndarray] = {}
        for prefix, record in (("", self.ends), ("point_", self.points)):
            for name, value in record.columns().items():
                if name == "params":
                    columns |= {f"{prefix}params{path}": leaf for path, leaf in leaves_by_path(value).items()}
                elif isinstance(value, np.ndarray) and name != "start_number":
                    columns[prefix + name] = value
        return columns

    @cached_property
    def _there(self) -> list[range]:
        return [unit for unit in self.asked.units if os.path.lexists(self.path / part_name(self.arm, unit))]

    def _check_any(self, found: list[Any]) -> None:
        if not found:
            why = f": {self.problems[0]}" if self.problems else "."
            raise InputValueError(f"`{self.path}` has no ends of `{self.asked.optimizer}` yet{why}")

    def _unflatten(self, leaves: dict[str, np.ndarray]) -> Params:
        """Returns params as the landscape has them where that is known, else as they lie in the file."""
        if self.given_landscape is None and list(leaves) == [""]:
            return leaves[""]  # a single array needs no landscape
        if self.landscape is None:
            return leaves
        start = jax.eval_shape(self.landscape.sample, jax.eval_shape(lambda: jax.random.key(0)))
        like = leaves_by_path(start)
        if list(leaves) != list(like) or any(leaves[path].shape[1:] != like[path].shape for path in like):
            raise InputValueError("its params are not those of the landscape.")
        return jax.tree.unflatten(jax.tree.structure(start), list(leaves.values()))


def _total(costs: list[Cost]) -> Cost:
    """Returns what several units cost together; seconds are summed over processes."""
    return replace(functools.reduce(operator.add, costs), num_devices=max(cost.num_devices for cost in costs))
