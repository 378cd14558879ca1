"""Who computes the blocks of a survey: this process, or the workers of any `concurrent.futures.Executor`.

A block is a pure function of the question and its start numbers, so neither a shared file system nor a queue of our own
is needed: the question is sent as bytes and unpickled once by each worker (a landscape unpickled for each block would
be compiled for each); a worker also judges its ends, and returns arrays.
"""

import functools
import math
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, Protocol

import jax
import numpy as np

from jaxgd.base import Ends, InputTypeError, InputValueError, Points, Progress
from jaxgd.blocks import Question, do_block
from jaxgd.interrupt import Interrupt, say

Done = tuple[Ends, Points]

_LOOK_SECONDS = 0.2
_COUNT_SECONDS = 1.0  # after which workers are counted anew
_MAX_FAILURES = 3  # of one block, before its error is raised
_AHEAD = 2  # blocks per worker, so that none waits for this process


class Overtaken(Exception):
    """Another process has finished the block; raised from the progress callback to abandon it."""


class Workers(Protocol):
    """The interface of the workers of a survey."""

    @property
    def num_busy(self) -> int:
        """Number of blocks in progress."""

    @property
    def num_wanted(self) -> int:
        """Number of blocks that should be in progress."""

    def begin(self, block: range, progress: Progress) -> None:
        """Begins a block."""

    def results(self, told: Interrupt) -> Iterator[tuple[range, Done | None]]:
        """Waits for a while and yields finished blocks, with None for one that must be computed again."""


@contextmanager
def workers_of(executor: Any, question: Question) -> Iterator[Workers]:
    """Provides the workers of an executor, of a function that returns one, or for None this process itself.

    Raises:
      InputTypeError: it is neither.
      InputValueError: cloudpickle is not installed, or cannot pickle the question.
    """
    if executor is None:
        yield Here(question)
        return
    if not (hasattr(executor, "submit") or callable(executor)):
        raise InputTypeError(
            f"`executor` must be a concurrent.futures.Executor, or a function that returns one, got {executor!r}."
        )
    there = There(executor, question)
    try:
        yield there
    finally:
        there.close()


class Here:
    """This process, which computes one block after another."""

    num_wanted = 1

    def __init__(self, question: Question) -> None:
        self._question = question
        self._waiting: list[tuple[range, Progress]] = []

    @property
    def num_busy(self) -> int:
        """Number of blocks that wait."""
        return len(self._waiting)

    def begin(self, block: range, progress: Progress) -> None:
        """Queues a block."""
        self._waiting.append((block, progress))

    def results(self, told: Interrupt) -> Iterator[tuple[range, Done | None]]:
        """Computes the queued blocks."""
        while self._waiting:
            block, progress = self._waiting.pop()
            try:
                done = do_block(self._question, block, progress)
            except Overtaken:
                yield block, None
            else:
                yield block, done


class There:
    """The workers of an executor."""

    def __init__(self, executor: Any, question: Question) -> None:
        self._executor, self._question = executor, question
        self._pool: Executor = executor if hasattr(executor, "submit") else executor()
        self._work = functools.partial(_do, _packed(question), _settings())
        self._futures: dict[Future[Done], range] = {}
        self._failures: dict[range, int] = {}
        self._here: Here | None = None  # takes over when the pool is broken
        self._num_renewed = self._count_said = 0
        self._num_workers, self._count_until = 1, -math.inf

    @property
    def num_busy(self) -> int:
        """Number of blocks in progress."""
        return len(self._futures) + (self._here.num_busy if self._here else 0)

    @property
    def num_wanted(self) -> int:
        """Enough to keep all workers busy, if the executor reveals how many it has."""
        if self._here:
            return 1

        # with Dask this is a round trip to the scheduler, too slow for every block
        now = time.monotonic()
        if now > self._count_until:
            self._num_workers, self._count_until = num_workers(self._pool), now + _COUNT_SECONDS
        return _AHEAD * self._num_workers

    def begin(self, block: range, progress: Progress) -> None:
        """Submits a block."""
        if self._here is None:
            try:
                self._futures[self._pool.submit(self._work, block.start, block.stop)] = block
            except Exception as error:
                self._renew(error)
                self.begin(block, progress)
        else:
            self._here.begin(block, progress)

    def results(self, told: Interrupt) -> Iterator[tuple[range, Done | None]]:
        """Waits for blocks, and yields finished and failed ones."""
        if self._here is not None:
            yield from self._here.results(told)
        if told.count:
            self._cancel(told.count)
        if not self._futures:
            return

        # finished blocks
        broken: BaseException | None = None
        finished = wait(self._futures, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED).done
        for future in finished:
            block = self._futures.pop(future)
            error = None if future.cancelled() else future.exception()
            if future.cancelled() or error is not None:
                if error is not None and _is_broken(error):
                    broken = error
                elif error is not None:
                    self._check(block, error)
                yield block, None
            else:
                self._num_renewed = 0
                yield block, future.result()

        # a broken executor has lost all other blocks in progress
        if broken is not None:
            lost, self._futures = list(self._futures.values()), {}
            self._renew(broken)
            for block in lost:
                yield block, None

    def close(self) -> None:
        """Cancels the blocks that are not needed any more."""
        for future in self._futures:
            future.cancel()

    def _cancel(self, count: int) -> None:
        for future in [*self._futures]:
            future.cancel()
        if self._futures and count != self._count_said:
            self._count_said = count
            say(
                f"no further blocks will begin; {len(self._futures):,} are still in progress. Interrupt again"
                f" to drop them."
            )

    def _check(self, block: range, error: BaseException) -> None:
        """Raises the error of a block that should not be tried again: invalid arguments, or repeated failure."""
        if isinstance(error, (InputValueError, InputTypeError)):
            raise error
        self._failures[block] = self._failures.get(block, 0) + 1
        if self._failures[block] >= _MAX_FAILURES:
            raise InputValueError(
                f"starts {block.start:,} to {block.stop - 1:,} failed {_MAX_FAILURES} times on the executor's workers,"
                f" the last time with {type(error).__name__}: {error}"
            ) from error

    def _renew(self, error: BaseException) -> None:
        """Makes a new pool if possible; otherwise this process continues alone."""
        self._num_renewed += 1
        if self._num_renewed > _MAX_FAILURES:
            raise InputValueError(
                f"the executor broke {_MAX_FAILURES} times without finishing a block: {type(error).__name__}: {error}"
            ) from error
        if not hasattr(self._executor, "submit"):
            self._pool, self._count_until = self._executor(), -math.inf
            return
        note = f"the executor is broken ({type(error).__name__}); its blocks are computed in this process."
        print(f"jaxgd: {note}", file=sys.stderr, flush=True)
        self._here = Here(self._question)


def num_workers(pool: Any) -> int:
    """Returns how many workers an executor has, or a guess if it does not reveal it."""
    for name in ("_max_workers", "max_workers"):
        count = getattr(pool, name, None)
        if isinstance(count, int) and count > 0:
            return count
    client = getattr(pool, "_client", None)  # Dask's
    if client is not None:
        return max(len(client.scheduler_info(n_workers=-1)["workers"]), 1)
    return 8


def _is_broken(error: BaseException) -> bool:
    """Returns whether an executor accepts no more work, as errors of the standard library and loky say."""
    return "Broken" in type(error).__name__ or "TerminatedWorker" in type(error).__name__


def _settings() -> dict[str, Any]:
    """Returns the jax settings of this process that affect the bits."""
    names = (
        "jax_enable_x64",
        "jax_numpy_dtype_promotion",
        "jax_numpy_rank_promotion",
        "jax_default_matmul_precision",
        "jax_default_prng_impl",
        "jax_threefry_partitionable",
    )
    return {name: getattr(jax.config, name) for name in names}


def _packed(question: Question) -> bytes:
    """Returns the question as bytes; the key is sent as its words."""
    try:
        import cloudpickle
    except ImportError as error:
        raise InputValueError("`executor` needs `pip install cloudpickle`.") from error
    asked = {item.name: getattr(question, item.name) for item in fields(question)}
    asked["key"] = str(jax.random.key_impl(question.key)), np.asarray(jax.random.key_data(question.key))
    try:
        return bytes(cloudpickle.dumps(asked))
    except Exception as error:
        raise InputValueError(f"the landscape or optimizer cannot be sent to other processes: {error}") from error


@functools.lru_cache(maxsize=8)
def _unpacked(packed: bytes) -> Question:
    import cloudpickle

    asked = cloudpickle.loads(packed)
    impl, words = asked.pop("key")
    return Question(**asked, key=jax.random.wrap_key_data(jax.numpy.asarray(words), impl=impl))


def _do(packed: bytes, settings: dict[str, Any], first: int, stop: int) -> Done:
    """Computes a block in a worker."""
    for name, value in settings.items():
        jax.config.update(name, value)
    ends, points = do_block(_unpacked(packed), range(first, stop))
    return _home(ends), _home(points)


def _home(record: Any) -> Any:
    """Returns a record with NumPy arrays, which can be unpickled anywhere."""
    return replace(record, **jax.tree.map(np.asarray, record.columns()))


def find_executor(text: str) -> Any:
    """Returns a function that makes the executor named on the command line.

    Raises:
      InputValueError: the name is unknown, or a package it needs is not installed.
    """
    kind, _, rest = text.partition(":")
    number = int(rest) if rest.isdecimal() else None
    try:
        if kind == "dask" and rest:
            from distributed import Client

            return lambda: Client(rest).get_executor()
        if kind == "loky" and (number or not rest):
            import loky

            return lambda: loky.get_reusable_executor(max_workers=number, timeout=None)
        if kind == "processes" and (number or not rest):
            import multiprocessing
            from concurrent.futures import ProcessPoolExecutor

            return lambda: ProcessPoolExecutor(number, mp_context=multiprocessing.get_context("spawn"))
        if kind == "mpi" and not rest:
            from mpi4py.futures import MPIPoolExecutor

            return MPIPoolExecutor
    except ImportError as error:
        raise InputValueError(f"`--executor {text}` needs `pip install {error.name}`.") from error
    raise InputValueError(
        f"`--executor` must be dask:ADDRESS, loky, loky:N, processes, processes:N or mpi, got `{text}`."
    )
