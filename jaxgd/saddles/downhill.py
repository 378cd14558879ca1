r"""The way down from a saddle: steepest descent in steps that follow the local quadratic model exactly.

Along an eigenvector of the Hessian with curvature w and slope c, the gradient flow of the quadratic model moves by

$$-c\,\frac{1 - e^{-w t}}{w}$$

in the time t. Each step goes on for as long as the model holds: until the gradient that it predicts differs from the
true one by a small share, or the point has moved by a fair part of a unit of length. So a stiff valley costs no small
steps, the last step is Newton's, and how closely the flow is followed is one number. Every way down is followed at two
of them; where both lead to the same end, the end is known.

Steepest descent belongs to the Euclidean metric of the parameters, as gradient descent does.

Source: the model is that of Page and McIver, J. Chem. Phys. 88, 922 (1988).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgd.base import Landscape
from jaxgd.points.evidence import Rows
from jaxgd.points.flat import Flat, Kind, flat
from jaxgd.points.rows import ForRows
from jaxgd.saddles.modes import Modes, modes_at

FINE, COARSE = 0.01, 0.04
"""Shares of the gradient by which the model may be wrong at the end of a step."""

PUSH = 1e-3
"""Units of length that a saddle is left by, along its negative mode."""

MAX_STEPS = 1_000

_FARTHEST = 0.2  # units of length that a step goes in any coordinate
_HALVINGS = 40


class Descended(NamedTuple):
    """Where ways down lead; arrays with one leading axis of ways."""

    x: Rows  # (n, dim)
    last_step: Rows  # (n, dim) absolute
    has_arrived: Rows  # (n,) bool
    length: Rows  # (n,) Euclidean, of the way
    nodes: Rows  # (n, num_nodes, dim) places along it, from its beginning on, evenly spaced in length
    num_nodes: Rows  # (n,) int32, how many of these are meant


class _State(NamedTuple):
    num_steps: jax.Array
    x: jax.Array
    last_step: jax.Array
    time: jax.Array
    length: jax.Array
    nodes: jax.Array
    num_nodes: jax.Array


class _Trial(NamedTuple):
    num_tries: jax.Array
    time: jax.Array
    move: jax.Array
    holds: jax.Array


@functools.lru_cache(maxsize=8)
def negative_mode(landscape: Landscape, kind: Kind) -> ForRows:
    """Returns of a flat saddle: x, unit -> (dim,) curvatures, ascending, motions last; (dim,) the lowest one's mode."""
    functions = flat(landscape, kind)

    def look(x: jax.Array, unit: jax.Array) -> tuple[jax.Array, jax.Array]:
        curvature, vectors, *_ = _plain_modes(functions, x, unit)
        lowest = vectors[:, 0]
        largest = jnp.argmax(jnp.abs(lowest / unit))  # the same sign for the same saddle
        return curvature, lowest * jnp.sign(lowest[largest]) / jnp.max(jnp.abs(lowest / unit))

    return ForRows(look)


@functools.lru_cache(maxsize=8)
def downhill_program(landscape: Landscape, kind: Kind, most_nodes: int = 0) -> ForRows:
    """Returns the way down from one flat point: start, unit, spacing, accuracy -> `Descended`.

    Args:
      landscape: to descend.
      kind: of its params.
      most_nodes: places along the way that are written down, `spacing` of length apart.
    """
    functions = flat(landscape, kind)

    def descend(start: jax.Array, unit: jax.Array, spacing: jax.Array, accuracy: jax.Array) -> Descended:
        small = jnp.sqrt(jnp.finfo(start.dtype).eps)

        def step(state: _State) -> _State:
            gradient = functions.gradient(state.x)
            curvature, vectors, *_ = modes = _plain_modes(functions, state.x, unit)
            slope = modes.slope(gradient)
            steep = jnp.linalg.norm(unit * gradient)

            # What is left may be no more than a Newton step, which rounding need not let the gradient follow.
            newton = -(vectors @ (slope / jnp.where(curvature != 0, curvature, jnp.inf)))
            is_there = jnp.all(jnp.abs(newton) <= small * unit)

            def attempt(trial: _Trial) -> _Trial:
                fade = jnp.exp(jnp.clip(-curvature * trial.time, -80, 80))
                flat_mode = jnp.abs(curvature * trial.time) < small
                share = jnp.where(flat_mode, trial.time, (1 - fade) / jnp.where(flat_mode, 1, curvature))
                move = -(vectors @ (share * slope))
                off = functions.gradient(state.x + move) - vectors @ (fade * slope)
                holds = jnp.linalg.norm(unit * off) <= accuracy * steep
                holds &= jnp.max(jnp.abs(move / unit)) <= _FARTHEST
                return _Trial(trial.num_tries + 1, trial.time / 2, move, holds)

            goes_on = lambda trial: ~trial.holds & (trial.num_tries < _HALVINGS) & ~is_there
            begin = _Trial(jnp.int32(0), state.time, jnp.zeros_like(start), jnp.bool_(False))
            tried = jax.lax.while_loop(goes_on, attempt, begin)

            # Take the step, or the last Newton step.
            move = jnp.where(is_there, newton, jnp.where(tried.holds, tried.move, 0))
            taken = 2 * tried.time
            longer = jnp.where(tried.num_tries == 1, 4, 1).astype(start.dtype)
            length = state.length + jnp.linalg.norm(move)
            nodes, num_nodes = state.nodes, state.num_nodes
            if most_nodes:
                nodes, num_nodes = _written(state, move, length, spacing)

            return _State(
                num_steps=state.num_steps + 1,
                x=state.x + move,
                last_step=jnp.where(is_there, jnp.abs(move), jnp.inf),
                time=longer * taken,
                length=length,
                nodes=nodes,
                num_nodes=num_nodes,
            )

        is_left = lambda state: jnp.any(state.last_step > small * unit)
        goes = lambda state: (state.num_steps < MAX_STEPS) & is_left(state) & jnp.all(jnp.isfinite(state.x))
        curvature = _plain_modes(functions, start, unit).curvature
        begin = _State(
            num_steps=jnp.int32(0),
            x=start,
            last_step=jnp.full_like(start, jnp.inf),
            time=1 / jnp.max(jnp.abs(curvature)),
            length=jnp.zeros((), start.dtype),
            nodes=jnp.zeros((most_nodes, start.size), start.dtype),
            num_nodes=jnp.int32(0),
        )
        end = jax.lax.while_loop(goes, step, begin)
        return Descended(end.x, end.last_step, ~is_left(end), end.length, end.nodes, end.num_nodes)

    return ForRows(descend, num_shared=1)


def _plain_modes(functions: Flat, x: jax.Array, unit: jax.Array) -> Modes:
    """Returns curvatures and modes in plain coordinates."""
    return modes_at(functions, x, unit, jnp.ones_like(x), raised=2.0)


def _written(state: _State, move: jax.Array, length: jax.Array, spacing: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the nodes with those that the step passes, and their number; on a step they lie on a straight line."""
    numbers = jnp.arange(len(state.nodes), dtype=jnp.int32)
    at = numbers.astype(length.dtype) * spacing
    share = (at - state.length) / jnp.maximum(length - state.length, jnp.finfo(length.dtype).tiny)
    is_passed = (at >= state.length) & (at < length)
    places = state.x[None, :] + share[:, None] * move[None, :]
    nodes = jnp.where(is_passed[:, None], places, state.nodes)
    return nodes, jnp.maximum(state.num_nodes, jnp.max(jnp.where(is_passed, numbers + 1, 0)))
