"""The same work done by several systems in turns, and how fast each of them was.

Rates are medians over rounds, and a ratio is one of medians. Within a round all systems run once, one after
the other, so that a slow minute of the machine meets them all; the spread over rounds is printed beside.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from jaxgd.base import InputValueError
from jaxgd.experiment.printing import environment, note, short, table
from jaxgd.face import plain


class Missing(Exception):
    """A system cannot run here; its text says why."""


@dataclass(frozen=True, kw_only=True)
class WorkDone:
    """What one call of a system has done.

    Attributes:
      amount: work done, in the system's unit; None where the row's rate is to be the seconds of the call.
      converged: share of the descents that converged, or None where that has no meaning.
      notes: further facts for the row, such as how many starts a slow rival was given.
    """

    amount: float | None
    converged: float | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A call's result with the seconds that count, where those are not the wall time of the call."""

    result: Any
    seconds: float
    seconds_compile: float | None = None


@dataclass(frozen=True, kw_only=True)
class System:
    """One participant of a race.

    Attributes:
      name: what its row is called.
      build: imports what it needs and returns the call that does the work once, always the same work; raises
        ImportError or `Missing` where it cannot run here.
      work_done: maps the call's result to what was done; not timed.
      unit: of the rate, for example "descents/s".
    """

    name: str
    build: Callable[[], Callable[[], Any]]
    work_done: Callable[[Any], WorkDone]
    unit: str = "descents/s"


@dataclass(frozen=True, kw_only=True)
class Row:
    """How fast one system was.

    Attributes:
      system: its name.
      unit: of the rate.
      amount: work done by one call; None where the rate is the seconds of the call.
      seconds: of each round; none where it could not run.
      converged: share of the descents that converged, or None.
      seconds_compile: what the first call took beyond a later one, or None where it could not run.
      reason: why it could not run.
      notes: further facts.
    """

    system: str
    unit: str
    amount: float | None = None
    seconds: tuple[float, ...] = ()
    converged: float | None = None
    seconds_compile: float | None = None
    reason: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rates(self) -> tuple[float, ...]:
        """The rate in each round."""
        return tuple(s if self.amount is None else self.amount / s for s in self.seconds)

    @property
    def rate(self) -> float | None:
        """The median over the rounds; None where it could not run."""
        return statistics.median(self.rates) if self.seconds else None

    def to_json(self) -> dict[str, Any]:
        """Returns the row of the contract, with the range of the rate."""
        names = ("system", "rate", "unit", "converged", "seconds_compile")
        spread = {"low": min(self.rates), "high": max(self.rates)} if self.seconds else {"reason": self.reason}
        return {name: getattr(self, name) for name in names} | spread | dict(self.notes)


@dataclass(frozen=True)
class Ratio:
    """A ratio of two medians, with the least and the greatest ratio within one round."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Race:
    """The rows of systems that ran in turns, in the order given."""

    rows: tuple[Row, ...]

    def __getitem__(self, system: str) -> Row:
        """Returns the row of a system."""
        return next(row for row in self.rows if row.system == system)

    def best(self, start_of_name: str) -> str:
        """Returns the fastest of the systems whose name begins like this."""
        rows = [row for row in self.rows if row.system.startswith(start_of_name)]
        return max(rows, key=lambda row: row.rate or -math.inf).system

    def ratio(self, system: str, rival: str) -> Ratio | None:
        """Returns how many times faster `system` was than `rival`; None where one of them did not run."""
        above, below = self[system], self[rival]
        if above.rate is None or below.rate is None:
            return None
        rounds = [a / b for a, b in zip(above.rates, below.rates, strict=True)]
        return Ratio(above.rate / below.rate, min(rounds), max(rounds))


def race(systems: Sequence[System], *, repeats: int) -> Race:
    """Returns how fast systems do their work, timed in turns.

    The first call of each system compiles and warms up; what it took beyond a later one is `seconds_compile`.
    Each round then runs all systems once, and each round begins with another one.

    Args:
      systems: the participants.
      repeats: how many rounds (>= 1).

    Example:
      >>> work_done = lambda result: WorkDone(amount=1000)
      >>> adds = System(name="sum", build=lambda: lambda: sum(range(1000)), work_done=work_done)
      >>> absent = System(name="absent", build=lambda: __import__("no_such_module"), work_done=work_done)
      >>> found = race([adds, absent], repeats=2)
      >>> len(found["sum"].rates), found["absent"].rate, found["absent"].reason
      (2, None, "No module named 'no_such_module'")
    """
    if repeats < 1:
        raise InputValueError(f"`repeats` must be at least 1, got {repeats}.")
    rows = {system.name: Row(system=system.name, unit=system.unit) for system in systems}
    calls: dict[str, Callable[[], Any]] = {}
    before: dict[str, Timed] = {}
    seconds: dict[str, list[float]] = {}

    # Each system once, to compile and to read what it does; absent ones become rows with a reason.
    for system in systems:
        note(f"{system.name}: compiles and warms up")
        try:
            call = system.build()
            timed = _timed(call)
        except (ImportError, Missing) as error:
            note(f"{system.name}: left out, {error}")
            rows[system.name] = replace(rows[system.name], reason=str(error))
            continue
        outcome = system.work_done(timed.result)
        rows[system.name] = replace(
            rows[system.name], amount=outcome.amount, converged=outcome.converged, notes=outcome.notes
        )
        calls[system.name], before[system.name] = call, replace(timed, result=None)
        seconds[system.name] = []

    # Rounds in turns, each beginning with another system, so that drifts of the machine hit all alike.
    names = list(calls)
    for turn in range(repeats):
        note(f"round {turn + 1} of {repeats}")
        shift = turn % max(len(names), 1)
        for name in names[shift:] + names[:shift]:
            seconds[name].append(_timed(calls[name]).seconds)

    # Compilation is what the first call took beyond the median of the others.
    for name in names:
        beyond = max(0.0, before[name].seconds - statistics.median(seconds[name]))
        rows[name] = replace(
            rows[name],
            seconds=tuple(seconds[name]),
            seconds_compile=beyond if before[name].seconds_compile is None else before[name].seconds_compile,
        )
    return Race(tuple(rows.values()))


def _timed(call: Callable[[], Any]) -> Timed:
    began = time.perf_counter()
    result = call()
    if isinstance(result, Timed):
        return result
    jax.block_until_ready(result)
    return Timed(result=result, seconds=time.perf_counter() - began)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The same work done by several systems.

    Attributes:
      name: as in `python -m experiments.benchmarks.NAME`.
      work: what was to be done, in one sentence: function, starts, tolerance, dtype, cores.
      rows: how fast each system was.
      ratios: named ratios; None where a rival did not run.
      packages: rivals whose versions belong to the numbers.
    """

    name: str
    work: str
    rows: Sequence[Row]
    ratios: Mapping[str, Ratio | float | None] = field(default_factory=dict)
    packages: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns the object of the contract."""
        ratios = self.ratios.items()
        return plain(
            {
                "benchmark": self.name,
                "work": self.work,
                "rows": [row.to_json() for row in self.rows],
                "ratios": {name: r.value if isinstance(r, Ratio) else r for name, r in ratios},
                "ratio_ranges": {name: [r.low, r.high] for name, r in ratios if isinstance(r, Ratio)},
                "versions": environment(self.packages),
            }
        )

    def __str__(self) -> str:
        """Returns the same for a person."""
        rows = [
            {
                "system": row.system,
                "rate": short(row.rate),
                "min-max": f"{short(min(row.rates))} - {short(max(row.rates))}" if row.rates else "",
                "unit": row.unit,
                "converged": "-" if row.converged is None else f"{100 * row.converged:.1f}%",
                "compile": "-" if row.seconds_compile is None else f"{row.seconds_compile:.1f} s",
                "": row.reason or ", ".join(f"{name} {short(value)}" for name, value in row.notes.items()),
            }
            for row in self.rows
        ]

        ratios = [
            {
                "ratio": name,
                "median": short(ratio.value if isinstance(ratio, Ratio) else ratio),
                "min-max": f"{short(ratio.low)} - {short(ratio.high)}" if isinstance(ratio, Ratio) else "",
            }
            for name, ratio in self.ratios.items()
        ]
        return f"{self.work}\n\n{table(rows)}\n\n{table(ratios)}\n\n{environment()['machine']}"

    def figure(self) -> Any:
        """Returns a point with its range for each system that ran, one panel for each unit."""
        from matplotlib.figure import Figure

        rows = [row for row in self.rows if row.rates]
        units = list(dict.fromkeys(row.unit for row in rows))
        counts = [sum(row.unit == unit for row in rows) for unit in units]
        figure = Figure(figsize=(9, 1 + 0.35 * len(rows) + 0.6 * len(units)), layout="constrained")
        panels = figure.subplots(len(units), 1, squeeze=False, height_ratios=counts)[:, 0]
        for panel, unit in zip(panels, units, strict=True):
            shown = [row for row in reversed(rows) if row.unit == unit]
            medians = np.array([row.rate for row in shown])
            spread = [medians - [min(r.rates) for r in shown], [max(r.rates) for r in shown] - medians]
            panel.errorbar(medians, [row.system for row in shown], xerr=spread, fmt="o", capsize=3)
            panel.set(xlabel=unit, xscale="log")
            panel.grid(axis="x", which="both", alpha=0.3)
            panel.margins(y=0.5 / len(shown))
        return figure
