"""A function of one point, compiled once and run for any number of points on all cores.

On CPU the program goes through its rows one after the other: what a point needs stays in the cache, and rows that are
not there cost nothing, so that one program serves any number. Each core runs it on a share of the rows; linear algebra
then has to stay on the core that calls it (OpenBLAS would hold a lock). An accelerator takes all its rows at once.
"""

import contextlib
import functools
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import ThreadpoolController

from jaxgd.cores import own_cores
from jaxgd.lanes.traced import kind_of

_BYTES_TOGETHER = 2**21  # of arguments and results of a program, at most, unless a single row has more
_MAX_TOGETHER = 256
_FEW = 4  # rows that are not worth another core
_turn = threading.Lock()


class _Program(NamedTuple):
    most: int  # rows that it takes
    compiled: Future[Any]
    result: Any  # shapes and types, of one row


class ForRows:
    """Maps pytrees of rows, NumPy arrays with one leading axis, to such pytrees.

    Args:
      fn: maps one row of each mapped argument, then shared ones, to a pytree of arrays.
      num_shared: how many arguments, the last ones, are the same for all rows.
    """

    def __init__(self, fn: Callable[..., Any], num_shared: int = 0) -> None:
        self._fn, self._num_shared = fn, num_shared
        self._programs: dict[Any, _Program] = {}

    def __call__(self, *args: Any) -> Any:
        """Returns what the function makes of every row; at least one of them."""
        rows, shared = self._split(args)
        num_rows = len(jax.tree.leaves(rows)[0])
        most, compiled, _ = self._program(rows, shared)
        run_on_rows = compiled.result()
        each = min(most, max(math.ceil(num_rows / len(own_cores())), _FEW))
        calls = [_call(rows, begin, min(begin + each, num_rows), most) for begin in range(0, num_rows, each)]
        run = lambda call: jax.tree.map(lambda leaf: np.asarray(leaf)[: call[0]], run_on_rows(*call, *shared))
        with _quiet_linear_algebra() if len(calls) > 1 else contextlib.nullcontext():
            found = list(_pool().map(run, calls))  # the caller only waits, so that Ctrl-C reaches it
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)

    def prepare(self, *args: Any) -> Any:
        """Begins to compile for arguments of these shapes and types, and returns those of the result."""
        rows, shared = self._split(args)
        num_rows = jax.tree.leaves(rows)[0].shape[0]
        result = self._program(rows, shared).result
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((num_rows, *leaf.shape), leaf.dtype), result)

    def _split(self, args: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Returns (mapped arguments, shared ones)."""
        num_mapped = len(args) - self._num_shared
        return args[:num_mapped], args[num_mapped:]

    def _program(self, rows: Any, shared: Any) -> _Program:
        one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), rows)
        kind = kind_of(one, shared)
        if kind not in self._programs:
            result = jax.eval_shape(self._fn, *one, *shared)
            bytes_each = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves((one, result)))
            most = int(np.clip(_BYTES_TOGETHER // max(bytes_each, 1), 1, _MAX_TOGETHER))
            filled_up = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((most, *leaf.shape), leaf.dtype), one)
            mapped = self._one_by_one if jax.default_backend() == "cpu" else self._at_once
            lowered = jax.jit(mapped).lower(jax.ShapeDtypeStruct((), jnp.int32), *filled_up, *shared)
            self._programs[kind] = _Program(most, _pool().submit(lowered.compile), result)
        return self._programs[kind]

    def _at_once(self, count: jax.Array, *args: Any) -> Any:
        rows, shared = self._split(args)
        return jax.vmap(lambda *row: self._fn(*row, *shared))(*rows)

    def _one_by_one(self, count: jax.Array, *args: Any) -> Any:
        rows, shared = self._split(args)
        most = len(jax.tree.leaves(rows)[0])
        row = lambda i: self._fn(*jax.tree.map(lambda leaf: leaf[i], rows), *shared)
        nothing = jax.tree.map(lambda leaf: jnp.zeros((most, *leaf.shape), leaf.dtype), jax.eval_shape(row, count))
        write = lambda i, found: jax.tree.map(lambda leaf, one: leaf.at[i].set(one), found, row(i))
        return jax.lax.fori_loop(0, count, write, nothing)


def _call(rows: Any, begin: int, end: int, most: int) -> tuple[Any, ...]:
    """Returns the arguments of a program for some of the rows: their number, and the rows, filled up."""

    def filled_up(leaf: np.ndarray) -> np.ndarray:
        part = leaf[begin:end]
        return part if len(part) == most else np.resize(part, (most, *part.shape[1:]))

    return np.int32(end - begin), *jax.device_put(jax.tree.map(filled_up, rows))


@contextlib.contextmanager
def _quiet_linear_algebra() -> Iterator[None]:
    """Within it, linear algebra uses one thread a call; for one caller at a time, since that is one setting for all."""
    with _turn, _linear_algebra().limit(limits=1, user_api="blas"):
        yield


@functools.cache
def _linear_algebra() -> ThreadpoolController:
    import scipy.linalg  # noqa: F401 (XLA calls its library, which has to be there to be controlled)

    return ThreadpoolController()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(len(own_cores()), thread_name_prefix="jaxgd")
