"""Records Ctrl-C and SIGTERM instead of raising, so that a run can end with a fair sample.

The descents that finish first are not a fair sample, so a run must not stop abruptly. After the first signal no further
descents begin and those in progress are finished; the second signal drops them; the third one raises
`KeyboardInterrupt` as usual.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interrupt:
    """The signals that this process has received.

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


_current = threading.local()  # its `told` is the record of the outermost context in this thread


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Inside this context SIGINT and SIGTERM are recorded; nested contexts share the record.

    Only the main thread of a process receives signals, so nothing is recorded in other threads.
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
