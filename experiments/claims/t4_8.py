"""T4.8: Remedies against plateaus: another landscape, initialisation, cautious steps and clipping, batch normalisation.

The patient: a plain network of six sigmoid layers on the digits whose weights start at a third of the usual scale.
Each remedy is switched on alone: weights of the usual scale, relu for sigmoid, batch normalisation, skip connections,
clipping the gradient to norm 1, a warm-up of the rate. "Plateau": within 500 ticks the loss has not fallen below 1.5
(from ln 10 = 2.30). Gradient descent; every arm has the best of 6 rates from 0.03 to 10, by mean ticks on 4 starts of
their own; the same random numbers make the weights in all arms. Judged: by how much each lowers the share of plateaus.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jax import random

from jaxgd import Stop, experiment, landscapes
from jaxgd.experiment.arms import tuned
from jaxgd.experiment.charts import forest

PATIENT = dict(depth=2, width=8, connections="plain", activation="sigmoid", weight_scale=0.33, num_images=64, l2=0.0)
PLAIN = optax.sgd
REMEDIES: dict[str, tuple[dict[str, Any], Any]] = {
    "none": ({}, PLAIN),
    "usual weights": ({"weight_scale": 1.0}, PLAIN),
    "relu": ({"activation": "relu"}, PLAIN),
    "batch normalisation": ({"normalisation": "batch"}, PLAIN),
    "skip connections": ({"connections": "residual"}, PLAIN),
    "clipping": ({}, lambda learning_rate: optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(learning_rate))),
    "warm-up": ({}, lambda learning_rate: optax.chain(
        optax.scale_by_schedule(lambda step: jnp.minimum((step + 1) / 100, 1.0)), optax.sgd(learning_rate))),
}  # fmt: skip
STOP = Stop(gradient_norm=None, max_steps=500, at_event="learned")
EVENTS = {"learned": lambda params, value, gradient: value < 1.5}


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns which descents are left on the plateau under every remedy."""
    num_starts = 20 if options.quick else 256
    stuck, rates = {}, {}
    for name, (change, builder) in REMEDIES.items():
        network = landscapes.digits_network(**(PATIENT | change))
        arm = tuned(
            network, builder, num_starts, rates=np.geomspace(0.03, 10, 6), key=random.key(0), stop=STOP, events=EVENTS,
            num_tuning=4, cost=lambda ends: np.where(ends.event_steps["learned"] >= 0, ends.num_steps, 10_000),
        )  # fmt: skip
        stuck[name], rates[name] = np.asarray(arm.ends.event_steps["learned"]) < 0, arm.rate
        experiment.note(f"{name}: best rate {arm.rate:.2g}")
    return judge(stuck)


def judge(stuck: dict[str, np.ndarray]) -> experiment.Claim:
    """Returns the claim from flags (starts,) of the descents left on the plateau, by remedy."""
    rows = [experiment.share("patient, left on the plateau", stuck["none"], expected=0.5, relation="at_least")]
    rows += [
        experiment.mean(f"plateaus removed by {name}", stuck["none"] * 1.0 - flags, expected=0.25, relation="at_least",
                        is_outside=name in ("clipping", "warm-up"))
        for name, flags in stuck.items()
        if name != "none"
    ]  # fmt: skip
    return experiment.Claim(
        name="T4.8", rows=rows,
        claim="Plateaus are removed by other landscapes, initialisation, normalisation, caution.",
        condition="the remedy changes the landscape or the start; cautious steps do not cross a plateau",
    )  # fmt: skip


def figure(claim: experiment.Claim) -> Any:
    """Returns the effect of each remedy."""
    drawn, (panel,) = experiment.panels(
        "What removes plateaus: each remedy alone, against the same starts without it", 1, width=8
    )
    forest(panel, claim.rows, xlabel="share of descents")
    return drawn
