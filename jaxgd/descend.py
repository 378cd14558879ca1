"""The front door of the engine: from a landscape, an optimizer and a stop rule to the ends of many descents.

`stream` yields ends as they come off the devices and keeps none of them; `descend` gathers them. Between two chunks
the host shows progress and honours Ctrl-C: what is done is returned, in order of start number.
"""

import functools
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd.base import Cost, Ends, InputTypeError, InputValueError, Key, Landscape, Params, Restart, Stop
from jaxgd.lanes.checks import check_count, check_descent, check_key, check_starts
from jaxgd.lanes.lane import Descent, Event
from jaxgd.lanes.loop import Buffer, Loop

Progress = Callable[[int, int, int], None]

_CHUNK_SECONDS = 0.3  # how long the host lets the devices run before it looks
_MAX_VISITS = 2**20
_TICKS_PER_VISIT = 8
"""Ticks between refills: a finished lane waits half of them on average, and a refill costs about one tick."""


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
    layout: str = "lanes_first",
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
      layout: "lanes_first" or "lanes_last": how lanes lie in memory; it changes speed, not meaning.
      num_lanes: lanes that step together on each device.
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
            landscape, optimizer, num_starts, key=key, starts=starts, stop=stop, restart=restart, events=events, is_noisy=is_noisy,
            keep=keep, layout=layout, num_lanes=num_lanes, num_devices=num_devices, progress=progress,
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
    layout: str = "lanes_first",
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
    layout: str,
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
    num_devices = check_count("num_devices", num_devices, high=len(jax.devices()) + 1)
    num_lanes = check_count("num_lanes", 64 if num_lanes is None else num_lanes)
    check_descent(descent, key, starts, num_descents)
    loop = _loop(
        descent,
        layout,
        min(num_lanes, -(-num_descents // num_devices)),
        "params" in keep,
        tuple(jax.devices()[:num_devices]),
    )
    return _run(loop, key, starts, num_descents, progress)


def _run(
    loop: Loop, key: Key, starts: Params | None, num_starts: int, progress: Progress | None
) -> Iterator[Ends]:
    began = time.perf_counter()
    chunk = loop.advance(loop.start(key, starts), key, starts, num_starts, 0)  # compiles, does nothing
    jax.block_until_ready(chunk.tick)
    seconds_compile = time.perf_counter() - began
    began = time.perf_counter()
    num_done = ticks = lane_ticks = 0
    num_visits = 1
    with _ctrl_c() as is_interrupted:
        while True:
            before = time.perf_counter()
            tick = np.asarray(chunk.tick)
            chunk = loop.advance(chunk, key, starts, num_starts, num_visits)
            lane_ticks += int(np.sum(np.asarray(chunk.tick) - tick)) * loop.num_lanes
            chunk, buffers = loop.take(chunk)
            for buffer in buffers:
                num_done += len(buffer.number)
                ticks += int(np.sum(buffer.num_steps, dtype=np.int64)) + len(buffer.number)
            cost = Cost(
                ticks=ticks,
                lane_ticks=lane_ticks,
                seconds_compile=seconds_compile,
                seconds_run=time.perf_counter() - began,
                layout=loop.layout,
                num_lanes=loop.num_lanes,
                num_devices=len(loop.devices),
            )
            is_last = num_done >= num_starts or is_interrupted()
            if buffers or is_last:
                yield _ends(buffers, loop, num_starts, cost, chunk.buffer)
            if progress is not None:
                progress(num_done, num_starts, ticks)
            if is_last:
                return
            seconds = time.perf_counter() - before
            num_visits = int(np.clip(num_visits * _CHUNK_SECONDS / max(seconds, 1e-6), 1, min(4 * num_visits, _MAX_VISITS)))


def _ends(buffers: list[Buffer], loop: Loop, num_starts: int, cost: Cost, like: Buffer) -> Ends:
    if not buffers:
        buffers = [jax.device_get(jax.tree.map(lambda leaf: leaf[0, :0], like))]
    whole = jax.tree.map(lambda *leaves: np.concatenate(leaves), *buffers)
    order = np.argsort(whole.number, kind="stable")
    whole = jax.tree.map(lambda leaf: leaf[order], whole)
    return Ends(
        start_number=whole.number.astype(np.int64),
        params=whole.last,
        value=whole.value,
        gradient_norm=whole.gradient_norm,
        status=whole.status,
        num_steps=whole.num_steps,
        num_restarts=whole.num_restarts,
        best_value=whole.best_value,
        best_params=whole.best,
        event_steps=whole.event_steps,
        num_starts=num_starts,
        cost=cost,
    )


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
        name: jax.tree.map(
            lambda *leaves: np.concatenate(leaves)[order], *(getattr(part, name) for part in parts)
        )
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
def _loop(
    descent: Descent, layout: str, num_lanes: int, keeps_params: bool, devices: tuple[jax.Device, ...]
) -> Loop:
    return Loop(
        descent=descent,
        layout=layout,
        num_lanes=num_lanes,
        ticks_per_visit=_TICKS_PER_VISIT,
        keeps_params=keeps_params,
        devices=devices,
    )


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
