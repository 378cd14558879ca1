"""Polish for many ends: those that are going take a step together, those that are done wait for nobody.

Most ends need one step, an end on a plateau many. Each step is one program for a fixed number of points, as many as
keep their Hessians in the second-level cache; fewer are filled up, which costs less than to compile another program.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgd.points.flat import Flat
from jaxgd.points.polish import Polished, Polishing, advance, begin, finish

_CACHE_BYTES = 2**19


class _Programs(NamedTuple):
    """Each maps (rows, length) to rows."""

    begin: Callable[..., Polishing]
    advance: Callable[..., Polishing]
    finish: Callable[..., tuple[Any, Polished]]  # also the value


def polish_all(functions: Flat, ends: np.ndarray, length: Any, most: int) -> tuple[np.ndarray, Polished]:
    """Returns the value at what was found beside each of the (n, dim) ends, and what it is; arrays of n rows.

    No more than `most` are worked on at a time.
    """
    programs, (num_ends, dim) = _programs(functions), ends.shape
    num_together = int(np.clip(_CACHE_BYTES // (dim**2 * ends.itemsize), 1, most))
    everything = np.arange(num_ends)
    state = _of(programs.begin, ends, everything, num_together, length)
    while len(going := np.flatnonzero(state.is_going())):
        new = _of(programs.advance, state, going, num_together, length)
        for array, rows in zip(jax.tree.leaves(state), jax.tree.leaves(new), strict=True):
            array[going] = rows
    return _of(programs.finish, state, everything, num_together, length)


def _of(program: Callable[..., Any], tree: Any, which: np.ndarray, num_together: int, length: Any) -> Any:
    """Returns what a program makes of some rows."""
    batches = [which[begin : begin + num_together] for begin in range(0, len(which), num_together)]
    rows = lambda batch: jax.tree.map(lambda leaf: leaf[np.resize(batch, num_together)], tree)
    found = [program(rows(batch), length) for batch in batches]  # all on their way before the first is waited for
    return jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves])[: len(which)], *found)


@functools.lru_cache(maxsize=32)
def _programs(functions: Flat) -> _Programs:
    value, gradient, generators = functions

    def found(state: Polishing, length: jax.Array) -> tuple[jax.Array, Polished]:
        polished = finish(gradient, state, length)
        return value(polished.x), polished

    for_all = lambda fn: jax.jit(jax.vmap(fn, in_axes=(0, None)))
    return _Programs(
        begin=for_all(lambda end, length: begin(end)),
        advance=for_all(functools.partial(advance, gradient, generators)),
        finish=for_all(found),
    )
