"""A run directory as a store: any number of processes may work on one, join late, or die at any moment.

This rests on two rules. *Every file is created once and never changed*: a file exists completely or not at all, and if
two processes create the same one, the second finds it in place. *A claim is only a hint*: a process first computes
unclaimed blocks; when none is left, it also computes claimed ones, since their claimants may be dead. All processes
compute the same bits, so only time is lost, and no process ever waits for another.
"""

import contextlib
import os
import random
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgd.base import Ends, InputValueError, Landscape, Points
from jaxgd.blocks import Question, cut
from jaxgd.points import Catalogue
from jaxgd.runs.files import claim, read_sealed, write_once, write_sealed
from jaxgd.runs.manifest import MANIFEST, MAX_STARTS, Manifest, differences, manifest_of, read_manifest, write_manifest
from jaxgd.runs.parts import block_content, read_block, read_catalogue, unflatten_like, write_catalogue
from jaxgd.store import num_of

MAX_BLOCKS = 10**6


class Directory:
    """A store of blocks on disk.

    Attributes:
      path: the directory.
      manifest: the question it answers.

    Params are put into the pytree of the `landscape`; without one they stay leaves by path.
    """

    def __init__(self, path: Path, manifest: Manifest, landscape: Landscape | None = None) -> None:
        self.path, self.manifest = path, manifest
        self._unflatten = unflatten_like(landscape)
        self._question = manifest.digest
        self._claimed: dict[range, Path] = {}
        self.ends_of_extents: list[int] = []
        self.blocks: list[range] = []
        self._look_for_extents()

    # ------------------------------------------------------------------------------------------ what is asked

    def extend(self, num_starts: int) -> None:
        """Requests this many starts in total, unless that many were requested already.

        Raises:
          InputValueError: the directory is not writable, or there would be too many blocks.
        """
        while num_starts > max(self.ends_of_extents, default=0):
            if num_starts // self.manifest.block_size + len(self.ends_of_extents) > MAX_BLOCKS:
                raise InputValueError(f"a run may have at most {MAX_BLOCKS:,} blocks; begin one with larger blocks.")
            write_sealed(
                self._starts_path(len(self.ends_of_extents)), {"question": self._question, "num_starts": num_starts}
            )
            self._look_for_extents()  # including those of other processes, one of which may have been faster

    def _look_for_extents(self) -> None:
        while (path := self._starts_path(len(self.ends_of_extents))).exists():
            tree = read_sealed(path)
            num_starts, last = tree.get("num_starts"), max(self.ends_of_extents, default=0)
            if tree.get("question") != self._question:
                raise InputValueError(
                    f"`{path}` cannot be used: it belongs to a different question from the manifest's."
                )
            if type(num_starts) is not int or not last < num_starts <= MAX_STARTS:
                raise InputValueError(
                    f"`{path}` cannot be used: its number of starts is not larger than the previous one."
                )
            if num_starts // self.manifest.block_size > MAX_BLOCKS:
                raise InputValueError(f"`{path}` cannot be used: it asks for too many blocks.")
            self.ends_of_extents.append(num_starts)
        self.blocks = cut(self.ends_of_extents, self.manifest.block_size)

    def _starts_path(self, extent: int) -> Path:
        return self.path / f"starts-{extent + 1:04d}.json"

    # --------------------------------------------------------------------------------------- blocks, one by one

    def has(self, block: range) -> bool:
        """Returns whether the file of a block exists."""
        return os.path.lexists(self._block_path(block))

    @property
    def num_done(self) -> int:
        """Number of starts in blocks whose files exist."""
        there = {entry.name for entry in os.scandir(self.path)}
        return num_of(block for block in self.blocks if _block_name(block) in there)

    def next_block(self) -> range | None:
        """Returns a missing block: the first unclaimed one, otherwise any that others have claimed."""
        there = {entry.name for entry in os.scandir(self.path)}
        missing = [block for block in self.blocks if _block_name(block) not in there and block not in self._claimed]
        for block in missing:
            path = self._claim_path(block)
            if path.name not in there and claim(path):
                self._claimed[block] = path
                return block
        return random.choice(missing) if missing else None

    def give_back(self, block: range) -> None:
        """Removes the claim on a block, if it was made by this process."""
        path = self._claimed.pop(block, None)
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def write(self, block: range, ends: Ends, points: Points) -> None:
        """Writes the file of a block, unless it exists, and removes what dead processes left of it.

        Raises:
          InputValueError: it cannot be written, for example because the disk is full.
        """
        try:
            write_once(self._block_path(block), block_content(self._question, block, ends, points))
        finally:
            self.give_back(block)
        self._tidy(_block_name(block))

    def _tidy(self, name: str) -> None:
        """Removes claims on finished blocks of this name, and half-written files of them."""
        for litter in (*self.path.glob(f"{name}.claim"), *self.path.glob(f".{name}.*")):
            if (self.path / f"{litter.name.lstrip('.').partition('.npz')[0]}.npz").exists():
                with contextlib.suppress(OSError):
                    litter.unlink(missing_ok=True)

    def read(self, block: range) -> tuple[Ends, Points] | None:
        """Returns a block, or None if it is missing; an unusable file is set aside, for a new one.

        Raises:
          InputValueError: a damaged file cannot be set aside.
        """
        if not self.has(block):
            return None
        path = self._block_path(block)
        try:
            return self.look_at(block)
        except InputValueError as error:
            print(f"jaxgd: {error} Its descents will be run again.", file=sys.stderr, flush=True)
        try:
            path.rename(path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}"))
        except FileNotFoundError:
            pass  # another process did
        except OSError as error:
            raise InputValueError(f"cannot set `{path}` aside: {error.strerror or error}.") from error
        return None

    def look_at(self, block: range) -> tuple[Ends, Points]:
        """Returns a block whose file exists, without changing anything.

        Raises:
          InputValueError: it cannot be used.
        """
        return read_block(self._block_path(block), self._question, block, self._unflatten)

    def _block_path(self, block: range) -> Path:
        return self.path / _block_name(block)

    def _claim_path(self, block: range) -> Path:
        return self.path / f"{_block_name(block)}.claim"

    # --------------------------------------------------------------------------------------------------- results

    def read_catalogue(self, num_starts: int) -> Catalogue:
        """Returns the catalogue of the first starts.

        Raises:
          InputValueError: there is none, or it cannot be used.
        """
        return read_catalogue(self._catalogue_path(num_starts), self._question, self._unflatten)

    def _catalogue_path(self, num_starts: int) -> Path:
        return self.path / f"catalogue-{num_starts:010d}.npz"

    def write_result(self, found: dict[str, Any], catalogue: Catalogue) -> None:
        """Writes the result of the first `catalogue.num_descents` starts, unless it exists.

        Raises:
          InputValueError: it cannot be written.
        """
        num_starts = catalogue.num_descents
        self._tidy("block-*.npz")  # a process may have died between writing a block and removing its claim
        write_catalogue(self._catalogue_path(num_starts), self._question, catalogue)
        is_finished = num_starts == self.ends_of_extents[-1]
        result = {"question": self._question, "state": "finished" if is_finished else "partial", "result": found}
        write_sealed(self.path / f"result-{num_starts:010d}.json", result)


def begin(path: Path, question: Question, written: Mapping[str, Any] | None, is_open: Mapping[str, bool]) -> Directory:
    """Returns the run directory of a question, new or existing.

    Args:
      path: the directory; created if necessary.
      question: with layout, lanes and block size chosen.
      written: the words of the command line, see `Manifest`.
      is_open: which of `layout`, `num_lanes` and `block_size` were left open; an existing run keeps its own.

    Raises:
      InputValueError: the directory is not writable, holds other files, or holds the run of a different question.
    """
    here = manifest_of(question, written)
    if not is_run(path):
        _make(path)
        write_manifest(path, here)  # or another process does
    there = read_manifest(path)
    unlike = differences(there, here)
    unlike += [
        f"{name}: {getattr(there, name)!r} there, {getattr(here, name)!r} here"
        for name in ("layout", "num_lanes", "block_size")
        if not is_open[name] and getattr(there, name) != getattr(here, name)
    ]
    if unlike:
        raise InputValueError(
            f"`{path}` holds a run with other arguments ({'; '.join(unlike)}); name another directory."
        )
    return Directory(path, there, question.landscape)


def is_run(path: Path) -> bool:
    """Returns whether a run was begun in this directory."""
    return (path / MANIFEST).exists()


def _block_name(block: range) -> str:
    return f"block-{block.start:010d}-{block.stop:010d}.npz"


def _make(path: Path) -> None:
    """Creates a directory, and checks that it holds nothing but a run."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        strangers = [entry.name for entry in os.scandir(path) if not entry.name.startswith(".")]
    except OSError as error:
        raise InputValueError(f"cannot write to `{path}`: {error.strerror or error}.") from error
    if strangers and not is_run(path):  # checked again, since another process may have begun the run
        raise InputValueError(
            f"`{path}` holds files that are not of a run, for example `{strangers[0]}`; name another directory."
        )
