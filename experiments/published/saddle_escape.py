r"""Escape from a quadratic saddle takes ln(R/s) / ln(1 + eta) steps in every dimension, and no random start ends there.

Starts N(0, s^2) in every coordinate with s = 1e-6, gradient descent with step 0.05, escape at |x| >= 1; mean and
variance of the steps against the law of `experiments.escape.quadratic_saddle`, d = 2 to 10,000, seeds 1 to 5. Then a
million descents of a landscape with 3^4 critical points of which 2^4 are minima (sum of x_i^4/4 - x_i^2/2; starts
uniform in [-2, 2]^4, step 0.05 < 1/L, gradient norm 1e-8, seed 0): the share that ends at a saddle is zero by the
theorem of Lee, Simchowitz, Jordan and Recht (COLT 2016), and the million bounds it from above.
"""

import sys
from typing import Any

import jax
import numpy as np
import optax

import jaxgd
from experiments.escape import quadratic_saddle as law
from experiments.published.rows import Table, estimate, mean, share, stated
from jaxgd import experiment

NUM_ESCAPES = {2: 40_000, 10: 40_000, 100: 10_000, 1_000: 2_000, 10_000: 400}
NUM_DESCENTS, DIM, BLOCK = 1_000_000, 4, 100_000


def measure(options: experiment.Options) -> Table:
    """Returns mean and variance of escapes over dimensions, and how many random starts end at saddles."""
    expected_mean, expected_variance = law.law(law.GRADIENT_DESCENT)
    rows, times = [], {}
    for seed, (dim, num) in enumerate(NUM_ESCAPES.items(), start=1):
        num = max(num // 20, 100) if options.quick else num
        steps = np.asarray(law.dwell(dim, optax.sgd(law.LEARNING_RATE), num, seed, law.SCALE), float)
        times[dim] = steps
        rows.append(mean(f"quadratic saddle, d={dim:,}: mean steps", steps, expected=expected_mean,
                         source="derived: (ln(R/s) + 0.6352)/ln(1 + eta) + 1/2"))  # fmt: skip
        squares = (steps - steps.mean()) ** 2
        error = float(np.sqrt((np.mean(squares**2) - squares.mean() ** 2) / num))
        rows.append(estimate(f"quadratic saddle, d={dim:,}: variance", steps.var(ddof=1), error, num,
                             expected=expected_variance, source="derived: (pi^2/8)/ln^2(1 + eta) + 1/12"))  # fmt: skip
        experiment.note(f"d = {dim:,}: done")

    wells = jaxgd.landscapes.product_double_well(dim=DIM)
    at_saddle, others, num = 0, 0, NUM_DESCENTS // (20 if options.quick else 1)
    for first in range(0, num, BLOCK):
        found = jaxgd.survey(wells, optax.sgd(0.05), min(BLOCK, num - first), key=jax.random.key(first),
                             stop=jaxgd.Stop(gradient_norm=1e-8, max_steps=20_000), keep="catalogue")  # fmt: skip
        at_saddle += sum(found.verdicts.get(name, 0) for name in ("saddle", "maximum"))
        others += sum(count for name, count in found.verdicts.items() if name not in ("saddle", "maximum", "minimum"))
    rows.append(share("random starts that end at a strict saddle", at_saddle, num, expected=0.0,
                      source="Lee et al. 2016: probability 0"))  # fmt: skip
    rows.append(share("random starts whose end is no minimum", at_saddle + others, num, expected=0.0,
                      source="Lee et al. 2016, and convergence"))  # fmt: skip
    return stated("saddle_escape", __doc__, rows, data={"times": times})


def figure(result: Table) -> Any:
    """Returns mean steps over the dimension with the law, and the survival curves."""
    drawn, (left, right) = experiment.panels("The time at a quadratic saddle does not depend on the dimension")
    expected_mean, _ = law.law(law.GRADIENT_DESCENT)
    for dim, steps in result.data["times"].items():
        half = 4 * steps.std(ddof=1) / np.sqrt(steps.size)
        left.errorbar([dim], [steps.mean()], half, fmt="o", color="black", ms=4, capsize=3)
        right.step(np.sort(steps), 1 - np.arange(steps.size) / steps.size, where="post", lw=1, label=f"d = {dim:,}")
    left.axhline(expected_mean, color="#c2571a", label="law")
    left.set(xscale="log", xlabel="dimension", ylabel="mean steps to escape")
    right.set(xlabel="steps", ylabel="share still at the saddle")
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
