"""Reported: gradients that are not the function's, samples that are not random, and units that stop rules ignore."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from experiments.verdicts.problems.outcomes import claimed
from jaxgd import Stop, Symmetry


def normal(key):
    return jax.random.normal(key, (2,))


def objects(run, words):
    """Returns whether something is said: a refusal, a note or a warning with one of the words in it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = run()
        except (jaxgd.InputValueError, jaxgd.InputTypeError) as refused:
            said = [str(refused)]
        else:
            said = [*found.ends.notes, *found.points.notes, *(str(one.message) for one in caught)]
    return any(word in text for text in said for word in words)


WRONG_GRADIENTS = {
    "of the wrong sign": lambda x: (jnp.sum((x - 1) ** 2), -2 * (x - 1)),
    "of another function": lambda x: (jnp.sum((x - 1) ** 2), 2 * (x + 1)),
    "half as large": lambda x: (jnp.sum((x - 1) ** 2), x - 1),
}


@pytest.mark.parametrize("name", WRONG_GRADIENTS)
def test_a_gradient_that_is_not_the_functions_is_noticed(name):
    landscape = jaxgd.Landscape(
        value=lambda x: jnp.sum((x - 1) ** 2), sample=normal, value_and_grad=WRONG_GRADIENTS[name]
    )
    run = lambda: jaxgd.survey(landscape, optax.sgd(0.1), 20, key=jax.random.key(0), stop=Stop(max_steps=200))
    assert objects(run, ["is not that of its value"])


def test_a_sample_that_ignores_its_key_is_noticed(ask):
    draw = np.random.default_rng(0)
    run = lambda: ask(lambda x: jnp.sum((x - 1) ** 2), lambda key: jnp.asarray(draw.uniform(size=2)), None, 50)
    assert objects(run, ["key", "same start", "one start"])


def test_a_constant_start_is_noticed(ask):
    run = lambda: ask(lambda x: jnp.sum((x - 1) ** 2), lambda key: jnp.zeros(2), None, 50)
    assert objects(run, ["key", "same start", "one start", "all starts"])


@pytest.mark.slow
def test_ends_of_other_starts_are_not_paired():
    landscape = jaxgd.landscapes.styblinski_tang(dim=2)
    try:
        flow = jaxgd.gradient_flow(landscape, 20, key=jax.random.key(0))
    except ImportError:
        pytest.skip("the flow needs diffrax")
    ends = jaxgd.descend(landscape, optax.sgd(5e-3), 20, key=jax.random.key(1))
    with pytest.raises(jaxgd.InputValueError):
        jaxgd.basin_distortion(landscape, flow, ends)


def joules(x):
    return 1e-21 * jnp.sum((x**2 - 1) ** 2)


@pytest.mark.parametrize("start", ["random", pytest.param("constant", marks=pytest.mark.slow)])
def test_a_landscape_in_si_units_is_descended_or_said_not_to_be(start, ask):
    sample = normal if start == "random" else lambda key: jnp.array([0.3, -0.4])
    found = ask(joules, sample, None, 50)
    says = claimed(found.points)
    np.testing.assert_allclose(np.abs(found.points.params[says]), 1.0, atol=1e-3)
    is_there = np.abs(np.abs(found.ends.params) - 1).max(axis=1) < 1e-2
    assert is_there.all() or any("start" in note for note in found.points.notes)


def test_float32_below_its_noise_is_said(ask):
    with jax.enable_x64(False):
        noisy = lambda x: 1e4 + jnp.sum((100 * (x - 1)) ** 2) * (1 + 1e3 * jnp.sum(x**2))
        found = ask(noisy, normal, optax.adam(0.01), 50, stop=Stop(gradient_norm=1e-6, max_steps=3000))
    if found.ends.status_counts() != {"converged": 50}:
        assert any("float32" in note for note in found.ends.notes + found.points.notes)


@pytest.mark.parametrize("unit", [1e-9, pytest.param(1e9, marks=pytest.mark.slow)])
def test_motions_of_a_symmetry_may_be_given_in_any_unit(unit):
    """Two turns, one of them given in an odd unit, take away both of their zero modes."""
    value = lambda p: (jnp.sum(p["a"] ** 2) - 1) ** 2 + (jnp.sum(p["b"] ** 2) - 1) ** 2

    def generators(p):
        turned = lambda v: jnp.array([-v[1], v[0]])
        zero = jnp.zeros(2)
        return {"a": jnp.stack([turned(p["a"]), zero]), "b": jnp.stack([zero, unit * turned(p["b"])])}

    turns = Symmetry(
        name="turns",
        invariants=lambda p: jnp.stack([jnp.sum(p["a"] ** 2), jnp.sum(p["b"] ** 2)]),
        generators=generators,
    )
    start = lambda key: {"a": normal(key), "b": normal(jax.random.fold_in(key, 1))}
    landscape = jaxgd.Landscape(value=value, sample=start, symmetry=turns)
    found = jaxgd.survey(landscape, num_starts=20, key=jax.random.key(0))
    assert found.points.verdict_counts() == {"minimum": 20}
    assert (found.points.num_symmetry_modes == 2).all()


def test_the_share_of_negative_curvature_holds_its_resolution():
    rng = np.random.default_rng(0)
    eigenvalues = np.concatenate([np.zeros(120), rng.uniform(0.1, 1, 61), -rng.uniform(0.1, 1, 19)])
    turn = np.linalg.qr(rng.standard_normal((200, 200)))[0]
    hessian = jnp.asarray(turn @ np.diag(eigenvalues) @ turn.T)
    product = jaxgd.curvature.product_of(lambda v: hessian @ v, 200, dtype=jnp.float64)
    found = jaxgd.curvature.density(product, jax.random.key(0), num_vectors=8, num_steps=30)
    share = found.share_negative()
    assert share.low <= np.mean(eigenvalues < 0) <= share.high
