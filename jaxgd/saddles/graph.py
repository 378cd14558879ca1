"""Graphs of minima and saddles: spanning forests, lowest paths, and how superbasins merge as the level rises."""

from typing import NamedTuple

import numpy as np

from jaxgd.points.evidence import Rows


class Forest(NamedTuple):
    """The lowest connections of a network."""

    edges: Rows  # (num_edges,) int64, rows of the saddles in it, lowest first
    component: Rows  # (num_minima,) int64, which tree each minimum belongs to, counted from the first minimum on


def forest_of(num_minima: int, ends: Rows, height: Rows) -> Forest:
    """Returns the minimum spanning forest (Kruskal's way): saddles that join what was not joined below them.

    Args:
      num_minima: nodes.
      ends: (num_saddles, 2) nodes that each saddle joins; -1 for unknown.
      height: (num_saddles,) of each.
    """
    root, edges = list(range(num_minima)), []
    for saddle in np.argsort(height, kind="stable"):
        first, second = (_root(root, int(end)) if end >= 0 else -1 for end in ends[saddle])
        if min(first, second) >= 0 and first != second:
            root[max(first, second)] = min(first, second)
            edges.append(int(saddle))
    _, component = np.unique([_root(root, node) for node in range(num_minima)], return_inverse=True)
    return Forest(np.asarray(edges, np.int64), component.reshape(-1).astype(np.int64))


def _root(root: list[int], node: int) -> int:
    while root[node] != node:
        root[node] = root[root[node]]
        node = root[node]
    return node


def path_edges(forest: Forest, ends: Rows, first: int, second: int) -> Rows | None:
    """Returns the saddles on the forest's path between two minima, in order; None where there is none."""
    neighbours: dict[int, list[tuple[int, int]]] = {}
    for saddle in forest.edges.tolist():
        one, other = map(int, ends[saddle])
        neighbours.setdefault(one, []).append((other, saddle))
        neighbours.setdefault(other, []).append((one, saddle))
    came_by: dict[int, tuple[int, int] | None] = {first: None}
    waiting = [first]
    for node in waiting:
        for other, saddle in neighbours.get(node, []):
            if other not in came_by:
                came_by[other] = node, saddle
                waiting.append(other)
    if second not in came_by:
        return None
    path, node = [], second
    while (step := came_by[node]) is not None:
        node, saddle = step
        path.append(saddle)
    return np.asarray(path[::-1], np.int64)
