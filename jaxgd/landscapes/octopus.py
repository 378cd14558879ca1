"""A chain of saddles that costs plain gradient descent exponentially many steps, and a perturbed one few."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Array, Facts, InputValueError, KnownPoint, Landscape, Stop
from jaxgd.landscapes import checks

MAX_LISTED_DIM = 8
"""Up to this dimension all 2^(dim + 1) - 1 critical points are listed as facts; beyond, one of each kind."""


def octopus(
    dim: int = 5, *, steepness: float = 1.0, gamma: float = 1.0, tau: float = math.e, half_width: float = 1.0
) -> Landscape:
    """Returns the octopus of Du et al.: from saddle to saddle, one coordinate after the other.

    With L = steepness, and with i the first coordinate that has |x_i| < 2 tau,

        value(x) = sum_{j < i} (L (|x_j| - 4 tau)^2 - nu) + arm(|x_i|, x_{i+1}) + sum_{j > i} L x_j^2,
        arm = -gamma x_i^2                                            where |x_i| <= tau,
        arm = g1(|x_i|) + (g2(|x_i|) - L) x_{i+1}^2                   where tau <= |x_i| < 2 tau,
        g1(x) = -gamma x^2 + tau^2 ((10 gamma - 14 L) u^3 / 3 + (5 L - 3 gamma) u^4 / 2),  u = x / tau - 1,
        g2(x) = -gamma - (L + gamma) (10 u^3 + 15 u^4 + 6 u^5),  u = x / tau - 2,

    with nu = 4 L tau^2 - g1(2 tau). The 2^dim minima lie at (+-4 tau, ..., +-4 tau), value -dim nu; setting
    the last k >= 1 coordinates to zero gives a saddle of index 1, value -(dim - k) nu.

    While one coordinate moves out, the next ones shrink towards zero, so each escape starts closer to its
    saddle: with gradient descent the escape times grow by the factor
    1 + ln(1 / (1 - 2 eta L)) / ln(1 + 2 eta gamma), 2.71 for L = gamma = 1 and eta = 1/4. In float32 a
    waiting coordinate is exactly 0 after 126 to 149 such steps, and stays there.

    Starts are uniform on [-half_width, half_width]^dim.

    Args:
      dim: number of coordinates, at least 1.
      steepness: L, half the curvature of the walls, at least `gamma`.
      gamma: half the curvature of the way down, above 0.
      tau: a quarter of the distance from a saddle to the next, above 0.
      half_width: half the side of the box of starts, above 0 and at most `tau`.

    Example:
      >>> arms = octopus(dim=2)
      >>> corner = arms.facts.points[0]
      >>> print(f"{float(arms.value(jnp.asarray(corner.params))) / corner.value:.4f}")
      1.0000

    References:
      Du, Jin, Lee, Jordan, Poczos and Singh, Advances in Neural Information Processing Systems 30 (2017),
      arXiv:1705.10412.
    """
    dim = checks.integer("dim", dim, at_least=1)
    gamma = checks.real("gamma", gamma, above=0)
    wall = checks.real("steepness", steepness, above=0)
    tau = checks.real("tau", tau, above=0)
    half_width = checks.real("half_width", half_width, above=0)
    if wall < gamma:
        raise InputValueError(f"`steepness` must be at least `gamma` = {gamma:g}, got {wall:g}.")
    if half_width > tau:
        raise InputValueError(f"`half_width` must be at most `tau` = {tau:g}, got {half_width:g}.")

    def outward(x: Array | float) -> Array | float:
        u = x / tau - 1
        bend = (10 * gamma - 14 * wall) / 3 * u**3 + (5 * wall - 3 * gamma) / 2 * u**4
        return -gamma * x**2 + tau**2 * bend

    def next_curvature(x: Array) -> Array:
        u = x / tau - 2
        return -gamma - (wall + gamma) * (10 * u**3 + 15 * u**4 + 6 * u**5)

    drop = 4 * wall * tau**2 - float(outward(2 * tau))

    def value(x: Array) -> Array:
        size = jnp.abs(x)
        is_out = jnp.cumprod((size >= 2 * tau).astype(x.dtype))  # 1 before the active coordinate, 0 from there on
        before = jnp.concatenate([jnp.ones((1,), x.dtype), is_out[:-1]])
        is_active = before - is_out
        after = jnp.concatenate([x[1:], jnp.zeros((1,), x.dtype)])
        turning = outward(size) + (next_curvature(size) - wall) * after**2
        arm = jnp.where(size <= tau, -gamma * size**2, turning)
        settled = wall * (size - 4 * tau) ** 2 - drop
        waiting = wall * x**2
        return jnp.sum(is_out * settled + is_active * arm + (1 - before) * waiting)

    signs = (1.0, -1.0) if dim <= MAX_LISTED_DIM else (1.0,)
    points = tuple(
        KnownPoint(
            value=-num_out * drop,
            index=int(num_out < dim),
            params=4 * tau * np.array([*corner, *[0.0] * (dim - num_out)]),
        )
        for num_out in range(dim, -1, -1)
        for corner in itertools.product(signs, repeat=num_out)
    )
    return Landscape(
        name="octopus",
        value=value,
        sample=lambda key: jax.random.uniform(key, (dim,), minval=-half_width, maxval=half_width),
        facts=Facts(
            source="Du et al. 2017, arXiv:1705.10412; pieces joined as there",
            points=points,
            num_minima=2**dim,
            num_critical_points=2 ** (dim + 1) - 1,
            max_learning_rate=1 / wall,
        ),
        default_optimizer=f"sgd:learning_rate={0.25 / wall:g}",
        default_stop=Stop(gradient_norm=1e-8, max_steps=20_000),
    )
