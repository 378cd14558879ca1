r"""Langevin descents cross a double well after the exact mean first passage, from which Kramers' formula is far.

V(x) = x^4/4 - x^2/2, start -1, dX = -V' dt + sqrt(2 eps) dW; steps of 0.04 and 0.02, levels lowered for looks between
steps and both extrapolated to step zero, as `experiments.escape.double_well` explains; stop at +1; seeds from 0. The
exact means are by quadrature (Gardiner, Handbook of Stochastic Methods, 5.2.7), the published ones are its table.
"""

import sys
from typing import Any

import numpy as np

from experiments.escape import double_well
from experiments.published.rows import Table, estimate, exact, stated
from jaxgd import experiment


def measure(options: experiment.Options) -> Table:
    """Returns first passages beside the exact column, and what Kramers' formula makes of them."""
    scale, rows, ratios = 0.02 if options.quick else 1.0, [], {}
    for number, (temperature, published) in enumerate(double_well.PUBLISHED.items()):
        num = int(double_well.NUM_DESCENTS[temperature] * scale)
        found = [
            double_well.simulate(temperature, step, num, 10 * number + i) for i, step in enumerate(double_well.STEPS)
        ]
        for (name, level), expected in zip(double_well.LEVELS.items(), published, strict=True):
            label = f"eps={temperature:g}, -1 to {level:g}"
            quadrature = double_well.passage(temperature, level)
            rows.append(exact(f"{label}: quadrature", quadrature, error=1e-6, expected=expected, tolerance=5.1e-5,
                              source="exact column (computed independently)"))  # fmt: skip
            value = 2 * found[1][name].mean() - found[0][name].mean()
            error = np.hypot(2 * found[1][name].std(ddof=1), found[0][name].std(ddof=1)) / np.sqrt(num)
            rows.append(estimate(f"{label}: descents, step to 0", value, error, 2 * num, expected=quadrature,
                                 source="exact first passage (Gardiner)"))  # fmt: skip
            if name == "right":
                kramers = double_well.kramers(temperature)
                rows.append(exact(f"eps={temperature:g}: Kramers less exact, share", kramers / quadrature - 1,
                                  error=1e-6, source="prediction; Kramers 1940 is exact as eps -> 0"))  # fmt: skip
                ratios[temperature] = (value / quadrature, 4 * error / quadrature, kramers / quadrature)
        experiment.note(f"eps = {temperature:g}: done")
    return stated("double_well_kramers", __doc__, rows, data={"ratios": ratios})


def figure(result: Table) -> Any:
    """Returns measured and Kramers' mean passages over the exact ones."""
    drawn, (panel,) = experiment.panels(
        "Descents agree with the exact passage; Kramers' formula is too short", 1, width=6
    )
    inverse = [1 / temperature for temperature in result.data["ratios"]]
    measured, half, kramers = np.array(list(result.data["ratios"].values())).T
    panel.axhline(1, color="0.5", lw=1)
    panel.errorbar(inverse, measured, half, fmt="o", color="black", capsize=3, label="descents")
    panel.plot(inverse, kramers, "o--", label="Kramers' formula")
    panel.set(xlabel="1 / temperature (1 / value)", ylabel="mean passage over the exact one")
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
