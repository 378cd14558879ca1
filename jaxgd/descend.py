"""The front door of the engine: from a landscape, an optimizer and a stop rule to the ends of many descents.

`stream` yields ends as they come off the devices and keeps none of them; `descend` gathers them. Between two chunks
the host shows progress and honours Ctrl-C: what is done is returned, in order of start number.
"""

import functools
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd.base import Cost, Ends, InputTypeError, InputValueError, Key, Landscape, Params, Restart, Stop
from jaxgd.lanes.checks import check_count, check_descent, check_key, check_starts
from jaxgd.lanes.lane import IDLE, Descent, Event
from jaxgd.lanes.layout import LANE_AXIS
from jaxgd.lanes.loop import Buffer, Chunk, Loop, Programs, Share, int32, take
from jaxgd.lanes.tune import Choice, Shape, guess, measure, shape_of

Progress = Callable[[int, int, int], None]

_CHUNK_SECONDS = 0.3  # how long the host lets the devices run before it looks
_MAX_VISITS = 2**20
_FIRST_NUM_TICKS, _MAX_NUM_TICKS = 8, 64  # of one visit
_SECONDS_BEFORE_MEASURING = 3.0
_SHARE_FOR_MEASURING = 0.1  # of the time that is left, which measuring layouts may take


def descend(
    landscape: Landscape,
    optimizer: optax.GradientTransformation,
    num_starts: int | None = None,
    *,
    key: Key,
    starts: Params | None = None,
    stop: Stop | None = None,
    restart: Restart | None = None,
    events: Mapping[str, Event] | None = None,
    is_noisy: bool = False,
    keep: Collection[str] = ("params", "best_params"),
    layout: str | None = None,
    num_lanes: int | None = None,
    num_devices: int = 1,
    progress: Progress | None = None,
) -> Ends:
    """Returns where descents from many random starts ended, and why each stopped.

    Args:
      landscape: what to descend, and the law of its starts.
      optimizer: any optax transformation. Its `update` is called once for each gradient evaluation, with `value`,
        `grad`, `value_fn`, `hvp`, `key` (different for each lane and step) and `tick` as extra arguments.
      num_starts: how many starts to draw (>= 1); left out where `starts` is given.
      key: a key such as `jax.random.key(0)`; all draws of start `i` are folded from it and `i`.
      starts: explicit starts instead, params with one leading axis.
      stop: when a lane stops; the landscape's `default_stop` if None.
      restart: when a stopped lane begins anew from a new random start; never if None.
      events: predicates of (params, value, gradient) returning one bool; the step at which each first holds is
        recorded.
      is_noisy: descend random draws of the landscape's `noisy_value`; values, norms and the stop rule are then
        those of the draws.
      keep: which iterates to keep for every end: "params" (the last finite one), "best_params", both or none.
      layout: "lanes_first" or "lanes_last": how lanes lie in memory; it changes speed, not meaning. If None it is
        guessed from the function, and measured when the run is long.
      num_lanes: lanes that step together on each device; if None chosen like the layout.
      num_devices: how many of `jax.devices()` share the work.
      progress: called as progress(descents done, descents asked for, ticks so far) between chunks.

    Returns:
      `Ends` in order of start number; fewer than asked for after Ctrl-C.

    Raises:
      InputValueError, InputTypeError: the question cannot be run; nothing raises once it runs.

    Example:
      >>> import jax, jax.numpy as jnp, optax, jaxgd
      >>> well = jaxgd.Landscape(value=lambda x: (x**2 - 1) ** 2, sample=lambda key: jax.random.normal(key))
      >>> ends = jaxgd.descend(well, optax.sgd(0.05), 100, key=jax.random.key(0))
      >>> ends.status_counts(), sorted(set(abs(ends.params).round(4).tolist()))
      ({'converged': 100}, [1.0])
    """
    parts = list(
        stream(
            landscape, optimizer, num_starts, key=key, starts=starts, stop=stop, restart=restart, events=events,
            is_noisy=is_noisy, keep=keep, layout=layout, num_lanes=num_lanes, num_devices=num_devices,
            progress=progress,
        )
    )  # fmt: skip
    return concatenate(parts)


def stream(
    landscape: Landscape,
    optimizer: optax.GradientTransformation,
    num_starts: int | None = None,
    *,
    key: Key,
    starts: Params | None = None,
    stop: Stop | None = None,
    restart: Restart | None = None,
    events: Mapping[str, Event] | None = None,
    is_noisy: bool = False,
    keep: Collection[str] = ("params", "best_params"),
    layout: str | None = None,
    num_lanes: int | None = None,
    num_devices: int = 1,
    progress: Progress | None = None,
) -> Iterator[Ends]:
    """Yields the ends of `descend` part by part, in the order in which they finish, keeping none.

    At least one part is yielded (of no ends, if interrupted at once). The `cost` of each part counts from the
    start of the run. Arguments and errors are those of `descend`.
    """
    num_starts = count_starts(num_starts, starts)
    descent = _descent(
        landscape,
        _check_optimizer_kind(optimizer),
        starts is not None,
        stop or landscape.default_stop,
        restart,
        tuple((events or {}).items()),
        is_noisy,
        "best_params" in keep,
    )
    return launch(
        descent, num_starts, key=key, starts=starts, keep=keep, layout=layout, num_lanes=num_lanes,
        num_devices=num_devices, progress=progress,
    )  # fmt: skip


def count_starts(num_starts: int | None, starts: Params | None) -> int:
    """Returns how many starts were asked for, by number or by list."""
    if (num_starts is None) == (starts is None):
        raise InputValueError("give either `num_starts` or `starts`.")
    return check_starts(starts) if num_starts is None else check_count("num_starts", num_starts)


def launch(
    descent: Descent,
    num_descents: int,
    *,
    key: Key,
    starts: Params | None,
    keep: Collection[str],
    layout: str | None,
    num_lanes: int | None,
    num_devices: int,
    progress: Progress | None,
) -> Iterator[Ends]:
    """Returns the parts of the ends of `num_descents` descents, after everything that can be refused was."""
    for name in keep:
        if name not in ("params", "best_params"):
            raise InputValueError(f'`keep` may hold "params" and "best_params", got {name!r}.')
    starts = None if starts is None else jax.tree.map(jnp.asarray, starts)
    key = check_key(key)
    if layout is not None and layout not in LANE_AXIS:
        raise InputValueError(f"`layout` must be one of {', '.join(LANE_AXIS)}, got {layout!r}.")
    if num_lanes is not None:
        num_lanes = min(check_count("num_lanes", num_lanes), num_descents)
    num_devices = min(check_count("num_devices", num_devices, high=len(jax.devices()) + 1), num_descents)
    check_descent(descent, key, starts, num_descents)
    shape = shape_of(descent, key, starts, jax.devices()[0])
    first = guess(shape, num_descents, num_devices)
    run = _Run(
        build=lambda choice: _loop(descent, *choice, "params" in keep),
        choice=Choice(layout or first.layout, num_lanes or first.num_lanes),
        shape=shape if layout is None and num_lanes is None else None,
        key=key,
        starts=starts,
        num_descents=num_descents,
        devices=jax.devices()[:num_devices],
    )
    return run.parts(progress)


class _Worker:
    """One device's share of a run: drives the compiled loop there, chunk by chunk, and keeps the account.

    Each device has a thread of its own and its own program. One program for all of them (`jax.shard_map`) makes XLA
    hand every small kernel from thread to thread, which is far slower on a busy machine (see BUILD_NOTES.md).
    """

    def __init__(self, key: Key, starts: Params | None, device: jax.Device, share: int, num_shares: int) -> None:
        self.key, self.starts = jax.device_put((key, starts), device)
        self.share, self.num_shares = share, num_shares
        self.num_done = self.ticks = self.lane_ticks = 0
        self.num_visits, self.num_ticks = 1, _FIRST_NUM_TICKS
        self.chunk: Chunk | None = None

    def load(self, loop: Loop, programs: Programs) -> None:
        """Begins a loop where the share stands."""
        next_place = self.chunk.next_place if self.chunk is not None else None
        self.num_lanes, self.advance_program, self.num_visits = loop.num_lanes, programs.advance, 1
        self.chunk = programs.start(self.key, self.starts)
        if next_place is not None:
            self.chunk = self.chunk._replace(next_place=next_place)

    def advance(self, num_descents: int) -> Buffer:
        """Runs one chunk, with places refilled up to `num_descents`, and returns the ends that came of it."""
        assert self.chunk is not None
        began, tick = time.perf_counter(), int(self.chunk.tick)
        own = Share.of(self.share, self.num_shares, num_descents)
        chunk = self.advance_program(
            self.chunk, self.key, self.starts, own, int32(self.num_visits), int32(self.num_ticks)
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

    def is_idle(self) -> bool:
        """Returns whether no lane is under way."""
        return self.chunk is None or bool(np.all(np.asarray(self.chunk.lanes.status) == IDLE))

    def has_finished(self, num_descents: int) -> bool:
        """Returns whether the whole share is done."""
        return self.num_done >= len(range(self.share, num_descents, self.num_shares))


class _Run:
    """One run: hands chunks of work to the devices' threads and yields what comes of them."""

    def __init__(
        self,
        *,
        build: Callable[[Choice], Loop],
        choice: Choice,
        shape: Shape | None,
        key: Key,
        starts: Params | None,
        num_descents: int,
        devices: list[jax.Device],
    ) -> None:
        self.build, self.choice, self.shape = (
            build,
            choice,
            shape,
        )  # no shape: the choice is not to be changed
        self.num_descents = num_descents
        self.workers = [_Worker(key, starts, device, share, len(devices)) for share, device in enumerate(devices)]
        self.seconds_compile = 0.0

    def parts(self, progress: Progress | None) -> Iterator[Ends]:
        """Yields the ends as they come, until all are done or Ctrl-C; at least one part."""
        with _ctrl_c() as is_interrupted, ThreadPoolExecutor(len(self.workers)) as pool:
            has_yielded = False
            self._load(pool)
            self.began = time.perf_counter()
            busy = {pool.submit(worker.advance, self.num_descents): worker for worker in self.workers}
            while busy:
                wants_measure = self._is_worth_measuring()
                for future in wait(busy, return_when=FIRST_COMPLETED).done:
                    worker, buffer = busy.pop(future), future.result()
                    if len(buffer.counts) or not has_yielded:
                        has_yielded = True
                        yield self._ends(buffer)
                    if progress is not None:
                        progress(self._sum("num_done"), self.num_descents, self._sum("ticks"))
                    is_done = worker.has_finished(self.num_descents) or is_interrupted()
                    if not is_done and not wants_measure:
                        busy[pool.submit(worker.advance, self.num_descents)] = worker
                if wants_measure and not busy and not is_interrupted():
                    yield from self._measure(pool)
                    busy = {
                        pool.submit(worker.advance, self.num_descents): worker
                        for worker in self.workers
                        if not worker.has_finished(self.num_descents)
                    }

    def _load(self, pool: ThreadPoolExecutor) -> None:
        """Compiles the chosen loop for every device and begins it there."""
        began = time.perf_counter()
        self.loop = self.build(self.choice)
        compilers = [self.loop.prepare(worker.key, worker.starts) for worker in self.workers]
        for worker, programs in zip(self.workers, pool.map(lambda compiler: compiler(), compilers), strict=True):
            worker.load(self.loop, programs)
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
        assert self.shape is not None
        began, first = time.perf_counter(), self.workers[0]
        best = measure(self.shape, self.choice, self.build, first.key, first.starts, self.num_descents)
        seconds = time.perf_counter() - began
        self.seconds_compile, self.began, self.shape = (
            self.seconds_compile + seconds,
            self.began + seconds,
            None,
        )
        if best == self.choice:
            return
        while under_way := [worker for worker in self.workers if not worker.is_idle()]:
            for buffer in pool.map(lambda worker: worker.advance(0), under_way):
                if len(buffer.counts):
                    yield self._ends(buffer)
        began, self.choice = time.perf_counter(), best
        self._load(pool)
        self.began += time.perf_counter() - began

    def _ends(self, buffer: Buffer) -> Ends:
        order = np.argsort(buffer.counts[:, 0], kind="stable")
        buffer = jax.tree.map(lambda leaf: leaf[order], buffer)
        number, status, num_steps, num_restarts, *event_steps = buffer.counts.T
        value, gradient_norm, best_value = buffer.scalars.T
        return Ends(
            start_number=number.astype(np.int64),
            params=buffer.last,
            value=value,
            gradient_norm=gradient_norm,
            status=status.astype(np.int8),
            num_steps=num_steps,
            num_restarts=num_restarts,
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
        )


def _num_ticks(buffer: Buffer) -> int:
    """Returns the gradient evaluations behind some ends: one for each update, one for each start."""
    _, _, num_steps, num_restarts = buffer.counts[:, :4].T
    return int(num_steps.sum(dtype=np.int64) + num_restarts.sum(dtype=np.int64)) + len(buffer.counts)


def concatenate(parts: list[Ends]) -> Ends:
    """Returns all parts of one run as one, in order of start number, with the cost of the last part."""
    if not parts:
        raise InputValueError("there are no parts to put together.")
    fields = (
        "start_number", "params", "value", "gradient_norm", "status", "num_steps", "num_restarts",
        "best_value", "best_params", "event_steps",
    )  # fmt: skip
    order = np.argsort(np.concatenate([part.start_number for part in parts]), kind="stable")
    joined = {
        name: jax.tree.map(lambda *leaves: np.concatenate(leaves)[order], *(getattr(part, name) for part in parts))
        for name in fields
    }
    return Ends(**joined, num_starts=parts[-1].num_starts, cost=parts[-1].cost)


@functools.lru_cache(maxsize=32)
def _descent(
    landscape: Landscape,
    optimizer: optax.GradientTransformation,
    has_starts: bool,
    stop: Stop,
    restart: Restart | None,
    events: tuple[tuple[str, Event], ...],
    is_noisy: bool,
    keeps_best: bool,
) -> Descent:
    """Returns the descent; the same object for the same question, so that its compiled programs are found again."""
    with_extras = optax.with_extra_args_support(optimizer)
    return Descent(
        landscape=landscape,
        optimizer_of=lambda number: with_extras,
        num_paired=None,
        has_starts=has_starts,
        stop=stop,
        restart=restart,
        events=dict(events),
        is_noisy=is_noisy,
        keeps_best=keeps_best,
    )


@functools.lru_cache(maxsize=32)
def _loop(descent: Descent, layout: str, num_lanes: int, keeps_params: bool) -> Loop:
    return Loop(descent=descent, layout=layout, num_lanes=num_lanes, keeps_params=keeps_params)


def _check_optimizer_kind(optimizer: Any) -> optax.GradientTransformation:
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        raise InputTypeError(
            f"`optimizer` must be an optax.GradientTransformation such as optax.sgd(0.01), got {optimizer!r}."
        )
    return optimizer


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
