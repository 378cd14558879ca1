"""What people use today for many descents at once: written by hand, or by other libraries.

All rivals of one benchmark get the same starts, tolerance and step limit. What is not installed raises
ImportError when built, which a race reports as such.
"""

import atexit
import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

Descend = Callable[[Any], Any]
"""Maps starts, with a leading axis of descents, to ends of the same shape."""


# --------------------------------------------------------------------------------------- written by hand


def in_tiles(run: Callable[..., Any], tile: int, *inputs: Any) -> Callable[[], list[Any]]:
    """Returns a call that runs all descents, `tile` of them at a time."""
    num_descents = len(jax.tree.leaves(inputs)[0])
    cut = lambda begin: jax.tree.map(lambda leaf: leaf[begin : begin + tile], inputs)
    tiles = [cut(begin) for begin in range(0, num_descents, tile)]
    return lambda: [run(*part) for part in tiles]


def vmap_while_loop(
    value_and_grad: Callable[..., Any],
    optimizer: optax.GradientTransformation,
    *,
    tolerance: float = 0.0,
    max_steps: int,
    is_done: Callable[[Any], jax.Array] | None = None,
    is_noisy: bool = False,
    has_line_search: bool = False,
) -> Callable[[Any, jax.Array], tuple[Any, jax.Array]]:
    """Returns what everybody writes by hand, `jit(vmap(while_loop))`, of (starts, keys) to (ends, steps).

    Args:
      value_and_grad: of one descent; with `is_noisy` it takes a key as well, another one at every step.
      optimizer: any.
      tolerance: norm of the gradient at which a descent ends.
      max_steps: steps after which it ends in any case.
      is_done: ends it instead of the tolerance, by its iterate.
      is_noisy: see above.
      has_line_search: value and gradient of the next step are taken from the optimizer's line search.
    """
    optimizer = optax.with_extra_args_support(optimizer)

    def one(start: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        def evaluate(x: Any, step: jax.Array) -> tuple[jax.Array, Any]:
            return value_and_grad(x, jax.random.fold_in(key, step)) if is_noisy else value_and_grad(x)

        def goes_on(carry: tuple[Any, ...]) -> jax.Array:
            x, _, _, grad, step = carry
            done = optax.tree.norm(grad) <= tolerance if is_done is None else is_done(x)
            return ~done & (step < max_steps)

        def body(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            x, state, value, grad, step = carry
            value_fn = lambda y: evaluate(y, step)[0]
            update, state = optimizer.update(grad, state, x, value=value, grad=grad, value_fn=value_fn)
            x, step = optax.apply_updates(x, update), step + 1
            if has_line_search:
                return x, state, optax.tree.get(state, "value"), optax.tree.get(state, "grad"), step
            return x, state, *evaluate(x, step), step

        step = jnp.zeros((), jnp.int32)
        begin = (start, optimizer.init(start), *evaluate(start, step), step)
        x, _, _, _, steps = jax.lax.while_loop(goes_on, body, begin)
        return x, steps

    return jax.jit(jax.vmap(one))


class FireState(NamedTuple):
    """State of `fire`: velocity like the parameters, three scalars."""

    velocity: Any
    time_step: jax.Array
    mixing: jax.Array
    num_downhill: jax.Array


def fire(time_step: float = 0.1, max_time_step: float = 1.0, max_step: float = 0.1) -> Any:
    """Returns FIRE for one array of parameters (Bitzek et al., Physical Review Letters 97, 170201, 2006)."""

    def init(params: jax.Array) -> FireState:
        scalar = lambda number: jnp.asarray(number, params.dtype)
        return FireState(jnp.zeros_like(params), scalar(time_step), scalar(0.1), jnp.zeros((), jnp.int32))

    def update(updates: Any, state: FireState, params: Any = None, **extra: Any) -> tuple[Any, FireState]:
        grad = updates
        is_downhill = jnp.sum(-grad * state.velocity) > 0
        count = jnp.where(is_downhill, state.num_downhill + 1, 0)
        is_safe = count > 5
        longer = jnp.minimum(1.1 * state.time_step, max_time_step)
        step = jnp.where(is_downhill, jnp.where(is_safe, longer, state.time_step), 0.5 * state.time_step)
        mixing = jnp.where(is_downhill, jnp.where(is_safe, 0.99 * state.mixing, state.mixing), 0.1)
        along = (
            state.mixing
            * optax.tree.norm(state.velocity)
            / jnp.maximum(optax.tree.norm(grad), jnp.finfo(grad.dtype).tiny)
        )
        velocity = jnp.where(is_downhill, (1 - state.mixing) * state.velocity - along * grad, 0.0)
        velocity = velocity - step * grad
        move = step * velocity
        move = move * jnp.minimum(1.0, max_step / jnp.maximum(optax.tree.norm(move), jnp.finfo(grad.dtype).tiny))
        return move, FireState(velocity, step, mixing, count)

    return optax.GradientTransformationExtraArgs(init, update)


# ---------------------------------------------------------------------------------------- other libraries


def vmap_optimistix_bfgs(value: Callable[[Any], jax.Array], tolerance: float, max_steps: int) -> Descend:
    """Returns vmapped optimistix BFGS, made to stop by the gradient's norm like the others."""
    import optimistix

    class BFGS(optimistix.BFGS):
        """Stops where the others do."""

        def terminate(self, fn: Any, y: Any, args: Any, options: Any, state: Any, tags: Any) -> Any:
            return ~state.first_step & (optax.tree.norm(state.f_info.grad) <= tolerance), state.result

    def one(start: Any) -> Any:
        solver = BFGS(rtol=tolerance, atol=tolerance)
        fn = lambda y, args: value(y)
        return optimistix.minimise(fn, solver, start, max_steps=max_steps, throw=False).value

    return jax.jit(jax.vmap(one))


def pele_lbfgs(tolerance: float, max_steps: int, num_processes: int = 1) -> Descend:
    """Returns L-BFGS of pele (C++) on Lennard-Jones clusters, starts shared out over processes."""
    import pele  # noqa: F401

    if num_processes == 1:
        return lambda starts: _pele_quenches(starts, tolerance, max_steps)
    pool = ProcessPoolExecutor(num_processes, mp_context=get_context("spawn"))
    atexit.register(pool.shutdown)

    def descend(starts: np.ndarray) -> np.ndarray:
        parts = np.array_split(starts, 4 * num_processes)  # several for each, as their lengths differ
        ends = pool.map(_pele_quenches, parts, [tolerance] * len(parts), [max_steps] * len(parts))
        return np.concatenate(list(ends))

    return descend


def _pele_quenches(starts: np.ndarray, tolerance: float, max_steps: int) -> np.ndarray:
    from pele.optimize import LBFGS_CPP
    from pele.potentials._lj_cpp import LJ

    potential, ends = LJ(), np.empty_like(starts)
    rms = tolerance / math.sqrt(starts[0].size)  # pele's tolerance is a root mean square
    for end, start in zip(ends, starts, strict=True):
        quench = LBFGS_CPP(start.ravel(), potential, tol=rms, M=4, maxstep=0.1, H0=0.1, nsteps=max_steps)
        end[:] = quench.run().coords.reshape(start.shape)
    return ends
