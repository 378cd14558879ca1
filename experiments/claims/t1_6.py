"""T1.6: A constant rate is wrong; AdaGrad's sum shrinks it where gradients are large, and delta keeps it stable.

AdaGrad (sum) against gradient descent with a constant rate, both tuned over 12 rates on 16 starts, on the same further
starts, 500 ticks each: the excess over the minimum on bowls, in Rosenbrock's valley and on a network, as the median difference of
log10. Then its rates along the way, beside RMSProp's: do they shrink, does any grow near the optimum? Last the formula
without delta, g / sqrt(sum g^2), on the digits, where blank pixels have a gradient of exactly 0.
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd import Landscape, Stop, descend, experiment, landscapes
from jaxgd.experiment.arms import tuned
from jaxgd.trajectory import trajectories

RATES = np.geomspace(1e-4, 30, 12)
log10 = lambda ends: np.log10(np.asarray(ends.value) + 1e-200)  # minima have the value 0
BOWL = Landscape(value=lambda x: jnp.sum(x**2) / 2, sample=lambda key: jnp.ones((1,)))
adagrad = lambda learning_rate: optax.adagrad(learning_rate, initial_accumulator_value=0.0, eps=1e-12)


def bare_adagrad(delta: float) -> optax.GradientTransformation:
    """Returns AdaGrad as the formula has it: rate .1, g / (delta + sqrt(sum of g^2)), guarded by nothing else."""

    def update(grads: Any, total: Any, params: Any = None) -> tuple[Any, Any]:
        total = jax.tree.map(lambda s, g: s + g**2, total, grads)
        return jax.tree.map(lambda g, s: -0.1 * g / (delta + jnp.sqrt(s)), grads, total), total

    return optax.GradientTransformation(lambda params: jax.tree.map(jnp.zeros_like, params), update)


def measure(options: experiment.Options) -> experiment.Claim:
    """Runs both on five landscapes, watches rates, and tries the formula without delta."""
    count = 24 if options.quick else 500
    zoo = {
        "bowl, steepness 1 to 1000 by axis": landscapes.quadratic_bowl(dim=10, condition_number=1000.0),
        "bowl, the same but turned": landscapes.quadratic_bowl(dim=10, condition_number=1000.0, axes="rotated"),
        "bowl, steepness 1 to 3 by axis": landscapes.quadratic_bowl(dim=10, condition_number=3.0),
        "Rosenbrock, d = 4": landscapes.rosenbrock(dim=4),
        "network on 50 digits": landscapes.digits_mlp(num_images=50),
    }
    excess = {}
    for name, landscape in zoo.items():
        arms = (
            tuned(landscape, builder, count, rates=RATES, key=jax.random.key(0), stop=Stop(gradient_norm=1e-100, max_steps=500),
                  cost=log10)
            for builder in (optax.sgd, adagrad)
        )
        excess[name] = [log10(arm.ends) for arm in arms]
    watch = lambda optimizer, read: trajectories(
        BOWL, optimizer, 1, key=jax.random.key(0), num_steps=100, observe=lambda x, state: (x[0], read(state)[0])
    )[1]
    paths = {
        "AdaGrad": watch(adagrad(0.1), lambda state: 0.1 / jnp.sqrt(state[0].sum_of_squares + 1e-30)),
        "RMSProp": watch(optax.rmsprop(0.1, decay=0.9), lambda state: 0.1 / jnp.sqrt(state[0].nu + 1e-30)),
    }
    digits, short = landscapes.digits_mlp(num_images=100, l2=1e-6), Stop(max_steps=20)
    blank = Landscape(value=lambda p: digits.value(p) - 5e-7 * optax.tree.norm(p, squared=True), sample=digits.sample)
    broken = {
        delta: np.asarray(descend(blank, bare_adagrad(delta), 24, key=jax.random.key(1), stop=short).status) == 3
        for delta in (0.0, 1e-8)
    }
    return judge(excess, {name: np.asarray(path)[:, 0] for name, path in paths.items()}, broken)


def judge(excess: dict[str, Any], paths: dict[str, np.ndarray], broken: dict[float, np.ndarray]) -> experiment.Claim:
    """Returns the claim from log10 excesses of both, (position, rate) along the way, and which descents turned NaN."""
    position, rate = paths["AdaGrad"]
    grows = lambda path: float(np.mean(np.diff(path[1][1:]) > 0))
    claimed = {"source": "the claim"}
    rows = [
        *(experiment.median(f"{name}: log10 excess of AdaGrad less that of a constant rate", ada - sgd, expected=0.0,
                          relation="at_most", is_outside=place > 2, **claimed)
          for place, (name, (sgd, ada)) in enumerate(excess.items())),
        *(experiment.exactly(f"AdaGrad on x^2/2 from 1, rate .1: x after {step} ticks", position[step], error=1e-4,
                             expected=x, tolerance=5e-5, source="recomputed") for step, x in ((10, 0.5537), (100, 0.0274))),
        experiment.exactly("AdaGrad: share of ticks at which its rate grows", grows(paths["AdaGrad"]), expected=0.0,
                           **claimed),
        experiment.exactly("RMSProp: share of ticks at which its rate grows", grows(paths["RMSProp"])),
        experiment.share("digits, delta = 0: share that turns NaN", broken[0.0], expected=0.7, relation="at_least",
                         source="0 / 0 at blank pixels"),
        experiment.share("digits, delta = 1e-8: share that turns NaN", broken[1e-8], expected=0.3, relation="at_most",
                         **claimed),
    ]  # fmt: skip
    sentence = "A constant rate is wrong; AdaGrad's sum shrinks it where gradients are large, and delta keeps it stable."
    return experiment.Claim(
        name="T1.6", claim=sentence, rows=rows, data={"excess": excess, "paths": paths},
        condition="on bowls; elsewhere a tuned constant rate may do as well",
    )  # fmt: skip


def figure(claim: experiment.Claim) -> Any:
    """Draws the difference by landscape, and the rates along the way."""
    title = "AdaGrad beats a tuned constant rate on bowls, not everywhere; its own rate only shrinks"
    drawn, (left, right) = experiment.panels(title, width=5.6)
    excess = claim.data["excess"]
    left.boxplot([ada - sgd for sgd, ada in excess.values()], orientation="horizontal", tick_labels=[n.replace(", ", "\n") for n in excess])
    left.axvline(0, color="black", linewidth=0.8)
    left.set(xlabel="log10 excess, AdaGrad less constant rate (left: AdaGrad ahead)")
    for name, (_, rate) in claim.data["paths"].items():
        right.plot(np.arange(1, len(rate)), rate[1:], label=name)
    right.axhline(0.1, color="black", linestyle=":", linewidth=0.8, label="constant")
    right.set(xlabel="ticks on x²/2 from 1", ylabel="rate that multiplies the gradient", yscale="log")
    right.legend()
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
