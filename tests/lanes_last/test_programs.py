"""Random programs give with the lane axis last what they give under `vmap`, and so do their derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax import lax

from jaxgd.lanes_last.mapping import lanes_last

NUM_LANES = 4
SHAPES = [(), (1,), (3,), (2, 3), (3, 2), (3, 1, 2)]


def bounded(x):
    """Keeps numbers where rounding does not grow."""
    return x / jnp.sqrt(1.0 + x * x)


def fit(x, shape):
    """Returns an array of another shape that depends on all of `x`."""
    flat = jnp.concatenate([jnp.ravel(x), jnp.sum(x)[None]])
    return jnp.resize(flat, shape)


def place(x, size):
    """Returns an integer that depends on the values of `x`, and so on the lane."""
    return jnp.sum(x > 0.1) % size


FUNCTIONS = [jnp.sin, jnp.tanh, jnp.exp, jnp.log1p, lax.logistic]

# Each takes three values of any shapes, and a number that picks a variant.
OPERATIONS = {
    "add": lambda a, b, c, n: a + fit(b, a.shape),
    "multiply": lambda a, b, c, n: bounded(a * fit(b, a.shape)),
    "scale": lambda a, b, c, n: a * jnp.asarray(0.1 * n, a.dtype) - jnp.sum(b),
    "function": lambda a, b, c, n: FUNCTIONS[n % 5](bounded(a)),
    "sum": lambda a, b, c, n: jnp.sum(a, axis=n % a.ndim) if a.ndim else jnp.sum(b),
    "maximum": lambda a, b, c, n: jnp.max(a, axis=n % a.ndim) if a.ndim else jnp.maximum(a, jnp.sum(c)),
    "product": lambda a, b, c, n: bounded(fit(a, (2, 3)) @ fit(b, (3, 2 + n % 3))),
    "constant product": lambda a, b, c, n: bounded(fit(a, (2, 3)) @ jnp.eye(3, 3 + n % 2, dtype=a.dtype)),
    "reshape": lambda a, b, c, n: jnp.reshape(a, (-1, 1)) if n % 2 else jnp.ravel(a),
    "transpose": lambda a, b, c, n: jnp.transpose(a),
    "reverse": lambda a, b, c, n: jnp.flip(a),
    "join": lambda a, b, c, n: jnp.concatenate([jnp.ravel(a), jnp.ones(2, a.dtype), jnp.ravel(b)])[: 2 + n],
    "pad": lambda a, b, c, n: jnp.pad(jnp.ravel(a), (n % 2, 1), constant_values=0.5),
    "slice": lambda a, b, c, n: fit(a, (5,))[n % 3 : 5 : 1 + n % 2],
    "select": lambda a, b, c, n: jnp.where(fit(b, a.shape) > 0, a, fit(c, a.shape)),
    "cumulate": lambda a, b, c, n: bounded(jnp.cumsum(fit(a, (4, 2)), axis=n % 2)),
    "sort": lambda a, b, c, n: jnp.sort(fit(a, (3, 4)), axis=n % 2),
    "gather": lambda a, b, c, n: fit(a, (4, 2))[place(b, 4)],
    "gather many": lambda a, b, c, n: fit(a, (4, 2))[jnp.argsort(fit(b, (4,)))],
    "uniform gather": lambda a, b, c, n: fit(a, (4, 2))[np.array([n % 4, 0])],
    "scatter": lambda a, b, c, n: fit(a, (4, 2)).at[place(b, 4)].set(fit(c, (2,))),
    "uniform scatter": lambda a, b, c, n: fit(a, (4, 2)).at[n % 4].add(fit(b, (2,))),
    "branch": lambda a, b, c, n: lax.cond(jnp.sum(b) > 0, lambda: bounded(a), lambda: a * 0.5),
    "uniform branch": lambda a, b, c, n: lax.cond(n % 2 > jnp.zeros(()), lambda: bounded(a), lambda: a * 0.5),
    "counted loop": lambda a, b, c, n: lax.fori_loop(0, n, lambda i, s: bounded(s + fit(b, a.shape)), a),
    "scan": lambda a, b, c, n: lax.scan(
        lambda s, y: (bounded(s * 0.5 + jnp.sum(y)), s + y), jnp.sum(a), fit(b, (3, 2))
    )[1],
    "jit": lambda a, b, c, n: jax.jit(lambda x: jnp.sin(x) * jnp.sum(x))(bounded(a)),
    "gradient": lambda a, b, c, n: jax.grad(lambda x: jnp.sum(bounded(x) * fit(b, a.shape)))(a),
    "own derivative": lambda a, b, c, n: jax.nn.relu(a) + jax.nn.softplus(a),
}
FORWARD_ONLY = {
    "loop": lambda a, b, c, n: lax.while_loop(
        lambda s: jnp.sum(s[0] ** 2) > 0.1 * n, lambda s: (s[0] * 0.5, s[1] + 1), (a, 0)
    )[0],
    "counted by lane": lambda a, b, c, n: lax.fori_loop(0, place(b, 3), lambda i, s: bounded(s + jnp.sum(c)), a),
}

step = lambda names: st.tuples(st.sampled_from(sorted(names)), *[st.integers(0, 20)] * 4)
program = lambda names: st.lists(step(names), min_size=1, max_size=7)
inputs = st.tuples(st.sampled_from(SHAPES), st.sampled_from(SHAPES), st.integers(0, 1000))


def build(steps):
    """Returns a function of two arrays: each step works on values that earlier ones made."""

    def run(x, y):
        values = [x, y]
        for name, first, second, third, variant in steps:
            picked = [values[-1 - which % len(values)] for which in (first, second, third)]
            operation = OPERATIONS.get(name) or FORWARD_ONLY[name]
            values.append(operation(*picked, variant % 5))
        return values[2:]

    return run


def draw(shapes_and_seed, dtype):
    *shapes, seed = shapes_and_seed
    random = np.random.default_rng(seed)
    return [jnp.asarray(random.normal(size=(*shape, NUM_LANES)), dtype) for shape in shapes]


def both(fn, args):
    return jax.jit(lanes_last(fn))(*args), jax.jit(jax.vmap(fn, in_axes=-1, out_axes=-1))(*args)


def assert_close(found, expected, dtype):
    tolerance = 1e-9 if dtype == jnp.float64 else 2e-3
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert jax.typeof(a) == jax.typeof(b)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def check_values(steps, shapes, dtype):
    found, expected = both(build(steps), draw(shapes, dtype))
    assert_close(found, expected, dtype)


def check_derivatives(steps, shapes):
    args = draw(shapes, jnp.float64)
    total = lambda *args: sum(jnp.sum(bounded(out)) for out in build(steps)(*args))
    inside, expected = both(jax.grad(total, argnums=(0, 1)), args)
    assert_close(inside, expected, jnp.float64)
    outside = jax.jit(jax.grad(lambda *args: jnp.sum(lanes_last(total)(*args)), argnums=(0, 1)))(*args)
    assert_close(outside, expected, jnp.float64)


fast = settings(
    max_examples=12, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
long = settings(fast, max_examples=150)


@pytest.fixture(autouse=True)
def _forget_compiled_programs(request):
    """Each example compiles its own program, and one process can hold only so many of them."""
    yield
    if request.node.get_closest_marker("slow"):
        jax.clear_caches()


@pytest.mark.parametrize("dtype", [jnp.float64, pytest.param(jnp.float32, marks=pytest.mark.slow)])
@fast
@given(program(OPERATIONS | FORWARD_ONLY), inputs)
def test_random_programs_agree_with_vmap(dtype, steps, shapes):
    check_values(steps, shapes, dtype)


@settings(fast, max_examples=6)
@given(program(OPERATIONS), inputs)
@pytest.mark.slow
def test_gradients_of_random_programs_agree_with_vmap_inside_and_outside(steps, shapes):
    check_derivatives(steps, shapes)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
@long
@given(program(OPERATIONS | FORWARD_ONLY), inputs)
def test_many_random_programs_agree_with_vmap(dtype, steps, shapes):
    check_values(steps, shapes, dtype)


@pytest.mark.slow
@long
@given(program(OPERATIONS), inputs)
def test_gradients_of_many_random_programs_agree_with_vmap_inside_and_outside(steps, shapes):
    check_derivatives(steps, shapes)


@pytest.mark.parametrize("name", sorted(OPERATIONS | FORWARD_ONLY))
@pytest.mark.slow
def test_each_operation_by_itself_agrees_with_vmap(name):
    for variant in range(5):
        check_values([(name, 0, 1, 1, variant)], ((2, 3), (3,), 0), jnp.float64)
