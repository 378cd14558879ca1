"""A parabolic trap filled with a smooth random field."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Array, Facts, Landscape, Stop
from jaxgd.landscapes import checks
from jaxgd.landscapes.one_dimensional import stationary_facts


def gaussian_field(dim: int = 2, *, m: float = 0.6, num_features: int | None = None, seed: int = 0) -> Landscape:
    """Returns one draw of a Gaussian random field in a parabolic trap.

        value(x) = m/2 |x|^2 + V(x),    E V(x) V(y) = dim exp(-|x - y|^2 / (2 dim)).

    For m > 1 there is one stationary point in the limit of many dimensions, for m < 1 exponentially many.
    The mean number over draws is E |det(m + V'')| / m^dim; for m = 0.6 it is 2.439 (1.719 of them minima) in
    one dimension, 3.848 (2.190) in two, 5.538 (2.621) in three.

    V is a sum of random plane waves, V(x) = sqrt(2 dim / F) sum_f cos(k_f . x + phase_f), with k_f ~ N(0,
    1/dim) and uniform phases: exact in covariance, Gaussian up to corrections of order 1/F.

    Starts are N(0, (2/m)^2) in every coordinate, twice as wide as the stationary points lie.

    Args:
      dim: number of coordinates, at least 1.
      m: curvature of the trap over the critical one, above 0.
      num_features: number of plane waves F, at least 1; None takes 500 for each dimension.
      seed: which draw of the field; the same in every session and precision.

    Example:
      >>> field = gaussian_field(dim=1, seed=2)
      >>> field.facts.num_critical_points == 2 * field.facts.num_minima - 1
      True

    References:
      Fyodorov, Physical Review Letters 92, 240601 (2004); Bray and Dean, Physical Review Letters 98, 150201
      (2007); Rahimi and Recht, Advances in Neural Information Processing Systems 20 (2007), for the plane
      waves.
    """
    dim = checks.integer("dim", dim, at_least=1)
    m = checks.real("m", m, above=0)
    num_features = 500 * dim if num_features is None else checks.integer("num_features", num_features, at_least=1)
    rng = np.random.default_rng(checks.integer("seed", seed, at_least=0))
    waves = rng.standard_normal((num_features, dim)) / np.sqrt(dim)
    phases = rng.uniform(0, 2 * np.pi, num_features)
    height = float(np.sqrt(2 * dim / num_features))

    def value_and_grad(x: Array) -> tuple[Array, Array]:
        wavevectors = jnp.asarray(waves, x.dtype)
        angles = wavevectors @ x + jnp.asarray(phases, x.dtype)
        value = m / 2 * jnp.sum(x**2) + height * jnp.sum(jnp.cos(angles))
        return value, m * x - height * (jnp.sin(angles) @ wavevectors)

    return Landscape(
        name="gaussian_field",
        value=lambda x: value_and_grad(x)[0],
        sample=lambda key: 2 / m * jax.random.normal(key, (dim,)),
        value_and_grad=value_and_grad,
        facts=_facts_of_a_line(m, waves[:, 0], phases, height) if dim == 1 else None,
        default_optimizer="sgd:learning_rate=0.1",
        default_stop=Stop(gradient_norm=1e-8, max_steps=20_000),
    )


def _facts_of_a_line(m: float, waves: np.ndarray, phases: np.ndarray, height: float) -> Facts:
    angles = lambda x: np.multiply.outer(x, waves) + phases
    furthest = height * float(np.sum(np.abs(waves))) / m
    return stationary_facts(
        "roots of the slope, bracketed on a grid of 10,000 cells",
        lambda x: m / 2 * x**2 + height * np.sum(np.cos(angles(x))),
        lambda x: m * x - height * np.sin(angles(x)) @ waves,
        lambda x: m - height * np.cos(angles(x)) @ waves**2,
        (-furthest, furthest),
    )
