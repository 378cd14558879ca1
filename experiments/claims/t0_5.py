"""T0.5: The start decides, against: the start does not matter.

How much of the variance of the final exact loss does the start explain? Several descents from each start, which differ
in their minibatches or noise alone: the share of the variance between starts (intraclass correlation, exact F
interval), after few steps and after many. On a small network of the digits (minibatches of 32) and on the bumpy bowl
with weak and with strong noise on the gradient. And is a warm start worth it? Ends of training on the first half of
the images against random starts, on all images, at equal budgets, short and long, the ticks of the warm start's own
training not counted. Gradient descent at stated rates, the same for both: the starts are the arms.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy

from jaxgd import Stop, descend, experiment, landscapes, transforms
from jaxgd.experiment.arms import values_at
from jaxgd.experiment.charts import forest

NETWORK = landscapes.digits_mlp(widths=(4,), num_images=400, batch_size=32)
HALF = landscapes.digits_mlp(widths=(4,), num_images=200, batch_size=32)
BOWL = landscapes.rugged_bowl(dim=10, ruggedness=10.0)
SHORT, LONG, REPEATS = 30, 1_000, 4
KEY, STRONG = jax.random.key(0), "bumpy bowl, noise 3"


def explained(statistic: str, losses: np.ndarray, **judged: Any) -> experiment.Statistic:
    """Returns the share of variance between the rows of (starts, repeats), with the exact interval of the F ratio."""
    num, repeats = losses.shape
    between = repeats * losses.mean(axis=1).var(ddof=1)
    within = losses.var(axis=1, ddof=1).mean()
    ratio = between / within
    tail = (1 - experiment.CONFIDENCE) / 2
    share = lambda f: float((f - 1) / (f + repeats - 1))
    low, high = (ratio / scipy.stats.f.ppf(q, num - 1, num * (repeats - 1)) for q in (1 - tail, tail))
    return experiment.Statistic(statistic=statistic, measured=share(ratio), low=share(low), high=share(high),
                                num_descents=losses.size, **judged)  # fmt: skip


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns final losses by start and repeat, and of warm and random starts."""
    num = 48 if options.quick else 256
    bowl = lambda noise: (BOWL, optax.chain(transforms.add_gradient_noise(noise), optax.sgd(0.04)), False)
    cases = {"network": (NETWORK, optax.sgd(0.3), True), "bumpy bowl, noise 0.3": bowl(0.3), STRONG: bowl(3.0)}
    losses = {}
    for name, (landscape, optimizer, is_noisy) in cases.items():
        starts = jax.vmap(landscape.sample)(jax.random.split(KEY, num))
        every = jax.tree.map(lambda leaf: jnp.repeat(leaf, REPEATS, axis=0), starts)
        for length in (SHORT, LONG):
            stop = Stop(gradient_norm=None, max_steps=length)
            ends = descend(landscape, optimizer, starts=every, key=jax.random.key(1), stop=stop, is_noisy=is_noisy)
            losses[name, length] = values_at(landscape, ends.params).reshape(num, REPEATS)
    stop = Stop(gradient_norm=None, max_steps=LONG)
    warm = descend(HALF, optax.sgd(0.3), num, key=KEY, stop=stop, is_noisy=True).params
    gains = {}
    for length in (SHORT, LONG):
        stop = Stop(gradient_norm=None, max_steps=length)
        ends = descend(NETWORK, optax.sgd(0.3), starts=warm, key=jax.random.key(1), stop=stop, is_noisy=True)
        gains[length] = losses["network", length][:, 0] - values_at(NETWORK, ends.params)
    return judge(losses, gains)


def judge(losses: dict[tuple[str, int], np.ndarray], gains: dict[int, np.ndarray]) -> experiment.Claim:
    """Returns the claim from losses (starts, repeats) by case and length, and gains (starts,) of warm starts."""
    rows = [
        explained(f"{name}, {length} steps: variance explained by the start", values, expected=0.5, relation="at_least",
                  is_outside=name == STRONG or (name == "network" and length == LONG))
        for (name, length), values in losses.items()
    ]  # fmt: skip
    rows += [
        experiment.mean(f"network, {length} steps: loss lower from a warm start", gain, expected=0.01,
                        relation="at_least", is_outside=length == LONG)
        for length, gain in gains.items()
    ]  # fmt: skip
    return experiment.Claim(
        name="T0.5", rows=rows, data={"losses": losses}, claim="The start decides where a descent ends.",
        condition="the noise is too weak to cross barriers and, for the network, training is short",
    )  # fmt: skip


def figure(claim: experiment.Claim) -> Any:
    """Returns the shares, and the losses start by start."""
    drawn, (shares, scatter) = experiment.panels("How much of the final loss the start explains", 2, width=6.5)
    forest(shares, claim.rows, xlabel="share of variance; difference of loss")
    for length in (SHORT, LONG):
        losses = claim.data["losses"]["network", length]
        order = np.argsort(losses.mean(axis=1))
        rank = np.repeat(np.arange(len(order)), REPEATS)
        scatter.plot(rank, losses[order].ravel(), ".", ms=3, label=f"{length} steps")
    scatter.set(xlabel="start, by rank of its mean", ylabel="final loss of the network", yscale="log")
    scatter.legend()
    return drawn
