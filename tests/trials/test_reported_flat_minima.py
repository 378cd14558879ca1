"""Reported: saddles at global minima, and minima where curvature is exactly zero.

The evidence belongs to the point that is judged, and what cannot be placed along a flat direction belongs into the
interval of its eigenvalue.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.verdicts.problems import more_garbow_hillstrom, random_inertia
from experiments.verdicts.problems.outcomes import Outcome, Truth, minimum, outcomes
from jaxgd import Landscape, Stop, Verdict, classify


def test_global_minima_of_a_factorisation_are_no_saddles(ask):
    target = jnp.array([[2.0, 1.0], [0.0, 1.0]])
    start = lambda key: dict(zip(["W1", "W2"], jax.random.normal(key, (2, 2, 2)), strict=True))
    loss = lambda p: jnp.sum((p["W2"] @ p["W1"] - target) ** 2)
    found = ask(loss, start, optax.adam(0.02), 300, stop=Stop(gradient_norm=1e-7, max_steps=20_000))
    is_global = np.asarray(found.ends.value) < 1e-13
    assert is_global.sum() > 250
    says = outcomes(found.points, minimum(8, dimension=4), 8)[is_global]  # turned by any invertible 2 x 2 matrix
    assert (says == Outcome.RIGHT).all()


def test_points_exactly_on_a_valley_of_value_zero_are_minima_of_its_dimension(look):
    """Here the gradient, the value and what is left of both are rounding."""
    half = np.exp(np.random.default_rng(0).standard_normal((100, 3)))
    points = look(lambda p: jnp.sum((p["a"] * p["b"] - 1) ** 2), {"a": half, "b": 1 / half})
    says = outcomes(points, minimum(6, dimension=3), 6)
    assert not (says == Outcome.WRONG).any()
    assert (says == Outcome.RIGHT).mean() > 0.95


def rotation(v):
    """Rodrigues' formula."""
    angle = jnp.sqrt(jnp.sum(v**2) + 1e-16)
    x, y, z = v / angle
    cross = jnp.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return jnp.eye(3) + jnp.sin(angle) * cross + (1 - jnp.cos(angle)) * cross @ cross


@pytest.mark.slow
def test_global_minima_of_rotation_averaging_are_no_saddles(ask):
    true = jax.vmap(rotation)(jax.random.normal(jax.random.key(9), (4, 3)))
    measured = jnp.einsum("iab,jcb->ijac", true, true)

    def value(v):
        found = jax.vmap(rotation)(v)
        return jnp.sum((jnp.einsum("iab,jcb->ijac", found, found) - measured) ** 2)

    found = ask(value, lambda key: jax.random.normal(key, (4, 3)), None, 200)
    is_global = np.asarray(found.ends.value) < 1e-12
    assert is_global.sum() > 50
    says = outcomes(found.points, minimum(12, dimension=3), 12)[is_global]  # all may be turned together
    assert not (says == Outcome.WRONG).any()
    assert (says == Outcome.RIGHT).mean() > 0.95


@pytest.mark.parametrize("sign", [1, pytest.param(-1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("dim", [pytest.param(1, marks=pytest.mark.slow), 5, pytest.param(20, marks=pytest.mark.slow)])
def test_a_rotated_flat_direction_is_a_zero_mode(dim, sign, look):
    rng = np.random.default_rng(dim)
    turn, centre = np.linalg.qr(rng.standard_normal((dim, dim)))[0], rng.standard_normal(dim)
    curvature = np.append(0.0, rng.uniform(0.5, 2.0, dim - 1))

    def value(x):
        z = turn @ (x - centre)
        return curvature @ z**2 / 2 + sign * 0.7 * z[0] ** 4

    ends = centre + 1e-3 * rng.standard_normal((20, 1)) * turn[0] + 1e-8 * rng.standard_normal((20, dim))
    points = look(value, ends)
    assert (outcomes(points, Truth(num_positive=dim - 1), dim) == Outcome.RIGHT).all()
    assert (np.abs(points.lowest_eigenvalue) <= points.eigenvalue_error).all()


@pytest.mark.parametrize(
    "centre", [pytest.param(0.0, marks=pytest.mark.slow), 1.0, pytest.param(100.0, marks=pytest.mark.slow)]
)
def test_a_translation_changes_neither_verdict_nor_count(centre, ask):
    start = lambda key: centre + jax.random.normal(key, (2,))
    found = ask(lambda x: jnp.sum((x - centre) ** 4) + (x[0] - centre) ** 2, start, None, 200)
    assert found.points.verdict_counts() == {Verdict.DEGENERATE.name.lower(): 200}
    assert len(found.catalogue) == 1


@pytest.mark.parametrize("setting", random_inertia.SETTINGS[:2], ids=str)
def test_quartic_points_are_told_though_noise_of_other_modes_stops_newton_short_of_them(setting):
    batch = random_inertia.batch(8, setting, 200, seed=(0, 0, 8))
    says = outcomes(classify(batch.landscape, batch.ends), batch.truth, batch.size)[batch.kind == "quartic"]
    assert len(says) == 20
    assert (says == Outcome.RIGHT).sum() >= 18
    assert not (says == Outcome.WRONG).any()


def test_a_point_is_not_called_degenerate_if_its_faint_curvature_would_put_it_far_away():
    """Brown's almost linear function in float32: curvature 0.018 of 238, and a gradient that is half noise."""

    def value(x):
        return jnp.sum((x[:-1] + jnp.sum(x) - 11) ** 2) + (jnp.prod(x) - 1) ** 2

    along = np.append(-np.ones(9), 10.0)
    ends = (1 + np.array([[-0.002], [0.0005], [0.001], [0.0017]]) * along).astype(np.float32)
    with jax.enable_x64(False):
        points = classify(Landscape(value=value, sample=lambda key: jax.random.normal(key, (10,)) / 2 + 0.5), ends)
    assert (points.verdict == int(Verdict.UNDECIDED)).all()


@pytest.fixture
def settled(ask):
    """The survey of a problem of More, Garbow and Hillstrom (1981), by its title."""

    def survey(title):
        (problem,) = (problem for problem in more_garbow_hillstrom.problems() if problem.title == title)
        return ask(problem.value, problem.sample, problem.optimizer, problem.num_starts, stop=problem.stop)

    return survey


@pytest.mark.parametrize(
    ("title", "value", "least"), [("Penalty I", 2.24997750089e-5, 65), ("Penalty II", 9.376293007e-6, 45)]
)
def test_ends_in_a_bent_valley_are_led_to_its_minimum_or_undecided(settled, title, value, least):
    """Along the valley Newton's steps raise the gradient across it; ends 1e-3 away were called degenerate points."""
    found = settled(title)
    assert set(found.points.verdict_counts()) <= {"minimum", "plateau", "undecided"}
    assert found.points.verdict_counts()["minimum"] >= least
    assert len(found.catalogue) == 1
    np.testing.assert_allclose(found.catalogue.value, value, rtol=1e-6)


@pytest.mark.parametrize(("title", "num_zeros"), [("Powell singular", 2), ("Extended Powell", 6)])
def test_a_singular_point_at_zero_is_smooth_and_one(settled, title, num_zeros):
    """Near zero gradients are so exact that their rounding over a distance passed for a kink."""
    found = settled(title)
    assert found.points.verdict_counts() == {"degenerate": 100}
    assert (found.points.num_zero_modes == num_zeros).all()
    assert len(found.catalogue) == 1
