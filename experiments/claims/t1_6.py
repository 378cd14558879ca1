"""T1.6: A constant rate is wrong; AdaGrad's sum shrinks it where gradients are large, and delta keeps it stable.

AdaGrad (sum) against a constant rate, both tuned over 12 values on 16 starts, on the same further starts, 500 ticks
each: excess over the minimum, as the median difference of log10. Then the rates along the way, beside RMSProp's: does
any grow near the optimum? Last the formula without delta on the digits, where blank pixels have no gradient at all.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd import Landscape, Status, Stop, descend, experiment, landscapes
from jaxgd.experiment.arms import tuned
from jaxgd.trajectory import trajectories

RATES, STOP = np.geomspace(1e-4, 30, 12), Stop(gradient_norm=1e-100, max_steps=500)
log10 = lambda ends: np.log10(np.asarray(ends.value) + 1e-200)  # minima have the value 0
digits = lambda: landscapes.digits_network(1, 4, l2=0.0, num_images=100)
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
    bowl = lambda **how: landscapes.quadratic_bowl(dim=10, **how)
    zoo = {
        "bowl, steepness 1 to 1000 by axis": bowl(condition_number=1000.0),
        "bowl, the same but turned": bowl(condition_number=1000.0, axes="rotated"),
        "bowl, steepness 1 to 3 by axis": bowl(condition_number=3.0),
        "Rosenbrock, d = 4": landscapes.rosenbrock(dim=4),
        "network on 50 digits": landscapes.digits_mlp(num_images=50),
    }
    excess = {}
    for name, landscape in zoo.items():
        how = {"rates": RATES, "key": jax.random.key(0), "stop": STOP, "cost": log10}
        excess[name] = [log10(tuned(landscape, arm, count, **how).ends) for arm in (optax.sgd, adagrad)]
    rate = lambda state: 0.1 / jnp.sqrt(jax.tree.leaves(state)[0][0] + 1e-30)  # from the sum or the mean of squares
    watch = lambda optimizer: trajectories(
        BOWL, optimizer, 1, key=jax.random.key(0), num_steps=100, observe=lambda x, state: (x[0], rate(state))
    )[1]
    paths = {"AdaGrad": watch(adagrad(0.1)), "RMSProp": watch(optax.rmsprop(0.1, decay=0.9))}
    halt = lambda delta: descend(digits(), bare_adagrad(delta), 24, key=jax.random.key(1), stop=Stop(max_steps=20))
    broken = {delta: np.asarray(halt(delta).status) == Status.DIVERGED for delta in (0.0, 1e-8)}
    return judge(excess, {name: np.asarray(path)[:, 0] for name, path in paths.items()}, broken)


def judge(excess: dict[str, Any], paths: dict[str, np.ndarray], broken: dict[float, np.ndarray]) -> experiment.Claim:
    """Returns the claim from log10 excesses of both, (position, rate) along the way, and which descents turned NaN."""
    grows = lambda path: float(np.mean(np.diff(path[1][1:]) > 0))
    rows = [
        *(experiment.median(f"{name}: log10 excess of AdaGrad less that of a constant rate", ada - sgd, at_most=0.0,
                            is_outside=place > 2, source="the claim")
          for place, (name, (sgd, ada)) in enumerate(excess.items())),
        *(experiment.exactly(f"AdaGrad on x^2/2 from 1, rate .1: x after {step} ticks", paths["AdaGrad"][0][step],
                             error=1e-4, expected=x, tolerance=5e-5, source="recomputed")
          for step, x in ((10, 0.5537), (100, 0.0274))),
        experiment.exactly("AdaGrad: share of ticks at which its rate grows", grows(paths["AdaGrad"]), expected=0.0,
                           source="the claim"),
        experiment.exactly("RMSProp: share of ticks at which its rate grows", grows(paths["RMSProp"])),
        *(experiment.share(f"digits, delta = {delta:g}: share that turns NaN", broken[delta], source="0 / 0", **bound)
          for delta, bound in ((0.0, {"at_least": 0.7}), (1e-8, {"at_most": 0.3}))),
    ]  # fmt: skip
    condition = "on bowls; elsewhere a tuned constant rate may do as well"
    return experiment.stated(__doc__, rows, condition=condition, data={"excess": excess, "paths": paths})


def figure(claim: experiment.Claim) -> Any:
    """Draws the difference by landscape, and the rates along the way."""
    title = "AdaGrad beats a tuned constant rate on bowls, not everywhere; its own rate only shrinks"
    drawn, (left, right) = experiment.panels(title, width=5.6)
    excess = claim.data["excess"]
    names = [name.replace(", ", "\n") for name in excess]
    left.boxplot([ada - sgd for sgd, ada in excess.values()], orientation="horizontal", tick_labels=names)
    left.set_xscale("symlog", linthresh=1)
    left.set(xlabel="log10 excess, AdaGrad less constant rate (left: AdaGrad ahead)")
    for name, (_, rate) in claim.data["paths"].items():
        right.plot(np.arange(1, len(rate)), rate[1:], label=name)
    right.axhline(0.1, color="black", linestyle=":", linewidth=0.8, label="constant")
    right.set(xlabel="ticks on x²/2 from 1", ylabel="rate that multiplies the gradient", yscale="log")
    return drawn
