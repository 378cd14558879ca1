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
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from jaxgd.base import LAYOUTS, Key, Params
from jaxgd.lanes.lane import Descent
from jaxgd.lanes.loop import Loop, Share, int32, take
from jaxgd.lanes.relative_stop import limit_of
from jaxgd.lanes.traced import Kind, kind_of

MIN_LANES, MAX_LANES = 8, 512
_CACHE_BYTES = 2**19  # that the largest intermediate of all lanes may fill
_LARGE_PRODUCT = 2**14  # multiplications from which a matrix product is faster as a product of its own
_OVERHEAD = 50_000  # operations that are worked through in the time that a tick costs without any lane
_RANDOM = 100  # operations for a random number
_DRAIN = 4  # mean lengths of a descent that the last one outlasts the others by
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
    return _shape_of(descent, kind_of(key, starts), device.device_kind)


@functools.lru_cache(maxsize=64)
def _shape_of(descent: Descent, kind: Kind, device_kind: str) -> Shape:
    key, starts = kind.abstract
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


class Work(NamedTuple):
    """What a function does, read from its trace: the text, the entries of its largest array, the kind of work."""

    text: str
    largest: int
    is_product: bool
    num_operations: int


def work_of(fn: Callable[..., Any], *args: Any) -> Work:
    """Returns what `fn` does with arguments of these shapes."""
    traced = jax.make_jaxpr(fn)(*args)
    products = operations = 0
    largest = max((math.prod(leaf.shape) for leaf in jax.tree.leaves(args)), default=1)
    for equation in _equations(traced.jaxpr, [True] * len(traced.jaxpr.invars)):
        size = max((math.prod(out.aval.shape) for out in equation.outvars if hasattr(out.aval, "shape")), default=0)
        largest = max(largest, size)
        if equation.primitive.name == "dot_general":
            products += _cost_of_product(equation)
        operations += _RANDOM * size if equation.primitive.name == "random_bits" else size
    return Work(str(traced), largest, 4 * products > operations, operations + products)


def _cost_of_product(equation: Any) -> int:
    """Returns the multiplications of a large product of two matrices; a matrix times a vector is as good lanes last."""
    contracted, batched = equation.params["dimension_numbers"]
    shapes = [operand.aval.shape for operand in equation.invars]
    free = [
        math.prod(size for axis, size in enumerate(shape) if axis not in (*contracted[side], *batched[side]))
        for side, shape in enumerate(shapes)
    ]
    cost = math.prod(shapes[0]) * free[1]
    return cost if min(free) > 1 and cost >= _LARGE_PRODUCT else 0


def choose(shape: Shape, num_descents: int, num_devices: int) -> Choice:
    """Returns the choice that usually does well for a function of this shape."""
    fitting = _CACHE_BYTES // max(shape.largest, 1)
    # Few lanes waste the fixed cost of a tick, many stand idle at the end, until the last descent has run its course:
    # (descents / lanes + drain) (overhead + lanes work) is least at the square root below.
    share = -(-num_descents // num_devices)
    enough = _power_of_two(math.sqrt(share * _OVERHEAD / (_DRAIN * max(shape.num_operations, 1))))
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
    own, limit = Share.of(0, 1, num_descents), limit_of(loop, program, key, starts)
    chunk = program.begin()
    best, num_visits = 0.0, 1
    for _ in range(4):
        tick, began = int(chunk.tick), time.perf_counter()
        chunk, _ = take(program.advance(chunk, key, starts, own, int32(num_visits), limit))
        seconds = time.perf_counter() - began
        best = max(best, (int(chunk.tick) - tick) * loop.num_lanes / seconds)
        num_visits = int(np.clip(num_visits * _PROBE_SECONDS / 3 / seconds, 1, 1000))
    return best


def _power_of_two(count: float) -> int:
    return 2 ** int(np.clip(math.log2(max(count, 1)), math.log2(MIN_LANES), math.log2(MAX_LANES)))


def _equations(jaxpr: Jaxpr, is_lanes: Sequence[bool]) -> Iterator[Any]:
    """Yields the equations of a program, and of the programs within it, that depend on some of its arguments.

    What depends on none of them is there once for all lanes.
    """
    own = {var for var, is_lane in zip(jaxpr.invars, is_lanes, strict=True) if is_lane}
    for equation in jaxpr.eqns:
        depends = [not isinstance(var, Literal) and var in own for var in equation.invars]
        if not any(depends):
            continue
        own.update(equation.outvars)
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                inner = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
                if isinstance(inner, Jaxpr):
                    fits = len(inner.invars) == len(depends)
                    yield from _equations(inner, depends if fits else [True] * len(inner.invars))
