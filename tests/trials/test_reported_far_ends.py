"""Reported: ends took the verdict of a critical point that descent never came near.

An end has the verdict of a point only if it is beside that point. What is still descending, stands at a kink or is held
by a constraint is undecided, and carries no weight of a critical point.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from experiments.verdicts.problems.outcomes import claimed
from jaxgd import Stop, Verdict

NEAR = 1e-2  # of sizes of one: a point further off than this is not beside the end


def test_ends_at_a_kink_are_not_the_maximum_uphill_of_it(ask):
    found = ask(
        lambda x: -jnp.cos(x) + 0.9 * jnp.abs(x - 2.5), lambda key: 3 * jax.random.uniform(key), optax.sgd(0.01), 1000
    )
    at_kink = np.abs(found.ends.params - 2.5) < 0.05
    assert at_kink.sum() > 300
    assert not claimed(found.points)[at_kink].any()
    assert (found.points.verdict[~at_kink] == int(Verdict.MINIMUM)).all()
    np.testing.assert_allclose(found.catalogue.params, np.arcsin(0.9))


@pytest.mark.parametrize("max_steps", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_descents_that_were_cut_off_are_at_no_critical_point_but_one_beside_them(max_steps):
    landscape = jaxgd.landscapes.styblinski_tang(dim=4)
    found = jaxgd.survey(landscape, num_starts=200, key=jax.random.key(0), stop=Stop(max_steps=max_steps))
    says = claimed(found.points)
    away = np.max(np.abs(found.points.params - found.ends.params), axis=1)
    assert away[says].max(initial=0) < NEAR
    assert not (says & (found.ends.gradient_norm > 1)).any()


def test_a_descent_held_by_a_constraint_is_not_at_the_minimum_beyond_it(ask):
    held = optax.chain(optax.sgd(0.1), optax.keep_params_nonnegative())
    uniform = lambda key: jax.random.uniform(key, (2,), maxval=2.0)
    found = ask(lambda p: (p[0] + 1) ** 2 + (p[1] - 1) ** 2, uniform, held, 100, stop=Stop(max_steps=500))
    np.testing.assert_allclose(found.ends.params, [[0, 1]] * 100, atol=1e-6)
    assert not claimed(found.points).any()


def test_a_bowl_that_was_hardly_descended_has_no_end_at_its_bottom(ask):
    start = lambda key: jnp.array([2.0, 2.0]) * jnp.sign(jax.random.normal(key, (2,)))
    found = ask(lambda p: jnp.sum(p**2), start, optax.sgd(1e-6), 100, stop=Stop(max_steps=100))
    assert found.ends.gradient_norm.min() > 5.6
    assert not claimed(found.points).any()
    assert len(found.catalogue) == 0


def line_with_frozen_offset(p):
    x = jnp.linspace(0.0, 2.0, 12)
    return jnp.sum((p["slope"] * x + p["offset"] - (3 * x + 1 + 0.3 * jnp.cos(9 * x))) ** 2)


@pytest.fixture
def frozen(ask):
    start = lambda key: {"slope": jax.random.normal(key), "offset": jnp.array(0.0)}
    optimizer = optax.chain(optax.sgd(0.01), optax.freeze({"slope": False, "offset": True}))
    return ask(line_with_frozen_offset, start, optimizer, 50, stop=Stop(max_steps=2000))


def test_a_frozen_leaf_is_not_moved_by_judging(frozen):
    at = frozen.points.params["offset"]
    assert (np.abs(at[claimed(frozen.points)]) < 1e-9).all()


def test_a_frozen_leaf_is_judged_as_a_constant(frozen):
    assert frozen.ends.status_counts() == {"converged": 50}
    assert (frozen.points.verdict == int(Verdict.MINIMUM)).all()
    np.testing.assert_allclose(frozen.points.value, frozen.ends.value, rtol=1e-6)
