"""Claims of the first look: what contradicts itself is refused, and what is only unusual is not."""

import functools
import random

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd import InputValueError, Landscape, Stop
from jaxgd.descend import descent_of
from jaxgd.lanes import first_look
from jaxgd.lanes.first_look import look

NOW = Stop(max_steps=0)


def wells(x):
    return jnp.sum(x**4 - 16 * x**2 + 5 * x) / 2


def uniform(key, dtype=jnp.float64):
    return jax.random.uniform(key, (3,), dtype, minval=-5, maxval=5)


def looked(key, *, starts=None, num_descents=8, is_noisy=False, **landscape):
    """Returns the notes on a landscape, without a run."""
    landscape = Landscape(**{"sample": uniform, "name": "mine", **landscape})
    descent = descent_of(landscape, optax.sgd(1e-3), starts is not None, NOW, None, (), is_noisy, False)
    return look(descent, key, starts, num_descents)()


def with_gradient(value, grad):
    """A function whose custom derivative is what `grad` says."""
    fn = jax.custom_vjp(value)
    fn.defvjp(lambda x: (value(x), x), lambda x, cotangent: (cotangent * grad(x),))
    return fn


GRADIENTS = {
    "wrong sign": lambda x: -jax.grad(wells)(x),
    "forgotten factor": lambda x: 2 * jax.grad(wells)(x),
    "another function's": lambda x: jax.grad(lambda x: jnp.sum(jnp.cos(3 * x)))(x),
    "zero": jnp.zeros_like,
}


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_a_gradient_that_is_not_that_of_the_value_is_refused(key, name, dtype):
    grad, sample = GRADIENTS[name], functools.partial(uniform, dtype=dtype)
    with pytest.raises(InputValueError, match=r"the gradient of landscape `mine` is not that .* mend `value_and_grad`"):
        looked(key, value=wells, sample=sample, value_and_grad=lambda x: (wells(x), grad(x)))
    with pytest.raises(InputValueError, match=r"not that of its value: .* mend the custom derivative in `value`"):
        looked(key, value=with_gradient(wells, grad), sample=sample)


def test_a_wrong_custom_jvp_is_refused(key):
    value = jax.custom_jvp(wells)
    value.defjvp(lambda primals, tangents: (wells(*primals), -jnp.vdot(jax.grad(wells)(*primals), *tangents)))
    with pytest.raises(InputValueError, match="mend the custom derivative"):
        looked(key, value=value)


def test_a_value_and_grad_of_another_function_is_refused(key):
    with pytest.raises(InputValueError, match="gives another value than `value`"):
        looked(key, value=wells, value_and_grad=jax.value_and_grad(lambda x: jnp.sum(x**2)))


def test_a_run_with_a_wrong_gradient_is_refused_and_maxima_are_not_called_minima(key):
    hill = Landscape(value=wells, sample=uniform, value_and_grad=lambda x: (wells(x), -jax.grad(wells)(x)))
    with pytest.raises(InputValueError, match="is not that of its value"):
        jaxgd.descend(hill, optax.sgd(1e-3), 5, key=key, stop=NOW)


SCALES = np.asarray([1e-8, 1e-2, 1e5])


def ripples(x):
    return jnp.sum(jnp.abs(jnp.sin(50 * x)))


def hinge(x):
    return jnp.sum(jnp.maximum(jnp.sort(x), 0)) + jnp.abs(x[0] - x[1])


RIGHT = {
    "right": (wells, uniform),
    "absolute values": (lambda x: jnp.sum(jnp.abs(x)), uniform),
    "starts at a kink": (lambda x: jnp.sum(jnp.abs(x)), lambda key: 0 * uniform(key)),
    "hinges and sorting": (hinge, uniform),
    "many kinks": (ripples, uniform),
    "a large offset": (lambda x: 1e9 + wells(x), uniform),
    "badly scaled starts": (lambda x: wells(x / SCALES), lambda key: SCALES * uniform(key)),
    "badly scaled function": (lambda x: wells(x / SCALES), uniform),
    "joules and metres": (lambda x: 1e-21 * wells(1e10 * x), lambda key: 1e-10 * uniform(key)),
    "zero starts": (wells, lambda key: 0 * uniform(key)),
    "flat": (lambda x: 0 * jnp.sum(x), uniform),
    "exploding": (lambda x: jnp.sum(x**-12 - x**-6), lambda key: uniform(key) / 100),
    "half of the starts not finite": (lambda x: jnp.sqrt(x[0]) + wells(x), uniform),
    "never finite": (lambda x: jnp.sqrt(-1 - x[0] ** 2), uniform),
}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_a_right_gradient_is_not_called_wrong(key, name, dtype):
    value, sample = RIGHT[name]
    with jax.numpy_dtype_promotion("standard"):
        in_dtype = lambda x: value(x).astype(dtype)
        notes = looked(
            key,
            value=in_dtype,
            sample=lambda key: sample(key).astype(dtype),
            value_and_grad=lambda x: jax.value_and_grad(in_dtype)(x),
        )
    assert notes == ()


def test_a_sign_is_seen_in_badly_scaled_coordinates(key):
    with jax.numpy_dtype_promotion("standard"):
        value = lambda x: wells(x / SCALES)
        for sample in (uniform, lambda key: SCALES * uniform(key)):
            with pytest.raises(InputValueError, match="is not that of its value"):
                looked(key, value=value, sample=sample, value_and_grad=lambda x: (value(x), -jax.grad(value)(x)))


def test_given_starts_and_pytrees_are_looked_at(key):
    value = lambda p: jnp.sum(p["a"] ** 2) * p["b"]
    wrong = {"value": value, "value_and_grad": lambda p: (value(p), jax.tree.map(jnp.negative, jax.grad(value)(p)))}
    sample = lambda key: {"a": jax.random.normal(key, (2, 2)), "b": jnp.ones(())}
    starts = {"a": jnp.ones((1, 2, 2)), "b": jnp.ones(1)}
    for given in (None, starts):
        with pytest.raises(InputValueError, match="is not that of its value"):
            looked(key, starts=given, sample=sample, **wrong)


def test_noise_in_the_value_is_not_called_a_wrong_gradient_but_told(key):
    draw = np.random.default_rng(0)

    def noisy(x):
        shape = jax.ShapeDtypeStruct((), x.dtype)
        return wells(x) + jax.pure_callback(lambda x: draw.normal(), shape, x, vmap_method="sequential")

    notes = looked(key, value=with_gradient(noisy, jax.grad(wells)))
    assert len(notes) == 1
    assert "`value` of landscape `mine` gives two answers for the same params" in notes[0]


def test_a_value_that_numpy_makes_random_is_told_so(key):
    with pytest.raises(InputValueError, match="`value` of landscape `mine` gives two answers for the same params"):
        looked(key, value=lambda x: wells(x) + np.random.normal() * x[0])
    assert looked(key, value=lambda x: wells(x) + np.random.default_rng(0).normal() * x[0]) == ()


@pytest.mark.parametrize(
    "sample",
    [
        lambda key: jnp.asarray(np.random.uniform(-1, 1, size=3)),
        lambda key: np.random.uniform(-1, 1, size=3),
        lambda key: jnp.asarray([random.random() for _ in range(3)]),
        lambda key: uniform(key) + jnp.asarray(np.random.uniform(size=3)),
    ],
)
def test_starts_that_numpy_or_python_draw_are_refused(key, sample):
    with pytest.raises(InputValueError, match="`sample` of landscape `mine` draws from a random state of its own"):
        looked(key, value=wells, sample=sample)


def test_noise_that_numpy_draws_is_refused(key):
    frozen = lambda x, key: wells(x) + np.random.normal() * x[0]
    with pytest.raises(InputValueError, match="`noisy_value` of landscape `mine` draws from a random state of its own"):
        looked(key, value=wells, noisy_value=frozen, is_noisy=True)
    assert looked(key, value=wells, noisy_value=frozen) == ()


def test_the_same_start_for_all_is_noted_and_may_be_meant(key):
    same = {"value": wells, "sample": lambda key: jnp.ones(3)}
    (note,) = looked(key, **same)
    assert note == "all starts are the same: `sample` of landscape `mine` does not use its key."
    assert looked(key, num_descents=1, **same) == ()
    assert looked(key, starts=jnp.ones((8, 3)), **same) == ()
    with jax.numpy_dtype_promotion("standard"):
        walk = jaxgd.descend(Landscape(**same), optax.add_noise(0.1, 0.1, 0), 4, key=key, stop=Stop(max_steps=2))
    assert len(np.unique(walk.params)) == 12
    assert walk.notes == ("all starts are the same: `sample` of landscape `landscape` does not use its key.",)


def test_nothing_is_evaluated_where_jax_differentiates_by_itself(key, monkeypatch):
    monkeypatch.setattr(first_look, "_tried", lambda *args: pytest.fail("it was"))
    assert looked(key, value=lambda x: wells(jax.nn.relu(x)) + jax.nn.logsumexp(x)) == ()
    own = jaxgd.landscapes.lennard_jones(num_atoms=3)
    descent = descent_of(own, optax.sgd(1e-3), False, NOW, None, (), False, False)
    assert look(descent, key, None, 10)() == ()
    with pytest.raises(pytest.fail.Exception):
        looked(key, value=wells, value_and_grad=jax.value_and_grad(wells))


def test_float32_below_its_noise_is_told_so(key):
    landscape = Landscape(value=wells, sample=functools.partial(uniform, dtype=jnp.float32))
    run = lambda rate, **stop: jaxgd.descend(landscape, optax.sgd(rate), 20, key=key, stop=Stop(**stop))
    (note,) = run(5e-3, gradient_norm=1e-7, max_steps=1000).notes
    assert note.startswith("rounding in float32 holds up descents that ran out of steps: 16 of 16")
    assert "jax_enable_x64" in note
    assert "a larger `gradient_norm`" in note
    # so small a rate that no step is left after rounding, though the gradient is well above its noise
    stalled = run(1e-4, gradient_norm=1e-5, max_steps=20_000)
    assert "rounding in float32" in stalled.notes[0]
    assert run(1e-4, gradient_norm=1e-5, max_steps=3000).notes == ()  # slow, but it moves


def test_a_norm_below_the_noise_of_float64_is_told_so(key):
    landscape = Landscape(value=wells, sample=uniform)
    ends = jaxgd.descend(landscape, optax.sgd(5e-3), 20, key=key, stop=Stop(gradient_norm=1e-17, max_steps=1000))
    assert ends.status_counts() == {"step_limit": 20}
    (note,) = ends.notes
    assert note.startswith("rounding in float64 holds up")
    assert "jax_enable_x64" not in note
