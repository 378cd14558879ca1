"""How far gradients of single batches lie from the gradient of all data, and which coordinates no example moves.

For batches of b examples drawn at random with replacement the gradient has variance tr(S)/b, with S the covariance of
the gradients of single examples. A step on b examples has the signal-to-noise ratio |g|^2 b / tr(S), which is one at
b = tr(S)/|g|^2, the critical batch size (McCandlish et al., An Empirical Model of Large-Batch Training, 2018).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jax import Array

from jaxgd.base import Key
from jaxgd.diagnose.problem import Objective, Problem

NUM_SAMPLES, SAMPLE_SIZE = 64, 4


class Samples(NamedTuple):
    """Gradients of random batches at the point.

    Attributes:
      trace: tr(S), the variance of the gradient of one example, all coordinates together.
      low: lower limit of it at 95 %.
      high: upper limit.
      spread: (dim,) standard deviation of each coordinate over the batches.
      norms: (n,) of the batches' gradients, scaled to a training batch's size where that is known.
      loss_spread: standard deviation of the loss of one example, about.
    """

    trace: float
    low: float
    high: float
    spread: np.ndarray
    norms: np.ndarray
    loss_spread: float


def gradient_samples(problem: Problem, gradient: Array, key: Key) -> Samples | None:
    """Returns what gradients of random batches say; None where there are no examples to draw."""
    num = problem.data.num_examples
    if num < 2:
        return None
    size = min(SAMPLE_SIZE, num)
    rows = jax.random.randint(key, (NUM_SAMPLES, size), 0, num)
    distances, spread, losses = (
        np.asarray(found, np.float64)
        for found in _samples(
            problem.objective, problem.x, gradient, problem.operand.fixed, problem.data.arrays, rows, key
        )
    )
    each = size * distances  # about the variance of one example
    trace, error = float(np.mean(each)), float(np.std(each, ddof=1) / np.sqrt(NUM_SAMPLES))
    reach = float(scipy.stats.t.ppf(0.975, NUM_SAMPLES - 1)) * error
    norm = float(jnp.linalg.norm(gradient))
    factor = size / (problem.data.batch_size or num)
    return Samples(
        trace=trace, low=max(trace - reach, 0.0), high=trace + reach, spread=spread,
        norms=np.sqrt(norm**2 + factor * distances), loss_spread=float(np.sqrt(size) * np.std(losses, ddof=1)),
    )  # fmt: skip


@functools.partial(jax.jit, static_argnums=0)
def _samples(
    objective: Objective, x: Array, gradient: Array, fixed: list[Array], arrays: Any, rows: Array, key: Key
) -> tuple[Array, Array, Array]:
    """Returns (n,) squared distances from the gradient, (dim,) spreads, (n,) losses."""

    def add(carry: Any, row: Any) -> Any:
        first, total, squares = carry
        number, places = row
        batch = jax.tree.map(lambda leaf: leaf[places], arrays)
        loss, found = jax.value_and_grad(objective.batch)(x, fixed, batch, jax.random.fold_in(key, number))
        # measured from the first, so that coordinates which never change have a spread of exactly zero
        first = jnp.where(number == 0, found, first)
        away = found - first
        return (first, total + away, squares + away**2), (jnp.sum((found - gradient) ** 2), loss)

    zeros = jnp.zeros_like(x)
    num = len(rows)
    (_, total, squares), (distances, losses) = jax.lax.scan(add, (zeros, zeros, zeros), (jnp.arange(num), rows))
    return distances, jnp.sqrt(jnp.maximum(squares / num - (total / num) ** 2, 0)), losses
