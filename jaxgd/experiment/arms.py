"""An arm of an experiment: an optimizer whose rate was tuned, and what it then did on starts of its own.

One sweep runs every rate from all starts. The first `num_tuning` starts choose the rate, by the least mean cost over
them; only the others are reported, so that no arm is praised for the luck it was chosen by.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax

from jaxgd.base import Array, Ends, InputValueError, Key, Landscape, Params, Stop
from jaxgd.sweep import sweep

CostOf = Callable[[Ends], Any]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A tuned optimizer and its ends.

    Attributes:
      rate: the chosen value of the tuned hyperparameter.
      ends: of the starts that were not tuned on, at that rate.
      rates: (k,) all that were tried.
      costs: (k,) mean cost of each over the tuning starts; inf where one was not finite.
    """

    rate: float
    ends: Ends
    rates: np.ndarray
    costs: np.ndarray

    @property
    def is_inside(self) -> bool:
        """Whether the chosen rate lies inside the range that was tried, not at its edge."""
        return self.rates.min() < self.rate < self.rates.max()


def tuned(
    landscape: Landscape,
    builder: Callable[..., optax.GradientTransformation],
    num_starts: int,
    *,
    rates: Sequence[float] | np.ndarray,
    key: Key,
    stop: Stop | None = None,
    num_tuning: int = 16,
    cost: CostOf | None = None,
    name: str = "learning_rate",
    **how: Any,
) -> Arm:
    """Returns the ends of `num_starts` descents at the rate that did best on `num_tuning` others.

    Args:
      landscape: what to descend.
      builder: maps the rate to an optimizer; it must take traced scalars.
      num_starts: descents to report (>= 1).
      rates: the values to choose from.
      key: arms with the same key have the same starts and noise.
      stop: as in `descend`.
      num_tuning: descents to choose by (>= 1).
      cost: maps ends to a cost for each; the exact value of the landscape at the ends if None.
      name: what the builder calls the rate.
      **how: further arguments of `sweep`, those of the builder included.

    Example:
      >>> import jax.numpy as jnp
      >>> bowl = Landscape(value=lambda x: jnp.sum(x**2) / 2, sample=lambda key: jax.random.normal(key, (2,)))
      >>> arm = tuned(bowl, optax.sgd, 5, rates=[0.1, 1.0, 3.0], key=jax.random.key(0), stop=Stop(max_steps=5))
      >>> arm.rate, len(arm.ends), float(arm.ends.value.max())
      (1.0, 5, 0.0)
    """
    if num_tuning < 1 or num_starts < 1:
        raise InputValueError(f"`num_starts` and `num_tuning` must be at least 1, got {num_starts} and {num_tuning}.")
    cost = cost or (lambda ends: values_at(landscape, ends.params))
    asked: dict[str, Any] = {name: rates} | how
    found = sweep(landscape, builder, num_tuning + num_starts, key=key, stop=stop, **asked)
    with np.errstate(over="ignore", invalid="ignore"):  # an arm may overflow: that is a cost of inf
        means = [float(np.mean(np.asarray(cost(ends[:num_tuning]), float))) for ends in found.ends]
    costs = np.where(np.isfinite(means), means, np.inf)
    best = int(np.argmin(costs))
    rate = found.settings[best][name]
    return Arm(rate=rate, ends=found.ends[best][num_tuning:], rates=np.asarray(rates, float), costs=costs)


def values_at(landscape: Landscape, params: Params) -> Array:
    """Returns the landscape's exact values at a batch of params, with one leading axis, as numpy."""
    return np.asarray(jax.jit(jax.vmap(landscape.value))(params))


def ticks_to(ends: Ends, event: str) -> np.ndarray:
    """Returns the step at which an event first fired in each descent, inf where it did not."""
    steps = np.asarray(ends.event_steps[event])
    return np.where(steps >= 0, steps, np.inf)
