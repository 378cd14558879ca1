"""T1.3: The gradient is the direction of steepest ascent; the directional derivative is |grad f| cos a.

At random points of five landscapes, difference quotients along random directions are compared with |grad f| cos a.
How small cos a is for a random direction in d dimensions has an exact law: its square has the mean 1/d. Steepest
means per Euclidean length; per length in the maximum norm the signs of the gradient climb more steeply (T2.3).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.special import gammaln

from jaxgd import Landscape, experiment, landscapes

SHIFT = 1e-4
mean_cosine = lambda d: np.exp(gammaln(d / 2) - gammaln((d + 1) / 2)) / np.sqrt(np.pi)  # E|cos a|, exact


def measure(options: experiment.Options) -> experiment.Claim:
    """Looks along random directions at random points; no descent is made."""
    num_points, num_directions = (20, 50) if options.quick else (100, 200)
    zoo = (landscapes.mueller_brown(), landscapes.rosenbrock(dim=10), landscapes.styblinski_tang(dim=100),
           landscapes.gaussian_field(dim=5), landscapes.digits_mlp(widths=(8,), num_images=200))  # fmt: skip
    looks = {landscape.name: look(landscape, num_points, num_directions) for landscape in zoo}
    cosines = {d: random_cosines(d, 20_000) for d in (2, 10, 100, 1000, 10_000)}
    return judge(looks, cosines)


def look(landscape: Landscape, num_points: int, num_directions: int) -> dict[str, np.ndarray]:
    """Returns quotients, what |grad f| cos a predicts, cos a, and the gain of signs in the maximum norm."""

    def at_point(key: jax.Array) -> dict[str, jax.Array]:
        key_start, key_direction = jax.random.split(key)
        x, restore = ravel_pytree(landscape.sample(key_start))
        gradient = ravel_pytree(landscape.gradient(restore(x)))[0]
        directions = jax.random.normal(key_direction, (num_directions, x.size))
        directions = directions / jnp.linalg.norm(directions, axis=1, keepdims=True)
        value = lambda step, direction: landscape.value(restore(x + step * direction))
        ahead, behind = (jax.lax.map(lambda v, s=s: value(s * SHIFT, v), directions) for s in (1, -1))
        length = jnp.linalg.norm(gradient)
        return {
            "quotient": (ahead - behind) / (2 * SHIFT) / length,
            "cosine": directions @ gradient / length,
            "signs": jnp.sum(jnp.abs(gradient)) * jnp.max(jnp.abs(gradient)) / length**2,
        }

    found = jax.jit(jax.vmap(at_point))(jax.random.split(jax.random.key(0), num_points))
    return {name: np.asarray(array) for name, array in found.items()}


def random_cosines(dim: int, count: int) -> np.ndarray:
    """Returns |cos a| between a fixed and `count` random directions: a normal coordinate over the norm of all."""
    rng = np.random.default_rng(dim)
    one = rng.standard_normal(count)
    return np.abs(one) / np.sqrt(one**2 + rng.chisquare(dim - 1, count))


def judge(looks: dict[str, dict[str, np.ndarray]], cosines: dict[int, np.ndarray]) -> experiment.Claim:
    """Returns the claim from what was seen at the points, and cosines of random directions by dimension."""
    rows, none = [], {"num_descents": 0}
    for name, seen in looks.items():
        rows += [
            experiment.exactly(f"{name}: largest error of cos a", np.max(np.abs(seen["quotient"] - seen["cosine"])),
                               at_most=1e-3, source="rounding", **none),
            experiment.exactly(f"{name}: steepest random direction over the gradient", np.max(seen["quotient"]),
                               at_most=1.001, source="the claim", **none),
        ]  # fmt: skip
    for dim, cosine in cosines.items():
        rows.append(experiment.mean(f"d = {dim}: mean |cos a| of a random direction", cosine, source="exact law",
                                    expected=float(mean_cosine(dim)), **none))  # fmt: skip
    signs = np.concatenate([np.ravel(seen["signs"]) for seen in looks.values()])
    rows.append(experiment.median("signs of the gradient over the gradient, per maximum norm", signs, **none))
    return experiment.stated(__doc__, rows, data={"looks": looks, "cosines": cosines})


def figure(claim: experiment.Claim) -> Any:
    """Draws slopes against angles, and the cosine of a random direction against dimension."""
    title = "Slopes are |grad f| cos a, never steeper than the gradient; a random direction has cos a of 1/sqrt(d)"
    drawn, (slopes, law) = experiment.panels(title)
    for name, seen in claim.data["looks"].items():
        angle = np.degrees(np.arccos(np.clip(seen["cosine"], -1, 1)))
        slopes.plot(angle.ravel()[::3], seen["quotient"].ravel()[::3], ".", markersize=3, label=name)
    angle = np.linspace(0, 180, 100)
    slopes.plot(angle, np.cos(np.radians(angle)), color="black", linewidth=0.8, label="cos a")
    slopes.set(xlabel="angle a to the gradient, degrees", ylabel="slope / |grad f|", xticks=range(0, 181, 45))
    cosines = claim.data["cosines"]
    dims, (low, middle, high) = list(cosines), np.quantile(list(cosines.values()), (0.05, 0.5, 0.95), axis=1)
    law.errorbar(dims, middle, (middle - low, high - middle), fmt="o", label="median, 5 % to 95 %")
    law.plot(dims, mean_cosine(np.array(dims)), color="black", linewidth=0.8, label="exact mean")
    law.set(xscale="log", yscale="log", xlabel="dimension d", ylabel="|cos a| of a random direction")
    return drawn
