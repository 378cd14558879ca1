"""For a lecture: a step that is too long changes which minimum gradient descent finds, and then finds none."""

# %% A function that fits on the board. Verdicts are best in float64.
import sys
from typing import Any

import jax
import jax.numpy as jnp

import jaxgd

jax.config.update("jax_enable_x64", True)


def wells(x: Any) -> Any:
    """Returns a function with four minima, one of them the lowest."""
    return jnp.sum((x**2 - 1) ** 2 + 0.3 * x)


plane = jaxgd.box(-2, 2, dim=2)

# %% Where do a thousand descents end? The answer names the points, what they are, and how sure that is.
found = jaxgd.survey(wells, "sgd(0.02)", 1000, sample=plane, seed=0)
print(repr(found))

# %% From where does one reach which minimum? With a short step, and with one nearly as long as the curvature allows.
figure = jaxgd.plot.style.new_figure(9.6, 4.6)
for place, step in enumerate((0.02, 0.1)):
    axis = figure.add_subplot(1, 2, place + 1)
    jaxgd.plot.basins(wells, f"sgd({step})", axis, sample=plane, num=41, num_paths=6, max_steps=2000)
    axis.set_title(f"step {step}", fontsize=10, loc="right")

# %% Keep the picture.
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "teacher.png", dpi=150)
