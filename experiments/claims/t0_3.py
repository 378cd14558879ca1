"""T0.3: Rugged against smooth: smooth wins.

Final loss of gradient descent on `rugged_bowl` (ten dimensions): a bowl with bumps of tunable size, convex up to
ruggedness 1, with no minimum but 0 at the origin up to 4.6. Two arms: plain descent, and Gaussian noise on the
gradient that is annealed to zero, each with the best of 8 rates at each ruggedness, chosen on 16 starts of their own;
1,000 ticks from the same starts. Judged is plain descent's mean difference from the smooth bowl of ruggedness 0.5,
start by start; where the bumps leave it with one minimum (ruggedness 4) lies outside the condition.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jax import random

from jaxgd import Stop, experiment, landscapes, transforms
from jaxgd.experiment.arms import tuned, values_at
from jaxgd.experiment.charts import with_intervals

DIM, NUM_STEPS, SMOOTH, SINGLE, JUDGED_AT = 10, 1_000, 0.5, 4.0, (10.0, 100.0)
STOP = Stop(gradient_norm=1e-9, max_steps=NUM_STEPS)
ARMS = {
    "gradient descent": optax.sgd,
    "annealed noise": lambda learning_rate: optax.chain(
        transforms.add_gradient_noise(lambda step: 5.0 * jnp.maximum(1 - 2 * step / NUM_STEPS, 0)),
        optax.sgd(learning_rate),
    ),
}


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns the final losses of every arm at every ruggedness."""
    num_starts, all_rugged = (32, (SMOOTH, SINGLE, *JUDGED_AT)) if options.quick else (
        512, (SMOOTH, 1.0, 2.0, SINGLE, 5.0, 7.0, 10.0, 20.0, 50.0, 100.0))  # fmt: skip
    losses = {}
    for rugged in all_rugged:
        bowl = landscapes.rugged_bowl(dim=DIM, ruggedness=rugged)
        for name, builder in ARMS.items():
            rates = np.geomspace(1e-2, 30, 8) / (1 + rugged)
            arm = tuned(bowl, builder, num_starts, rates=rates, key=random.key(0), stop=STOP)
            losses[name, rugged] = values_at(bowl, arm.ends.params)
    return judge(losses)


def judge(losses: dict[tuple[str, float], np.ndarray]) -> experiment.Claim:
    """Returns the claim from the final losses (starts,) of each arm at each ruggedness."""
    plain = {rugged: values for (name, rugged), values in losses.items() if name == "gradient descent"}
    rows = [
        experiment.mean(
            f"loss at ruggedness {rugged:g} minus that at {SMOOTH}", plain[rugged] - plain[SMOOTH],
            expected=1e-3, relation="at_least", is_outside=rugged == SINGLE,
        )
        for rugged in (*JUDGED_AT, SINGLE)
    ]  # fmt: skip
    rows += [
        experiment.mean(f"loss of gradient descent minus that with {name}, ruggedness 10",
                        plain[10.0] - losses[name, 10.0])
        for name in list(ARMS)[1:]
    ]  # fmt: skip
    return experiment.Claim(
        name="T0.3", rows=rows,
        data={"losses": {where: experiment.mean("", values) for where, values in losses.items()}},
        claim="On a smooth landscape descent ends lower than on a rugged one.",
        condition="the bumps are steep enough to make minima of their own",
    )  # fmt: skip


def figure(claim: experiment.Claim) -> Any:
    """Returns final loss against ruggedness."""
    title = "Bumps cost nothing until they make minima of their own (ruggedness 4.6); annealed noise crosses some"
    drawn, (panel,) = experiment.panels(title, 1, width=7)
    for name in ARMS:
        at = sorted(rugged for arm, rugged in claim.data["losses"] if arm == name)
        with_intervals(panel, at, [claim.data["losses"][name, rugged] for rugged in at], name)
    panel.axvline(4.603, color="black", ls=":", lw=1)
    panel.set(xscale="log", yscale="symlog", xlabel="ruggedness", ylabel="mean final loss")
    panel.set_ylim(bottom=-0.1)
    panel.legend()
    return drawn
