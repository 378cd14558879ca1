"""Where does gradient descent end, what kind of point is that, and what have we not seen?

From thousands of random starts, for any differentiable function and any optax optimizer: `descend` runs the descents,
`classify` judges their ends by curvature, `catalogue` counts the distinct ones with intervals, and `survey` does all
of it in one call.
"""

from jaxgd import curvature, landscapes, plot, statistics, symmetry, testing, transforms
from jaxgd.base import (
    Cost,
    Ends,
    Engine,
    Facts,
    InputTypeError,
    InputValueError,
    KnownPoint,
    Landscape,
    Points,
    Reason,
    Restart,
    Status,
    Stop,
    Symmetry,
    Verdict,
)
from jaxgd.caches import KeptPrograms, clear_caches, keep_programs
from jaxgd.compare import compare
from jaxgd.descend import concatenate, descend, stream
from jaxgd.diagnose import Diagnosis, diagnose
from jaxgd.dwell import DwellByIndex, dwell_by_index
from jaxgd.flow import Distortion, GradientFlow, basin_distortion, gradient_flow
from jaxgd.paired import Arm, Comparison, Difference
from jaxgd.points import Catalogue, catalogue, classify
from jaxgd.proof import Proof, prove
from jaxgd.runs.stored import StoredRun, open_run
from jaxgd.saddles import Network, Search, critical_points, network, saddles
from jaxgd.start_laws import box, grid, normal_like
from jaxgd.survey import Survey, survey
from jaxgd.sweep import Sweep, sweep
from jaxgd.valleys import Connection, ValleyWalk, connect, walk_valley
from jaxgd.versions import __version__

__all__ = [  # noqa: RUF022 (grouped)
    # the way of the data
    "descend",
    "stream",
    "concatenate",
    "classify",
    "catalogue",
    "survey",
    "sweep",
    "compare",
    "gradient_flow",
    "basin_distortion",
    "dwell_by_index",
    "walk_valley",
    "connect",
    "open_run",
    "saddles",
    "critical_points",
    "network",
    "prove",
    # one trained model
    "diagnose",
    # laws of starts
    "box",
    "normal_like",
    "grid",
    # what is kept
    "keep_programs",
    "KeptPrograms",
    "clear_caches",
    # what it speaks
    "Landscape",
    "Symmetry",
    "Facts",
    "KnownPoint",
    "Stop",
    "Engine",
    "Restart",
    "Ends",
    "Cost",
    "Status",
    "Points",
    "Verdict",
    "Reason",
    "Catalogue",
    "Survey",
    "Sweep",
    "Search",
    "Network",
    "Proof",
    "Comparison",
    "Arm",
    "Difference",
    "StoredRun",
    "GradientFlow",
    "Distortion",
    "DwellByIndex",
    "Diagnosis",
    "ValleyWalk",
    "Connection",
    "InputValueError",
    "InputTypeError",
    # rooms
    "curvature",
    "landscapes",
    "plot",
    "statistics",
    "symmetry",
    "testing",
    "transforms",
    # the version
    "__version__",
]
