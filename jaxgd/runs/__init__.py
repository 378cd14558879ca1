"""Run directories: everything a survey wrote."""

from jaxgd.runs.directory import RunDirectory, read_ends, write_atomically

__all__ = ["RunDirectory", "read_ends", "write_atomically"]
