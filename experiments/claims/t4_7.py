"""T4.7: The true danger is flat regions: long crossings, or steps that halve and never arrive.

Plain networks of six layers on the digits, gradient descent at rate 0.3 (sigmoid 3), 1,000 ticks, from the same starts
but for the scale of the weights and the activation. Time until the loss has fallen below 1.5 (from ln 10 = 2.30), as
survival curves, and the share of descents that a patience of 250 ticks without an improvement of a thousandth calls a
plateau before that, with their loss. Rates are stated, not tuned: tuning cannot remove a plateau, only cross it
faster, and every activation has the largest rate that keeps its normal start stable. The halving example: on a
parabola of curvature 1 the step sizes 1/2, 1/4, 1/8, ... stop at the product of (1 - 2^-k), 0.288788 of the way from
the minimum.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd import Status, Stop, descend, experiment, landscapes
from jaxgd.statistics import survival_curve

ACTIVATIONS = {"sigmoid": 3.0, "tanh": 0.3, "relu": 0.3}
SCALES = (0.1, 1.0)
STOP = Stop(gradient_norm=1e-12, max_steps=1_000, patience=250, improvement=1e-3, at_event="learned")
EVENTS = {"learned": lambda params, value, gradient: value < 1.5}
REST = float(np.prod(1 - 0.5 ** np.arange(1, 60)))


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns how each descent ended, by activation and scale of the weights."""
    num_starts = 48 if options.quick else 512
    found = {}
    for activation, rate in ACTIVATIONS.items():
        network = landscapes.digits_network(
            depth=2, width=8, connections="plain", activation=activation, num_images=128, l2=0.0
        )
        starts = jax.vmap(network.sample)(jax.random.split(jax.random.key(0), num_starts))
        scaled = [jax.tree.map(lambda leaf, times=scale: times * leaf, starts) for scale in SCALES]
        both = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *scaled)
        ends = descend(network, optax.sgd(rate), starts=both, key=jax.random.key(1), stop=STOP, events=EVENTS)
        for place, scale in enumerate(SCALES):
            mine = ends[place * num_starts : (place + 1) * num_starts]
            found[activation, scale] = {
                "steps": np.where(mine.status == Status.PLATEAU, STOP.max_steps, mine.num_steps),
                "learned": mine.status == Status.STOPPED_BY_EVENT,
                "plateau": mine.status == Status.PLATEAU,
                "value": np.asarray(mine.value),
            }
    halving = optax.sgd(lambda step: 0.5 ** (step + 1.0))
    bowl = landscapes.quadratic_bowl(dim=1)
    starts = jax.vmap(bowl.sample)(jax.random.split(jax.random.key(2), 100))
    stuck = descend(bowl, halving, starts=starts, key=jax.random.key(3), stop=Stop(gradient_norm=1e-6, max_steps=2_000))
    return judge(found, np.asarray(stuck.params / starts)[:, 0])


def judge(found: dict[tuple[str, float], dict[str, np.ndarray]], rest: np.ndarray) -> experiment.Claim:
    """Returns the claim from how each descent ended, (starts,), and what is left of the way with halving steps."""
    rows = [
        experiment.share(f"{activation}, weights times {scale:g}: plateau", arm["plateau"], expected=0.5,
                         relation="at_least", is_outside=activation != "sigmoid" and scale != SCALES[0])
        for (activation, scale), arm in found.items()
    ]  # fmt: skip
    flat = np.concatenate([arm["value"][arm["plateau"]] for arm in found.values()])
    if flat.size >= 2:
        rows.append(
            experiment.mean("loss on the plateaus", flat, expected=1.5, relation="at_least", source="ln 10 = 2.30")
        )
    arms = {f"{name} {scale:g}": (arm["steps"], arm["learned"]) for (name, scale), arm in found.items()}
    rows += [
        experiment.mean("what halving steps leave of the way", rest, expected=REST, tolerance=1e-9,
                        source="product of 1 - 2^-k"),
    ]  # fmt: skip
    return experiment.Claim(
        name="T4.7", rows=rows, data={"arms": arms},
        claim="Descents are held up by flat regions far above the minimum.",
        condition="the weights start small, or the activation is the sigmoid",
    )  # fmt: skip


def figure(claim: experiment.Claim) -> Any:
    """Returns the survival curves of learning."""
    drawn, axes = experiment.panels(
        "Small weights, or sigmoids, start on a plateau: share of networks that has not yet learned", 2
    )
    for panel, scale in zip(axes, SCALES, strict=True):
        for activation in ACTIVATIONS:
            curve = survival_curve(*claim.data["arms"][f"{activation} {scale:g}"])
            panel.step([0, *curve.times], [1, *curve.survival], where="post", label=activation)
            panel.fill_between(curve.times, curve.low, curve.high, step="post", alpha=0.2, lw=0)
        panel.set(xlabel="steps", title=f"weights times {scale:g}", ylim=(-0.03, 1.05), ylabel="loss still above 1.5")
        panel.legend()
    return drawn
