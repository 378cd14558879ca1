"""Reported: optima that do not depend on the length of a vector were plateaus. They are minima, judged across it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.verdicts.problems.outcomes import Outcome, minimum, outcomes
from jaxgd import Stop

MATRIX = jnp.diag(jnp.array([1.0, 2.0, 4.0])) + 0.3


def rayleigh(x):
    return x @ MATRIX @ x / (x @ x)


def direction(x):
    return jnp.sum((x / jnp.linalg.norm(x) - jnp.array([0.6, 0.8, 0.0])) ** 2)


def weight_norm(p):
    x = jnp.array([[1.0, 0.3], [-0.5, 1.0], [0.2, -0.7], [1.5, 1.1]])
    y = x @ jnp.array([0.7, -1.2])
    return jnp.mean((p["scale"] * (x @ p["v"]) / jnp.linalg.norm(p["v"]) - y) ** 2)


def vector(key):
    return jax.random.normal(key, (3,))


CASES = {
    "direction": (direction, vector, 3),
    "rayleigh quotient": (rayleigh, vector, 3),
    "weight norm": (
        weight_norm,
        lambda key: {"v": jax.random.normal(key, (2,)), "scale": jax.random.normal(jax.random.fold_in(key, 1))},
        3,
    ),
}


@pytest.mark.parametrize(
    "name", ["rayleigh quotient", *(pytest.param(n, marks=pytest.mark.slow) for n in ("direction", "weight norm"))]
)
def test_the_optimum_of_a_scale_invariant_function_is_a_ray_of_minima(name, ask):
    value, start, size = CASES[name]
    found = ask(value, start, None, 100, stop=Stop(gradient_norm=1e-6))
    best = float(np.linalg.eigvalsh(MATRIX)[0]) if name == "rayleigh quotient" else 0.0
    at_best = np.abs(found.ends.value - best) < 1e-9
    assert at_best.mean() > 0.9
    says = outcomes(found.points, minimum(size, dimension=1), size)[at_best]
    assert (says == Outcome.RIGHT).mean() > 0.95
    assert not (says == Outcome.WRONG).any()
