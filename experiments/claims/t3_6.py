"""T3.6: Can one flatten the mountain instead of choosing rates for it?

The same network of six layers on the digits, plain, with skip connections, with batch normalisation, and with both:
the whole spectrum of the Hessian at the start and along gradient descent at each network's best of 8 rates from 0.01
to 10 (chosen by mean final loss on 8 starts of their own). Weights are made of the same random numbers. "Flat" is a
small spread of curvature: the largest eigenvalue over the typical one (root mean square), and the largest eigenvalue
itself, which bounds the rate. Judged: the spread at the start, and the loss after 300 ticks, plain against each way of
flattening.
"""

from typing import Any

import jax
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from jaxgd import Stop, experiment, landscapes
from jaxgd.curvature import hessian
from jaxgd.experiment.arms import tuned, values_at
from jaxgd.experiment.charts import with_intervals
from jaxgd.trajectory import trajectories

COMMON = dict(depth=2, width=4, num_images=64, l2=0.0, activation="tanh")
NETWORKS = {
    "plain": dict(connections="plain"),
    "skip connections": dict(connections="residual"),
    "batch normalisation": dict(connections="plain", normalisation="batch"),
    "both": dict(connections="residual", normalisation="batch"),
}
NUM_STEPS, EVERY = 300, 150


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns eigenvalues along the way, and final losses."""
    num_spectra, num_starts = (12, 24) if options.quick else (64, 256)
    spectra, losses = {}, {}
    stop, key = Stop(gradient_norm=None, max_steps=NUM_STEPS), jax.random.key(0)
    for name, how in NETWORKS.items():
        network = landscapes.digits_network(**COMMON, **how)
        arm = tuned(network, optax.sgd, num_starts, rates=np.geomspace(0.01, 10, 8), key=key, stop=stop, num_tuning=8)
        losses[name] = values_at(network, arm.ends.params)

        def curvatures(params: Any, state: Any, network: Any = network) -> jax.Array:
            flat, restore = ravel_pytree(params)
            gradient = lambda vector: ravel_pytree(network.gradient(restore(vector)))[0]
            matrix = hessian(gradient, flat)
            return jax.numpy.linalg.eigvalsh((matrix + matrix.T) / 2)

        spectra[name] = np.asarray(
            trajectories(network, optax.sgd(arm.rate), num_spectra, key=key, num_steps=NUM_STEPS, every=EVERY,
                         observe=curvatures)[1]
        )  # fmt: skip
        experiment.note(f"{name}: best rate {arm.rate:.2g}")
    return judge(spectra, losses)


def judge(spectra: dict[str, np.ndarray], losses: dict[str, np.ndarray]) -> experiment.Claim:
    """Returns the claim from eigenvalues (starts, observations, parameters) and final losses (starts,)."""
    largest = {name: np.abs(values).max(axis=2) for name, values in spectra.items()}
    spread = {name: largest[name] / np.sqrt((values**2).mean(axis=2)) for name, values in spectra.items()}
    rows = []
    for name in list(NETWORKS)[1:]:
        rows += [
            experiment.mean(f"{name}: log spread at the start, plain minus this",
                            np.log(spread["plain"][:, 0] / spread[name][:, 0]), expected=0.0, relation="at_least"),
            experiment.mean(f"{name}: log largest curvature at the start, plain minus this",
                            np.log(largest["plain"][:, 0] / largest[name][:, 0])),
            experiment.mean(f"{name}: final loss, plain minus this", losses["plain"] - losses[name], expected=0.0,
                            relation="at_least"),
        ]  # fmt: skip
    data = {name: [experiment.median("", column) for column in values.T] for name, values in largest.items()}
    eigenvalues = {name: np.sort(values[:, 0].mean(axis=0)) for name, values in spectra.items()}
    return experiment.Claim(
        name="T3.6", rows=rows, data={"largest": data, "eigenvalues": eigenvalues},
        claim="Skip connections and batch normalisation flatten the landscape, and descent gets lower on it.",
    )  # fmt: skip


def figure(claim: experiment.Claim) -> Any:
    """Returns the spectra at the start, and the largest curvature along the way."""
    title = "The same network with and without skip connections and normalisation: its curvatures"
    drawn, (spectrum, way) = experiment.panels(title, 2, width=5.5)
    for name, values in claim.data["eigenvalues"].items():
        spectrum.plot(np.abs(values[np.argsort(-np.abs(values))]), label=name)
        rows = claim.data["largest"][name]
        with_intervals(way, EVERY * np.arange(len(rows)), rows, name)
    spectrum.set(yscale="log", xlabel="eigenvalue, by size", ylabel="|curvature| at the start", ylim=(1e-6, None))
    way.set(yscale="log", xlabel="step", ylabel="largest |curvature|")
    spectrum.legend()
    return drawn
