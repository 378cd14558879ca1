"""Detects whether rounding held up descents that reached `max_steps`.

A gradient cannot become smaller than its rounding error, and a step not smaller than the distance of neighbouring
numbers. Below these limits a descent continues until it runs out of steps, and looks like a slow one. Two signs
distinguish it:

- value and gradient norm do not change in any bit for many steps, since the steps are lost in rounding,
- or the gradient is no larger than a few times its change when each coordinate moves to a neighbouring number.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Ends, Params, Status
from jaxgd.lanes.lane import Descent
from jaxgd.tracing import Signature, signature_of

_NUM_ENDS = 16  # that are examined
_SMALL, _VERY_SMALL = 1e4, 1e3  # rounding units of the gradient at the starts, up to which rounding is suspected
_MANY_STEPS = 32
_TIMES_NOISE = 8.0
_NUM_DRAWS = 2  # of neighbouring points


def note_on_rounding(
    descent: Descent, ends: Ends, num_still: np.ndarray, limit: float, scale: float
) -> tuple[str, ...]:
    """Returns a warning if rounding held up most of the first ends that ran out of steps.

    Args:
      descent: what was done.
      ends: some ends of a run, with params.
      num_still: (n,) steps for which value and gradient norm had not changed.
      limit: the gradient norm that the stop rule asks for.
      scale: gradient norm at the starts.
    """
    rows = np.flatnonzero(ends.status == Status.STEP_LIMIT)[:_NUM_ENDS]
    norms, is_held = np.asarray(ends.gradient_norm)[rows], num_still[rows] >= _MANY_STEPS
    unit = float(jnp.finfo(norms.dtype).eps) * scale
    is_held &= norms <= _SMALL * unit
    if np.any((norms <= _VERY_SMALL * unit) & ~is_held):
        filled_up = np.resize(rows, _NUM_ENDS)  # a fixed number of points needs only one program
        batch = jax.tree.map(jnp.asarray, ends[filled_up].params)
        noise = np.asarray(_program(descent, signature_of(batch))(batch))[: len(rows)]
        is_held |= norms <= np.minimum(_TIMES_NOISE * noise, _VERY_SMALL * unit)
    if 2 * np.sum(is_held) <= len(rows):
        return ()
    float64 = 'float64 (jax.config.update("jax_enable_x64", True)) or ' if norms.dtype.itemsize < 8 else ""
    return (
        f"rounding in {norms.dtype} holds up descents that ran out of steps: {np.sum(is_held)} of {len(rows)} that were"
        f" looked at cannot get much below a gradient norm of {np.median(norms[is_held]):.2g}, but the stop rule asks"
        f" for {limit:.2g}; use {float64}a larger `gradient_norm`.",
    )


@functools.lru_cache(maxsize=8)
def _program(descent: Descent, signature: Signature) -> Any:
    traced = jax.jit(functools.partial(_noises, descent)).lower(*signature.abstract)
    return traced.compile(compiler_options={"xla_backend_optimization_level": "0"})  # compile quickly: it hardly runs


def _noises(descent: Descent, rows: Params) -> jax.Array:
    """Returns how much rounding each point changes the gradient there."""
    gradient = descent.landscape.gradient

    def at(here: Params) -> jax.Array:
        grad, changes = gradient(here), []
        for draw in range(_NUM_DRAWS):
            there = _neighbour(here, np.random.default_rng(draw))
            change = jax.tree.map(lambda new, old: new - old, gradient(there), grad)
            changes.append(descent.norm(change, here))
        return functools.reduce(jnp.maximum, changes)

    return jax.lax.map(at, rows)


def _neighbour(params: Params, random: np.random.Generator) -> Params:
    """Returns the params with every coordinate moved up or down by about one rounding unit."""

    def move(leaf: jax.Array) -> jax.Array:
        signs = jnp.asarray(random.choice([-1.0, 1.0], leaf.shape), leaf.dtype)
        return leaf + signs * jnp.abs(leaf) * jnp.finfo(leaf.dtype).eps

    return jax.tree.map(move, params)
