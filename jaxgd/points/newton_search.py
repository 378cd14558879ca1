"""Critical points of every index, by Newton's method for the gradient's zero from random starts.

    x <- x - min(1, max_move / |s|) s,    s = H(x)^-1 g(x).

The symmetry's motions, along which the gradient vanishes, are given curvature, so that H has an inverse beside a point.
Newton's method does not care which way a direction curves, so it finds saddles and maxima as well as minima. What it
finds is no fair sample: each point counts as often as its Newton basin is large. Many starts end nowhere; they are left
out.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import InputValueError, Key, Landscape, Params
from jaxgd.checks import check_count, check_key
from jaxgd.curvature import hessian
from jaxgd.descend import count_starts
from jaxgd.platforms import in_full_precision
from jaxgd.points.flat import Kind, as_params, as_rows, flat, motions_at
from jaxgd.points.rows import ForRows


@in_full_precision
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
    starts = jax.vmap(landscape.sample)(jax.random.split(key, num_starts)) if starts is None else starts
    rows, kind = as_rows(jax.tree.map(lambda leaf: np.asarray(jnp.asarray(leaf)), starts))
    ends, norms = _search(landscape, kind)(rows, np.int32(num_steps), np.asarray(max_move, rows.dtype))
    return as_params(ends[norms <= gradient_norm], kind)


@functools.lru_cache(maxsize=8)
def _search(landscape: Landscape, kind: Kind) -> ForRows:
    """Returns the search from one flat start: start, num_steps, max_move -> end, its gradient's norm."""
    functions = flat(landscape, kind)
    gradient = functions.gradient

    def search(start: jax.Array, num_steps: jax.Array, max_move: jax.Array) -> tuple[jax.Array, jax.Array]:
        def step(state: Any) -> Any:
            count, x, _ = state
            matrix, motions = hessian(gradient, x), motions_at(functions, x, jnp.max(jnp.abs(x)))
            move = jnp.linalg.solve(matrix + jnp.linalg.norm(matrix) * motions.T @ motions, gradient(x))
            size = jnp.linalg.norm(move)
            x = x - move * jnp.minimum(1.0, max_move / size)
            return count + 1, x, size > jnp.finfo(x.dtype).eps * jnp.linalg.norm(x)  # false where it is not finite

        goes = lambda state: (state[0] < num_steps) & state[2]
        end = jax.lax.while_loop(goes, step, (jnp.int32(0), start, jnp.bool_(True)))[1]
        return end, jnp.linalg.norm(gradient(end))

    return ForRows(search, num_shared=2)
