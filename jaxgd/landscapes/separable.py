"""Sums of one function over the coordinates: a critical point is a choice of one stationary point for each.

    value(x) = sum_i f(x_i).

With a minima and b maxima of f there are a^d minima in d dimensions, (a + b)^d critical points, and
binomial(d, k) a^(d-k) b^k of index k. Saddles outnumber minima exponentially. Coordinates do not talk to each
other: with gradient descent and independent starts each ends in its own basin independently.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Array, Facts, KnownPoint, Landscape, Stop
from jaxgd.landscapes import checks
from jaxgd.landscapes.one_dimensional import DOUBLE_WELL_DERIVATIVES, double_well, stationary_facts

MAX_LISTED_POINTS = 1000
"""Up to so many critical points are all listed as facts; beyond, only the lowest is."""


def product_double_well(dim: int = 2, *, half_width: float = 2.0) -> Landscape:
    """Returns a double well in every coordinate: 2^dim minima of equal value, 3^dim critical points.

        value(x) = sum_i (x_i^4 / 4 - x_i^2 / 2).

    Minima at (+-1, ..., +-1), value -dim/4; a critical point with k coordinates at 0 has index k and value
    (k - dim) / 4. Starts are uniform on [-half_width, half_width]^dim; by symmetry each minimum has the basin
    weight 2^-dim under every optimizer that treats left and right alike.

    Args:
      dim: number of coordinates, at least 1.
      half_width: half the side of the box of starts, above 0.

    Example:
      >>> product_double_well(dim=3).facts.num_critical_points
      27
    """
    facts = stationary_facts("roots of x^3 - x", double_well, *DOUBLE_WELL_DERIVATIVES, (-2.0, 2.5))
    return _separable("product_double_well", double_well, dim, facts, half_width, "sgd:learning_rate=0.1")


def styblinski_tang(dim: int = 2, *, half_width: float = 5.0) -> Landscape:
    """Returns the Styblinski-Tang function: 2^dim minima, 3^dim critical points.

        value(x) = 1/2 sum_i (x_i^4 - 16 x_i^2 + 5 x_i).

    In each coordinate a minimum at -2.90353403 (value -39.1661657, curvature 34.583), one at 2.74680277
    (-25.0294467, 29.270), and a maximum at 0.15673126. From uniform starts on [-5, 5]^dim and learning rates
    below 0.007, which never step over the maximum, a coordinate goes left with probability 0.515673. Larger
    steps mix the basins.

    Args:
      dim: number of coordinates, at least 1.
      half_width: half the side of the box of starts, above 0.

    Example:
      >>> print(f"{styblinski_tang(dim=2).facts.points[0].value:.4f}")
      -78.3323

    References:
      Styblinski and Tang, Neural Networks 3, 467 (1990).
    """
    value = lambda x: (x**4 - 16 * x**2 + 5 * x) / 2
    facts = stationary_facts(
        "roots of 4x^3 - 32x + 5",
        value,
        lambda x: (4 * x**3 - 32 * x + 5) / 2,
        lambda x: 6 * x**2 - 16,
        (-5.0, 5.0),
    )
    return _separable("styblinski_tang", value, dim, facts, half_width, "sgd:learning_rate=0.005")


def rastrigin(dim: int = 2) -> Landscape:
    """Returns the Rastrigin function: 11^dim minima and 21^dim critical points in the box of its starts.

        value(x) = sum_i (10 + x_i^2 - 10 cos(2 pi x_i)),    starts uniform on [-5.12, 5.12]^dim.

    Minima lie close to the integers, the lowest at 0 with value 0 and curvature 396.8. Outside the box there
    are more (the slope vanishes out to |x_i| = 10 pi); a learning rate below 0.0050 does not get there.

    Args:
      dim: number of coordinates, at least 1.

    Example:
      >>> rastrigin(dim=3).facts.num_minima
      1331
    """
    facts = stationary_facts(
        "roots of x + 10 pi sin(2 pi x) in the box [-5.12, 5.12]^dim; there are more outside",
        lambda x: _rastrigin(x, np.cos),
        lambda x: 2 * x + 20 * np.pi * np.sin(2 * np.pi * x),
        lambda x: 2 + 40 * np.pi**2 * np.cos(2 * np.pi * x),
        (-5.12, 5.12),
    )
    return _separable("rastrigin", _rastrigin, dim, facts, 5.12, "sgd:learning_rate=0.002")


def rugged_bowl(dim: int = 2, *, ruggedness: float = 10.0, half_width: float = 5.0) -> Landscape:
    """Returns a bowl of curvature 1 with bumps one unit apart, whose size can be turned up from nothing.

        value(x) = sum_i (x_i^2 / 2 + ruggedness / (2 pi)^2 (1 - cos(2 pi x_i))).

    The curvature lies between 1 - ruggedness and 1 + ruggedness. The origin, value 0, is the only critical point
    up to ruggedness 4.603 = sqrt(1 + t^2), t = tan t = 4.493; beyond, minima appear in pairs out to |x_i| =
    ruggedness / (2 pi). Starts are uniform on [-half_width, half_width]^dim.

    Args:
      dim: number of coordinates, at least 1.
      ruggedness: largest curvature of the bumps, above 0.
      half_width: half the side of the box of starts, above 0.

    Example:
      >>> [rugged_bowl(dim=1, ruggedness=r).facts.num_minima for r in (0.9, 9.0, 90.0)]
      [1, 3, 29]
    """
    rugged = checks.real("ruggedness", ruggedness, above=0)
    wave = 2 * math.pi
    furthest = rugged / wave + 0.5
    facts = stationary_facts(
        "roots of x + ruggedness / (2 pi) sin(2 pi x)",
        lambda x: x**2 / 2 + rugged / wave**2 * (1 - np.cos(wave * x)),
        lambda x: x + rugged / wave * np.sin(wave * x),
        lambda x: 1 + rugged * np.cos(wave * x),
        (-furthest, furthest),
    )
    value = lambda x: x**2 / 2 + rugged / wave**2 * (1 - jnp.cos(wave * x))
    rate = 0.5 / (1 + rugged)
    return _separable("rugged_bowl", value, dim, facts, half_width, f"sgd:learning_rate={rate:.3g}")


def _rastrigin(x: Any, cos: Callable[[Any], Any] = jnp.cos) -> Any:
    return 10 + x**2 - 10 * cos(2 * math.pi * x)


def _separable(
    name: str, of_one: Callable[[Any], Any], dim: int, facts: Facts, half_width: float, optimizer: str
) -> Landscape:
    dim = checks.integer("dim", dim, at_least=1)
    half_width = checks.real("half_width", half_width, above=0)

    def sample(key: jax.Array) -> Array:
        return jax.random.uniform(key, (dim,), minval=-half_width, maxval=half_width)

    return Landscape(
        name=name,
        value=lambda x: jnp.sum(of_one(x)),
        sample=sample,
        facts=_power(facts, dim),
        default_optimizer=optimizer,
        default_stop=Stop(gradient_norm=1e-8, max_steps=20_000),
    )


def _power(facts: Facts, dim: int) -> Facts:
    """Returns the facts of a sum over `dim` coordinates from those of one, points by rising value."""
    assert facts.num_minima is not None
    assert facts.num_critical_points is not None
    by_value = sorted(facts.points, key=lambda point: point.value)
    num_points = facts.num_critical_points**dim
    choices = itertools.product(by_value, repeat=dim) if num_points <= MAX_LISTED_POINTS else [by_value[:1] * dim]
    points = [
        KnownPoint(
            value=sum(one.value for one in chosen),
            index=sum(one.index for one in chosen),
            params=np.array([one.params for one in chosen]),
        )
        for chosen in choices
    ]
    return replace(
        facts,
        points=tuple(sorted(points, key=lambda point: point.value)),
        num_minima=facts.num_minima**dim,
        num_critical_points=num_points,
    )
