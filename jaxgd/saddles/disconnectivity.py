"""Disconnectivity graphs: which minima can reach each other below which value.

At each of several levels, minima that are joined by saddles at or below the level are one superbasin, a node. From the
highest level down a node splits into those of the level below, until each minimum hangs by a line of its own. What is
drawn follows the field's convention: the vertical axis alone has a meaning, the branch of the lowest minimum stands in
the middle of each split, the others beside it in turn, those with more minima closer to it.

Source: Becker and Karplus, J. Chem. Phys. 106, 1495 (1997).
"""

from typing import Any, NamedTuple

import numpy as np

from jaxgd.base import InputValueError
from jaxgd.checks import check_count
from jaxgd.points.evidence import Rows
from jaxgd.saddles.graph import forest_of
from jaxgd.saddles.network import Network


class Tree(NamedTuple):
    """A disconnectivity graph as lines.

    Attributes:
      place: (num_minima,) horizontal place of each minimum; NaN for those that are left out.
      levels: (num_levels,) values at which superbasins are looked at, rising.
      lines: (num_lines, 2, 2) begin and end of each line, as (place, value).
      minimum: (num_lines,) int64, the lowest minimum below each line.
      is_alone: (num_lines,) bool, whether it is the only one below it.
    """

    place: Rows
    levels: Rows
    lines: Rows
    minimum: Rows
    is_alone: Rows


def disconnectivity(network: Network, *, num_levels: int = 20, highest: float | None = None) -> Tree:
    """Returns the disconnectivity graph of a network as lines.

    Args:
      network: of minima and saddles.
      num_levels: levels at which superbasins are looked at (>= 1), evenly spaced from the lowest minimum on.
      highest: value of the highest one ("Emax"); by default a twentieth above the highest saddle that joins what was
        not joined below it. Minima above it are left out, and so are those that no saddle up to it joins to another.

    Raises:
      InputValueError: `highest` is not above the lowest minimum.
    """
    num_levels = check_count("num_levels", num_levels)
    value, height = network.minima.value.astype(float), network.saddles.value.astype(float)
    forest = forest_of(len(value), network.ends, height)
    if highest is None:
        top = np.max(height[forest.edges], initial=np.max(value))
        highest = float(top + 0.05 * (top - np.min(value)))
    if not (np.isfinite(highest) and highest > np.min(value)):
        raise InputValueError(
            f"`highest` must be finite and above the lowest minimum, {np.min(value):.6g}, got {highest}."
        )
    levels = np.min(value) + (highest - np.min(value)) * np.arange(1, num_levels + 1) / num_levels

    # Which superbasin each minimum is in, at each level.
    basin = np.stack(
        [
            forest_of(len(value), np.where((height <= level)[:, None], network.ends, -1), height).component
            for level in levels
        ]
    )
    sizes = np.bincount(basin[-1])
    shown = np.flatnonzero((value <= highest) & ((sizes[basin[-1]] > 1) | (np.arange(len(value)) == np.argmin(value))))
    place = np.full(len(value), np.nan)
    place[_ordered(basin, shown, value)] = np.arange(len(shown))
    lines: list[Any] = []
    _draw(basin, shown, value, levels, place, lines)
    return Tree(
        place=place,
        levels=levels,
        lines=np.array([line[0] for line in lines]).reshape(-1, 2, 2),
        minimum=np.array([line[1] for line in lines], np.int64),
        is_alone=np.array([line[2] for line in lines], bool),
    )


def _branches(basin: Rows, members: Rows, level: int) -> list[Rows]:
    """Returns the members by their superbasin at a level; those that are above all of it stand alone there."""
    return [members[basin[level, members] == number] for number in np.unique(basin[level, members])]


def _ordered(basin: Rows, members: Rows, value: Rows, level: int | None = None) -> Rows:
    """Returns members from left to right: the branch of the lowest in the middle, others beside it in turn."""
    level = len(basin) - 1 if level is None else level
    while level >= 0 and len(branches := _branches(basin, members, level)) == 1:
        level -= 1
    if level < 0:
        return members[_outward(value[members])]
    lowest = min(range(len(branches)), key=lambda number: np.min(value[branches[number]]))
    others = [branch for number, branch in enumerate(branches) if number != lowest]
    others.sort(key=lambda branch: (-len(branch), np.min(value[branch])))
    left, right = others[1::2], others[0::2]
    return np.concatenate([_ordered(basin, branch, value, level) for branch in [*left[::-1], branches[lowest], *right]])


def _outward(value: Rows) -> Rows:
    order = np.argsort(value, kind="stable")
    return np.concatenate([order[2::2][::-1], order[:1], order[1::2]])


def _draw(basin: Rows, members: Rows, value: Rows, levels: Rows, place: Rows, lines: list[Any]) -> None:
    """Appends the lines of all levels, from the highest one down to the minima."""
    centre = lambda group: float(np.mean(place[group]))
    lowest = lambda group: int(group[np.argmin(value[group])])

    # From the highest level down: groups still joined below it go on to the next one.
    nodes = _branches(basin, members, len(levels) - 1)
    for level in range(len(levels) - 1, -1, -1):
        below: list[Rows] = []
        for node in nodes:
            at = (centre(node), levels[level])
            if len(node) == 1:
                lines.append(((at, (at[0], value[node[0]])), lowest(node), True))
                continue

            # One line for each group into which this one falls apart below the level.
            parts = _branches(basin, node, level - 1) if level else [node[[i]] for i in range(len(node))]
            for part in parts:
                bottom = float(value[part[0]]) if len(part) == 1 else -np.inf
                knee = (centre(part), max(levels[level - 1] if level else bottom, bottom))
                lines.append(((at, knee), lowest(part), len(part) == 1))
                if len(part) > 1:
                    below.append(part)
                elif knee[1] > bottom:
                    lines.append(((knee, (knee[0], bottom)), lowest(part), True))
        nodes = below
