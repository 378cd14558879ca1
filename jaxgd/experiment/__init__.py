"""What experiments and benchmarks share: the command line, the clock, the verdict, and how they are printed.

An experiment measures a claim: a function of `Options` that returns a `Claim`, whose verdict follows from its
rows by one rule. A benchmark lets systems do the same work in turns (`race`) and returns a `Benchmark`. With
`main` either has the command line `[--quick] [--json] [--out DIR]`: one JSON object or a table on standard
output, progress on standard error.

    def measure(options: experiment.Options) -> experiment.Claim: ...

    if __name__ == "__main__":
        sys.exit(experiment.main(measure, description=__doc__))
"""

from jaxgd.experiment.claims import RELATIONS, Claim, Statistic, stated
from jaxgd.experiment.command import Options, main, start_jax
from jaxgd.experiment.figures import panels
from jaxgd.experiment.printing import environment, note, num_cores, table
from jaxgd.experiment.races import Benchmark, Missing, Race, Ratio, Row, System, Timed, WorkDone, race
from jaxgd.experiment.rows import CONFIDENCE, exactly, mean, median, share, share_of, slope
from jaxgd.face import plain

__all__ = [  # noqa: RUF022 (grouped)
    # the command line
    "Options",
    "main",
    "start_jax",
    # a claim
    "Claim",
    "Statistic",
    "RELATIONS",
    "stated",
    # its rows
    "CONFIDENCE",
    "share",
    "share_of",
    "mean",
    "median",
    "slope",
    "exactly",
    # its figure
    "panels",
    # a benchmark
    "Benchmark",
    "System",
    "WorkDone",
    "Timed",
    "Missing",
    "race",
    "Race",
    "Row",
    "Ratio",
    # printing
    "environment",
    "note",
    "num_cores",
    "plain",
    "table",
]
