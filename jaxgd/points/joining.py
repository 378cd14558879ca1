"""Which critical points lie on one valley: those between which walks were shown.

Points of equal value, verdict, index and dimension may lie on one valley. Each of them asks for a walk to the nearest
other one, then each set that was joined does, until nothing is left to ask for (Boruvka's way to a spanning tree):
most walks are short, and points of one valley need little more than one walk each. Sets that could not be joined are
explored by walks straight ahead, in both directions, and what these pass counts as further points of the set.

What was joined is shown. What was not may be another valley, or the same by a way that was not found: it is said to be
open, and a count of valleys is an upper bound.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import jax
import numpy as np

from jaxgd.base import Landscape, Points, Verdict
from jaxgd.points.evidence import Rows
from jaxgd.points.flat import as_rows, at_least_single, flat
from jaxgd.points.newton import take
from jaxgd.points.sameness import _alike, _runs
from jaxgd.points.units import lengths_at, units_of, value_scale_at
from jaxgd.points.valley_walks import Ground, Like, walk_on, walk_to

_MANY = 256  # points of a family that are joined with each other; the rest is attached to these
_PATIENCE = 5  # walks that a set asks for in vain
_MAX_ROUNDS = 64
_TRIES = 3  # sets to which a further point may be attached
_SAFETY = 4.0  # on errors of values
_ON_VALLEYS = (int(Verdict.MINIMUM), int(Verdict.SADDLE), int(Verdict.MAXIMUM))
_MAX_EXPLORED = 8  # sets of a family
_MAX_TURNS, _TURNS_IN_VAIN = 8, 2  # of walks straight ahead from each of these sets
_STEPS_AHEAD = 48
_LENGTH_AHEAD = 0.25  # units of length


class Joined(NamedTuple):
    """Which points lie on one valley; arrays with one leading axis of points."""

    valley: Rows  # int64, points of one number lie on one valley
    is_open: Rows  # bool, another valley was neither joined with this one nor shown to be another


def join_valleys(landscape: Landscape, points: Points) -> Joined:
    """Returns which of the distinct critical points lie on one valley, as far as walks show it."""
    valley, is_open = np.arange(len(points.value)), np.zeros(len(points.value), bool)
    which = np.flatnonzero(
        np.isin(points.verdict, _ON_VALLEYS) & (points.dimension > np.maximum(points.num_symmetry_modes, 0))
    )
    families = [which[family] for family in _families(points, which)]
    for dimension in np.unique(points.dimension[which]):
        some = [family for family in families if points.dimension[family[0]] == dimension]
        if some:
            walker = _Walker.of(landscape, points, np.concatenate(some), int(dimension))
            bounds = np.cumsum([0, *map(len, some)])
            labels = _labels(walker, [np.arange(*ends) for ends in pairwise(bounds)])
            for family, begin in zip(some, bounds[:-1], strict=True):
                of_family = labels[begin : begin + len(family)]
                valley[family] = family[of_family - begin]
                is_open[family] = len(np.unique(of_family)) > 1
    return Joined(valley, is_open)


def _families(points: Points, which: Rows) -> list[Rows]:
    """Returns the sets of several points that may lie on one valley, by their places in `which`."""
    if len(which) < 2:
        return []
    kind = np.stack([points.verdict, points.index, points.dimension], axis=1)[which]
    value, error = np.asarray(points.value, np.float64)[which], _SAFETY * np.nan_to_num(points.value_error[which])
    families = [family for members in _alike(kind) for family in _runs(members, value, error)]
    return [family for family in families if len(family) > 1]


class _Walker(NamedTuple):
    """Walks between numbered nodes."""

    ground: Ground
    x: Rows  # (n, dim)
    unit: Rows  # (n, dim) of length
    off: Rows  # (n, dim) how far off the points may be
    like: Like  # what every place on a walk from each has to be like

    @classmethod
    def of(cls, landscape: Landscape, points: Points, which: Rows, dimension: int) -> "_Walker":
        """Returns the walker whose nodes are some of the points."""
        x, kind = as_rows(jax.tree.map(lambda leaf: at_least_single(leaf)[which], points.params))
        off = as_rows(jax.tree.map(lambda leaf: at_least_single(leaf)[which], points.placement))[0]
        units, value = units_of(landscape, kind), np.asarray(points.value, x.dtype)[which]
        like = Like(
            value=value,
            value_error=np.nan_to_num(points.value_error[which]).astype(x.dtype),
            height=value_scale_at(units, value).astype(x.dtype),
            num_negative=points.index[which],
        )
        ground = Ground(flat(landscape, kind), units, dimension)
        return cls(ground, x, lengths_at(units, x), np.nan_to_num(off).astype(x.dtype), like)

    def shows(self, pairs: Rows) -> Rows:
        """Returns (n,) whether the walk between each of (n, 2) pairs of nodes was shown."""
        begin, end = pairs.T
        return walk_to(self.ground, self.x[begin], self.x[end], self.off[end], take(self.like, begin))

    def with_ways_ahead(self, begin: Rows, draw: np.random.Generator) -> tuple["_Walker", Rows]:
        """Returns a walker whose further nodes lie on walks straight ahead, and from which node each of these came."""
        some = draw.standard_normal((len(begin), self.x.shape[1])).astype(self.x.dtype)
        begin, directions = np.concatenate([begin, begin]), np.concatenate([some, -some])
        steps = [
            (begin[ahead.which[ahead.step.is_shown]], ahead.step.places.x[ahead.step.is_shown])
            for ahead in walk_on(
                self.ground, self.x[begin], lambda _: directions, take(self.like, begin), _STEPS_AHEAD, _LENGTH_AHEAD
            )
        ]
        source = np.concatenate([np.zeros(0, np.int64), *(of for of, _ in steps)])
        x = np.concatenate([self.x, *(places for _, places in steps)])
        add = lambda leaf: np.concatenate([leaf, leaf[source]])
        return _Walker(self.ground, x, add(self.unit), add(self.off), Like(*map(add, self.like))), source


@dataclass
class _Family:
    """Nodes that may lie on one valley, and which of them were joined."""

    nodes: Rows  # (m,) numbers
    apart: Rows  # (m, m) how far off each is, infinite where nothing is to be asked
    label: Rows  # (m,) the first node, by place, of the set that was joined
    asked: Rows  # (m,) walks in vain of the set with this label

    @classmethod
    def of(cls, walker: _Walker, nodes: Rows, label: Rows) -> "_Family":
        """Returns a family some of whose nodes are known to be joined."""
        apart = _distances(walker, nodes, nodes)
        apart[label[:, None] == label[None, :]] = np.inf
        return cls(nodes, apart, label, np.zeros(len(nodes), np.int64))

    def wishes(self) -> list[tuple[int, int]]:
        """Returns pairs of nodes, by place, between which the sets ask for walks."""
        nearest = np.argmin(self.apart, axis=1)
        distance = self.apart[np.arange(len(nearest)), nearest]
        order = np.lexsort((distance, self.label))
        first = order[np.unique(self.label[order], return_index=True)[1]]
        first = first[np.isfinite(distance[first]) & (self.asked[self.label[first]] < _PATIENCE)]
        return sorted({(min(i, nearest[i]), max(i, nearest[i])) for i in first.tolist()})

    def learn(self, i: int, j: int, is_shown: bool) -> None:
        """Takes in whether the walk between two nodes was shown."""
        one, other = sorted((self.label[i], self.label[j]))
        if one == other:
            return
        ones, others = self.label == one, self.label == other
        if is_shown:
            self.label[others] = one
            self.apart[np.ix_(ones | others, ones | others)] = np.inf
            self.asked[one] = 0
        else:
            self.apart[i, j] = self.apart[j, i] = np.inf
            self.apart[np.ix_(ones, others)] *= 2  # a third set may be the better one to ask
            self.apart[np.ix_(others, ones)] *= 2
            self.asked[[one, other]] += 1


def _labels(walker: _Walker, families: list[Rows]) -> Rows:
    """Returns of each node the number of the first node that was joined with it."""
    draw = np.random.default_rng(0)
    chosen = [np.sort(draw.permutation(nodes)[:_MANY]) for nodes in families]
    label = np.arange(len(walker.x))
    _join(walker, chosen, label)

    # What is more than many is attached to what was joined.
    rest = [np.setdiff1d(nodes, some) for nodes, some in zip(families, chosen, strict=True)]
    if any(map(len, rest)):
        _attach(walker, chosen, rest, label)

    _explore(walker, families, label)
    return label


def _join(walker: _Walker, families: list[Rows], label: Rows) -> None:
    """Joins nodes of each family by walks between the nearest; changes their labels."""
    known = [_Family.of(walker, nodes, _places(nodes, label)) for nodes in families]
    for _ in range(_MAX_ROUNDS):
        wishes = [(family, *pair) for family in known for pair in family.wishes()]
        if not wishes:
            break
        shown = walker.shows(np.array([(family.nodes[i], family.nodes[j]) for family, i, j in wishes]))
        for (family, i, j), is_shown in zip(wishes, shown.tolist(), strict=True):
            family.learn(i, j, is_shown)
    for family in known:
        label[family.nodes] = family.nodes[family.label]


def _places(nodes: Rows, label: Rows) -> Rows:
    """Returns labels of nodes as places among them."""
    _, first, inverse = np.unique(label[nodes], return_index=True, return_inverse=True)
    return first[inverse]


def _attach(walker: _Walker, chosen: list[Rows], rest: list[Rows], label: Rows) -> None:
    """Attaches further nodes to joined ones by a walk each to the nearest of a set, a few sets one after the other."""
    waiting, ways = np.concatenate(rest), []
    for others, nodes in zip(rest, chosen, strict=True):
        _, inverse = np.unique(label[nodes], return_inverse=True)
        for node in others:
            apart = _distances(walker, np.array([node]), nodes)[0]
            nearest = np.lexsort((apart, inverse))[np.unique(np.sort(inverse), return_index=True)[1]]
            ways.append(nodes[nearest[np.argsort(apart[nearest])]][:_TRIES])
    for count in range(_TRIES):
        asks = [i for i, way in enumerate(ways) if len(way) > count and label[waiting[i]] == waiting[i]]
        if asks:
            goals = np.array([ways[i][count] for i in asks])
            shown = walker.shows(np.stack([waiting[asks], goals], axis=1))
            label[waiting[asks][shown]] = label[goals[shown]]


def _explore(walker: _Walker, families: list[Rows], label: Rows) -> None:
    """Joins what is still apart by the help of walks straight ahead, from other members each time."""
    draw, in_vain = np.random.default_rng(1), np.zeros(len(families), int)
    for _ in range(_MAX_TURNS):
        apart = [_largest_sets(label[nodes]) for nodes in families]
        asks = [i for i, sets in enumerate(apart) if len(sets) > 1 and in_vain[i] < _TURNS_IN_VAIN]
        if not asks:
            break
        members = [families[i][label[families[i]] == one] for i in asks for one in apart[i].tolist()]
        explored, source = walker.with_ways_ahead(np.array([draw.choice(some) for some in members]), draw)
        new = np.arange(len(walker.x), len(explored.x))
        labels = np.concatenate([label, label[source]])
        _join(explored, [np.concatenate([apart[i], new[np.isin(label[source], apart[i])]]) for i in asks], labels)

        # The sets' first nodes stand for them.
        label[:] = labels[label]
        for i in asks:
            in_vain[i] = 0 if len(np.unique(label[apart[i]])) < len(apart[i]) else in_vain[i] + 1


def _largest_sets(label: Rows) -> Rows:
    """Returns the labels of the largest sets, these first."""
    sets, sizes = np.unique(label, return_counts=True)
    return sets[np.argsort(-sizes, kind="stable")][:_MAX_EXPLORED]


def _distances(walker: _Walker, nodes: Rows, others: Rows) -> Rows:
    """Returns (m, n) how far nodes lie from others, in units of length."""
    unit = np.median(walker.unit[others], axis=0)
    x, y = (walker.x[some].astype(np.float64) / unit for some in (nodes, others))
    return np.stack([np.linalg.norm(y - one, axis=1) for one in x])
