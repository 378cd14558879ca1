"""T0.6: However far you start you arrive at about the same loss; if gradients blow up, restart and change the step.

First half: the energy per spin at which descents of spherical 3-spin glasses end, from random starts, against their
number N: its spread shrinks with N, so that in high dimension all ends are about as good. And from how far: starts of
`rugged_bowl` (ten dimensions) three times as far out, same rate. Second half: descents of the Styblinski-Tang function
from starts twice as wide at a step that is too long for a good part of them: the share that converges within 2,000
ticks without restarts, with restarts at the same step, and with restarts at half of it; same starts, same budget in
ticks, restarts included. Rates are fixed (stated in the code), since the claim is about starts.
"""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import optax
import scipy

from jaxgd import Restart, Status, Stop, descend, experiment, landscapes
from jaxgd.experiment.charts import forest

STEEP = landscapes.styblinski_tang(dim=4)
WIDE = replace(STEEP, sample=lambda key: 2 * STEEP.sample(key))
POLICIES = {
    "none": None,
    "restarts, same step": Restart(on=(Status.DIVERGED,), max_restarts=8, step_factor=1.0),
    "restarts, half the step": Restart(on=(Status.DIVERGED,), max_restarts=8, step_factor=0.5),
}


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns energies of glasses, losses from near and far, and success by restart policy."""
    sizes, num_starts = ([10, 20, 40], 256) if options.quick else ([10, 20, 40, 80], 1024)
    key, energies, far = jax.random.key(0), {}, {}
    for size in sizes:
        glass = landscapes.spherical_p_spin(dim=size)
        ends = descend(glass, optax.sgd(0.05), num_starts, key=key, stop=Stop(gradient_norm=1e-4, max_steps=2_000))
        energies[size] = np.asarray(ends.value) / size
    for times in (1, 3):
        bowl = landscapes.rugged_bowl(dim=10, ruggedness=10.0, half_width=5.0 * times)
        ends = descend(bowl, optax.sgd(0.02), num_starts, key=key, stop=Stop(gradient_norm=1e-8, max_steps=2_000))
        far[times] = np.asarray(ends.value)
    stop = Stop(gradient_norm=1e-6, max_steps=2_000)
    arrived = {
        name: descend(WIDE, optax.sgd(0.02), num_starts, key=key, stop=stop, restart=policy).status == Status.CONVERGED
        for name, policy in POLICIES.items()
    }
    return judge(energies, far, arrived)


def judge(energies: dict[int, np.ndarray], far: dict[int, np.ndarray], arrived: dict[str, np.ndarray]) -> Any:
    """Returns the claim from final energies by size, losses by distance, and flags by policy, all (starts,)."""
    rows = [
        spread_ratio(energies),
        experiment.mean("loss from starts three times as far, minus near, over its spread",
                        (far[3] - far[1]) / far[1].std(ddof=1), expected=1.0, relation="at_most"),
        experiment.mean("gain of restarts at half the step", arrived["restarts, half the step"] * 1.0 - arrived["none"],
                        expected=0.0, relation="at_least"),
        experiment.mean("gain of changing the step at a restart",
                        arrived["restarts, half the step"] * 1.0 - arrived["restarts, same step"], expected=0.0,
                        relation="at_least"),
        experiment.share("arrived without restarts", arrived["none"]),
    ]  # fmt: skip
    return experiment.Claim(
        name="T0.6", rows=rows, data={"energies": energies},
        claim="In high dimension all starts end at about the same loss; after a blow-up, restart with another step.",
    )  # fmt: skip


def spread_ratio(energies: dict[int, np.ndarray]) -> experiment.Statistic:
    """Returns the relative spread of the energies of the largest glass over that of the smallest, by F's law."""
    small, large = (energies[size] / np.mean(energies[size]) for size in (min(energies), max(energies)))
    ratio, tail = large.std(ddof=1) / small.std(ddof=1), (1 - experiment.CONFIDENCE) / 2
    low, high = (ratio / scipy.stats.f.ppf(q, large.size - 1, small.size - 1) ** 0.5 for q in (1 - tail, tail))
    return experiment.Statistic(
        statistic=f"spread of final energies, N = {max(energies)} over {min(energies)}", measured=ratio, low=low,
        high=high, expected=1.0, relation="at_most", num_descents=small.size + large.size,
    )  # fmt: skip


def figure(claim: experiment.Claim) -> Any:
    """Returns the spread of final energies by size, and the effects."""
    title = "The larger the glass, the closer together its descents end; what far starts and restarts do"
    drawn, (spread, effects) = experiment.panels(title, 2, width=6)
    energies = claim.data["energies"]
    spread.boxplot(list(energies.values()), tick_labels=[str(size) for size in energies], showfliers=False)
    spread.set(xlabel="spins N", ylabel="final energy per spin")
    forest(effects, claim.rows, xlabel="exponent, difference or share")
    return drawn
