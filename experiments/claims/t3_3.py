"""T3.3: With root-mean AdaGrad the path bursts sideways after a long flat stretch; letting the rate decay cures it.

Descents run along a straight valley (`long_valley`: slope 1 along it, curvature 10 across, gradient noise of 1e-6).
Having been calm, 50 steps within 0.001 of the bottom, how far do they later swing out across it? A burst is a swing of
more than ten times that. Shares are of the descents that were calm, nearly all. Arms: root-mean AdaGrad at a constant
rate of 0.1, with the rate decaying like 1/sqrt(t), RMSProp, and gradient descent; same starts, same number of ticks.
Nothing is tuned: the claim is about what a rate does, not about which is best, and the rate is that of the classroom
demonstration.

Theory: across the valley the step is rate * curvature / sigma times y, with sigma = sqrt(S / t) and S the sum of the
squared gradients so far. It is unstable beyond 2, that is from t = 4 S / (rate * curvature)^2 on: no burst can come
before. A rate like 1/sqrt(t) keeps rate / sigma constant.
"""

from typing import Any

import jax
import numpy as np
import optax
from matplotlib.figure import Figure

from jaxgd import experiment, landscapes, transforms
from jaxgd.trajectory import trajectories

RATE, STIFFNESS, CALM, CALM_WIDTH = 0.1, 10.0, 50, 1e-3
ARMS = {
    "root-mean AdaGrad": optax.chain(transforms.scale_by_root_mean_square(), optax.scale(-RATE)),
    "the same, rate decaying": optax.chain(
        transforms.scale_by_root_mean_square(), optax.scale_by_schedule(lambda t: -RATE * (1 + t / 10) ** -0.5)
    ),
    "RMSProp (alpha 0.99)": optax.rmsprop(RATE, decay=0.99, bias_correction=True),
    "gradient descent": optax.sgd(RATE),
}


def bursts(across: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the widest of the calmest steps, the widest swing after them, when it came, and when it could."""
    size = np.abs(across)
    width = np.lib.stride_tricks.sliding_window_view(size, CALM, axis=1).max(axis=2)
    calm = width.argmin(axis=1)
    later = np.where(np.arange(size.shape[1]) >= calm[:, None] + CALM, size, 0)
    squares = np.cumsum(size**2, axis=1)  # S / stiffness^2
    may = np.arange(1, size.shape[1] + 1) > 4 * squares / RATE**2
    is_out = later > 10 * CALM_WIDTH
    return {
        "is_calm": width.min(axis=1) < CALM_WIDTH, "is_burst": is_out.any(axis=1), "calm": width.min(axis=1),
        "swing": later.max(axis=1), "onset": is_out.argmax(axis=1), "earliest": may.argmax(axis=1),
    }  # fmt: skip


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns how often and how far descents burst."""
    num_starts, num_steps = (256, 3_000) if options.quick else (512, 10_000)
    valley = landscapes.long_valley(length=1.2 * RATE * num_steps, stiffness=STIFFNESS)
    follow = lambda optimizer: trajectories(
        valley, optimizer, num_starts, key=jax.random.key(0), num_steps=num_steps, is_noisy=True,
        observe=lambda params, state: params[1],
    )[1]  # fmt: skip
    return judge({name: np.asarray(follow(optimizer)) for name, optimizer in ARMS.items()})


def judge(across: dict[str, np.ndarray]) -> experiment.Claim:
    """Returns the claim from the way across the valley, (starts, steps), of each arm."""
    found = {name: bursts(path) for name, path in across.items()}
    constant = found["root-mean AdaGrad"]
    calm = {name: values["is_burst"][values["is_calm"]] for name, values in found.items()}
    hit = constant["is_burst"] & constant["is_calm"]
    first = {name: values[hit] for name, values in constant.items()}
    most: dict[str, Any] = dict(expected=0.5, relation="at_least")
    few: dict[str, Any] = dict(expected=0.1, relation="at_most")
    rows = [
        experiment.share(f"{name} bursts", calm[name], **judged)
        for name, judged in zip(ARMS, (most, few, {}, few), strict=True)
    ]
    if hit.sum() >= 3:
        rows += [
            experiment.median("widest swing over the rate", first["swing"] / RATE),
            experiment.median("widest swing over the calm before it",
                              first["swing"] / np.maximum(first["calm"], 1e-300)),
            experiment.median("onset over the earliest possible", first["onset"] / first["earliest"],
                              expected=1, relation="at_least", source="4 S / (rate curvature)^2"),
            experiment.slope("exponent of the swing in the length of the stretch", first["onset"], first["swing"]),
        ]  # fmt: skip
    longest = int(np.argmax(constant["swing"]))
    return experiment.stated(__doc__, rows, data={name: path[longest] for name, path in across.items()})


def figure(claim: experiment.Claim) -> Any:
    """Returns the way of one descent across the valley, for each arm."""
    drawn = Figure(figsize=(8, 7), layout="constrained")
    panels = drawn.subplots(len(claim.data), 1, sharex=True, sharey=True)
    for panel, (name, path) in zip(panels, claim.data.items(), strict=True):
        panel.plot(path, lw=0.6)
        panel.set(ylabel="y", ylim=(-0.6, 0.6))
        panel.set_title(name, loc="left", fontsize=10)
    panels[-1].set_xlabel("step along the valley")
    share = claim.rows[0].measured
    drawn.suptitle(f"Sideways bursts of root-mean AdaGrad in a straight valley ({share:.0%} of the descents)")
    return drawn
