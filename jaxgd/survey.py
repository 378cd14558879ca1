"""Descents, verdicts and catalogue in one call.

A survey is one loop over blocks of starts against a store, in memory or on disk: read the finished blocks into the
catalogue, in order; compute a missing one; ask for more starts if `until` requires them. The catalogue always covers an
unbroken range of start numbers from 0 on, never the descents that happened to finish first.
"""

import functools
import operator
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optax

from jaxgd.base import (
    Cost,
    Ends,
    Engine,
    InputValueError,
    Key,
    Landscape,
    Params,
    Points,
    Progress,
    Status,
    Stop,
    Verdict,
)
from jaxgd.blocks import make_question
from jaxgd.checks import check_count, check_starts
from jaxgd.descend import check_engine, concatenate, note_at_start, with_note_at_start
from jaxgd.face import Face, plain, room
from jaxgd.front_door import front_door
from jaxgd.interrupt import Interrupt, interruptible
from jaxgd.points import Catalogue
from jaxgd.points.catalogue import check_up_to
from jaxgd.points.classify import join_points
from jaxgd.points.tally import Tally
from jaxgd.runs.directory import Directory, begin, is_run
from jaxgd.statistics import coverage_stop
from jaxgd.store import Memory, Store
from jaxgd.versions import versions
from jaxgd.workers import Overtaken, Workers, workers_of

_FIRST_LOOK = 1024  # starts before the unseen mass is first estimated

# fields that have the same names in JSON
_POINTS = ("lowest_eigenvalue", "kind", "num_points", "hits", "weight", "weight_low", "weight_high")
_UNSEEN = ("mass", "mass_low", "mass_high", "num_low")
_COST = ("ticks", "seconds_compile", "seconds_run", "occupancy")
_ENGINE = ("layout", "num_lanes", "num_devices")


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Survey(Face):
    """The ends of descents on one landscape, judged and counted.

    Attributes:
      landscape: name of the landscape.
      optimizer: name of the optimizer.
      stop: the stop rule, with "auto" replaced by the gradient norm it stood for.
      engine: the engine that repeats the descents, bit for bit.
      num_starts: descents asked for; after an interruption, more than were done.
      statuses: how many descents stopped for each reason.
      catalogue: the distinct critical points among `catalogue.num_descents` descents.
      cost: what the descents cost.
      dtype: of the values.
      notes: warnings about ends and verdicts, one sentence each.
      ends: where descents ended, in order of start number; None if they were not kept.
      points: what each end is, in the same order; None if they were not kept.
    """

    landscape: str
    optimizer: str
    stop: Stop
    engine: Engine
    num_starts: int
    statuses: Mapping[str, int]
    catalogue: Catalogue
    cost: Cost
    dtype: str
    notes: tuple[str, ...]
    ends: Ends | None = None
    points: Points | None = None

    @property
    def verdicts(self) -> Mapping[str, int]:
        """How many descents got each verdict."""
        return self.catalogue.verdicts

    @property
    def is_interrupted(self) -> bool:
        """Whether fewer descents were done than were asked for."""
        return self.catalogue.num_descents < self.num_starts or "interrupted" in self.statuses

    def __str__(self) -> str:
        stopped = ", ".join(f"{count:,} {name}" for name, count in self.statuses.items())
        cost, norm = self.cost, self.stop.gradient_norm
        limit = f" (gradient norm {norm:.3g} or less)" if norm is not None else ""
        asked = f"{self.catalogue.num_descents:,} descents by {self.optimizer} in {self.dtype}"
        lines = [f"{self.landscape}, {asked}: {stopped}{limit}."]

        if self.is_interrupted:
            dropped = self.statuses.get("interrupted", 0)
            lines.append(
                f"Interrupted: this covers the first {self.catalogue.num_descents:,} of {self.num_starts:,} starts."
                + (
                    f" {dropped:,} descents were dropped before they ended; the intervals account for them."
                    if dropped
                    else ""
                )
            )

        lines += ["", str(self.catalogue), "", *(f"{note[0].upper()}{note[1:]}" for note in self.notes)]
        lines.append(
            f"Cost: {cost.ticks:,} gradient evaluations in {cost.seconds_run:.1f} s"
            f" (+ {cost.seconds_compile:.1f} s to compile); lane occupancy {100 * cost.occupancy:.0f}%."
        )
        return "\n".join([*lines, f"Repeat with {self.engine}."])

    def report(self, path: str | Path, *, command: str = "", title: str = "") -> Path:
        """Writes the survey as one self-contained HTML page, and returns its path.

        Args:
          path: of the page.
          command: the command that repeats the survey, as it was typed.
          title: of the page.

        Raises:
          InputValueError: jinja2 or matplotlib is not installed, or the file cannot be written.
        """
        written: Path = room("report.page").write_page(self, path, command=command, title=title)
        return written

    def to_json(self) -> dict[str, Any]:
        """Returns the survey as one JSON object; what is not finite becomes null."""
        entries, unseen, cost = self.catalogue, self.catalogue.unseen, self.cost
        columns = {
            "value": entries.value,
            "verdict": [Verdict(code).name.lower() for code in entries.verdict],
            "index": entries.index,
            "zero_modes": entries.num_zero_modes,
            **{name: getattr(entries, name) for name in _POINTS},
        }
        points: list[dict[str, Any]] = [{} for _ in range(len(entries))]
        for name, column in columns.items():
            for point, item in zip(points, np.asarray(column).tolist(), strict=True):
                point[name] = item

        tree: dict[str, Any] = plain(
            {
                "landscape": self.landscape,
                "optimizer": self.optimizer,
                "num_starts": self.num_starts,
                "num_descents": entries.num_descents,
                "dtype": self.dtype,
                "stop": {"gradient_norm": self.stop.gradient_norm, "max_steps": self.stop.max_steps},
                "status": dict(self.statuses),
                "verdicts": dict(self.verdicts),
                "notes": list(self.notes),
                "points": points,
                "confidence": entries.confidence,
                "unseen": {name: getattr(unseen, name, None) for name in _UNSEEN},
                "cost": {name: getattr(cost, name) for name in _COST},
                "engine": {name: getattr(self.engine, name) for name in _ENGINE},
                "versions": versions(),
            }
        )
        return tree


@front_door(takes_names=True)
def survey(
    landscape: Landscape,
    optimizer: optax.GradientTransformation | str | None = None,
    num_starts: int | None = None,
    *,
    key: Key,
    starts: Params | None = None,
    stop: Stop | None = None,
    is_noisy: bool = False,
    confidence: float = 0.95,
    until: float | None = None,
    up_to: str = "symmetry",
    out: str | Path | None = None,
    keep: str = "ends",
    engine: Engine | None = None,
    block_size: int | None = None,
    executor: Any = None,
    progress: Progress | None = None,
    written: Mapping[str, Any] | None = None,
) -> Survey:
    """Runs descents from random starts; returns where they end, what those points are, and with what certainty.

    Args:
      landscape: what to survey: a Landscape, the name of a built-in one, or a plain function of params with `sample=`,
        such as `jaxgd.box(-2, 2, dim=3)`, or with `starts=`.
      optimizer: a transformation, its written name, or None for the landscape's default.
      num_starts: number of descents (>= 1), with `until` the largest number; 1,000 if None.
      key: a key such as `jax.random.key(0)`, or `seed=0` instead of it.
      starts: explicit starts instead, params with one leading axis; `out`, `until`, `executor` and `keep` are not
        available for them.
      stop: when a lane stops; the landscape's default if None. Its fields may be written as keywords, for example
        `max_steps=1000`.
      is_noisy: descend random draws of the landscape's `noisy_value`.
      confidence: level of all intervals, in (0, 1).
      until: an unseen mass in (0, 1). The number of starts is doubled until one more descent would end at a point not
        yet in the catalogue with at most this probability; `confidence` holds for all looks together.
      up_to: "symmetry" counts points, "isometry" kinds of them (see `jaxgd.catalogue`); `until` then refers to kinds.
      out: a run directory to create or to continue: finished blocks are kept even if this process is killed, and any
        number of processes may work on it at the same time. A landscape is recognised by what it computes.
      keep: "ends" returns every end and what it is; "catalogue" only counts them, so that memory grows with the number
        of distinct points (and by eight bytes per descent).
      engine: how the descents share the machine, see `Engine`; a run directory keeps the layout and lanes it began
        with.
      block_size: starts per block; chosen if None.
      executor: any `concurrent.futures.Executor`, for example of Dask, loky or mpi4py, whose workers compute the
        blocks, or a function that returns one, which is called again if its workers die. Needs cloudpickle.
      progress: called as progress(phase, done, total). True shows a bar, False none, and None one in terminals and
        notebooks.
      written: the words from which the command line can rebuild the arguments.

    Returns:
      `Survey`. After Ctrl-C (or SIGTERM) the descents in progress are finished and it covers the first so many starts;
      after a second Ctrl-C they are dropped, and the intervals account for them.

    Raises:
      InputValueError, InputTypeError: an argument is invalid, or `out` holds a run with other arguments.

    Example:
      >>> import jax, jaxgd
      >>> found = jaxgd.survey(jaxgd.landscapes.x_plus_sin_x(), num_starts=8, key=jax.random.key(0))
      >>> found.points.verdict_counts()
      {'degenerate': 8}
    """
    if not (isinstance(keep, str) and keep in ("ends", "catalogue")):
        raise InputValueError(f'`keep` must be "ends" or "catalogue", got {keep!r}.')
    check_up_to(up_to)
    if until is not None and not 0 < until < 1:
        raise InputValueError(f"`until` must lie strictly between 0 and 1, got {until}.")

    # Explicit starts are one block in memory.
    if starts is not None:
        if num_starts is not None or out is not None or until is not None or executor is not None or keep != "ends":
            raise InputValueError(
                "`starts` cannot be combined with `num_starts`, `out`, `until`, `executor` or `keep`."
            )
        num_starts = check_starts(starts)
    if out is not None and not str(out):
        raise InputValueError("`out` must name a directory, got an empty string.")

    num_starts = 1000 if num_starts is None else check_count("num_starts", num_starts)
    if block_size is not None:
        check_count("block_size", block_size)

    # An existing run keeps the choices that it began with.
    engine = check_engine(engine)
    is_open = {"layout": not engine.layout, "num_lanes": not engine.num_lanes, "block_size": not block_size}
    if out is not None and is_run(Path(out)):
        engine = replace(engine, tune=False)  # a run has its own layout and lanes
    question = make_question(
        landscape,
        optimizer,
        num_starts,
        key=key,
        stop=stop,
        is_noisy=is_noisy,
        engine=engine,
        block_size=block_size,
        starts=starts,
    )

    if out is None:
        store: Store = Memory(question.block_size)
    else:
        store = directory = begin(Path(out), question, written, is_open)
        there = directory.manifest
        question = replace(
            question,
            engine=replace(question.engine, layout=there.layout, num_lanes=there.num_lanes),
            block_size=there.block_size,
        )
        if until is None and num_starts < max(directory.ends_of_extents, default=0):
            raise InputValueError(
                f"`{out}` holds a run of {directory.ends_of_extents[-1]:,} starts; it cannot be reduced to"
                f" {num_starts:,}."
            )

    tally = Tally(landscape=landscape, confidence=confidence, up_to=up_to)
    kept: list[tuple[Ends, Points]] | None = [] if keep == "ends" else None
    with interruptible() as told, workers_of(executor, question) as workers:
        is_all = _fill(
            store, workers, tally, kept, num_starts, until, told, progress or (lambda phase, done, total: None)
        )
    if not len(tally):
        where = f" of `{out}`" if out is not None else ""
        raise InputValueError(f"interrupted before the first descents{where} had ended; there is no result yet.")
    found = survey_of(
        tally,
        landscape=landscape.name,
        optimizer=question.optimizer_name,
        stop=question.stop,
        engine=question.engine,
        num_starts=store.ends_of_extents[-1] if is_all else num_starts,
        kept=kept,
    )
    if out is not None:
        write_result(directory, found)  # of points: their kinds are in it
    return replace(found, catalogue=found.catalogue.kinds()) if up_to == "isometry" else found


def _fill(
    store: Store,
    workers: Workers,
    tally: Tally,
    kept: list[tuple[Ends, Points]] | None,
    num_starts: int,
    until: float | None,
    told: Interrupt,
    report: Progress,
) -> bool:
    """The loop: reads the blocks of a store into the tally, in order, and computes missing ones.

    Returns:
      Whether everything was done; if not, it was interrupted.
    """
    num_read = num_looks = 0
    is_covered = False
    partial: tuple[range, tuple[Ends, Points]] | None = None

    def take_in(part: tuple[Ends, Points]) -> None:
        tally.add(*part)
        if kept is not None:
            kept.append(part)

    store.extend(num_starts if until is None else min(_FIRST_LOOK, num_starts))
    while True:
        # read finished blocks, up to the first gap
        for block in store.blocks[num_read:]:
            part = store.read(block)
            if part is None:
                break
            take_in(part)
            num_read += 1
            if block.stop in store.ends_of_extents:
                num_looks += 1
                is_covered |= until is not None and _covers(tally, until, num_looks)
                tally.mark()

        # is everything done?
        num_asked = store.ends_of_extents[-1]
        is_all = num_read == len(store.blocks)
        if is_all and (is_covered or num_asked >= num_starts):
            return True
        if told.count and (told.count > 1 or not workers.num_busy):
            if partial is not None and not is_all and store.blocks[num_read] == partial[0]:
                take_in(partial[1])
            return False
        if is_all:
            store.extend(min(2 * num_asked, num_starts))

        # compute missing blocks
        while not told.count and workers.num_busy < workers.num_wanted and (taken := store.next_block()) is not None:
            workers.begin(taken, functools.partial(_look, report, store, taken, store.num_done, num_asked))
        for block, done in workers.results(told):
            if done is None:
                store.give_back(block)  # it failed, or another process was faster
            elif len(done[0]) < len(block) or np.any(done[0].status == int(Status.INTERRUPTED)):
                store.give_back(block)
                partial = block, done
            else:
                store.write(block, *done)
        report("descending", store.num_done, max(store.ends_of_extents))


def _look(report: Progress, store: Store, block: range, before: int, total: int, phase: str, done: int, _: int) -> None:
    """Reports progress on a block, and abandons it if another process has finished it."""
    report(phase, before + done, max(total, before + done))
    if store.has(block):
        raise Overtaken


def _covers(tally: Tally, until: float, look: int) -> bool:
    """Returns whether the unseen mass is at most `until`, judging by the ends since the mark."""
    return coverage_stop(tally.hits, tally.marked, until, look=look, confidence=tally.confidence).stop


def survey_of(tally: Tally, *, stop: Stop, kept: list[tuple[Ends, Points]] | None = None, **about: Any) -> Survey:
    """Returns the survey of a tally."""
    stop = tally.stop or stop
    cost = functools.reduce(operator.add, tally.costs)
    cost = replace(cost, num_devices=max(each.num_devices for each in tally.costs))
    ends = points = None
    if kept is not None:
        ends = replace(concatenate([ends for ends, _ in kept]), num_starts=about["num_starts"], cost=cost)
        ends = with_note_at_start(ends)
        points = join_points([points for _, points in kept])
    return Survey(
        stop=stop,
        statuses=tally.statuses,
        catalogue=tally.catalogue(),
        cost=cost,
        dtype=str(tally.dtype),
        notes=tally.notes + note_at_start(tally.num_at_start, len(tally), stop),
        ends=ends,
        points=points,
        **about,
    )


def write_result(directory: Directory, found: Survey) -> None:
    """Writes the result of a run, unless it counts dropped descents, which are in no file.

    If it cannot be written, that is printed and the survey is returned all the same.
    """
    num_whole = {0, *(block.stop for block in directory.blocks)}
    if "interrupted" in found.statuses or found.catalogue.num_descents not in num_whole:
        return
    try:
        directory.write_result(found.to_json(), found.catalogue)
    except InputValueError as error:
        print(f"jaxgd: the result was not saved: {error}", file=sys.stderr, flush=True)
