"""Run directories: everything that a survey wrote, enough to go on with it, to share it out, or to read it anywhere.

`jaxgd.runs.manifest` and `jaxgd.runs.parts` say what lies in a directory, `jaxgd.runs.work` how processes share a run,
`open_run` reads one.
"""

from jaxgd.runs.stored import StoredRun, open_run

__all__ = ["StoredRun", "open_run"]
