"""T2.5: With the minimum value 0 known, steps of -L grad/|grad|^2 leave local minima, but are worth less than noise.

First the article's own case, exactly: x (x - 1) (x - 3)^2 + 1.62276 from 4, where gradient descent stays at 3. Then the
sum of that function over d coordinates, whose global minimum is 0, too: ticks until every coordinate is within 1 of its
global minimum, at most 2,000, for the step with the cap M and for gradient descent with Gaussian noise (Langevin).
Both are tuned over 24 settings (rates times caps, rates times temperatures) on 16 starts, and share all further starts.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd import Landscape, Stop, experiment, landscapes, sweep
from jaxgd.experiment.arms import ticks_to
from jaxgd.trajectory import trajectories
from jaxgd.transforms import known_minimum, langevin

QUARTIC, HOME = landscapes.quartic_two_wells(start=4.0, spread=0.0), 0.40693
TICKS, TUNING, CAPS = 2000, 16, [1.0, 10.0, 100.0, 1000.0]
ARMS = {
    "known minimum": (known_minimum, {"learning_rate": np.geomspace(0.01, 10, 6), "max_inverse_gradient": CAPS}),
    "noise": (langevin, {"learning_rate": np.geomspace(0.003, 0.1, 4), "temperature": np.geomspace(0.3, 30, 6)}),
}


def measure(options: experiment.Options) -> experiment.Claim:
    """Follows the article's case, then lets both arms search in 1 to 8 dimensions."""
    count = 240 if options.quick else 2_000
    follow = lambda optimizer, steps=2500: np.asarray(
        trajectories(QUARTIC, optimizer, 1, key=jax.random.key(0), num_steps=steps, observe=lambda x, state: x)[1][0]
    )
    paths = {"known minimum": follow(known_minimum(0.01)), "gradient descent": follow(optax.sgd(0.01)),
             "M = 1": follow(known_minimum(0.01, max_inverse_gradient=1.0)),
             "slow": follow(known_minimum(1e-4), 3000)}  # fmt: skip
    ticks: dict[int, dict[str, Any]] = {}
    for dim in (1, 2, 4, 8):
        draw = lambda key, dim=dim: jax.random.uniform(key, (dim,), minval=-1.0, maxval=4.0)
        landscape, ticks[dim] = Landscape(value=lambda x: jnp.sum(QUARTIC.value(x)), sample=draw), {}
        for arm, (builder, grid) in ARMS.items():
            found = sweep(
                landscape, builder, TUNING + count, key=jax.random.key(1), **grid,
                stop=Stop(gradient_norm=None, max_steps=TICKS, at_event="home"),
                events={"home": lambda x, value, grad: jnp.all(jnp.abs(x - HOME) < 1)},
            )  # fmt: skip
            steps = np.stack([np.minimum(ticks_to(ends, "home"), TICKS + 1) for ends in found.ends])
            best_of = lambda steps: steps[np.argmin(steps[:, :TUNING].mean(axis=1)), TUNING:]
            ticks[dim][arm] = best_of(steps)
            if arm == "known minimum":  # its rate tuned for each cap apart
                ticks[dim] |= {f"M = {cap:g}": best_of(steps[place :: len(CAPS)]) for place, cap in enumerate(CAPS)}
    return judge(paths, ticks)


def judge(paths: dict[str, np.ndarray], ticks: dict[int, dict[str, np.ndarray]]) -> experiment.Claim:
    """Returns the claim from paths of the article's case, and ticks (TICKS + 1: never) by dimension and arm."""
    ends = {name: path[-1] for name, path in paths.items()}
    value = np.asarray(jax.vmap(QUARTIC.value)(jnp.asarray(paths["slow"])))
    recomputed = {"error": 1e-5, "tolerance": 5e-6, "source": "recomputed"}
    rows = [
        experiment.exactly("step .01, M = 1000, from 4: end", ends["known minimum"], expected=0.40693, **recomputed),
        experiment.exactly("gradient descent from 4: end", ends["gradient descent"], expected=3.0, **recomputed),
        experiment.exactly("small steps: d(ln L)/dt", np.mean(np.diff(np.log(value[:1000]))) / 1e-4, error=1e-3,
                           expected=-1.0, tolerance=1e-2, source="dL/dt = -L"),
        experiment.exactly("needs large M: with M = 1, where the same step ends", ends["M = 1"], at_least=2.0,
                           source="the claim"),
    ]  # fmt: skip
    for dim, arms in ticks.items():
        known, noise = arms["known minimum"], arms["noise"]
        rows += [experiment.share(f"d = {dim}, {arm}: share that gets there", arms[arm] <= TICKS) for arm in ARMS]
        rows.append(experiment.median(f"d = {dim}: log2 ticks of the known minimum over noise",
                                      np.log2((known + 1) / (noise + 1)), at_least=0.1, source="the claim",
                                      is_outside=dim < 4))  # fmt: skip
    return experiment.stated(__doc__, rows, condition="in several dimensions", data={"paths": paths, "ticks": ticks})


def figure(claim: experiment.Claim) -> Any:
    """Draws the article's case, and the share that gets there by dimension and arm."""
    paths, ticks = claim.data["paths"], claim.data["ticks"]
    middle = {arm: [np.median(arms[arm]) for arms in ticks.values()] for arm in next(iter(ticks.values()))}
    drawn, (left, right) = experiment.panels(
        f"The known-minimum step leaves the local minimum; in {max(ticks)} dimensions it takes "
        f"{middle['known minimum'][-1]:,.0f} ticks to the global one, noise {middle['noise'][-1]:,.0f} (medians)"
    )
    for name in ("known minimum", "gradient descent", "M = 1"):
        left.plot(paths[name], linewidth=0.9, label=name)
    left.axhline(HOME, color="black", linestyle=":", label="global minimum")
    left.set(xlabel="ticks", ylabel="x", xlim=(0, 2500), ylim=(-3, 5))
    for arm, steps in middle.items():
        right.plot(range(len(ticks)), np.add(steps, 1), "o-" if arm in ARMS else ":", label=arm)
    right.set_xticks(range(len(ticks)), [str(dim) for dim in ticks])
    right.set(xlabel="dimension", ylabel="median ticks + 1, rates tuned", yscale="log")
    return drawn
