"""The compiled chunk: a fixed set of lanes, each refilled with the next start as soon as its descent has ended.

Descents differ greatly in length, so a batch that waits for its slowest member wastes most of its time. Here no place
waits: one *visit* refills every idle place with the next start number, lets all lanes tick a few times, and writes
finished descents to a buffer. A *chunk* is as many visits as the host requests in one compiled call; between chunks the
host empties the buffer, reports progress and checks for Ctrl-C.

Work is divided by number: each device takes every `num_shares`-th descent of a range and knows nothing of the others,
so the result of a descent does not depend on the number of devices.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import InputValueError, Key, Params
from jaxgd.checks import first_line
from jaxgd.lanes.lane import IDLE, RESTARTING, RUNNING, Descent, Lane
from jaxgd.lanes_last.mapping import LANE_AXIS, map_lanes
from jaxgd.tracing import signature_of

_BUFFER_BYTES = 2**27  # of the buffer of finished descents
_FIRST_NUM_TICKS, _MIN_NUM_TICKS, _MAX_NUM_TICKS = 8, 4, 64  # of one visit
_MIN_DRAWN, _SHARE_DRAWN = 8, 8  # starts are drawn for an eighth of the lanes at a time, but at least for 8


class Buffer(NamedTuple):
    """Finished descents, lane axis first in either layout; few arrays, since each one costs a scatter."""

    # (capacity, 6 + num_events) int32: number, status, num_steps, num_restarts, num_hvps, num_still, event steps
    counts: jax.Array
    scalars: jax.Array  # (capacity, 3): value, gradient_norm, best_value
    last: Params | None
    best: Params | None


class Chunk(NamedTuple):
    """The state of one device between visits."""

    lanes: Lane
    next_place: jax.Array  # () int32, starts this device has handed out
    tick: jax.Array  # () int32, ticks so far, the same for all lanes
    buffer: Buffer
    num_ends: jax.Array  # () int32, ends in the buffer
    num_done: jax.Array  # () int32, descents that have ended so far
    length: jax.Array  # () float32, ticks of all of these together


class DeviceShare(NamedTuple):
    """The descents of one device: every `num_shares`-th from `first` on, below `end`."""

    first: jax.Array  # () int32
    num_shares: jax.Array  # () int32
    end: jax.Array  # () int32

    @classmethod
    def of(cls, first: int, num_shares: int, end: int) -> "DeviceShare":
        """Returns the share given by these numbers."""
        return cls(*(int32(count) for count in (first, num_shares, end)))

    @property
    def num_places(self) -> jax.Array:
        """Number of descents in the share."""
        return (self.end - self.first + self.num_shares - 1) // self.num_shares


class CompiledLoop(NamedTuple):
    """A loop compiled for one device."""

    begin: Callable[[], Chunk]
    """begin() returns a chunk with all places idle and an empty buffer."""
    advance: Callable[..., Chunk]
    """advance(chunk, key, starts, share, num_visits, limit) returns the chunk after at most `num_visits` visits; fewer
    if the whole share is done or the buffer is full. Counts are int32, and `limit`, the gradient norm at which a lane
    has converged, is of the value's type; if it is infinite, every lane ends at its start, after one tick."""


def _idle(chunk: Chunk) -> Chunk:
    """Returns a chunk of this shape before any work; the content of idle places does not matter."""
    chunk = jax.tree.map(_zeros, chunk)
    status = jax.device_put(np.full(chunk.lanes.status.shape, IDLE, np.int8), chunk.lanes.status.sharding)
    return chunk._replace(lanes=chunk.lanes._replace(status=status))


def _zeros(leaf: jax.ShapeDtypeStruct) -> jax.Array:
    """Returns zeros of this shape, type and device; NumPy's need no compilation."""
    module = jnp if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else np
    return jax.device_put(module.zeros(leaf.shape, leaf.dtype), leaf.sharding)


def int32(count: int) -> Any:
    """Returns a count in the type that compiled programs take."""
    return np.asarray(count, np.int32)


def take_ends(chunk: Chunk) -> tuple[Chunk, Buffer]:
    """Returns the chunk with its buffer emptied, and the ends that were in it."""
    num_ends = int(chunk.num_ends)
    taken = jax.tree.map(lambda leaf: np.array(np.asarray(leaf)[:num_ends]), chunk.buffer)
    return chunk._replace(num_ends=jnp.zeros_like(chunk.num_ends)), taken


@dataclass(frozen=True, kw_only=True, eq=False)
class Loop:
    """The loop of one kind of descent in one layout.

    Attributes:
      descent: what every lane does.
      layout: "lanes_first" or "lanes_last".
      num_lanes: lanes that step together.
      keeps_params: whether iterates are returned with the ends.
    """

    descent: Descent
    layout: str
    num_lanes: int
    keeps_params: bool

    _compiled: dict[Any, CompiledLoop] = field(default_factory=dict, init=False, repr=False)

    def prepare(self, key: Key, starts: Params | None) -> Callable[[], CompiledLoop]:
        """Traces the loop for the device of `key`, unless known, and returns a function that compiles it.

        Tracing must happen in the caller's thread, whose jax settings apply; compilation may run in another.

        Raises:
          InputValueError: something in the loop can be traced but not compiled.
        """
        device = key.sharding
        signature = signature_of(key, starts)
        known = self._compiled.get((device, signature))
        if known is not None:
            return lambda: known
        there = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device)
        chunk = jax.tree.map(there, jax.eval_shape(self._chunk, key, starts))
        own, count = DeviceShare.of(0, 1, 0), int32(0)
        limit = self.descent.limit_type(self.descent.one_start(key, starts))
        try:
            advance = jax.jit(self._advance, donate_argnums=0).lower(chunk, key, starts, own, count, limit)
        except Exception as error:
            raise InputValueError(
                f"the descents of landscape `{self.descent.landscape.name}` cannot be compiled:"
                f" {type(error).__name__}: {first_line(error)}"
            ) from error

        def compile_it() -> CompiledLoop:
            program = CompiledLoop(begin=lambda: _idle(chunk), advance=advance.compile())
            self._compiled[device, signature] = program
            return program

        return compile_it

    def capacity(self, record: Buffer) -> int:
        """Returns the capacity of the buffer: many ends if records are small, at least one for each lane."""
        bytes_each = sum(math.prod(leaf.shape[1:]) * leaf.dtype.itemsize for leaf in jax.tree.leaves(record))
        return max(self.num_lanes, min(max(4 * self.num_lanes, 1024), _BUFFER_BYTES // bytes_each))

    def _chunk(self, key: Key, starts: Params | None) -> Chunk:
        """Has the shape of a chunk; used for tracing only."""
        zeros = jnp.zeros(self.num_lanes, jnp.int32)
        lanes = map_lanes(self.descent.begin, self.layout, (-1, -1, None, None))(zeros, zeros, key, starts)
        record = self.ends_of(lanes)
        capacity = self.capacity(record)
        buffer = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape[1:]), leaf.dtype), record)
        zero = jnp.zeros((), jnp.int32)
        length = jnp.zeros((), jnp.float32)
        return Chunk(
            lanes=lanes, next_place=zero, tick=zero, buffer=buffer, num_ends=zero, num_done=zero, length=length
        )

    def _advance(
        self,
        chunk: Chunk,
        key: Key,
        starts: Params | None,
        own: DeviceShare,
        num_visits: jax.Array,
        limit: jax.Array,
    ) -> Chunk:
        def has_work(carry: tuple[jax.Array, Chunk]) -> jax.Array:
            visit, chunk = carry
            status = chunk.lanes.status
            is_busy = jnp.any((status == RUNNING) | (status == RESTARTING)) | (chunk.next_place < own.num_places)
            return (visit < num_visits) & (chunk.num_ends <= len(chunk.buffer.counts) - self.num_lanes) & is_busy

        def body(carry: tuple[jax.Array, Chunk]) -> tuple[jax.Array, Chunk]:
            visit, chunk = carry
            return visit + 1, self._visit(chunk, own, limit, key, starts)

        return jax.lax.while_loop(has_work, body, (jnp.zeros((), jnp.int32), chunk))[1]

    def _visit(self, chunk: Chunk, own: DeviceShare, limit: jax.Array, key: Key, starts: Params | None) -> Chunk:
        """Refills idle places, ticks, and writes out finished descents."""
        # refill
        is_idle = chunk.lanes.status == IDLE
        place = chunk.next_place + jnp.cumsum(is_idle, dtype=jnp.int32) - 1
        is_refilled = is_idle & (place < own.num_places)
        is_again = chunk.lanes.status == RESTARTING
        number = jnp.where(is_again, chunk.lanes.number, own.num_shares * place + own.first)
        attempt = jnp.where(is_again, chunk.lanes.attempt + 1, 0)
        lanes = jax.lax.cond(
            jnp.any(is_refilled | is_again),
            lambda lanes: self._refill(lanes, is_refilled | is_again, number, attempt, key, starts),
            lambda lanes: lanes,
            chunk.lanes,
        )
        # tick
        num_ticks = self._num_ticks(chunk, limit)
        tick_lanes = map_lanes(self.descent.tick, self.layout, (-1, None, None, None))
        lanes = jax.lax.fori_loop(
            jnp.zeros((), jnp.int32),
            num_ticks,
            lambda k, lanes: tick_lanes(lanes, chunk.tick + k, key, limit),
            lanes,
        )
        # write out
        is_again = (lanes.status >= 0) & map_lanes(self.descent.again, self.layout, (-1, None))(lanes, limit)
        is_done = (lanes.status >= 0) & ~is_again
        rank = chunk.num_ends + jnp.cumsum(is_done, dtype=jnp.int32) - 1
        row = jnp.where(is_done, rank, jnp.asarray(len(chunk.buffer.counts), jnp.int32))  # beyond: dropped
        buffer = jax.lax.cond(
            jnp.any(is_done),
            lambda buffer: jax.tree.map(
                lambda column, ends: column.at[row].set(ends, mode="drop"), buffer, self.ends_of(lanes)
            ),
            lambda buffer: buffer,
            chunk.buffer,
        )
        idle, restarting = jnp.asarray(IDLE, jnp.int8), jnp.asarray(RESTARTING, jnp.int8)
        return Chunk(
            lanes=lanes._replace(
                status=jnp.select([is_done, is_again], [idle, restarting], lanes.status),
            ),
            next_place=chunk.next_place + jnp.sum(is_refilled, dtype=jnp.int32),
            tick=chunk.tick + num_ticks,
            buffer=buffer,
            num_ends=chunk.num_ends + jnp.sum(is_done, dtype=jnp.int32),
            num_done=chunk.num_done + jnp.sum(is_done, dtype=jnp.int32),
            length=chunk.length + jnp.sum(jnp.where(is_done, lanes.num_steps, 0)).astype(jnp.float32),
        )

    def _num_ticks(self, chunk: Chunk, limit: jax.Array) -> jax.Array:
        """Returns the ticks of the next visit.

        A finished lane waits half the ticks of a visit on average, and a visit itself costs a few ticks; the sum is
        smallest at a multiple of the square root of a descent's length. It is computed here and not by the host, whose
        timing depends on the clock: the place of a start must not.
        """
        mean = chunk.length / jnp.maximum(chunk.num_done, 1).astype(jnp.float32)
        fitting = jnp.clip(jnp.sqrt(mean), _MIN_NUM_TICKS, _MAX_NUM_TICKS).astype(jnp.int32)
        num_ticks = jnp.where(chunk.num_done >= self.num_lanes, fitting, jnp.asarray(_FIRST_NUM_TICKS, jnp.int32))
        return jnp.where(jnp.isinf(limit), jnp.ones_like(num_ticks), num_ticks)

    def _refill(
        self,
        lanes: Lane,
        is_fresh: jax.Array,
        number: jax.Array,
        attempt: jax.Array,
        key: Key,
        starts: Params | None,
    ) -> Lane:
        """Returns the lanes with those that are fresh at the start of attempt `attempt` of descent `number`."""
        params = self._draw(lanes.params, is_fresh, number, attempt, key, starts)
        begin = map_lanes(self._begin, self.layout, (-1, -1, -1, -1, -1, None))
        return begin(lanes, is_fresh, params, number, attempt, key)

    def _begin(
        self, lane: Lane, is_fresh: jax.Array, params: Params, number: jax.Array, attempt: jax.Array, key: Key
    ) -> Lane:
        fresh = self.descent.begin_at(params, number, attempt, key)
        if self.descent.restart is not None:
            keep = lambda old, new: jax.tree.map(lambda a, b: jnp.where(attempt > 0, a, b), old, new)
            records = ("num_steps", "num_hvps", "best_value", "best", "event_steps")  # they continue over all attempts
            fresh = fresh._replace(**{name: keep(getattr(lane, name), getattr(fresh, name)) for name in records})
        return jax.tree.map(lambda new, old: jnp.where(is_fresh, new, old), fresh, lane)

    def _draw(
        self,
        params: Params,
        is_fresh: jax.Array,
        number: jax.Array,
        attempt: jax.Array,
        key: Key,
        starts: Params | None,
    ) -> Params:
        """Returns the params with new starts where lanes are fresh, drawn for a few at a time.

        Random numbers cost more than many ticks, and few lanes are fresh at once.
        """
        size = max(_MIN_DRAWN, self.num_lanes // _SHARE_DRAWN)
        rank = jnp.cumsum(is_fresh, dtype=jnp.int32) - 1
        places = jnp.arange(self.num_lanes, dtype=jnp.int32)
        start = map_lanes(self.descent.start, self.layout, (-1, -1, None, None))

        def draw(group: jax.Array, params: Params) -> Params:
            row = jnp.where(is_fresh, rank - group * size, size)
            row = jnp.where(row < 0, size, row)  # rows of earlier groups; a negative index would not drop them
            place = jnp.full(size, self.num_lanes, jnp.int32).at[row].set(places, mode="drop")
            drawn = start(number.at[place].get(mode="clip"), attempt.at[place].get(mode="clip"), key, starts)
            return jax.tree.map(lambda leaf, new: self._put(leaf, place, new), params, drawn)

        num_groups = (rank[-1] + size) // size
        return jax.lax.fori_loop(jnp.zeros_like(num_groups), num_groups, draw, params)

    def _put(self, leaf: jax.Array, place: jax.Array, new: jax.Array) -> jax.Array:
        """Returns the leaf of all lanes with some lanes replaced."""
        where = (..., place) if LANE_AXIS[self.layout] == -1 else place
        return leaf.at[where].set(new.astype(leaf.dtype), mode="drop")

    def ends_of(self, lanes: Lane) -> Buffer:
        """Returns the records of all places."""
        lanes_first = lambda tree: jax.tree.map(lambda leaf: jnp.moveaxis(leaf, LANE_AXIS[self.layout], 0), tree)
        events = (lanes.event_steps[name] for name in self.descent.events)  # jax sorts the keys of dictionaries
        counts = (lanes.number, lanes.status, lanes.num_steps, lanes.attempt, lanes.num_hvps, lanes.num_still, *events)
        return Buffer(
            counts=jnp.stack([count.astype(jnp.int32) for count in counts], axis=1),
            scalars=jnp.stack([lanes.value, lanes.gradient_norm, lanes.best_value], axis=1),
            last=lanes_first(lanes.last) if self.keeps_params else None,
            best=lanes_first(lanes.best),
        )
