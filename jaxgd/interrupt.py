"""Ctrl-C and SIGTERM, noted instead of raised, so that a run can end where its sample is fair.

Descents that finish first are not a fair sample of all, so a run must not stop at a moment. The first signal asks it to
begin no further descents and to finish those under way, the second one to drop them, the third one raises
`KeyboardInterrupt` as usual.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interrupt:
    """What this process was told.

    Attributes:
      count: signals so far.
      number: the last signal; 0 for none.
    """

    def __init__(self) -> None:
        self.count, self.number = 0, 0

    def note(self, number: int, frame: Any = None) -> None:
        """Handles a signal."""
        if self.count >= 2:
            raise KeyboardInterrupt
        self.count, self.number = self.count + 1, number


_current = threading.local()  # its `told` is the note of the outermost context in this thread


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Within it, SIGINT and SIGTERM are noted; contexts inside another one share its notes.

    Only the main thread of a process is sent signals, so elsewhere nothing is ever noted.
    """
    enclosing = getattr(_current, "told", None)
    if enclosing is not None:
        yield enclosing
        return

    told = _current.told = Interrupt()
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, told.note) for number in _SIGNALS} if is_main else {}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _current.told = None


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def say(sentence: str) -> None:
    """Prints a sentence for the person who interrupted."""
    print(f"\njaxgd: {sentence}", file=sys.stderr, flush=True)
