"""Decides how progress is shown: as a bar in terminals and notebooks, by the caller's function, or not at all."""

import contextlib
import contextvars
import functools
import sys
import time
from collections.abc import Iterator
from typing import Any

from jaxgd.base import InputTypeError, Progress
from jaxgd.checks import what_is

_PATIENCE = 0.5  # seconds before a bar is shown that was not requested
_is_inside: contextvars.ContextVar[bool] = contextvars.ContextVar("is_inside", default=False)


@contextlib.contextmanager
def shown(given: Any, phase: str | None) -> Iterator[Any]:
    """Yields the function to call with the progress, or None."""
    is_outer, before = not _is_inside.get(), _is_inside.set(True)
    try:
        if given is None and not (is_outer and (sys.stderr.isatty() or in_notebook())):
            yield None
        elif given is None or given is True:
            with _bar(_PATIENCE if given is None else 0.0) as show:
                yield show if phase is None else functools.partial(show, phase)
        elif given is False:
            yield None
        elif callable(given) and not isinstance(given, type):
            yield given
        else:
            raise InputTypeError(f"`progress` must be True, False, or a function such as print, got {what_is(given)}.")
    finally:
        _is_inside.reset(before)


@contextlib.contextmanager
def _bar(patience: float) -> Iterator[Progress]:
    """Yields a function that shows progress as a bar, once `patience` seconds have passed."""
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        bars: list[Progress] = []

        def show(phase: str, done: int, total: int) -> None:
            if not bars and time.perf_counter() - began >= patience:
                try:
                    from jaxgd.progress_bar import ProgressBar
                except ImportError:  # rich is optional; without it there is no bar
                    bars.append(lambda phase, done, total: None)
                else:
                    bars.append(stack.enter_context(ProgressBar()))
            for each in bars:
                each(phase, done, total)

        yield show


def in_notebook() -> bool:
    """Returns whether this code runs in a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return type(shell).__name__ == "ZMQInteractiveShell"
