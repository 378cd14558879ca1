"""Small networks as people train them. What is known of their ends follows from how they are made.

- *Interpolating*: more parameters than data, smooth activation: at loss zero the ends lie on a manifold of minima whose
  dimension is the number of parameters less that of the data, where the residuals' derivatives are independent.
- *Dead units*: a ReLU unit that no input reaches has no gradient but its weight decay, and ends at zero, at a kink.
- *Begun at zero*: hidden units stay at zero, at a kink of ReLU.
- *Far*: an untrained network stands at no critical point.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxgd
from experiments.verdicts.problems.problem import Known, Problem

_X = np.linspace(-1.0, 1.0, 4)[:, None]
_Y = np.sin(3 * _X)
NOWHERE = (Known(value=-1.0),)
"""No critical point at all: no loss here is negative."""


def problems() -> list[Problem]:
    """Returns all of them."""
    interpolating = (Known(value=0.0, dimension=13 - 4),)
    return [
        *(
            Problem(
                name=f"interpolating, {name}",
                source="loss zero: parameters less data",
                value=lambda p, activation=activation: jnp.sum((_network(p, _X, activation) - _Y) ** 2),
                sample=_start(4),
                known=interpolating,
                num_starts=40,
                stop=jaxgd.Stop(gradient_norm=1e-8, max_steps=10_000),
            )
            for name, activation in (("tanh", jnp.tanh), ("softplus", jax.nn.softplus))
        ),
        Problem(
            name="dead unit",
            source="both weights of a unit that is not reached decay to zero, at a kink",
            value=lambda p: (jax.nn.relu(p[0]) * p[1] - 1) ** 2 + 0.01 * jnp.sum(p**2),
            sample=lambda key: jax.random.normal(key, (2,)),
            known=(Known(value=2 * 0.01 - 0.01**2, params=np.full(2, np.sqrt(0.99))),),
            optimizer="sgd:learning_rate=0.1",
            num_starts=200,
        ),
        Problem(
            name="begun at zero",
            source="hidden units stay at the kink",
            value=lambda p: jnp.mean((_network(p, _X, jax.nn.relu) - _Y - 0.7) ** 2) + 1e-3 * _decay(p),
            sample=lambda key: jax.tree.map(jnp.zeros_like, _start(4)(key)),
            known=NOWHERE,
            optimizer="sgd:learning_rate=0.1",
            num_starts=10,
        ),
        Problem(
            name="not trained",
            source="no step was made",
            value=lambda p: jnp.mean((_network(p, _X, jnp.tanh) - _Y) ** 2),
            sample=_start(4),
            known=NOWHERE,
            stop=jaxgd.Stop(max_steps=0),
            num_starts=40,
        ),
        Problem(
            name="softmax regression without penalty",
            source="logits may be shifted together for each input: a valley",
            value=_softmax_regression,
            sample=lambda key: jax.random.normal(key, (3, 3)),
            known=_softmax_minimum,
            num_starts=60,
        ),
    ]


def _network(p: Any, x: Any, activation: Any) -> Any:
    return activation(x @ p["w"] + p["b"]) @ p["v"] + p["c"]


def _start(width: int) -> Any:
    def sample(key: Any) -> Any:
        keys = jax.random.split(key, 3)
        return {
            "w": 2 * jax.random.normal(keys[0], (1, width)),
            "b": jax.random.normal(keys[1], (width,)),
            "v": jax.random.normal(keys[2], (width, 1)) / np.sqrt(width),
            "c": jnp.zeros(1),
        }

    return sample


def _decay(p: Any) -> Any:
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(p))


_RNG = np.random.default_rng(7)
_INPUTS = np.concatenate([_RNG.standard_normal((50, 2)), np.ones((50, 1))], axis=1)
_CLASSES = _RNG.integers(0, 3, 50)


def _softmax_regression(w: Any) -> Any:
    logits = jax.nn.log_softmax(_INPUTS @ w, axis=1)
    return -jnp.mean(jnp.take_along_axis(logits, _CLASSES[:, None], axis=1))


def _softmax_minimum() -> tuple[Known, ...]:
    """Returns the minimum, by Newton's method with one column of weights held at zero."""
    value = lambda free: _softmax_regression(jnp.concatenate([free.reshape(3, 2), jnp.zeros((3, 1))], axis=1))
    free, gradient, hessian = np.zeros(6), jax.grad(value), jax.hessian(value)
    for _ in range(20):
        free = free - np.linalg.solve(np.asarray(hessian(free)), np.asarray(gradient(free)))
    return (Known(value=float(value(free)), dimension=3),)
