"""Run directories: everything that a survey wrote, enough to continue it, to share it out, or to read it anywhere.

`jaxgd.runs.manifest` says what lies in a directory, `jaxgd.runs.directory` how processes share one, and
`jaxgd.runs.stored` reads it.
"""
