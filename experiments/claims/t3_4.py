"""T3.4: Warm-up helps because sigma is a noisy statistic at first; RAdam does it inside.

(1) How noisy is Adam's adaptive rate 1 / sigma? On a residual network of six layers on the digits, held still at its
start (rate 0), the variance over minibatches of 16 of its logarithm, for each weight of the output layer: at the first
tick against the hundredth. (2) Does it matter? Exact final loss after 200 ticks of Adam, Adam with the rate warmed up
over 20, and RAdam, each with the best of 8 rates from 1e-4 to 1, chosen on 8 starts of their own, and again at the
largest rate but two, where Adam suffers; same starts and minibatches for all. Judged: variance ratio, and Adam's loss
minus the others' at the high rate; at the best rates lies outside the condition.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd import Stop, experiment, landscapes, sweep
from jaxgd.experiment.arms import values_at
from jaxgd.experiment.charts import with_intervals
from jaxgd.trajectory import trajectories

NETWORK = landscapes.digits_network(depth=2, width=8, num_images=256, batch_size=16)
RATES, NUM_TUNING, HIGH, WARM, NUM_STEPS = np.geomspace(1e-4, 1, 8), 8, 5, 20, 200
ARMS = {
    "Adam": optax.adam,
    "Adam with warm-up": lambda learning_rate: optax.adam(
        lambda step: learning_rate * jnp.minimum((step + 1.0) / WARM, 1.0)
    ),
    "RAdam": optax.radam,
}


def log_rate(params: Any, state: Any) -> jax.Array:
    """Returns the logarithm of Adam's 1 / sigma for the weights of the output layer."""
    adam = state[0]
    sigma = jnp.sqrt(adam.nu["output"]["weights"] / (1 - 0.999**adam.count))
    return -jnp.log(sigma + 1e-8)


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns adaptive rates of a network that stands still, and final losses at every rate."""
    num_starts, num_repeats = (40, 64) if options.quick else (256, 512)
    start = NETWORK.sample(jax.random.key(5))
    same = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], num_repeats, axis=0), start)
    still = optax.chain(optax.scale_by_adam(), optax.scale(0.0))
    steps, seen = trajectories(
        NETWORK, still, starts=same, key=jax.random.key(0), num_steps=100, every=1, observe=log_rate, is_noisy=True
    )
    variance = np.asarray(seen).var(axis=0, ddof=1).reshape(len(steps), -1)[1:]
    stop = Stop(gradient_norm=None, max_steps=NUM_STEPS)
    losses = {}
    for name, builder in ARMS.items():
        found = sweep(
            NETWORK, builder, NUM_TUNING + num_starts, key=jax.random.key(1), stop=stop, is_noisy=True,
            learning_rate=list(RATES),
        )  # fmt: skip
        losses[name] = np.array([values_at(NETWORK, ends.params) for ends in found.ends])
        experiment.note(f"{name} done")
    return judge(variance, losses)


def judge(variance: np.ndarray, losses: dict[str, np.ndarray]) -> experiment.Claim:
    """Returns the claim from variances (ticks, weights) and final losses (rates, tuning starts + starts) by arm."""
    losses = {name: np.where(np.isfinite(values), values, np.log(10)) for name, values in losses.items()}
    best = {name: int(values[:, :NUM_TUNING].mean(axis=1).argmin()) for name, values in losses.items()}
    after = {name: values[:, NUM_TUNING:] for name, values in losses.items()}
    is_alive = variance[-1] > 0
    rows = [
        experiment.median("variance of log(1 / sigma), first tick over hundredth",
                          variance[0, is_alive] / variance[-1, is_alive], expected=2.0, relation="at_least")
    ]  # fmt: skip
    for name in list(ARMS)[1:]:
        rows += [
            experiment.mean(f"rate {RATES[HIGH]:.2g}: loss of Adam minus {name}",
                            after["Adam"][HIGH] - after[name][HIGH], expected=0.0, relation="at_least"),
            experiment.mean(f"best rates: loss of Adam minus {name}",
                            after["Adam"][best["Adam"]] - after[name][best[name]], expected=0.0, relation="at_least",
                            is_outside=True),
        ]  # fmt: skip
    means = {name: [experiment.mean("", row) for row in values] for name, values in after.items()}
    data = {"means": means, "variance": np.median(variance[:, is_alive], axis=1)}
    return experiment.stated(__doc__, rows, data=data, condition="the rate is higher than Adam's best one")


def figure(claim: experiment.Claim) -> Any:
    """Returns the variance along the first ticks, and the final loss against the rate."""
    title = f"Adam's rates vary {claim.rows[0].measured:.0f} times more at the first tick; what warm-up makes of that"
    drawn, (noise, loss) = experiment.panels(title, 2, width=5.5)
    noise.plot(np.arange(1, len(claim.data["variance"]) + 1), claim.data["variance"])
    noise.set(xscale="log", yscale="log", xlabel="tick", ylabel="variance of log(1 / sigma)")
    for name, rows in claim.data["means"].items():
        with_intervals(loss, RATES, rows, name)
    loss.set(xscale="log", xlabel="rate", ylabel="exact loss after 200 ticks")
    loss.set_ylim(0, 3)
    loss.legend()
    return drawn
