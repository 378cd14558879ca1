"""Radii within which a true critical point must lie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from jaxgd import Landscape
from jaxgd.points.certificate import certify

WELL = Landscape(value=lambda x: jnp.sum((x**2 - 1) ** 2) / 4, sample=lambda key: jax.random.normal(key, (3,)))


@pytest.mark.parametrize(
    "third_derivative", [9.0, pytest.param(None, marks=pytest.mark.slow)], ids=["given", "estimated"]
)
def test_true_points_lie_within_the_radius_and_alone(third_derivative):
    offsets = np.random.default_rng(0).normal(size=(40, 3)) * np.geomspace(1e-9, 0.3, 40)[:, None]
    exact = np.where(np.arange(120).reshape(40, 3) % 5 < 4, 1.0, 0.0)
    found = certify(WELL, jnp.asarray(exact + offsets), third_derivative=third_derivative)
    assert found.is_estimated == (third_derivative is None)
    holds = found.holds()
    assert holds[:25].all()
    assert not holds[-1]
    distance = np.linalg.norm(offsets, axis=1)
    assert np.all(distance[holds] <= found.radius[holds])
    assert np.all(found.radius[holds] <= 3 * distance[holds] + 1e-12)
    assert np.all(found.unique_radius[holds] < 1)  # the next critical point is at distance 1
    assert np.all(np.isinf(found.radius[~holds]))


@pytest.mark.slow
def test_across_a_symmetry_the_theorem_applies():
    landscape = jaxgd.landscapes.lennard_jones(num_atoms=4)
    ends = jaxgd.descend(landscape, jaxgd.transforms.lbfgs(max_step=0.1), 3, key=jax.random.key(0))
    found = certify(landscape, jaxgd.classify(landscape, ends))
    assert found.holds().all()
    assert np.all(found.radius < 1e-9)


def test_a_singular_hessian_certifies_nothing():
    flat = Landscape(value=lambda x: jnp.sum(x**4), sample=lambda key: jax.random.normal(key, (1,)))
    found = certify(flat, jnp.zeros((1, 1)), third_derivative=1.0)
    assert not found.holds()[0]
    assert np.isinf(found.radius[0])
    assert found.unique_radius[0] == 0


@pytest.mark.parametrize(
    ("points", "third_derivative", "message"),
    [
        (jnp.zeros((0, 3)), None, "at least one point"),
        (jnp.zeros(()), None, "one leading axis"),
        (jnp.zeros((1, 3)), -1.0, "`third_derivative` must be"),
        (jnp.zeros((1, 3)), np.ones(2), "`third_derivative` must be"),
        (jnp.zeros((1, 3)), np.nan, "`third_derivative` must be"),
    ],
)
def test_questions_that_cannot_be_meant_are_refused(points, third_derivative, message):
    with pytest.raises(jaxgd.InputValueError, match=message):
        certify(WELL, points, third_derivative=third_derivative)


@pytest.mark.slow
def test_half_precision_is_certified_in_float32():
    points = jnp.full((2, 3), 0.99, jnp.bfloat16)
    found = certify(WELL, points, third_derivative=9.0)
    exact = certify(WELL, points.astype(jnp.float32), third_derivative=9.0)
    assert np.all(found.holds())
    np.testing.assert_array_equal(found.radius, exact.radius)
