r"""A path between two points, let down by its own gradient: the simplified string method.

Images on the path descend, in units of length, across it,

$$ x_i \leftarrow x_i - \frac{1}{L_i} (1 - t_i t_i^\top) \nabla f(x_i), $$

with t_i the tangent and L_i the largest curvature at the image; then they are spread along the path again, evenly. E,
Ren and Vanden-Eijnden, J. Chem. Phys. 126, 164103 (2007). The largest value on any path is an upper bound of what has
to be passed, so that a string which has not settled yet is no error, only no better.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.points.flat import Flat

SWEEPS_TOGETHER = 50
"""Between two looks at the curvature, and at the largest value."""

_NUM_POWERS = 8  # products that the largest curvature is estimated from
_SAFETY = 1.5  # on it


@functools.lru_cache(maxsize=16)
def _program(functions: Flat) -> jax.stages.Wrapped:
    """Returns the compiled sweeps: path (k, dim) and unit (dim,) to the path let down."""

    def curvature(x: jax.Array, unit: jax.Array) -> jax.Array:
        operator = functions.second_order(x).at(x, unit)

        def power(_: int, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            vector = carry[0]
            image = unit * operator(unit * vector)
            length = jnp.linalg.norm(image)
            return image / jnp.where(length > 0, length, 1), length

        signs = jax.random.rademacher(jax.random.key(0), x.shape, x.dtype)
        start = (signs / jnp.sqrt(jnp.asarray(x.size, x.dtype)), jnp.zeros((), x.dtype))
        return jax.lax.fori_loop(0, _NUM_POWERS, power, start)[1]

    @jax.jit
    def sweeps(path: jax.Array, unit: jax.Array) -> jax.Array:
        largest = jax.lax.map(lambda x: curvature(x, unit), path[1:-1])
        rate = 1 / (_SAFETY * jnp.where(largest > 0, largest, jnp.inf))

        def sweep(_: int, path: jax.Array) -> jax.Array:
            places = path / unit[None, :]
            gradient = jax.lax.map(functions.gradient, path[1:-1]) * unit[None, :]
            tangent = places[2:] - places[:-2]
            length = jnp.linalg.norm(tangent, axis=1, keepdims=True)
            tangent = tangent / jnp.where(length > 0, length, 1)
            across = gradient - jnp.sum(gradient * tangent, axis=1, keepdims=True) * tangent
            moved = jnp.where(jnp.isfinite(across), across, 0) * rate[:, None]
            return spread_out(places.at[1:-1].add(-moved)) * unit[None, :]

        return jax.lax.fori_loop(0, SWEEPS_TOGETHER, sweep, path)

    return sweeps


def spread_out(path: jax.Array) -> jax.Array:
    """Returns (k, dim) places on a path, its ends among them, at equal distances along it."""
    steps = jnp.linalg.norm(path[1:] - path[:-1], axis=1)
    along = jnp.concatenate([jnp.zeros((1,), path.dtype), jnp.cumsum(steps)])
    goals = jnp.linspace(0, 1, len(path), dtype=path.dtype) * along[-1]
    before = jnp.clip(jnp.searchsorted(along, goals, side="right") - 1, 0, len(path) - 2)
    gap = along[before + 1] - along[before]
    share = ((goals - along[before]) / jnp.where(gap > 0, gap, 1))[:, None]
    spread = (1 - share) * path[before] + share * path[before + 1]
    return spread.at[0].set(path[0]).at[-1].set(path[-1])


def let_down(functions: Flat, path: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Returns the path (k, dim) after `SWEEPS_TOGETHER` sweeps.

    Args:
      functions: of a landscape, on flat points.
      path: (k, dim) images, at least three; the first and the last stay.
      unit: (dim,) of length.
    """
    return np.asarray(_program(functions)(jnp.asarray(path), jnp.asarray(unit)))
