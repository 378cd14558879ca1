"""T0.8: Simple is best for hard goals, against: structure is best.

Gradient descent against momentum, Adam, L-BFGS and a trust-region Newton method over a zoo, at equal cost: 1,000
gradients for each descent, a Hessian-vector product counted as two (so that Newton, with five a step, gets 90 steps).
Every arm has the best of 8 rates (step limits, radii) on each landscape over its own four decades, by mean final value
on 16 starts of their own; same starts for all. Judged: how often gradient descent ends no higher than the other, ties
(within a thousandth of the spread of all ends) counted half, over the hard landscapes, those with many minima; outside
the condition are the merely ill-conditioned ones.
"""

from typing import Any

import numpy as np
import optax
from jax import random

from jaxgd import Stop, experiment, landscapes, transforms
from jaxgd.experiment.arms import tuned, values_at
from jaxgd.experiment.charts import forest

HARD = {
    "rugged bowl": landscapes.rugged_bowl(dim=10, ruggedness=10.0),
    "Gaussian field": landscapes.gaussian_field(dim=5, m=0.3),
    "two-layer ReLU": landscapes.two_layer_relu(k=6, n=6),
    "Styblinski-Tang": landscapes.styblinski_tang(dim=10),
}
STIFF = {
    "quadratic bowl": landscapes.quadratic_bowl(dim=10, condition_number=1000.0, axes="rotated"),
    "Rosenbrock": landscapes.rosenbrock(dim=10),
}
BUDGET, NEWTON_PRODUCTS = 1_000, 5
ARMS: dict[str, tuple[Any, float, int]] = {  # builder of the rate, largest rate, steps
    "gradient descent": (optax.sgd, 3.0, BUDGET),
    "momentum": (lambda rate: optax.sgd(rate, momentum=0.9), 3.0, BUDGET),
    "Adam": (optax.adam, 3.0, BUDGET),
    "L-BFGS": (lambda rate: transforms.lbfgs(max_step=rate), 100.0, BUDGET),
    "Newton": (
        lambda rate: transforms.trust_region_newton(initial_radius=rate, max_radius=10 * rate,
                                                    max_products=NEWTON_PRODUCTS),
        10.0, BUDGET // (1 + 2 * NEWTON_PRODUCTS)),
}  # fmt: skip


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns the final values of every arm on every landscape."""
    num_starts = 64 if options.quick else 512
    zoo = HARD | STIFF
    if options.quick:
        zoo = {name: zoo[name] for name in ("rugged bowl", "Styblinski-Tang", "quadratic bowl")}
    finals: dict[tuple[str, str], np.ndarray] = {}
    for place, landscape in zoo.items():
        for name, (builder, largest, steps) in ARMS.items():
            first = "learning_rate" if builder in (optax.sgd, optax.adam) else "rate"
            arm = tuned(
                landscape, builder, num_starts, name=first, rates=largest * np.geomspace(1e-4, 1, 8),
                key=random.key(0), stop=Stop(gradient_norm=1e-10, max_steps=steps),
            )  # fmt: skip
            values = values_at(landscape, arm.ends.params)
            finals[place, name] = np.where(np.isfinite(values), values, np.inf)
        experiment.note(f"{place} done")
    return judge(finals)


def judge(finals: dict[tuple[str, str], np.ndarray]) -> experiment.Claim:
    """Returns the claim from the final values (starts,) by landscape and arm."""
    places = list(dict.fromkeys(place for place, _ in finals))
    rows = []
    for kind, zoo in (("many minima", HARD), ("ill-conditioned", STIFF)):
        for name in list(ARMS)[1:]:
            wins = [score(finals, place, name) for place in places if place in zoo]
            rows.append(experiment.mean(f"{kind}: gradient descent ends no higher than {name}", np.concatenate(wins),
                                        expected=0.5, relation="at_least", is_outside=zoo is STIFF))  # fmt: skip
    return experiment.Claim(
        name="T0.8", rows=rows, claim="On hard landscapes plain descent ends as low as structured methods.",
        condition="the landscape is hard by its many minima, not by its conditioning",
        data={(place, name): float(np.median(values)) for (place, name), values in finals.items()},
    )  # fmt: skip


def score(finals: dict[tuple[str, str], np.ndarray], place: str, name: str) -> np.ndarray:
    """Returns 1 where gradient descent ends lower, 1/2 where it ties, 0 where it ends higher."""
    every = np.concatenate([values for (where, _), values in finals.items() if where == place])
    tie = 1e-3 * np.ptp(np.quantile(every[np.isfinite(every)], [0.05, 0.95]))
    plain, other = finals[place, "gradient descent"], finals[place, name]
    return np.where(plain < other - tie, 1.0, np.where(plain > other + tie, 0.0, 0.5))


def figure(claim: experiment.Claim) -> Any:
    """Returns how often plain descent ends no higher."""
    drawn, (panel,) = experiment.panels("How often plain descent ends no higher than a structured method", 1, width=9)
    forest(panel, claim.rows, xlabel="share of starts, ties half")
    panel.axvline(0.5, color="black", lw=1)
    return drawn
