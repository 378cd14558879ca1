"""The assertions pass for what is right, and fail for each thing that is wrong, in words that say what."""

import jax
import jax.numpy as jnp
import pytest

import jaxgd
from jaxgd.testing import (
    assert_derivatives_agree,
    assert_landscape,
    assert_sample_uses_key,
    assert_symmetry_holds,
)


def value(x):
    return jnp.sum(x**2)


def sample(key):
    return jax.random.normal(key, (3,))


def ring(**changes):
    radius = lambda x: jnp.sqrt(jnp.sum(x**2))[None]
    turn = lambda x: jnp.stack([jnp.stack([-x[1], x[0], jnp.zeros_like(x[2])])])
    parts = {"name": "turns", "invariants": radius, "generators": turn} | changes
    return jaxgd.Landscape(value=value, sample=sample, symmetry=jaxgd.Symmetry(**parts))


def test_sound_landscapes_pass():
    assert_landscape(ring())
    assert_landscape(jaxgd.landscapes.lennard_jones(num_atoms=4))
    assert_landscape("mueller_brown")


@pytest.mark.parametrize(
    ("by_hand", "message"),
    [
        (lambda x: (value(x), 2.001 * x), "another gradient than `value`"),
        (lambda x: (value(x) + 1, 2 * x), "another value than `value`"),
        (lambda x: (value(x), 2 * x * jnp.nan), "is not finite"),
    ],
)
def test_derivatives_by_hand_that_disagree_are_found(by_hand, message):
    wrong = jaxgd.Landscape(value=value, sample=sample, value_and_grad=by_hand)
    with pytest.raises(AssertionError, match=message):
        assert_derivatives_agree(wrong)


def test_a_gradient_that_is_not_of_the_value_is_found():
    @jax.custom_jvp
    def f(x):
        return jnp.sum(x**2)

    f.defjvp(lambda primals, tangents: (f(*primals), 2.1 * jnp.sum(primals[0] * tangents[0])))
    with pytest.raises(AssertionError, match="not that of the value"):
        assert_derivatives_agree(jaxgd.Landscape(value=f, sample=sample))


def test_a_hessian_that_is_not_of_the_gradient_is_found():
    by_hand = lambda x: (value(x), x + jax.lax.stop_gradient(x))
    with pytest.raises(AssertionError, match="not that of the gradient"):
        assert_derivatives_agree(jaxgd.Landscape(value=value, sample=sample, value_and_grad=by_hand))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generators": lambda x: jnp.stack([x])}, "changes along a generator, at"),
        ({"generators": lambda x: x}, "leading axis of motions"),
        ({"invariants": lambda x: x[:1]}, "invariants change along a generator"),
        ({"invariants": lambda x: jnp.zeros(1)}, "tell no points apart"),
        ({"invariants": lambda x: jnp.sum(x)}, "must return a vector"),
        ({"random_motion": lambda x, key: 2 * x}, "under a random motion"),
    ],
)
def test_a_symmetry_that_is_none_is_found(changes, message):
    with pytest.raises(AssertionError, match=message):
        assert_symmetry_holds(ring(**changes))


def test_starts_that_do_not_use_their_key_are_found():
    with pytest.raises(AssertionError, match="different keys give the same start"):
        assert_sample_uses_key(jaxgd.Landscape(value=value, sample=lambda key: jnp.ones(3)))
