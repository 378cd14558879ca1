"""What judging cannot do is found before descents, and costs nothing that was computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.ode import odeint

import jaxgd
from jaxgd import Landscape, Stop, Symmetry
from jaxgd.checks import first_line
from jaxgd.judging_ahead import check_judging

STOP = Stop(gradient_norm=1e-6, max_steps=500)


def draw(key):
    return jax.random.uniform(key, (2,), minval=0.5, maxval=1.5)


def wells(x):
    return jnp.sum((x**2 - 1) ** 2)


@jax.custom_vjp
def outside_wells(x):
    """`wells` by a library that knows nothing of jax, with a gradient of its own."""
    return jax.pure_callback(_outside, jax.ShapeDtypeStruct((), x.dtype), x, vmap_method="sequential")


def _outside(x):
    return np.sum((np.asarray(x) ** 2 - 1) ** 2)


def _outside_gradient(x):
    return 4 * np.asarray(x) * (np.asarray(x) ** 2 - 1)


def _backward(x, weight):
    return (weight * jax.pure_callback(_outside_gradient, jax.eval_shape(lambda: x), x, vmap_method="sequential"),)


outside_wells.defvjp(lambda x: (outside_wells(x), x), _backward)


def decay(x):
    times = jnp.linspace(0.0, 1.0, 4)
    return jnp.sum((odeint(lambda y, t: -x[0] * y, x[1], times) - jnp.exp(-times)) ** 2)


@pytest.mark.parametrize(
    ("value", "lowest", "num_notes"),
    [(outside_wells, 8.0, 1), pytest.param(decay, None, 0, marks=pytest.mark.slow)],
)
def test_functions_without_a_forward_derivative_are_judged(value, lowest, num_notes, key):
    landscape = Landscape(value=value, sample=draw)
    assert len(check_judging(landscape)) == num_notes
    found = jaxgd.survey(landscape, "lbfgs", 6, key=key, stop=STOP)
    assert found.points.verdict_counts() == {"minimum": 6}
    assert len(found.catalogue) == 1
    exact = jax.hessian(lambda x: jnp.sum((x[1] * jnp.exp(-x[0] * T) - jnp.exp(-T)) ** 2))(jnp.ones(2))
    lowest = lowest or float(jnp.linalg.eigvalsh(exact)[0])
    assert np.all(np.abs(found.points.lowest_eigenvalue - lowest) <= found.points.eigenvalue_error)
    assert sum("Hessians are differences of gradients" in note for note in found.notes) == num_notes


T = jnp.linspace(0.0, 1.0, 4)


@pytest.mark.parametrize(
    ("symmetry", "message"),
    [
        (Symmetry(name="none", invariants=lambda x: x[5:][3].missing), "`invariants` .* raised"),
        (Symmetry(name="none", invariants=lambda x: x, generators=lambda x: 1 / 0), "`generators` .* raised ZeroDiv"),
        (Symmetry(name="none", invariants=lambda x: x, generators=lambda x: x), "must return params with one leading"),
    ],
)
def test_a_symmetry_that_cannot_be_traced_is_refused_before_descents(symmetry, message):
    landscape = Landscape(value=wells, sample=draw, symmetry=symmetry)
    with pytest.raises(jaxgd.InputValueError, match=message):
        check_judging(landscape)
    with pytest.raises(jaxgd.InputValueError, match=message):
        jaxgd.survey(landscape, "lbfgs", 4, key=jax.random.key(0))


@pytest.mark.parametrize("starts", [{"num_starts": 4}, {"starts": jnp.full((4, 2), 0.7)}], ids=["drawn", "listed"])
def test_ends_are_kept_with_a_note_where_judging_fails(starts, key):
    """Here a function gives way that only judging calls."""

    def breaks(x):
        raise ArithmeticError("beyond the table")

    motion = lambda x: jax.pure_callback(breaks, jax.ShapeDtypeStruct((1, 2), x.dtype), x)
    symmetry = Symmetry(name="broken", invariants=lambda x: x, generators=motion)
    assert check_judging(Landscape(value=wells, sample=draw, symmetry=symmetry)) == ()
    broken = Landscape(value=wells, sample=draw, symmetry=symmetry)
    found = jaxgd.survey(broken, "lbfgs", key=key, stop=STOP, **starts)
    assert found.points.verdict_counts() == {"undecided": 4}
    assert found.ends.status_counts() == {"converged": 4}
    assert any("ArithmeticError: beyond the table" in note for note in found.notes)


def test_what_a_called_function_raised_is_said_of_a_compiled_program():
    text = (
        'INTERNAL: error calling callback: Traceback (most recent call last):\n  File "x"\nmodule.OwnError: no more\n'
    )
    assert first_line(RuntimeError(text)) == "module.OwnError: no more"
    assert first_line(RuntimeError("\nfirst\nsecond")) == "first"
    assert first_line(KeyError()) == "KeyError"
