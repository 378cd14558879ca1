"""Hessian-vector products against jax.hessian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from jaxgd.curvature import batched_hessian_product, hessian_product, product_of

DATA = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6, 3)))


def value(x, rows=DATA):
    return jnp.mean(jax.nn.relu(rows @ x) * jnp.sin(rows @ x)) + jnp.sum(x**4)


@pytest.mark.parametrize("max_bytes", [2**30, pytest.param(0, marks=pytest.mark.slow)], ids=["linearised", "forward"])
def test_products_are_those_of_the_hessian(max_bytes):
    points = jnp.asarray(np.random.default_rng(1).normal(size=(2, 3)))
    vectors = jnp.asarray(np.random.default_rng(2).normal(size=(2, 3)))
    product = hessian_product(jax.grad(value), points, max_bytes=max_bytes)
    assert product.kind == ("linearised" if max_bytes else "forward")
    exact = jax.vmap(lambda x, v: jax.hessian(value)(x) @ v)(points, vectors)
    np.testing.assert_allclose(product(vectors), exact, rtol=1e-12)


@pytest.mark.slow
def test_a_mean_over_batches_has_the_product_of_all_data():
    x = jnp.asarray([0.3, -0.2, 0.5])
    product = batched_hessian_product(jax.grad(value), x, DATA)
    np.testing.assert_allclose(product(jnp.eye(3)[:1])[0], jax.hessian(value)(x)[0], rtol=1e-12)


def test_products_are_computed_in_their_own_type_and_given_back_in_the_vectors():
    product = product_of(lambda v: jnp.asarray([1 / 3, 1.0], jnp.float32) * v, 2, dtype=jnp.float32)
    found = product(jnp.asarray([[1.0, 1.0]]))
    assert found.dtype == jnp.float64
    assert float(found[0, 0]) == float(np.float32(1 / 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hessian_product(jnp.sin, jnp.zeros(2, int)), "must be a floating-point array"),
        (lambda: hessian_product(jnp.sin, jnp.zeros((2, 2, 2))), "must be one flat point"),
        (lambda: hessian_product(jnp.sin, jnp.zeros((0,))), "must be one flat point"),
        (
            lambda: batched_hessian_product(jax.grad(value), jnp.zeros(3), jnp.zeros((0, 6, 3))),
            "leading axis of batches",
        ),
        (lambda: product_of(jnp.sum, 3), "must map a vector of 3"),
        (lambda: product_of(jnp.sin, 0), "`dim` must be an integer of at least 1"),
    ],
)
def test_what_is_no_operator_is_refused(call, message):
    with pytest.raises((jaxgd.InputValueError, jaxgd.InputTypeError), match=message):
        call()
