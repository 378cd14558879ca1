"""T2.2: For small steps the loss always falls, at the rate |grad|^2, and ends at a minimum or a saddle, not a maximum.

Paths with rates some hundred times below the largest stable one: the fall of the loss over rate * |grad|^2, and how
often it rises. Then ends judged by curvature: from random starts, from starts exactly on the way into a saddle,
from starts 1e-6 beside a maximum, and, outside of what can be meant, exactly on a maximum and on a function whose only
critical points are inflections. Nothing is tuned; starts of each kind are the same at every rate.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd import Landscape, Stop, classify, descend, experiment, landscapes
from jaxgd.trajectory import trajectories

STOP = Stop(gradient_norm=1e-7, max_steps=50_000)
WELLS = landscapes.product_double_well(dim=3)


def measure(options: experiment.Options) -> experiment.Claim:
    """Follows descents with small steps, then judges ends from five kinds of starts."""
    count = 200 if options.quick else 5_000
    paths = {}
    zoo = {landscapes.styblinski_tang(dim=4): 1e-4, landscapes.mueller_brown(): 1e-6, landscapes.rosenbrock(): 1e-5}
    for landscape, rate in zoo.items():
        value, norm = trajectories(landscape, optax.sgd(rate), count, key=jax.random.key(0), num_steps=300)[1]
        paths[landscape.name] = np.asarray(value), rate * np.asarray(norm) ** 2
    random = jax.random.normal(jax.random.key(1), (count, 3))
    ends = {
        "random starts, double well d = 3": kinds(WELLS, 0.05, count),
        "random starts, Gaussian field d = 2": kinds(landscapes.gaussian_field(dim=2), 0.02, count),
        "starts with x_1 = 0, double well d = 3": kinds(WELLS, 0.05, random.at[:, 0].set(0.0)),
        "starts 1e-6 beside the maximum, double well d = 3": kinds(WELLS, 0.05, 1e-6 * random),
        "starts on the maximum, double well d = 3": kinds(WELLS, 0.05, 0.0 * random[:30]),
        "random starts, x + sin x": kinds(landscapes.x_plus_sin_x(), 1.0, 30),
    }
    return judge(paths, ends)


def kinds(landscape: Landscape, rate: float, starts: Any) -> dict[str, int]:
    """Returns how many ends are of which verdict."""
    which = {"num_starts": starts} if isinstance(starts, int) else {"starts": jnp.asarray(starts)}
    ends = descend(landscape, optax.sgd(rate), key=jax.random.key(0), stop=STOP, **which)
    return classify(landscape, ends).verdict_counts()


def judge(paths: dict[str, tuple[np.ndarray, np.ndarray]], ends: dict[str, dict[str, int]]) -> experiment.Claim:
    """Returns the claim from (values, rate * |grad|^2) along paths, and verdicts by kind of start."""
    rows = []
    for name, (value, falls) in paths.items():
        fall = -np.diff(value, axis=1)
        moves = falls[:, :-1] > 1e-9 * (1 + np.abs(value[:, :-1]))  # beyond rounding
        ratio = np.sum(np.where(moves, fall, 0), 1) / np.sum(np.where(moves, falls[:, :-1], 0), 1)
        rows += [
            experiment.median(f"{name}: fall of the loss over rate * |grad|^2", ratio, expected=1.0, tolerance=0.1,
                              source="the claim"),
            experiment.share(f"{name}: share of paths on which the loss ever rises", np.any(moves & (fall < 0), axis=1),
                             at_most=0.05, source="the claim"),
        ]  # fmt: skip
    for place, (name, counts) in enumerate(ends.items()):
        rows.append(experiment.share_of(f"{name}: share of minima and saddles", counts, ["minimum", "saddle"],
                                        at_least=0.95, source="the claim", is_outside=place >= 4))  # fmt: skip
    condition = "unless begun exactly on a maximum, or where critical points are degenerate"
    return experiment.stated(__doc__, rows, condition=condition, data={"paths": paths, "ends": ends})


def figure(claim: experiment.Claim) -> Any:
    """Draws the fall of the loss against |grad|^2, and the verdicts by kind of start."""
    title = "The loss falls by rate * |grad|² a step; descents end at minima, at saddles only from their own way in"
    drawn, (left, right) = experiment.panels(title, width=5.6)
    for name, (value, falls) in claim.data["paths"].items():
        fall, predicted = -np.diff(value[:5], axis=1).ravel(), falls[:5, :-1].ravel()
        left.plot(predicted, np.where(fall > 0, fall, np.nan), ".", markersize=3, label=name)
    left.axline((1e-6, 1e-6), (1, 1), color="black", linewidth=0.8, label="equal")
    left.set(xscale="log", yscale="log", xlabel="rate * |grad|²", ylabel="fall of the loss in one step")
    ends = claim.data["ends"]
    names = [name.replace(", ", "\n") for name in ends]
    begun = np.zeros(len(ends))
    for kind in sorted({kind for counts in ends.values() for kind in counts}):
        share = np.array([counts.get(kind, 0) / sum(counts.values()) for counts in ends.values()])
        right.barh(names, share, left=begun, label=kind)
        begun = begun + share
    right.invert_yaxis()
    right.tick_params(axis="y", labelsize=7)
    right.set(xlabel="share of ends", xlim=(0, 1))
    right.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.4, 1.14), ncols=4)
    return drawn
