"""T3.2: RMSProp's alpha lets the rate follow a surface whose steepness changes along the way.

Ticks until both coordinates are within half a unit of the bottom of `changing_valley`: walls of slope `steepness`,
then a floor of slope 1. Root-mean AdaGrad remembers the walls for ever, RMSProp for about 1 / (1 - alpha) steps (with
the correction of its start, so that its first step is as long as any). Each arm (root-mean AdaGrad; RMSProp with alpha
0.5, 0.9, 0.99, 0.999) has the best of 12 rates over three decades, chosen on 16 starts of their own; same starts for
all. The claim is judged by the ratio of their ticks, start by start, where the slope changes by a factor of 100, and
outside its condition where it does not change.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jax import random

from jaxgd import Stop, experiment, landscapes, transforms
from jaxgd.experiment.arms import ticks_to, tuned
from jaxgd.experiment.charts import with_intervals

MAX_STEPS, STEEP, EVEN = 5_000, 100.0, 0.01
STOP = Stop(gradient_norm=None, max_steps=MAX_STEPS, at_event="near")
EVENTS = {"near": lambda x, value, gradient: jnp.max(jnp.abs(x)) <= 0.5}
ROOT_MEAN, JUDGED = "root-mean AdaGrad", "RMSProp, alpha 0.9"
ARMS = {
    ROOT_MEAN: lambda learning_rate: optax.chain(
        transforms.scale_by_root_mean_square(), optax.scale_by_learning_rate(learning_rate)
    )
} | {
    f"RMSProp, alpha {alpha:g}": lambda learning_rate, alpha=alpha: optax.rmsprop(
        learning_rate, decay=alpha, bias_correction=True
    )
    for alpha in (0.5, 0.9, 0.99, 0.999)
}


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns the ticks of every arm in valleys that change and in one that does not."""
    num_starts, changes = (128, (EVEN, STEEP)) if options.quick else (1024, (EVEN, 1.0, 10.0, STEEP, 1000.0))
    ticks = {}
    for steepness in changes:
        valley = landscapes.changing_valley(steepness=steepness)
        for name, builder in ARMS.items():
            arm = tuned(
                valley, builder, num_starts, rates=np.geomspace(3e-3, 3, 12), key=random.key(0), stop=STOP,
                events=EVENTS, cost=lambda ends: np.minimum(ticks_to(ends, "near"), 10 * MAX_STEPS),
            )  # fmt: skip
            ticks[steepness, name] = ticks_to(arm.ends, "near")
    return judge(ticks)


def judge(ticks: dict[tuple[float, str], np.ndarray]) -> experiment.Claim:
    """Returns the claim from the ticks (starts,) of each arm in each valley, inf where it did not get there."""
    capped = {where: np.minimum(values, MAX_STEPS) for where, values in ticks.items()}
    rows = [
        experiment.median(
            f"slope {'times ' + format(steepness, 'g') if steepness > 1 else 'even'}: ticks of {ROOT_MEAN} over {name}",
            capped[steepness, ROOT_MEAN] / capped[steepness, name],
            expected=1.1, relation="at_least", is_outside=steepness == EVEN,
        )
        for steepness in (STEEP, EVEN)
        for name in (JUDGED, "RMSProp, alpha 0.99")
    ]  # fmt: skip
    return experiment.Claim(
        name="T3.2", rows=rows,
        data={"ticks": {where: experiment.median("", values) for where, values in capped.items()}},
        claim="Where the steepness changes along the way, RMSProp is faster than root-mean AdaGrad.",
        condition="the steepness changes along the way",
    )  # fmt: skip


def figure(claim: experiment.Claim) -> Any:
    """Returns ticks against the change of slope, and against alpha."""
    gain = claim.rows[0].measured
    title = f"RMSProp forgets the walls: {gain:.1f} times fewer ticks than root-mean AdaGrad where the slope changes"
    drawn, (panel,) = experiment.panels(title, 1, width=7)
    for name in ARMS:
        at = sorted(steepness for steepness, arm in claim.data["ticks"] if arm == name)
        with_intervals(panel, at, [claim.data["ticks"][steepness, name] for steepness in at], name)
    panel.set(xscale="log", yscale="log", xlabel="slope of the walls over that of the floor", ylabel="median ticks")
    panel.legend()
    return drawn
