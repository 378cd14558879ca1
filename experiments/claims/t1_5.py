"""T1.5: On x + sin x from 2.5, step 1 oscillates between two points, .01 is too slow, .1 is right.

Descents from 2.5 and from starts around it take the three steps for 10,000 updates. x + sin x has no minimum, and its
slope never changes sign, so no step below 2 can turn back: all creep towards the inflection at -pi, where the error is
2 / (step * updates). The same three steps on sqrt(1 + 9 x^2), a valley with straight walls, do what the article says.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd import Landscape, Stop, classify, descend, experiment, landscapes
from jaxgd.trajectory import trajectories

STEPS = (1.0, 0.1, 0.01)
VALLEY = Landscape(
    name="straight_walled_valley",
    value=lambda x: jnp.sqrt(1 + 9 * x**2),
    sample=lambda key: jax.random.uniform(key, (), minval=2.0, maxval=3.0),
)
TWO_CYCLE = np.sqrt(4.5**2 - 1) / 3  # 2 x = slope(x) at step 1


def measure(options: experiment.Options) -> experiment.Claim:
    """Follows the three steps on both functions from many starts around 2.5, the first start being 2.5 itself."""
    creep = landscapes.x_plus_sin_x()
    count = 100 if options.quick else 1000
    starts = jnp.concatenate([jnp.array([2.5]), jax.vmap(creep.sample)(jax.random.split(jax.random.key(0), count))])
    paths = {
        (landscape.name, step): trajectories(
            landscape, optax.sgd(step), key=jax.random.key(1), starts=starts, num_steps=10_000,
            observe=lambda x, state: x,
        )[1]
        for landscape in (creep, VALLEY)
        for step in STEPS
    }  # fmt: skip
    ends = descend(
        creep, optax.sgd(1.0), key=jax.random.key(1), starts=starts, stop=Stop(gradient_norm=1e-6, max_steps=10_000)
    )
    verdicts = classify(creep, ends).verdict_counts()
    return judge({key: np.asarray(path) for key, path in paths.items()}, verdicts)


def judge(paths: dict[tuple[str, float], np.ndarray], verdicts: dict[str, int]) -> experiment.Claim:
    """Returns the claim from the paths (starts, updates + 1) by function and step, and the verdicts at the ends."""
    creep, valley = ({step: paths[name, step] for step in STEPS} for name in ("x_plus_sin_x", VALLEY.name))
    turns = lambda path: np.mean(np.diff(np.sign(np.diff(path[:, -1000:])), axis=1) != 0, axis=1) > 0.9
    is_near = lambda path, goal: np.abs(path - goal) < 0.01
    arrival = lambda path, goal: np.where(is_near(path, goal).any(1), is_near(path, goal).argmax(1), np.inf)
    article, own = {"source": "the article"}, {"source": "derived"}
    rows = [
        experiment.share("x + sin x, step 1: share that oscillates", turns(creep[1.0]), at_least=0.9, **article),
        experiment.median("x + sin x, step .1: updates until -pi is .01 away", arrival(creep[0.1], -np.pi),
                          at_most=200, **article),
        experiment.exactly("x + sin x, step 1 from 2.5: x after 20 updates", creep[1.0][0, 20], error=1e-9,
                           expected=-3.03786, tolerance=1e-5, source="recomputed"),
        *(experiment.mean(f"x + sin x, step {step}: error * step * updates at the end",
                          (path[:, -1] + np.pi) * step * (path.shape[1] - 1), expected=2.0, tolerance=0.1, **own)
          for step, path in creep.items()),
        experiment.share_of("x + sin x, step 1: share of ends judged degenerate", verdicts, ["degenerate"],
                            at_least=0.9, **own),
        experiment.share("valley, step 1: share that oscillates", turns(valley[1.0]), at_least=0.9,
                         **own),
        experiment.mean("valley, step 1: half the distance of the two points", np.ptp(valley[1.0][:, -2:], axis=1) / 2,
                        expected=TWO_CYCLE, tolerance=1e-9, **own),
        experiment.median("valley, step .1: updates until the minimum is .01 away", arrival(valley[0.1], 0.0),
                          at_most=20, **own),
        experiment.median("valley, step .01: updates until the minimum is .01 away", arrival(valley[0.01], 0.0),
                          at_least=100, **own),
    ]  # fmt: skip
    return experiment.stated(__doc__, rows, data={"creep": creep, "valley": valley})


def figure(claim: experiment.Claim) -> Any:
    """Draws the paths from 2.5 on both functions."""
    title = "x + sin x: every step size creeps to -pi, none oscillates. A valley with straight walls does oscillate."
    drawn, axes = experiment.panels(title)
    for axis, name, goal in zip(axes, ("creep", "valley"), (-np.pi, 0.0), strict=True):
        for step, path in claim.data[name].items():
            axis.plot(path[0, :101], marker=".", markersize=3, linewidth=0.8, label=f"step {step:g}")
        axis.axhline(goal, color="black", linewidth=0.8, linestyle=":")
        axis.set(xlabel="updates", ylabel="x")
        axes[0].set_title("x + sin x from 2.5 (dotted: inflection)")
    axes[1].set_title("sqrt(1 + 9 x²) from 2.5 (dotted: minimum)")
    return drawn
