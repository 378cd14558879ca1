"""T3.1: Each coordinate wants its own rate; the root mean square of its past gradients gives it.

Ticks until a descent of a ten-dimensional quadratic is within 0.03 of the minimum in every coordinate (root mean
square), for condition numbers from 10 up, with the curvatures along the axes or along a random basis. Arms: gradient
descent, root-mean AdaGrad, RMSProp, Adam; each with the best of 12 rates over three decades, chosen on 16 starts of
their own, same starts for all. The claim is judged by the ratio of gradient descent's ticks to the others', start by
start, at condition number 1,000.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jax import random
from matplotlib.figure import Figure

from jaxgd import Stop, experiment, landscapes, transforms
from jaxgd.experiment.arms import ticks_to, tuned
from jaxgd.experiment.charts import with_intervals

DIM, NEAR, MAX_STEPS, JUDGED_AT = 10, 0.03, 10_000, 1000.0
STOP = Stop(gradient_norm=None, max_steps=MAX_STEPS, at_event="near")
EVENTS = {"near": lambda x, value, gradient: jnp.sqrt(jnp.mean(x**2)) <= NEAR}
ARMS = {
    "gradient descent": lambda learning_rate, condition: optax.sgd(learning_rate * 2 / condition),
    "root-mean AdaGrad": lambda learning_rate, condition: optax.chain(
        transforms.scale_by_root_mean_square(), optax.scale_by_learning_rate(learning_rate)
    ),
    "RMSProp": lambda learning_rate, condition: optax.rmsprop(learning_rate, bias_correction=True),
    "Adam": lambda learning_rate, condition: optax.adam(learning_rate),
}
RATES = np.geomspace(1e-3, 1, 12)


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns the ticks of every arm on every quadratic."""
    conditions, num_starts = ([1000.0], 64) if options.quick else ([10.0, 100.0, 1000.0], 256)
    ticks: dict[tuple[str, float, str], np.ndarray] = {}
    for axes in ("aligned", "rotated"):
        for condition in conditions:
            bowl = landscapes.quadratic_bowl(dim=DIM, condition_number=condition, axes=axes)
            for name, builder in ARMS.items():
                arm = tuned(
                    bowl, builder, num_starts, rates=RATES, key=random.key(0), stop=STOP, events=EVENTS,
                    cost=lambda ends: np.minimum(ticks_to(ends, "near"), 10 * MAX_STEPS), condition=condition,
                )  # fmt: skip
                ticks[axes, condition, name] = ticks_to(arm.ends, "near")
            experiment.note(f"{axes}, condition number {condition:g}")
    return judge(ticks)


def judge(ticks: dict[tuple[str, float, str], np.ndarray]) -> experiment.Claim:
    """Returns the claim from the ticks (starts,) of each arm on each quadratic, inf where it did not get there."""
    rows = []
    for axes in ("aligned", "rotated"):
        for name in list(ARMS)[1:]:
            plain, other = (np.minimum(ticks[axes, JUDGED_AT, arm], MAX_STEPS) for arm in ("gradient descent", name))
            judged: dict[str, Any] = dict(expected=2, relation="at_least", is_outside=axes == "rotated")
            rows.append(
                experiment.median(f"{axes}: gradient descent's ticks over those of {name}", plain / other, **judged)
            )
    curves = {key: experiment.median("", np.minimum(values, MAX_STEPS)) for key, values in ticks.items()}
    return experiment.Claim(
        name="T3.1", rows=rows, data={"ticks": curves},
        claim="A rate for each coordinate, from its root mean square gradient, beats one rate for all.",
        condition="the steep and the flat directions lie along the coordinate axes",
    )  # fmt: skip


def figure(claim: experiment.Claim) -> Any:
    """Returns ticks against the condition number, aligned and rotated."""
    drawn = Figure(figsize=(9, 4), layout="constrained")
    for panel, axes in zip(drawn.subplots(1, 2, sharey=True), ("aligned", "rotated"), strict=True):
        for name in ARMS:
            at = sorted(condition for kind, condition, arm in claim.data["ticks"] if (kind, arm) == (axes, name))
            with_intervals(panel, at, [claim.data["ticks"][axes, condition, name] for condition in at], name)
        panel.set_xlim(5, 2e4)
        panel.set(xscale="log", yscale="log", xlabel="condition number", title=f"curvatures {axes}")
        panel.grid(alpha=0.3)
    drawn.axes[0].set_ylabel(f"median ticks to within {NEAR}")
    drawn.axes[0].legend()
    drawn.suptitle("Rates for each coordinate win where the curvatures lie along the axes")
    return drawn
