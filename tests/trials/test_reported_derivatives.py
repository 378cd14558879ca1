"""Reported: functions without a Hessian, or that do not like a layout. No end is lost to a failure of judging.

What cannot be differentiated twice in one way is differentiated in another, or its ends are undecided with a note; what
cannot be traced in one layout is run in the other.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from experiments.verdicts.problems.outcomes import claimed
from jaxgd import Verdict

SLOW = pytest.mark.slow
TIMES = jnp.linspace(0.0, 1.0, 6)
STAYED = jnp.exp(-1.3 * TIMES)


def rate(key):
    return jnp.array([1.0]) + 0.3 * jax.random.normal(key, (1,))


def by_odeint(p):
    ode = pytest.importorskip("jax.experimental.ode")
    return jnp.sum((ode.odeint(lambda y, t, k: -k[0] * y, jnp.array(1.0), TIMES, p) - STAYED) ** 2)


def by_diffrax(p, adjoint=None):
    diffrax = pytest.importorskip("diffrax")
    found = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: -args[0] * y),
        diffrax.Tsit5(),
        0.0,
        1.0,
        0.1,
        jnp.array(1.0),
        args=p,
        saveat=diffrax.SaveAt(ts=TIMES),
        stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-8),
    )
    return jnp.sum((found.ys - STAYED) ** 2)


def test_a_function_that_raises_far_out_is_judged_where_it_does_not(look):
    """A first look asks a million units out whether the value falls for ever."""

    def squared(x):
        if np.any(np.abs(x) > 1e4):
            raise ArithmeticError("beyond the table")
        return np.sum(np.asarray(x) ** 2)

    @jax.custom_jvp
    def of_table(x):
        return jax.pure_callback(squared, jax.ShapeDtypeStruct((), x.dtype), x, vmap_method="sequential")

    of_table.defjvp(lambda x, dx: (of_table(x[0]), 2 * x[0] @ dx[0]))
    points = look(lambda x: of_table(x) + jnp.sum(x**4) - x[0], [[0.3855, 0.0], [0.6, 0.3], [1.0, 1.0]])
    assert points.verdict_counts() == {"minimum": 1, "undecided": 2}
    assert points.reason_counts() == {"still_descending": 2}


@jax.custom_vjp
def bowl_of_numpy(p):
    return jax.pure_callback(
        lambda x: np.sum((np.asarray(x) - 1.3) ** 2), jax.ShapeDtypeStruct((), p.dtype), p, vmap_method="sequential"
    )


bowl_of_numpy.defvjp(lambda p: (bowl_of_numpy(p), p), lambda p, cotangent: (2 * (p - 1.3) * cotangent,))


@jax.custom_vjp
def bowl_with_own_derivative(p):
    return jnp.sum((p - 1.3) ** 2)


bowl_with_own_derivative.defvjp(
    lambda p: (bowl_with_own_derivative(p), p), lambda p, cotangent: (2 * (p - 1.3) * cotangent,)
)


def checked_by_equinox(p):
    equinox = pytest.importorskip("equinox")
    p = equinox.error_if(p, jnp.any(jnp.isnan(p)), "not a number")
    return jnp.sum((p - 1.3) ** 2)


def solved_by_optimistix(p):
    optimistix = pytest.importorskip("optimistix")
    root = optimistix.root_find(
        lambda y, args: y + 0.1 * jnp.tanh(y) - args, optimistix.Newton(1e-10, 1e-10), p, p, throw=False
    )
    return jnp.sum((root.value - 1.2) ** 2)


FUNCTIONS = {
    "odeint": (by_odeint, [1.3]),
    "diffrax": (by_diffrax, [1.3]),
    "callback": (bowl_of_numpy, [1.3]),
    "custom vjp": (bowl_with_own_derivative, [1.3]),
    "error_if": (checked_by_equinox, [1.3]),
    "root_find": (solved_by_optimistix, [1.2 + 0.1 * np.tanh(1.2)]),
}


@pytest.mark.filterwarnings("ignore")  # of other people's packages
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=SLOW if name in ("diffrax", "odeint", "root_find") else ()) for name in FUNCTIONS]
)
def test_a_function_is_surveyed_whatever_it_is_made_of(name, ask):
    value, best = FUNCTIONS[name]
    found = ask(value, rate, optax.sgd(0.2), 8)
    np.testing.assert_allclose(found.ends.params, [best] * 8, atol=1e-4)
    says = claimed(found.points)
    assert (found.points.verdict[says] == int(Verdict.MINIMUM)).all()
    assert says.all() or found.points.notes  # undecided with a reason


@pytest.mark.slow
def test_judging_a_network_on_much_data_stays_within_memory():
    """All columns of the Hessian at once would take 38 GB."""
    import resource
    import subprocess
    import sys

    code = """
import jax, jax.numpy as jnp, jaxgd
x = jax.random.normal(jax.random.key(1), (60_000, 30))
y = jnp.sin(x[:, :1])
def loss(p):
    return jnp.mean((jnp.tanh(x @ p["w"] + p["b"]) @ p["v"] - y) ** 2)
def start(key):
    return {"w": jax.random.normal(key, (30, 31)) / 6, "b": jnp.zeros(31), "v": jnp.zeros((31, 1)) + 0.1}
landscape = jaxgd.Landscape(value=loss, sample=start)
points = jaxgd.classify(landscape, jax.tree.map(lambda leaf: leaf[None], start(jax.random.key(0))))
print(points.verdict_counts())
"""
    limit = lambda: resource.setrlimit(resource.RLIMIT_DATA, (8 * 2**30, 8 * 2**30))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, preexec_fn=limit, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


class Layer:
    """A pytree class without `__eq__`."""

    def __init__(self, w):
        self.w = w


jax.tree_util.register_pytree_node(Layer, lambda layer: ((layer.w,), None), lambda _, children: Layer(*children))


def test_a_pytree_class_without_equality_is_params_like_any_other(ask):
    found = ask(lambda p: jnp.sum((p.w - 1) ** 2), lambda key: Layer(jax.random.normal(key, (2,))), None, 4)
    assert found.points.verdict_counts() == {"minimum": 4}


def test_modules_of_nnx_are_params_or_refused_with_what_to_do(ask):
    nnx = pytest.importorskip("flax.nnx")
    start = lambda key: nnx.Linear(2, 1, rngs=nnx.Rngs(params=key))
    refusals = []
    try:
        ask(lambda model: jnp.sum((model(jnp.ones(2)) - 1) ** 2), start, optax.sgd(0.1), 4)
    except (jaxgd.InputTypeError, jaxgd.InputValueError) as refused:
        refusals.append(str(refused))
    assert all("nnx.split" in refusal for refusal in refusals)


def test_a_raw_equinox_module_is_refused_with_what_to_do(ask):
    equinox = pytest.importorskip("equinox")
    start = lambda key: equinox.nn.MLP(1, 1, 2, 1, key=key)
    with pytest.raises((jaxgd.InputTypeError, jaxgd.InputValueError), match=r"equinox\.partition"):
        ask(lambda model: jnp.sum(model(jnp.ones(1)) ** 2), start, None, 4)


def test_integer_leaves_are_refused_with_what_to_do(ask):
    start = lambda key: {"w": jax.random.normal(key, (2,)), "steps": jnp.zeros((), int)}
    with pytest.raises(jaxgd.InputTypeError, match=r"partition|split|close over|leave it out"):
        ask(lambda p: jnp.sum(p["w"] ** 2), start, None, 4)


def test_a_loss_with_further_results_is_refused_by_that_name(ask):
    with pytest.raises((jaxgd.InputTypeError, jaxgd.InputValueError), match="returns a tuple"):
        ask(lambda p: (jnp.sum(p**2), {"accuracy": 1.0}), lambda key: jax.random.normal(key, (2,)), None, 4)
