"""Claims about leaves that an optimizer never moves."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd import Landscape, Status, Stop, transforms
from jaxgd.descend import concatenate, descent_of, stream

START = {"a": jnp.ones(3), "b": jnp.full((), 2.0)}
ONLY_B, ONLY_A = {"a": False, "b": True}, {"a": True, "b": False}
LABELS = {"a": "moves", "b": "stays"}

# The trainable minimum is at a = 1 - b / 2, and the gradient in b is not zero there.
COUPLED = Landscape(
    value=lambda p: jnp.sum((p["a"] - 1) ** 2) + jnp.sum(p["a"]) * p["b"],
    sample=lambda key: {"a": jax.random.normal(key, (3,)), "b": jnp.full((), 2.0)},
)

FREEZES = {
    "freeze behind": optax.chain(optax.adam(0.1), optax.freeze(ONLY_B)),
    "freeze in front of moments": optax.chain(optax.freeze(ONLY_B), optax.adam(0.1)),
    "freeze in front of a trace": optax.chain(optax.freeze(ONLY_B), optax.sgd(0.1, momentum=0.9, nesterov=True)),
    "freeze in front of a global norm": optax.chain(optax.freeze(ONLY_B), optax.clip_by_global_norm(1.0)),
    "freeze in front of a warm-up": optax.chain(
        optax.freeze(ONLY_B), optax.sgd(optax.warmup_cosine_decay_schedule(0.0, 0.1, 10, 100))
    ),
    "masked": optax.chain(optax.masked(optax.set_to_zero(), ONLY_B), optax.sgd(0.1)),
    "multi_transform": optax.multi_transform({"moves": optax.adam(0.1), "stays": optax.set_to_zero()}, LABELS),
    "a rate of zero": optax.multi_transform({"moves": optax.adam(0.1), "stays": optax.sgd(0.0)}, LABELS),
    "selective_transform": optax.selective_transform(optax.adam(0.1), freeze_mask=ONLY_B),
    "jaxgd's lbfgs": optax.chain(transforms.lbfgs(), optax.freeze(ONLY_B)),
    "a stateless mask": optax.chain(
        optax.sgd(0.1), optax.stateless(lambda updates, params: {**updates, "b": 0.0 * updates["b"]})
    ),
}

MOVES = {
    "warm-up from zero": optax.sgd(optax.linear_schedule(0.0, 0.1, 100)),
    "one leaf warms up": optax.multi_transform(
        {"moves": optax.adam(0.1), "stays": optax.sgd(optax.linear_schedule(0.0, 0.1, 100))}, LABELS
    ),
    "unfreezes later": optax.multi_transform(
        {"moves": optax.adam(0.1), "stays": optax.sgd(lambda count: jnp.where(count < 10_000, 0.0, 0.1))}, LABELS
    ),
    "apply_every": optax.chain(optax.apply_every(4), optax.sgd(0.1)),
    "MultiSteps": optax.MultiSteps(optax.sgd(0.1), 4).gradient_transformation(),
    "weight decay": optax.chain(optax.freeze(ONLY_B), optax.add_decayed_weights(0.1)),
    "noise": optax.chain(optax.freeze(ONLY_B), optax.add_noise(0.1, 0.1, 0)),
    "projection": optax.chain(optax.sgd(0.1), optax.keep_params_nonnegative()),
    "nothing moves at all": optax.sgd(0.0),
    "all is frozen": optax.freeze(True),
}


def frozen(optimizer):
    return descent_of(COUPLED, optimizer, False, Stop(), None, (), False, False).frozen(START)


@pytest.mark.parametrize("name", FREEZES)
def test_a_leaf_that_gets_updates_of_zero_for_ever_is_frozen(name):
    with jax.numpy_dtype_promotion("standard"):
        assert frozen(FREEZES[name]) == ONLY_B


@pytest.mark.parametrize("name", MOVES)
def test_a_leaf_that_moves_at_some_time_is_not_frozen(name):
    with jax.numpy_dtype_promotion("standard"):
        assert frozen(MOVES[name]) is None


def test_the_other_leaf_can_be_frozen_too():
    assert frozen(optax.chain(optax.sgd(0.1), optax.freeze(ONLY_A))) == ONLY_A


def test_the_gradient_of_frozen_leaves_does_not_hold_up_the_stop_rule(key):
    optimizer = optax.chain(optax.sgd(0.1), optax.freeze(ONLY_B))
    ends = jaxgd.descend(COUPLED, optimizer, 8, key=key, stop=Stop(gradient_norm=1e-9, max_steps=500))
    assert ends.status_counts() == {"converged": 8}
    assert np.all(ends.gradient_norm <= 1e-9)
    np.testing.assert_allclose(ends.params["a"], 0.0, atol=1e-9)
    np.testing.assert_array_equal(ends.params["b"], 2.0)
    grad_of_b = jnp.sum(jnp.asarray(ends.params["a"]), axis=1)
    assert grad_of_b.shape == (8,)


def test_the_norm_of_a_frozen_leaf_counts_where_it_is_not_frozen(key):
    stop = Stop(gradient_norm=1e-9, max_steps=0)
    starts = {"a": jnp.ones((2, 3)), "b": jnp.zeros(2)}
    run = lambda optimizer: jaxgd.descend(COUPLED, optimizer, key=key, starts=starts, stop=stop)
    free, held = run(optax.sgd(0.1)), run(optax.chain(optax.sgd(0.1), optax.freeze(ONLY_B)))
    np.testing.assert_allclose(free.gradient_norm, 3.0)  # d value / d b = sum(a)
    np.testing.assert_array_equal(held.gradient_norm, 0.0)
    assert set(held.status) == {Status.CONVERGED}


def test_slices_and_joins_of_ends_keep_what_is_frozen(key):
    optimizer = optax.chain(optax.sgd(0.1), optax.freeze(ONLY_B))
    parts = list(stream(COUPLED, optimizer, 12, key=key, stop=Stop(max_steps=50), engine=jaxgd.Engine(num_lanes=3)))
    joined = concatenate(parts)
    assert joined.frozen == joined[3:5].frozen == ONLY_B
    assert type(joined.frozen["a"]) is bool
    assert jaxgd.descend(COUPLED, optax.sgd(0.1), 2, key=key, stop=Stop(max_steps=1)).frozen is None


def test_swept_optimizers_freeze_too(key):
    builder = lambda learning_rate: optax.chain(optax.sgd(learning_rate), optax.freeze(ONLY_B))
    found = jaxgd.sweep(COUPLED, builder, 3, key=key, stop=Stop(gradient_norm=1e-6), learning_rate=[0.1, 0.2])
    assert [ends.frozen for ends in found.ends] == [ONLY_B, ONLY_B]
    assert [ends.status_counts() for ends in found.ends] == [{"converged": 3}] * 2
