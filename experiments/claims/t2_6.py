"""T2.6: Gradient noise makes ending at a saddle less likely and, with enough steps, reaches the global optimum.

Descents that begin on the exact way into a saddle, without noise and with noise annealed to none, judged by curvature.
Langevin descents (rate .01) of a double well from its left minimum to its right one: mean first passage against the
exact integral, the goal moved out by .5826 sqrt(2 T rate), as steps are seen only at discrete times. On two unequal
wells, the share in the lower one against exp(-f / T), and the share that has been there. Nothing is tuned.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.integrate import quad

from jaxgd import Stop, classify, descend, experiment, landscapes
from jaxgd.statistics import survival_curve
from jaxgd.transforms import langevin

RATE, TEMPERATURES = 0.01, (0.25, 0.15, 0.10)
QUARTIC, TOP, HOT = landscapes.quartic_two_wells(start=3.0, spread=1e-6), (9 + 33**0.5) / 8, 0.8
goal_of = lambda temperature: 1 + 0.5826 * (2 * temperature * RATE) ** 0.5


def passage(temperature: float, goal: float) -> float:
    """Returns the exact mean first passage time of dX = -V' dt + sqrt(2T) dW from -1 to `goal`, V the double well."""
    weigh = lambda x, sign: np.exp(sign * (x**4 / 4 - x**2 / 2) / temperature)
    before = lambda y: quad(weigh, -4, y, args=(-1,))[0]
    return quad(lambda y: weigh(y, 1) * before(y), -1, goal)[0] / temperature


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns ends from a saddle's way in, first passages, places of rest, and times to the lower well."""
    count = 400 if options.quick else 8_000
    wells = landscapes.product_double_well(dim=5)
    on_way = jax.random.normal(jax.random.key(0), (count, 5)).at[:, 0].set(0.0)
    annealed = langevin(0.05, lambda step: 1e-6 * jnp.maximum(1 - step / 500, 0))
    ends = {
        name: classify(wells, descend(wells, optimizer, key=jax.random.key(1), starts=on_way,
                                      stop=Stop(gradient_norm=1e-8, max_steps=3000))).verdict_counts()
        for name, optimizer in (("without noise", optax.sgd(0.05)), ("with noise", annealed))
    }  # fmt: skip
    start, times = landscapes.double_well_1d(start=-1.0, spread=1e-6), {}
    for temperature in TEMPERATURES[: 2 if options.quick else 3]:
        across = descend(
            start, langevin(RATE, temperature), count, key=jax.random.key(2), events={"across": lambda x, v, g: x >= 1},
            stop=Stop(gradient_norm=None, max_steps=200_000, at_event="across"),
        )  # fmt: skip
        times[temperature] = RATE * np.asarray(across.event_steps["across"])
    rest = descend(
        QUARTIC, langevin(0.005, HOT), 2 * count, key=jax.random.key(3), events={"lower": lambda x, v, g: x < 0.7},
        stop=Stop(gradient_norm=None, max_steps=16_000),
    )  # fmt: skip
    return judge(ends, times, np.asarray(rest.params), np.asarray(rest.event_steps["lower"]))


def judge(ends: dict[str, Any], times: dict[float, Any], rest: np.ndarray, lower: np.ndarray) -> experiment.Claim:
    """Returns the claim from verdicts, passage times by temperature, places of rest, steps to the lower well or -1."""
    rows = []
    for (name, counts), bound in zip(ends.items(), ({"at_least": 0.9}, {"at_most": 0.1}), strict=True):
        rows.append(experiment.share_of(f"{name}: share that ends at the saddle", counts, ["saddle"],
                                        source="the claim", **bound))  # fmt: skip
    for temperature, time in times.items():
        exact = passage(temperature, goal_of(temperature))
        rows.append(experiment.mean(f"T = {temperature}: mean passage from -1 to 1", time, expected=exact,
                                    tolerance=0.02 * exact, source="exact, at discrete times"))  # fmt: skip
    weigh = lambda x: np.exp(-(x * (x - 1) * (x - 3) ** 2 + 1.62276) / HOT)
    share = quad(weigh, -4, TOP)[0] / quad(weigh, -4, 7)[0]
    rows += [
        experiment.share(f"two wells, T = {HOT}: share in the lower one after 16,000 ticks", rest < TOP, expected=share,
                         tolerance=0.01, source="exp(-f / T)"),
        experiment.share("two wells: share that has been in the lower one within 16,000 ticks", lower >= 0,
                         at_least=0.97, source="the claim"),
    ]  # fmt: skip
    return experiment.stated(__doc__, rows, data={"times": times, "lower": lower})


def figure(claim: experiment.Claim) -> Any:
    """Draws survival in the upper well, passages against the exact law, and where noise rests."""
    title = "Noise leads from the upper well to the lower one, given time; first passages follow the exact law"
    drawn, (left, right) = experiment.panels(title)
    lower = claim.data["lower"]
    curve = survival_curve(np.where(lower < 0, 16_000, lower), lower >= 0)
    left.fill_between(curve.times, curve.low, curve.high, step="post", alpha=0.3)
    left.step(curve.times, curve.survival, where="post")
    left.set(xlabel=f"ticks at T = {HOT}, from the upper well", ylabel="share not yet in the lower well", ylim=(0, 1))
    scale = np.linspace(0.09, 0.3, 40)
    right.plot(1 / scale, [passage(t, goal_of(t)) for t in scale], color="black", label="exact, at discrete times")
    for temperature, time in claim.data["times"].items():
        row = experiment.mean("", time)
        right.errorbar(1 / temperature, row.measured, [[row.measured - row.low], [row.high - row.measured]], fmt="o")
    right.set(xlabel="1 / temperature", ylabel="mean time from -1 to 1", yscale="log")
    return drawn
