"""The compiled chunk: a fixed set of lanes, each refilled with the next start as soon as its descent has ended.

Descents differ much in length, so a batch that waits for its slowest member wastes most of its time. Here a place
never waits: one *visit* refills every idle place with the next start number, lets all lanes tick a few times, and
writes the ends that came up to a buffer. A *chunk* is as many visits as the host asks for, in one compiled call; in
between the host empties the buffer, shows progress, and looks for Ctrl-C.

Places are shared out over devices by number: of `num_devices`, device `d` takes starts d, d + num_devices, ... and
never talks to the others, so that a start's descent does not depend on how many there are.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from jaxgd.base import Key, Params
from jaxgd.lanes.lane import IDLE, RESTARTING, RUNNING, Descent, Lane
from jaxgd.lanes.layout import LANE_AXIS, map_lanes

DEVICES = "devices"


class Buffer(NamedTuple):
    """Ends on their way out, the lane axis first whatever the layout; few arrays, since each one is a scatter."""

    counts: jax.Array  # (capacity, 4 + num_events) int32: number, status, num_steps, num_restarts, event steps
    scalars: jax.Array  # (capacity, 3): value, gradient_norm, best_value
    last: Params | None
    best: Params | None


class Chunk(NamedTuple):
    """What one device carries from visit to visit."""

    lanes: Lane
    next_place: jax.Array  # () int32, starts this device has handed out
    tick: jax.Array  # () int32, ticks so far, the same for all lanes
    buffer: Buffer
    num_ends: jax.Array  # () int32, ends in the buffer


@dataclass(frozen=True, kw_only=True, eq=False)
class Loop:
    """The compiled loop of one kind of descent in one layout.

    Attributes:
      descent: what every lane does.
      layout: "lanes_first" or "lanes_last".
      num_lanes: lanes on each device.
      keeps_params: whether iterates leave with the ends.
      devices: the devices that share the work.
    """

    descent: Descent
    layout: str
    num_lanes: int
    keeps_params: bool
    devices: tuple[jax.Device, ...]

    def __post_init__(self) -> None:
        """Compiles nothing yet; fixes the two programs."""
        object.__setattr__(self, "_advance", self._on_devices(self._advance_one, num_split=1))
        object.__setattr__(self, "_start", self._on_devices(self._start_one, num_split=0))

    @property
    def capacity(self) -> int:
        """Ends that the buffer of one device holds."""
        return max(4 * self.num_lanes, 1024)

    def start(self, key: Key, starts: Params | None) -> Chunk:
        """Returns the chunk state with all places idle and an empty buffer."""
        return self._start(key, starts)  # type: ignore[attr-defined]

    def advance(
        self, chunk: Chunk, key: Key, starts: Params | None, num_starts: int, num_visits: int, num_ticks: int
    ) -> Chunk:
        """Returns the state after at most `num_visits` visits of `num_ticks` ticks each.

        It is less if all `num_starts` are done or the buffer is full.
        """
        counts = (jnp.asarray(count, jnp.int32) for count in (num_starts, num_visits, num_ticks))
        return self._advance(chunk, key, starts, *counts)  # type: ignore[attr-defined]

    def take(self, chunk: Chunk) -> tuple[Chunk, list[Buffer]]:
        """Returns the state with the buffer emptied, and the ends that were in it, a buffer for each device."""
        counts = jax.device_get(chunk.num_ends)
        taken = [
            jax.device_get(jax.tree.map(lambda leaf, d=device, n=int(count): leaf[d, :n], chunk.buffer))
            for device, count in enumerate(counts)
            if count
        ]
        return chunk._replace(num_ends=jnp.zeros_like(chunk.num_ends)), taken

    # ------------------------------------------------------------------------------ on one device

    def _start_one(self, device: jax.Array, key: Key, starts: Params | None) -> Chunk:
        lanes = map_lanes(self.descent.begin, self.layout, (-1, -1, None, None))(
            jnp.zeros(self.num_lanes, jnp.int32), jnp.zeros(self.num_lanes, jnp.int32), key, starts
        )
        lanes = lanes._replace(status=jnp.full(self.num_lanes, IDLE, jnp.int8))
        buffer = jax.tree.map(
            lambda leaf: jnp.zeros((self.capacity, *leaf.shape[1:]), leaf.dtype), self._ends_of(lanes)
        )
        zero = jnp.zeros((), jnp.int32)
        return Chunk(lanes, zero, zero, buffer, zero)

    def _advance_one(
        self,
        device: jax.Array,
        chunk: Chunk,
        key: Key,
        starts: Params | None,
        num_starts: jax.Array,
        num_visits: jax.Array,
        num_ticks: jax.Array,
    ) -> Chunk:
        num_devices = jnp.asarray(len(self.devices), jnp.int32)
        num_places = (num_starts - device + num_devices - 1) // num_devices

        def has_work(carry: tuple[jax.Array, Chunk]) -> jax.Array:
            visit, chunk = carry
            status = chunk.lanes.status
            has_lanes = jnp.any((status == RUNNING) | (status == RESTARTING)) | (chunk.next_place < num_places)
            return (visit < num_visits) & (chunk.num_ends <= self.capacity - self.num_lanes) & has_lanes

        def body(carry: tuple[jax.Array, Chunk]) -> tuple[jax.Array, Chunk]:
            visit, chunk = carry
            return visit + 1, self._visit(chunk, device, num_places, num_ticks, key, starts)

        return jax.lax.while_loop(has_work, body, (jnp.zeros((), jnp.int32), chunk))[1]

    def _visit(
        self,
        chunk: Chunk,
        device: jax.Array,
        num_places: jax.Array,
        num_ticks: jax.Array,
        key: Key,
        starts: Params | None,
    ) -> Chunk:
        """Refills idle places, ticks, writes out what ended."""
        # refill
        is_idle = chunk.lanes.status == IDLE
        place = chunk.next_place + jnp.cumsum(is_idle, dtype=jnp.int32) - 1
        is_refilled = is_idle & (place < num_places)
        number = jnp.asarray(len(self.devices), jnp.int32) * place + device
        lanes = jax.lax.cond(
            jnp.any(is_refilled | (chunk.lanes.status == RESTARTING)),
            lambda lanes: map_lanes(self._refill, self.layout, (-1, -1, -1, None, None))(
                lanes, is_refilled, number, key, starts
            ),
            lambda lanes: lanes,
            chunk.lanes,
        )
        # tick
        tick_lanes = map_lanes(self.descent.tick, self.layout, (-1, None, None))
        lanes = jax.lax.fori_loop(
            jnp.zeros((), jnp.int32),
            num_ticks,
            lambda k, lanes: tick_lanes(lanes, chunk.tick + k, key),
            lanes,
        )
        # write out
        is_again = (lanes.status >= 0) & map_lanes(self.descent.again, self.layout, (-1,))(lanes)
        is_done = (lanes.status >= 0) & ~is_again
        rank = chunk.num_ends + jnp.cumsum(is_done, dtype=jnp.int32) - 1
        row = jnp.where(is_done, rank, jnp.asarray(self.capacity, jnp.int32))
        buffer = jax.lax.cond(
            jnp.any(is_done),
            lambda buffer: jax.tree.map(
                lambda column, ends: column.at[row].set(ends, mode="drop"), buffer, self._ends_of(lanes)
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
        )

    def _refill(
        self, lane: Lane, is_refilled: jax.Array, number: jax.Array, key: Key, starts: Params | None
    ) -> Lane:
        """Returns the lane of descent `number` where it is refilled, of its next attempt where it restarts."""
        if self.descent.restart is None:
            fresh, is_fresh = self.descent.begin(number, jnp.zeros_like(number), key, starts), is_refilled
        else:
            is_again = lane.status == RESTARTING
            fresh = self.descent.begin(
                jnp.where(is_again, lane.number, number), jnp.where(is_again, lane.attempt + 1, 0), key, starts
            )
            keep = lambda old, new: jax.tree.map(lambda a, b: jnp.where(is_again, a, b), old, new)
            records = ("num_steps", "best_value", "best", "event_steps")  # they go on over all attempts
            fresh = fresh._replace(**{name: keep(getattr(lane, name), getattr(fresh, name)) for name in records})
            is_fresh = is_refilled | is_again
        return jax.tree.map(lambda new, old: jnp.where(is_fresh, new, old), fresh, lane)

    def _ends_of(self, lanes: Lane) -> Buffer:
        """Returns the records of all places."""
        lanes_first = lambda tree: jax.tree.map(
            lambda leaf: jnp.moveaxis(leaf, LANE_AXIS[self.layout], 0), tree
        )
        counts = (lanes.number, lanes.status, lanes.num_steps, lanes.attempt, *lanes.event_steps.values())
        return Buffer(
            counts=jnp.stack([count.astype(jnp.int32) for count in counts], axis=1),
            scalars=jnp.stack([lanes.value, lanes.gradient_norm, lanes.best_value], axis=1),
            last=lanes_first(lanes.last) if self.keeps_params else None,
            best=lanes_first(lanes.best),
        )

    # ---------------------------------------------------------------------------- over the devices

    def _on_devices(self, one: Any, num_split: int) -> Any:
        """Returns `one` compiled for all devices, without a collective.

        Its first `num_split` arguments and its result have a leading device axis; the other arguments are whole
        on every device. The split arguments are donated: their memory is written over.
        """
        split, whole = PartitionSpec(DEVICES), PartitionSpec()

        def on_one_device(*args: Any) -> Any:
            own = jax.tree.map(lambda leaf: leaf[0], args[:num_split])
            device = jax.lax.axis_index(DEVICES).astype(jnp.int32)
            return jax.tree.map(lambda leaf: leaf[None], one(device, *own, *args[num_split:]))

        def on_all(*args: Any) -> Any:
            in_specs = tuple(split if i < num_split else whole for i in range(len(args)))
            return jax.shard_map(
                on_one_device, mesh=_mesh(self.devices), in_specs=in_specs, out_specs=split, check_vma=False
            )(*args)

        return jax.jit(on_all, donate_argnums=tuple(range(num_split)))


def _mesh(devices: tuple[jax.Device, ...]) -> Mesh:
    return Mesh(np.asarray(devices), (DEVICES,))
