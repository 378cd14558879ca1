"""What can be params, and what is said of what cannot."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd import Landscape, Restart, Status, Stop
from jaxgd.checks import is_like

ONE_STEP = Stop(gradient_norm=1e-6, max_steps=1)


@jax.tree_util.register_pytree_node_class
class Model:
    """A pytree as people write them: no `__eq__`, and whatever it needs to know beside its arrays."""

    def __init__(self, weights, known):
        self.weights, self.known = weights, known

    def tree_flatten(self):
        return (self.weights,), self.known

    @classmethod
    def tree_unflatten(cls, known, children):
        return cls(*children, known)


class Known:
    """Static data without `__eq__`, so that two of them always differ."""

    target = 1.0


def draw(key, known):
    return Model(jax.random.normal(key, (2,)), known())


def bowl(model):
    return jnp.sum((model.weights - model.known.target) ** 2)


def descend(value, sample, **how):
    landscape = Landscape(value=value, sample=sample, name="mine")
    asked = dict(stop=ONE_STEP, engine=jaxgd.Engine(num_lanes=2)) | how
    if "starts" not in asked:
        asked["num_starts"] = 3
    return jaxgd.descend(landscape, optax.sgd(0.5), key=jax.random.key(0), **asked)


SHARED = Known()


@pytest.mark.parametrize("known", [lambda: SHARED, Known], ids=["shared", "fresh"])
def test_static_data_that_do_not_know_when_they_are_equal_may_be_in_params(known):
    ends = descend(bowl, lambda key: draw(key, known))
    assert ends.status_counts() == {"converged": 3}
    np.testing.assert_allclose(ends.params.weights, 1.0, rtol=1e-12)


def test_given_starts_and_later_draws_may_hold_other_static_data():
    starts = Model(jnp.zeros((3, 2)), Known())
    ends = descend(
        bowl,
        lambda key: draw(key, Known),
        starts=starts,
        stop=Stop(gradient_norm=1e-6, max_steps=3),
        restart=Restart(on=(Status.CONVERGED,), max_restarts=1, step_factor=1.0),
    )
    np.testing.assert_array_equal(ends.num_restarts, [1, 1, 1])
    np.testing.assert_allclose(ends.params.weights, 1.0, rtol=1e-12)


def test_numbers_of_python_may_be_params():
    ends = descend(lambda p: (p["a"] - 1.0) ** 2 + p["b"] ** 2, lambda key: {"a": jax.random.normal(key), "b": 2.0})
    np.testing.assert_array_equal(ends.params["b"], np.zeros(3))


def test_trees_are_compared_by_their_leaves():
    one, other = (Model(jnp.zeros(size), SHARED) for size in (2, 3))
    assert is_like(one, Model(jnp.ones(2), SHARED))
    assert not is_like(one, other)
    assert not is_like(one, [jnp.zeros(2)])


@dataclass
class NotATree:
    weights: jax.Array


LISTS = lambda key: Model(jax.random.normal(key, (2,)), {"sizes": np.arange(3)})
LEAF = lambda leaf: lambda key: {"w": jax.random.normal(key, (2,)), "n": leaf(key) if callable(leaf) else leaf}
OUT = "convert it, or leave it out of the params and let `value` close over it"

REFUSED = {
    "hold static data that cannot be hashed or compared": LISTS,
    rf"\['n'\] is int64; {OUT}": LEAF(3),
    rf"\['n'\] is a str; {OUT}": LEAF("relu"),
    rf"\['n'\] is key<fry>; {OUT}": LEAF(lambda key: key),
    r"make it a pytree, `jax.tree_util.register_dataclass\(NotATree\)`": lambda key: NotATree(jnp.zeros(2)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_params_is_refused_with_what_to_do(message):
    with pytest.raises(jaxgd.InputTypeError, match=message):
        descend(lambda params: 0.0, REFUSED[message])


def loss_and_more(x):
    return jnp.sum(x**2), {"accuracy": 1.0}


def value_with_more_and_grad(x):
    return jax.value_and_grad(loss_and_more, has_aux=True)(x)


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ({"value": loss_and_more}, "`value` returns a tuple; return only the loss, for example `lambda p: loss"),
        (
            {"value": lambda x: jnp.sum(x**2), "value_and_grad": value_with_more_and_grad},
            r"`value_and_grad` must return \(loss, gradient\), but its first item is itself a tuple",
        ),
        (
            {"value": lambda x: jnp.sum(x**2), "noisy_value": lambda x, key: loss_and_more(x)},
            "`noisy_value` returns a tuple; return only the loss",
        ),
    ],
)
def test_a_loss_that_returns_more_is_refused_with_what_to_do(functions, message, key):
    landscape = Landscape(sample=lambda key: jax.random.normal(key, (2,)), **functions)
    with pytest.raises(jaxgd.InputValueError, match=message):
        jaxgd.descend(landscape, optax.sgd(0.1), 2, key=key, is_noisy="noisy_value" in functions)


@pytest.mark.slow
def test_models_of_equinox_are_params_once_their_arrays_are_kept_apart():
    equinox = pytest.importorskip("equinox")
    make = lambda key: equinox.nn.MLP(2, "scalar", 3, 1, key=key)
    loss = lambda model: jnp.sum(jax.vmap(model)(jnp.eye(2)) ** 2)
    with pytest.raises(jaxgd.InputTypeError, match=r"activation is a .*; .*equinox.partition\(model"):
        descend(loss, make)
    rest = equinox.partition(make(jax.random.key(0)), equinox.is_inexact_array)[1]
    arrays = lambda key: equinox.partition(make(key), equinox.is_inexact_array)[0]
    assert len(descend(lambda params: loss(equinox.combine(params, rest)), arrays)) == 3


@pytest.mark.slow
def test_modules_of_flax_are_params_whole_or_split():
    nnx = pytest.importorskip("flax.nnx")

    class Noisy(nnx.Module):
        def __init__(self, rngs):
            self.layer, self.noise = nnx.Linear(2, 1, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.layer(x)

    inputs = jnp.eye(2, dtype=jnp.float32)
    loss = lambda model: jnp.sum(model(inputs) ** 2)
    assert len(descend(loss, lambda key: nnx.Linear(2, 1, rngs=nnx.Rngs(key)))) == 3
    with pytest.raises(jaxgd.InputTypeError, match=r"is uint32; .*flax.nnx.split\(model"):
        descend(loss, lambda key: Noisy(nnx.Rngs(key)))
    graph, _, rest = nnx.split(Noisy(nnx.Rngs(0)), nnx.Param, ...)
    params = lambda key: nnx.split(Noisy(nnx.Rngs(key)), nnx.Param, ...)[1]
    assert len(descend(lambda params: loss(nnx.merge(graph, params, rest)), params)) == 3
