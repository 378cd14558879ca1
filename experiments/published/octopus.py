r"""On the octopus gradient descent pays geometrically growing times for each saddle, perturbed descent equal ones.

Du, Jin, Lee, Jordan, Singh and Poczos 2017 (arXiv 1705.10412), gamma = 1, tau = e, L = 1, 1.5, 2, 3, step 1/(4 L),
starts uniform on [-1, 1]^d, d = 5 and 10, a saddle left when |x_i| >= 2 tau; seeds 0 to 3. Perturbed: kicks of radius
tau/100 where the gradient is at most tau/100, at least 10 steps apart. The law of gradient descent is

    t_{k+1} = kappa t_k + c,    kappa = 1 + ln(1/(1 - 2 eta L)) / ln(1 + 2 eta gamma).

Numbers end before the law does: with 2 eta L = 1/2 a waiting coordinate is exactly zero after 1,074 halvings (float64;
149 in float32), and gradient descent then stays at a saddle for ever. That is no property of the octopus. The engine
is therefore used while a saddle takes fewer steps, and for d = 10 the coordinates that wait are kept as logarithms
(`by_logarithms`), where nothing vanishes. Both leave each saddle at the same step where both leave it; of 4,000
descents at L = 2 one started within 4e-6 of a saddle, waited 1,094 steps at the third, and stayed at the fourth in
float64.
"""

import sys
from typing import Any

import jax
import numpy as np
import optax

import jaxgd
from experiments.escape import octopus as escape
from experiments.published.rows import Row, Table, estimate, exact, mean, share, stated
from jaxgd import experiment
from jaxgd.statistics import growth_factor

STEEPNESS = (1.0, 1.5, 2.0, 3.0)
TAU, GAMMA = escape.TAU, 1.0


def by_logarithms(steepness: float, dim: int, starts: np.ndarray) -> np.ndarray:
    """Returns (n, dim) the steps at which gradient descent with step 1/(4 L) leaves each saddle, from (n, dim) starts.

    The active coordinate grows by 1 + 2 eta gamma up to tau, which is many steps at once; then it crosses from tau to
    2 tau by single steps along g1, while the next one's factor turns from the wall's to that of the way down. All that
    wait shrink by 1 - 2 eta L. What the next coordinate adds to the slope of the crossing, g2'(x) y^2, is kept, too.
    """
    rate = 1 / (4 * steepness)
    up, shrink = np.log1p(2 * rate * GAMMA), np.log(1 - 2 * rate * steepness)
    logs = np.log(np.abs(starts))
    times = np.zeros(starts.shape)
    now = np.zeros(len(starts))
    for i in range(dim):
        # As many steps as it takes to pass tau.
        grown = np.maximum(np.ceil((np.log(TAU) - logs[:, i]) / up), 0)
        grown += (logs[:, i] + grown * up <= np.log(TAU)).astype(float)
        now += grown
        x = np.exp(logs[:, i] + grown * up)
        logs[:, i + 1 :] += grown[:, None] * shrink
        is_crossing = x < 2 * TAU
        while is_crossing.any():
            u, v = x / TAU - 1, x / TAU - 2
            slope = -2 * GAMMA * x + TAU * (
                (10 * GAMMA - 14 * steepness) * u**2 + 2 * (5 * steepness - 3 * GAMMA) * u**3
            )
            if i + 1 < dim:
                curvature = -GAMMA - (steepness + GAMMA) * (10 * v**3 + 15 * v**4 + 6 * v**5)
                turning = -(steepness + GAMMA) * (30 * v**2 + 60 * v**3 + 30 * v**4) / TAU
                slope = slope + turning * np.exp(2 * logs[:, i + 1])
                change = np.log(np.abs(1 - 2 * rate * curvature))
                logs[:, i + 1] += np.where(is_crossing, change, 0)
                logs[:, i + 2 :] += np.where(is_crossing, shrink, 0)[:, None]
            x = np.where(is_crossing, x - rate * slope, x)
            now += is_crossing
            is_crossing = x < 2 * TAU
        times[:, i] = now
    return times


def starts_of(num: int, dim: int, seed: int) -> np.ndarray:
    """Returns the (num, dim) starts that the engine draws."""
    unmoved = jaxgd.descend(jaxgd.landscapes.octopus(dim, tau=TAU), optax.sgd(0.0), num, key=jax.random.key(seed),
                            stop=jaxgd.Stop(gradient_norm=None, max_steps=0), keep=("params",))  # fmt: skip
    return np.asarray(unmoved.params)


def perturbed(steepness: float) -> Any:
    """Returns perturbed gradient descent with the source's step and radius."""
    return jaxgd.transforms.perturbed_gradient(1 / (4 * steepness), TAU / 100, TAU / 100, 10, 1e-6)


def measure(options: experiment.Options) -> Table:
    """Returns factors from saddle to saddle, medians, costs with noise, and what underflow does."""
    num, rows, times = 300 if options.quick else 4_000, [], {}
    for seed, steepness in enumerate(STEEPNESS):
        rate, kappa = 1 / (4 * steepness), escape.kappa(steepness, 1 / (4 * steepness))
        num_saddles = 5 if steepness == 1 else 4 if steepness <= 2 else 3  # before a coordinate vanishes
        by_engine = escape.escape_times(optax.sgd(rate), steepness, num_saddles, num, seed)
        same = by_logarithms(steepness, num_saddles, starts_of(num, num_saddles, seed))
        is_left = np.isfinite(by_engine)
        rows.append(share(f"L={steepness:g}: saddles that engine and logarithms leave at the same step",
                          int(np.sum(by_engine[is_left] == same[is_left])), int(is_left.sum()), expected=1.0,
                          source="two programs"))  # fmt: skip
        rows.append(
            share(f"L={steepness:g}: saddles that the engine never leaves", int(np.sum(~is_left)), is_left.size)
        )
        for dim in (5, 10):
            starts = np.random.default_rng([seed, dim]).uniform(-1, 1, (num, dim))
            found = by_logarithms(steepness, dim, starts)
            times[f"gradient descent, L={steepness:g}, d={dim}"] = found
            value, low, high = growth_factor(found, experiment.CONFIDENCE)
            rows.append(Row(statistic=f"L={steepness:g}, d={dim}: factor from saddle to saddle", measured=value,
                            low=low,
                            high=high, expected=kappa, tolerance=0.01, num_descents=num,
                            source="derived: 1 + ln(1/(1 - 2 eta L))/ln(1 + 2 eta gamma)"))  # fmt: skip
        noisy = escape.escape_times(perturbed(steepness), steepness, 10, num, 10 + seed)
        times[f"perturbed, L={steepness:g}, d=10"] = noisy
        costs = np.diff(noisy, axis=1)
        rows.append(mean(f"L={steepness:g}, perturbed: steps for saddles 7 to 10 less 3 to 6, each",
                         costs[:, 5:9].mean(axis=1) - costs[:, 1:5].mean(axis=1), expected=0.0,
                         source="Du et al. 2017: linear"))  # fmt: skip
        rows.append(mean(f"L={steepness:g}, perturbed: steps for a saddle", costs[:, 1:].mean(axis=1)))
        experiment.note(f"L = {steepness:g}: done")
    first = times["gradient descent, L=1, d=5"]
    for number, published in enumerate(escape.PUBLISHED_MEDIANS, start=1):
        row = experiment.median("", first[:, number - 1])
        rows.append(Row(statistic=f"L=1, d=5: median steps to leave saddle {number}", measured=row.measured,
                        low=row.low,
                        high=row.high, expected=published, tolerance=0.5, source="independent computation",
                        num_descents=num))  # fmt: skip
    starts = starts_of(200, 10, 99)
    logs = by_logarithms(1.0, 10, starts)
    reached = escape_with(starts)
    rows.append(exact("L=1, d=10: most saddles that float64 ever leaves by gradient descent", reached, num_descents=200,
                      expected=9, relation="at_most", source="1,074 halvings, then zero"))  # fmt: skip
    rows.append(estimate("L=1, d=10: steps to leave all saddles, by logarithms, over 1,000", logs[:, -1].mean() / 1e3,
                         logs[:, -1].std(ddof=1) / 200**0.5 / 1e3, 200))  # fmt: skip
    return stated("octopus", __doc__, rows, data={"times": times})


def escape_with(starts: np.ndarray) -> int:
    """Returns the most saddles that plain gradient descent in float64 leaves, in 100,000 steps."""
    events = {f"{i}": escape._leaves(i) for i in range(starts.shape[1])}
    ends = jaxgd.descend(jaxgd.landscapes.octopus(starts.shape[1], tau=TAU), optax.sgd(0.25), starts=starts,
                         key=jax.random.key(0), events=events, keep=(),
                         stop=jaxgd.Stop(gradient_norm=None, max_steps=100_000))  # fmt: skip
    return int(max(sum(np.asarray(ends.event_steps[name]) >= 0 for name in events)))


def figure(result: Table) -> Any:
    """Returns median times over saddles, without and with noise."""
    drawn, (left, right) = experiment.panels("The octopus: geometric times without noise, linear ones with it")
    for name, found in result.data["times"].items():
        if "d=10" in name:
            panel = right if name.startswith("perturbed") else left
            panel.plot(np.arange(1, 11), np.median(found, axis=0), "o-", ms=3, label=name.partition(", ")[2])
    left.set(yscale="log", xlabel="saddle", ylabel="median steps until it is left", title="gradient descent")
    right.set(xlabel="saddle", ylabel="median steps until it is left", title="perturbed")
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
