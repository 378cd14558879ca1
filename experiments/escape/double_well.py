r"""How long does Langevin noise take to cross a barrier: does the exact first passage hold, and Kramers' formula?

    V(x) = x^4/4 - x^2/2,    dX = -V'(X) dt + sqrt(2 eps) dW,    from the left minimum -1 to a level b.

The exact mean of the first passage to b is (Gardiner, Handbook of Stochastic Methods, 5.2.7)

    T = (1/eps) int_{-1}^b exp(V(y)/eps) int_{-infinity}^y exp(-V(z)/eps) dz dy;

Kramers' formula for the mean escape over the barrier is (2 pi/sqrt 2) exp(1/(4 eps)), exact as eps -> 0 only.

The engine takes steps of time eta and looks at the level only between them, so it crosses late by a time of order
sqrt(eta). Lowering the level by 0.5826 sqrt(2 eps eta) (Broadie, Glasserman and Kou, Mathematical Finance 7, 325, 1997;
0.5826 = -zeta(1/2)/sqrt(2 pi)) leaves an error linear in eta, which two steps eta and 2 eta remove. What is left is
below 0.2 %, as the discrete chain itself says: its exact mean passage solves the integral equation

    u(x) = eta + int_{-infinity}^b p(y | x) u(y) dy,    y ~ N(x - eta V'(x), 2 eps eta),

here on Gauss-Legendre nodes. So the simulation is held against two exact numbers: that of the chain it runs, at each
step, and that of the continuous process, after extrapolation.
"""

import sys
from typing import Any

import jax
import numpy as np
import scipy

import jaxgd
from experiments.escape.moments import estimate_row
from jaxgd import experiment
from jaxgd.experiment import Claim
from jaxgd.landscapes.one_dimensional import double_well
from jaxgd.statistics import fit_escape

# temperature: published exact mean passages from -1 to +1 and to 0
PUBLISHED = {0.25: (14.2777, 5.7434), 0.15: (29.5460, 12.8679), 0.10: (66.2686, 30.8213), 0.05: (729.6707, 361.9038)}
NUM_DESCENTS = {0.25: 80_000, 0.15: 80_000, 0.10: 80_000, 0.05: 20_000}
STEPS = (0.04, 0.02)
LEVELS = {"right": 1.0, "top": 0.0}
OVERSHOOT = 0.5825971579390107  # -zeta(1/2) / sqrt(2 pi)
START, LOWEST = -1.0, -3.0
"""Where all descents start, and below what nobody comes: the stationary density there is exp(-63) or less."""


def passage(temperature: float, level: float) -> float:
    """Returns the exact mean time of the continuous process from the left minimum to a level, by quadrature."""
    inner = lambda y: scipy.integrate.quad(
        lambda z: np.exp((double_well(y) - double_well(z)) / temperature), LOWEST, y, limit=200
    )[0]
    return scipy.integrate.quad(inner, START, level, limit=200)[0] / temperature


def chain_passage(temperature: float, step: float, level: float) -> float:
    """Returns the exact mean time of the discrete chain from the left minimum to or beyond a level."""
    spread = np.sqrt(2 * temperature * step)
    nodes, weights = np.polynomial.legendre.leggauss(max(300, int(8 * (level - LOWEST) / spread)))
    nodes = LOWEST + (nodes + 1) * (level - LOWEST) / 2
    weights = weights * (level - LOWEST) / 2
    to_nodes = lambda x: scipy.stats.norm.pdf(nodes[None, :], (x - step * (x**3 - x))[:, None], spread) * weights
    later = np.linalg.solve(np.eye(nodes.size) - to_nodes(nodes), np.full(nodes.size, step))
    return float(step + (to_nodes(np.array([START])) @ later)[0])


def kramers(temperature: float) -> float:
    """Returns Kramers' mean time of escape over the barrier."""
    return float(np.pi * np.sqrt(2) * np.exp(1 / (4 * temperature)))


def lowered(level: float, temperature: float, step: float) -> float:
    """Returns the level that discrete looks must be given in place of `level`."""
    return level - OVERSHOOT * np.sqrt(2 * temperature * step)


def simulate(temperature: float, step: float, num_descents: int, seed: int) -> dict[str, np.ndarray]:
    """Returns the times of first passage to both levels of each descent."""
    at = {name: lowered(level, temperature, step) for name, level in LEVELS.items()}
    ends = jaxgd.descend(
        jaxgd.landscapes.double_well_1d(start=START + 1e-9, spread=0.0),  # at -1 itself the gradient would be zero
        jaxgd.transforms.langevin(step, temperature),
        num_descents,
        key=jax.random.key(seed),
        stop=jaxgd.Stop(gradient_norm=None, max_steps=10**8, at_event="right"),
        events={name: lambda x, value, gradient, level=level: x >= level for name, level in at.items()},
        keep=(),
        engine=jaxgd.Engine(num_devices=len(jax.devices())),
    )
    return {name: step * np.asarray(ends.event_steps[name]) for name in LEVELS}


def measure(options: experiment.Options) -> Claim:
    """Returns mean first passages against the exact column, the chain's own means, and Kramers."""
    share = 0.02 if options.quick else 1.0
    rows, times = [], {}
    for number, (temperature, published) in enumerate(PUBLISHED.items()):
        num = int(NUM_DESCENTS[temperature] * share)
        found = [simulate(temperature, step, num, 10 * number + i) for i, step in enumerate(STEPS)]
        for (name, level), expected in zip(LEVELS.items(), published, strict=True):
            label = f"eps={temperature:g}, -1 to {level:g}"
            means = [one[name].mean() for one in found]
            errors = [one[name].std(ddof=1) / np.sqrt(num) for one in found]
            exact = passage(temperature, level)
            rows.append(
                experiment.exactly(
                    f"{label}: quadrature",
                    exact,
                    error=1e-6,
                    expected=expected,
                    tolerance=5e-5,
                    source="published exact column",
                    num_descents=0,
                )
            )
            for step, mean, error in zip(STEPS, means, errors, strict=True):
                chain = chain_passage(temperature, step, lowered(level, temperature, step))
                rows.append(estimate_row(f"{label}: step {step:g}", mean, error, num, chain, "exact for the chain"))
            extrapolated = 2 * means[1] - means[0]
            error = float(np.hypot(2 * errors[1], errors[0]))
            row = estimate_row(f"{label}: step to 0", extrapolated, error, 2 * num, exact, "exact first passage")
            rows.append(row)
            if name == "right":
                rows.append(
                    experiment.exactly(
                        f"eps={temperature:g}: Kramers / exact",
                        kramers(temperature) / exact,
                        expected=1.0,
                        tolerance=0.05,
                        source="Kramers' formula",
                        is_outside=True,
                        num_descents=0,
                    )
                )
        times[temperature] = found[-1]["right"]
        fit = fit_escape(found[-1]["right"], np.ones(num, bool), "exponential", resolution=STEPS[-1])
        experiment.note(f"eps={temperature:g}: exponential law of single passages, p = {fit.p_value}")
    return Claim(
        name="escape.double_well",
        claim="Langevin descents cross the barrier of a double well after the exact mean first passage; Kramers' "
        "formula gives it within 5 %.",
        rows=rows,
        condition="the exact law holds at all four temperatures; Kramers' formula is 10 to 20 % short at each",
        data={"times": times},
    )


def figure(result: Claim) -> Any:
    """Returns mean passages over temperature against exact law and Kramers, and their ratio to the exact one."""
    drawn, (left, right) = experiment.panels(
        "First passages of a double well agree with the exact law; Kramers' formula is 10 to 20 % short"
    )
    temperatures = sorted(PUBLISHED)
    grid = np.linspace(0.05, 0.26, 60)
    exact = np.array([passage(temperature, 1.0) for temperature in grid])
    formula = np.array([kramers(temperature) for temperature in grid])
    rows = {row.statistic: row for row in result.rows}
    found = [rows[f"eps={temperature:g}, -1 to 1: step to 0"] for temperature in temperatures]
    middle = np.array([row.measured for row in found])
    half = np.array([row.high - row.measured for row in found])
    at_found = np.array([row.expected for row in found], float)
    inverse = 1 / np.array(temperatures)
    left.plot(1 / grid, exact, label="exact first passage")
    left.plot(1 / grid, formula, "--", label="Kramers' formula")
    left.errorbar(inverse, middle, half, fmt="o", color="black", ms=4, label="descents, step to 0")
    left.set(xlabel="1 / temperature (1 / value)", ylabel="mean time from -1 to +1", yscale="log")
    left.legend(fontsize=8)
    right.axhline(1, label="exact first passage")
    right.plot(1 / grid, formula / exact, "--", color="#c2571a", label="Kramers' formula")
    right.errorbar(
        inverse,
        middle / at_found,
        half / at_found,
        fmt="o",
        color="black",
        ms=4,
        capsize=3,
        label="descents, 99.9 % interval",
    )
    right.set(xlabel="1 / temperature (1 / value)", ylabel="mean time / exact mean time", ylim=(0.7, 1.15))
    right.legend(fontsize=7, loc="lower right")
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
