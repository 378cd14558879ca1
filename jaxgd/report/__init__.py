"""Results for a person: what a record says in ten lines, its columns, and one self-contained page of a survey."""

from jaxgd.report.columns import to_dataframe, to_xarray
from jaxgd.report.reading import read
from jaxgd.report.sheet import Cell, Sheet

__all__ = ["Cell", "Sheet", "read", "to_dataframe", "to_xarray"]
