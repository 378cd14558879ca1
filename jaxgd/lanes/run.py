"""The driver of a run: sends chunks of work to one thread per device and yields the resulting ends.

Each device has its own thread and works on its own share. One program over all of them (`jax.shard_map`) makes XLA hand
every small kernel from thread to thread, which is far slower on a busy machine (see BUILD_NOTES.md). The devices of a
CPU are threads only: one program, compiled once, is called by all of them. Between chunks the host reports progress and
checks for interruptions.

A run that is interrupted still returns a fair sample. After the first signal no further descents begin; those in
progress are finished, as are those with lower numbers on a device that lags behind, so that the result covers an
unbroken range of starts. The second signal drops the descents in progress, which are returned with status
`interrupted`.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace

import jax
import numpy as np

from jaxgd.base import Cost, Ends, InputValueError, Key, Params, Progress, Status
from jaxgd.cores import Threads
from jaxgd.interrupt import interruptible, say
from jaxgd.lanes import relative_stop, rounding
from jaxgd.lanes.lane import RESTARTING, RUNNING
from jaxgd.lanes.loop import Buffer, Chunk, CompiledLoop, DeviceShare, Loop, int32, take_ends

_CHUNK_SECONDS = 0.3  # how long the host lets the devices run between checks
_MAX_VISITS = 2**20
_NUM_PROBES = 16  # starts; if value or gradient is finite at none of them, the run is rejected


class Worker:
    """One device's share of a run: drives the compiled loop there, chunk by chunk, and counts its cost."""

    def __init__(self, key: Key, starts: Params | None, device: jax.Device, first: int, num_shares: int) -> None:
        self.key, self.starts = jax.device_put((key, starts), device)
        self.first, self.num_shares = first, num_shares
        self.num_done = self.ticks = self.lane_ticks = 0
        self.num_visits = 1
        self.limit: np.ndarray | None = None  # gradient norm at which a lane has converged

    def load(self, loop: Loop, program: CompiledLoop) -> None:
        """Begins the loop."""
        self.loop, self.program = loop, program
        self.chunk: Chunk = program.begin()

    def advance(self, end: int) -> Buffer:
        """Runs one chunk, refilling places with descents below `end`, and returns the ends."""
        began, tick = time.perf_counter(), int(self.chunk.tick)
        own = DeviceShare.of(self.first, self.num_shares, end)
        chunk = self.program.advance(self.chunk, self.key, self.starts, own, int32(self.num_visits), self.limit)
        self.lane_ticks += (int(chunk.tick) - tick) * self.loop.num_lanes
        self.chunk, buffer = take_ends(chunk)
        self._count(buffer)

        seconds = time.perf_counter() - began
        longest = min(4 * self.num_visits, _MAX_VISITS)
        self.num_visits = int(np.clip(self.num_visits * _CHUNK_SECONDS / max(seconds, 1e-6), 1, longest))
        return buffer

    def _count(self, buffer: Buffer) -> None:
        """Adds ends to the cost: a descent takes one gradient for each update and each start."""
        _, _, num_steps, num_restarts = buffer.counts[:, :4].T
        self.num_done += len(buffer.counts)
        self.ticks += int(num_steps.sum(dtype=np.int64) + num_restarts.sum(dtype=np.int64)) + len(buffer.counts)

    def has_finished(self, end: int) -> bool:
        """Returns whether all descents of the share below `end` are done."""
        return self.num_done >= len(range(self.first, end, self.num_shares))

    @property
    def next_number(self) -> int:
        """The number of the next descent of this share."""
        return self.first + self.num_shares * int(self.chunk.next_place)

    def drop(self, end: int) -> Buffer:
        """Returns records of all descents below `end` that have not ended, with status `interrupted`.

        One that has begun is returned at its last finite iterate; one that has not holds NaN.
        """
        status = np.asarray(self.chunk.lanes.status)
        records = jax.tree.map(np.asarray, self.loop.ends_of(self.chunk.lanes))
        begun = jax.tree.map(lambda leaf: np.array(leaf[(status == RUNNING) | (status == RESTARTING)]), records)
        self._count(begun)

        numbers = np.arange(self.next_number, end, self.num_shares, dtype=np.int32)
        never = jax.tree.map(
            lambda leaf: np.full((len(numbers), *leaf.shape[1:]), np.nan if leaf.dtype.kind == "f" else 0, leaf.dtype),
            records,
        )
        never.counts[:, 0] = numbers
        never.counts[:, 6:] = -1  # no event has fired

        dropped = jax.tree.map(lambda *leaves: np.concatenate(leaves), begun, never)
        dropped.counts[:, 1] = int(Status.INTERRUPTED)
        return dropped


class Run:
    """One run: sends chunks of work to the devices' threads and yields the ends."""

    def __init__(
        self,
        *,
        loop: Loop,
        key: Key,
        starts: Params | None,
        first: int,
        num_descents: int,
        devices: list[jax.Device],
        frozen: Params | None,
        origin: str,
        look: Callable[[], tuple[str, ...]],
        notes: tuple[str, ...] = (),
        seconds_before: float = 0.0,
    ) -> None:
        """Prepares descents `first` to `first + num_descents - 1`.

        `frozen`, `origin`, `notes` and the notes that `look` returns are passed on to the `Ends`; `look` is called
        while the loop compiles. `seconds_before` is the time that tuning took.
        """
        self.loop, self.num_descents, self.end = loop, num_descents, first + num_descents
        self.frozen, self.origin, self.look, self.notes = frozen, origin, look, notes
        self.may_be_rounding = True  # whether rounding may hold up descents; False after a check
        self.workers = [
            Worker(key, starts, devices[0] if device.platform == "cpu" else device, first + share, len(devices))
            for share, device in enumerate(devices)
        ]
        self.seconds_compile = seconds_before

    def parts(self, progress: Progress | None) -> Iterator[Ends]:
        """Yields the ends as they come, until all are done or the run was interrupted; at least one part.

        Raises:
          InputValueError: value or gradient is not finite at any of the first starts.
        """
        report = progress or (lambda phase, done, total: None)
        with interruptible() as told, Threads(len(self.workers) + 1) as pool:
            looking = pool.submit(self.look)
            self._load(pool)
            self.notes += looking.result()
            self.began = time.perf_counter()
            self._set_limit()

            # the first chunk is short, and shows whether the starts are usable
            buffers = list(pool.map(lambda worker: worker.advance(self.end), self.workers))
            ends = self._ends(*buffers)
            self._refuse_hopeless(ends)
            yield from self._handed_over(ends)
            report("descending", self._sum("num_done"), self.num_descents)

            num_heard = 0
            while True:
                busy = self._advance(pool) if told.count == num_heard else {}
                while busy:
                    for future in wait(busy, return_when=FIRST_COMPLETED).done:
                        worker, buffer = busy.pop(future), future.result()
                        if len(buffer.counts):
                            yield from self._handed_over(self._ends(buffer))
                        report("descending", self._sum("num_done"), self.num_descents)
                        if told.count == num_heard and not worker.has_finished(self.end):
                            busy[pool.submit(worker.advance, self.end)] = worker

                # all devices are idle: everything is done, or the run was interrupted
                if all(worker.has_finished(self.end) for worker in self.workers):
                    return
                num_heard = told.count
                if num_heard > 1:
                    yield self._ends(*(worker.drop(self.end) for worker in self.workers))
                    return
                self.end = min(self.end, max(worker.next_number - worker.num_shares for worker in self.workers) + 1)
                under_way = self.end - self.workers[0].first - self._sum("num_done")
                say(
                    f"no further descents will begin; {under_way:,} are still in progress. Interrupt again to"
                    f" drop them."
                )

    def _load(self, pool: Threads) -> None:
        """Compiles the loop for every device that has workers, and loads it there."""
        began = time.perf_counter()
        first_at = {worker.key.sharding: worker for worker in reversed(self.workers)}
        compilers = {place: self.loop.prepare(worker.key, worker.starts) for place, worker in first_at.items()}
        compiled = {place: pool.submit(compiler) for place, compiler in compilers.items()}
        for worker in self.workers:
            worker.load(self.loop, compiled[worker.key.sharding].result())
        self.seconds_compile += time.perf_counter() - began

    def _advance(self, pool: Threads) -> dict[Future[Buffer], Worker]:
        """Starts the next chunk of every worker that has work left."""
        under_way = [worker for worker in self.workers if not worker.has_finished(self.end)]
        return {pool.submit(worker.advance, self.end): worker for worker in under_way}

    def _handed_over(self, ends: Ends) -> Iterator[Ends]:
        """Yields the ends; the time that their receiver takes is not counted."""
        left = time.perf_counter()
        yield ends
        self.began += time.perf_counter() - left

    def _refuse_hopeless(self, ends: Ends) -> None:
        """Raises if no descent can begin from any of the first starts."""
        num_probes = min(_NUM_PROBES, self.num_descents, len(self.workers) * self.loop.num_lanes)
        probes = ends[ends.start_number < self.end - self.num_descents + num_probes]
        if len(probes) == num_probes and np.all((probes.status == Status.DIVERGED) & (probes.num_steps == 0)):
            raise InputValueError(
                f"value or gradient of landscape `{self.loop.descent.landscape.name}` is not finite at any of its first"
                f" {num_probes} starts; there is nothing to descend from."
            )

    def _set_limit(self) -> None:
        """Finds the gradient norm at which lanes have converged."""
        asked, first = self.loop.descent.stop, self.workers[0]
        limit = relative_stop.limit_of(self.loop, first.program, first.key, first.starts)
        self.stop = replace(asked, gradient_norm=float(limit)) if asked.gradient_norm == "auto" else asked
        for worker in self.workers:
            worker.limit = limit

    def _look_for_rounding(self, ends: Ends, num_still: np.ndarray) -> None:
        """Adds a note, once, if rounding holds up descents that ran out of steps."""
        limit, first = self.stop.gradient_norm, self.workers[0]
        if limit is None or ends.params is None or self.loop.descent.is_noisy:
            return
        if not self.may_be_rounding or not np.any(ends.status == Status.STEP_LIMIT):
            return
        began, self.may_be_rounding = time.perf_counter(), False
        scale = relative_stop.scale_of(relative_stop.norms_at_starts(self.loop, first.program, first.key, first.starts))
        with contextlib.suppress(Exception):  # a failed check must not lose the ends
            self.notes += rounding.note_on_rounding(self.loop.descent, ends, num_still, float(limit), scale)
        seconds = time.perf_counter() - began
        self.seconds_compile, self.began = self.seconds_compile + seconds, self.began + seconds

    def _sum(self, name: str) -> int:
        return sum(getattr(worker, name) for worker in self.workers)

    def _ends(self, *buffers: Buffer) -> Ends:
        buffer = jax.tree.map(lambda *leaves: np.concatenate(leaves), *buffers)
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
