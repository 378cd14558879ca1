"""Models of each library are taken apart as the library does it, and put together again."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgd.base import InputTypeError, InputValueError
from jaxgd.diagnose import diagnose, take_apart
from jaxgd.diagnose.data import read_data
from jaxgd.diagnose.model import fitted_state, taken_optimizer


def joined(parts):
    return parts.join(jax.tree.leaves(parts.params), parts.fixed)


def test_integers_keys_and_functions_of_a_pytree_are_fixed(key):
    model = {"w": jnp.ones(2), "steps": jnp.zeros((), jnp.int32), "key": key, "act": jnp.tanh, "none": None}
    parts = take_apart(model)
    assert parts.names == ("w",)
    assert parts.fixed_names == ("key", "steps")
    assert joined(parts)["act"] is jnp.tanh
    assert jax.tree.structure(optax.adam(0.1).init(parts.params)[0].mu).num_leaves == 1


def test_leaves_can_be_chosen_by_name():
    parts = take_apart({"head": {"w": np.ones(2)}, "body": {"w": np.ones(3)}}, lambda name: name.startswith("head"))
    assert parts.names == ("head/w",)
    assert parts.fixed_names == ("body/w",)


def test_equinox_module_is_split_as_its_filter_does(key):
    equinox = pytest.importorskip("equinox")
    model = equinox.nn.MLP(3, 1, 4, 1, key=key)
    parts = take_apart(model)
    assert parts.kind == "equinox"
    assert jax.tree.structure(parts.params) == jax.tree.structure(equinox.filter(model, equinox.is_inexact_array))
    np.testing.assert_array_equal(joined(parts)(jnp.ones(3)), model(jnp.ones(3)))
    assert hash(parts.join) == hash(take_apart(model).join)
    assert parts.join == take_apart(model).join


def test_nnx_module_keeps_its_batch_statistics_fixed(key):
    nnx = pytest.importorskip("flax.nnx")

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.dense, self.norm = nnx.Linear(3, 4, rngs=rngs), nnx.BatchNorm(4, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.norm(self.dense(x), use_running_average=True)

    model = Model(nnx.Rngs(0))
    parts = take_apart(model)
    assert parts.kind == "nnx"
    assert set(parts.names) == {"dense/kernel", "dense/bias", "norm/scale", "norm/bias"}
    assert {"norm/mean", "norm/var"} <= set(parts.fixed_names)
    x = jnp.ones((2, 3), jnp.float32)
    np.testing.assert_array_equal(joined(parts)(x), model(x))
    optimizer, state = taken_optimizer(nnx.Optimizer(model, optax.adam(0.1), wrt=nnx.Param), None)
    fitted = fitted_state(state, optimizer.init(parts.params))
    assert jax.tree.structure(fitted) == jax.tree.structure(optimizer.init(parts.params))


def test_linen_variables_and_train_states_are_recognised(key):
    variables = {"params": {"w": jnp.ones(2)}, "batch_stats": {"mean": jnp.zeros(2)}}
    parts = take_apart(variables)
    assert parts.kind == "linen"
    assert parts.fixed_names == ("batch_stats/mean",)
    assert jax.tree.structure(parts.params) == jax.tree.structure({"w": 0})
    assert set(joined(parts)) == {"params", "batch_stats"}
    train_state = pytest.importorskip("flax.training.train_state")
    state = train_state.TrainState.create(apply_fn=None, params=variables["params"], tx=optax.adam(0.1))
    parts = take_apart(state)
    assert parts.optimizer is state.tx
    assert parts.optimizer_state is state.opt_state
    assert parts.names == ("w",)


def test_haiku_pair_keeps_its_averages_fixed():
    pytest.importorskip("haiku")
    params = {"linear": {"w": jnp.ones(2)}}
    state = {"norm/~/mean_ema": {name: jnp.zeros(2) for name in ("average", "hidden", "counter")}}
    parts = take_apart((params, state))
    assert parts.kind == "haiku"
    assert parts.names == ("linear/w",)
    assert jax.tree.structure(parts.params) == jax.tree.structure(params)


def test_half_precision_is_looked_at_in_float32_and_said(key):
    square = lambda p, batch: jnp.sum(p["w"] ** 2)
    model = {"w": jnp.ones(3, jnp.bfloat16)}
    found = diagnose(model, square, key=key, tier="cheap", optimizer=optax.sgd(jnp.float32(0.1)))
    assert any("1 leaves have fewer bits than float32" in note for note in found.notes)
    assert found["gradient norm"].value == pytest.approx(2 * 3**0.5)


# ------------------------------------------------------------------------------------------------------ bad input


def mean_square(params, batch):
    return jnp.mean((batch @ params["w"]) ** 2)


BATCH, MODEL = np.ones((4, 2)), {"w": jnp.ones(2)}


def test_data_that_run_dry_or_differ_in_length_are_refused():
    with pytest.raises(InputValueError, match="`data` ran dry before its first batch"):
        read_data(iter([]), None)
    with pytest.raises(InputValueError, match="one axis of examples in common"):
        read_data((np.ones(3), np.ones(4)), None)
    with pytest.raises(InputValueError, match="`data` has no examples"):
        read_data(np.ones((0, 2)), None)
    with pytest.raises(InputValueError, match="`batch_size` must be an integer of at least 1, got 0"):
        read_data(BATCH, 0)
    with pytest.raises(InputTypeError, match="`data` must hold arrays, got a str"):
        read_data({"x": "abc"}, None)


def test_endless_iterators_are_read_as_far_as_is_needed():
    def batches():
        while True:
            yield {"x": np.ones((8, 2))}

    read = read_data(batches(), None, max_examples=20)
    assert (read.num_examples, read.batch_size) == (20, 8)
    assert "20 of 24 examples" in read.notes[-1]


def test_random_losses_without_a_key_are_refused(key):
    draws = iter(range(10))
    noisy = lambda params, batch: jnp.sum(params["w"]) + float(next(draws))
    with pytest.raises(InputValueError, match=r"`loss` is random: two calls .* `has_key=True`"):
        diagnose(MODEL, noisy, BATCH, key=key)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda params, batch: batch @ params["w"], r"must return one floating-point number, got shape \(4,\)"),
        (lambda params, batch: (jnp.sum(params["w"]), 1), "`loss` returns a tuple: say `has_aux=True`"),
        (lambda params, batch: params["v"], "`loss` raised KeyError at the model and the first examples"),
    ],
)
def test_losses_that_are_no_number_are_refused(key, loss, message):
    with pytest.raises(InputTypeError, match=message):
        diagnose(MODEL, loss, BATCH, key=key)


def test_other_bad_arguments_are_refused(key):
    with pytest.raises(InputTypeError, match="there is nothing to train"):
        take_apart({"n": jnp.ones((), jnp.int32)})
    with pytest.raises(InputTypeError, match="`z` is complex"):
        take_apart({"z": jnp.ones((), jnp.complex64)})
    with pytest.raises(InputValueError, match="`tier` must be 'full' or 'cheap', got 'fast'"):
        diagnose(MODEL, mean_square, BATCH, key=key, tier="fast")
    with pytest.raises(InputTypeError, match="`optimizer` must be an optax optimizer, got a float"):
        diagnose(MODEL, mean_square, BATCH, key=key, optimizer=0.1)
    with pytest.raises(InputValueError, match="`optimizer_state` has 1 arrays that do not fit"):
        fitted_state([jnp.ones(3)], optax.adam(0.1).init(MODEL))


def test_diverged_models_are_told_before_anything_is_computed(key):
    found = diagnose({"w": jnp.array([1.0, jnp.nan])}, mean_square, BATCH, key=key)
    assert found.cause == "diverged"
    assert found.notes[-1] == "not finite: w"
    huge = diagnose({"w": jnp.array([1e200, 1.0])}, mean_square, BATCH, key=key)
    assert huge.cause == "diverged"
    assert "the loss is not finite" in huge.notes[-1]
