"""T3.5: Adam is RMSProp with momentum; momentum keeps the direction and sigma only the size, so they do not cancel.

The identity is checked on 50 steps on Rosenbrock's function (later, chaos enlarges rounding): Adam without momentum
(b1 = 0) against RMSProp with the correction of its start, and Adam against momentum divided by that sigma. That they
do not cancel: |momentum / sigma| after 2,000 gradients of one sign is 1, of alternating signs (1 - b1) / (1 + b1),
though sigma is the same. The ablation: ticks of gradient descent, with momentum, RMSProp and Adam to within 0.03 of
the minimum of a ten-dimensional quadratic of condition number 1,000; each with the best of 12 rates over three
decades, chosen on 16 starts of their own.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd import Stop, experiment, landscapes
from jaxgd.experiment.arms import ticks_to, tuned
from jaxgd.experiment.charts import forest
from jaxgd.trajectory import trajectories

B1, B2, MAX_STEPS, CONDITION = 0.9, 0.999, 10_000, 1000.0
STOP = Stop(gradient_norm=None, max_steps=MAX_STEPS, at_event="near")
EVENTS = {"near": lambda x, value, gradient: jnp.sqrt(jnp.mean(x**2)) <= 0.03}
ARMS = {
    "gradient descent": lambda learning_rate: optax.sgd(learning_rate * 2 / CONDITION),
    "momentum": lambda learning_rate: optax.sgd(learning_rate * 2 / CONDITION, momentum=B1),
    "RMSProp": lambda learning_rate: optax.rmsprop(learning_rate, decay=B2, bias_correction=True),
    "Adam": lambda learning_rate: optax.adam(learning_rate, b1=B1, b2=B2),
}


def momentum_over_sigma() -> optax.GradientTransformation:
    """Returns RMSProp's direction with its gradient replaced by the momentum: what the claim says Adam is."""
    mean, divide = optax.ema(B1), optax.scale_by_rms(B2, eps=0.0, eps_in_sqrt=False, bias_correction=True)

    def update(gradient: jax.Array, state: Any, params: Any = None) -> tuple[jax.Array, Any]:
        average, mean_state = mean.update(gradient, state[0])
        scaled, divide_state = divide.update(gradient, state[1])
        return average * scaled / gradient, (mean_state, divide_state)

    return optax.GradientTransformation(lambda params: (mean.init(params), divide.init(params)), update)


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns paths, settled updates, and the ticks of every arm."""
    hill, rate = landscapes.rosenbrock(), optax.scale(-0.01)
    pairs = {
        "Adam without momentum against RMSProp": (
            optax.scale_by_adam(b1=0.0, b2=B2, eps=0.0),
            optax.scale_by_rms(B2, eps=0.0, eps_in_sqrt=False, bias_correction=True),
        ),
        "Adam against momentum over sigma": (optax.scale_by_adam(b1=B1, b2=B2, eps=0.0), momentum_over_sigma()),
    }
    path = lambda scaling: np.asarray(
        trajectories(hill, optax.chain(scaling, rate), 32, key=jax.random.key(0), num_steps=50,
                     observe=lambda params, state: params)[1]
    )  # fmt: skip
    paths = {name: (path(one), path(other)) for name, (one, other) in pairs.items()}
    settled = {}
    for name, sign in {"of one sign": 1.0, "of alternating signs": -1.0}.items():
        state = (adam := optax.scale_by_adam(b1=B1, b2=B2, eps=0.0)).init(jnp.ones(()))
        for step in range(2000):
            update, state = jax.jit(adam.update)(jnp.asarray(sign**step), state)
        settled[name] = abs(float(update))
    bowl = landscapes.quadratic_bowl(dim=10, condition_number=CONDITION)
    how = dict(rates=np.geomspace(1e-3, 1, 12), key=jax.random.key(1), stop=STOP, events=EVENTS,
               cost=lambda ends: np.minimum(ticks_to(ends, "near"), 10 * MAX_STEPS))  # fmt: skip
    arms = {name: tuned(bowl, builder, 64 if options.quick else 1024, **how) for name, builder in ARMS.items()}
    return judge(paths, settled, {name: ticks_to(arm.ends, "near") for name, arm in arms.items()})


def judge(paths: dict, settled: dict[str, float], ticks: dict[str, np.ndarray]) -> experiment.Claim:
    """Returns the claim from pairs of paths, from settled updates, and from ticks (inf: did not get there)."""
    rows = [
        experiment.exactly(f"{name}, largest difference", np.abs(one - other).max(), error=1e-8, expected=0.0,
                           num_descents=len(one))
        for name, (one, other) in paths.items()
    ]  # fmt: skip
    laws = {"of one sign": 1.0, "of alternating signs": (1 - B1) / (1 + B1)}
    rows += [
        experiment.exactly(f"|momentum / sigma|, gradients {name}", settled[name], error=1e-6, expected=law,
                           source="geometric sums")
        for name, law in laws.items()
    ]  # fmt: skip
    capped = {name: np.minimum(values, MAX_STEPS) for name, values in ticks.items()}
    for name in list(ARMS)[:-1]:
        judged: dict[str, Any] = dict(expected=1.0, relation="at_least") if name == "gradient descent" else {}
        rows.append(experiment.median(f"ticks of {name} over Adam's", capped[name] / capped["Adam"], **judged))
    return experiment.stated(__doc__, rows, data={name: experiment.median(name, v) for name, v in capped.items()})


def figure(claim: experiment.Claim) -> Any:
    """Returns the ticks of each arm."""
    drawn, (panel,) = experiment.panels("What momentum and sigma do, each alone and both together (Adam)", 1, width=7)
    forest(panel, list(claim.data.values()), xlabel=f"ticks at condition number {CONDITION:g}", scale="log")
    return drawn
