"""Chooses layout and number of lanes: from the traced function, or by measurement on request.

Neither layout wins everywhere, and the number of lanes changes a rate by two to five times. By default the choice is
read from the traced function, which costs nothing. Lanes last suits element by element work, where the compiler
vectorises across lanes; lanes first suits products of large matrices, which have their own kernels. As many lanes are
used as keep the largest intermediate array and the state in the second-level cache; on an accelerator, as many as it
takes to keep it busy.

It does not depend on timing, since another layout or number of lanes changes the last bits of a result. For the last
factor of two use `Engine(tune=True)`: the choice is then compared with its neighbours on the real function, and
remembered in this process.
"""

import functools
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import LAYOUTS, Key, Params
from jaxgd.lanes.lane import Descent
from jaxgd.lanes.loop import DeviceShare, Loop, int32, take_ends
from jaxgd.lanes.relative_stop import limit_of
from jaxgd.tracing import Signature, signature_of, work_of


class _Machine(NamedTuple):
    most_lanes: int
    most_bytes: int  # that the largest intermediate of all lanes may take
    overhead: int  # operations that take as long as the fixed cost of a tick
    overhead_of_products: int  # the same where large matrix products, which are faster, are a good part of the work


_CPU = _Machine(most_lanes=512, most_bytes=2**19, overhead=50_000, overhead_of_products=50_000)
_ACCELERATOR = _Machine(most_lanes=2**16, most_bytes=2**30, overhead=2_500_000, overhead_of_products=50_000_000)
_MIN_LANES = 8
_DRAIN = 2  # how much longer the last descent takes, in mean lengths of a descent
_PROBE_SECONDS = 0.1


class Choice(NamedTuple):
    """A layout and a number of lanes.

    Attributes:
      layout: "lanes_first" or "lanes_last".
      num_lanes: lanes on each device.
    """

    layout: str
    num_lanes: int


class Shape(NamedTuple):
    """What the choice depends on; also the key under which a measured choice is remembered.

    Attributes:
      text: the traced function and the kind of device.
      is_cpu: whether the device is one.
      largest: bytes of one lane's state, or of the largest array met on the way to its gradient.
      is_product: whether large matrix products are a good part of the work.
      num_operations: of one lane's tick, roughly.
    """

    text: str
    is_cpu: bool
    largest: int
    is_product: bool
    num_operations: int


_measured: dict[str, Choice] = {}  # by the text of the shape; used only when tuning


def shape_of(descent: Descent, key: Key, starts: Params | None, device: jax.Device) -> Shape:
    """Returns the shape of one lane's value and gradient."""
    return _shape_of(descent, signature_of(key, starts), device.platform, device.device_kind)


@functools.lru_cache(maxsize=16)
def _shape_of(descent: Descent, signature: Signature, platform: str, device_kind: str) -> Shape:
    key, starts = signature.abstract
    number = jax.ShapeDtypeStruct((), jnp.int32)
    lane = jax.eval_shape(descent.begin, number, number, key, starts)
    bytes_each = max(leaf.dtype.itemsize for leaf in jax.tree.leaves(lane.params))
    if descent.is_noisy:
        work = work_of(descent.landscape.evaluate_noisy, lane.params, key)
    else:
        work = work_of(descent.landscape.evaluate, lane.params)
    state = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(lane))
    return Shape(
        text=f"{device_kind} {work.text}",
        is_cpu=platform == "cpu",
        largest=max(work.largest, state) * bytes_each,
        is_product=work.is_product,
        num_operations=work.num_operations + state,
    )


def choose(shape: Shape, num_descents: int, num_devices: int) -> Choice:
    """Returns the choice that is usually good for a function of this shape."""
    machine = _machine_of(shape)
    fitting = machine.most_bytes // max(shape.largest, 1)
    # Few lanes waste the fixed cost of a tick, many are idle at the end until the last descent finishes:
    # (descents / lanes + drain) (overhead + lanes work) is least at the square root below.
    share = -(-num_descents // num_devices)
    overhead = machine.overhead_of_products if shape.is_product else machine.overhead
    best = math.sqrt(share * overhead / (_DRAIN * max(shape.num_operations, 1)))
    enough = _power_of_two(math.sqrt(2) * best, machine)  # the nearest
    layout = "lanes_first" if shape.is_product else "lanes_last"
    return Choice(layout, min(_power_of_two(fitting, machine), enough, share))


def measure(
    shape: Shape,
    candidates: list[Choice],
    build: Callable[[Choice], Loop],
    key: Key,
    starts: Params | None,
    num_descents: int,
) -> Choice:
    """Returns the fastest of some choices, timed on throw-away lanes, and remembers it for the shape."""
    known = _measured.get(shape.text)
    if known not in candidates:
        known = max(candidates, key=lambda choice: _rate(build(choice), key, starts, num_descents))
        _measured[shape.text] = known
    return known


def neighbours(choice: Choice, num_descents: int) -> list[Choice]:
    """Returns the choice, and both layouts with four times and a quarter of its lanes."""
    few_enough = max(choice.num_lanes, num_descents // 4)
    lanes = {choice.num_lanes, choice.num_lanes // 4, choice.num_lanes * 4}
    fitting = [count for count in sorted(lanes) if 1 <= count <= few_enough]
    return [Choice(layout, count) for layout in LAYOUTS for count in fitting]


def _rate(loop: Loop, key: Key, starts: Params | None, num_descents: int) -> float:
    """Returns lane-ticks per second, the best of three after a warm-up; none if the layout cannot be traced."""
    try:
        program = loop.prepare(key, starts)()
    except Exception:
        return 0.0
    own, limit = DeviceShare.of(0, 1, num_descents), limit_of(loop, program, key, starts)
    chunk = program.begin()
    best, num_visits = 0.0, 1
    for _ in range(4):
        tick, began = int(chunk.tick), time.perf_counter()
        chunk, _ = take_ends(program.advance(chunk, key, starts, own, int32(num_visits), limit))
        seconds = time.perf_counter() - began
        best = max(best, (int(chunk.tick) - tick) * loop.num_lanes / seconds)
        num_visits = int(np.clip(num_visits * _PROBE_SECONDS / 3 / seconds, 1, 1000))
    return best


def _machine_of(shape: Shape) -> _Machine:
    return _CPU if shape.is_cpu else _ACCELERATOR


def _power_of_two(count: float, machine: _Machine) -> int:
    return 2 ** int(np.clip(math.log2(max(count, 1)), math.log2(_MIN_LANES), math.log2(machine.most_lanes)))
