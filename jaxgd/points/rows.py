"""A function of one point, compiled once and run for any number of points on all cores.

On CPU the program goes through its rows one after the other: what a point needs stays in the cache, and rows that are
not there cost nothing, so that one program serves any number. Each core runs it on a share of the rows; linear algebra
then has to stay on the core that calls it (OpenBLAS would hold a lock). An accelerator takes all its rows at once.

A function may come in steps, each of which goes through all rows before the next: on CPU a loop that calls no library
runs faster, and a small Hessian takes twice as long if the same loop also calls LAPACK.
"""

import contextlib
import functools
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import ThreadpoolController

from jaxgd.cores import Threads, own_cores
from jaxgd.platforms import platform
from jaxgd.tracing import signature_of

_BYTES_TOGETHER = 2**21  # of what a program takes and makes, at most, unless a single row has more
_MAX_TOGETHER = 512
_FEW = 4  # rows that are not worth another core
_turn = threading.Lock()


class _Program(NamedTuple):
    most: int  # rows that it takes
    compiled: Future[Any]
    result: Any  # shapes and types, of one row


class ForRows:
    """Maps pytrees of rows, NumPy arrays with one leading axis, to such pytrees.

    Args:
      *steps: the first maps one row of each mapped argument, then shared ones, to a pytree of arrays; each further one
        gets what those before it made between the two. The last one's is the result.
      num_shared: how many arguments, the last ones, are the same for all rows.
    """

    def __init__(self, *steps: Callable[..., Any], num_shared: int = 0) -> None:
        self._steps, self._num_shared = steps, num_shared
        self._programs: dict[Any, _Program] = {}

    def __call__(self, *args: Any) -> Any:
        """Returns what the function makes of every row; at least one of them."""
        rows, shared = self._split(args)
        num_rows = len(jax.tree.leaves(rows)[0])
        most, compiled, one = self._program(rows, shared)
        run_on_rows = compiled.result()
        found = jax.tree.map(lambda leaf: np.empty((num_rows, *leaf.shape), leaf.dtype), one)
        rounds = math.ceil(num_rows / (most * len(own_cores())))
        each = min(most, max(math.ceil(num_rows / (rounds * len(own_cores()))), _FEW))
        begins = iter(range(0, num_rows, each))  # a core takes the next share when it is through with one

        def write(begin: int, made: Any) -> None:
            count = min(each, num_rows - begin)
            for whole, part in zip(jax.tree.leaves(found), jax.tree.leaves(made), strict=True):
                whole[begin : begin + count] = np.asarray(part)[:count]

        def run(_: int) -> None:
            under_way: list[tuple[int, Any]] = []
            for begin in begins:
                count = min(each, num_rows - begin)
                made = run_on_rows(np.int32(count), *_filled_up(rows, begin, count, most), *shared)
                under_way.append((begin, made))
                if len(under_way) > 1:
                    write(*under_way.pop(0))  # while the next is computed
            for begin, made in under_way:
                write(begin, made)

        try:
            with _quiet_linear_algebra() if num_rows > each else contextlib.nullcontext():
                list(_pool().map(run, own_cores()))  # the caller only waits, so that Ctrl-C reaches it
        finally:
            deque(begins, maxlen=0)  # after Ctrl-C no share is begun
        return found

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
        signature = signature_of(one, shared)
        if signature not in self._programs:
            made: list[Any] = []
            for step in self._steps:
                made.append(jax.eval_shape(step, *one, *made, *shared))
            bytes_each = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves((one, made)))
            most = int(np.clip(_BYTES_TOGETHER // max(bytes_each, 1), 1, _MAX_TOGETHER))
            filled_up = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((most, *leaf.shape), leaf.dtype), one)
            lowered = jax.jit(self._through_the_steps).lower(jax.ShapeDtypeStruct((), jnp.int32), *filled_up, *shared)
            self._programs[signature] = _Program(most, _pool().submit(lowered.compile), made[-1])
        return self._programs[signature]

    def _through_the_steps(self, count: jax.Array, *args: Any) -> Any:
        rows, shared = self._split(args)
        mapped = _in_a_loop if platform() == "cpu" else _at_once
        made: list[Any] = []
        for step in self._steps:
            made.append(mapped(step, count, (*rows, *made), shared))
        return made[-1]


def in_halves(ask: Callable[[np.ndarray], Any], which: np.ndarray) -> Iterator[tuple[np.ndarray, Any]]:
    """Yields (some of the rows, what was found of them); rows that raise an error by themselves are left out.

    What cannot be asked of all together is asked of half of them, and so on.
    """
    parts = [which]
    while parts:
        part = parts.pop()
        if not len(part):
            continue
        try:
            yield part, ask(part)
        except RuntimeError:  # as XLA makes of what a called function raises
            if len(part) > 1:
                parts += np.array_split(part, 2)


def _at_once(fn: Callable[..., Any], count: jax.Array, rows: tuple[Any, ...], shared: tuple[Any, ...]) -> Any:
    """Returns what the function makes of all rows, those that only fill up among them."""
    return jax.vmap(lambda *row: fn(*row, *shared))(*rows)


def _in_a_loop(fn: Callable[..., Any], count: jax.Array, rows: tuple[Any, ...], shared: tuple[Any, ...]) -> Any:
    """Returns what the function makes of the first `count` rows."""
    most = len(jax.tree.leaves(rows)[0])
    row = lambda i: fn(*jax.tree.map(lambda leaf: leaf[i], rows), *shared)
    nothing = jax.tree.map(lambda leaf: jnp.zeros((most, *leaf.shape), leaf.dtype), jax.eval_shape(row, count))
    write = lambda i, found: jax.tree.map(lambda leaf, one: leaf.at[i].set(one), found, row(i))
    return jax.lax.fori_loop(0, count, write, nothing)


def _filled_up(rows: Any, begin: int, count: int, most: int) -> Any:
    """Returns some of the rows, and more up to `most`."""

    def filled_up(leaf: np.ndarray) -> np.ndarray:
        part = leaf[begin : begin + count]
        return part if count == most else np.resize(part, (most, *part.shape[1:]))

    return jax.tree.map(filled_up, rows)


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
def _pool() -> Threads:
    return Threads(len(own_cores()), thread_name_prefix="jaxgd")
