"""Whether descents that ran into `max_steps` were held up by rounding.

No gradient can be made smaller than what rounding makes of it, and no step smaller than the distance of neighbouring
numbers. Below that a descent goes on until it runs out of steps, and looks like one that is merely slow. Two signs tell
it from that:

- the gradient is no larger than a few times its change when each coordinate moves to a neighbouring number,
- or the optimizer, begun anew where the descent ended, does not move it in many steps.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Ends, Key, Params, Status
from jaxgd.lanes.lane import Descent
from jaxgd.lanes.traced import Kind, kind_of

NUM_ENDS = 16
"""How many ends are looked at."""

_SMALL = 1e4  # rounding units of the gradient at the starts, above which rounding is not suspected
_TIMES_NOISE = 8.0
_NUM_DRAWS = 2  # of neighbouring points
_NUM_TICKS = 64  # in which an optimizer that can move surely does


def suspects(ends: Ends, scale: float) -> np.ndarray:
    """Returns the rows of a few ends that ran out of steps at a gradient that rounding may explain.

    Args:
      ends: some ends of a run, with params.
      scale: gradient norm at the starts.
    """
    norms = np.asarray(ends.gradient_norm)
    small = _SMALL * float(np.finfo(norms.dtype).eps) * scale
    return np.flatnonzero((ends.status == Status.STEP_LIMIT) & (norms <= small))[:NUM_ENDS]


def note_on_rounding(descent: Descent, key: Key, ends: Ends, limit: float) -> tuple[str, ...]:
    """Returns what is to be said where rounding held up most of these ends."""
    rows, norms = jax.tree.map(jnp.asarray, ends.params), np.asarray(ends.gradient_norm)
    numbers = jnp.asarray(ends.start_number, jnp.int32)
    program = _program(descent, kind_of(rows, numbers, key))
    noise, is_still = (np.asarray(sign) for sign in program(rows, numbers, key))
    is_held = (norms <= _TIMES_NOISE * noise) | is_still
    if 2 * np.sum(is_held) <= len(ends):
        return ()
    float64 = 'float64 (jax.config.update("jax_enable_x64", True)) or ' if norms.dtype.itemsize < 8 else ""
    return (
        f"rounding in {norms.dtype} holds up descents that ran out of steps: {np.sum(is_held)} of {len(ends)} that were"
        f" looked at cannot get much below a gradient norm of {np.median(norms[is_held]):.2g}, but the stop rule asks"
        f" for {limit:.2g}; use {float64}a larger `gradient_norm`.",
    )


@functools.lru_cache(maxsize=8)
def _program(descent: Descent, kind: Kind) -> Any:
    """Returns `_signs` compiled; it runs once or so in a block of descents."""
    traced = jax.jit(functools.partial(_signs, descent)).lower(*kind.abstract)
    return traced.compile(compiler_options={"xla_backend_optimization_level": 0})


def _signs(descent: Descent, rows: Params, numbers: jax.Array, key: Key) -> tuple[jax.Array, jax.Array]:
    """Returns how much rounding changes the gradient at each of some points, and whether the optimizer stands still."""

    def at(row: tuple[Params, jax.Array]) -> tuple[jax.Array, jax.Array]:
        here, number = row
        gradient = descent.landscape.gradient
        grad = gradient(here)
        changes = []
        for draw in range(_NUM_DRAWS):
            there = _neighbour(here, np.random.default_rng(draw))
            change = jax.tree.map(lambda new, old: new - old, gradient(there), grad)
            changes.append(descent.norm(change, here))

        def tick(lane: Any, count: jax.Array) -> Any:
            return descent.tick(lane, count, key), None

        lane = descent.begin_at(here, number, jnp.zeros_like(number), key)
        later, _ = jax.lax.scan(tick, lane, jnp.arange(_NUM_TICKS, dtype=jnp.int32))
        is_same = [jnp.all(new == old) for new, old in zip(*map(jax.tree.leaves, (later.params, here)), strict=True)]
        return functools.reduce(jnp.maximum, changes), functools.reduce(jnp.logical_and, is_same)

    return jax.lax.map(at, (rows, numbers))


def _neighbour(params: Params, random: np.random.Generator) -> Params:
    """Returns the params with every coordinate moved up or down by about the distance of neighbouring numbers."""

    def move(leaf: jax.Array) -> jax.Array:
        signs = jnp.asarray(random.choice([-1.0, 1.0], leaf.shape), leaf.dtype)
        return leaf + signs * jnp.abs(leaf) * jnp.finfo(leaf.dtype).eps

    return jax.tree.map(move, params)
