"""Verdicts by Hessian-vector products, where kind, index and eigenvalues are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from jaxgd import Landscape, Verdict

DIM = 1100
CURVATURE = jnp.linspace(0.5, 20.0, DIM).at[0].set(-1.0).at[1].set(-0.3)


def waves(x):
    """Critical where every coordinate is a multiple of pi/2, with Hessian CURVATURE cos(2x)."""
    return jnp.sum(CURVATURE.astype(x.dtype) * jnp.sin(x) ** 2) / 2


def large(value, dim=DIM):
    return Landscape(value=value, sample=lambda key: jax.random.normal(key, (dim,)))


def beside(points, distance=1e-4):
    return points + distance * jax.random.normal(jax.random.key(3), points.shape, points.dtype)


@pytest.mark.slow
def test_each_kind_of_point_gets_its_verdict_with_its_lowest_eigenvalue():
    turn = np.pi / 2
    exact = jnp.stack(
        [
            jnp.zeros(DIM),
            jnp.zeros(DIM).at[:2].set(turn),
            jnp.full(DIM, turn).at[:2].set(0.0),
        ]
    )
    points = jaxgd.classify(large(waves), beside(exact))
    np.testing.assert_array_equal(points.verdict, [Verdict.SADDLE, Verdict.MINIMUM, Verdict.MAXIMUM])
    np.testing.assert_array_equal(points.index[:2], [2, 0])
    lowest = np.array([-1.0, 0.3, -20.0])
    assert np.all(np.abs(points.lowest_eigenvalue - lowest) <= points.eigenvalue_error + 1e-9)
    assert np.all(points.eigenvalue_error < 0.03 * np.abs(lowest))
    np.testing.assert_allclose(points.params, exact, atol=1e-9)
    assert np.all(points.index_high >= [2, 0, DIM])
    np.testing.assert_array_equal(points.missed_probability, 1e-3)
    assert points.missed_curvature[1] < 0.01 * 20
    assert points.notes == ()


@pytest.mark.slow
def test_beyond_a_dense_hessian_degenerate_and_not_critical_points_are_told_apart():
    bowl = lambda x: jnp.sum(x[1:] ** 2)
    cases = {
        "degenerate": lambda x: bowl(x) + x[0] ** 4,
        "gradient_flat": lambda x: bowl(x) + x[0],
        "undecided": lambda x: bowl(x) + jnp.exp(-10 - x[0]),
    }
    for verdict, value in cases.items():
        points = jaxgd.classify(large(value), beside(jnp.zeros((2, DIM)), 1e-3))
        assert points.verdict_counts() == {verdict: 2}
    nowhere = jaxgd.classify(large(lambda x: jnp.sum(jnp.log(x))), -jnp.ones((1, DIM)))
    assert nowhere.verdict_counts() == {"diverged": 1}


@pytest.mark.slow
def test_verdicts_by_products_are_those_of_the_whole_spectrum(monkeypatch):
    classify = __import__("sys").modules["jaxgd.points.classify"]
    landscape = jaxgd.landscapes.lennard_jones(num_atoms=5)
    ends = jaxgd.descend(landscape, jaxgd.transforms.lbfgs(), 20, key=jax.random.key(0))
    whole = jaxgd.classify(landscape, ends)
    monkeypatch.setattr(classify, "MAX_DENSE_DIM", 1)
    by_products = jaxgd.classify(landscape, ends)
    np.testing.assert_array_equal(by_products.verdict, whole.verdict)
    np.testing.assert_array_equal(by_products.index, whole.index)
    np.testing.assert_array_equal(by_products.num_symmetry_modes, whole.num_symmetry_modes)
    np.testing.assert_allclose(by_products.lowest_eigenvalue, whole.lowest_eigenvalue, rtol=1e-5)


@pytest.mark.slow
def test_a_network_of_2000_parameters_is_at_a_saddle_before_training_and_says_so(key):
    landscape = jaxgd.landscapes.digits_mlp((27,), num_images=200)
    silent = jax.tree.map(lambda leaf: jnp.zeros((1, *leaf.shape)), landscape.sample(key))
    points = jaxgd.classify(landscape, silent)  # critical in the weights, not in the last bias
    assert points.verdict_counts().keys() <= {"saddle", "degenerate", "undecided"}
    if points.verdict[0] == Verdict.SADDLE:
        assert points.index[0] >= 1


@pytest.mark.slow
def test_float32_says_when_it_cannot_tell():
    points = jaxgd.classify(large(lambda x: jnp.sum(x[1:] ** 2) + 1e-7 * x[0] ** 2), jnp.zeros((1, DIM), jnp.float32))
    assert points.verdict[0] in (Verdict.DEGENERATE, Verdict.UNDECIDED)
    assert "float64 may tell" in points.notes[0]
