"""For a model that trains: do runs from different starts end at the same loss, and are these ends minima?"""

# %% Your model is a function of its parameters, any pytree; here a network with three hidden units on sixty points.
import sys
from typing import Any

import jax
import jax.numpy as jnp

import jaxgd

jax.config.update("jax_enable_x64", True)
x = jnp.linspace(-2, 2, 60)
y = jnp.sin(2 * x)
initial = {"w": jnp.zeros(3), "b": jnp.zeros(3), "out": jnp.zeros(3)}


def loss(params: Any) -> Any:
    """Returns the mean squared error, with a little weight decay, without which minima run away to infinity."""
    hidden = jnp.tanh(x[:, None] * params["w"][None] + params["b"][None])
    decay = sum(jnp.sum(leaf**2) for leaf in params.values())
    return jnp.mean((hidden @ params["out"] - y) ** 2) + 1e-3 * decay


# %% Networks that differ by the order of their hidden units, or by signs that cancel in tanh, are one network.
network = jaxgd.Landscape(
    value=loss,
    sample=jaxgd.normal_like(initial),
    name="network",
    symmetry=jaxgd.symmetry.hidden_units(("w", "b"), ("out",), signs=True),
)

# %% A hundred trainings at once, each end judged by its curvature.
found = jaxgd.survey(network, "lbfgs", 100, seed=0)
print(repr(found))

# %% What is not settled is said with what to try. The whole answer is one page to send around:
#        found.report("training.html")

# %% Keep the picture.
found.plot().savefig(sys.argv[1] if len(sys.argv) > 1 else "practitioner.png", dpi=150)
