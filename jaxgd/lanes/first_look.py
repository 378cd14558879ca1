"""Checks at the first starts that the landscape's functions are what they claim to be.

Everywhere else the functions of a landscape are trusted, so a contradiction between them would show up as a wrong
verdict: a gradient of the wrong sign turns minima into maxima, and a start drawn by NumPy is drawn once, at tracing,
and then used a thousand times. The checks are these:

- `sample`, `value` and `noisy_value` are traced twice: a number that differs in the second trace reveals a hidden
  random state.
- A `sample` that does not use its key gives the same start each time.
- A gradient that the landscape provides (`value_and_grad`, custom derivatives) is compared with difference quotients
  of the value along a random direction at the first starts,

      q(h) = (f(x + h d) - f(x - h d)) / (2 h)   against   s = grad f(x) . d,

  at several steps h, each coordinate of d in the units of the starts. A quotient has an error: its change from one step
  to the next and from one side to the other, and the rounding of the values over h. A start contradicts the gradient if
  that error is small at the finest step that rounding allows, and s lies far outside it there and within it at no step;
  so kinks, noise and bad scaling leave a start undecided. The gradient is rejected if more starts contradict than
  agree, and at least a quarter of all do. Gradients made by jax, and those that jax and jaxgd provide, are not checked.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.extend.core import JaxprEqn

from jaxgd.base import InputValueError, Key, Landscape, Params
from jaxgd.lanes.lane import Descent
from jaxgd.tracing import Signature, equations, is_repeatable, signature_of, uses

_NUM_STARTS = 16
_STEPS = {8: 2.0 ** -np.arange(3, 24, 4), 4: 2.0 ** -np.arange(2, 15, 3)}  # by bytes of the value's type
_DIFFERENCE = 0.1  # between slope and quotient, relative to the larger one, that is clearly too large
_SHARPNESS = 0.05  # largest relative error of an informative quotient
_ERRORS = 5.0  # of a quotient, within which the slope agrees with it
_ROUNDING = 16  # rounding errors that a value may contain

_OWN = tuple(str(Path(path).parent) for path in (jax.__file__, optax.__file__, Path(__file__).parent))
_CALLBACKS = ("pure_callback", "io_callback", "ffi_call")


def look(descent: Descent, key: Key, starts: Params | None, num_descents: int) -> Callable[[], tuple[str, ...]]:
    """Traces the functions in the caller's thread, and returns a function that runs the checks in any thread.

    That function returns warnings, one sentence each.

    Raises:
      InputValueError: one of the functions has a hidden random state; when called: the gradient is clearly not that
        of the value.
    """
    landscape, notes = descent.landscape, []
    if _repeatable(descent, signature_of(key, starts)) and num_descents > 1:
        notes.append(f"all starts are the same: `sample` of landscape `{landscape.name}` does not use its key.")
    if not _brings_derivatives(landscape, signature_of(descent.one_start(key, starts))):
        return lambda: tuple(notes)
    tried = _tried(descent, key, starts)
    return lambda: (*notes, *tried())


@functools.lru_cache(maxsize=16)
def _repeatable(descent: Descent, signature: Signature) -> bool:
    """Rejects functions with a hidden random state, and returns whether all starts are the same."""
    landscape, (key, starts) = descent.landscape, signature.abstract
    params = descent.one_start(key, starts)
    of = f"of landscape `{landscape.name}`"

    is_drawn = not descent.has_starts or descent.restart is not None
    if is_drawn and not _is_ours(landscape.sample) and not is_repeatable(landscape.sample, key):
        raise InputValueError(
            f"`sample` {of} draws from a random state of its own, NumPy's or Python's: it is traced once, so that every"
            " start would be the same; draw from its key, for example with jax.random.uniform(key, shape)."
        )

    if not _is_ours(landscape.value) and not is_repeatable(landscape.value, params):
        raise InputValueError(
            f"`value` {of} gives two answers for the same params, since it draws from a random state of its own,"
            " NumPy's or Python's; let it depend on params alone, or give the noise as `noisy_value(params, key)`."
        )
    if descent.is_noisy and landscape.noisy_value and not is_repeatable(landscape.noisy_value, params, key):
        raise InputValueError(
            f"`noisy_value` {of} draws from a random state of its own, NumPy's or Python's: it is traced once, so that"
            " every draw would be the same; draw from its key, for example with jax.random.normal(key, shape)."
        )

    return is_drawn and not uses(jax.make_jaxpr(landscape.sample)(key))


@functools.lru_cache(maxsize=16)
def _brings_derivatives(landscape: Landscape, signature: Signature) -> bool:
    """Returns whether the gradient is more than jax's own derivative of the value."""
    if landscape.value_and_grad is not None:
        return not _is_ours(landscape.value_and_grad)
    return not _is_ours(landscape.value) and any(
        equation.primitive.name in _CALLBACKS
        or (equation.primitive.name.startswith(("custom_jvp_call", "custom_vjp_call")) and not _is_known(equation))
        for equation in equations(jax.make_jaxpr(landscape.value)(*signature.abstract))
    )


def _is_ours(function: Any) -> bool:
    """Returns whether a function belongs to a built-in landscape; these are tested in jaxgd's own test suite."""
    return str(getattr(function, "__module__", "")).startswith("jaxgd.landscapes")


def _is_known(equation: JaxprEqn) -> bool:
    """Returns whether a function with custom derivatives belongs to jax, optax or jaxgd."""
    called = equation.params.get("call_jaxpr") or equation.params.get("fun_jaxpr")
    info = getattr(getattr(called, "jaxpr", called), "debug_info", None)
    return str(getattr(info, "func_filename", None)).startswith(_OWN)


# --------------------------------------------------------------------------- the gradient against difference quotients


class _Evaluated(NamedTuple):
    """Values and slopes at the first starts; arrays with one leading axis of starts."""

    value: Any  # (n,) by `evaluate`
    slope: Any  # (n,) of its gradient along the direction
    slope_size: Any  # (n,) the same with every term positive
    values: Any  # (n, 1 + 2 k) by `value`: at the start, ahead by each step, behind by each step


_known: dict[tuple[Landscape, Signature], tuple[str, ...]] = {}


def _tried(descent: Descent, key: Key, starts: Params | None) -> Callable[[], tuple[str, ...]]:
    """Returns a function that rejects a gradient which is clearly not that of the value, or returns notes."""
    name = descent.landscape, signature_of(key, starts)
    if name in _known:
        return lambda: _known[name]
    numbers = np.asarray(descent.first_numbers(starts, _NUM_STARTS), np.int32)
    steps = _STEPS.get(descent.limit_type(descent.one_start(key, starts)).dtype.itemsize, _STEPS[4])
    traced = jax.jit(functools.partial(_evaluations, descent)).lower(key, starts, numbers, steps)

    def compute() -> tuple[str, ...]:
        try:
            program = traced.compile(compiler_options={"xla_backend_optimization_level": "0"})  # it runs twice
            once, again = (jax.tree.map(np.asarray, program(key, starts, numbers, steps)) for _ in range(2))
        except Exception:  # an error in the caller's function, which the run itself will raise again
            return ()
        _known[name] = _judged(descent.landscape, once, again, steps)
        return _known[name]

    return compute


def _evaluations(descent: Descent, key: Key, starts: Params | None, numbers: jax.Array, steps: jax.Array) -> _Evaluated:
    """Evaluates gradient and values at the starts of some descents, one after the other to compile quickly."""
    landscape = descent.landscape
    here = jax.lax.map(lambda number: descent.start(number, jnp.zeros_like(number), key, starts), numbers)
    leaves, structure = jax.tree.flatten(here)
    draw = np.random.default_rng(0)
    ahead = [
        jnp.asarray(draw.choice([-1.0, 1.0], leaf.shape) * draw.uniform(0.5, 1.0, leaf.shape), leaf.dtype) * unit[None]
        for leaf, unit in zip(leaves, _units(leaves), strict=True)
    ]

    def at(row: tuple[list[jax.Array], list[jax.Array]]) -> _Evaluated:
        start, direction = row
        value, grad = landscape.evaluate(jax.tree.unflatten(structure, start))
        terms = [(g * d).astype(value.dtype) for g, d in zip(jax.tree.leaves(grad), direction, strict=True)]

        def moved(step: jax.Array) -> jax.Array:
            there = [leaf + step.astype(leaf.dtype) * d for leaf, d in zip(start, direction, strict=True)]
            return landscape.value(jax.tree.unflatten(structure, there)).astype(value.dtype)

        return _Evaluated(
            value=value,
            slope=sum(jnp.sum(term) for term in terms),
            slope_size=sum(jnp.sum(jnp.abs(term)) for term in terms),
            values=jax.lax.map(moved, jnp.concatenate([jnp.zeros_like(steps[:1]), steps, -steps])),
        )

    return jax.lax.map(at, (leaves, ahead))


def _units(leaves: list[jax.Array]) -> list[jax.Array]:
    """Returns a unit for each coordinate: the largest among the starts, else that of its leaf, of all, or one."""
    sizes = [jnp.where(jnp.isfinite(leaf), jnp.abs(leaf), jnp.zeros_like(leaf)) for leaf in leaves]
    units = [jnp.max(size, axis=0) for size in sizes]
    largest = functools.reduce(jnp.maximum, (jnp.max(unit, initial=0).astype(jnp.float32) for unit in units))
    otherwise = lambda unit, other: jnp.where(unit > 0, unit, other.astype(unit.dtype))
    largest = otherwise(largest, jnp.ones_like(largest))
    return [otherwise(unit, otherwise(jnp.max(unit, initial=0), largest)) for unit in units]


def _judged(landscape: Landscape, once: _Evaluated, again: _Evaluated, steps: np.ndarray) -> tuple[str, ...]:
    """Rejects a gradient that is clearly not that of the value; returns notes."""
    epsilon = float(jnp.finfo(once.value.dtype).eps)
    of = f"of landscape `{landscape.name}`"
    source = "`value_and_grad`" if landscape.value_and_grad else "the custom derivative in `value`"
    once, again = (jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), both) for both in (once, again))
    is_finite = np.isfinite(once.value) & np.isfinite(once.slope) & np.all(np.isfinite(once.values + again.values), 1)
    once, again = (jax.tree.map(lambda leaf: leaf[is_finite], both) for both in (once, again))
    start, ahead, behind = once.values[:, :1], *np.split(once.values[:, 1:], 2, axis=1)

    # The error of a value: rounding, differences between calls, and roughness at the last step.
    unlike = np.max(np.abs(again.values - once.values), axis=1, initial=0.0)
    noise = _ROUNDING * epsilon * np.max(np.abs(once.values), axis=1, initial=0.0) + unlike
    noise = (noise + np.abs(ahead - 2 * start + behind)[:, -1])[:, None]
    if np.any(unlike > 0) or np.any(once.slope != again.slope):
        what = f"`value` {of}" if np.any(unlike > 0) else f"the gradient {of}"
        return (
            f"{what} gives two answers for the same params: what is printed of values, gradients and curvature mixes"
            " different draws; give noise as `noisy_value(params, key)`.",
        )
    is_other = np.abs(once.value - start[:, 0]) > 0.01 * np.abs(start[:, 0]) + _ERRORS * noise[:, 0]
    if 2 * np.sum(is_other) > len(is_other):
        at = int(np.argmax(is_other))
        raise InputValueError(
            f"`value_and_grad` {of} gives another value than `value`: {once.value[at]:.6g} in place of"
            f" {start[at, 0]:.6g} at a start."
        )

    quotient = (ahead - behind) / (2 * steps)
    rounding = (noise + epsilon * once.slope_size[:, None]) / steps[1:]
    change = np.abs(np.diff(quotient, axis=1)) + np.abs((ahead - 2 * start + behind) / steps)[:, 1:]
    quotient, slope, error = quotient[:, 1:], once.slope[:, None], change + rounding
    size = np.maximum(np.abs(quotient), np.abs(slope))
    is_sharp = error < _SHARPNESS * size
    is_outside = np.abs(quotient - slope) > _ERRORS * error + _DIFFERENCE * size
    agrees = np.any(is_sharp & ~is_outside, axis=1)
    # Only the finest step not limited by rounding can contradict: a coarser one misses what lies in between.
    finest = np.argmin(rounding < _SHARPNESS / 2 * size, axis=1)  # the first that is limited by rounding
    finest = np.where(np.all(rounding < _SHARPNESS / 2 * size, axis=1), len(steps) - 1, finest) - 1
    at_finest = np.take_along_axis(is_sharp & is_outside, np.maximum(finest, 0)[:, None], axis=1)[:, 0]
    contradicts = (finest >= 0) & at_finest & ~agrees
    if np.sum(contradicts) > np.sum(agrees) and 4 * np.sum(contradicts) >= len(contradicts):
        at = int(np.argmax(contradicts))
        raise InputValueError(
            f"the gradient {of} is not that of its value: along a random direction at a start it gives a slope of"
            f" {slope[at, 0]:.4g}, where the value has one of {quotient[at, finest[at]]:.4g} (so at"
            f" {np.sum(contradicts)} of {len(contradicts)} starts); mend {source}."
        )
    return ()
