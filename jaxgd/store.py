"""Where the blocks of a survey are kept: in memory or in a run directory. The survey does not know which."""

from collections.abc import Iterable
from typing import Protocol

from jaxgd.base import Ends, Points
from jaxgd.blocks import cut


class Store(Protocol):
    """The interface of a store. Starts are requested in extents, each of which is cut into blocks."""

    @property
    def ends_of_extents(self) -> list[int]:
        """The number of starts requested at first and after each extension."""

    @property
    def blocks(self) -> list[range]:
        """All requested blocks, in order of start number."""

    @property
    def num_done(self) -> int:
        """Number of starts in finished blocks."""

    def extend(self, num_starts: int) -> None:
        """Requests this many starts in total, unless that many were requested already."""

    def next_block(self) -> range | None:
        """Returns an unfinished block, the first one if possible; None if there is none."""

    def give_back(self, block: range) -> None:
        """Returns a block that was taken and will not be finished."""

    def has(self, block: range) -> bool:
        """Returns whether the block is finished."""

    def write(self, block: range, ends: Ends, points: Points) -> None:
        """Stores a finished block."""

    def read(self, block: range) -> tuple[Ends, Points] | None:
        """Returns a finished block; None if it is missing."""


class Memory:
    """Blocks in the memory of this process, each until it is read."""

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._parts: dict[range, tuple[Ends, Points]] = {}
        self._waiting: list[range] = []
        self.ends_of_extents: list[int] = []
        self.blocks: list[range] = []
        self.num_done = 0

    def extend(self, num_starts: int) -> None:
        """Requests more starts."""
        if num_starts > max(self.ends_of_extents, default=0):
            self.ends_of_extents.append(num_starts)
            before, self.blocks = self.blocks, cut(self.ends_of_extents, self._block_size)
            self._waiting += self.blocks[len(before) :]

    def next_block(self) -> range | None:
        """Returns the next block."""
        return self._waiting.pop(0) if self._waiting else None

    def give_back(self, block: range) -> None:
        """Takes a block back."""
        self._waiting = sorted([*self._waiting, block], key=lambda each: each.start)

    def has(self, block: range) -> bool:
        """Returns whether the block is finished and not yet read."""
        return block in self._parts

    def write(self, block: range, ends: Ends, points: Points) -> None:
        """Stores a block until it is read."""
        self._parts[block] = ends, points
        self.num_done += len(block)

    def read(self, block: range) -> tuple[Ends, Points] | None:
        """Returns a block and releases it."""
        return self._parts.pop(block, None)


def num_of(blocks: Iterable[range]) -> int:
    """Returns the number of starts in some blocks."""
    return sum(map(len, blocks))
