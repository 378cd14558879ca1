r"""Are the basin weights of gradient descent on Styblinski-Tang products of 0.5157 and 0.4843?

    value(x) = 1/2 sum_i (x_i^4 - 16 x_i^2 + 5 x_i),    starts uniform on [-5, 5]^d.

The coordinates never meet, and a step below (5 - m) / f'(5) = 0.0281 keeps each on its side of its maximum m =
0.15673126: the share (m + 5) / 10 = 0.515673 goes left, and the 2^d weights are products. The flow has the same
weights. A larger step throws starts far out over the maximum; then the weights are the optimizer's.
"""

import sys
from typing import Any

import jax
import numpy as np
import optax
import scipy

import jaxgd
from jaxgd import experiment
from jaxgd.experiment import Claim, Statistic
from jaxgd.statistics import proportion_interval, simultaneous_intervals

LEFT = 0.515673
LEARNING_RATE, RATES = 0.005, (0.010, 0.020, 0.027, 0.030, 0.035, 0.040, 0.050)
MAX_RATE = (5 - 0.15673126) / 172.5  # f'(5) = 172.5
DIMS = {2: 1_000_000, 4: 1_000_000, 8: 1_000_000}
STOP = jaxgd.Stop(gradient_norm=1e-8, max_steps=20_000)


def weights(dim: int) -> np.ndarray:
    """Returns the 2^dim exact weights; bit i of a basin's number says that coordinate i went right."""
    lefts = dim - np.array([bin(basin).count("1") for basin in range(2**dim)])
    return LEFT**lefts * (1 - LEFT) ** (dim - lefts)


def basins(ends: jaxgd.Ends, dim: int) -> np.ndarray:
    """Returns the number of the basin of each end."""
    return (np.asarray(ends.params) > 0) @ (1 << np.arange(dim))


def measure(options: experiment.Options) -> Claim:
    """Returns weights of basins against products, and how far larger steps depart from them."""
    rows: list[Statistic] = []
    table: dict[int, Any] = {}
    for dim, num in DIMS.items():
        num = num // 100 if options.quick else num
        landscape = jaxgd.landscapes.styblinski_tang(dim=dim)
        ends = jaxgd.descend(
            landscape,
            optax.sgd(LEARNING_RATE),
            num,
            key=jax.random.key(dim),
            stop=STOP,
            keep=("params",),
            engine=jaxgd.Engine(num_devices=len(jax.devices())),
        )
        points = jaxgd.classify(landscape, ends[:2_000])
        rows.append(
            experiment.share(
                f"d={dim}: ends that are minima (of the first 2,000)",
                points.verdict == int(jaxgd.Verdict.MINIMUM),
                expected=1.0,
                source="no other end",
            )
        )
        hits, expected = np.bincount(basins(ends, dim), minlength=2**dim), weights(dim)
        low, high = simultaneous_intervals(hits, num, experiment.CONFIDENCE)
        covered = int(np.sum((low <= expected) & (expected <= high)))
        rows.append(
            experiment.exactly(
                f"d={dim}: weights inside their simultaneous {100 * experiment.CONFIDENCE:g} % intervals",
                covered,
                expected=2**dim,
                source="products of 0.515673 and 0.484327",
                num_descents=num,
            )
        )
        went_left = np.asarray(ends.params).ravel() < 0
        z = (went_left.mean() - LEFT) / np.sqrt(LEFT * (1 - LEFT) / went_left.size)
        rows.append(
            experiment.share(
                f"d={dim}: a coordinate goes left",
                went_left,
                expected=LEFT,
                tolerance=5e-7,
                z=float(z),
                source="position of the maximum",
            )
        )
        chi_square = float(np.sum((hits - num * expected) ** 2 / (num * expected)))
        p_value = float(scipy.stats.chi2.sf(chi_square, 2**dim - 1))
        rows.append(
            Statistic(
                statistic=f"d={dim}: p-value of all {2**dim} weights at once",
                measured=p_value,
                low=p_value,
                high=1.0,
                expected=1e-3,
                relation="at_least",
                source="chi-square test of the products",
                num_descents=num,
            )
        )
        table[dim] = (hits / num, expected, *proportion_interval(hits, num, 0.95))
    num = 2_000 if options.quick else 100_000
    swept = jaxgd.sweep(
        jaxgd.landscapes.styblinski_tang(dim=1),
        optax.sgd,
        num,
        key=jax.random.key(99),
        stop=STOP,
        learning_rate=list(RATES),
        engine=jaxgd.Engine(num_devices=len(jax.devices())),
    )
    steps = {}
    for rate, ends in zip(RATES, swept.ends, strict=True):
        kept = ends.status == int(jaxgd.Status.CONVERGED)
        row = experiment.share(
            f"step {rate:g}: goes left",
            np.asarray(ends.params)[kept].ravel() < 0,
            expected=LEFT,
            tolerance=5e-7,
            source="position of the maximum",
            is_outside=rate > MAX_RATE,
        )
        rows.append(row)
        steps[rate] = row
    return Claim(
        name="basins.product_weights",
        claim="Gradient descent on Styblinski-Tang ends in each of the 2^d minima with the product of 0.5157 and "
        "0.4843 over its coordinates, and nowhere else.",
        rows=rows,
        condition="steps below 0.0281, which throw no start over the maximum",
        data={"table": table, "steps": steps},
    )


def figure(result: Claim) -> Any:
    """Returns measured against exact weights, and the share going left against the step."""
    drawn, (left, right) = experiment.panels(
        "Basin weights are products of 0.5157 and 0.4843 while steps are small; larger steps change them"
    )
    for dim, (share, expected, low, high) in reversed(result.data["table"].items()):
        order = np.argsort(expected)
        half = np.abs(np.array([share - low, high - share]))[:, order] / expected[order]
        middle = share[order] / expected[order]
        left.errorbar(expected[order] * 2**dim, middle, half, fmt="o", ms=3, lw=0.8, label=f"d = {dim}")
    left.axhline(1, color="black", lw=0.8)
    left.set(xlabel="exact weight x 2^d", ylabel="measured / exact weight, 95 % intervals")
    left.legend(fontsize=8)
    rates = list(result.data["steps"])
    rows = [result.data["steps"][rate] for rate in rates]
    middle = np.array([row.measured for row in rows])
    half = [middle - [row.low for row in rows], [row.high for row in rows] - middle]
    right.errorbar(rates, middle, half, fmt="o-", capsize=3, label="descents, 99.9 % interval")
    right.axhline(LEFT, color="black", lw=0.8, label="the flow's share, 0.5157")
    right.axvline(MAX_RATE, color="black", lw=0.8, ls=":", label="first start thrown over the maximum")
    right.set(xlabel="step (length^2 / value)", ylabel="share going left, d = 1")
    right.set_xticks([0.01, 0.02, 0.03, 0.04, 0.05])
    right.legend(fontsize=7, loc="upper left")
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
