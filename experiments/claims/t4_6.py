"""T4.6: A random point hits a critical point with vanishing probability (10^-100 in 101 dimensions).

True of random points; but a descent is no random point. On `product_double_well`, whose 3^d critical points are all
known (every coordinate at -1, 0 or 1), "near" is within 0.1 of one in every coordinate. For a uniform start that has
probability 0.15^d exactly. The right question is the time spent near one: the share of a descent's steps, until it is
near a minimum for good, that are spent near a saddle, and the share of descents that pass one at all, against d. Plain
gradient descent, step 0.1, the same law of starts; nothing is tuned, as the time near a saddle in units of 1 / step
does not depend on it.

Theory: the last coordinate to leave 0 passes a saddle alone if the others have arrived before it has gone, which asks
for a ratio of the two smallest |x_i| at the start; that ratio is uniform on [0, 1] in every dimension.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd import experiment, landscapes
from jaxgd.experiment.charts import with_intervals
from jaxgd.trajectory import trajectories

NEAR, CLAIMED, RATE = 0.1, 101, 0.1


def near_saddle_and_minimum(x: jax.Array) -> jax.Array:
    """Returns whether x is near a saddle (or the maximum), and whether near a minimum."""
    nearest = jnp.clip(jnp.round(x), -1, 1)
    is_near = jnp.all(jnp.abs(x - nearest) <= NEAR)
    is_minimum = jnp.all(nearest != 0)
    return jnp.stack([is_near & ~is_minimum, is_near & is_minimum])


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns where random points and the points of descents lie, in many dimensions."""
    dims = [1, 3, 10, 30, CLAIMED] if options.quick else [1, 2, 3, 5, 10, 20, 50, CLAIMED, 200, 500, 1000]
    num_starts, num_random = (1024, 20_000) if options.quick else (4096, 200_000)
    random, ways = {}, {}
    for dim in dims:
        well = landscapes.product_double_well(dim=dim)
        draw = jax.jit(lambda key, well=well: jnp.any(near_saddle_and_minimum(well.sample(key))))
        keys = jax.random.split(jax.random.key(1), num_random)
        random[dim] = np.concatenate([np.asarray(jax.vmap(draw)(part)) for part in jnp.split(keys, 20)])
        observe = lambda params, state: near_saddle_and_minimum(params)
        ways[dim] = np.asarray(
            trajectories(well, optax.sgd(RATE), num_starts, key=jax.random.key(2), num_steps=400, observe=observe)[1]
        )
    return judge(random, ways)


def judge(random: dict[int, np.ndarray], ways: dict[int, np.ndarray]) -> experiment.Claim:
    """Returns the claim from flags of random points, and of (starts, steps, [near a saddle, near a minimum])."""
    is_over = {dim: np.cumsum(way[..., 1], axis=1) > 0 for dim, way in ways.items()}
    at_saddle = {dim: way[..., 0] & ~is_over[dim] for dim, way in ways.items()}
    dwell = {dim: at.sum(axis=1) / np.maximum((~is_over[dim]).sum(axis=1), 1) for dim, at in at_saddle.items()}
    source = "0.6 / 4 a coordinate"
    rows = [experiment.share(f"random points near a critical point, d = {dim}", random[dim], expected=0.15**dim,
                             source=source) for dim in (1, 3)]  # fmt: skip
    rows += [
        experiment.share(f"the same, d = {CLAIMED} (exactly 10^-83)", random[CLAIMED], expected=0.01,
                         relation="at_most"),
        experiment.share(f"descents that pass near a saddle, d = {CLAIMED}", at_saddle[CLAIMED].any(axis=1),
                         expected=0.01, relation="at_most", is_outside=True),
        experiment.mean(f"share of their time spent there, d = {CLAIMED}", dwell[CLAIMED], expected=0.01,
                        relation="at_most", is_outside=True),
    ]  # fmt: skip
    data = {
        "passing": {dim: experiment.share("", at.any(axis=1)) for dim, at in at_saddle.items()},
        "dwell": {dim: experiment.mean("", share) for dim, share in dwell.items()},
    }
    return experiment.Claim(
        name="T4.6", rows=rows, data=data, claim="One does not come near a critical point by chance in high dimension.",
        condition="the point is drawn at random, not on the way of a descent",
    )  # fmt: skip


def figure(claim: experiment.Claim) -> Any:
    """Returns the shares against dimension."""
    passing = claim.data["passing"]
    title = f"A random point is never near a critical point; {passing[CLAIMED].measured:.0%} of descents pass a saddle"
    drawn, (panel,) = experiment.panels(title, 1, width=7)
    dims = list(passing)
    with_intervals(panel, dims, list(passing.values()), "descents that pass near a saddle")
    with_intervals(panel, dims, list(claim.data["dwell"].values()), "their time spent near saddles")
    panel.plot(dims, [0.15**dim for dim in dims], "k--", label="random points near a critical point")
    panel.set(xscale="log", yscale="log", xlabel="dimension", ylabel="share", ylim=(1e-4, 1))
    panel.legend()
    return drawn
