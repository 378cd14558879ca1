"""Reading a run directory: its ends, points and catalogue.

Nothing that is read is executed: a custom landscape is passed in, never imported because a manifest names it. Unusable
blocks are left out, each with a sentence in `problems`.
"""

import contextlib
import functools
import operator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import jax
import numpy as np

from jaxgd.base import Ends, Engine, InputValueError, Landscape, Points
from jaxgd.descend import concatenate, with_note_at_start
from jaxgd.face import Face
from jaxgd.names import is_foreign, written_landscape
from jaxgd.points import Catalogue
from jaxgd.points.classify import join_points
from jaxgd.points.tally import Tally
from jaxgd.runs.directory import Directory
from jaxgd.runs.manifest import Manifest, read_manifest
from jaxgd.survey import Survey, survey_of


def open_run(directory: str | Path, *, landscape: Landscape | None = None) -> "StoredRun":
    """Opens a run directory; reads only the manifest at first, writes nothing, executes nothing.

    Args:
      directory: as given to `jaxgd survey --out` or `jaxgd.survey(out=...)`.
      landscape: the landscape of the run, if it is not a built-in one; needed to put params into their pytree and to
        count points that are not in the catalogue yet.

    Raises:
      InputValueError: there is no run, or its manifest is invalid.

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


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class StoredRun(Face):
    """A run directory.

    As a data frame or an `xarray.Dataset` it has a row for every descent: the columns of its ends under their own names
    and those of its points with `point_` before them.

    Attributes:
      path: the directory.
      manifest: the question of the run.
      given_landscape: the landscape, if it was passed in.
    """

    path: Path
    manifest: Manifest
    given_landscape: Landscape | None = None

    @cached_property
    def landscape(self) -> Landscape | None:
        """The landscape: as passed in, otherwise a built-in one; None if it is neither."""
        written = self.manifest.written
        if self.given_landscape is not None or written is None or is_foreign(written["landscape"]):
            return self.given_landscape
        with contextlib.suppress(InputValueError):  # what it needs may not be installed here
            return written_landscape(written["landscape"], written["params"])
        return None

    @cached_property
    def store(self) -> Directory:
        """The directory as a store."""
        return Directory(self.path, self.manifest, self.landscape)

    @property
    def num_starts(self) -> int:
        """Number of starts requested."""
        return max(self.store.ends_of_extents, default=0)

    @property
    def num_whole(self) -> int:
        """Starts before the first block that is missing."""
        missing = (block.start for block in self.store.blocks if not self.store.has(block))
        return next(missing, self.num_starts)

    @property
    def is_finished(self) -> bool:
        """Whether the file of every block exists."""
        return self.store.num_done == self.num_starts

    def __str__(self) -> str:
        of = f"Run of {self.manifest.landscape} by {self.manifest.optimizer} in `{self.path}`"
        return f"{of}: {self.store.num_done:,} of {self.num_starts:,} starts are done."

    @property
    def problems(self) -> list[str]:
        """A sentence for every block that cannot be used."""
        return self._read[1]

    @property
    def ends(self) -> Ends:
        """Where descents ended, in order of start number; `num_starts` is the number requested."""
        parts = [ends for ends, _ in self._any()]
        cost = functools.reduce(operator.add, (ends.cost for ends in parts))
        return with_note_at_start(replace(concatenate(parts), num_starts=self.num_starts, cost=cost))

    @property
    def points(self) -> Points:
        """What the ends are, in the same order."""
        return join_points([points for _, points in self._any()])

    @cached_property
    def catalogue(self) -> Catalogue:
        """The distinct points of the first starts, as last written, or recounted if descents were added since."""
        num_descents = self.num_whole
        with contextlib.suppress(InputValueError):
            return self.store.read_catalogue(num_descents)
        if self.landscape is None:
            raise InputValueError(
                f"`{self.path}` has no catalogue of its {num_descents:,} descents; pass `landscape` to count them."
            )
        if self.manifest.dtype == "float64" and jax.numpy.zeros(()).dtype != np.float64:
            raise InputValueError('this run is in float64; call jax.config.update("jax_enable_x64", True) first.')
        return self.survey().catalogue

    def survey(self) -> Survey:
        """Returns the survey of the starts before the first missing block; its ends are only counted.

        Later blocks are left out, since blocks that happened to finish first are not a fair sample.

        Raises:
          InputValueError: the first block is missing, or the landscape is not known.
        """
        if self.landscape is None:
            raise InputValueError(f"pass the `landscape` of `{self.path}` to count its points.")

        tally = Tally(landscape=self.landscape)
        for block in self.store.blocks:
            part, _ = self._look_at(block)
            if part is None:
                break
            tally.add(*part)
        if not len(tally):
            raise InputValueError(f"`{self.path}` does not have its first descents yet.")

        there = self.manifest
        engine = Engine(layout=there.layout, num_lanes=there.num_lanes, num_devices=tally.costs[-1].num_devices)
        return survey_of(
            tally,
            landscape=there.landscape,
            optimizer=there.optimizer,
            stop=there.stop,
            engine=engine,
            num_starts=self.num_starts,
        )

    @cached_property
    def _read(self) -> tuple[list[tuple[Ends, Points]], list[str]]:
        """All usable blocks, in order, and sentences on the others."""
        found = [self._look_at(block) for block in self.store.blocks]
        return [part for part, _ in found if part], [problem for _, problem in found if problem]

    def _look_at(self, block: range) -> tuple[tuple[Ends, Points] | None, str]:
        """Returns a block, or None if it is missing or unusable, and why it is unusable."""
        try:
            return (self.store.look_at(block) if self.store.has(block) else None), ""
        except InputValueError as error:
            return None, str(error)

    def _any(self) -> list[tuple[Ends, Points]]:
        parts, problems = self._read
        if not parts:
            raise InputValueError(f"`{self.path}` has no ends yet{f': {problems[0]}' if problems else '.'}")
        return parts
