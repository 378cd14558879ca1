r"""Does gradient descent pass a chain of saddles in geometrically growing times, and perturbed descent in equal ones?

On the octopus of Du et al. (2017, arXiv:1705.10412) one coordinate after the other leaves for |x_i| >= 2 tau, while
those behind it shrink. So gradient descent starts ever closer to the next saddle, and its escape times obey

    t_{k+1} = kappa t_k + c,    kappa = 1 + ln(1/(1 - 2 eta L)) / ln(1 + 2 eta gamma);

noise keeps a floor under what is left, and each saddle costs the same. Escape is the first step with |x_i| >= 2 tau.

A test of the gradient cannot be used to stop: at 1e-9 it calls every descent converged at the third saddle, which is
why none is used here. And numbers end: after 1,074 halvings a coordinate is exactly zero in float64 (150 in float32),
and gradient descent stays for ever.
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgd
from experiments.escape.moments import estimate_row
from jaxgd import experiment
from jaxgd.experiment import CONFIDENCE, Claim, Statistic
from jaxgd.landscapes import octopus
from jaxgd.statistics import growth_factor

TAU = np.e
NUM_DESCENTS, MAX_STEPS = 4_000, 20_000
PUBLISHED_MEDIANS = (6, 23, 66, 184, 503)
"""Gradient descent, L = gamma = 1, step 1/4, five saddles, starts in [-1, 1]^5."""

DESCENTS = {"L=1, step 1/4": (1.0, 0.25, 5), "L=2, step 1/8": (2.0, 0.125, 4)}  # L, step, saddles
NUM_SADDLES = 12  # of the perturbed descents
RADIUS = TAU / 100
PERTURBED = {
    "kicks at small gradients": lambda: jaxgd.transforms.perturbed_gradient(0.25, RADIUS, TAU / 100, 10, 1e-6),
    "noise at every step": lambda: jaxgd.transforms.always_perturbed_gradient(0.25, RADIUS),
}


def kappa(steepness: float, learning_rate: float, gamma: float = 1.0) -> float:
    """Returns the law's growth of successive escape times."""
    return float(1 + np.log(1 / (1 - 2 * learning_rate * steepness)) / np.log(1 + 2 * learning_rate * gamma))


def escape_times(optimizer: Any, steepness: float, num_saddles: int, num_descents: int, seed: int) -> np.ndarray:
    """Returns (n, saddles) the steps at which each saddle was left, inf where it was not."""
    events = {f"saddle {i + 1}": _leaves(i) for i in range(num_saddles)}
    ends = jaxgd.descend(
        octopus(num_saddles, steepness=steepness, tau=TAU),
        optimizer,
        num_descents,
        key=jax.random.key(seed),
        stop=jaxgd.Stop(gradient_norm=None, max_steps=MAX_STEPS, at_event=f"saddle {num_saddles}"),
        events=events,
        keep=(),
        engine=jaxgd.Engine(num_devices=len(jax.devices())),
    )
    steps = np.stack([np.asarray(ends.event_steps[name], float) for name in events], axis=1)
    return np.where(steps < 0, np.inf, steps)


def _leaves(i: int) -> Any:
    return lambda x, value, gradient: jnp.abs(x[i]) >= 2 * TAU


def measure(options: experiment.Options) -> Claim:
    """Returns growth factors, medians and costs of a saddle, without and with noise."""
    num = 300 if options.quick else NUM_DESCENTS
    rows: list[Statistic] = []
    times: dict[str, np.ndarray] = {}
    for seed, (name, (steepness, learning_rate, num_saddles)) in enumerate(DESCENTS.items()):
        found = escape_times(optax.sgd(learning_rate), steepness, num_saddles, num, seed)
        times[f"gradient descent, {name}"] = found
        value, low, high = growth_factor(found, CONFIDENCE)
        rows.append(
            Statistic(
                statistic=f"gradient descent, {name}: factor from saddle to saddle",
                measured=value,
                low=low,
                high=high,
                expected=kappa(steepness, learning_rate),
                tolerance=0.01,
                num_descents=num,
                source="1 + ln(1/(1 - 2 eta L))/ln(1 + 2 eta gamma), up to terms that vanish with the distance",
            )
        )
    for number, (median, column) in enumerate(
        zip(PUBLISHED_MEDIANS, times["gradient descent, L=1, step 1/4"].T, strict=True), start=1
    ):
        rows.append(
            experiment.median(
                f"gradient descent, L=1, step 1/4: median steps to leave saddle {number}",
                column,
                expected=median,
                tolerance=0.5,
                source="an independent computation",
            )
        )
    half = NUM_SADDLES // 2
    for seed, (name, optimizer) in enumerate(PERTURBED.items(), start=10):
        found = escape_times(optimizer(), 1.0, NUM_SADDLES, num, seed)
        times[name] = found
        costs = np.diff(found, axis=1)
        early, late = costs[:, 1:half].mean(axis=1), costs[:, half:].mean(axis=1)
        error = np.std(late - early, ddof=1) / np.sqrt(num)
        rows.append(
            estimate_row(
                f"{name}: steps for a saddle, saddles {half + 2} to {NUM_SADDLES} less saddles 3 to {half + 1}",
                np.mean(late - early),
                error,
                num,
                0.0,
                "equal costs: a linear law",
            )
        )
        rows.append(experiment.mean(f"{name}: steps for a saddle", late))
    fifth = times["gradient descent, L=1, step 1/4"][:, 4]
    rows.append(experiment.share("gradient descent, L=1, step 1/4: leaves all five saddles", np.isfinite(fifth)))
    return Claim(
        name="escape.octopus",
        claim="Gradient descent leaves the saddles of the octopus in geometrically growing times, with the factor of "
        "the law; with noise every saddle costs the same.",
        rows=rows,
        data={"times": times},
    )


def figure(result: Claim) -> Any:
    """Returns median escape times over saddles, without and with noise, and the laws."""
    drawn, (left, right) = experiment.panels(
        "Chain of saddles: gradient descent takes geometrically growing times, noise makes them linear"
    )
    for name, found in result.data["times"].items():
        number = np.arange(1, found.shape[1] + 1)
        middle = np.median(found, axis=0)
        reached = np.isfinite(middle)
        for panel in (left, right):
            panel.plot(number[reached], middle[reached], "o-", ms=4, label=name)
    for steepness, learning_rate, num_saddles in DESCENTS.values():
        last = np.median(next(t for k, t in result.data["times"].items() if f"L={steepness:g}" in k)[:, -1])
        number = np.arange(2, num_saddles + 1)
        left.plot(number, last * kappa(steepness, learning_rate) ** (number - num_saddles), ":", color="black", lw=1)
    left.plot([], [], ":", color="black", label="the law's factor")
    left.set(yscale="log", xlabel="saddle", ylabel="median steps until it is left", title="logarithmic scale")
    right.set(xlabel="saddle", ylabel="median steps until it is left", title="the same, linear scale", ylim=(0, 480))
    left.legend(fontsize=7, loc="lower right")
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
