"""Does the noise of minibatches shorten the dwell at the saddles of a network?

A network of two hidden units learns 300 handwritten digits. Two of its saddles are known by construction: the *silent*
network, whose weights are zero and whose output is the best constant, and the *idle* one, the best network of one
unit beside a second unit that does nothing. A third, *found* one comes of Newton's method from the middle of descents.
Descents start close beside each and dwell there until they are at distance 1/4 in the directions of negative curvature.
Arms differ in the batch alone, and have starts of their own.

Beside a saddle the gradient is small but its noise is not, so minibatches should do what a start farther away does:
shorten the dwell by ln of the distance. They do at the found saddle. At the other two they cannot: a unit without
weights in or out gives every single image a gradient of zero downhill, so that there is noise, but none that leads
away. (That was seen in a first run; since then the share of the noise that points downhill is measured, and the saddle
that has such a share was added.) Where starts are farther out than the noise throws them, it should help less.

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
from jaxgd.points.classify import join_points
from jaxgd.points.newton_search import newton_search
from jaxgd.statistics import log_rank, restricted_mean, survival_curve

NUM_UNITS, NUM_IMAGES, LEARNING_RATE = 2, 300, 0.2
DISTANCE, MAX_STEPS = 0.25, 3_000
BESIDE, FAR = 1e-4, 0.03  # width of the starts around a saddle, in each parameter: both well within DISTANCE
HALFWAY, NUM_HALFWAY = (100, 300), 16  # steps after which Newton's method takes over from so many descents
BATCHES = {"all 300 images": None, "batches of 64": 64, "batches of 16": 16, "batches of 4": 4}
NUM_DESCENTS, NUM_PROBED, NUM_WATCHED, EVERY, NUM_DRAWS = 400, 24, 400, 20, 1_000

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
    """Returns the three saddles, polished and judged.

    Raises:
      InputValueError: one of the first two is none, or no other is found.
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
    points = join_points([points, _another(whole, points)])
    found = {}
    for number, name in enumerate(("silent", "idle", "found")):
        at, unravel = ravel_pytree(jax.tree.map(lambda leaf, i=number: jnp.asarray(leaf[i]), points.params))
        bends, directions = np.linalg.eigh(jax.hessian(lambda x, back=unravel: whole.value(back(x)))(at))
        downhill = directions[:, bends < -1e-8]
        experiment.note(
            f"{name}: index {downhill.shape[1]}, curvature {bends[0]:.3f}, value {points.value[number]:.4f}"
        )
        found[name] = Saddle(np.asarray(at), downhill, float(bends[0]))
    return found


def _another(whole: jaxgd.Landscape, known: jaxgd.Points) -> jaxgd.Points:
    """Returns the saddle of most negative curvature that Newton's method finds beside the known ones."""
    halfway = [
        jaxgd.descend(
            whole,
            optax.sgd(LEARNING_RATE),
            NUM_HALFWAY,
            key=jax.random.key(3),
            stop=jaxgd.Stop(gradient_norm=1e-6, max_steps=steps),
        ).params
        for steps in HALFWAY
    ]
    starts = jax.tree.map(lambda *leaves: np.concatenate(leaves), *halfway)
    ends = newton_search(whole, starts=starts, key=jax.random.key(0), max_move=0.3)
    points = jaxgd.classify(whole, ends)
    is_new = np.all(np.abs(points.value[:, None] - known.value[None, :]) > 1e-3, axis=1)
    others = points[is_new & (points.verdict == int(jaxgd.Verdict.SADDLE))]
    if not len(others):
        raise jaxgd.InputValueError("Newton's method found no other saddle.")
    return others[[int(np.argmin(others.lowest_eigenvalue))]]


def noise_downhill(saddle: Saddle, batch_size: int = 16) -> float:
    """Returns the share of the variance of the minibatch gradient that points downhill."""
    landscape = network(batch_size)
    unravel = ravel_pytree(landscape.sample(jax.random.key(0)))[1]
    draw = lambda key: ravel_pytree(landscape.evaluate_noisy(unravel(jnp.asarray(saddle.at)), key)[1])[0]
    gradients = np.asarray(jax.vmap(draw)(jax.random.split(jax.random.key(0), NUM_DRAWS)))
    spread = gradients - gradients.mean(axis=0)
    return float(np.sum((spread @ saddle.downhill) ** 2) / np.sum(spread**2))


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
        landscape,
        optax.sgd(LEARNING_RATE),
        starts=jax.vmap(unravel)(flat),
        key=key,
        events={"left": has_left},
        stop=jaxgd.Stop(gradient_norm=None, max_steps=MAX_STEPS, at_event="left"),
        is_noisy=batch_size is not None,
        keep=(),
        engine=jaxgd.Engine(num_devices=len(jax.devices())),
    )
    left = np.asarray(ends.event_steps["left"])
    return np.where(left < 0, np.asarray(ends.num_steps), left), left >= 0


def shortening(name: str, whole: Arm, part: Arm, num: int, **judged: Any) -> Statistic:
    """Returns by how many ticks the second arm's mean dwell is shorter; cut at one time unless all have left."""
    last = [max(float(times.max()), 1.0) for times, _ in (whole, part)]
    cut = last if whole[1].all() and part[1].all() else [min(last)] * 2
    means = [
        restricted_mean(*arm, horizon=end, confidence=CONFIDENCE) for arm, end in zip((whole, part), cut, strict=True)
    ]
    error = float(np.hypot(*(mean.standard_error or 0.0 for mean in means)))
    row = estimate_row(name, means[0].mean.value - means[1].mean.value, error, num, 0.0, "")
    return Statistic(**{**row.__dict__, "relation": "at_least", "source": "noise leaves saddles", **judged})


def measure(options: experiment.Options) -> Claim:
    """Returns dwells at two saddles over batch sizes, and the time at each index from random starts."""
    num = 40 if options.quick else NUM_DESCENTS
    rows: list[Statistic] = []
    curves: dict[str, dict[str, Arm]] = {}
    shares: dict[str, float] = {}
    for place, (name, saddle) in enumerate(saddles().items()):
        arms = {
            batch: dwell(saddle, size, num, BESIDE, 100 * place + i) for i, (batch, size) in enumerate(BATCHES.items())
        }
        curves[name] = arms
        shares[name] = share = noise_downhill(saddle)
        is_still = name != "found"
        claimed: Any = {"expected": 0.0, "tolerance": 1e-12, "source": "no image has a gradient there"}
        rows.append(
            Statistic(
                statistic=f"{name} saddle: share of the noise that points downhill",
                measured=share,
                low=share,
                high=share,
                num_descents=NUM_DRAWS,
                **(claimed if is_still else {}),
            )
        )
        test = log_rank(arms)
        rows.append(
            Statistic(
                statistic=f"{name} saddle: log-rank p-value over batch sizes",
                measured=test.p_value,
                low=0.0,
                high=test.p_value,
                expected=1e-3,
                relation="at_most",
                source="noise leaves saddles",
                num_descents=num * len(arms),
                is_outside=is_still,
            )
        )
        whole = arms["all 300 images"]
        rows.append(experiment.mean(f"{name} saddle: mean ticks, all 300 images", whole[0]))
        for batch in list(BATCHES)[1:]:
            rows.append(
                shortening(f"{name} saddle: ticks saved by {batch}", whole, arms[batch], 2 * num, is_outside=is_still)
            )
        far = [dwell(saddle, size, num, FAR, 100 * place + 50 + (size or 0)) for size in (None, 64)]
        row = shortening(
            f"{name} saddle, starts farther out: ticks saved by batches of 64", *far, 2 * num, is_outside=True
        )
        rows.append(row)
    times: dict[str, Any] = {}
    for batch, size in (("all 300 images", None), ("batches of 16", 16)):
        seen = jaxgd.dwell_by_index(
            network(size),
            optax.sgd(LEARNING_RATE),
            8 if options.quick else NUM_PROBED,
            key=jax.random.key(7),
            num_steps=100 if options.quick else NUM_WATCHED,
            every=EVERY,
            is_noisy=size is not None,
        )
        experiment.note(f"index along descents, {batch}\n{seen}\n")
        times[batch] = seen
        share = np.mean(seen.index[:, :-1] > 0, axis=1) * seen.steps[-1]
        rows.append(experiment.mean(f"random starts, {batch}: ticks with negative curvature", share))
    return Claim(
        name="escape.minibatch_dwell",
        claim="Minibatch noise shortens the dwell at saddles of a network.",
        rows=rows,
        condition="the noise has a part that points downhill, and starts are closer than it throws",
        data={"curves": curves, "times": times, "shares": shares},
    )


def figure(result: Claim) -> Any:
    """Returns survival curves at both saddles over batch sizes, and the index along descents from random starts."""
    drawn, (*panels, last) = experiment.panels(
        "Minibatch noise shortens the dwell at a saddle only where some of it points downhill: not where a unit is "
        "silent or idle",
        4,
        width=3.6,
    )
    shares = result.data["shares"]
    for panel, (name, arms) in zip(panels, result.data["curves"].items(), strict=True):
        for batch, arm in arms.items():
            curve = survival_curve(*arm)
            times, survival = np.append(0, curve.times), np.append(1, curve.survival)
            (line,) = panel.step(times, survival, where="post", label=batch)
            band = [np.append(1, curve.low), np.append(1, curve.high)]
            panel.fill_between(times, *band, step="post", color=line.get_color(), alpha=0.2, lw=0)
        panel.set(
            xlabel="ticks",
            ylabel="share still beside the saddle",
            title=f"{name} saddle\n{100 * round(shares[name], 12):.2g} % of the noise downhill",
            ylim=(0, 1.03),
        )
        panel.legend(fontsize=7)
    for batch, seen in result.data["times"].items():
        last.plot(seen.steps, seen.index.mean(axis=0), "o-", ms=3, label=batch)
    last.set(xlabel="ticks", ylabel="mean index of the Hessian", title="from random starts")
    last.legend(fontsize=7)
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
