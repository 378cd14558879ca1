"""Plain minima: claimed only where the Hessian there is positive definite, with an interval that holds its lowest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd import landscapes
from jaxgd.points.flat import Flat, as_rows, flat
from jaxgd.points.minima import plain_minima

DIM = 12
LOWEST = {
    "plain": 1e-2,
    "pair": None,
    "multiple": None,
    "slightly negative": -1e-9,
    "negative": -1e-3,
    "steeply negative": -50.0,
    "zero": 0.0,
    "hardly positive": 1e-11,
}


def flat_functions(value, dim, generators=None):
    return Flat(
        value=value,
        gradient=jax.grad(value),
        evaluate=jax.value_and_grad(value),
        generators=generators,
        is_free=np.ones(dim, bool),
    )


def matrices_of(kind, number):
    """Returns symmetric matrices with lowest eigenvalues as `LOWEST` says, the others between 0.1 and 1,000."""
    draw = np.random.default_rng(list(LOWEST).index(kind))
    found = []
    for _ in range(number):
        vectors = np.linalg.qr(draw.standard_normal((DIM, DIM)))[0]
        eigenvalues = np.sort(10 ** draw.uniform(-1, 3, DIM))
        if kind == "pair":
            eigenvalues[1] = eigenvalues[0] * (1 + 1e-9)
        elif kind == "multiple":
            eigenvalues[:3] = eigenvalues[0]
        else:
            eigenvalues[0] = LOWEST[kind]
        found.append((vectors * eigenvalues) @ vectors.T)
    return (np.array(found) + np.swapaxes(found, 1, 2)) / 2


@pytest.mark.parametrize("kind", LOWEST)
def test_a_claim_is_true_and_its_interval_holds_the_lowest_eigenvalue(kind):
    matrices = matrices_of(kind, 100)

    def value(x):
        """Beside x[0] = k, the quadratic form of matrix k, with cubes that change the curvature on the way."""
        number = jnp.clip(jnp.round(x[0]), 0, 99)
        form = jnp.asarray(matrices)[number.astype(int)]
        return (x[0] - number) ** 2 / 2 + x[1:] @ (form @ x[1:]) / 2 + jnp.sum(x[1:] ** 3) / 100

    draw = np.random.default_rng(0)
    ends = np.concatenate([np.arange(100.0)[:, None], 1e-8 * draw.standard_normal((100, DIM))], axis=1)
    found = plain_minima(flat_functions(value, DIM + 1), ends, np.ones_like(ends))
    lowest = np.array([min(np.linalg.eigvalsh(matrix)[0], 1.0) for matrix in matrices])
    if kind in ("plain", "pair", "multiple"):
        assert found.is_reached.mean() > 0.95
    else:
        assert not found.is_reached.any()
    is_minimum = found.is_reached
    off = np.abs(found.lowest_eigenvalue - lowest)[is_minimum]
    assert np.all(off <= found.eigenvalue_error[is_minimum])
    assert np.all(found.eigenvalue_error[is_minimum] <= 0.01 * lowest[is_minimum])
    np.testing.assert_allclose(found.x[is_minimum, 1:], 0, atol=1e-12)


def test_the_stretch_of_two_atoms_is_found_across_their_motions():
    landscape = landscapes.lennard_jones(num_atoms=2)
    functions = flat(landscape, as_rows(np.zeros((1, 2, 3)))[1])
    draw = np.random.default_rng(0)
    apart = draw.standard_normal((20, 3))
    apart *= 2 ** (1 / 6) / np.linalg.norm(apart, axis=1, keepdims=True)
    ends = np.concatenate([np.zeros((20, 3)), apart], axis=1) + 1e-9 * draw.standard_normal((20, 6))
    found = plain_minima(functions, ends, np.ones_like(ends))
    assert np.all(found.is_reached)
    assert np.all(found.num_symmetry_modes == 5)
    stretch = 2 * 72 / 2 ** (1 / 3)  # twice the curvature of the pair's energy, since both atoms move
    assert np.all(np.abs(found.lowest_eigenvalue - stretch) <= found.eigenvalue_error)


@pytest.mark.parametrize(
    "value",
    [
        lambda x: jnp.sum(x**4),
        lambda x: x[0] ** 3 - 3 * x[0] * x[1] ** 2,
        lambda x: x[0] ** 2 + x[1] ** 4,
        lambda x: -jnp.sum(x**2),
        lambda x: jnp.sum(x),
        lambda x: jnp.zeros_like(x[0]),
        lambda x: jnp.nan * jnp.sum(x**2),
        lambda x: jnp.sum(jnp.sqrt(jnp.abs(x))),
    ],
    ids=["x^4", "monkey saddle", "valley", "maximum", "slope", "constant", "nan", "cusp"],
)
def test_what_is_no_plain_minimum_is_not_called_one(value):
    ends = np.concatenate([np.zeros((1, 2)), np.random.default_rng(0).standard_normal((9, 2))])
    assert not plain_minima(flat_functions(value, 2), ends, np.ones_like(ends)).is_reached.any()


def test_where_the_way_does_not_lead_to_a_minimum_nothing_is_claimed():
    ends = np.array([[0.0, 0.0], [1e-8, 0.0], [1e-3, 0.0], [1.0, 1.0], [np.nan, 0.0], [np.inf, 0.0]])
    found = plain_minima(flat_functions(lambda x: jnp.sum(jnp.cosh(x)), 2), ends, np.ones_like(ends))
    assert found.is_reached[:3].all()
    assert not found.is_reached[4:].any()
    np.testing.assert_allclose(found.x[found.is_reached], 0, atol=1e-12)
    np.testing.assert_allclose(found.away[:3], [0, 1e-8, 1e-3], rtol=1e-4)


def test_one_dimension_and_single_precision_are_served():
    found = plain_minima(flat_functions(lambda x: jnp.sum(x**2), 1), np.array([[0.0], [1e-9]]), np.ones((2, 1)))
    assert found.is_reached.all()
    np.testing.assert_allclose(found.lowest_eigenvalue, 2, rtol=1e-6)
    ends = np.array([[1e-5, 0.0, 0.0], [1.0, 0.0, 0.0]], np.float32)
    single = plain_minima(flat_functions(lambda x: jnp.sum(jnp.cosh(x)), 3), ends, np.ones_like(ends))
    assert single.lowest_eigenvalue.dtype == np.float32
    assert single.is_reached.tolist() == [True, False]
    assert np.all(np.abs(single.lowest_eigenvalue - 1)[single.is_reached] <= single.eigenvalue_error[single.is_reached])
