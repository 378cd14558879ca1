"""Run directories: everything needed to continue a survey, to share its work, or to read it elsewhere.

`jaxgd.runs.manifest` describes the files of a directory, `jaxgd.runs.directory` how processes share one, and
`jaxgd.runs.stored` reads it.
"""
