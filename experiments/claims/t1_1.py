"""T1.1: A grid of 10 cells an axis is hopeless in high dimension; descent is not.

Evaluations until 90 % of the depth of a double well in every coordinate (all minima are equally deep), in 1 to 1,000
dimensions: a grid in random order, random search, and descent, its rate tuned over 8 values on 16 starts, a gradient
charged as d + 1 evaluations. Grid and random search are counted where they can be, beyond that bounded from below
(Chernoff). Then where minima differ: how many descents find the global one of Styblinski-Tang and of Rastrigin.
"""

import itertools
from typing import Any

import jax
import numpy as np
import optax

from jaxgd import Stop, descend, experiment, landscapes
from jaxgd.experiment.arms import ticks_to, tuned

DEPTH = -0.9 / 4  # of each coordinate, on average; the minima have -1/4
CENTRES = np.arange(-1.8, 2, 0.4)
DRAWS = np.random.default_rng(0).uniform(-2, 2, 10**6)
well = lambda x: x**4 / 4 - x**2 / 2


def measure(options: experiment.Options) -> experiment.Claim:
    """Searches the double well in three ways, then counts coordinates that descent brings to the global minimum."""
    count = 64 if options.quick else 512
    costs = {"grid": {}, "random search": {}, "descent": {}}
    for dim in (1, 3, 10, 30, 100, 300, 1000):
        arm = tuned(
            landscapes.product_double_well(dim=dim), optax.sgd, count, rates=np.geomspace(0.01, 1, 8),
            key=jax.random.key(0), stop=Stop(gradient_norm=1e-6, max_steps=2000, at_event="deep"),
            events={"deep": lambda x, value, grad: value <= DEPTH * x.size},
            cost=lambda ends: np.minimum(ticks_to(ends, "deep"), 2000),
        )  # fmt: skip
        costs["descent"][dim] = (ticks_to(arm.ends, "deep") + 1) * (dim + 1)
    for dim in (1, 2, 3, 4, 5):
        on_grid = np.mean([np.mean(well(np.array(x))) <= DEPTH for x in itertools.product(CENTRES, repeat=dim)])
        costs["grid"][dim] = (10**dim + 1) / (10**dim * on_grid + 1)  # until the first of them, in random order
        costs["random search"][dim] = 1 / np.mean(well(DRAWS[: 10**6 // dim * dim].reshape(-1, dim)).mean(1) <= DEPTH)
    right = {}
    for name, best, step in (("styblinski_tang", -2.9035, 0.005), ("rastrigin", 0.0, 0.002)):
        ends = descend(getattr(landscapes, name)(dim=100), optax.sgd(step), count, key=jax.random.key(1))
        right[name] = np.abs(np.asarray(ends.params) - best).ravel() < 0.1
    return judge(costs, right)


def log10_at_least(values: np.ndarray, dim: int) -> float:
    """Returns a lower bound on log10(1 / P(mean of `dim` draws from `values` <= DEPTH)): Chernoff's, best tilt."""
    tilts = np.linspace(0, 400, 401)[:, None]
    rate = -np.log(np.mean(np.exp(-tilts * (values[None, :] - DEPTH)), axis=1))
    return dim * float(np.max(rate)) / np.log(10)


def judge(costs: dict[str, dict[int, Any]], right: dict[str, np.ndarray]) -> experiment.Claim:
    """Returns the claim from evaluations by method and dimension, and which coordinates ended at the global minimum."""
    bounds = {"grid": well(CENTRES), "random search": well(DRAWS[:2000])}
    dims, medians = zip(*((dim, np.median(cost)) for dim, cost in costs["descent"].items()), strict=True)
    rows = [
        *(experiment.exactly(f"{method}, d = 1000: log10 of evaluations, at least", log10_at_least(values, 1000),
                             at_least=30, source="no computer does 10^30") for method, values in bounds.items()),
        experiment.median("descent, d = 1000: evaluations, d + 1 for each gradient", costs["descent"][1000],
                          at_most=1e6, source="seconds on a computer"),
        experiment.slope("descent: exponent b of evaluations ~ d^b", dims, medians, at_most=1.5, source="polynomial",
                         num_descents=sum(np.size(cost) for cost in costs["descent"].values())),
    ]  # fmt: skip
    for name, flags in right.items():
        one = experiment.share(name, flags, num_descents=flags.size // 100)
        low, middle, high = (-1000 * np.log10(p) for p in (one.high, one.measured, max(one.low, 1e-9)))
        rows.append(experiment.Statistic(
            statistic=f"{name}, d = 1000: log10 of descents until the global minimum", measured=middle, low=low,
            high=high, expected=30, relation="at_most", source="as above", is_outside=True,
            num_descents=flags.size // 100,
        ))  # fmt: skip
    condition = "where any minimum is deep enough; to find the global one of many, descent is hopeless, too"
    return experiment.stated(__doc__, rows, condition=condition, data={"costs": costs, "bounds": bounds})


def figure(claim: experiment.Claim) -> Any:
    """Draws evaluations against dimension, dashed where they are lower bounds."""
    gradients = np.median(claim.data["costs"]["descent"][1000]) / 1001
    title = f"90 % of a double well's depth in 1,000 dimensions: {gradients:.0f} gradients, or 10^400 points of a grid"
    drawn, (axis,) = experiment.panels(title, 1, width=6.5, height=4.2)
    dims = np.geomspace(1, 1000, 50)
    for colour, (method, costs) in enumerate(claim.data["costs"].items()):
        axis.plot(list(costs), [np.log10(np.median(c)) for c in costs.values()], "o-", color=f"C{colour}", label=method)
        if method in claim.data["bounds"]:
            bound = [log10_at_least(claim.data["bounds"][method], dim) for dim in dims]
            axis.plot(dims, bound, "--", color=f"C{colour}", label=f"{method}, at least")
    axis.plot(dims, dims, ":", color="black", label="whole grid, 10^d")
    axis.set(xscale="log", xlabel="dimension d", ylabel="log10 of evaluations", ylim=(-0.5, 20))
    return drawn
