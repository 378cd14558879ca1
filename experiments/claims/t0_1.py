"""T0.1: Aim small: large, sparse goals give noise and divergence.

`sparse_goal` in ten dimensions: a Gaussian well of depth 1, felt from about `width` of the distance at which descents
start, with noise of standard deviation 0.01 on every coordinate of the gradient, or none. Success: the exact value
ends below half the depth; astray: the end is farther from the goal than ten times the start. Gradient descent with the
best of 12 rates over six decades for each width and noise, chosen on 32 starts of their own; 1,000 ticks, the same
starts and noise for all. Judged: success at the widest goal, how much of it is lost at the narrowest, start by start,
and the share astray where the goal is 100 times as high, at the rate tuned for height 1.
"""

from typing import Any

import numpy as np
import optax
from jax import random

from jaxgd import Stop, descend, experiment, landscapes
from jaxgd.experiment.arms import tuned, values_at
from jaxgd.experiment.charts import with_intervals

DIM, STOP = 10, Stop(gradient_norm=None, max_steps=1_000)


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns success and distance at the end for goals of every width and noise."""
    widths, noises, num_starts = (
        ([1.0, 0.3, 0.2, 0.12], [0.0, 0.01], 128)
        if options.quick
        else ([1.0, 0.7, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.12], [0.0, 0.003, 0.01, 0.03], 512)
    )
    success, astray = {}, {}
    for noise in noises:
        for width in widths:
            goal = landscapes.sparse_goal(dim=DIM, width=width, noise=noise)
            arm = tuned(
                goal, optax.sgd, num_starts, rates=DIM * width**2 * np.geomspace(1e-1, 1e5, 12), key=random.key(0),
                stop=STOP, num_tuning=32, is_noisy=noise > 0,
            )  # fmt: skip
            success[noise, width] = values_at(goal, arm.ends.params) < 0.5
            astray[noise, width] = np.linalg.norm(arm.ends.params, axis=1) > 10 * DIM**0.5
            if (noise, width) == (0.0, 1.0):
                high = landscapes.sparse_goal(dim=DIM, height=100.0)
                ends = descend(high, optax.sgd(arm.rate), num_starts, key=random.key(1), stop=STOP)
                astray["high"] = np.linalg.norm(ends.params, axis=1) > 10 * DIM**0.5
    return judge(success, astray)


def judge(success: dict[tuple[float, float], np.ndarray], astray: dict) -> Any:
    """Returns the claim from flags (starts,) by noise and width, and of the high goal."""
    widest, narrowest = (pick(width for _, width in success) for pick in (max, min))
    rows = []
    for noise in (0.0, 0.01):
        wide, narrow = success[noise, widest], success[noise, narrowest]
        rows += [
            experiment.share(f"noise {noise:g}, width {widest:g}: success", wide, expected=0.9, relation="at_least"),
            experiment.mean(f"noise {noise:g}, width {narrowest:g}: success lost", wide * 1.0 - narrow, expected=0.5,
                            relation="at_least"),
            experiment.share(f"noise {noise:g}, width {narrowest:g}: astray", astray[noise, narrowest]),
        ]  # fmt: skip
    rows += [
        experiment.mean("width 0.3: success lost by noise 0.01", success[0.0, 0.3] * 1.0 - success[0.01, 0.3]),
        experiment.share("height 100 at the rate for height 1: astray", astray["high"], expected=0.5,
                         relation="at_least"),
    ]  # fmt: skip
    return experiment.Claim(
        name="T0.1", rows=rows, data={"success": {where: experiment.share("", f) for where, f in success.items()}},
        claim="Goals that are felt only from near are missed, and large ones throw descents off.",
    )  # fmt: skip


def figure(claim: experiment.Claim) -> Any:
    """Returns success against width for every noise."""
    narrowest = min(width for _, width in claim.data["success"])
    reached = claim.data["success"][0.01, narrowest].measured
    title = (
        f"The sparser the goal, the fewer reach it: {reached:.0%} where it is felt from {narrowest:g} of the distance"
    )
    drawn, (panel,) = experiment.panels(title, 1, width=7)
    for noise in sorted({noise for noise, _ in claim.data["success"]}):
        at = sorted(width for kind, width in claim.data["success"] if kind == noise)
        label = f"noise {noise:g}"
        with_intervals(panel, at, [claim.data["success"][noise, width] for width in at], label)
    panel.set(xlabel="width of the goal (sparse goals to the left)", ylabel="share that reaches it", ylim=(-0.03, 1.03))
    panel.legend()
    return drawn
