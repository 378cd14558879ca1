"""Reported: critical points of functions that have none, because one unit of length served for all coordinates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.verdicts.problems.outcomes import Outcome, claimed, minimum, outcomes


def normal(key):
    return jax.random.normal(key, (2,))


@pytest.mark.parametrize(("scale", "double"), [(1e-4, True), (1e-2, False)], ids=["float64", "float32"])
def test_a_slope_beside_a_steep_valley_is_no_critical_point(scale, double, ask):
    with jax.enable_x64(double):
        found = ask(lambda p: (p[0] / scale) ** 2 + p[1], normal, None, 40)
    assert not claimed(found.points).any()  # its gradient is 1 everywhere
    assert len(found.catalogue) == 0


def test_the_wall_of_a_steep_valley_is_no_critical_point(look):
    value = lambda p: (p[0] / 1e-4) ** 2 + p[1] ** 2
    assert not claimed(look(value, [[0.0, 1.0], [0.0, -0.3]])).any()
    at_bottom = look(value, [[0.0, 0.0], [1e-12, 1e-7]])
    assert (outcomes(at_bottom, minimum(2), 2) == Outcome.RIGHT).all()


def test_a_descent_to_infinity_ends_at_no_critical_point(ask):
    found = ask(lambda p: jnp.exp(-p[0]) + 100 * p[1] ** 2, normal, None, 40)
    assert not claimed(found.points).any()


def test_separable_logistic_regression_has_no_critical_point(ask):
    x = jnp.array([[0.5, 1.0], [1.5, 0.4], [2.0, 1.7], [-0.6, -1.0], [-1.2, -0.5], [-2.0, -1.0]])
    y = jnp.array([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])
    loss = lambda p: jnp.mean(jnp.log1p(jnp.exp(-y * (x @ p["w"] + p["b"]))))
    found = ask(loss, lambda key: {"w": jax.random.normal(key, (2,)), "b": jnp.zeros(())}, None, 100)
    assert not claimed(found.points).any()


def test_a_gaussian_of_tiny_amplitude_is_fitted_or_undecided(ask):
    t = jnp.linspace(0.0, 1.0, 50)
    shape = lambda p: p["amplitude"] * jnp.exp(-((t - p["centre"]) ** 2) / (2 * p["width"] ** 2))
    true = {"amplitude": 1e-8, "centre": 0.45, "width": 0.1}

    def start(key):
        u = jax.random.uniform(key, (3,), minval=0.6, maxval=1.6)
        return {name: true[name] * u[i] for i, name in enumerate(true)}

    found = ask(lambda p: jnp.sum((shape(p) - shape(true)) ** 2), start, None, 60)
    says = claimed(found.points)
    for name, at in true.items():
        np.testing.assert_allclose(np.abs(found.points.params[name][says]), at, rtol=1e-3)  # the width is squared
