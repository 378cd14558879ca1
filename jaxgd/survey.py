"""The whole way of the data in one call: descents, verdicts, catalogue.

The result is one record: what was asked, where the descents ended, what the ends are, which of them are the same, and
what it cost. `Survey.to_json` is the form in which scripts read it.
"""

import functools
import math
import operator
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
import optax

from jaxgd.base import Cost, Ends, InputValueError, Key, Landscape, Points, Stop, Verdict
from jaxgd.descend import concatenate, note_at_start, num_at_start, stream
from jaxgd.lanes.checks import check_count
from jaxgd.names import find_optimizer
from jaxgd.points import Catalogue, classify_or_say_why
from jaxgd.points.classify import join_points
from jaxgd.points.tally import Counted, Tally
from jaxgd.statistics import coverage_stop

_JUDGED_TOGETHER = 2**16  # ends whose params are held at once
_FIRST_BLOCK = 1024  # starts before the first look at what was not seen


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Where descents of one landscape ended, judged and counted.

    Attributes:
      landscape: name of the landscape.
      optimizer: name of the optimizer.
      stop: the stop rule, with the gradient norm that "auto" stood for.
      ends: where descents ended, in order of start number; only counted where they were not to be kept.
      points: what each end is, in the same order; likewise.
      catalogue: the distinct critical points.
    """

    landscape: str
    optimizer: str
    stop: Stop
    ends: Ends | Counted
    points: Points | Counted
    catalogue: Catalogue

    @property
    def cost(self) -> Cost:
        """What the descents cost."""
        return self.ends.cost

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what the descents and the verdicts suffered from."""
        return self.ends.notes + self.points.notes

    def __str__(self) -> str:
        stopped = ", ".join(f"{count:,} {name}" for name, count in self.ends.status_counts().items())
        interrupted = (
            f" Interrupted: {self.ends.num_starts:,} were asked for." if len(self.ends) < self.ends.num_starts else ""
        )
        cost, norm = self.cost, self.stop.gradient_norm
        limit = f" (gradient norm {norm:.3g} or less)" if isinstance(norm, float) else ""
        return (
            f"{self.landscape}, {len(self.ends):,} descents by {self.optimizer}: {stopped}{limit}.{interrupted}\n\n"
            f"{self.catalogue}\n\n{''.join(f'{note[0].upper()}{note[1:]}{chr(10)}' for note in self.notes)}"
            f"Cost: {cost.ticks:,} gradient evaluations in {cost.seconds_run:.1f} s"
            f" (+ {cost.seconds_compile:.1f} s to compile), {100 * cost.occupancy:.0f}% of those paid for;"
            f" {cost.num_devices} x {cost.num_lanes} lanes, {cost.layout}."
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the survey as one JSON object; what is not finite becomes null."""
        entries, unseen = self.catalogue, self.catalogue.unseen
        missing = dict.fromkeys(("mass", "mass_low", "mass_high", "num_low"))
        return _finite(
            {
                "landscape": self.landscape,
                "optimizer": self.optimizer,
                "num_starts": self.ends.num_starts,
                "num_descents": len(self.ends),
                "dtype": str(np.asarray(self.ends.value).dtype),
                "stop": {"gradient_norm": self.stop.gradient_norm, "max_steps": self.stop.max_steps},
                "status": self.ends.status_counts(),
                "verdicts": self.points.verdict_counts(),
                "notes": list(self.notes),
                "points": [
                    {
                        "value": float(entries.value[i]),
                        "verdict": Verdict(entries.verdict[i]).name.lower(),
                        "index": int(entries.index[i]),
                        "zero_modes": int(entries.num_zero_modes[i]),
                        "lowest_eigenvalue": float(entries.lowest_eigenvalue[i]),
                        "hits": int(entries.hits[i]),
                        "weight": float(entries.weight[i]),
                        "weight_low": float(entries.weight_low[i]),
                        "weight_high": float(entries.weight_high[i]),
                    }
                    for i in range(len(entries))
                ],
                "confidence": entries.confidence,
                "unseen": {name: getattr(unseen, name) for name in missing} if unseen else missing,
                "cost": {
                    "ticks": self.cost.ticks,
                    "seconds_compile": self.cost.seconds_compile,
                    "seconds_run": self.cost.seconds_run,
                    "occupancy": self.cost.occupancy,
                    "layout": self.cost.layout,
                    "num_lanes": self.cost.num_lanes,
                    "num_devices": self.cost.num_devices,
                },
                "versions": versions(),
            }
        )


def survey(
    landscape: Landscape,
    optimizer: optax.GradientTransformation | str | None = None,
    num_starts: int | None = None,
    *,
    key: Key,
    stop: Stop | None = None,
    confidence: float = 0.95,
    keep: str = "ends",
    until: float | None = None,
    on_part: Callable[[Ends], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    **engine: Any,
) -> Survey:
    """Returns where descents from random starts end, what those points are, and how sure that is.

    Args:
      landscape: what to survey.
      optimizer: a transformation, its written name, or None for the landscape's default.
      num_starts: how many descents (>= 1), at most where there is an `until`; 1,000 if None.
      key: a key such as `jax.random.key(0)`.
      stop: when a lane stops; the landscape's default if None.
      confidence: level of all intervals, in (0, 1).
      keep: "ends" keeps every end and what it is; "catalogue" only counts them, so that memory grows with the number
        of distinct points alone (and eight bytes for each descent).
      until: an unseen mass in (0, 1). Descents go on in blocks that double until, with this confidence for all looks
        together, one more descent would end at a point not yet in the catalogue with no more than this probability.
      on_part: called with each part of the ends as it comes in, for example to write it down.
      progress: called as progress(phase, done, total).
      **engine: further arguments of `descend`: `is_noisy`, `layout`, `num_lanes`, `num_devices`.

    Example:
      >>> import jax, jaxgd
      >>> found = jaxgd.survey(jaxgd.landscapes.x_plus_sin_x(), num_starts=8, key=jax.random.key(0))
      >>> found.points.verdict_counts()
      {'degenerate': 8}
    """
    if keep not in ("ends", "catalogue"):
        raise InputValueError(f'`keep` must be "ends" or "catalogue", got {keep!r}.')
    if until is not None and not 0 < until < 1:
        raise InputValueError(f"`until` must lie strictly between 0 and 1, got {until}.")
    num_starts = 1000 if num_starts is None else check_count("num_starts", num_starts)
    name = (
        optimizer if isinstance(optimizer, str) else landscape.default_optimizer if optimizer is None else "optimizer"
    )
    transformation = find_optimizer(name) if optimizer is None or isinstance(optimizer, str) else optimizer
    stop = stop or landscape.default_stop
    report = progress or (lambda phase, done, total: None)
    tally = Tally(landscape=landscape, confidence=confidence)
    kept: list[tuple[Ends, Points]] = []
    costs: list[Cost] = []
    num_done = num_still = 0
    notes: dict[str, None] = {}
    for look, block in enumerate(_blocks(num_starts, until), start=1):
        tally.mark()
        for ends in _batches(landscape, transformation, block, on_part, report, key=key, stop=stop, **engine):
            points = classify_or_say_why(
                landscape, ends, progress=functools.partial(_shifted, report, "judging", num_done)
            )
            tally.add(ends, points)
            num_done, num_still = num_done + len(ends), num_still + num_at_start(ends)
            notes.update(dict.fromkeys(ends.notes))
            if keep == "ends":
                kept.append((ends, points))
        costs.append(ends.cost)
        engine |= {"layout": ends.cost.layout, "num_lanes": ends.cost.num_lanes}  # one program for all blocks
        if num_done < block.stop:
            break  # interrupted
        if until is not None and _covers(tally, until, look):
            num_starts = num_done
            break
    cost = functools.reduce(operator.add, costs)
    all_ends: Ends | Counted
    all_points: Points | Counted
    if keep == "ends":
        order = np.argsort(np.concatenate([ends.start_number for ends, _ in kept]), kind="stable")
        all_ends = replace(concatenate([ends for ends, _ in kept]), num_starts=num_starts, cost=cost)
        all_points = join_points([points for _, points in kept])[order]
    else:
        all_ends, all_points = tally.counted(num_starts, cost, np.asarray(ends.value).dtype)
    return Survey(
        landscape=landscape.name,
        optimizer=name,
        stop=ends.stop or stop,
        ends=replace(all_ends, notes=(*notes, *note_at_start(num_still, num_done, ends.stop))),
        points=all_points,
        catalogue=tally.catalogue(),
    )


def _shifted(report: Callable[[str, int, int], None], phase: str, before: int, done: int, total: int) -> None:
    """Reports on a batch that comes after `before` others."""
    report(phase, before + done, before + total)


def _covers(tally: Tally, until: float, look: int) -> bool:
    """Returns whether what was not seen is surely little, by the ends since the mark."""
    return coverage_stop(tally.hits, tally.marked, until, look=look, confidence=tally.confidence).stop


def _blocks(num_starts: int, until: float | None) -> Iterator[range]:
    """Yields the start numbers of each block: all of them, or as many as before each time, for fresh looks.

    Whole blocks are looked at, since the descents that finish first are not a fair sample of all.
    """
    begin, end = 0, num_starts if until is None else min(_FIRST_BLOCK, num_starts)
    while begin < end:
        yield range(begin, end)
        begin, end = end, min(2 * end, num_starts)


def _batches(
    landscape: Landscape,
    optimizer: optax.GradientTransformation,
    block: range,
    on_part: Callable[[Ends], None] | None,
    report: Callable[[str, int, int], None],
    **engine: Any,
) -> Iterator[Ends]:
    """Yields the ends of a block of starts, as many together as are judged together."""
    parts: list[Ends] = []
    descending = stream(
        landscape, optimizer, len(block), first_start=block.start, keep=("params",),
        progress=lambda done, total, ticks: report("descending", block.start + done, block.stop), **engine,
    )  # fmt: skip
    for part in descending:
        if on_part is not None:
            on_part(part)
        num_held = sum(len(some) for some in parts)
        if num_held and num_held + len(part) > _JUDGED_TOGETHER:
            yield concatenate(parts)
            parts = []
        parts.append(part)
    yield concatenate(parts)


def versions() -> dict[str, str]:
    """Returns the versions of everything that a number may depend on."""
    packages = ("jaxgd", "jax", "jaxlib", "optax", "numpy", "scipy")
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in packages},
        "platform": f"{sys.platform} {platform.machine()} {jax.default_backend()}",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except Exception:
        return "not installed"


def _finite(tree: Any) -> Any:
    """Returns a JSON tree with every number that is not finite replaced by None."""
    if isinstance(tree, dict):
        return {key: _finite(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
