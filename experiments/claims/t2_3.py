"""T2.3: Sign descent decreases the loss, too, at the rate of the L1 norm; with a moving average it is RMSProp.

Paths of sign descent with small steps: the fall of the loss over rate * |grad|_1. RMSProp without memory (decay 0) must
take the same path; with memory its distance to that path shrinks with the decay. Neither can settle: on x^2/2 RMSProp
ends in a two-cycle of +-rate/2, and sign descent within one rate of the minimum. Nothing is tuned.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd import Landscape, experiment, landscapes
from jaxgd.trajectory import trajectories

DECAYS = (0.0, 0.1, 0.3, 0.9)
RATE = 0.1
BOWL = Landscape(
    value=lambda x: x**2 / 2, sample=lambda key: jax.random.uniform(key, (), minval=1.0, maxval=2.0), name="bowl"
)


def measure(options: experiment.Options) -> experiment.Claim:
    """Follows sign descent on three landscapes, and RMSProp beside it."""
    count, paths, where = 100 if options.quick else 2_000, {}, lambda x, state: x
    follow = lambda landscape, optimizer, steps, look=where: trajectories(
        landscape, optimizer, count, key=jax.random.key(0), num_steps=steps, observe=look
    )[1]
    zoo = (
        (landscapes.styblinski_tang(dim=4), 1e-3, 1000),
        (landscapes.gaussian_field(dim=4), 1e-4, 1000),
        (landscapes.digits_mlp(num_images=100), 1e-5, 100),
    )
    for landscape, rate, steps in zoo:

        def look(x: Any, state: Any, landscape: Landscape = landscape) -> Any:
            value, gradient = landscape.evaluate(x)
            return value, sum(jnp.sum(jnp.abs(leaf)) for leaf in jax.tree.leaves(gradient))

        value, length = follow(landscape, optax.sign_sgd(rate), steps, look)
        paths[landscape.name] = np.asarray(value), rate * np.asarray(length)
    arms = {"sign": optax.sign_sgd(1e-3)} | {decay: optax.rmsprop(1e-3, decay, eps=1e-30) for decay in DECAYS}
    positions = {name: np.asarray(follow(zoo[0][0], arm, 500)) for name, arm in arms.items()}
    arms = {"sign": optax.sign_sgd(RATE), "RMSProp": optax.rmsprop(RATE, 0.9, eps=1e-30)}
    return judge(paths, positions, {name: np.asarray(follow(BOWL, arm, 500)) for name, arm in arms.items()})


def judge(paths: dict[str, Any], positions: dict[Any, np.ndarray], cycles: dict[str, np.ndarray]) -> experiment.Claim:
    """Returns the claim from (values, rate * |grad|_1) and positions along paths, and paths on x^2/2."""
    rows = []
    for name, (value, falls) in paths.items():
        early = slice(0, value.shape[1] // 5)  # before it cycles about the bottom
        ratio = (value[:, early][:, 0] - value[:, early][:, -1]) / np.sum(falls[:, early][:, :-1], axis=1)
        rows.append(experiment.median(f"{name}: fall of the loss over rate * |grad|_1", ratio, expected=1.0,
                                      tolerance=0.1, source="the claim"))  # fmt: skip
    far = {decay: np.max(np.abs(positions[decay] - positions["sign"]), axis=(1, 2)) for decay in DECAYS}
    rows += [
        experiment.exactly("RMSProp with decay 0: largest distance to sign descent", np.max(far[0.0]), at_most=1e-9,
                           source="the identity", num_descents=len(far[0.0])),
        experiment.median("decay .9 over decay .1: distance to sign descent", far[0.9] / far[0.1], at_least=1.0,
                          source="a limit of the decay"),
        experiment.median("RMSProp on x^2/2: |x| at the end / rate", np.abs(cycles["RMSProp"][:, -1]) / RATE,
                          expected=0.5, tolerance=1e-3, source="two-cycle"),
        experiment.share("RMSProp on x^2/2: share that changes side at every step at the end",
                         np.all(np.diff(np.sign(cycles["RMSProp"][:, -20:]), axis=1) != 0, axis=1), at_least=0.9,
                         source="two-cycle"),
        experiment.exactly("sign descent on x^2/2: largest |x| at the end / rate",
                           np.max(np.abs(cycles["sign"][:, -1])) / RATE, at_most=1.0,
                           source="a step back and forth", num_descents=len(cycles["sign"])),
    ]  # fmt: skip
    return experiment.stated(__doc__, rows, data={"paths": paths, "far": far, "cycles": cycles})


def figure(claim: experiment.Claim) -> Any:
    """Draws the fall of the loss against the L1 norm, the distance by decay, and the cycles on x^2/2."""
    title = "Sign descent falls by rate * |grad|_1 a step; RMSProp with ever shorter memory becomes it; neither settles"
    drawn, (left, middle, right) = experiment.panels(title, 3, width=4.0)
    for name, (value, falls) in claim.data["paths"].items():
        early = value.shape[1] // 5
        fall, predicted = -np.diff(value[:5, :early], axis=1).ravel(), falls[:5, : early - 1].ravel()
        left.plot(predicted, np.where(fall > 0, fall, np.nan), ".", markersize=3, label=name)
    left.axline((1e-4, 1e-4), (1, 1), color="black", linewidth=0.8, label="equal")
    left.set(xscale="log", yscale="log", xlabel="rate * |grad|_1", ylabel="fall of the loss in one step")
    far = claim.data["far"]
    middle.boxplot([values / 1e-3 for values in far.values()], tick_labels=[f"{decay:g}" for decay in far])
    middle.set(xlabel="decay of RMSProp's average", ylabel="largest distance to sign descent, in rates")
    for name, path in claim.data["cycles"].items():
        right.plot(path[0, :120] / RATE, ".-", markersize=3, linewidth=0.6, label=name)
    right.axhspan(-0.5, 0.5, alpha=0.1, color="black", label="+- rate / 2")
    right.set(xlabel="ticks on x²/2", ylabel="x / rate", ylim=(-1.5, 4))
    return drawn
