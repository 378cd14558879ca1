"""Progress on standard error: a bar in a terminal, occasional lines in a log."""

import sys
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

_LINE_SECONDS = 30.0


class ProgressBar:
    """A context that yields the function show(phase, done, total)."""

    def __enter__(self) -> Callable[[str, int, int], None]:
        self._is_terminal = sys.stderr.isatty()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not self._is_terminal,
            transient=True,
        )
        self._bar.start()
        self._tasks: dict[str, Any] = {}
        self._lines: dict[str, _Line] = {}
        return self._show

    def __exit__(self, *error: Any) -> None:
        self._bar.stop()

    def _show(self, phase: str, done: int, total: int) -> None:
        if not self._is_terminal:
            self._lines.setdefault(phase, _Line(phase, done)).show(done, total)
            return
        if phase not in self._tasks:
            self._tasks[phase] = self._bar.add_task(phase, total=total)
        self._bar.update(self._tasks[phase], completed=done, total=total)


class _Rate(ProgressColumn):
    """The rate per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


class _Line:
    """Lines for a log, few enough to be read."""

    def __init__(self, phase: str, done: int) -> None:
        self.phase, self.first, self.began = phase, done, time.perf_counter()
        self.next = self.began + _LINE_SECONDS

    def show(self, done: int, total: int) -> None:
        now = time.perf_counter()
        if now < self.next:
            return
        self.next = now + _LINE_SECONDS
        rate = (done - self.first) / (now - self.began)
        left = f", {duration((total - done) / rate)} left" if rate > 0 else ""
        print(f"{self.phase}: {done:,} of {total:,}, {rate:,.0f}/s{left}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Returns a duration in readable units.

    Example:
      >>> duration(0.5), duration(90), duration(7200), duration(1e6)
      ('0.5 s', '90 s', '2.0 h', '11.6 days')
    """
    for limit, unit, word in ((10, 1, " s"), (120, 1, " s"), (7200, 60, " min"), (172800, 3600, " h")):
        if seconds < limit:
            return f"{seconds / unit:.1f}{word}" if limit == 10 or unit == 3600 else f"{seconds / unit:.0f}{word}"
    return f"{seconds / 86400:.1f} days"
