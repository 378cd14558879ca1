"""What an optimizer makes of a gradient here, found by asking it: nothing of its chain has to be known.

The update to a multiple s of the gradient, less that to a zero gradient, is proportional to s for gradient descent,
with momentum or without; clipping by norm keeps its direction and bends the line; rules that normalise (Adam, sign,
Muon) change the direction, or do not follow s at all.
"""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxgd.base import Key
from jaxgd.diagnose.model import fitted_state
from jaxgd.diagnose.problem import Objective, Problem

_FACTORS = 10.0 ** -np.arange(0, 13, dtype=np.float64)
_SAME_DIRECTION = 1e-5  # by which a cosine may differ from one
_LINEAR = 0.01  # by which the response to a tenth may differ from a tenth
_TINY = 1e-60  # of a squared norm
_CLIPPED = 0.9  # of the linear response, above which clipping does not count


@dataclass(frozen=True, kw_only=True, eq=False)
class Response:
    """How the optimizer answers the gradient of all data at the point.

    Attributes:
      update: (dim,) the step that it would take, with its state.
      fresh_update: (dim,) the step with a fresh state.
      rate: along the gradient, -<u, g> / |g|^2.
      clip_norm: the norm to which gradients are clipped; inf where they are not, nan if it cannot be told.
      is_linear: whether it follows the gradient in proportion and direction, but for clipping.
      state: its state in the structure of a fresh one.
      fresh: a fresh state.
      is_used: whether the state differs from a fresh one.
    """

    update: np.ndarray
    fresh_update: np.ndarray
    rate: float
    clip_norm: float
    is_linear: bool
    state: Any
    fresh: Any
    is_used: bool

    @property
    def staleness(self) -> float:
        """Length of the step with a fresh state over that with its own."""
        own, fresh = np.linalg.norm(self.update), np.linalg.norm(self.fresh_update)
        return float(fresh / own) if own > 0 else (np.inf if fresh > 0 else 1.0)


def response_of(problem: Problem, optimizer: Any, state: Any, gradient: Array, value: float) -> Response:
    """Returns the optimizer's response to the gradient at the point."""
    fresh = optimizer.init(problem.objective.params(problem.x))
    own = fresh if state is None else fitted_state(state, fresh)
    program = functools.partial(_updates, problem.objective, optimizer)
    rest = (
        problem.x,
        gradient,
        jnp.asarray(value, problem.x.dtype),
        problem.operand.fixed,
        _example(problem),
        problem.operand.key,
    )
    factors = jnp.asarray(_FACTORS, problem.x.dtype)
    update, size, cosine = (np.asarray(found, np.float64) for found in program(own, factors, *rest))
    fresh_update = np.asarray(program(fresh, factors[:1], *rest)[0], np.float64)

    gradient_norm = float(jnp.linalg.norm(gradient))
    clip_norm, is_linear = _read(size, cosine, gradient_norm)
    along = float(-np.dot(update, np.asarray(gradient, np.float64)) / max(gradient_norm**2, _TINY))
    if not gradient_norm**2 > _TINY:  # no gradient to ask with: any small one shows the rate
        asked = 1e-4 * np.random.default_rng(0).standard_normal(problem.dim) / np.sqrt(problem.dim)
        asked_array = jnp.asarray(asked, problem.x.dtype)
        instead = program(own, factors, problem.x, asked_array, *rest[2:])
        length = float(np.linalg.norm(asked))
        _, is_linear = _read(np.asarray(instead[1], np.float64), np.asarray(instead[2], np.float64), length)
        along = float(-np.dot(np.asarray(instead[0], np.float64) - update, asked) / length**2)
    same = [
        np.array_equal(a, b, equal_nan=True) for a, b in zip(jax.tree.leaves(own), jax.tree.leaves(fresh), strict=True)
    ]
    return Response(
        update=update, fresh_update=fresh_update, rate=along, clip_norm=clip_norm, is_linear=is_linear, state=own,
        fresh=fresh, is_used=not all(same),
    )  # fmt: skip


def _example(problem: Problem) -> Any:
    """Returns a few examples, for optimizers that ask for values."""
    arrays = problem.data.arrays
    return None if arrays is None else jax.tree.map(lambda leaf: leaf[: min(64, leaf.shape[0])], arrays)


def _read(size: np.ndarray, cosine: np.ndarray, gradient_norm: float) -> tuple[float, bool]:
    """Returns the norm at which the line bends, and whether the response is linear below it."""
    if not (gradient_norm > 0 and np.isfinite(size).all()):
        return np.nan, False
    slopes = size / _FACTORS  # the same while the response is linear
    is_straight = np.abs(slopes[1:] / np.maximum(slopes[:-1], 1e-300) - 1) < _LINEAR
    first = int(np.argmax(is_straight[:-1] & is_straight[1:])) if np.any(is_straight[:-1] & is_straight[1:]) else -1
    if first < 0 or slopes[first] == 0:
        return np.nan, False
    if not np.all(cosine[:1] > 1 - _SAME_DIRECTION):
        return np.nan, False
    share = size[0] / slopes[first]  # of the linear response that is left
    return (float(share * gradient_norm) if share < _CLIPPED else np.inf), True


@functools.partial(jax.jit, static_argnums=(0, 1))
def _updates(
    objective: Objective, optimizer: Any, state: Any, factors: Array, x: Array, gradient: Array, value: Array,
    fixed: Any, batch: Any, key: Key,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Returns (dim,) the update, and for each factor the size of the response and its cosine with that to the least."""

    def respond(gradient: Array) -> Array:
        return step(objective, optimizer, state, x, value, gradient, fixed, batch, key)[0]

    still = respond(jnp.zeros_like(gradient))
    away = jax.lax.map(lambda factor: respond(factor * gradient) - still, factors)
    size = jnp.linalg.norm(away, axis=1)
    # the shortest responses may be lost in rounding: measured against the gradient itself
    along = away @ gradient / jnp.maximum(size * jnp.linalg.norm(gradient), jnp.finfo(x.dtype).tiny)
    return respond(gradient), size, jnp.abs(along)


def step(
    objective: Objective, optimizer: Any, state: Any, x: Array, value: Array, gradient: Array, fixed: Any, batch: Any,
    key: Key,
) -> tuple[Array, Any]:  # fmt: skip
    """Returns the flat update of one step and the new state; the optimizer gets all that optimizers ask for."""
    params, grads = objective.params(x), objective.params(gradient)
    value_fn = lambda params: objective.batch(objective.flat(params, x.dtype), fixed, batch, key)
    hvp = lambda vector: jax.jvp(jax.grad(value_fn), (params,), (vector,))[1]
    update, state = optimizer.update(grads, state, params, value=value, grad=grads, value_fn=value_fn, hvp=hvp, key=key)
    return objective.flat(update, x.dtype), state
