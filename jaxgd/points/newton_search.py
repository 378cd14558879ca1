"""Critical points of every index, by Newton's method for the gradient's zero from random starts.

    x <- x - min(1, max_move / |s|) s,    s = H(x)^-1 g(x).

Newton's method does not care which way a direction curves, so it finds saddles and maxima as well as minima. What it
finds is no fair sample: each point counts as often as its Newton basin is large. Many starts end nowhere; they are left
out.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxgd.base import InputValueError, Key, Landscape, Params
from jaxgd.curvature import hessian
from jaxgd.descend import count_starts
from jaxgd.lanes.checks import check_count, check_key


def newton_search(
    landscape: Landscape,
    num_starts: int | None = None,
    *,
    key: Key,
    starts: Params | None = None,
    num_steps: int = 100,
    max_move: float = 1.0,
    gradient_norm: float = 1e-6,
) -> Params:
    """Returns where Newton's method came to a zero of the gradient, params with one leading axis; to be classified.

    Args:
      landscape: whose critical points are sought; the whole Hessian is formed at every step.
      num_starts: random starts, drawn from the landscape's own law (>= 1); left out where `starts` is given.
      key: a key such as `jax.random.key(0)`.
      starts: explicit starts instead, params with one leading axis, for example points along descents, which lead to
        lower critical points than random ones (Dauphin et al., arXiv:1406.2572).
      num_steps: Newton steps from each start (>= 1).
      max_move: longest step, in the unit of the parameters (> 0).
      gradient_norm: an end with a larger gradient is left out (> 0).

    Example:
      >>> import numpy as np, jaxgd
      >>> well = jaxgd.landscapes.product_double_well(dim=1)  # minima at -1 and 1, a maximum at 0
      >>> np.unique(np.round(newton_search(well, 30, key=jax.random.key(0)), 6)).tolist()
      [-1.0, 0.0, 1.0]
    """
    num_starts, num_steps, key = count_starts(num_starts, starts), check_count("num_steps", num_steps), check_key(key)
    for name, number in (("max_move", max_move), ("gradient_norm", gradient_norm)):
        if not (np.isfinite(number) and number > 0):
            raise InputValueError(f"`{name}` must be positive and finite, got {number}.")
    keys = jax.random.split(key, num_starts)
    starts = jax.vmap(landscape.sample)(keys) if starts is None else jax.tree.map(jnp.asarray, starts)
    _, restore = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], starts))
    gradient = lambda x: ravel_pytree(landscape.gradient(restore(x)))[0]

    def search(start: Params) -> tuple[jax.Array, jax.Array]:
        def step(_: int, x: jax.Array) -> jax.Array:
            move = jnp.linalg.solve(hessian(gradient, x), gradient(x))
            return x - move * jnp.minimum(1.0, max_move / jnp.linalg.norm(move))

        end = jax.lax.fori_loop(0, num_steps, step, ravel_pytree(start)[0])
        return end, jnp.linalg.norm(gradient(end))

    ends, norms = jax.jit(jax.vmap(search))(starts)
    found = jnp.asarray(np.flatnonzero(np.asarray(norms) <= gradient_norm))
    return jax.vmap(restore)(ends[found])
