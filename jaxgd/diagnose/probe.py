"""Short descents from copies of the point, each with one remedy, on the same batches: what would restore descent?

A single iterate says little about a descent that bounces or is noisy. So every remedy goes on for as many steps as the
others, with the same draws of examples, for several draws; what is compared is the loss of all data, averaged over the
second half of the descent and over the draws.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jax import Array

from jaxgd.base import Key
from jaxgd.diagnose.problem import Objective, Operand, Problem, mean_over, values_along
from jaxgd.diagnose.response import step
from jaxgd.transforms.lbfgs import lbfgs

NUM_LOOKS = 16
"""Times that the loss of all data is looked at in one descent."""

LARGER_BATCH = 32
_SIDE_BY_SIDE_BYTES = 2**26  # of intermediates of all lanes that go side by side


class Remedy(NamedTuple):
    """One thing that is changed.

    Attributes:
      name: in words.
      cause: what is the matter if this helps.
      x: (dim,) where the descent begins.
      state: the optimizer's, in the beginning.
      factor: of every step.
      gradient_scale: of every gradient, divided out of the step again.
      way: "own" optimizer on own batches, "batch" on larger ones, "lbfgs" on all data.
    """

    name: str
    cause: str
    x: Array
    state: Any
    factor: float = 1.0
    gradient_scale: float = 1.0
    way: str = "own"


@dataclass(frozen=True, kw_only=True, eq=False)
class RemedyOutcome:
    """What became of one remedy.

    Attributes:
      name: of the remedy.
      cause: the remedy's.
      gain: by how much the loss fell, on average over the second half and the draws; -inf if it diverged.
      error: 95 % half width of the gain over the draws; 0 where nothing is drawn.
      over_continuing: by how much more than without a remedy.
      over_error: the same, paired by draws.
      progress: by how much the loss falls from the first half to the second, from a straight line through all looks.
      progress_error: 95 % half width of it, from how the looks scatter about the line.
      cost: gradients of single examples, relative to going on as before.
    """

    name: str
    cause: str
    gain: float
    error: float
    over_continuing: float
    over_error: float
    progress: float
    progress_error: float
    cost: float


def run(
    problem: Problem, optimizer: Any, remedies: Sequence[Remedy], value: float, key: Key, num_steps: int, num_draws: int
) -> dict[str, RemedyOutcome]:
    """Returns what becomes of each remedy; the first is to go on as before.

    Args:
      problem: the point and its data.
      optimizer: the user's.
      remedies: to try.
      value: of the loss at the point.
      key: of the draws of examples.
      num_steps: of every descent; a multiple of `NUM_LOOKS` is made of it.
      num_draws: where steps see a part of the data.
    """
    is_drawn = problem.data.batch_size is not None or problem.objective.has_key
    num_draws = num_draws if is_drawn else 1
    keys = jax.random.split(key, num_draws)
    batch_size = problem.data.batch_size
    larger = (
        None
        if batch_size is None or LARGER_BATCH * batch_size >= problem.data.num_examples
        else LARGER_BATCH * batch_size
    )
    ways = {
        "own": (optimizer, batch_size, 1.0),
        "batch": (optimizer, larger, (larger or problem.data.num_examples) / (batch_size or 1)),
        "lbfgs": (LBFGS, None, (problem.data.num_examples or 1) / (batch_size or problem.data.num_examples or 1)),
    }  # fmt: skip
    steps = max(1, num_steps // NUM_LOOKS)
    together = int(np.clip(_SIDE_BY_SIDE_BYTES // max(problem.part_bytes, 64 * problem.dim), 1, len(remedies)))
    losses: dict[str, np.ndarray] = {}
    for way, (own, size, _) in ways.items():
        chosen = [remedy for remedy in remedies if remedy.way == way]
        if chosen:
            lanes = _stacked(chosen, problem.x.dtype)
            found = _descents(
                problem.objective, own, steps, size, together, lanes, keys, problem.operand, problem.data.arrays
            )
            names = [remedy.name for remedy in chosen]
            losses |= dict(zip(names, np.asarray(found, np.float64), strict=True))
    return {
        remedy.name: _outcome(remedy, losses[remedy.name], losses[remedies[0].name], value, ways[remedy.way][2])
        for remedy in remedies
    }


def negative_curvature_step(problem: Problem, direction: Array) -> tuple[Array, float]:
    """Returns the lowest of some points along a direction, both ways, and the loss there."""
    size = float(jnp.linalg.norm(problem.x)) or 1.0
    lengths = size * np.geomspace(1e-3, 1.0, 10)
    both_ways = jnp.asarray(np.concatenate([-lengths, lengths]), problem.x.dtype)
    places = problem.x[None] + both_ways[:, None] * direction[None].astype(problem.x.dtype)
    values = np.asarray(values_along(problem.objective, places, problem.operand), np.float64)
    best = int(np.argmin(np.where(np.isfinite(values), values, np.inf)))
    return places[best], float(values[best])


def redrawn(problem: Problem, how: np.ndarray | float, key: Key, kind: str) -> Array:
    """Returns the point with some coordinates as at a start, or with so much of a start added to all of them.

    At a start weights have variance 1/inputs, and vectors are zero; where vectors are shaken it is by 0.3.

    Args:
      problem: the point.
      how: (dim,) bool, which coordinates to draw anew; or how much to shake by.
      key: of the draw.
      kind: of the model; equinox has outputs first.
    """
    is_shaken = np.ndim(how) == 0
    drawn = []
    for number, leaf in enumerate(problem.objective.leaves(problem.x)):
        noise = jax.random.normal(jax.random.fold_in(key, number), leaf.shape, leaf.dtype)
        outputs = leaf.shape[0 if kind == "equinox" else -1] if leaf.ndim >= 2 else 1
        scale = (outputs / max(leaf.size, 1)) ** 0.5 if leaf.ndim >= 2 else 0.3 * is_shaken
        drawn.append((scale * noise).ravel().astype(problem.x.dtype))
    fresh = jnp.concatenate(drawn)
    return problem.x + how * fresh if is_shaken else jnp.where(jnp.asarray(how), fresh, problem.x)


# ------------------------------------------------------------------------------------------------- helpers

LBFGS = lbfgs(memory_size=8)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _descents(
    objective: Objective, optimizer: Any, steps: int, batch_size: int | None, together: int, lanes: Any, keys: Key,
    operand: Operand, arrays: Any,
) -> Array:  # fmt: skip
    """Returns (remedies, draws, looks) losses of all data."""
    num = 0 if arrays is None else jax.tree.leaves(arrays)[0].shape[0]

    def evaluate(x: Array, key: Key) -> tuple[Array, Array, Any]:
        both = jax.value_and_grad(objective.batch)
        if batch_size is None:
            asked = operand._replace(key=key) if objective.has_key else operand
            return (*mean_over(lambda batch, key: both(x, operand.fixed, batch, key), asked), arrays)
        rows = jax.random.randint(key, (batch_size,), 0, num)
        batch = jax.tree.map(lambda leaf: leaf[rows], arrays)
        return (*both(x, operand.fixed, batch, key), batch)

    def descend(lane: Any, key: Key) -> Array:
        start, state, factor, gradient_scale = lane

        def tick(carry: Any, number: Any) -> Any:
            x, state = carry
            at = jax.random.fold_in(key, number)
            value, gradient, batch = evaluate(x, at)
            move, state = step(
                objective, optimizer, state, x, value, gradient_scale * gradient, operand.fixed, batch, at
            )
            return (x + factor / gradient_scale * move, state), None

        def look(carry: Any, number: Any) -> Any:
            carry, _ = jax.lax.scan(tick, carry, number * steps + jnp.arange(steps))
            return carry, mean_over(lambda batch, key: objective.batch(carry[0], operand.fixed, batch, key), operand)

        return jax.lax.scan(look, (start, state), jnp.arange(NUM_LOOKS))[1]

    each = lambda lane: jax.lax.map(lambda key: descend(lane, key), keys)
    return jax.lax.map(each, lanes, batch_size=together)


def _stacked(remedies: Sequence[Remedy], dtype: Any) -> Any:
    """Returns (x, state, factor, gradient scale) of all remedies, each along a first axis."""
    begin = jax.tree.map(lambda *rows: jnp.stack(rows), *((remedy.x, remedy.state) for remedy in remedies))
    numbers = ([remedy.factor for remedy in remedies], [remedy.gradient_scale for remedy in remedies])
    return (*begin, *(jnp.asarray(each, dtype) for each in numbers))


def _outcome(remedy: Remedy, losses: np.ndarray, before: np.ndarray, value: float, cost: float) -> RemedyOutcome:
    late = lambda rows: np.mean(rows[:, NUM_LOOKS // 2 :], axis=1)
    own, base = late(losses), late(before)
    gain, error = _mean(value - own)
    progress, progress_error = _trend(np.mean(losses, axis=0))
    over, over_error = _mean(np.where(np.isfinite(base), base, np.inf) - own)
    return RemedyOutcome(
        name=remedy.name, cause=remedy.cause, gain=gain, error=error, over_continuing=over, over_error=over_error,
        progress=progress, progress_error=progress_error, cost=cost,
    )  # fmt: skip


def _trend(losses: np.ndarray) -> tuple[float, float]:
    """Returns the fall of (looks,) losses over half their number by a straight line, and the half width of it."""
    if not np.isfinite(losses).all():
        return -np.inf, 0.0
    place = np.arange(len(losses)) - (len(losses) - 1) / 2
    slope = float(place @ losses / (place @ place))
    left = losses - losses.mean() - slope * place
    error = float(np.sqrt(left @ left / (len(losses) - 2) / (place @ place)))
    half = len(losses) / 2
    return -slope * half, float(scipy.stats.t.ppf(0.975, len(losses) - 2)) * error * half


def _mean(each: np.ndarray) -> tuple[float, float]:
    """Returns the mean and the half width of its 95 % interval; of what is not finite -inf."""
    if np.any(np.isnan(each)) or np.any(each == -np.inf):
        return -np.inf, 0.0
    if np.any(each == np.inf):
        return np.inf, 0.0
    num = len(each)
    error = float(scipy.stats.t.ppf(0.975, num - 1) * np.std(each, ddof=1) / np.sqrt(num)) if num > 1 else 0.0
    return float(np.mean(each)), error
