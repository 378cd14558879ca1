"""What searches found, as a record and as a table."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from jaxgd.face import room
from jaxgd.points.catalogue import Catalogue
from jaxgd.points.evidence import Rows
from jaxgd.saddles.eigenvector_following import ANY_INDEX
from jaxgd.statistics import Unseen, unseen_mass

_SENTENCES = {
    "step_limit": "ran out of steps",
    "stuck": "got stuck, going to and fro where the curvature changes its sign",
    "escaped": "escaped: they went farther from their start than `reach`",
    "not_finite": "left the finite range",
    "undecided": "came to no critical point, or to none that could be told",
    "gradient_flat": "came to rest on a gradient in the Hessian's kernel",
    "plateau": "came to rest on a plateau",
}


@dataclass(frozen=True, kw_only=True)
class Search:
    """What searches for critical points found.

    Attributes:
      landscape: name of the landscape.
      start: where the searches began, in words.
      index: the indices that were searched for, in order; None for any.
      num_starts: starts that were used.
      num_asked: starts that were asked for; more than were used where `until` was reached, or after an interruption.
      is_interrupted: whether it was.
      catalogue: the distinct critical points of every index that turned up. Its hits and weights count searches, and
        its `entry` is (num_searches,) the row that each came to, -1 for none.
      searched: (num_searches,) int32, the index that each search was for, -1 for any; start by start.
      outcomes: how many searches came to each verdict, and how many did not arrive, by how they ended.
      unseen: of each index, the probability that one more search for it that arrives finds a new point, and how many
        are missing at least.
      num_steps: steps of all searches, each of them a Hessian with its eigenvectors.
      notes: what a reader should know, a sentence each.
    """

    landscape: str
    start: str
    index: tuple[int, ...] | None
    num_starts: int
    num_asked: int
    is_interrupted: bool
    catalogue: Catalogue
    searched: Rows
    outcomes: Mapping[str, int]
    unseen: Mapping[int, Unseen]
    num_steps: int
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.catalogue)

    def of_index(self, index: int) -> Catalogue:
        """Returns the part of the catalogue that holds the points of one index."""
        return rows_of(self.catalogue, self.catalogue.index == index)

    def plot(self, axis: Any = None) -> Any:
        """Returns an axis with the value of each point against its index; see `jaxgd.plot.value_against_index`."""
        return room("plot").value_against_index(self, axis)

    def __str__(self) -> str:
        return self.table()

    def table(self, max_rows: int = 24) -> str:
        """Returns what was found as a table for a person, the lowest `max_rows` points of it."""
        found = self.catalogue
        what = "any index" if self.index is None else f"index {', '.join(map(str, self.index))}"
        lines = [f"{self.landscape}: {len(self.searched):,} searches for {what}, {self.start}."]
        if self.is_interrupted:
            lines.append(f"Interrupted after {self.num_starts:,} of {self.num_asked:,} starts.")
        lines += ["", *found.rows(max_rows)]
        return "\n".join([*lines, "", *self._sentences()])

    def _sentences(self) -> list[str]:
        """Returns what was found of each index, and what became of the other searches, a sentence each."""
        found, lines = self.catalogue, []
        for index in sorted({*found.index.tolist(), *(self.index or ())}):
            is_wanted = self.index is None or index in self.index
            which = np.flatnonzero(found.index == index)
            if not is_wanted:
                lines.append(f"Index {index}: {len(which):,} distinct, found on the way.")
                continue

            hits = _hits(found, self.searched, index)
            text = f"Index {index}: {len(which):,} distinct, found by {int(np.sum(hits)):,} searches for it."
            if index in self.unseen:
                unseen = self.unseen[index]
                at_least = math.floor(unseen.num_low)
                text += (
                    f" Unseen: one more of these would find a new one with probability {unseen.mass:.2g}"
                    f" ({unseen.mass_low:.2g} to {unseen.mass_high:.2g})"
                ) + (f"; at least {at_least:,} more exist." if at_least else ".")
            lines.append(text)

        if found.num_unjoined:
            lines.append(
                f"{found.num_unjoined:,} of them lie on valleys that were not shown to be connected, so the number of"
                " distinct ones may be smaller."
            )
        lines += [f"{self.outcomes[name]:,} {what}." for name, what in _SENTENCES.items() if name in self.outcomes]
        return [*lines, *found.told_reasons(), *(f"{note[0].upper()}{note[1:]}" for note in self.notes)]


def rows_of(catalogue: Catalogue, which: Rows) -> Catalogue:
    """Returns the catalogue of some of its rows; searches or descents that came to others came to none (-1)."""
    picked = np.flatnonzero(which)
    number = np.full(len(catalogue) + 1, -1, np.int64)
    number[picked] = np.arange(len(picked))
    columns = """
        params value verdict index num_zero_modes num_symmetry_modes dimension placement
        value_error lowest_eigenvalue hits weight weight_low weight_high is_open
    """.split()
    take = lambda leaf: np.asarray(leaf)[picked]
    parts = {name: jax.tree.map(take, getattr(catalogue, name)) for name in columns}
    return replace(catalogue, **parts, entry=number[catalogue.entry])


def unseen_by_index(catalogue: Catalogue, searched: Rows, confidence: float) -> dict[int, Unseen]:
    """Returns what was not seen of each index, by the searches for it that arrived at it."""
    wanted = set(searched.tolist()) | (set(catalogue.index.tolist()) if ANY_INDEX in searched else set())
    return {index: unseen_mass(_hits(catalogue, searched, index), confidence) for index in sorted(wanted - {ANY_INDEX})}


def _hits(catalogue: Catalogue, searched: Rows, index: int) -> Rows:
    """Returns (k,) how many searches for an index came to each of its points; 0 for points of another index."""
    counts = (catalogue.entry >= 0) & ((searched == index) | (searched == ANY_INDEX))
    hits = np.bincount(catalogue.entry[counts], minlength=len(catalogue))
    return np.where(catalogue.index == index, hits, 0)
