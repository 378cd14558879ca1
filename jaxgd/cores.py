"""The cores that this process may use."""

import os


def own_cores() -> list[int]:
    """Returns the numbers of the cores that this process may use, ascending; at least one."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
