"""Which layout and how many lanes: read from the traced function, or measured on it where that is asked for.

Neither layout wins everywhere, and the number of lanes changes a rate by two to five times. The choice costs nothing:
it reads the traced function. Lanes last suits element by element work, where the compiler vectorises across lanes;
lanes first suits products of large matrices, which have their own kernels. The lanes that fit are those whose largest
intermediate array, and whose state, stay in the second-level cache.

A clock has no say in it, since another layout or number of lanes changes the last bits of a result. Who wants the last
factor of two asks for `Engine(tune=True)`: the choice is then measured against its neighbours on the real function, and
kept, for this process and this function.
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

MIN_LANES, MAX_LANES = 8, 512
_CACHE_BYTES = 2**19  # that the largest intermediate of all lanes may fill
_OVERHEAD = 50_000  # operations that are worked through in the time that a tick costs without any lane
_DRAIN = 2  # mean lengths of a descent that the last one outlasts the others by
_PROBE_SECONDS = 0.1


class Choice(NamedTuple):
    """How lanes are laid out.

    Attributes:
      layout: "lanes_first" or "lanes_last".
      num_lanes: lanes on each device.
    """

    layout: str
    num_lanes: int


class Shape(NamedTuple):
    """What the guess is made from; also the name under which a measured choice is remembered.

    Attributes:
      text: the traced function and the kind of device.
      largest: bytes of one lane's state, or of the largest array met on the way to its gradient.
      is_product: whether large matrix products are a good part of the work.
      num_operations: of one lane's tick, roughly.
    """

    text: str
    largest: int
    is_product: bool
    num_operations: int


_measured: dict[str, Choice] = {}  # by the text of the shape; only asked by those who want to tune


def shape_of(descent: Descent, key: Key, starts: Params | None, device: jax.Device) -> Shape:
    """Returns the shape of one lane's value and gradient."""
    return _shape_of(descent, signature_of(key, starts), device.device_kind)


@functools.lru_cache(maxsize=16)
def _shape_of(descent: Descent, signature: Signature, device_kind: str) -> Shape:
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
        largest=max(work.largest, state) * bytes_each,
        is_product=work.is_product,
        num_operations=work.num_operations + state,
    )


def choose(shape: Shape, num_descents: int, num_devices: int) -> Choice:
    """Returns the choice that usually does well for a function of this shape."""
    fitting = _CACHE_BYTES // max(shape.largest, 1)
    # Few lanes waste the fixed cost of a tick, many stand idle at the end, until the last descent has run its course:
    # (descents / lanes + drain) (overhead + lanes work) is least at the square root below.
    share = -(-num_descents // num_devices)
    best = math.sqrt(share * _OVERHEAD / (_DRAIN * max(shape.num_operations, 1)))
    enough = _power_of_two(math.sqrt(2) * best)  # the nearest
    layout = "lanes_first" if shape.is_product else "lanes_last"
    return Choice(layout, min(_power_of_two(fitting), enough, share))


def measure(
    shape: Shape,
    candidates: list[Choice],
    build: Callable[[Choice], Loop],
    key: Key,
    starts: Params | None,
    num_descents: int,
) -> Choice:
    """Returns the fastest of some choices, by running throw-away lanes; what it finds is remembered for the shape."""
    known = _measured.get(shape.text)
    if known not in candidates:
        known = max(candidates, key=lambda choice: _rate(build(choice), key, starts, num_descents))
        _measured[shape.text] = known
    return known


def neighbours(choice: Choice, num_descents: int) -> list[Choice]:
    """Returns the choice, and both layouts of it with four times more and fewer lanes."""
    few_enough = max(choice.num_lanes, num_descents // 4)
    lanes = {choice.num_lanes, choice.num_lanes // 4, choice.num_lanes * 4}
    fitting = [count for count in sorted(lanes) if 1 <= count <= min(4 * MAX_LANES, few_enough)]
    return [Choice(layout, count) for layout in LAYOUTS for count in fitting]


def _rate(loop: Loop, key: Key, starts: Params | None, num_descents: int) -> float:
    """Returns lane-ticks per second, the best of three after the first; none where the layout cannot be traced."""
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


def _power_of_two(count: float) -> int:
    return 2 ** int(np.clip(math.log2(max(count, 1)), math.log2(MIN_LANES), math.log2(MAX_LANES)))
