"""T4.5: When training seems to have converged the gradient is still far from zero.

A residual network of six layers on the digits, trained by minibatches (SGD and Adam) and by the full gradient
(gradient descent), each at the best of 8 rates, by mean final loss on 8 starts of their own; then exact loss and exact
gradient norm every 50 ticks. "Seems converged": the loss falls by less than a tenth over the last quarter. Judged: the
share of descents that seem converged, and their gradient norm at the end over that at the start. Outside the
condition: L-BFGS on all images at once, which goes on until the gradient has vanished.
"""

from typing import Any

import jax
import numpy as np
import optax

from jaxgd import Stop, descend, experiment, landscapes, transforms
from jaxgd.experiment.arms import tuned
from jaxgd.experiment.charts import band
from jaxgd.trajectory import trajectories

NETWORK = landscapes.digits_network(depth=2, width=8, num_images=256, batch_size=16, l2=1e-2)
EVERY = 50
ARMS = {  # builder, rates, whether by minibatches
    "SGD, minibatches": (optax.sgd, np.geomspace(0.003, 1, 8), True),
    "Adam, minibatches": (optax.adam, np.geomspace(1e-4, 0.1, 8), True),
    "gradient descent": (optax.sgd, np.geomspace(0.003, 1, 8), False),
}


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns loss and gradient norm along training."""
    num_starts, num_steps = (16, 1_000) if options.quick else (128, 6_000)
    key, ways = jax.random.key(0), {}
    for name, (builder, rates, is_noisy) in ARMS.items():
        stop = Stop(gradient_norm=None, max_steps=300)
        rate = tuned(NETWORK, builder, 1, rates=rates, key=key, stop=stop, num_tuning=8, is_noisy=is_noisy).rate
        seen = trajectories(NETWORK, builder(rate), num_starts, key=jax.random.key(1), num_steps=num_steps, every=EVERY,
                            is_noisy=is_noisy)[1]  # fmt: skip
        ways[name] = tuple(np.asarray(part) for part in seen)
        experiment.note(f"{name}: best rate {rate:.2g}")
    exact = descend(NETWORK, transforms.lbfgs(max_step=1.0), num_starts, key=jax.random.key(1),
                    stop=Stop(gradient_norm=1e-4, max_steps=4 * num_steps))  # fmt: skip
    first = ways["gradient descent"][1][:, 0]
    return judge(ways, np.asarray(exact.gradient_norm) / first)


def judge(ways: dict[str, tuple[np.ndarray, np.ndarray]], exact: np.ndarray) -> experiment.Claim:
    """Returns the claim from (loss, norm), each (starts, observations), and final over first norm of L-BFGS."""
    rows = []
    for name, (loss, norm) in ways.items():
        is_done = loss[:, -1] > 0.9 * loss[:, -1 - loss.shape[1] // 4]
        rows.append(experiment.share(f"{name}: seem converged", is_done))
        if "minibatches" in name:
            judged: dict[str, Any] = dict(expected=0.01, relation="at_least")
        else:
            judged = dict(expected=0.01, relation="at_least", is_outside=True)
        if is_done.sum() >= 2:
            rows.append(experiment.median(f"{name}: gradient norm, end over start",
                                          norm[is_done, -1] / norm[is_done, 0], **judged))  # fmt: skip
    rows.append(experiment.median("L-BFGS: gradient norm, end over start", exact, expected=0.01, relation="at_least",
                                  is_outside=True))  # fmt: skip
    return experiment.Claim(
        name="T4.5", rows=rows, data={"ways": ways},
        claim="Where training seems to have converged, the gradient is still far from zero.",
        condition="training goes by minibatches and a constant rate",
    )  # fmt: skip


def figure(claim: experiment.Claim) -> Any:
    """Returns loss and gradient norm along training."""
    drawn, (losses, norms) = experiment.panels("The loss comes to rest long before the gradient vanishes", 2, width=5.5)
    for name, (loss, norm) in claim.data["ways"].items():
        steps = EVERY * np.arange(loss.shape[1])
        band(losses, steps, loss, name)
        band(norms, steps, norm, name)
    losses.set(xlabel="tick", ylabel="loss (median, quartiles)", yscale="log")
    norms.set(xlabel="tick", ylabel="gradient norm (median, quartiles)", yscale="log")
    losses.legend()
    return drawn
