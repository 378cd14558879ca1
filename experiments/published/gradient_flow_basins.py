r"""Optimizers send starts elsewhere than the gradient flow does, on a Lennard-Jones cluster.

Suryadevara, Casiulis and Martiniani 2024 (arXiv 2409.12113) found that L-BFGS and FIRE agree with the flow, solved by
CVODE, from few starts of packings. Here, from the same starts (seed 0): 13 Lennard-Jones atoms as in
`experiments.basins.distortion`, which states law, steps and stop. An earlier measurement with pele (100 starts of
unknown law) stands beside ours; the other shares are predictions. The flow must agree with itself at two tolerances,
and gradient descent the better the smaller its step. Soft spheres are not done.
"""

import sys
from typing import Any

import numpy as np

from experiments.basins import distortion
from experiments.published.rows import Row, Table, share, stated
from jaxgd import experiment
from jaxgd.flow import basin_distortion

NUM_STARTS = 2_000
PELE = {"L-BFGS": 0.46, "FIRE": 0.38}


def rows_of(name: str, found: Any) -> list[Row]:
    """Returns the agreement of each optimizer with the flow."""
    rows = [share(f"{name}: the flow agrees with itself", round(found.self_agreement.value * found.num_starts),
                  found.num_starts, expected=0.9, relation="at_least", source="two tolerances")]  # fmt: skip
    for one in found.departures:
        published: dict[str, Any] = {}
        if one.name in PELE:
            published = {"expected": PELE[one.name], "source_trials": 100, "source": "pele, 100 starts of unknown law"}
        both = (found.flow_entry >= 0) & (one.entry >= 0)
        agrees = int(np.sum(one.entry[both] == found.flow_entry[both]))
        rows.append(share(f"{name}: {one.name} agrees with the flow", agrees, int(both.sum()), **published))
    return rows


def measure(options: experiment.Options) -> Table:
    """Returns the agreement of optimizers with the flow on the cluster."""
    landscape, flow, ends = distortion.run(distortion.CLUSTER, NUM_STARTS // (20 if options.quick else 1))
    rows = rows_of("LJ13", basin_distortion(landscape, flow, ends))
    return stated("gradient_flow_basins", __doc__, rows)


def figure(result: Table) -> Any:
    """Returns the agreement of each optimizer with the flow."""
    drawn, (panel,) = experiment.panels("Which optimizer ends where the gradient flow does", 1, width=8, height=4)
    for line, row in enumerate(result.rows):
        panel.plot([row.low, row.high], [line, line], lw=2, color="#1b5e8c")
        panel.plot([row.measured], [line], "o", color="#1b5e8c")
        if row.expected is not None and row.relation == "equal":
            panel.plot([row.expected], [line], "k|", ms=10)
    panel.set_yticks(range(len(result.rows)), [row.statistic for row in result.rows], fontsize=7)
    panel.set(xlabel="share of starts (bars: intervals; black: published)", ylim=(len(result.rows) - 0.5, -0.5))
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
