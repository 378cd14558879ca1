"""Programs as strangers write them: with primitives, derivatives and callbacks of their own."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax
from jax.experimental import checkify, io_callback
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

import jaxgd
from jaxgd.lanes_last.mapping import fallback_counts, lanes_last

LANES = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)))
DATA = jnp.asarray(np.random.default_rng(1).normal(size=(5, 3)))
SQUARE = jnp.asarray([[2.0, 0.3, 0.0], [0.3, 1.5, 0.1], [0.0, 0.1, 3.0]])


# ------------------------------------------------------------------------- primitives that know what vmap maps


def primitive(name, compute, batch):
    """Returns a primitive of one operand that some library brings along, with its own rule for vmap."""
    new = Primitive(name)
    new.def_impl(compute)
    new.def_abstract_eval(lambda x: jax.typeof(jax.eval_shape(compute, x)).update(weak_type=False))
    batching.primitive_batchers[new] = batch
    mlir.register_lowering(new, mlir.lower_fun(compute, multiple_results=False))
    return new


def refused(args, dims):
    raise ValueError("this must be the same for all lanes")


any_lane = primitive("any_lane", jnp.any, lambda args, dims: (jnp.any(args[0]), None))
uniform = primitive("uniform", lambda x: x, refused)
ad.primitive_jvps[uniform] = lambda primals, tangents: (uniform.bind(*primals), tangents[0])


def until_all_are_small(x):
    """A loop whose condition and count are the same for all lanes, and ask for it."""

    def body(state):
        count, y = state
        return uniform.bind(count) + 1, jnp.where(jnp.sum(y**2) > 0.1, 0.7 * y, y)

    return lax.while_loop(lambda state: any_lane.bind(jnp.sum(state[1] ** 2) > 0.1), body, (0, x))


def with_check(x):
    """A branch that is taken for all lanes or for none, inside a derivative rule, as run-time checks are built."""

    @jax.custom_jvp
    def checked(x, has_failed):
        fail = lambda: jax.pure_callback(_fail, jax.eval_shape(lambda: x))
        return lax.cond(any_lane.bind(has_failed), fail, lambda: x)

    checked.defjvp(lambda primals, tangents: (checked(*primals), tangents[0]))
    return jnp.sum(checked(x, jnp.any(jnp.isnan(x))) ** 2)


def _fail():
    raise RuntimeError("not reached")


def in_a_scan(x):
    step = lambda carry, _: ((uniform.bind(carry[0]) + 1, jnp.sin(carry[1])), any_lane.bind(carry[1] > 0.5))
    (count, y), were = lax.scan(step, (0, x), length=3)
    return jnp.sum(y) * count.astype(y.dtype) + jnp.mean(were, dtype=y.dtype)


def under_a_checkpoint(x):
    @jax.checkpoint
    def inner(x):
        return jnp.sin(x), uniform.bind(any_lane.bind(x > 0))

    y, is_any = inner(x)
    return jnp.where(uniform.bind(is_any), jnp.sum(y), 0.0)


def with_derivative_of_its_own(x):
    @jax.custom_vjp
    def inner(x):
        return jnp.sum(jnp.sin(x)), any_lane.bind(x > 0)

    inner.defvjp(lambda x: (inner(x), x), lambda x, weights: (weights[0] * jnp.cos(x),))
    y, is_any = inner(x)
    return jnp.where(uniform.bind(is_any), y, 0.0)


def assert_agrees(fn):
    expected = jax.jit(jax.vmap(fn, -1, -1))(LANES)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-9), jax.jit(lanes_last(fn))(LANES), expected)


@pytest.mark.parametrize("fn", [with_check, in_a_scan, under_a_checkpoint, with_derivative_of_its_own])
def test_what_vmap_leaves_unmapped_stays_so_with_its_derivative(fn):
    assert_agrees(jax.value_and_grad(fn))


def test_a_loop_that_asks_for_a_uniform_count_gets_one():
    assert_agrees(until_all_are_small)
    program = str(jax.make_jaxpr(lanes_last(until_all_are_small))(LANES))
    assert "while" in program
    assert fallback_counts(until_all_are_small, LANES[:, 0]) == {"any_lane": 1}


# --------------------------------------------------------------------------------------- derivatives of one's own


def vjp_with_data(x):
    """Data are given and handed back; the forward pass keeps them and a number."""

    @jax.custom_vjp
    def inner(x, data):
        return jnp.sum((data @ x) ** 2), data, jnp.sum(data)

    def backward(kept, weights):
        x, data, twice = kept
        return twice * weights[0] * data.T @ (data @ x), jnp.zeros_like(data)

    inner.defvjp(lambda x, data: (inner(x, data), (x, data, 2.0)), backward)
    loss, data, total = inner(x, DATA)
    return loss + jnp.sum(data @ x) * total


def vjp_with_static_arguments(x):
    @partial(jax.custom_vjp, nondiff_argnums=(1, 2))
    def inner(x, power, function):
        return jnp.sum(function(x) ** power)

    backward = lambda power, function, x, w: (w * power * function(x) ** (power - 1) * jnp.cos(x),)
    inner.defvjp(lambda x, power, function: (inner(x, power, function), x), backward)
    return inner(x, 2, jnp.sin)


def vjp_with_integers(x):
    @jax.custom_vjp
    def inner(x, place):
        return x[place] ** 2, place + 1

    def backward(kept, weights):
        x, place = kept
        return jnp.zeros_like(x).at[place].set(2 * x[place] * weights[0]), None

    inner.defvjp(lambda x, place: (inner(x, place), (x, place)), backward)
    value, place = inner(x, jnp.argmax(x))
    return value + x[place % 3] ** 2


def vjp_with_symbolic_zeros(x):
    @jax.custom_vjp
    def inner(x, y):
        return jnp.sum(jnp.sin(x) * y)

    forward = lambda x, y: (jnp.sum(jnp.sin(x.value) * y.value), (x.value, y.value))
    inner.defvjp(forward, lambda kept, w: (w * jnp.cos(kept[0]) * kept[1], w * jnp.sin(kept[0])), symbolic_zeros=True)
    return inner(x, jnp.ones(3))


def jvp_with_symbolic_zeros(x):
    @jax.custom_jvp
    def inner(x, data):
        return jnp.sum((data @ x) ** 2), data

    def rule(primals, tangents):
        x, data = primals
        assert isinstance(tangents[1], jax.custom_derivatives.SymbolicZero)
        return inner(x, data), (2 * jnp.sum((data @ x) * (data @ tangents[0])), jnp.zeros_like(data))

    inner.defjvp(rule, symbolic_zeros=True)
    loss, data = inner(x, DATA)
    return loss + jnp.sum(data)


def solved(x):
    solve = lambda matvec, b: lax.fori_loop(0, 9, lambda i, y: y + 0.3 * (b - matvec(y)), b)
    return jnp.sum(lax.custom_linear_solve(lambda y: SQUARE @ y + y * x[0] ** 2, x, solve, symmetric=True) ** 2)


def rooted(x):
    newton = lambda f, y: lax.fori_loop(0, 9, lambda i, y: y - f(y) / jax.grad(f)(y), y)
    return lax.custom_root(lambda y: y**3 + y - x[0], jnp.zeros(()), newton, lambda g, y: y / g(jnp.ones(()))) * x[1]


def from_outside(x, method):
    @jax.custom_vjp
    def value(x):
        outside = lambda x, data: np.sum(np.sin(x), axis=-1) + np.sum(data)
        return jax.pure_callback(outside, jax.ShapeDtypeStruct((), x.dtype), x, DATA, vmap_method=method)

    def backward(x, weight):
        return (weight * jax.pure_callback(np.cos, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method=method),)

    value.defvjp(lambda x: (value(x), x), backward)
    return value(x)


def looked_at(x):
    """Callbacks that see numbers, and one that gives some."""
    jax.debug.callback(lambda x: None, x)
    step = lambda i, y: (jax.debug.callback(lambda i, y: None, i, y), jnp.sin(y))[1]
    given = io_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), lax.stop_gradient(x))
    return jnp.sum(lax.fori_loop(0, 2, step, x) * given)


def checked(x):
    def inner(x):
        checkify.check(jnp.all(x < 100), "too large: {}", x[0])
        return jnp.sum(jnp.log(jnp.abs(x)))

    _, value = checkify.checkify(inner, errors=checkify.user_checks | checkify.float_checks)(x)
    return value


def sorted_together(x):
    keys, squares, others = lax.sort((x, x**2, DATA[0]), num_keys=1)
    by_constant, moved = lax.sort((DATA[1], x))
    return jnp.sum(keys * squares * others) + jnp.sum(by_constant * moved * jnp.arange(3.0))


FOREIGN = {
    **{fn.__name__: fn for fn in (vjp_with_data, vjp_with_static_arguments, vjp_with_integers, looked_at, checked)},
    **{fn.__name__: fn for fn in (vjp_with_symbolic_zeros, jvp_with_symbolic_zeros, solved, rooted, sorted_together)},
    "one callback a lane": partial(from_outside, method="sequential"),
    "one callback for all": partial(from_outside, method="expand_dims"),
    "eigenvalues": lambda x: jnp.sum(jnp.linalg.eigh(SQUARE + jnp.outer(x, x))[0] ** 3),
    "a solve": lambda x: jnp.sum(jnp.linalg.solve(SQUARE + jnp.outer(x, x), x) ** 2),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_functions_and_their_gradients_agree_with_vmap(name):
    assert_agrees(jax.value_and_grad(FOREIGN[name]))


# -------------------------------------------------------------------------------------------- libraries, if there


def _error_if(x):
    equinox = pytest.importorskip("equinox")
    step = lambda carry, row: (equinox.error_if(jnp.sin(carry) * row, jnp.any(jnp.isnan(carry)), "NaN"), None)
    return jnp.sum(lax.scan(step, x, DATA)[0])


def _root_find(x):
    optimistix = pytest.importorskip("optimistix")
    solver = optimistix.Newton(rtol=1e-8, atol=1e-8)
    return jnp.sum(optimistix.root_find(lambda y, x: y**3 + y - x, solver, jnp.zeros(3), args=x).value ** 2)


def _diffeqsolve(x):
    diffrax = pytest.importorskip("diffrax")
    term = diffrax.ODETerm(lambda t, y, x: -x[0] * y + x[1])
    return diffrax.diffeqsolve(term, diffrax.Euler(), 0.0, 1.0, 0.25, x[2], args=x).ys[0] ** 2


@pytest.mark.slow
@pytest.mark.parametrize("fn", [_error_if, _root_find, _diffeqsolve])
def test_functions_made_with_other_libraries_agree_with_vmap(fn):
    assert_agrees(jax.value_and_grad(fn))


# ---------------------------------------------------------------------------------- a layout that cannot be traced


def descend(value, engine=None):
    landscape = jaxgd.Landscape(value=value, sample=lambda key: jax.random.normal(key, (3,)), name="mine")
    return jaxgd.descend(landscape, optax.sgd(0.1), 5, key=jax.random.key(0), engine=engine)


def only_first(x):
    """A bowl that `vmap` can map, and lanes last cannot."""
    return jnp.sum(_only_vmap.bind(x))


_only_vmap = primitive("only_vmap", lambda x: x**2, lambda args, dims: _refused_last(args, dims))
ad.primitive_jvps[_only_vmap] = lambda primals, tangents: (_only_vmap.bind(*primals), 2 * primals[0] * tangents[0])


def _refused_last(args, dims):
    if dims[0] != 0:
        raise NotImplementedError("lanes must come first")
    return args[0] ** 2, 0


def test_a_layout_that_cannot_be_traced_gives_way_to_the_other_with_a_note():
    ends = descend(only_first)
    assert ends.cost.layout == "lanes_first"
    (note,) = ends.notes
    assert "`mine` cannot be traced with lanes_last" in note
    assert "lanes must come first" in note
    assert ends.status_counts() == {"converged": 5}


def test_a_survey_says_once_that_a_layout_gave_way(tmp_path):
    landscape = jaxgd.Landscape(value=only_first, sample=lambda key: jax.random.normal(key, (3,)), name="mine")
    asked = {"num_starts": 10, "key": jax.random.key(0), "block_size": 5}
    found = jaxgd.survey(landscape, optax.sgd(0.1), **asked, out=tmp_path / "run")
    assert found.engine.layout == "lanes_first"
    assert sum("cannot be traced with lanes_last" in note for note in found.notes) == 1
    assert jaxgd.open_run(tmp_path / "run", landscape=landscape).survey().notes == found.notes


def test_a_layout_that_was_asked_for_does_not_give_way():
    with pytest.raises(jaxgd.InputValueError, match="cannot be traced with lanes_last, only with lanes_first"):
        descend(only_first, jaxgd.Engine(layout="lanes_last"))


def test_what_no_layout_can_map_is_refused_with_what_to_do():
    with pytest.raises(jaxgd.InputValueError, match=r'cannot be mapped.*Give the callback `vmap_method="sequential"`'):
        descend(partial(from_outside, method=None))


def test_what_can_be_traced_and_not_compiled_is_refused():
    def checked_alone(x):
        checkify.check(jnp.all(x < 100), "too large")
        return jnp.sum(x**2)

    with pytest.raises(jaxgd.InputValueError, match=r"`mine` cannot be compiled: ValueError: .* not functionalized"):
        descend(checked_alone)


# ------------------------------------------------------------------------------------------- products on the way


def without_forward_derivative(x):
    """A bowl whose gradient can be differentiated backward alone."""

    @jax.custom_vjp
    def gradient(x):
        return 2 * SQUARE @ x

    gradient.defvjp(lambda x: (gradient(x), None), lambda _, weight: (2 * SQUARE @ weight,))
    return x @ SQUARE @ x, gradient(x)


def test_an_optimizer_gets_products_where_the_gradient_has_no_forward_derivative():
    newton = optax.GradientTransformationExtraArgs(
        lambda params: optax.EmptyState(),
        lambda updates, state, params, *, hvp, **extra: (-jnp.linalg.solve(jax.vmap(hvp)(jnp.eye(3)), updates), state),
    )
    landscape = jaxgd.Landscape(
        value=lambda x: x @ SQUARE @ x,
        value_and_grad=without_forward_derivative,
        sample=lambda key: jax.random.normal(key, (3,)),
    )
    ends = jaxgd.descend(landscape, newton, 3, key=jax.random.key(0))
    np.testing.assert_allclose(ends.params, 0, atol=1e-12)
    np.testing.assert_array_equal(ends.num_steps, 1)
