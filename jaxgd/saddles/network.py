"""The network of minima: which of them each saddle of index 1 joins, and over what barriers.

From a saddle of index 1 two ways lead down, one along each sign of its negative mode. What they end at are the two
minima that the saddle joins; they may be one and the same, and several saddles may join the same two, so that the
network is a multigraph with self-loops. Ways are followed at two accuracies, and are known where both end at one
critical point; a sample of them is audited by the gradient flow.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxgd.base import InputTypeError, InputValueError, Key, Landscape, Progress, Verdict
from jaxgd.checks import check_count, check_key
from jaxgd.face import room
from jaxgd.interrupt import interruptible
from jaxgd.platforms import in_full_precision
from jaxgd.points.catalogue import Catalogue
from jaxgd.points.evidence import Rows
from jaxgd.points.flat import Kind, as_params, as_rows
from jaxgd.points.tally import join_catalogues
from jaxgd.points.units import units_of
from jaxgd.saddles.displaced import lengths_around
from jaxgd.saddles.downhill import COARSE, FINE, PUSH, Descended, downhill_program, negative_mode
from jaxgd.saddles.found import rows_of
from jaxgd.saddles.graph import Forest, forest_of, path_edges
from jaxgd.saddles.judged import DistinctEnds

_TOGETHER = 256  # saddles whose ways down are followed between two reports
_MOST_NODES = 256  # of a way down that is written down


@dataclass(frozen=True, kw_only=True)
class Audit:
    """A sample of ways down, followed once more by the gradient flow.

    Attributes:
      num_ways: that were followed.
      num_unknown: of these, ways whose end the flow itself does not tell.
      num_elsewhere: ways that end at another minimum by the flow.
    """

    num_ways: int
    num_unknown: int
    num_elsewhere: int


@dataclass(frozen=True, kw_only=True)
class Way:
    """A minimum-energy path: ways down from the saddles between two minima, one after the other.

    Attributes:
      minima: (n + 1,) rows of the minima that it passes, both ends included.
      saddles: (n,) rows of the saddles between them.
      params: pytree with leading axis of places along it.
      value: (num_places,) there.
      length: (num_places,) along it, Euclidean.
      piece: (num_places,) which of the saddles each place belongs to. Where the landscape has a symmetry, one piece may
        end at another copy of a minimum than the next begins at: value and length go on, the place jumps to the copy.
    """

    minima: Rows
    saddles: Rows
    params: Any
    value: Rows
    length: Rows
    piece: Rows

    def plot(self, axis: Any = None) -> Any:
        """Returns an axis with the value along the path; see `jaxgd.plot.network.plot_way`."""
        return room("plot.network").plot_way(self, axis=axis)


@dataclass(frozen=True, kw_only=True)
class Network:
    """Minima, and the saddles of index 1 that join them.

    Attributes:
      landscape: that they belong to.
      minima: the known ones and those that ways down came to, lowest first; isolated ones and valleys.
      saddles: of index 1, lowest first.
      ends: (num_saddles, 2) int64, rows of the minima at both ends; -1 where a way down does not tell.
      unknown: why ways down do not tell, and how many.
      num_new: minima that were not among those given.
      log_curvature: (num_minima,) sum of the logarithms of the Hessian's eigenvalues, zero modes left out.
      saddle_log_curvature: (num_saddles,) the same without the negative one.
      negative_curvature: (num_saddles,) that one.
      audit: of a sample by the gradient flow; None where there was none.
      is_interrupted: whether saddles were left out since the run was interrupted.
      notes: what a reader should know, a sentence each.
    """

    landscape: Landscape
    minima: Catalogue
    saddles: Catalogue
    ends: Rows
    unknown: Mapping[str, int]
    num_new: int
    log_curvature: Rows
    saddle_log_curvature: Rows
    negative_curvature: Rows
    audit: Audit | None
    is_interrupted: bool
    notes: tuple[str, ...]

    @property
    def barriers(self) -> Rows:
        """(num_saddles, 2) the saddle's height over each of its minima; NaN where that is unknown."""
        low = np.append(self.minima.value, np.nan)[self.ends]
        return self.saddles.value[:, None] - low

    @property
    def is_loop(self) -> Rows:
        """(num_saddles,) bool, whether a saddle joins a minimum to itself, or to a copy of it by the symmetry."""
        return (self.ends[:, 0] == self.ends[:, 1]) & (self.ends[:, 0] >= 0)

    @property
    def forest(self) -> Forest:
        """The lowest connections: minimum spanning forest of the network."""
        return forest_of(len(self.minima), self.ends, self.saddles.value)

    @property
    def components(self) -> Rows:
        """(num_minima,) int64, minima of one number are joined by known saddles; counted from 0 by lowest minimum."""
        return self.forest.component

    def lowest_passes(self, first: int, second: int) -> Rows:
        """Returns the saddles, in order, of the path between two minima whose highest point is lowest.

        Raises:
          InputValueError: there are no such minima, or nothing joins them.
        """
        for row in (first, second):
            check_count("the row of a minimum", row, low=0, high=len(self.minima))
        passes = path_edges(self.forest, self.ends, first, second)
        if passes is None:
            raise InputValueError(
                f"no known saddles join minimum {first} to minimum {second}; they are in components"
                f" {self.components[first]} and {self.components[second]}. Search for more saddles."
            )
        return passes

    def lowest_barrier(self, first: int, second: int) -> float:
        """Returns how far one has to climb to get from one minimum to another; inf where nothing joins them."""
        check_count("the row of a minimum", first, low=0, high=len(self.minima))
        check_count("the row of a minimum", second, low=0, high=len(self.minima))
        if first == second:
            return 0.0
        passes = path_edges(self.forest, self.ends, first, second)
        return float(np.max(self.saddles.value[passes]) - self.minima.value[first]) if passes is not None else np.inf

    def way(self, first: int, second: int, *, num_nodes: int = 64) -> Way:
        """Returns the minimum-energy path between two minima over their lowest passes, as arrays.

        Args:
          first: row of the minimum to begin at.
          second: row of the minimum to end at.
          num_nodes: places on each of the two ways down from a saddle, at most (2 to 256).

        Raises:
          InputValueError: as `lowest_passes`.
        """
        num_nodes = check_count("num_nodes", num_nodes, low=2, high=_MOST_NODES + 1)
        return _way(self, self.lowest_passes(first, second), first, num_nodes)

    def rates(self, temperature: float, orders: tuple[Any, Any] | None = None) -> Rows:
        r"""Returns (num_saddles, 2) harmonic transition-state rates over each saddle, out of each of its minima.

        $$ k = \frac{h_{min}}{h_{saddle}} \frac{\prod_i \nu_i^{min}}{\prod_i \nu_i^{saddle}} e^{-\Delta V / T},
           \qquad \nu = \sqrt{w} / 2 \pi, $$

        in units where masses and Boltzmann's constant are 1; w are the positive eigenvalues of the Hessian. A loop has
        the rate of each of its two sides. NaN where the end is unknown.

        Args:
          temperature: in units of the value (> 0).
          orders: of the point groups h of minima and of saddles; needed where the landscape has a symmetry, since
            copies of saddles and of minima then differ in number (for clusters by
            `jaxgd.saddles.pathsample.point_group_orders`).

        Raises:
          InputValueError: a temperature that is not positive, or orders that are missing.
        """
        if not (np.isfinite(temperature) and temperature > 0):
            raise InputValueError(f"`temperature` must be positive and finite, got {temperature}.")
        if orders is None and self.landscape.symmetry is not None:
            raise InputValueError(
                "rates on a landscape with a symmetry need the orders of the point groups of minima and saddles; give"
                " `orders`, for clusters by `point_group_orders` of jaxgd.saddles.pathsample."
            )
        of_minima, of_saddles = (np.ones(len(self.minima)), np.ones(len(self.saddles))) if orders is None else orders
        if np.shape(of_minima) != (len(self.minima),) or np.shape(of_saddles) != (len(self.saddles),):
            raise InputValueError("`orders` must be one list for the minima and one for the saddles.")
        pick = lambda column: np.append(np.asarray(column, float), np.nan)[self.ends]
        stiffness = (pick(self.log_curvature) - self.saddle_log_curvature[:, None]) / 2
        copies = pick(of_minima) / np.asarray(of_saddles, float)[:, None]
        return copies * np.exp(stiffness - self.barriers / temperature) / (2 * np.pi)

    def plot(self, **options: Any) -> Any:
        """Returns an axis with the disconnectivity graph; see `jaxgd.plot.network.plot_disconnectivity`."""
        return room("plot.network").plot_disconnectivity(self, **options)

    def to_networkx(self) -> Any:
        """Returns a `networkx.MultiGraph`: minima as nodes, saddles as edges keyed by their row, known ones only.

        Raises:
          InputValueError: networkx is not installed.
        """
        try:
            import networkx
        except ImportError as error:
            raise InputValueError("this needs networkx: pip install networkx.") from error
        graph = networkx.MultiGraph(landscape=self.landscape.name)
        for row in range(len(self.minima)):
            graph.add_node(row, value=float(self.minima.value[row]), hits=int(self.minima.hits[row]))
        for row, (first, second) in enumerate(self.ends.tolist()):
            if first >= 0 and second >= 0:
                graph.add_edge(first, second, key=row, value=float(self.saddles.value[row]))
        return graph

    def __str__(self) -> str:
        return self.table()

    def table(self, max_rows: int = 24) -> str:
        """Returns the network as a table for a person, the lowest `max_rows` saddles of it."""
        name = lambda row: f"{row}" if row >= 0 else "?"
        lines = [f"{'saddle':>6} {'value':>16}  {'joins':>11} {'barriers':>25} {'curvature':>12}"]
        for row in range(min(len(self.saddles), max_rows)):
            first, second = self.ends[row]
            rises = " ".join(f"{rise:>12.6g}" if np.isfinite(rise) else f"{'?':>12}" for rise in self.barriers[row])
            lines.append(
                f"{row:>6} {self.saddles.value[row]:>16.9g}  {name(first):>5} {name(second):>5} {rises}"
                f" {self.negative_curvature[row]:>12.4g}"
            )
        if len(self.saddles) > max_rows:
            lines.append(f"... and {len(self.saddles) - max_rows:,} more")
        return "\n".join([*lines, "", *self._sentences()])

    def _sentences(self) -> list[str]:
        known = np.all(self.ends >= 0, axis=1)
        pairs = np.unique(np.sort(self.ends[known & ~self.is_loop], axis=1), axis=0)
        sizes = np.bincount(self.components, minlength=1)

        lines = [
            f"{self.landscape.name}: {len(self.minima):,} minima, {len(self.saddles):,} saddles of index 1 with"
            f" {int(np.sum(known)):,} pairs of ends known; {int(np.sum(self.is_loop)):,} join a minimum to itself,"
            f" the others {len(pairs):,} different pairs.",
            f"{len(sizes):,} component{'s' if len(sizes) != 1 else ''}, the largest of {int(np.max(sizes)):,} minima.",
        ]

        if self.num_new:
            lines.append(f"{self.num_new:,} minima were found on ways down that were not among those given.")
        lines += [f"{count:,} ways down {what}." for what, count in self.unknown.items()]

        if self.audit is not None:
            audit = self.audit
            lines.append(
                f"Of {audit.num_ways:,} ways down that the gradient flow followed once more, {audit.num_elsewhere:,}"
                f" end at another minimum; of {audit.num_unknown:,} the flow does not tell."
            )
        if self.is_interrupted:
            lines.append("Interrupted: saddles whose ways down were not followed are left out.")
        return [*lines, *(f"{note[0].upper()}{note[1:]}" for note in self.notes)]


@in_full_precision
def network(
    landscape: Landscape,
    minima: Any,
    saddles: Any,
    *,
    key: Key,
    num_audited: int = 8,
    progress: Progress | None = None,
) -> Network:
    """Returns which minima the saddles of index 1 join.

    Args:
      landscape: that both belong to; whole Hessians are formed.
      minima: a catalogue, or a survey or search that holds one; its minima are taken.
      saddles: likewise; its isolated saddles of index 1 are taken. Minima in it count as well.
      key: a key such as `jax.random.key(0)`; it draws the sample of the audit alone.
      num_audited: ways down that the gradient flow follows once more (>= 0); needs diffrax, without which a note says
        that there was no audit.
      progress: called as progress(phase, done, total).

    Returns:
      `Network`; printed, it is a table. After Ctrl-C it holds the saddles whose ways down were followed.

    Raises:
      InputValueError, InputTypeError: the question cannot be run, or there is no saddle of index 1.

    Example:
      >>> import jax, jaxgd
      >>> surface, key = jaxgd.landscapes.mueller_brown(), jax.random.key(0)
      >>> minima = jaxgd.saddles(surface, index=0, num_starts=200, key=key)
      >>> passes = jaxgd.saddles(surface, minima, num_starts=200, key=key)
      >>> joined = jaxgd.network(surface, minima, passes, key=key, num_audited=0)
      >>> joined.ends.tolist(), joined.lowest_barrier(0, 1).__round__(4)
      ([[1, 2], [0, 2]], 106.0347)
    """
    key = check_key(key)
    num_audited = check_count("num_audited", num_audited, low=0)
    held = [_catalogue_of(name, one) for name, one in (("minima", minima), ("saddles", saddles))]
    is_pass = (held[1].verdict == int(Verdict.SADDLE)) & (held[1].index == 1)
    passes = rows_of(held[1], is_pass & (held[1].dimension == held[1].num_symmetry_modes))
    known = [rows_of(one, one.verdict == int(Verdict.MINIMUM)) for one in held]
    if not len(passes):
        raise InputValueError("`saddles` holds no isolated saddle of index 1, so that nothing is joined.")

    x, kind = as_rows(passes.params)
    unit = lengths_around(units_of(landscape, kind), x)
    curvature, mode = negative_mode(landscape, kind)(x, unit)
    starts = np.stack([x + PUSH * mode, x - PUSH * mode], axis=1)
    both = np.repeat(unit[:, None], 2, axis=1)
    judged = DistinctEnds(landscape=landscape, kind=kind, dim=x.shape[1], dtype=x.dtype, confidence=held[0].confidence)
    num_done, report = 0, progress or (lambda phase, done, total: None)
    with interruptible() as told:
        while num_done < len(x) and not told.count:
            some = slice(num_done, min(num_done + _TOGETHER, len(x)))
            followed = [_follow(landscape, kind, starts[some], both[some], share) for share in (FINE, COARSE)]
            for down in followed:
                judged.add(down.x, down.last_step, down.has_arrived)
            num_done = some.stop
            report("descending", num_done, len(x))

    # What ways down came to joins the known minima.
    came = judged.catalogue()
    is_minimum = came.verdict == int(Verdict.MINIMUM)
    parts = [part for part in (*known, rows_of(came, is_minimum)) if len(part)]
    if not parts:
        raise InputValueError("no way down came to a minimum, and none was given.")
    nodes, row = join_catalogues(landscape, parts)
    row_of_minimum = np.full(len(came) + 1, -1, np.int64)
    num_before = sum(map(len, known))
    row_of_minimum[np.flatnonzero(is_minimum)] = row[num_before:]
    ways, why = _ways(came, row_of_minimum, num_done)
    ends = np.sort(np.where(ways >= 0, ways, len(nodes)), axis=1)
    ends = np.where(ends < len(nodes), ends, -1)
    passes = rows_of(passes, np.arange(len(passes)) < num_done)

    notes = [judged.audit(), *judged.points.notes]
    audit = None
    if num_audited and not told.count:
        audit, note = _audited(landscape, kind, starts, ways, nodes, key, num_audited)
        notes.append(note)
    return Network(
        landscape=landscape,
        minima=nodes,
        saddles=passes,
        ends=ends,
        unknown=why,
        num_new=len(nodes) - len(np.unique(row[:num_before])),
        log_curvature=_log_curvature(landscape, nodes),
        saddle_log_curvature=_log_curvature(landscape, passes),
        negative_curvature=curvature[:num_done, 0],
        audit=audit,
        is_interrupted=num_done < len(x),
        notes=tuple(note for note in notes if note),
    )


def _catalogue_of(name: str, held: Any) -> Catalogue:
    found = held if isinstance(held, Catalogue) else getattr(held, "catalogue", None)
    if not isinstance(found, Catalogue):
        raise InputTypeError(f"`{name}` must be a Catalogue, or a Survey or Search that holds one, got {held!r}.")
    return found


def _follow(landscape: Landscape, kind: Kind, starts: Rows, unit: Rows, accuracy: float) -> Descended:
    """Returns where ways down lead from (n, 2, dim) places, saddle by saddle."""
    flatten = lambda rows: rows.reshape(-1, rows.shape[-1])
    far = np.full(2 * len(starts), np.inf, starts.dtype)
    program = downhill_program(landscape, kind)
    found: Descended = program(flatten(starts), flatten(unit), far, np.asarray(accuracy, starts.dtype))
    return found


def _ways(came: Catalogue, row_of_minimum: Rows, num_saddles: int) -> tuple[Rows, dict[str, int]]:
    """Returns (num_saddles, 2) the minima that ways down lead to, -1 if unknown, and why that is."""
    entries = []  # the batches hold fine ways, then coarse ones
    for begin in range(0, num_saddles, _TOGETHER):
        num_ways = 2 * min(_TOGETHER, num_saddles - begin)
        entries.append(came.entry[4 * begin : 4 * begin + 2 * num_ways].reshape(2, num_ways))
    fine, coarse = np.concatenate(entries, axis=1)
    minimum = row_of_minimum[fine]
    reasons = np.select(
        [fine != coarse, fine < 0, minimum < 0],
        [
            "lead elsewhere when they are followed less closely, so that their end is not known",
            "came to no critical point",
            "came to a critical point that is not a minimum",
        ],
        "",
    )
    ways = np.where(reasons == "", minimum, -1)
    return ways.reshape(-1, 2), dict(Counter(reasons[reasons != ""].tolist()))


def _log_curvature(landscape: Landscape, points: Catalogue) -> Rows:
    """Returns (k,) the sum of the logarithms of the positive eigenvalues of the Hessian, zero modes left out."""
    if not len(points):
        return np.zeros(0)
    x, kind = as_rows(points.params)
    curvature, _ = negative_mode(landscape, kind)(x, lengths_around(units_of(landscape, kind), x))

    # The symmetry's modes stand last, raised above all others; any further zero modes are the smallest.
    which = np.arange(x.shape[1])[None, :] < x.shape[1] - points.num_symmetry_modes[:, None]
    size = np.where(which & (np.arange(x.shape[1])[None, :] >= points.index[:, None]), np.abs(curvature), np.inf)
    order = np.sort(size, axis=1)
    num_further = points.num_zero_modes - points.num_symmetry_modes
    counts = (np.arange(x.shape[1])[None, :] >= num_further[:, None]) & np.isfinite(order)
    return np.sum(np.log(np.where(counts, order, 1)), axis=1)


def _audited(
    landscape: Landscape, kind: Kind, starts: Rows, ways: Rows, nodes: Catalogue, key: Key, number: int
) -> tuple[Audit | None, str]:
    """Returns what the gradient flow makes of a sample of the ways down; or a note that says why it was not asked."""
    from jaxgd.flow import gradient_flow  # which needs diffrax
    from jaxgd.points.catalogue import catalogue
    from jaxgd.points.classify import classify

    told = np.flatnonzero(ways.reshape(-1) >= 0)
    sample = np.sort(np.asarray(jax.random.permutation(key, told))[:number])
    if not len(sample):
        return None, ""
    try:
        import diffrax  # noqa: F401
    except ImportError:
        return None, "ways down were not audited by the gradient flow, which needs diffrax: pip install 'jaxgd[flow]'."
    flow = gradient_flow(landscape, key=key, starts=as_params(starts.reshape(-1, starts.shape[-1])[sample], kind))

    entries = []
    for ends in (flow.ends, flow.coarse):
        found = catalogue(landscape, classify(landscape, ends))
        row = join_catalogues(landscape, [nodes, found])[1] if len(found) else np.arange(len(nodes))
        of_node = {int(joined): node for node, joined in enumerate(row[: len(nodes)])}
        of_found = np.array([of_node.get(int(joined), -2) for joined in row[len(nodes) :]] + [-1], np.int64)
        entries.append(of_found[found.entry])

    is_known = (entries[0] == entries[1]) & (entries[0] != -1)
    return Audit(
        num_ways=len(sample),
        num_unknown=int(np.sum(~is_known)),
        num_elsewhere=int(np.sum(is_known & (entries[0] != ways.reshape(-1)[sample]))),
    ), ""


def _way(found: Network, passes: Rows, first: int, num_nodes: int) -> Way:
    """Returns the path over some passes, from a minimum on."""
    landscape = found.landscape
    x, kind = as_rows(jax.tree.map(lambda leaf: np.asarray(leaf)[passes], found.saddles.params))
    minima = [first]
    if not len(passes):
        at = jax.tree.map(lambda leaf: np.asarray(leaf)[[first]], found.minima.params)
        return Way(
            minima=np.array(minima),
            saddles=passes,
            params=at,
            value=found.minima.value[[first]],
            length=np.zeros(1),
            piece=np.zeros(1, np.int64),
        )
    unit = lengths_around(units_of(landscape, kind), x)
    _, mode = negative_mode(landscape, kind)(x, unit)
    starts = np.stack([x + PUSH * mode, x - PUSH * mode], axis=1)
    both = np.repeat(unit[:, None], 2, axis=1)
    down = _follow(landscape, kind, starts, both, FINE)
    program = downhill_program(landscape, kind, _MOST_NODES)
    spacing = down.length / (num_nodes - 1)
    flatten = lambda rows: rows.reshape(-1, rows.shape[-1])
    down = program(flatten(starts), flatten(both), spacing, np.asarray(FINE, x.dtype))

    # Each saddle is climbed from the minimum at hand, and left to the other one.
    places, piece = [], []
    value_at = lambda rows: np.asarray(jax.jit(jax.vmap(landscape.value))(as_params(rows, kind)))
    ends_value = value_at(down.x)
    for number, saddle in enumerate(passes):
        one, other = found.ends[saddle]
        ways = [
            np.concatenate([down.nodes[way][: down.num_nodes[way]], down.x[way][None]])
            for way in (2 * number, 2 * number + 1)
        ]
        gap = np.abs(ends_value[[2 * number, 2 * number + 1]] - found.minima.value[minima[-1]])
        up, away = (0, 1) if gap[0] <= gap[1] else (1, 0)
        minima.append(int(other if one == minima[-1] else one))
        part = np.concatenate([ways[up][::-1], x[number][None], ways[away]])
        places.append(part)
        piece.append(np.full(len(part), number))
    rows = np.concatenate(places)
    step = np.concatenate([np.append(0.0, np.linalg.norm(np.diff(part, axis=0), axis=1)) for part in places])
    return Way(
        minima=np.array(minima),
        saddles=passes,
        params=as_params(rows, kind),
        value=value_at(rows),
        length=np.cumsum(step),
        piece=np.concatenate(piece),
    )
