r"""How long does descent dwell at a quadratic saddle, and does the dimension matter?

    value(x) = -x_1^2/2 + (x_2^2 + ... + x_d^2)/2,    escape: the first step with |x| >= 1.

Away from the saddle x_1 grows by a factor g each step, from an amplitude that is a random number s Z, Z standard
normal. Hence the steps to |x| = R have, for a fine enough step,

    mean = (ln(R/s) + (gamma + ln 2)/2) / ln g + 1/2,    variance = (pi^2/8) / ln^2 g + 1/12,

the last terms from rounding up to whole steps. g and s are 1 + eta and the width of the starts for gradient
descent; the larger root of z^2 - (1 + beta + eta) z + beta for the heavy ball, whose s is larger by the weight of
that root; and for Langevin noise of temperature D from the saddle itself s^2 = 2 eta D / (g^2 - 1). From a uniform
start in [-s, s] they are (ln(R/s) + 1) / ln g + 1/2 and 1 / ln^2 g + 1/12. Nowhere does d enter.
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgd
from experiments.escape.moments import mean_row, slope_row, variance_row
from jaxgd import experiment
from jaxgd.experiment import Claim
from jaxgd.statistics import survival_curve
from jaxgd.statistics.escape_laws import MEAN_LOG_NORMAL

RADIUS, LEARNING_RATE, MOMENTUM, TEMPERATURE, SCALE = 1.0, 0.05, 0.9, 1e-8, 1e-6
NUM_DESCENTS = {2: 40_000, 10: 40_000, 100: 10_000, 1_000: 2_000}
SCALES = (1e-2, 1e-4, 1e-6, 1e-8, 1e-10)  # s of the starts, for the slope
TEMPERATURES = (1e-6, 1e-8, 1e-10, 1e-12)
AT_SADDLE = 1e-30  # starts of noisy descents: not exactly 0, where the gradient norm would end them
STOP = jaxgd.Stop(gradient_norm=None, max_steps=100_000, at_event="escaped")

GRADIENT_DESCENT, HEAVY_BALL, LANGEVIN = "gradient descent", "heavy ball", "Langevin noise"
OPTIMIZERS = {
    GRADIENT_DESCENT: lambda: optax.sgd(LEARNING_RATE),
    HEAVY_BALL: lambda: jaxgd.transforms.heavy_ball(LEARNING_RATE, MOMENTUM),
    LANGEVIN: lambda: jaxgd.transforms.langevin(LEARNING_RATE, TEMPERATURE),
}


def has_escaped(x: jax.Array, value: jax.Array, gradient: jax.Array) -> jax.Array:
    """Returns whether the descent has left the ball around the saddle."""
    return jnp.sum(x**2) >= RADIUS**2


def growth_and_width(kind: str, scale: float = SCALE, temperature: float = TEMPERATURE) -> tuple[float, float]:
    """Returns the growth g of a step, and the width s of the amplitude that grows."""
    if kind == GRADIENT_DESCENT:
        return 1 + LEARNING_RATE, scale
    if kind == HEAVY_BALL:
        large, small = sorted(np.roots([1, -(1 + MOMENTUM + LEARNING_RATE), MOMENTUM]).real, reverse=True)
        return float(large), scale * float((1 + LEARNING_RATE - small) / (large - small))  # x_1 = (1 + eta) x_0
    growth = 1 + LEARNING_RATE
    return growth, float(np.sqrt(2 * LEARNING_RATE * temperature / (growth**2 - 1)))


def law(kind: str, scale: float = SCALE, temperature: float = TEMPERATURE) -> tuple[float, float]:
    """Returns the law's mean and variance of the steps to escape, for normal starts."""
    growth, width = growth_and_width(kind, scale, temperature)
    rate = np.log(growth)
    return (np.log(RADIUS / width) + MEAN_LOG_NORMAL) / rate + 0.5, np.pi**2 / 8 / rate**2 + 1 / 12


def dwell(
    dim: int,
    optimizer: Any,
    num_descents: int | None,
    seed: int,
    scale: float,
    start: str = "normal",
    starts: Any = None,
) -> np.ndarray:
    """Returns the steps to escape; every descent escapes, or this raises."""
    saddle = jaxgd.landscapes.quadratic_saddle(dim=dim, start=start, scale=scale)
    ends = jaxgd.descend(
        saddle,
        optimizer,
        num_descents,
        key=jax.random.key(seed),
        stop=STOP,
        events={"escaped": has_escaped},
        starts=starts,
        keep=(),
        engine=jaxgd.Engine(num_devices=len(jax.devices())),
    )
    steps = np.asarray(ends.event_steps["escaped"])
    if (steps < 0).any():
        raise jaxgd.InputValueError(f"{np.sum(steps < 0)} of {len(steps)} descents did not escape.")
    return steps


def measure(options: experiment.Options) -> Claim:
    """Returns mean, variance and slopes of escape times against the law."""
    share = 0.05 if options.quick else 1.0
    dims = (2, 1_000) if options.quick else tuple(NUM_DESCENTS)
    temperatures = TEMPERATURES[::3] if options.quick else TEMPERATURES
    rows, curves, seed = [], {}, 0
    for kind, optimizer in OPTIMIZERS.items():
        expected_mean, expected_variance = law(kind)
        for dim in dims:
            seed += 1
            scale = AT_SADDLE if kind == LANGEVIN else SCALE
            steps = dwell(dim, optimizer(), int(NUM_DESCENTS[dim] * share), seed, scale)
            source = "(ln(R/s) + 0.6352)/ln g + 1/2; (pi^2/8)/ln^2 g + 1/12"
            rows.append(mean_row(f"{kind}, d={dim}: mean steps", steps, expected_mean, source))
            rows.append(variance_row(f"{kind}, d={dim}: variance", steps, expected_variance, source))
            curves[kind, dim] = survival_curve(steps, np.ones(steps.size, bool))
        experiment.note(f"{kind}: done")
    rate = np.log(1 + LEARNING_RATE)
    num = int(10_000 * share)

    steps = dwell(2, optax.sgd(LEARNING_RATE), num, 100, SCALE, "uniform")
    source = "(ln(R/s) + 1)/ln g + 1/2; 1/ln^2 g + 1/12"
    rows.append(mean_row("uniform start, d=2: mean steps", steps, (np.log(RADIUS / SCALE) + 1) / rate + 0.5, source))
    rows.append(variance_row("uniform start, d=2: variance", steps, 1 / rate**2 + 1 / 12, source))

    unit = jax.vmap(jaxgd.landscapes.quadratic_saddle(dim=10).sample)(jax.random.split(jax.random.key(200), num))
    near = dwell(10, optax.sgd(LEARNING_RATE), None, 200, 1.0, starts=jnp.concatenate([s * unit for s in SCALES]))
    log_widths = np.repeat(np.log(1 / np.array(SCALES)), num)
    rows.append(slope_row("steps per e-fold of 1/s, d=10", log_widths, near, 1 / rate, "1/ln(1 + eta)"))
    cold = [
        dwell(10, jaxgd.transforms.langevin(LEARNING_RATE, temperature), num, 300 + i, AT_SADDLE)
        for i, temperature in enumerate(temperatures)
    ]
    log_colds = np.repeat(np.log(1 / np.array(temperatures)), num)
    source = "1/(2 ln(1 + eta))"
    rows.append(slope_row("steps per e-fold of 1/D, d=10", log_colds, np.concatenate(cold), 0.5 / rate, source))
    means = {
        GRADIENT_DESCENT: dict(zip(SCALES, near.reshape(len(SCALES), num).mean(axis=1), strict=True)),
        LANGEVIN: {temperature: steps.mean() for temperature, steps in zip(temperatures, cold, strict=True)},
    }
    return Claim(
        name="escape.quadratic_saddle",
        claim="The dwell at a quadratic saddle is logarithmic in the distance or the noise it begins with, with the "
        "mean and variance of ln(1/|Z|), and does not depend on the dimension.",
        rows=rows,
        data={"curves": curves, "means": means},
    )


def figure(result: Claim) -> Any:
    """Returns survival curves over dimensions, and mean dwells over starts and noise, with the laws."""
    drawn, (left, right) = experiment.panels(
        f"The dwell at a quadratic saddle follows the law of ln(1/|Z|) in every dimension ({result.verdict})"
    )
    styles = {2: "-", 10: "--", 100: "-.", 1_000: ":"}
    colours = dict(zip(OPTIMIZERS, ("tab:blue", "tab:orange", "tab:green"), strict=True))
    for (kind, dim), curve in result.data["curves"].items():
        left.step(curve.times, curve.survival, styles[dim], where="post", color=colours[kind], lw=1.2)
    for kind, colour in colours.items():
        left.plot([], [], color=colour, label=kind)
    for dim in dict.fromkeys(dim for _, dim in result.data["curves"]):
        left.plot([], [], styles[dim], color="black", lw=1.2, label=f"d = {dim:,}")
    left.set(xlabel="steps", ylabel="share still at the saddle", ylim=(0, 1.02))
    left.legend(fontsize=7, loc="upper right")
    labels = {GRADIENT_DESCENT: ("scale", "starts of width s"), LANGEVIN: ("temperature", "noise of temperature D")}
    for kind, (name, label) in labels.items():
        found = result.data["means"][kind]
        right.plot(list(found), list(found.values()), "o", color=colours[kind], label=f"{kind}, {label}")
        laws = [law(kind, **{name: value})[0] for value in found]
        right.plot(list(found), laws, color=colours[kind], lw=1, label="its law")
    right.set(xscale="log", xlabel="s (a length), D (a temperature)", ylabel="mean steps to escape, d = 10")
    right.legend(fontsize=7)
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
