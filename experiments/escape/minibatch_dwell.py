"""Does the noise of minibatches shorten the dwell at the saddles of a network?

A network of two hidden units learns 300 handwritten digits. Two of its saddles are known by construction: the *silent*
network, whose weights are zero and whose output is the best constant, and the *idle* one, the best network of one
unit beside a second unit that does nothing. Descents start close beside each and dwell there until they are at distance
1/4 in the directions of negative curvature. Arms differ in the batch alone, and have starts of their own.

Beside a saddle the gradient is small but its noise is not, so minibatches should do what a start farther away does:
shorten the dwell by ln of the distance. Where starts are already farther out than the noise throws them, they should
not.

A second measurement needs no saddle to be known: the index of the whole Hessian, probed every 20 ticks from random
starts, says for how long descents have directions to fall away in.
"""

import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

import jaxgd
from experiments.escape.moments import estimate_row
from jaxgd import experiment
from jaxgd.experiment import CONFIDENCE, Claim, Statistic
from jaxgd.landscapes import digits_mlp
from jaxgd.statistics import log_rank, restricted_mean, survival_curve

NUM_UNITS, NUM_IMAGES, LEARNING_RATE = 2, 300, 0.2
DISTANCE, MAX_STEPS = 0.25, 3_000
BESIDE, FAR = 1e-4, 0.03  # width of the starts around a saddle, in each parameter: both well within DISTANCE
BATCHES = {"all 300 images": None, "batches of 64": 64, "batches of 16": 16, "batches of 4": 4}
NUM_DESCENTS, NUM_PROBED, NUM_WATCHED, EVERY = 400, 24, 400, 20
NEVER = 1e-300

Arm = tuple[np.ndarray, np.ndarray]


class Saddle(NamedTuple):
    """A saddle of the network, flat, and an orthonormal basis of its directions of negative curvature."""

    at: np.ndarray
    downhill: np.ndarray
    curvature: float


def network(batch_size: int | None, num_units: int = NUM_UNITS) -> jaxgd.Landscape:
    """Returns the training loss."""
    return digits_mlp((num_units,), num_images=NUM_IMAGES, batch_size=batch_size or NUM_IMAGES)


def saddles() -> dict[str, Saddle]:
    """Returns the two saddles, polished and judged.

    Raises:
      InputValueError: one of them is none.
    """
    whole, single = network(None), network(None, 1)
    best = jaxgd.descend(single, jaxgd.transforms.lbfgs(max_step=1.0), 8, key=jax.random.key(0))
    unit = jax.tree.map(lambda leaf: leaf[np.argmin(best.value)], best.params)
    silent = jax.tree.map(np.zeros_like, whole.sample(jax.random.key(0)))
    idle = {
        "layer_1": {
            "weights": np.pad(unit["layer_1"]["weights"], ((0, 0), (0, 1))),
            "bias": np.pad(unit["layer_1"]["bias"], (0, 1)),
        },
        "layer_2": {"weights": np.pad(unit["layer_2"]["weights"], ((0, 1), (0, 0))), "bias": unit["layer_2"]["bias"]},
    }
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), silent, idle)
    # the best constant output: polishing alone would be content with any critical point beside
    bias_only = lambda x: whole.value({**silent, "layer_2": {**silent["layer_2"], "bias": x}})
    bias = jnp.zeros(10)
    for _ in range(20):
        bias = bias - jnp.linalg.solve(jax.hessian(bias_only)(bias), jax.grad(bias_only)(bias))
    batch["layer_2"]["bias"][0] = bias
    points = jaxgd.classify(whole, batch)
    if set(points.verdict_counts()) != {"saddle"}:
        raise jaxgd.InputValueError(f"two saddles were expected, got {points.verdict_counts()}.")
    found = {}
    for number, name in enumerate(("silent", "idle")):
        at, unravel = ravel_pytree(jax.tree.map(lambda leaf, i=number: jnp.asarray(leaf[i]), points.params))
        bends, directions = np.linalg.eigh(jax.hessian(lambda x, back=unravel: whole.value(back(x)))(at))
        downhill = directions[:, bends < -1e-8]
        experiment.note(
            f"{name}: index {downhill.shape[1]}, curvature {bends[0]:.3f}, value {points.value[number]:.4f}"
        )
        found[name] = Saddle(np.asarray(at), downhill, float(bends[0]))
    return found


def dwell(saddle: Saddle, batch_size: int | None, num: int, width: float, seed: int) -> Arm:
    """Returns the ticks that descents were watched beside the saddle, and whether they left."""
    landscape = network(batch_size)
    unravel = ravel_pytree(landscape.sample(jax.random.key(0)))[1]
    key_starts, key = jax.random.split(jax.random.key(seed))
    flat = jnp.asarray(saddle.at) + width * jax.random.normal(key_starts, (num, saddle.at.size))
    at, downhill = jnp.asarray(saddle.at), jnp.asarray(saddle.downhill)

    def has_left(params: Any, value: Any, gradient: Any) -> jax.Array:
        return jnp.sum(((ravel_pytree(params)[0] - at) @ downhill) ** 2) >= DISTANCE**2

    ends = jaxgd.descend(
        landscape, optax.sgd(LEARNING_RATE), starts=jax.vmap(unravel)(flat), key=key, events={"left": has_left},
        stop=jaxgd.Stop(gradient_norm=NEVER, max_steps=MAX_STEPS, at_event="left"), is_noisy=batch_size is not None,
        keep=(), num_devices=len(jax.devices()),
    )  # fmt: skip
    left = np.asarray(ends.event_steps["left"])
    return np.where(left < 0, np.asarray(ends.num_steps), left), left >= 0


def shortening(name: str, whole: Arm, part: Arm, num: int, **judged: Any) -> Statistic:
    """Returns by how many ticks the second arm's mean dwell is shorter, both cut at the same time."""
    horizon = max(min(whole[0].max(), part[0].max()), 1)
    means = [restricted_mean(*arm, horizon=float(horizon), confidence=CONFIDENCE) for arm in (whole, part)]
    error = float(np.hypot(*(mean.standard_error or 0.0 for mean in means)))
    row = estimate_row(name, means[0].mean.value - means[1].mean.value, error, num, 0.0, "")
    return Statistic(**{**row.__dict__, "relation": "at_least", "source": "noise leaves saddles", **judged})


def measure(options: experiment.Options) -> Claim:
    """Returns dwells at two saddles over batch sizes, and the time at each index from random starts."""
    num = 40 if options.quick else NUM_DESCENTS
    rows: list[Statistic] = []
    curves: dict[str, dict[str, Arm]] = {}
    for place, (name, saddle) in enumerate(saddles().items()):
        arms = {
            batch: dwell(saddle, size, num, BESIDE, 100 * place + i) for i, (batch, size) in enumerate(BATCHES.items())
        }
        curves[name] = arms
        test = log_rank(arms)
        rows.append(
            Statistic(
                statistic=f"{name} saddle: log-rank p-value over batch sizes", measured=test.p_value, low=0.0,
                high=test.p_value, expected=1e-3, relation="at_most", source="noise leaves saddles",
                num_descents=num * len(arms),
            )
        )  # fmt: skip
        whole = arms["all 300 images"]
        rows.append(experiment.mean(f"{name} saddle: mean ticks, all 300 images", whole[0]))
        for batch in list(BATCHES)[1:]:
            rows.append(shortening(f"{name} saddle: ticks saved by {batch}", whole, arms[batch], 2 * num))
        far = [dwell(saddle, size, num, FAR, 100 * place + 50 + (size or 0)) for size in (None, 64)]
        row = shortening(
            f"{name} saddle, starts farther out: ticks saved by batches of 64", *far, 2 * num, is_outside=True
        )
        rows.append(row)
    times: dict[str, Any] = {}
    for batch, size in (("all 300 images", None), ("batches of 16", 16)):
        seen = jaxgd.dwell_by_index(
            network(size), optax.sgd(LEARNING_RATE), 8 if options.quick else NUM_PROBED, key=jax.random.key(7),
            num_steps=100 if options.quick else NUM_WATCHED, every=EVERY, is_noisy=size is not None,
        )  # fmt: skip
        experiment.note(f"index along descents, {batch}\n{seen}\n")
        times[batch] = seen
        share = np.mean(seen.index[:, :-1] > 0, axis=1) * seen.steps[-1]
        rows.append(experiment.mean(f"random starts, {batch}: ticks with negative curvature", share))
    return Claim(
        name="escape.minibatch_dwell",
        claim="Minibatch noise shortens the dwell at saddles of a network.",
        rows=rows,
        condition="starts closer to the saddle than the noise of a few steps",
        data={"curves": curves, "times": times},
    )


def figure(result: Claim) -> Any:
    """Returns survival curves at both saddles over batch sizes, and the index along descents from random starts."""
    drawn, (*panels, last) = experiment.panels(
        "Minibatch noise shortens the dwell at the saddles of a network of 2 units on 300 digits: the smaller the "
        "batch, the sooner descents leave",
        3,
        width=4.2,
    )
    for panel, (name, arms) in zip(panels, result.data["curves"].items(), strict=True):
        for batch, arm in arms.items():
            curve = survival_curve(*arm)
            times, survival = np.append(0, curve.times), np.append(1, curve.survival)
            (line,) = panel.step(times, survival, where="post", label=batch)
            band = [np.append(1, curve.low), np.append(1, curve.high)]
            panel.fill_between(times, *band, step="post", color=line.get_color(), alpha=0.2, lw=0)
        panel.set(xlabel="ticks", ylabel="share still beside the saddle", title=f"{name} saddle", ylim=(0, 1.03))
        panel.legend(fontsize=7)
    for batch, seen in result.data["times"].items():
        last.plot(seen.steps, seen.index.mean(axis=0), "o-", ms=3, label=batch)
    last.set(xlabel="ticks", ylabel="mean index of the Hessian", title="from random starts")
    last.legend(fontsize=7)
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
