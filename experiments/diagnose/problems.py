"""Networks on the digits that are stuck for a known reason: each is built, not found.

    minimum           the loss with a penalty minimised by L-BFGS
    saddle            every hidden unit twice, minimised among networks whose twins are equal
    saturated units   sigmoids with biases of 40 or -40, the rest trained
    dead units        rectifiers with biases of -30, the rest trained
    step too large    gradient descent at a rate of 20
    step too small    the start of gradient descent at a rate of 1e-6
    gradient noise    batches of two at a rate of 0.5, until nothing improves
    bad conditioning  an output bias that counts 300 times, at the rate that this allows
    stale state       Adam that remembers squares of 1e6 for ever
    clipped           gradients clipped to a norm of 1e-5
    descending        none of these: a healthy run

An architecture says how its parameters are drawn, what it computes and how its twins are made equal; nothing else
differs between them.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd.diagnose import Cause
from jaxgd.landscapes.digits import _digits
from jaxgd.transforms import lbfgs

ACTIVATIONS = {"tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu}
NUM_STEPS = 3000


class Architecture(NamedTuple):
    """One kind of network.

    Attributes:
      sample: maps a key to params; hidden biases are called "hidden_bias", the output's "bias".
      apply: maps (params, (n, 64) pixels, activation) to (n, 10) logits.
      tie: maps params to those with twins made equal.
    """

    sample: Callable[[jax.Array], Any]
    apply: Callable[[Any, jax.Array, Callable[[jax.Array], jax.Array]], jax.Array]
    tie: Callable[[Any], Any]


class Case(NamedTuple):
    """A stuck network and why.

    Attributes:
      cause: the truth.
      params: of the network.
      loss: maps (params, batch) to a number.
      optimizer: of its training.
      state: the optimizer's.
      batch_size: None where steps see all data.
    """

    cause: Cause
    params: Any
    loss: Callable[..., Any]
    optimizer: Any
    state: Any
    batch_size: int | None


@functools.cache
def data() -> tuple[np.ndarray, np.ndarray]:
    """Returns pixels, less their means, and digits."""
    pixels, targets = _digits()
    return pixels - pixels.mean(0), targets.argmax(1)


# ------------------------------------------------------------------------------------------------- architectures


def _dense(key: jax.Array, inputs: int, outputs: int) -> jax.Array:
    return jax.random.normal(key, (inputs, outputs)) / np.sqrt(inputs)


def _twins(array: jax.Array, axis: int) -> jax.Array:
    """Returns an array whose two halves along an axis are their mean."""
    mean = sum(jnp.split(array, 2, axis)) / 2
    return jnp.concatenate([mean, mean], axis)


def perceptron(*widths: int) -> Architecture:
    """Returns a network of dense layers; its first hidden units are twins."""
    sizes = (64, *widths, 10)

    def sample(key: jax.Array) -> Any:
        keys = jax.random.split(key, len(sizes) - 1)
        weights = [_dense(key, *pair) for key, pair in zip(keys, itertools.pairwise(sizes), strict=True)]
        return {"weights": weights, "hidden_bias": [jnp.zeros(width) for width in widths], "bias": jnp.zeros(10)}

    def apply(params: Any, x: jax.Array, activation: Callable[[jax.Array], jax.Array]) -> jax.Array:
        for weights, bias in zip(params["weights"], params["hidden_bias"], strict=False):
            x = activation(x @ weights + bias[None])
        return x @ params["weights"][-1] + params["bias"][None]

    def tie(params: Any) -> Any:
        (first, second, *rest), (bias, *others) = params["weights"], params["hidden_bias"]
        weights = [_twins(first, 1), _twins(second, 0), *rest]
        return params | {"weights": weights, "hidden_bias": [_twins(bias, 0), *others]}

    return Architecture(sample, apply, tie)


def residual(width: int) -> Architecture:
    """Returns a dense layer, and a hidden one around which its result is led; the latter's units are twins."""

    def sample(key: jax.Array) -> Any:
        keys = jax.random.split(key, 4)
        return {
            "entry": _dense(keys[0], 64, width),
            "inner": _dense(keys[1], width, width),
            "outer": _dense(keys[2], width, width),
            "exit": _dense(keys[3], width, 10),
            "hidden_bias": [jnp.zeros(width), jnp.zeros(width)],
            "bias": jnp.zeros(10),
        }

    def apply(params: Any, x: jax.Array, activation: Callable[[jax.Array], jax.Array]) -> jax.Array:
        x = activation(x @ params["entry"] + params["hidden_bias"][0][None])
        x = x + activation(x @ params["inner"] + params["hidden_bias"][1][None]) @ params["outer"]
        return x @ params["exit"] + params["bias"][None]

    def tie(params: Any) -> Any:
        first, second = params["hidden_bias"]
        return params | {
            "inner": _twins(params["inner"], 1),
            "outer": _twins(params["outer"], 0),
            "hidden_bias": [first, _twins(second, 0)],
        }

    return Architecture(sample, apply, tie)


def convolution(num_filters: int) -> Architecture:
    """Returns filters of 3 x 3 pixels, every second place, and a dense layer; the filters are twins."""

    def sample(key: jax.Array) -> Any:
        keys = jax.random.split(key, 2)
        return {
            "filters": jax.random.normal(keys[0], (3, 3, 1, num_filters)) / 3,
            "exit": _dense(keys[1], 16 * num_filters, 10),
            "hidden_bias": [jnp.zeros(num_filters)],
            "bias": jnp.zeros(10),
        }

    def apply(params: Any, x: jax.Array, activation: Callable[[jax.Array], jax.Array]) -> jax.Array:
        images = x.reshape(-1, 8, 8, 1)
        seen = jax.lax.conv_general_dilated(
            images, params["filters"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        seen = activation(seen + params["hidden_bias"][0][None, None, None])
        return seen.reshape(len(x), -1) @ params["exit"] + params["bias"][None]

    def tie(params: Any) -> Any:
        out = _twins(params["exit"].reshape(16, num_filters, 10), 1).reshape(-1, 10)
        return params | {
            "filters": _twins(params["filters"], 3),
            "exit": out,
            "hidden_bias": [_twins(params["hidden_bias"][0], 0)],
        }

    return Architecture(sample, apply, tie)


ARCHITECTURES = {
    "perceptron": functools.cache(lambda: perceptron(12)),
    "deep": functools.cache(lambda: perceptron(10, 10)),
    "residual": functools.cache(lambda: residual(10)),
    "convolution": functools.cache(lambda: convolution(6)),
}
FRESH = ("convolution",)
"""Not looked at while the rules were made."""


# ------------------------------------------------------------------------------------------------- causes


@functools.cache
def _loss(name: str, activation: str, l2: float, bias_scale: float = 1.0, is_tied: bool = False) -> Callable[..., Any]:
    architecture, activate = ARCHITECTURES[name](), ACTIVATIONS[activation]

    def loss(params: Any, batch: Any) -> jax.Array:
        pixels, digits = batch
        params = architecture.tie(params) if is_tied else params
        logits = architecture.apply(params | {"bias": bias_scale * params["bias"]}, pixels, activate)
        right = jnp.take_along_axis(jax.nn.log_softmax(logits), digits[:, None], axis=1)
        return l2 / 2 * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)) - jnp.mean(right)

    return loss


@functools.partial(jax.jit, static_argnums=(0, 1, 4, 5))
def _trained(loss: Any, optimizer: Any, params: Any, key: jax.Array, num_steps: int, batch_size: int | None) -> Any:
    """Returns params and the optimizer's state after some steps."""
    arrays = jax.tree.map(jnp.asarray, data())

    def tick(carry: Any, key: jax.Array) -> Any:
        params, state = carry
        rows = None if batch_size is None else jax.random.randint(key, (batch_size,), 0, len(arrays[1]))
        batch = arrays if rows is None else jax.tree.map(lambda leaf: leaf[rows], arrays)
        value, gradient = jax.value_and_grad(loss)(params, batch)
        update, state = optimizer.update(gradient, state, params, value=value)
        return (optax.apply_updates(params, update), state), None

    return jax.lax.scan(tick, (params, optimizer.init(params)), jax.random.split(key, num_steps))[0]


@functools.cache
def _sgd(rate: float) -> Any:
    return optax.chain(optax.sgd(rate))


_LBFGS = lbfgs(memory_size=8)
_ADAM = optax.chain(optax.adam(3e-3, b2=0.99999))
_CLIPPED = optax.chain(optax.clip_by_global_norm(1e-5), optax.sgd(0.1))


def case(cause: Cause, name: str, key: jax.Array) -> Case:
    """Returns a network of the named architecture that is stuck for this reason."""
    key_start, key_bias, key_train = jax.random.split(key, 3)
    architecture = ARCHITECTURES[name]()
    start = architecture.sample(key_start)
    biased = lambda value: start | {"hidden_bias": [value(bias) for bias in start["hidden_bias"]]}
    optimizer, batch_size, num_steps, loss = _sgd(0.1), None, 0, _loss(name, "tanh", 1e-3)

    match cause:
        case Cause.MINIMUM:
            loss = _loss(name, "tanh", 1e-2)
            start = _trained(loss, _LBFGS, start, key_train, NUM_STEPS, None)[0]
        case Cause.SADDLE:
            start = architecture.tie(start)
            start = architecture.tie(
                _trained(_loss(name, "tanh", 1e-3, is_tied=True), _LBFGS, start, key_train, NUM_STEPS, None)[0]
            )
        case Cause.SATURATED_UNITS:
            optimizer, loss, num_steps = _sgd(0.5), _loss(name, "sigmoid", 0.0), NUM_STEPS
            start = biased(lambda bias: jnp.where(jax.random.bernoulli(key_bias, 0.5, bias.shape), 40.0, -40.0))
        case Cause.DEAD_UNITS:
            optimizer, loss, num_steps = _sgd(0.2), _loss(name, "relu", 0.0), NUM_STEPS
            start = biased(lambda bias: bias - 30.0)
        case Cause.STEP_TOO_LARGE:
            optimizer, num_steps = _sgd(20.0), NUM_STEPS
        case Cause.STEP_TOO_SMALL:
            optimizer = _sgd(1e-6)
        case Cause.NOISE:
            optimizer, batch_size, num_steps = _sgd(0.5), 2, 2 * NUM_STEPS
        case Cause.CONDITIONING:
            optimizer, loss, num_steps = _sgd(1e-4), _loss(name, "tanh", 0.0, 300.0), NUM_STEPS
        case Cause.STALE_STATE:
            optimizer, num_steps = _ADAM, 30
        case Cause.CLIPPED:
            optimizer = _CLIPPED
        case _:  # healthy, soon after the start
            optimizer, batch_size, num_steps = _sgd(0.1), 32, 300

    params, state = _trained(loss, optimizer, start, key_train, num_steps, batch_size)
    if cause == Cause.STALE_STATE:
        adam = state[0][0]
        old = jax.tree.map(lambda leaf: leaf + 1e6, adam.nu)
        state = ((adam._replace(nu=old, count=adam.count + 1_000_000), *state[0][1:]), *state[1:])
    return Case(cause, params, loss, optimizer, state, batch_size)
