"""T2.1: Gradient descent is Euler's method for the gradient flow.

On four landscapes, descents of a fixed time T = steps * rate are compared with the flow dx/dt = -grad f from the same
starts, solved to 1e-12 by an 8th-order method: halving the rate must halve the distance, slope 1 in the logarithms.
Euler's method is stable below 2 / (largest curvature): descents beside a minimum settle just below this rate, and not
just above it. No rate is tuned: it is the variable.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.integrate import solve_ivp

from jaxgd import Landscape, Stop, experiment, landscapes, sweep
from jaxgd.trajectory import trajectories

AROUND = np.array([0.5, 0.9, 0.97, 0.99, 0.998, 1.002, 1.01, 1.03, 1.1])  # in units of 2 / largest curvature


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns distances to the flow by rate, and how far descents at rates around the threshold end from a minimum."""
    count = 40 if options.quick else 400
    zoo = (landscapes.quadratic_bowl(dim=5, condition_number=10.0), landscapes.styblinski_tang(dim=4),
           landscapes.mueller_brown(), landscapes.product_double_well(dim=10))  # fmt: skip
    distances = {landscape.name: to_the_flow(landscape, count) for landscape in zoo}
    return judge(distances, {landscape.name: settle(landscape) for landscape in zoo[:3]})


def to_the_flow(landscape: Landscape, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns rates, and the distance of descents at each rate to the flow at one time, (starts, rates)."""
    starts = np.asarray(jax.vmap(landscape.sample)(jax.random.split(jax.random.key(0), count)))
    coarsest = landscape.facts.max_learning_rate / 32
    gradient = jax.jit(jax.vmap(landscape.gradient))
    slope = lambda t, x: -np.asarray(gradient(x.reshape(starts.shape))).ravel()
    flow = solve_ivp(slope, (0, 32 * coarsest), starts.ravel(), method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    rates, found = coarsest / 2.0 ** np.arange(5), []
    for rate, steps in zip(rates, 32 * 2 ** np.arange(5), strict=True):
        ends = trajectories(
            landscape, optax.sgd(float(rate)), key=jax.random.key(1), starts=jnp.asarray(starts), num_steps=int(steps),
            every=int(steps), observe=lambda x, state: x,
        )[1]  # fmt: skip
        found.append(np.linalg.norm(np.asarray(ends)[:, -1] - flow.reshape(starts.shape), axis=1))
    return rates, np.stack(found, axis=1)


def settle(landscape: Landscape) -> np.ndarray:
    """Returns for each rate around 2 / (largest curvature of a minimum) whether descents from beside it return."""
    minima = [point for point in landscape.facts.points if point.index == 0]
    hessians = [np.linalg.eigvalsh(jax.hessian(landscape.value)(jnp.asarray(point.params))) for point in minima]
    sharpest = int(np.argmax([spectrum[-1] for spectrum in hessians]))
    rng, home = np.random.default_rng(0), np.asarray(minima[sharpest].params)
    starts = home + 1e-5 * rng.standard_normal((20, home.size))
    found = sweep(
        landscape, optax.sgd, key=jax.random.key(0), starts=jnp.asarray(starts),
        stop=Stop(gradient_norm=1e-6, max_steps=5000), learning_rate=AROUND * 2 / hessians[sharpest][-1],
    )  # fmt: skip
    return np.stack([np.linalg.norm(ends.params - home, axis=1) < 2e-6 for ends in found.ends])


def judge(distances: dict[str, tuple[np.ndarray, np.ndarray]], settled: dict[str, np.ndarray]) -> experiment.Claim:
    """Returns the claim from distances (starts, rates) to the flow, and who settled, (rates around 2/L, starts)."""
    rows = []
    for name, (rates, far) in distances.items():
        slopes = np.polyfit(np.log(rates), np.log(far).T, 1)[0]
        rows.append(experiment.median(f"{name}: exponent of the distance to the flow by rate", slopes, expected=1.0,
                                      tolerance=0.05, source="order of Euler's method"))  # fmt: skip
    for name, returns in settled.items():
        stable = np.where(returns.all(axis=1), AROUND, 0).max()
        unstable = np.where(returns.any(axis=1), np.inf, AROUND).min()
        rows.append(experiment.exactly(
            f"{name}: largest stable rate times largest curvature", stable + unstable, error=abs(unstable - stable),
            expected=2.0, source="stability of Euler's method", num_descents=returns.size,
        ))  # fmt: skip
    return experiment.stated(__doc__, rows, data={"distances": distances, "settled": settled})


def figure(claim: experiment.Claim) -> Any:
    """Draws distances against rates, and the share that settles around the threshold."""
    title = "Halving the rate halves the distance to the gradient flow; beyond 2 / curvature none settles"
    drawn, (left, right) = experiment.panels(title)
    for name, (rates, far) in claim.data["distances"].items():
        units = rates / rates[0] / 32
        left.plot(units, np.median(far, axis=0) / np.median(far[:, 0]), "o-", label=name, markersize=4)
    left.plot(units, units / units[0], ":", color="black", label="slope 1")
    left.set_xscale("log", base=2)
    left.set(yscale="log", xlabel="rate / (2 / largest curvature)", ylabel="distance to the flow / at the largest rate")
    for shift, (name, returns) in enumerate(claim.data["settled"].items()):
        right.plot(AROUND, returns.mean(axis=1) + 0.02 * shift, "o-", label=name, markersize=4)
    right.axvline(1, color="black", linestyle=":")
    right.set(xlabel="rate / (2 / largest curvature)", ylabel="share that settles (curves shifted by .02)")
    return drawn
