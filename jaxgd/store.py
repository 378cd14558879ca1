"""Where the blocks of a survey are kept. The survey does not know which store it has: memory, or a run directory."""

from collections.abc import Iterable
from typing import Protocol

from jaxgd.base import Ends, Points
from jaxgd.blocks import cut


class Store(Protocol):
    """What a survey asks of a store. Starts are asked for in extents, each of which is cut into blocks."""

    @property
    def ends_of_extents(self) -> list[int]:
        """How many starts were asked for at first and after each extension."""

    @property
    def blocks(self) -> list[range]:
        """All blocks that were asked for, in order of start number."""

    @property
    def num_done(self) -> int:
        """Starts of the blocks that are there."""

    def extend(self, num_starts: int) -> None:
        """Asks for so many starts in all, unless that many were asked for already."""

    def take(self) -> range | None:
        """Returns a block that nobody has done yet, the first one if possible; None where there is none."""

    def give_back(self, block: range) -> None:
        """Says that a block that was taken will not be done."""

    def has(self, block: range) -> bool:
        """Returns whether the block was done."""

    def write(self, block: range, ends: Ends, points: Points) -> None:
        """Keeps a block that was done."""

    def read(self, block: range) -> tuple[Ends, Points] | None:
        """Returns a block; None where it is not there."""


class Memory:
    """Blocks that stay in this process, each until it is read."""

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._parts: dict[range, tuple[Ends, Points]] = {}
        self._waiting: list[range] = []
        self.ends_of_extents: list[int] = []
        self.blocks: list[range] = []
        self.num_done = 0

    def extend(self, num_starts: int) -> None:
        """Asks for more starts."""
        if num_starts > max(self.ends_of_extents, default=0):
            self.ends_of_extents.append(num_starts)
            before, self.blocks = self.blocks, cut(self.ends_of_extents, self._block_size)
            self._waiting += self.blocks[len(before) :]

    def take(self) -> range | None:
        """Returns the next block."""
        return self._waiting.pop(0) if self._waiting else None

    def give_back(self, block: range) -> None:
        """Takes a block back."""
        self._waiting = sorted([*self._waiting, block], key=lambda each: each.start)

    def has(self, block: range) -> bool:
        """Returns whether the block waits to be read."""
        return block in self._parts

    def write(self, block: range, ends: Ends, points: Points) -> None:
        """Keeps a block until it is read."""
        self._parts[block] = ends, points
        self.num_done += len(block)

    def read(self, block: range) -> tuple[Ends, Points] | None:
        """Returns a block, and forgets it."""
        return self._parts.pop(block, None)


def num_of(blocks: Iterable[range]) -> int:
    """Returns how many starts some blocks hold."""
    return sum(map(len, blocks))
