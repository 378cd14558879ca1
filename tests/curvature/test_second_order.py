"""Hessians of gradients that have a forward derivative, a reverse one, or none."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.ode import odeint

from jaxgd.curvature import dense, hessian, hessian_and_error, hessian_product, second_order
from jaxgd.curvature.held import bytes_held

X = jnp.asarray([1.2, 0.3])


def double_well(x):
    return jnp.sum((x**2 - 1) ** 2) + jnp.prod(x)


@jax.custom_vjp
def with_reverse_rule(x):
    return double_well(x)


# The value is computed by the function itself, which has no forward derivative.
with_reverse_rule.defvjp(
    lambda x: (with_reverse_rule(x), x), lambda x, weight: (weight * (4 * x * (x**2 - 1) + jnp.flip(x)),)
)


def decay(x):
    times = jnp.linspace(0.0, 1.0, 3)
    return jnp.sum((odeint(lambda y, t: -x[0] * y, x[1], times) - jnp.exp(-times)) ** 2)


def from_outside(x, vmap_method="sequential"):
    """The gradient of `double_well`, as a library that knows nothing of jax would give it."""
    gradient = lambda x: 4 * np.asarray(x) * (np.asarray(x) ** 2 - 1) + np.flip(x)
    return jax.pure_callback(gradient, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method=vmap_method)


@pytest.mark.parametrize(
    ("gradient", "kind", "value"),
    [
        (jax.grad(double_well), "forward", double_well),
        (jax.grad(with_reverse_rule), "reverse", double_well),
        (jax.grad(decay), "reverse", lambda x: jnp.sum((x[1] * jnp.exp(-x[0] * T) - jnp.exp(-T)) ** 2)),
        (from_outside, "differences", double_well),
    ],
    ids=["plain", "custom_vjp", "odeint", "callback"],
)
def test_hessians_are_had_by_the_first_way_that_can_be_traced(gradient, kind, value):
    rule = second_order(gradient, X)
    matrix, error = jax.jit(functools.partial(hessian_and_error, rule))(X)
    exact = jax.hessian(value)(X)
    assert rule.kind == kind
    assert np.all(np.abs(matrix - exact) <= error + (1e-6 if gradient is not from_outside else 0))
    assert np.all(error < 1e-7)
    assert (kind == "differences") == bool(np.any(error > 0)) == bool(rule.note)

    product = hessian_product(gradient, X)
    np.testing.assert_allclose(product(jnp.eye(2)[:1])[0], exact[0], atol=1e-6)


T = jnp.linspace(0.0, 1.0, 3)


def test_a_gradient_that_cannot_be_mapped_is_gone_through_one_by_one():
    alone = lambda x: from_outside(x, vmap_method=None)
    rule = second_order(alone, X)
    assert not rule.is_mappable
    np.testing.assert_allclose(jax.jit(lambda x: hessian(rule, x))(X), jax.hessian(double_well)(X), atol=1e-7)
    np.testing.assert_allclose(hessian_product(alone, X)(jnp.ones((1, 2))), hessian(rule, X).sum(1)[None], atol=1e-7)


def test_what_cannot_be_traced_at_all_says_so_itself():
    with pytest.raises(ZeroDivisionError, match="in the gradient"):
        second_order(_broken, X)


def _broken(x):
    raise ZeroDivisionError("in the gradient")


# ------------------------------------------------------------------------------------------ errors of differences

DIM = 5
MIX = jnp.asarray(np.random.default_rng(0).normal(size=(DIM, DIM)))


def mixed(x):
    return jnp.sum(jnp.sin(MIX @ x)) + jnp.sum(x**4) / 4 + jnp.sum(x) ** 2 / 2


@jax.custom_jvp
def opaque(x, origin, unit, noise):
    """The gradient of `mixed` in a unit, with noise that changes from point to point."""
    bits = jax.lax.bitcast_convert_type((x / unit @ MIX[0]).astype(jnp.float32), jnp.uint32)
    noises = jax.random.normal(jax.random.fold_in(jax.random.key(0), bits), (DIM,))
    return jax.grad(mixed)((x - origin) / unit) / unit + noise / unit * noises


@opaque.defjvp
def _(primals, tangents):
    raise NotImplementedError("opaque")


@jax.jit
def measured(x, origin, unit, noise):
    matrix, error = hessian_and_error(lambda x: opaque(x, origin, unit, noise), x, unit)
    exact = jax.hessian(mixed)((x - origin) / unit)
    return jnp.linalg.norm(matrix * unit**2 - exact), jnp.linalg.norm(error) * unit**2, jnp.linalg.norm(exact)


@pytest.mark.parametrize(
    ("origin", "unit", "noise", "accuracy"),
    [
        (0.0, 1.0, 0.0, 1e-9),
        (0.0, 1.0, 1e-8, 1e-3),
        (0.0, 1.0, 1e-5, 1e-1),
        (1e6, 1.0, 0.0, 1e-9),
        (0.0, 1e-21, 0.0, 1e-9),
        (0.0, 1e8, 1e-8, 1e-3),
    ],
)
def test_differences_are_off_by_no_more_than_is_said_whatever_noise_units_and_origin(origin, unit, noise, accuracy):
    for seed in range(20):
        x = origin + unit * jnp.asarray(np.random.default_rng(seed).normal(size=DIM))
        off, said, norm = measured(x, origin, unit, noise)
        assert off <= said <= accuracy * norm


def test_products_of_unit_vectors_far_from_the_origin_are_those_of_differences():
    """A step that is rounded away says nothing; one that is rounded is measured."""
    rule = second_order(lambda x: opaque(x, 1e10, 1.0, 0.0), jnp.ones(DIM))
    product, error = jax.jit(lambda x, v: rule.with_error_at(x)(v))(1e10 + jnp.ones(DIM), jnp.eye(DIM)[0])
    exact = jax.hessian(mixed)(jnp.ones(DIM))[0]
    assert jnp.all(jnp.abs(product - exact) <= error)
    assert jnp.linalg.norm(error) < jnp.linalg.norm(exact) / 10


# ------------------------------------------------------------------------------------------------------- memory

ROWS, WIDTH = 2000, 12
DATA = jnp.asarray(np.random.default_rng(0).normal(size=(ROWS, 6)))


def network(x):
    hidden = jnp.tanh(DATA @ x[: 6 * WIDTH].reshape(6, WIDTH))
    return jnp.mean((hidden @ x[6 * WIDTH :] - DATA[:, 0]) ** 2)


def test_a_hessian_takes_little_memory_however_many_columns_and_samples_there_are(monkeypatch):
    x = jnp.asarray(np.random.default_rng(1).normal(size=7 * WIDTH))
    made = {}
    for num_bytes in (2**20, 2**40):
        monkeypatch.setattr(dense, "MAX_BYTES_TOGETHER", num_bytes)
        compiled = jax.jit(lambda x: hessian(jax.grad(network), x)).lower(x).compile()
        made[num_bytes] = compiled(x), compiled.memory_analysis().temp_size_in_bytes
    few, all_at_once = made.values()
    np.testing.assert_allclose(few[0], all_at_once[0], rtol=1e-12, atol=1e-14)
    assert few[1] < 2 * 2**20
    assert all_at_once[1] > 8 * few[1]


def test_small_hessians_are_made_of_all_columns_at_once():
    program = jax.make_jaxpr(lambda x: hessian(jax.grad(mixed), x))(jnp.ones(DIM))
    assert "scan" not in str(program)


def test_what_a_program_holds_is_counted_while_it_is_held():
    square = lambda x: x * x
    program = jax.make_jaxpr(lambda x, y: square(square(square(x))) + jnp.sum(square(y)))
    sizes = jax.ShapeDtypeStruct((100,), "float64"), jax.ShapeDtypeStruct((1000,), "float64")
    assert bytes_held(program(*sizes), [True, False]) == 2 * 800
    assert bytes_held(program(*sizes), [False, True]) <= 2 * 8000 + 2 * 800


def test_what_a_loop_holds_counts_too():
    body = lambda carry, _: (jnp.sin(jnp.outer(carry, carry)).sum(1), None)
    program = jax.make_jaxpr(lambda x: jax.lax.scan(body, x, length=3)[0])(jnp.ones(100))
    assert bytes_held(program, [True]) >= 100 * 100 * 8
