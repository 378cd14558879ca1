"""T1.2: In one dimension descent finds a local optimum, not the global one.

Ascent on 25 sin x - x^2, from -2 and from starts all over [-8, 8], with a small step. Each end is judged by curvature;
the share that reaches the global maximum is compared with the exact width of its basin, which lies between two minima.
A second sweep takes other steps: what they change, and that none reaches the global maximum from everywhere.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd import Landscape, Stop, classify, descend, experiment, landscapes, sweep
from jaxgd.transforms import ascend

HILLS = Landscape(
    name="hills",
    value=lambda x: 25 * jnp.sin(x) - x**2,
    sample=lambda key: jax.random.uniform(key, (), minval=-8.0, maxval=8.0),
)
FACTS = sorted(landscapes.sine_parabola().facts.points, key=lambda point: float(point.params))
BEST = min(FACTS, key=lambda point: point.value)
STEPS = (0.005, 0.01, 0.02, 0.05, 0.07, 0.1, 0.15)
climb = lambda learning_rate: ascend(optax.sgd(learning_rate))


def measure(options: experiment.Options) -> experiment.Claim:
    """Climbs from -2 and from random starts, first with step .005, then with all steps on the same starts."""
    count = 2_000 if options.quick else 50_000
    stop = Stop(gradient_norm=1e-9, max_steps=20_000)
    one = descend(HILLS, climb(0.005), key=jax.random.key(0), starts=jnp.array([-2.0]), stop=stop)
    starts = jax.vmap(HILLS.sample)(jax.random.split(jax.random.key(1), count))
    found = sweep(HILLS, climb, key=jax.random.key(0), starts=starts, stop=stop, learning_rate=STEPS)
    verdicts = classify(HILLS, found.ends[0]).verdict_counts()
    return judge(one.params, starts, {step: e.params for step, e in zip(STEPS, found.ends, strict=True)}, verdicts)


def judge(from_two: Any, starts: Any, ends: dict[float, Any], verdicts: dict[str, int]) -> experiment.Claim:
    """Returns the claim from the end of -2, the ends of all starts by step, and the verdicts at the smallest step."""
    from_two, starts = np.asarray(from_two), np.asarray(starts)
    is_best = {step: np.abs(np.asarray(x) - float(BEST.params)) < 1e-3 for step, x in ends.items()}
    walls = [float(point.params) for point in FACTS if point.index == 1]
    left, right = max(w for w in walls if w < BEST.params), min(w for w in walls if w > BEST.params)
    value = float(HILLS.value(jnp.asarray(from_two[0])))
    rows = [
        experiment.exactly("end of -2", from_two[0], error=1e-6, expected=-4.35641, tolerance=5e-6, source="roots"),
        experiment.exactly("its height", value, error=1e-6, expected=4.45434, tolerance=5e-6, source="roots"),
        experiment.exactly("how much higher the global maximum is", -BEST.value - value, at_least=1.0,
                           source="the claim"),
        experiment.share_of("share of ends that are local maxima, step .005", verdicts, ["maximum"], at_least=0.99,
                            source="the claim"),
        experiment.share("share at the global maximum, step .005", is_best[STEPS[0]], expected=(right - left) / 16,
                         source="width of its basin / 16"),
        *(experiment.share(f"share at the global maximum, step {step}", is_best[step], at_most=0.9,
                           source="the claim") for step in STEPS[1:]),
    ]  # fmt: skip
    data = {"starts": starts, "ends": ends, "is_best": is_best}
    return experiment.stated(__doc__, rows, data=data)


def figure(claim: experiment.Claim) -> Any:
    """Draws the hills, coloured by basin, and the share that reaches the highest one."""
    share = claim.data["is_best"][STEPS[0]].mean()
    drawn, (hills, bars) = experiment.panels(
        f"25 sin x - x²: from -2 ascent ends on the wrong hill; {share:.0%} of starts in [-8, 8] reach the highest"
    )
    starts, ends = claim.data["starts"], np.asarray(claim.data["ends"][STEPS[0]])
    order = np.argsort(starts)
    x = np.linspace(-8, 8, 400)
    hills.plot(x, 25 * np.sin(x) - x**2, color="black", linewidth=0.8)
    for colour, top in enumerate(sorted(set(ends.round(3)))):
        own = order[np.abs(ends[order] - top) < 1e-2]
        hills.plot(starts[own], 25 * np.sin(starts[own]) - starts[own] ** 2, ".", markersize=3, color=f"C{colour}")
        hills.plot(top, 25 * np.sin(top) - top**2, "^", markersize=8, color=f"C{colour}")
    hills.annotate("start -2", (-2, 25 * np.sin(-2) - 4), (-1.2, -45), arrowprops={"arrowstyle": "->"})
    hills.set(xlabel="start x (colour: where it ends)", ylabel="25 sin x - x²")
    shares = [claim.data["is_best"][step].mean() for step in STEPS]
    bars.bar([f"{step:g}" for step in STEPS], shares)
    bars.set(xlabel="step", ylabel="share that ends at the global maximum", ylim=(0, 1))
    bars.set_title("stable only below .0786 on the small hill, .0737 on the high one", fontsize=9)
    return drawn
