"""When a verdict is right, undecided or wrong: one rule for every trial.

The truth about an end is the inertia of the critical point beside it: how many eigenvalues of the Hessian are negative,
positive and zero, and the dimension of the manifold of critical points through it. A verdict claims as much: `index`
negative eigenvalues, `num_zero_modes` that are zero or cannot be told, all others positive. It is

- *wrong* where it claims more of either sign than there are, a dimension that is not that of the manifold, or a
  critical point where there is none beside the end (or the function is not smooth);
- *undecided* where it claims less, or nothing;
- *right* otherwise, and where it claims nothing because there is nothing to be claimed.

So `degenerate` at a minimum whose smallest curvature could not be told from zero is undecided, `minimum` at x^4 is
wrong (its curvature is zero), and on a circle of minima both `degenerate` and a minimum of dimension 1 are right.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from jaxgd import Points, Verdict

CRITICAL = [int(Verdict[name]) for name in ("MINIMUM", "SADDLE", "MAXIMUM", "DEGENERATE")]


class Outcome(IntEnum):
    """How a verdict compares with the truth."""

    RIGHT = 0
    UNDECIDED = 1
    WRONG = 2


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What is true of ends; arrays with one leading axis of ends, or single numbers for all of them.

    Attributes:
      is_critical: whether there is a critical point beside the end at which the function is smooth.
      num_negative: negative eigenvalues there.
      num_positive: positive ones; the others are exactly zero.
      dimension: of the manifold of critical points through it; 0 where it is isolated.
    """

    is_critical: Any = True
    num_negative: Any = 0
    num_positive: Any = 0
    dimension: Any = 0


def minimum(size: int, dimension: int = 0) -> Truth:
    """Returns the truth about a minimum among `size` parameters, isolated or on a manifold of minima."""
    return Truth(num_positive=size - dimension, dimension=dimension)


NOTHING = Truth(is_critical=False)
"""The truth where there is no critical point, or where the function is not smooth."""


def claimed(points: Points) -> np.ndarray:
    """Returns (n,) whether the verdict says that a critical point was found."""
    return np.isin(np.asarray(points.verdict), CRITICAL)


def dimension(points: Points) -> np.ndarray:
    """Returns (n,) the dimension that was claimed, -1 where none was."""
    known = getattr(points, "dimension", None)
    if known is None:  # not in this version
        return np.where(np.asarray(points.num_zero_modes) == 0, 0, -1)
    return np.asarray(known)


def outcomes(points: Points, truth: Truth, size: int) -> np.ndarray:
    """Returns (n,) the `Outcome` of each verdict.

    Args:
      points: judged points.
      truth: about each of them.
      size: number of parameters.

    Example:
      >>> import jax, jax.numpy as jnp, jaxgd
      >>> bowl = jaxgd.Landscape(value=lambda x: jnp.sum(x**2), sample=lambda key: jax.random.normal(key, (2,)))
      >>> outcomes(jaxgd.classify(bowl, jnp.zeros((1, 2))), minimum(2), 2).tolist()
      [0]
    """
    is_claimed, claimed_dimension = claimed(points), dimension(points)
    index, num_zero = np.asarray(points.index), np.asarray(points.num_zero_modes)
    verdict, num_positive = np.asarray(points.verdict), size - index - num_zero

    claims_too_much = (index > truth.num_negative) | (num_positive > truth.num_positive)
    claims_shape = (verdict != int(Verdict.DEGENERATE)) & (claimed_dimension >= 0)
    claims_too_much |= claims_shape & (claimed_dimension != truth.dimension)
    claims_all = (index == truth.num_negative) & (num_positive == truth.num_positive)

    return np.select(
        [
            is_claimed & ~np.asarray(truth.is_critical),
            ~np.asarray(truth.is_critical),
            ~is_claimed,
            claims_too_much,
            claims_all,
        ],
        [Outcome.WRONG, Outcome.RIGHT, Outcome.UNDECIDED, Outcome.WRONG, Outcome.RIGHT],
        Outcome.UNDECIDED,
    )
