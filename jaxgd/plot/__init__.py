"""Figures of every result: each takes a result and, if you like, an axis of matplotlib, and returns the axis.

    jaxgd.plot.waterfall(found).figure.savefig("waterfall.pdf")

`overview` picks those that fit a result. matplotlib (`pip install 'jaxgd[plot]'`) is imported when a figure is drawn.
"""

from jaxgd.plot.basins import basins
from jaxgd.plot.compare import compare, shares
from jaxgd.plot.dwell import dwell
from jaxgd.plot.overview import fitting, overview
from jaxgd.plot.scaling import scaling
from jaxgd.plot.spectrum import spectrum
from jaxgd.plot.surface import surface
from jaxgd.plot.survival import survival
from jaxgd.plot.trajectories import trajectories
from jaxgd.plot.unseen import unseen
from jaxgd.plot.value_against_index import value_against_index
from jaxgd.plot.waterfall import waterfall
from jaxgd.plot.weights import weights

__all__ = [
    "basins",
    "compare",
    "dwell",
    "fitting",
    "overview",
    "scaling",
    "shares",
    "spectrum",
    "surface",
    "survival",
    "trajectories",
    "unseen",
    "value_against_index",
    "waterfall",
    "weights",
]
