"""The front door of the engine: from a landscape, an optimizer and a stop rule to the ends of many descents.

`stream` yields ends as they come off the devices and keeps none of them; `descend` gathers them in order of start
number.
"""

import functools
import hashlib
import itertools
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd.base import (
    Ends,
    Engine,
    InputTypeError,
    InputValueError,
    Key,
    Landscape,
    Params,
    Progress,
    Restart,
    Status,
    Stop,
    joined_columns,
)
from jaxgd.checks import check_count, check_key, check_optimizer, check_starts
from jaxgd.front_door import front_door
from jaxgd.lanes.check_descent import check_descent
from jaxgd.lanes.first_look import look
from jaxgd.lanes.lane import Descent, Event, as_asked
from jaxgd.lanes.loop import Loop
from jaxgd.lanes.run import Run
from jaxgd.lanes.tune import choose, measure, neighbours, shape_of
from jaxgd.lanes.usable_layout import usable_layout

_HASHED_BYTES = 2**24


@front_door
def descend(
    landscape: Landscape,
    optimizer: optax.GradientTransformation,
    num_starts: int | None = None,
    *,
    key: Key,
    starts: Params | None = None,
    first_start: int = 0,
    stop: Stop | None = None,
    restart: Restart | None = None,
    events: Mapping[str, Event] | None = None,
    is_noisy: bool = False,
    keep: Collection[str] = ("params", "best_params"),
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Ends:
    """Runs descents from many random starts and returns where each ended and why it stopped.

    Args:
      landscape: what to descend, with the law of its starts; or the name of a built-in one; or a plain function of
        params, with `sample=` (such as `jaxgd.box(-2, 2, dim=3)`) or `starts=`.
      optimizer: any optax transformation, or a written name such as "sgd(0.01)"; the landscape's own if None. Its
        `update` is called once for each gradient evaluation, with `value`, `grad`, `value_fn`, `hvp`, `key` (different
        for each lane and step) and `tick` as extra arguments.
      num_starts: how many starts to draw (>= 1); omit it if `starts` is given.
      key: a key such as `jax.random.key(0)`, or `seed=0` instead of it; all draws of start `i` are folded from it
        and `i`.
      starts: explicit starts instead, params with one leading axis.
      first_start: number of the first start to draw (>= 0), so that a large run can be done block by block: descents
        `first_start` to `first_start + num_starts - 1` are run, with the same bits as in one run of all of them by the
        same `engine`, if it names layout and lanes.
      stop: when a lane stops; the landscape's `default_stop` if None. Its fields may be written as keywords, for
        example `max_steps=1000`.
      restart: when a stopped lane starts over from a new random start; never if None.
      events: predicates of (params, value, gradient) that return one bool; the first step at which each holds is
        recorded.
      is_noisy: descend random draws of the landscape's `noisy_value`; values, norms and the stop rule are then
        those of the draws.
      keep: which iterates to keep of every descent: "params" (the last finite one), "best_params", both or neither.
      engine: how the descents share the machine; see `Engine` for what is guaranteed.
      progress: called as progress("descending", descents done, descents asked for) between chunks. True shows a bar,
        False none, and None one in terminals and notebooks.

    Returns:
      `Ends` in order of start number. After Ctrl-C (or SIGTERM) no further descents begin and those in progress are
      finished, so the result is that of the first so many starts. A second Ctrl-C drops them; they are returned with
      status `interrupted`.

    Raises:
      InputValueError, InputTypeError: an argument is invalid; nothing raises once the descents are running.

    Example:
      >>> import jax, jax.numpy as jnp, optax, jaxgd
      >>> well = jaxgd.Landscape(value=lambda x: (x**2 - 1) ** 2, sample=lambda key: jax.random.normal(key))
      >>> ends = jaxgd.descend(well, optax.sgd(0.05), 100, key=jax.random.key(0))
      >>> ends.status_counts(), sorted(set(abs(ends.params).round(4).tolist()))
      ({'converged': 100}, [1.0])
    """
    parts = list(
        stream(
            landscape,
            optimizer,
            num_starts,
            key=key,
            starts=starts,
            first_start=first_start,
            stop=stop,
            restart=restart,
            events=events,
            is_noisy=is_noisy,
            keep=keep,
            engine=engine,
            progress=progress,
        )
    )
    return with_note_at_start(concatenate(parts))


def with_note_at_start(ends: Ends) -> Ends:
    """Returns the ends of a whole run, with a note if most descents took no step."""
    return replace(ends, notes=ends.notes + note_at_start(ends.num_at_start(), len(ends), ends.stop))


def note_at_start(num: int, num_descents: int, stop: Stop | None) -> tuple[str, ...]:
    """Returns a note if most descents had converged before their first step."""
    if 2 * num <= num_descents or stop is None:
        return ()
    return (
        f"{num:,} of {num_descents:,} descents stopped at their start: they already meet the stop rule,"
        f" gradient norm {stop.gradient_norm:.3g} or less.",
    )


@front_door(is_lazy=True)
def stream(
    landscape: Landscape,
    optimizer: optax.GradientTransformation,
    num_starts: int | None = None,
    *,
    key: Key,
    starts: Params | None = None,
    first_start: int = 0,
    stop: Stop | None = None,
    restart: Restart | None = None,
    events: Mapping[str, Event] | None = None,
    is_noisy: bool = False,
    keep: Collection[str] = ("params", "best_params"),
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Iterator[Ends]:
    """Yields the ends of `descend` in parts, in the order in which they finish, without storing them.

    At least one part is yielded (an empty one, if interrupted immediately). The `cost` of each part is counted from the
    start of the run. Arguments and errors are those of `descend`.

    Example:
      >>> import jax, optax, jaxgd
      >>> landscape = jaxgd.landscapes.styblinski_tang(dim=1)
      >>> parts = stream(landscape, optax.sgd(0.02), 100, key=jax.random.key(0))
      >>> sum(int((part.value < -39).sum()) for part in parts)  # how many end in the deeper well
      51
    """
    num_starts = count_starts(num_starts, starts)
    descent = descent_of(
        landscape,
        check_optimizer(optimizer),
        starts is not None,
        stop or landscape.default_stop,
        restart,
        tuple((events or {}).items()),
        is_noisy,
        "best_params" in keep,
    )
    return launch(
        descent, num_starts, first=first_start, key=key, starts=starts, keep=keep, engine=engine, progress=progress
    )


def count_starts(num_starts: int | None, starts: Params | None) -> int:
    """Returns how many starts were asked for, by number or by list."""
    if (num_starts is None) == (starts is None):
        raise InputValueError("give either `num_starts` or `starts`.")
    return check_starts(starts) if num_starts is None else check_count("num_starts", num_starts)


def origin_of(key: Key, starts: Params | None) -> str:
    """Returns a fingerprint of the source of the starts: the key, or a quickly hashed share of the starts given."""
    if starts is None:
        return f"{jax.random.key_impl(key)} {np.asarray(jax.random.key_data(key)).tobytes().hex()}"
    found = hashlib.sha256()
    for leaf in map(np.asarray, jax.tree.leaves(starts)):
        found.update(f"{leaf.dtype} {leaf.shape}".encode())
        found.update(np.ascontiguousarray(leaf[:: 1 + leaf.nbytes // _HASHED_BYTES]).tobytes())
    return found.hexdigest()


def launch(
    descent: Descent,
    num_descents: int,
    *,
    key: Key,
    starts: Params | None,
    first: int = 0,
    keep: Collection[str],
    engine: Engine | None,
    progress: Progress | None,
) -> Iterator[Ends]:
    """Checks the arguments, and returns the parts of the ends of descents `first` and beyond."""
    for name in keep:
        if name not in ("params", "best_params"):
            raise InputValueError(f'`keep` may hold "params" and "best_params", got {name!r}.')
    check_count("first_start", first, low=0, high=2**31 - num_descents)
    if first and starts is not None:
        raise InputValueError("`first_start` applies to drawn starts; omit it if `starts` is given.")
    starts = None if starts is None else jax.tree.map(jnp.asarray, starts)
    key = check_key(key)

    began = time.perf_counter()
    chosen, notes = choose_engine(descent, num_descents, key=key, starts=starts, engine=engine)
    seconds_before = time.perf_counter() - began if engine is not None and engine.tune else 0.0
    run = Run(
        loop=_loop(descent, str(chosen.layout), int(chosen.num_lanes or 1), "params" in keep),
        key=key,
        starts=starts,
        first=first,
        num_descents=num_descents,
        devices=jax.local_devices()[: chosen.num_devices],
        frozen=descent.frozen(descent.one_start(key, starts)),
        origin=origin_of(key, starts),
        look=look(descent, key, starts, num_descents),
        notes=notes,
        seconds_before=seconds_before,
    )
    parts = run.parts(progress)
    return itertools.chain([next(parts)], parts)


def check_engine(engine: Any) -> Engine:
    """Returns the engine; one that leaves everything open if it is None.

    Raises:
      InputTypeError: it is something else.
    """
    if engine is not None and not isinstance(engine, Engine):
        raise InputTypeError(f"`engine` must be a jaxgd.Engine, got {engine!r}.")
    return engine or Engine()


def choose_engine(
    descent: Descent, num_descents: int, *, key: Key, starts: Params | None, engine: Engine | None
) -> tuple[Engine, tuple[str, ...]]:
    """Returns the engine with all open choices made, and notes about them.

    Raises:
      InputValueError, InputTypeError: the descent cannot be run.
    """
    engine = check_engine(engine)
    devices = jax.local_devices()
    if engine.num_devices > len(devices):
        raise InputValueError(f"`num_devices` must be at most {len(devices)} here, got {engine.num_devices}.")
    check_descent(descent, key, starts)

    num_devices = min(engine.num_devices, num_descents)
    shape = shape_of(descent, key, starts, devices[0])
    choice = choose(shape, num_descents, num_devices)
    layout, notes = usable_layout(
        descent, key, starts, engine.layout or choice.layout, is_asked=engine.layout is not None
    )
    choice = choice._replace(layout=layout, num_lanes=engine.num_lanes or choice.num_lanes)
    if engine.tune:
        candidates = [
            other
            for other in neighbours(choice, num_descents)
            if engine.layout in (None, other.layout) and engine.num_lanes in (None, other.num_lanes)
        ]
        choice = measure(shape, candidates, lambda c: _loop(descent, *c, True), key, starts, num_descents)
    chosen = replace(engine, layout=choice.layout, num_lanes=choice.num_lanes, num_devices=num_devices, tune=False)
    return chosen, notes


def concatenate(parts: list[Ends]) -> Ends:
    """Joins the parts of one run, in order of start number, with the cost of the last part.

    If the run was interrupted before a device had begun all starts below the highest one begun on another device, the
    result is cut off before the first one missing, so it always covers the first so many starts.

    Example:
      >>> import jax, optax, jaxgd
      >>> landscape = jaxgd.landscapes.styblinski_tang(dim=1)
      >>> parts = list(stream(landscape, optax.sgd(0.02), 100, key=jax.random.key(0)))
      >>> concatenate(parts).start_number[:4].tolist()
      [0, 1, 2, 3]

    Raises:
      InputValueError: there are no parts.
    """
    if not parts:
        raise InputValueError("there are no parts to join.")
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    joined = replace(parts[-1], **joined_columns(parts), notes=notes)
    joined = joined[np.argsort(joined.start_number, kind="stable")]
    is_missing = (joined.status == int(Status.INTERRUPTED)) & np.isnan(joined.value)
    return joined[: np.argmax(is_missing)] if is_missing.any() else joined


@functools.lru_cache(maxsize=8)
def descent_of(
    landscape: Landscape,
    optimizer: optax.GradientTransformation,
    has_starts: bool,
    stop: Stop,
    restart: Restart | None,
    events: tuple[tuple[str, Event], ...],
    is_noisy: bool,
    keeps_best: bool,
) -> Descent:
    """Returns the descent; the same object for the same arguments, so that its compiled programs are reused."""
    with_extras = as_asked(optimizer)
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


@functools.lru_cache(maxsize=8)
def _loop(descent: Descent, layout: str, num_lanes: int, keeps_params: bool) -> Loop:
    return Loop(descent=descent, layout=layout, num_lanes=num_lanes, keeps_params=keeps_params)
