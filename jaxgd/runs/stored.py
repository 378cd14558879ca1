"""A run directory as its reader sees it: ends, points and catalogue of one arm, whoever wrote them.

Nothing that is read is run: a landscape of one's own is handed in, never imported on the word of a manifest. Parts that
cannot be used are left out, each with a sentence in `problems`.
"""

import contextlib
import json
import os
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgd import names
from jaxgd.base import Cost, Ends, InputValueError, Landscape, Params, Points
from jaxgd.descend import concatenate
from jaxgd.points import Catalogue, catalogue
from jaxgd.runs.catalogues import read_catalogue
from jaxgd.runs.manifest import Arm, Manifest, part_name, read_manifest
from jaxgd.runs.parts import Part, Unflatten, leaves_by_path, nested, read_part


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
    if landscape is None and ":" not in names._split(manifest.landscape)[0]:
        landscape = names.find_landscape(
            manifest.landscape, {name: names.parse_value(text) for name, text in manifest.params.items()}
        )
    return StoredRun(path=path, manifest=manifest, arm=arm, landscape=landscape)


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """One arm of a run directory.

    Attributes:
      path: where it is.
      manifest: what was asked.
      arm: which arm this is.
      landscape: what was descended; None where it is not known.
      leave_out: "ends.params" or "points.params", where these are not wanted.
    """

    path: Path
    manifest: Manifest
    arm: int
    landscape: Landscape | None = None
    leave_out: Collection[str] = ()

    @property
    def arms(self) -> list[str]:
        """The optimizers of the run."""
        return [arm.optimizer for arm in self.manifest.arms]

    @property
    def asked(self) -> Arm:
        """What was asked of this arm."""
        return self.manifest.arms[self.arm]

    @cached_property
    def ends(self) -> Ends:
        """Where descents ended, in order of start number; `num_starts` is what was asked for."""
        return replace(
            concatenate([part.ends for part in self._parts]),
            num_starts=self.asked.num_starts[-1],
            cost=total_cost([part.ends.cost for part in self._parts]),
        )

    @cached_property
    def points(self) -> Points:
        """What the ends are, in the same order."""
        return join_points([part.points for part in self._parts])

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
        return catalogue(self.landscape, self.points)

    @cached_property
    def is_finished(self) -> bool:
        """Whether the part of every unit is there."""
        return len(self._there) == len(self.asked.units)

    @property
    def problems(self) -> list[str]:
        """A sentence for every part that is there but cannot be used."""
        return list(self._read[1].values())

    @property
    def damaged(self) -> list[Path]:
        """The parts that cannot be used."""
        return list(self._read[1])

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
            for item in fields(record):
                value = getattr(record, item.name)
                if item.name == "params":
                    columns |= {f"{prefix}params{path}": leaf for path, leaf in leaves_by_path(value).items()}
                elif isinstance(value, np.ndarray) and item.name != "start_number":
                    columns[prefix + item.name] = value
        return columns

    @cached_property
    def _there(self) -> list[range]:
        return [unit for unit in self.asked.units if os.path.lexists(self.path / part_name(self.arm, unit))]

    @cached_property
    def _read(self) -> tuple[list[Part], dict[Path, str]]:
        parts, problems = [], {}
        for unit in self._there:
            try:
                parts.append(
                    read_part(
                        self.path, self.manifest, self.arm, unit, leave_out=self.leave_out, unflatten=self._unflatten
                    )
                )
            except InputValueError as error:
                problems[self.path / part_name(self.arm, unit)] = str(error)
        return parts, problems

    @property
    def _parts(self) -> list[Part]:
        parts, problems = self._read
        if not parts:
            why = f": {next(iter(problems.values()))}" if problems else "."
            raise InputValueError(f"`{self.path}` has no ends of `{self.asked.optimizer}` yet{why}")
        return parts

    @cached_property
    def _unflatten(self) -> Unflatten:
        """Builds params: the landscape's pytree where that is known."""
        if self.landscape is None:
            return nested
        start = jax.eval_shape(self.landscape.sample, jax.eval_shape(lambda: jax.random.key(0)))
        like = leaves_by_path(start)

        def unflatten(leaves: dict[str, np.ndarray]) -> Params:
            if list(leaves) != list(like) or any(leaves[path].shape[1:] != like[path].shape for path in like):
                raise InputValueError("its params are not those of the landscape.")
            return jax.tree.unflatten(jax.tree.structure(start), list(leaves.values()))

        return unflatten


def total_cost(costs: list[Cost]) -> Cost:
    """Returns what several units cost together; seconds are summed over processes."""
    sums = {
        name: sum(getattr(cost, name) for cost in costs)
        for name in ("ticks", "lane_ticks", "seconds_compile", "seconds_run")
    }
    return replace(costs[0], **sums, num_devices=max(cost.num_devices for cost in costs))


def join_points(parts: list[Points]) -> Points:
    """Returns the points of several parts as one, in their order, each note once."""
    joined = {
        item.name: jax.tree.map(lambda *leaves: np.concatenate(leaves), *(getattr(part, item.name) for part in parts))
        for item in fields(Points)
        if item.name != "notes"
    }
    return Points(**joined, notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)))
