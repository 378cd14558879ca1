"""T4.4: Saddles are easy to leave: minibatch noise falls off them.

Dwell times as survival curves. (1) At a quadratic saddle, started exactly on it, gradient descent with gradient noise
sigma: the theory of unstable growth gives the mean number of steps to distance R, [ln(R / s) + 0.6351814] / ln(1 +
rate) + 1/2 with s^2 = rate^2 sigma^2 / ((1 + rate)^2 - 1), logarithmic in the noise. (2) The saddle of a network
(digits, tanh) where all weights are zero: there the gradient of every single image vanishes along the ways down, so
that minibatches make no noise that leaves; Gaussian noise does. (3) The octopus, a chain of five saddles: steps to
pass it, with noise and without, from the same starts. All at rate 0.05 (network 0.5, octopus 0.25); nothing is tuned,
as the dwell in units of 1 / rate is the question. Censored after the stated number of steps.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd import Stop, descend, experiment, landscapes, sweep, transforms
from jaxgd.statistics import survival_curve

RATE, RADIUS, NOISES = 0.05, 1.0, (1e-2, 1e-4, 1e-6)
BATCHES = (8, 512)
KEY = jax.random.key(0)


def dwell(ends: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the steps watched and whether they ended in escape."""
    return np.asarray(ends.num_steps), np.asarray(ends.event_steps["out"]) >= 0


def stop(max_steps: int) -> Stop:
    """Returns the rule that ends a dwell at its escape."""
    return Stop(gradient_norm=None, max_steps=max_steps, at_event="out")


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns dwells at all saddles."""
    num_starts, num_networks = (500, 16) if options.quick else (10_000, 128)
    saddle = replace(landscapes.quadratic_saddle(dim=2), sample=lambda key: jnp.full((2,), 1e-100))
    out = {"out": lambda x, value, gradient: jnp.abs(x[0]) >= RADIUS}
    noisy = lambda scale: optax.chain(transforms.add_gradient_noise(scale), optax.sgd(RATE))
    quadratic = sweep(saddle, noisy, num_starts, key=KEY, stop=stop(5_000), events=out, scale=list(NOISES))
    dwells = {f"noise {noise:g}": dwell(ends) for noise, ends in zip(NOISES, quadratic.ends, strict=True)}
    left = {"out": lambda params, value, gradient: optax.tree.norm(params["layer_1"]["weights"]) > 0.1}
    for batch, noise in [(8, 0.0), (512, 0.0), (512, 1e-4)]:
        network = landscapes.digits_mlp(widths=(4,), num_images=512, batch_size=batch, l2=1e-4)
        network = replace(network, sample=lambda key, like=network.sample: jax.tree.map(jnp.zeros_like, like(key)))
        optimizer = optax.chain(transforms.add_gradient_noise(noise), optax.sgd(0.5))
        ends = descend(network, optimizer, num_networks, key=KEY, stop=stop(500), events=left, is_noisy=True)
        name = f"Gaussian noise {noise:g}" if noise else f"batches of {batch}"
        dwells[f"network, {name}"] = dwell(ends)
    passed = {"out": lambda x, value, gradient: jnp.all(jnp.abs(x) > 2 * jnp.e)}
    for name, noise in (("without noise", 0.0), ("with noise 0.01", 0.01)):
        optimizer = optax.chain(transforms.add_gradient_noise(noise), optax.sgd(0.25))
        ends = descend(landscapes.octopus(dim=5), optimizer, num_starts, key=KEY, stop=stop(3_000), events=passed)
        dwells[f"octopus {name}"] = dwell(ends)
    return judge(dwells)


def judge(dwells: dict[str, tuple[np.ndarray, np.ndarray]]) -> experiment.Claim:
    """Returns the claim from dwells (steps watched, escaped) of each arm."""
    rows = []
    for noise in NOISES:
        steps, escaped = dwells[f"noise {noise:g}"]
        spread = RATE * noise / ((1 + RATE) ** 2 - 1) ** 0.5
        law = (np.log(RADIUS / spread) + 0.6351814) / np.log(1 + RATE) + 0.5
        rows.append(experiment.mean(f"quadratic saddle, noise {noise:g}: mean dwell", np.where(escaped, steps, np.inf),
                                    expected=law, source="unstable growth", tolerance=0.5))  # fmt: skip
    rows.append(experiment.share("network saddle, Gaussian noise: escaped", dwells["network, Gaussian noise 0.0001"][1],
                                 expected=0.5, relation="at_least"))  # fmt: skip
    rows += [
        experiment.share(f"network saddle, batches of {batch}: escaped", dwells[f"network, batches of {batch}"][1],
                         expected=0.5, relation="at_least", is_outside=True)
        for batch in BATCHES
    ]  # fmt: skip
    slow, fast = (dwells[f"octopus {name}"] for name in ("without noise", "with noise 0.01"))
    ratio = np.where(fast[1], slow[0] / fast[0], 0.0)
    rows.append(experiment.median("octopus: steps without noise over those with", ratio, expected=2.0,
                                  relation="at_least"))  # fmt: skip
    return experiment.Claim(
        name="T4.4", rows=rows, data={"dwells": dwells}, claim="Noise leaves saddles in a logarithmic time.",
        condition="the noise has a part along the ways down; that of minibatches may have none",
    )  # fmt: skip


def figure(claim: experiment.Claim) -> Any:
    """Returns the survival curves."""
    title = "Noise leaves a saddle in logarithmic time, but minibatches cannot leave a network's zero weights"
    drawn, axes = experiment.panels(title, 3, width=4.2)
    for panel, kind in zip(axes, ("noise", "network", "octopus"), strict=True):
        for name, (steps, escaped) in claim.data["dwells"].items():
            if name.startswith(kind):
                curve = survival_curve(steps, escaped)
                panel.step([0, *curve.times], [1, *curve.survival], where="post", label=name.removeprefix(f"{kind}, "))
        panel.set(xlabel="steps", ylabel="share still there", ylim=(-0.03, 1.05), xscale="log", xlim=(5, None))
        panel.legend(fontsize=8)
    return drawn
