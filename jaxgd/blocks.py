"""A block of starts, computed and stored as a unit: a pure function of the question and the start numbers.

It therefore does not matter who computes a block, when, or how often: this process, another one on the same run
directory, or a worker of a cluster.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import optax

from jaxgd.base import Ends, Engine, Key, Landscape, Params, Points, Progress, Stop
from jaxgd.checks import check_count, check_key, check_optimizer
from jaxgd.descend import choose_engine, concatenate, descent_of, stream
from jaxgd.judging_ahead import check_judging
from jaxgd.lanes.lane import Descent
from jaxgd.lanes.tune import shape_of
from jaxgd.names import find_optimizer
from jaxgd.points import classify_or_say_why

MAX_BLOCK_SIZE = 2**16
"""Largest number of ends that are judged together."""

_DESCENTS_PER_LANE = 8, 128  # per block: lanes go idle at its end, which matters less the more descents precede it
_BLOCK_OPERATIONS = 10**8  # in one tick of all its descents: about ten seconds of a core at a thousand ticks each
_MAX_BLOCK_BYTES = 2**28
_LISTED = "the starts were listed, not drawn: weights, intervals and the unseen mass treat them as a random sample"


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """What is computed for every start; with a start number it determines every bit of the result.

    Attributes:
      landscape: what to descend.
      optimizer: the transformation.
      optimizer_name: as it was written; "optimizer" for an object.
      stop: when a lane stops.
      key: of all random numbers.
      is_noisy: whether gradients are noisy draws.
      engine: with all choices made.
      block_size: starts in a block.
      starts: params with one leading axis if they are listed instead of drawn; all of them form one block.
      notes: warnings about the engine and about judging, one sentence each.
    """

    landscape: Landscape
    optimizer: optax.GradientTransformation
    optimizer_name: str
    stop: Stop
    key: Key
    is_noisy: bool
    engine: Engine
    block_size: int
    starts: Params | None = None
    notes: tuple[str, ...] = ()


def make_question(
    landscape: Landscape,
    optimizer: optax.GradientTransformation | str | None,
    num_starts: int,
    *,
    key: Key,
    stop: Stop | None,
    is_noisy: bool,
    engine: Engine | None,
    block_size: int | None = None,
    starts: Params | None = None,
) -> Question:
    """Returns the question with all open choices made.

    Raises:
      InputValueError, InputTypeError: an argument is invalid.
    """
    is_named = optimizer is None or isinstance(optimizer, str)
    name: Any = (landscape.default_optimizer if optimizer is None else optimizer) if is_named else "optimizer"
    transformation = find_optimizer(name) if is_named else check_optimizer(optimizer)
    stop, key = stop or landscape.default_stop, check_key(key)
    if block_size is not None:
        check_count("block_size", block_size)

    descent = descent_of(landscape, transformation, starts is not None, stop, None, (), is_noisy, False)
    engine, notes = choose_engine(descent, num_starts, key=key, starts=starts, engine=engine)
    assert engine.num_lanes is not None
    notes += check_judging(landscape, frozen=descent.frozen(descent.one_start(key, starts)))
    if starts is not None:
        block_size, notes = num_starts, (*notes, _LISTED)
    return Question(
        landscape=landscape,
        optimizer=transformation,
        optimizer_name=name,
        stop=stop,
        key=key,
        is_noisy=is_noisy,
        engine=engine,
        block_size=block_size or min(_block_size(descent, key, engine.num_lanes), num_starts),
        starts=starts,
        notes=notes,
    )


def _block_size(descent: Descent, key: Key, num_lanes: int) -> int:
    """Returns the number of starts per block: few enough to lose, enough to keep the lanes busy, without timing."""
    shape = shape_of(descent, key, None, jax.local_devices()[0])
    start = jax.eval_shape(descent.landscape.sample, key)
    bytes_each = 128 + 2 * sum(leaf.dtype.itemsize * math.prod(leaf.shape) for leaf in jax.tree.leaves(start))
    few, many = (count * num_lanes for count in _DESCENTS_PER_LANE)
    size = min(
        max(_BLOCK_OPERATIONS // shape.num_operations, few), many, MAX_BLOCK_SIZE, _MAX_BLOCK_BYTES // bytes_each
    )
    return max(size // num_lanes, 1) * num_lanes


def cut(ends: Sequence[int], block_size: int) -> list[range]:
    """Returns the blocks of starts 0 to `ends[-1]` - 1, none of which crosses one of the `ends`.

    Example:
      >>> cut([60, 120], 40)
      [range(0, 40), range(40, 60), range(60, 80), range(80, 120)]
    """
    cuts = sorted({*range(0, ends[-1], block_size), *ends}) if ends else []
    return [range(first, stop) for first, stop in pairwise(cuts)]


def do_block(question: Question, block: range, progress: Progress | None = None) -> tuple[Ends, Points]:
    """Returns the ends of a block and what they are; if interrupted, of fewer starts or with dropped ones."""
    num_starts = len(block) if question.starts is None else None  # listed ones bring their number
    parts = list(
        stream(
            question.landscape,
            question.optimizer,
            num_starts,
            first_start=block.start,
            key=question.key,
            starts=question.starts,
            stop=question.stop,
            is_noisy=question.is_noisy,
            keep=("params",),
            engine=question.engine,
            progress=progress,
        )
    )

    ends = concatenate(parts)
    ends = replace(ends, notes=(*question.notes, *ends.notes))
    judging = partial(progress, "judging") if progress is not None else None
    return ends, classify_or_say_why(question.landscape, ends, progress=judging)
