"""The driver of a run: hands chunks of work to the devices' threads and yields the ends that come of them.

Each device has a thread and a program of its own. One program for all of them (`jax.shard_map`) makes XLA hand every
small kernel from thread to thread, which is far slower on a busy machine (see BUILD_NOTES.md). Between two chunks the
host shows progress and honours Ctrl-C: what is done is returned.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from jaxgd.base import Cost, Ends, InputValueError, Key, Params, Status
from jaxgd.lanes import relative_stop, rounding
from jaxgd.lanes.lane import IDLE
from jaxgd.lanes.loop import Buffer, Chunk, Loop, Program, Share, int32, take
from jaxgd.lanes.tune import Choice, Shape, measure

Progress = Callable[[int, int, int], None]

_CHUNK_SECONDS = 0.3  # how long the host lets the devices run before it looks
_MAX_VISITS = 2**20
_FIRST_NUM_TICKS, _MAX_NUM_TICKS = 8, 64  # of one visit
_NUM_PROBES = 16  # starts; if value or gradient is finite at none of them, the question is wrong
_SECONDS_BEFORE_MEASURING = 3.0
_SHARE_FOR_MEASURING = 0.1  # of the time that is left, which measuring layouts may take


class Worker:
    """One device's share of a run: drives the compiled loop there, chunk by chunk, and keeps the account."""

    def __init__(self, key: Key, starts: Params | None, device: jax.Device, first: int, num_shares: int) -> None:
        self.key, self.starts = jax.device_put((key, starts), device)
        self.first, self.num_shares = first, num_shares
        self.num_done = self.ticks = self.lane_ticks = 0
        self.num_visits, self.num_ticks = 1, _FIRST_NUM_TICKS
        self.chunk: Chunk | None = None
        self.limit: np.ndarray | None = None  # gradient norm at which a lane has converged

    def load(self, loop: Loop, program: Program) -> None:
        """Begins a loop where the share stands."""
        next_place = self.chunk.next_place if self.chunk is not None else None
        self.num_lanes, self.program, self.num_visits = loop.num_lanes, program, 1
        self.chunk = program.begin()
        if next_place is not None:
            self.chunk = self.chunk._replace(next_place=next_place)

    def advance(self, end: int) -> Buffer:
        """Runs one chunk, with places refilled by descents below `end`, and returns the ends that came of it."""
        assert self.chunk is not None
        began, tick = time.perf_counter(), int(self.chunk.tick)
        own = Share.of(self.first, self.num_shares, end)
        chunk = self.program.advance(
            self.chunk, self.key, self.starts, own, int32(self.num_visits), int32(self.num_ticks), self.limit
        )
        self.lane_ticks += (int(chunk.tick) - tick) * self.num_lanes
        self.chunk, buffer = take(chunk)
        self.num_done += len(buffer.counts)
        self.ticks += _num_ticks(buffer)
        seconds = time.perf_counter() - began
        longest = min(4 * self.num_visits, _MAX_VISITS)
        self.num_visits = int(np.clip(self.num_visits * _CHUNK_SECONDS / max(seconds, 1e-6), 1, longest))
        if self.num_done >= self.num_lanes:
            # A finished lane waits half the ticks of a visit, and a visit costs a few ticks itself; the sum of both
            # is least at a multiple of the square root of a descent's length.
            length = np.sqrt(self.ticks / self.num_done)
            self.num_ticks = int(np.clip(length, _FIRST_NUM_TICKS // 2, _MAX_NUM_TICKS))
        return buffer

    def look_at(self, numbers: range, limit: np.ndarray) -> np.ndarray:
        """Returns the gradient norms at the starts of some descents, without counting them as done.

        With an infinite `limit` every lane ends where it begins.
        """
        chunk, norms = self.program.begin(), np.zeros(0, limit.dtype)
        own, count, one_tick = Share.of(numbers.start, 1, numbers.stop), int32(len(numbers)), int32(1)
        while len(norms) < len(numbers):
            chunk, buffer = take(self.program.advance(chunk, self.key, self.starts, own, count, one_tick, limit))
            norms = np.append(norms, buffer.scalars[:, 1])
        return norms

    def is_idle(self) -> bool:
        """Returns whether no lane is under way."""
        return self.chunk is None or bool(np.all(np.asarray(self.chunk.lanes.status) == IDLE))

    def has_finished(self, end: int) -> bool:
        """Returns whether the whole share is done."""
        return self.num_done >= len(range(self.first, end, self.num_shares))


class Run:
    """One run: hands chunks of work to the devices' threads and yields what comes of them."""

    def __init__(
        self,
        *,
        build: Callable[[Choice], Loop],
        choice: Choice,
        shape: Shape | None,
        key: Key,
        starts: Params | None,
        first: int,
        num_descents: int,
        devices: list[jax.Device],
        frozen: Params | None,
        origin: str,
        look: Callable[[], tuple[str, ...]],
    ) -> None:
        """Descents `first` to `first + num_descents - 1` are to be done.

        `frozen`, `origin` and the notes that `look` returns go on to their `Ends`; it is called while the loop is
        compiled.
        """
        self.build, self.choice = build, choice
        self.shape = shape  # None: the choice is not to be changed
        self.num_descents, self.end = num_descents, first + num_descents
        self.frozen, self.origin, self.look = frozen, origin, look
        self.notes: tuple[str, ...] = ()
        self.may_be_rounding = True  # that holds up descents, as far as was looked
        self.workers = [
            Worker(key, starts, device, first + share, len(devices)) for share, device in enumerate(devices)
        ]
        self.seconds_compile = 0.0

    def parts(self, progress: Progress | None) -> Iterator[Ends]:
        """Yields the ends as they come, until all are done or Ctrl-C; at least one part.

        Raises:
          InputValueError: value or gradient is not finite at any of the first starts.
        """
        report = progress or (lambda done, total, ticks: None)
        with _ctrl_c() as is_interrupted, ThreadPoolExecutor(len(self.workers) + 1) as pool:
            looking = pool.submit(self.look)
            self._load(pool)
            self.notes = looking.result()
            self.began = time.perf_counter()
            self._set_limit()
            buffers = list(pool.map(lambda worker: worker.advance(self.end), self.workers))
            ends = self._ends(jax.tree.map(lambda *leaves: np.concatenate(leaves), *buffers))
            self._refuse_hopeless(ends)
            yield from self._handed_over(ends)
            report(self._sum("num_done"), self.num_descents, self._sum("ticks"))
            busy = {} if is_interrupted() else self._advance(pool)
            while busy:
                wants_measure = self._is_worth_measuring()
                for future in wait(busy, return_when=FIRST_COMPLETED).done:
                    worker, buffer = busy.pop(future), future.result()
                    if len(buffer.counts):
                        yield from self._handed_over(self._ends(buffer))
                    report(self._sum("num_done"), self.num_descents, self._sum("ticks"))
                    is_done = worker.has_finished(self.end) or is_interrupted()
                    if not is_done and not wants_measure:
                        busy[pool.submit(worker.advance, self.end)] = worker
                if not busy and not is_interrupted():
                    if wants_measure:
                        yield from self._measure(pool)
                    busy = self._advance(pool)  # also those held back for a measurement that did not come about

    def _handed_over(self, ends: Ends) -> Iterator[Ends]:
        """Yields the ends; what their receiver does with them is not the run's time."""
        left = time.perf_counter()
        yield ends
        self.began += time.perf_counter() - left

    def _advance(self, pool: ThreadPoolExecutor) -> dict[Future[Buffer], Worker]:
        """Sends every worker on that has work left."""
        under_way = [worker for worker in self.workers if not worker.has_finished(self.end)]
        return {pool.submit(worker.advance, self.end): worker for worker in under_way}

    def _refuse_hopeless(self, ends: Ends) -> None:
        """Raises where no start of the first ones can be descended from: then the question is wrong."""
        num_probes = min(_NUM_PROBES, self.num_descents, len(self.workers) * self.choice.num_lanes)
        probes = ends[ends.start_number < self.end - self.num_descents + num_probes]
        if len(probes) == num_probes and np.all((probes.status == Status.DIVERGED) & (probes.num_steps == 0)):
            raise InputValueError(
                f"value or gradient of landscape `{self.loop.descent.landscape.name}` is not finite at any of its first"
                f" {num_probes} starts; there is nothing to descend from."
            )

    def _set_limit(self) -> None:
        """Finds the gradient norm at which lanes have converged; "auto" looks at the first starts of all."""
        descent, worker = self.loop.descent, self.workers[0]
        asked = descent.stop.gradient_norm
        if asked == "auto":
            asked = relative_stop.relative_limit(self._norms_at_starts())
        asked = None if asked is None else float(asked)
        self.stop = replace(descent.stop, gradient_norm=asked)
        for worker in self.workers:
            worker.limit = np.asarray(-1 if asked is None else asked, self._value_dtype())

    def _norms_at_starts(self) -> np.ndarray:
        """Returns the gradient norms at the first starts of all, those of other blocks of the question too."""
        worker = self.workers[0]
        numbers = self.loop.descent.first_numbers(worker.starts, relative_stop.NUM_STARTS)
        return worker.look_at(numbers, np.asarray(np.inf, self._value_dtype()))

    def _value_dtype(self) -> np.dtype:
        descent, worker = self.loop.descent, self.workers[0]
        return descent.limit_type(descent.one_start(worker.key, worker.starts)).dtype

    def _look_for_rounding(self, ends: Ends, num_still: np.ndarray) -> None:
        """Notes, once, where rounding holds up descents that ran out of steps."""
        limit = self.stop.gradient_norm
        if not isinstance(limit, float) or ends.params is None or self.loop.descent.is_noisy:
            return
        if not self.may_be_rounding or not np.any(ends.status == Status.STEP_LIMIT):
            return
        began, self.may_be_rounding = time.perf_counter(), False
        scale = relative_stop.scale_of(self._norms_at_starts())
        self.notes += rounding.note_on_rounding(self.loop.descent, ends, num_still, limit, scale)
        seconds = time.perf_counter() - began
        self.seconds_compile, self.began = self.seconds_compile + seconds, self.began + seconds

    def _load(self, pool: ThreadPoolExecutor) -> None:
        """Compiles the chosen loop for every device and begins it there."""
        began = time.perf_counter()
        self.loop = self.build(self.choice)
        compilers = [self.loop.prepare(worker.key, worker.starts) for worker in self.workers]
        for worker, program in zip(self.workers, pool.map(lambda compiler: compiler(), compilers), strict=True):
            worker.load(self.loop, program)
        self.seconds_compile += time.perf_counter() - began

    def _sum(self, name: str) -> int:
        return sum(getattr(worker, name) for worker in self.workers)

    def _is_worth_measuring(self) -> bool:
        """Returns whether the rest of the run is long against what measuring would cost."""
        num_done, seconds = self._sum("num_done"), time.perf_counter() - self.began
        if self.shape is None or seconds < _SECONDS_BEFORE_MEASURING or not num_done:
            return False
        seconds_left = seconds * (self.num_descents - num_done) / num_done
        return seconds_left * _SHARE_FOR_MEASURING > 4 * (self.seconds_compile + 0.2)

    def _measure(self, pool: ThreadPoolExecutor) -> Iterator[Ends]:
        """Measures other choices; if one is faster, lets the lanes that run come to their end and goes on with it."""
        began, first = time.perf_counter(), self.workers[0]
        assert self.shape is not None
        assert first.limit is not None
        best = measure(self.shape, self.choice, self.build, first.key, first.starts, self.end, first.limit)
        seconds = time.perf_counter() - began
        self.seconds_compile, self.began, self.shape = self.seconds_compile + seconds, self.began + seconds, None
        if best == self.choice:
            return
        while under_way := [worker for worker in self.workers if not worker.is_idle()]:
            for buffer in pool.map(lambda worker: worker.advance(0), under_way):
                if len(buffer.counts):
                    yield from self._handed_over(self._ends(buffer))
        began, self.choice = time.perf_counter(), best
        self._load(pool)
        self.began += time.perf_counter() - began

    def _ends(self, buffer: Buffer) -> Ends:
        order = np.argsort(buffer.counts[:, 0], kind="stable")
        buffer = jax.tree.map(lambda leaf: leaf[order], buffer)
        number, status, num_steps, num_restarts, num_hvps, num_still, *event_steps = buffer.counts.T
        value, gradient_norm, best_value = buffer.scalars.T
        ends = Ends(
            start_number=number.astype(np.int64),
            params=buffer.last,
            value=value,
            gradient_norm=gradient_norm,
            status=status.astype(np.int8),
            num_steps=num_steps,
            num_restarts=num_restarts,
            num_hvps=num_hvps,
            best_value=best_value,
            best_params=buffer.best,
            event_steps=dict(zip(self.loop.descent.events, event_steps, strict=True)),
            num_starts=self.num_descents,
            cost=Cost(
                ticks=self._sum("ticks"),
                lane_ticks=self._sum("lane_ticks"),
                seconds_compile=self.seconds_compile,
                seconds_run=time.perf_counter() - self.began,
                layout=self.loop.layout,
                num_lanes=self.loop.num_lanes,
                num_devices=len(self.workers),
            ),
            frozen=self.frozen,
            stop=self.stop,
            origin=self.origin,
        )
        self._look_for_rounding(ends, np.asarray(num_still))
        return replace(ends, notes=self.notes)


def _num_ticks(buffer: Buffer) -> int:
    """Returns the gradient evaluations behind some ends: one for each update, one for each start."""
    _, _, num_steps, num_restarts = buffer.counts[:, :4].T
    return int(num_steps.sum(dtype=np.int64) + num_restarts.sum(dtype=np.int64)) + len(buffer.counts)


@contextmanager
def _ctrl_c() -> Iterator[Callable[[], bool]]:
    """Within it, a first Ctrl-C is only noted, so that a chunk can end; a second one interrupts as usual."""
    noted = False

    def note(signum: int, frame: Any) -> None:
        nonlocal noted
        if noted:
            raise KeyboardInterrupt
        noted = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: noted
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: noted
    finally:
        signal.signal(signal.SIGINT, before)
