r"""Eigenvector following: uphill along some eigenvectors of the Hessian, downhill along all others.

In units of length, with curvature w and slope c along an eigenvector, the step along it is

$$h = \pm \frac{2 c}{|w|\,\bigl(1 + \sqrt{1 + 4 c^2 / w^2}\bigr)},$$

plus on the ascended ones, minus on the others: Newton's step c / |w| close to a critical point, never longer than 1 far
from one. Ascending the k lowest eigenvectors leads to critical points of index k; ascending those of negative curvature
is Newton's method, which leads to points of any index. The symmetry's motions are raised out of the way first.

Source: Cerjan and Miller, J. Chem. Phys. 75, 2800 (1981); the step is that of Wales, J. Chem. Phys. 101, 3750 (1994).
"""

import functools
from enum import IntEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgd.base import Landscape
from jaxgd.points.evidence import Rows
from jaxgd.points.flat import Kind, flat
from jaxgd.points.rows import ForRows
from jaxgd.saddles.modes import modes_at

ANY_INDEX = -1
"""Ascends whatever curves downwards, wherever that leads."""

_TURN = 0.5  # cosine of the angle beyond which a search turns back
_SHORTER, _LONGER = 0.5, 1.2
_STUCK = 1e-2  # of the longest step
_HEIGHT = 4.0  # of the symmetry's motions, in units of the Hessian's Frobenius norm


class SearchEnd(IntEnum):
    """How a search ended."""

    ARRIVED = 0
    STEP_LIMIT = 1
    ESCAPED = 2
    NOT_FINITE = 3
    STUCK = 4  # goes to and fro where the curvature changes its sign


class Found(NamedTuple):
    """Where searches ended; arrays with one leading axis of searches."""

    x: Rows  # (n, dim)
    last_step: Rows  # (n, dim) absolute, in each coordinate
    outcome: Rows  # (n,) int32, see `SearchEnd`
    num_steps: Rows  # (n,) int32


class _State(NamedTuple):
    num_steps: jax.Array
    x: jax.Array
    move: jax.Array  # the last one, in units of length
    longest: jax.Array  # that the next one may be
    size: jax.Array  # of the last step before it was cut to that, in the coordinate where it was largest


@functools.lru_cache(maxsize=8)
def search_program(landscape: Landscape, kind: Kind) -> ForRows:
    """Returns the search from one flat start: start, unit, index, max_steps, max_move, reach -> `Found`."""
    functions = flat(landscape, kind)

    def search(
        start: jax.Array,
        unit: jax.Array,
        index: jax.Array,
        max_steps: jax.Array,
        max_move: jax.Array,
        reach: jax.Array,
    ) -> Found:
        eps = jnp.finfo(start.dtype).eps
        order = jnp.arange(start.size, dtype=jnp.int32)

        def step(state: _State) -> _State:
            gradient = unit * functions.gradient(state.x)
            curvature, vectors, _, height = modes = modes_at(functions, state.x, unit, unit, raised=_HEIGHT)
            slope = modes.slope(gradient)

            steepness = jnp.maximum(jnp.abs(curvature), eps * height + jnp.finfo(start.dtype).tiny)
            length = 2 * slope / (steepness * (1 + jnp.sqrt(1 + 4 * (slope / steepness) ** 2)))
            ascends = jnp.where(index == ANY_INDEX, curvature < 0, order < index)
            move = vectors @ jnp.where(ascends, length, -length)

            # A search that turns back would go to and fro for ever: its steps become shorter.
            turns_back = jnp.sum(move * state.move) < -_TURN * jnp.linalg.norm(move) * jnp.linalg.norm(state.move)
            longest = jnp.where(turns_back, _SHORTER * state.longest, jnp.minimum(_LONGER * state.longest, max_move))
            size = jnp.max(jnp.abs(move))
            move = move * jnp.minimum(1, longest / jnp.where(size > 0, size, 1))
            return _State(state.num_steps + 1, state.x + unit * move, move, longest, size)

        def goes_on(state: _State) -> jax.Array:
            is_left = state.size > jnp.sqrt(eps)  # false where it is not finite
            is_inside = jnp.max(jnp.abs(state.x - start) / unit) <= reach
            is_free = state.longest > _STUCK * max_move
            return (state.num_steps < max_steps) & is_left & is_inside & is_free

        nowhere = jnp.zeros_like(start)
        begin = _State(jnp.int32(0), start, nowhere, max_move, jnp.full((), jnp.inf, start.dtype))
        end = jax.lax.while_loop(goes_on, step, begin)
        is_finite = jnp.isfinite(end.size) & jnp.all(jnp.isfinite(end.x))
        is_inside = jnp.max(jnp.abs(end.x - start) / unit) <= reach
        outcome = jnp.select(
            [~is_finite, ~is_inside, end.size <= jnp.sqrt(eps), end.longest <= _STUCK * max_move],
            [jnp.int32(kind) for kind in (SearchEnd.NOT_FINITE, SearchEnd.ESCAPED, SearchEnd.ARRIVED, SearchEnd.STUCK)],
            jnp.int32(SearchEnd.STEP_LIMIT),
        )
        return Found(end.x, jnp.abs(unit * end.move), outcome, end.num_steps)

    return ForRows(search, num_shared=3)
