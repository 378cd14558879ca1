"""T2.4: AdaGrad stops too early, RMSProp never stops, epsilon only eases it; so both end behind well-tuned SGD.

Gradient descent, AdaGrad (sum) and RMSProp, each rate tuned over 10 values on 16 starts, on the same further starts for
1,000 ticks: excess over the minimum on bowls without and with gradient noise, in Rosenbrock's valley and on a double
well, as the median of log10 ratios. Then RMSProp's two-cycle on x^2/2 by epsilon, and AdaGrad's way on an even slope.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd import Landscape, Stop, experiment, landscapes
from jaxgd.experiment.arms import tuned, values_at
from jaxgd.trajectory import trajectories

RATES, TICKS, RATE = np.geomspace(1e-4, 10, 10), 1000, 0.1
BOWL = Landscape(value=lambda x: x**2 / 2, sample=lambda key: jax.random.uniform(key, (), minval=0.5, maxval=1.5))
SLOPE = Landscape(value=lambda x: -x, sample=lambda key: jnp.zeros(()))
adagrad = lambda learning_rate: optax.adagrad(learning_rate, initial_accumulator_value=0.0)
ARMS = {"SGD": optax.sgd, "AdaGrad": adagrad, "RMSProp": optax.rmsprop}


def noisy(landscape: Landscape, size: float) -> Landscape:
    """Returns the landscape with normal noise of this size on every coordinate of its gradient."""
    shake = lambda x, key: landscape.value(x) + size * jnp.sum(x * jax.random.normal(key, x.shape))
    return Landscape(value=landscape.value, sample=landscape.sample, noisy_value=shake)


def measure(options: experiment.Options) -> experiment.Claim:
    """Runs all arms on all landscapes, then the exact cases."""
    count = 32 if options.quick else 300
    bowl = landscapes.quadratic_bowl(dim=10, condition_number=10.0, axes="rotated")
    valley, wells = landscapes.rosenbrock(dim=4), landscapes.product_double_well(dim=10)
    zoo = {"bowl": bowl, "bowl with noise": noisy(bowl, 1.0), "Rosenbrock": valley, "double well": wells}
    excess: dict[str, dict[str, Any]] = {}
    for name, landscape in zoo.items():
        least, is_noisy = -2.5 if landscape is wells else 0.0, landscape.noisy_value is not None
        log10 = lambda ends, at=landscape, least=least: np.log10(np.maximum(values_at(at, ends.params) - least, 1e-15))
        excess[name] = {
            arm: log10(tuned(landscape, build, count, rates=RATES, key=jax.random.key(0), cost=log10,
                             stop=Stop(max_steps=TICKS, gradient_norm=1e-12), is_noisy=is_noisy).ends)
            for arm, build in ARMS.items()
        }  # fmt: skip
    follow = lambda landscape, optimizer: np.asarray(
        trajectories(landscape, optimizer, 20, key=jax.random.key(0), num_steps=2048, observe=lambda x, state: x)[1]
    )
    rms = lambda eps: optax.rmsprop(RATE, 0.9, eps=eps, eps_in_sqrt=False)
    cycles = {eps: follow(BOWL, rms(eps)) for eps in (1e-8, 0.01, 0.03, 0.06)}
    return judge(excess, cycles, follow(SLOPE, adagrad(RATE))[0])


def judge(excess: dict[str, dict[str, Any]], cycles: dict[float, np.ndarray], slope: np.ndarray) -> experiment.Claim:
    """Returns the claim from log10 excesses by landscape and arm, paths by epsilon, and AdaGrad's path on a slope."""
    claimed = {"at_least": 0.05, "source": "the claim"}  # a tie is not behind
    rows = [
        experiment.median(f"{name}: log10 excess of {arm} less that of SGD", values - arms["SGD"], **claimed)
        for name, arms in excess.items()
        for arm, values in arms.items()
        if arm != "SGD"
    ]
    for eps, path in cycles.items():
        law = max(RATE / 2 - eps, 0)
        rows.append(experiment.median(f"RMSProp on x^2/2, epsilon {eps:g}: |x| at the end", np.abs(path[:, -1]),
                                      expected=law, tolerance=1e-4, source="rate / 2 - epsilon, or 0"))  # fmt: skip
    steps = np.array([128, 256, 512, 1024, 2048])
    rows.append(experiment.slope("AdaGrad on an even slope: exponent of the way by ticks (0 if it stops)", steps,
                                 slope[steps], num_descents=1))  # fmt: skip
    rows.append(experiment.share("share that still swings at epsilon .06, above rate / 2", at_least=0.9,
                                 flags=np.abs(cycles[0.06][:, -1]) > 1e-6, source="the claim"))  # fmt: skip
    return experiment.stated(__doc__, rows, data={"excess": excess, "cycles": cycles})


def figure(claim: experiment.Claim) -> Any:
    """Draws log10 excesses by landscape and arm, and RMSProp's cycles by epsilon."""
    excess, cycles = claim.data["excess"], claim.data["cycles"]
    behind = sum(np.median(v - arms["SGD"]) > 0.05 for arms in excess.values() for v in arms.values())
    drawn, axes = experiment.panels(
        f"In {behind} of {2 * len(excess)} comparisons an adaptive method ends behind tuned SGD; "
        "RMSProp swings by rate / 2 - epsilon and settles once that is negative", 2, width=6,
    )  # fmt: skip
    for shift, arm in enumerate(ARMS):
        at = np.arange(len(excess)) + 0.2 * shift - 0.3
        low, middle, high = (np.array([np.quantile(arms[arm], q) for arms in excess.values()]) for q in (0.1, 0.5, 0.9))
        axes[0].errorbar(at, middle, (middle - low, high - middle), fmt="o", label=arm)
    axes[0].set_xticks(range(len(excess)), list(excess))
    axes[0].set(ylabel=f"log10 excess after {TICKS:,} ticks")
    for eps, path in cycles.items():
        size = np.abs(path[0, :200])
        axes[1].plot(np.where(size > 0, size, np.nan), linewidth=0.9, label=f"epsilon {eps:g}")
    axes[1].set(yscale="log", ylim=(1e-12, 3), xlabel=f"ticks of RMSProp on x²/2, rate {RATE}", ylabel="|x|")
    return drawn
