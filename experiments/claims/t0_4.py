"""T0.4: Explore against do not go too far: noise against a pull to the start.

Both on the same landscapes: gradient descent with Gaussian noise on the gradient, annealed to zero over the first half
of 500 ticks, and gradient descent with a pull to its start (proximal term). Each arm has the best of 8 strengths over
three decades (of the noise, of the pull), chosen on 8 starts of their own, at the landscape's own rate; same starts
for both. From random starts on bumpy landscapes, what is lower at the end? Outside the condition: starts that are
already good (near the global minimum) and gradients that are themselves noisy, where straying is the risk.
"""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jax import random

from jaxgd import Stop, experiment, landscapes, transforms
from jaxgd.experiment.arms import tuned, values_at
from jaxgd.experiment.charts import forest

NUM_STEPS, BUMPY = 500, landscapes.rugged_bowl(dim=10, ruggedness=10.0)
STOP = Stop(gradient_norm=1e-12, max_steps=NUM_STEPS)
GOOD = replace(BUMPY, sample=lambda key: 0.1 * random.normal(key, (10,)))
CASES = {  # landscape, its rate, noise of the gradients themselves, range of the noise that is added
    "rugged bowl": (BUMPY, 0.04, 0.0, 10.0),
    "Styblinski-Tang": (landscapes.styblinski_tang(dim=10), 0.005, 0.0, 300.0),
    "Gaussian field": (landscapes.gaussian_field(dim=3, m=0.3), 0.1, 0.0, 30.0),
    "rugged bowl, good starts, noisy": (GOOD, 0.04, 8.0, 10.0),
}


def explore(strength: Any, rate: float, noise: float) -> optax.GradientTransformation:
    """Returns descent with added noise that is annealed to zero."""
    fades = lambda step: strength * jnp.maximum(1 - 2 * step / NUM_STEPS, 0)
    return optax.chain(given(noise), transforms.add_gradient_noise(fades), optax.sgd(rate))


def stay(strength: Any, rate: float, noise: float) -> optax.GradientTransformation:
    """Returns descent with a pull to its start."""
    return optax.chain(given(noise), transforms.pull_to_start(strength), optax.sgd(rate))


def given(noise: float) -> optax.GradientTransformation:
    """Returns the noise of the gradients themselves."""
    return transforms.add_gradient_noise(noise) if noise else optax.identity()


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns final values of both arms in every case."""
    num_starts = 48 if options.quick else 2048
    finals = {}
    for name, (landscape, rate, noise, most) in CASES.items():
        for arm, builder, largest in (("noise", explore, most), ("pull", stay, 10.0)):
            found = tuned(
                landscape, builder, num_starts, name="strength", rates=largest * np.geomspace(1e-3, 1, 8),
                key=random.key(0), stop=STOP, num_tuning=8, rate=rate, noise=noise,
            )  # fmt: skip
            finals[name, arm] = values_at(landscape, found.ends.params)
    return judge(finals)


def judge(finals: dict[tuple[str, str], np.ndarray]) -> experiment.Claim:
    """Returns the claim from the final values (starts,) by case and arm."""
    rows = [
        experiment.mean(f"{name}: value with pull minus noise, over its spread",
                        (finals[name, "pull"] - finals[name, "noise"]) / spread_of(finals, name), expected=0.0,
                        relation="at_least", is_outside="good" in name)
        for name in CASES
    ]  # fmt: skip
    return experiment.Claim(
        name="T0.4", rows=rows, claim="Exploring (noise) ends lower than staying close to the start (a pull).",
        condition="the start is random; from a good start under noisy gradients, staying close wins",
    )  # fmt: skip


def spread_of(finals: dict[tuple[str, str], np.ndarray], name: str) -> float:
    """Returns the standard deviation of the final values of both arms together."""
    return float(np.std(np.concatenate([finals[name, "pull"], finals[name, "noise"]])))


def figure(claim: experiment.Claim) -> Any:
    """Returns the differences, case by case."""
    drawn, (panel,) = experiment.panels(
        "Noise wins from random starts, a pull to the start where the start is good", 1, width=9
    )
    forest(panel, claim.rows, xlabel="standard deviations (right: noise wins)")
    panel.axvline(0, color="black", lw=1)
    return drawn
