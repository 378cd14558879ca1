"""A problem of the trial ground, and how its verdicts and its count of points are compared with what is known.

A problem lists its critical points: by their parameters where these are known, else by their values. Its trials are

- every end of a survey with jaxgd's own settings: the truth about it is the listed point that it is beside;
- every listed point with parameters, displaced by as little as a stop rule leaves, judged by itself;
- the number of distinct points in the survey's catalogue, against the number of listed points that were hit.

A verdict that names a critical point which is not listed is wrong, as is one that stands elsewhere than its end.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

import jaxgd
from experiments.verdicts.problems.outcomes import Outcome, Truth, claimed, outcomes
from jaxgd import Verdict

_NEAR = 1e-3  # how far a claimed point may lie from a listed one, in units of the sizes of coordinates
_BESIDE = 1e-3  # how much higher an end may lie than its point, in units of the spread of values among starts
_LEFT = 1e-7  # displacement of listed points, in the same units


@dataclass(frozen=True, kw_only=True)
class Known:
    """A critical point, or a manifold of them.

    Attributes:
      value: the value there.
      negative: number of negative eigenvalues; None where it is not known or not the same all over the manifold.
      dimension: of the manifold of critical points through it.
      zeros: zero eigenvalues; more than `dimension` at a singular point.
      params: the point; None where only its value is known, and on manifolds.
      num: how many distinct points have this value, where the problem says; they are listed once.
    """

    value: float
    negative: int | None = 0
    dimension: int = 0
    zeros: int | None = None
    params: Any = None
    num: int | None = 1


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A function with what is known of its critical points.

    Attributes:
      name: as the source calls it.
      source: where function and facts come from.
      value: the function.
      sample: the law of its starts.
      known: all critical points that descents may end at, or a function that finds them when they are needed.
      num_starts: descents of the survey.
      optimizer: of the survey; jaxgd's default if None.
      stop: of the survey; jaxgd's default if None.
      dtype: "float64" or "float32".
      unit: size of the differences in value that matter, of which known values are told apart to 1e-10.
      can_tell: whether these numbers have the digits to judge the listed points, or a function that says so.
    """

    name: str
    source: str
    value: Any
    sample: Any
    known: tuple[Known, ...] | Callable[[], tuple[Known, ...]]
    num_starts: int = 100
    optimizer: Any = None
    stop: jaxgd.Stop | None = None
    dtype: str = "float64"
    unit: float = 1.0
    can_tell: bool | Callable[[], bool] = True

    @property
    def title(self) -> str:
        """The name, with the precision where it is not double."""
        return self.name + (" (float32)" if self.dtype == "float32" else "")

    def settled(self) -> "Problem":
        """Returns the problem with its facts found."""
        with jax.enable_x64(True):
            known = self.known() if callable(self.known) else self.known
            can_tell = self.can_tell() if callable(self.can_tell) else self.can_tell
        return replace(self, known=known, can_tell=can_tell)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What came of one problem.

    Attributes:
      family: of the problem.
      name: its name.
      right: trials that were right.
      undecided: trials that were left undecided.
      undecided_needlessly: those of them whose answer these numbers have the digits to tell.
      wrong: trials that were wrong.
      details: a sentence on each kind of wrong trial, and on undecided ones.
    """

    family: str
    name: str
    right: int
    undecided: int
    undecided_needlessly: int
    wrong: int
    details: list[str] = field(default_factory=list)

    @property
    def num_trials(self) -> int:
        """How many trials there were."""
        return self.right + self.undecided + self.wrong


def tried(problem: Problem, family: str, *, num_starts: int | None = None, seed: int = 0) -> Row:
    """Returns what jaxgd says of a problem, compared with what is known."""
    problem = problem.settled()
    landscape = jaxgd.Landscape(value=problem.value, sample=problem.sample, name=problem.name)
    with _precision(problem.dtype):
        found = jaxgd.survey(
            landscape,
            problem.optimizer,
            num_starts or problem.num_starts,
            key=jax.random.key(seed),
            stop=problem.stop,
        )
        parts = [_judged(problem, found.points, _rows(found.ends.params), np.asarray(found.ends.value))]
        placed = [known for known in problem.known if known.params is not None]
        if placed:
            ends = _displaced([known.params for known in placed], problem, seed)
            points = jaxgd.classify(landscape, ends)
            parts.append(_judged(problem, points, _rows(ends), np.asarray(jax.vmap(problem.value)(ends))))
    says = np.concatenate([part.outcome for part in parts])
    details = [line for part, where in zip(parts, ("end", "listed point"), strict=False) for line in part.told(where)]
    right_count = _count(problem, found, parts[0])
    if not right_count:
        details.append(f"{len(found.catalogue)} distinct points in the catalogue, {parts[0].num_hit} listed were hit")
    undecided = int(np.sum(says == Outcome.UNDECIDED))
    return Row(
        family=family,
        name=problem.title,
        right=int(np.sum(says == Outcome.RIGHT)) + right_count,
        undecided=undecided,
        undecided_needlessly=undecided if problem.can_tell else 0,
        wrong=int(np.sum(says == Outcome.WRONG)) + (not right_count),
        details=details,
    )


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """Verdicts of one problem with their truth."""

    outcome: np.ndarray
    listed: np.ndarray  # (n,) which known point each was compared with, -1 for none
    num_hit: int  # listed points with a claimed end, counted as often as they are distinct; -1 where that is not known
    points: jaxgd.Points

    def told(self, where: str) -> Iterator[str]:
        """Yields a sentence for each kind of wrong or undecided verdict."""
        for outcome in (Outcome.WRONG, Outcome.UNDECIDED):
            rows = np.flatnonzero(self.outcome == outcome)
            kinds = [(int(self.points.verdict[i]), int(self.points.index[i]), int(self.listed[i])) for i in rows]
            for verdict, index, listed in sorted(set(kinds)):
                those = rows[[kind == (verdict, index, listed) for kind in kinds]]
                truth = f"at listed point {listed}" if listed >= 0 else "where none is listed"
                value = f", for example of value {float(self.points.value[those[0]]):.9g}"
                name = Verdict(verdict).name.lower() + (f" of index {index}" if index >= 0 else "")
                yield f"{outcome.name.lower()}: {len(those)} x {where} {name} {truth}{value}"


def _judged(problem: Problem, points: jaxgd.Points, ends: np.ndarray, end_value: np.ndarray) -> _Judged:
    """Returns the verdicts compared with the listed points beside them."""
    size, says = ends.shape[1], claimed(points)
    at = np.where(says[:, None], _rows(points.params), ends)
    value = np.where(says, np.asarray(points.value, float), end_value)
    looseness = 1e4 if problem.dtype == "float32" else 1.0

    # Which listed point: by coordinates where these are known, else by value, more loosely where nothing is claimed.
    fits = np.zeros((len(ends), len(problem.known)), bool)
    for j, known in enumerate(problem.known):
        within = (1e-6 * abs(known.value) + 1e-10 * problem.unit) * looseness * np.where(says, 1, 1e3)
        fits[:, j] = np.abs(value - known.value) <= within
        if known.params is not None:
            place = _rows(jax.tree.map(lambda leaf: np.asarray(leaf)[None], known.params))
            fits[:, j] &= np.all(np.abs(at - place) <= _NEAR * np.maximum(_sizes(problem), np.abs(place)), axis=1)
    listed = np.where(fits.any(axis=1), fits.argmax(axis=1), -1)
    of = lambda get: np.array([get(known) for known in problem.known])[listed]

    # An end that stands elsewhere than the point is not beside it.
    is_beside = np.abs(end_value - value) <= _BESIDE * _spread(problem)
    zeros = of(lambda known: known.dimension if known.zeros is None else known.zeros)
    negative = of(lambda known: -1 if known.negative is None else known.negative)
    negative = np.where(negative < 0, np.clip(points.index, 0, size - zeros), negative)  # whatever is said
    truth = Truth(
        is_critical=(listed >= 0) & is_beside,
        num_negative=negative,
        num_positive=size - negative - zeros,
        dimension=of(lambda known: known.dimension),
    )
    hit = np.unique(listed[says & (listed >= 0)])
    numbers = [problem.known[j].num if problem.known[j].dimension == 0 else None for j in hit]
    return _Judged(
        outcome=outcomes(points, truth, size),
        listed=np.where(truth.is_critical, listed, -1),
        num_hit=-1 if None in numbers else sum(numbers),
        points=points,
    )


def _count(problem: Problem, found: jaxgd.Survey, judged: _Judged) -> bool:
    """Returns whether there are as many distinct points in the catalogue as listed ones were hit.

    Where several points share a value, not all of them need to have been hit; what is not listed is no matter here, it
    is wrong already.
    """
    entries = found.catalogue.entry
    those = np.unique(entries[(entries >= 0) & (judged.listed >= 0)])
    if judged.num_hit < 0:
        return True
    single = all(problem.known[j].num == 1 for j in np.unique(judged.listed[judged.listed >= 0]))
    return len(those) == judged.num_hit if single else len(those) <= judged.num_hit


def _rows(batch: Any) -> np.ndarray:
    """Returns (n, size) float64 params, one below the other."""
    return np.concatenate([np.asarray(leaf, float).reshape(len(leaf), -1) for leaf in jax.tree.leaves(batch)], axis=1)


def _sizes(problem: Problem) -> np.ndarray:
    """Returns (size,) the spread of each coordinate among starts."""
    return np.maximum(np.std(_rows(_some_starts(problem)), axis=0), 1e-300)


def _spread(problem: Problem) -> float:
    """Returns how far above the lowest listed value starts are."""
    values = np.asarray(jax.vmap(problem.value)(_some_starts(problem)), float)
    return float(np.median(values)) - min(known.value for known in problem.known)


def _some_starts(problem: Problem) -> Any:
    return jax.vmap(problem.sample)(jax.random.split(jax.random.key(0), 16))


def _displaced(places: list[Any], problem: Problem, seed: int) -> Any:
    """Returns a batch of the places, each moved a little."""
    rng, sizes = np.random.default_rng(seed), _sizes(problem)
    rows = np.concatenate([_rows(jax.tree.map(lambda leaf: np.asarray(leaf)[None], place)) for place in places])
    share = _LEFT if problem.dtype == "float64" else 1e-4
    rows = rows + share * np.maximum(sizes, np.abs(rows)) * rng.standard_normal(rows.shape)
    one = jax.eval_shape(problem.sample, jax.random.key(0))
    leaves, treedef = jax.tree.flatten(one)
    cuts = np.cumsum([leaf.size for leaf in leaves])[:-1]
    parts = np.split(rows, cuts, axis=1)
    shaped = [part.reshape(-1, *leaf.shape).astype(leaf.dtype) for part, leaf in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(treedef, shaped)


def _precision(dtype: str) -> contextlib.AbstractContextManager[Any]:
    return jax.enable_x64(dtype == "float64")
