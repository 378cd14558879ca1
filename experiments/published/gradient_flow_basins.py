r"""Optimizers send starts elsewhere than the gradient flow does, on Lennard-Jones clusters and on soft spheres.

Suryadevara, Casiulis and Martiniani 2024 (arXiv 2409.12113) found that L-BFGS and FIRE agree with the flow, solved by
CVODE, from few starts of packings. Here, from the same starts (seed 0): 13 Lennard-Jones atoms as in
`experiments.basins.distortion` (which states law, steps and stop), and 8 soft spheres, sum over pairs of
max(0, 1 - r)^2.5 / 2.5 in a periodic square of side 2 (packing fraction pi/2, jammed), starts uniform, gradient norm
1e-8. The shares of agreement are those of other laws of starts than the source's, hence predictions; for LJ13 an
earlier measurement with pele (100 starts of unknown law) stands beside ours. Gradient descent must agree the better the
smaller its step, and the flow with itself at two tolerances.
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgd
from experiments.basins import distortion
from experiments.published.rows import Row, Table, share, stated
from jaxgd import experiment
from jaxgd.flow import basin_distortion, gradient_flow
from jaxgd.transforms import fire, lbfgs

NUM_SPHERES, SIDE = 8, 2.0
NUM_STARTS = {"LJ13": 2_000, "soft spheres": 2_000}
PELE = {"L-BFGS": 0.46, "FIRE": 0.38}


def spheres() -> jaxgd.Landscape:
    """Returns soft discs in a periodic square, in units of their diameter and stiffness."""
    first, second = np.triu_indices(NUM_SPHERES, 1)

    def value(x: jax.Array) -> jax.Array:
        apart = x[first] - x[second]
        apart = apart - SIDE * jnp.round(apart / SIDE)
        square = jnp.sum(apart**2, axis=1)
        touches = square < 1
        length = jnp.sqrt(jnp.where(touches, square, 1.0))
        return jnp.sum(jnp.where(touches, (1 - length) ** 2.5, 0.0)) / 2.5

    return jaxgd.Landscape(
        name="soft_spheres",
        value=value,
        sample=lambda key: jax.random.uniform(key, (NUM_SPHERES, 2), maxval=SIDE),
        symmetry=jaxgd.symmetry.torus(SIDE) * jaxgd.symmetry.permutations(),
    )


def on_spheres(num: int) -> Any:
    """Returns the distortion of optimizers on soft spheres."""
    landscape, key = spheres(), jax.random.key(0)
    stop = jaxgd.Stop(gradient_norm=1e-8, max_steps=100_000)
    flow = gradient_flow(landscape, num, key=key, method="implicit", gradient_norm=1e-8)
    arms = {
        "gradient descent, step 0.5": optax.sgd(0.5),
        "gradient descent, step 0.05": optax.sgd(0.05),
        "L-BFGS": lbfgs(max_step=0.1),
        "FIRE": fire(0.05, max_step=0.1),
    }
    ends = {
        name: jaxgd.descend(landscape, optimizer, num, key=key, stop=stop, keep=("params",))
        for name, optimizer in arms.items()
    }
    return basin_distortion(landscape, flow, ends)


def rows_of(name: str, found: Any) -> list[Row]:
    """Returns the agreement of each optimizer with the flow."""
    rows = [share(f"{name}: the flow agrees with itself", round(found.self_agreement.value * found.num_starts),
                  found.num_starts, expected=0.9, relation="at_least", source="two tolerances")]  # fmt: skip
    for one in found.departures:
        published: dict[str, Any] = {}
        if name == "LJ13" and one.name in PELE:
            published = {"expected": PELE[one.name], "source_trials": 100, "source": "pele, 100 starts of unknown law"}
        both = (found.flow_entry >= 0) & (one.entry >= 0)
        agrees = int(np.sum(one.entry[both] == found.flow_entry[both]))
        rows.append(share(f"{name}: {one.name} agrees with the flow", agrees, int(both.sum()), **published))
    return rows


def measure(options: experiment.Options) -> Table:
    """Returns the agreement of optimizers with the flow on both landscapes."""
    rows, seen = [], {}
    scale = 20 if options.quick else 1
    landscape, flow, ends = distortion.run(distortion.CLUSTER, NUM_STARTS["LJ13"] // scale)
    seen["LJ13"] = basin_distortion(landscape, flow, ends)
    seen["soft spheres"] = on_spheres(NUM_STARTS["soft spheres"] // scale)
    for name, found in seen.items():
        rows += rows_of(name, found)
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
