"""For a claim about saddles: how long does gradient descent stay beside one, when it starts closer and closer?"""

# %% The smallest deep linear network, loss (ab - 1)^2 / 2: the origin is a saddle with curvatures -1 and 1.
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxgd

jax.config.update("jax_enable_x64", True)
STEP = 0.05


def loss(weights: Any) -> Any:
    """Returns the loss of a network of two weights in a row."""
    return (weights[0] * weights[1] - 1) ** 2 / 2


# %% The time until the loss has fallen by half is an event of the descent; what had not escaped is censored.
half = {"escaped": lambda weights, value, gradient: value < 0.25}
curves, scales = {}, (1e-1, 1e-3, 1e-5)
for scale in scales:
    law = jaxgd.normal_like(jnp.zeros(2), scale)
    ends = jaxgd.descend(loss, f"sgd({STEP})", 300, sample=law, seed=0, events=half, max_steps=2000)
    step = np.asarray(ends.event_steps["escaped"])
    times = np.where(step >= 0, step, ends.num_steps)
    curves[f"starts of size {scale:g}"] = jaxgd.statistics.survival_curve(times, step >= 0)

# %% Theory: the way grows by 1 + step in each update, so that a factor of 100 costs log(100) / log(1 + step) updates.
medians = np.array([curve.median.value for curve in curves.values()])
print("median updates:", medians, " differences:", np.diff(medians), " theory:", np.log(100) / np.log1p(STEP))

# %% Keep the picture.
axis = jaxgd.plot.survival(curves)
axis.set_xlim(0, 500)
axis.figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "theorist.png", dpi=150)
