"""Within which radius of a computed point a true critical point lies: the Newton-Kantorovich theorem.

With b = |H(x)^-1|, s = |H(x)^-1 g(x)| the length of the Newton step, and L a Lipschitz constant of the Hessian around x
(a bound on the third derivative), h = b L s <= 1/2 implies that there is a critical point within

    r = (1 - sqrt(1 - 2h)) / (b L) <= 2s

of x, and no other within (1 + sqrt(1 - 2h)) / (b L). Everything is measured in the directions that no symmetry makes
flat: the theorem then speaks of the slice through x across the symmetry's motions, which meets every orbit near x.

b comes from the spectrum with its error bounds, s holds an estimate of the gradient's own rounding. L is the weak
point: given by the caller it makes the certificate a proof (up to that rounding); else it is estimated by differences
of the Hessian at random points of the ball in question, times a safety factor, and the certificate says so.

References:
  Kantorovich, Functional Analysis and Applied Mathematics (1948); Deuflhard, Newton Methods for Nonlinear Problems
  (2004), Theorem 2.1.
"""

import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import InputValueError, Landscape, Params, Points
from jaxgd.curvature import hessian, spectrum
from jaxgd.platforms import in_full_precision
from jaxgd.points.flat import Kind, as_rows, at_least_single, flat, motions_at
from jaxgd.points.rows import ForRows

SAFETY = 4.0
"""Factor on the largest difference of Hessians that was sampled."""

NUM_SAMPLES = 16

_MAX_DIM = 1024


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What is certain about critical points near given points; arrays with one leading axis of points.

    Attributes:
      radius: (n,) a critical point lies within this distance; infinite where the theorem does not apply.
      unique_radius: (n,) and no other one within this; 0 where the theorem does not apply.
      h: (n,) the theorem's number, at most 1/2 where it applies; infinite where the Hessian is singular.
      lipschitz: (n,) the Lipschitz constant of the Hessian that was used.
      is_estimated: whether it was estimated by sampling, so that the certificate is no proof.
    """

    radius: np.ndarray
    unique_radius: np.ndarray
    h: np.ndarray
    lipschitz: np.ndarray
    is_estimated: bool

    def __len__(self) -> int:
        return len(self.radius)

    def holds(self) -> np.ndarray:
        """Returns (n,) bool, whether the theorem applies."""
        return self.h <= 0.5


@in_full_precision
def certify(
    landscape: Landscape, points: Points | Params, *, third_derivative: float | np.ndarray | None = None
) -> Certificate:
    """Returns how near true critical points lie, by the Newton-Kantorovich theorem.

    Args:
      landscape: whose critical points they are.
      points: judged points, or a batch of params with one leading axis; at most 1,024 parameters each.
      third_derivative: Lipschitz constant of the Hessian (spectral norm) around each point, one number or (n,); it is
        estimated by sampling if None.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> well = Landscape(value=lambda x: (x**2 - 1) ** 2 / 4, sample=lambda key: jax.random.normal(key))
      >>> found = certify(well, jnp.array([1.01, 0.6]), third_derivative=8.0)
      >>> found.holds().tolist(), bool(found.radius[0] >= 0.01), found.is_estimated
      ([True, False], True, False)
    """
    params = points.params if isinstance(points, Points) else points
    leaves = jax.tree.leaves(params)
    if not leaves or any(np.ndim(leaf) == 0 for leaf in leaves) or len({len(leaf) for leaf in leaves}) != 1:
        raise InputValueError("`points` must be params with one leading axis of points in every leaf.")
    num_points = len(leaves[0])
    dim = sum(math.prod(np.shape(leaf)[1:]) for leaf in leaves)
    if num_points == 0 or not 1 <= dim <= _MAX_DIM:
        raise InputValueError(
            f"`points` must be at least one point of 1 to {_MAX_DIM} parameters, got {num_points} of {dim}."
        )
    rows, kind = as_rows(jax.tree.map(at_least_single, params))
    if third_derivative is not None:
        given = np.asarray(third_derivative, np.float64)
        if given.shape not in ((), (num_points,)) or not np.all(np.isfinite(given) & (given >= 0)):
            raise InputValueError(
                f"`third_derivative` must be one finite number of at least 0, or {num_points} of them,"
                f" got {third_derivative!r}."
            )
    measured = _measure(landscape, kind)(rows)
    step, inverse, sampled = (np.asarray(array, np.float64) for array in measured)
    lipschitz = SAFETY * sampled if third_derivative is None else np.broadcast_to(given, step.shape).copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        h = np.where(np.isfinite(inverse), inverse * lipschitz * step, np.inf)
        h = np.where(np.isfinite(h), h, np.inf)
        root = np.sqrt(np.maximum(1 - 2 * h, 0))
        # 2s / (1 + root) is (1 - root) / (b L) without its cancellation, and right for L = 0
        radius = np.where(h <= 0.5, 2 * step / (1 + root), np.inf)
        unique = np.where(h <= 0.5, (1 + root) / (inverse * lipschitz), 0.0)
    return Certificate(
        radius=radius, unique_radius=unique, h=h, lipschitz=lipschitz, is_estimated=third_derivative is None
    )


@functools.lru_cache(maxsize=8)
def _measure(landscape: Landscape, kind: Kind) -> ForRows:
    """Returns what is measured at flat points: (length of the Newton step, |H^-1|, sampled Lipschitz constant)."""
    functions = flat(landscape, kind)
    gradient = functions.gradient

    def one(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        at = spectrum(hessian(gradient, x), motions_at(functions, x, jnp.max(jnp.abs(x))))
        least = jnp.min(jnp.where(at.is_mode, jnp.abs(at.eigenvalues) - at.error, jnp.inf))
        inverse = jnp.where(least > 0, 1 / jnp.where(least > 0, least, 1), jnp.inf)
        # rounding of the gradient: what one rounding of x makes of it, in every direction
        rounding = jnp.finfo(x.dtype).eps * at.norm * jnp.linalg.norm(x)
        along = at.vectors.T @ gradient(x)
        solved = jnp.where(at.is_mode, along / jnp.where(at.is_mode, at.eigenvalues, 1), 0)
        step = jnp.linalg.norm(solved) + inverse * rounding
        across = jnp.where(at.is_mode[None, :], at.vectors, 0)
        radius = jnp.where(jnp.isfinite(step), 2 * step, 0) + jnp.sqrt(jnp.finfo(x.dtype).eps) * jnp.max(jnp.abs(x))
        draws = jax.random.normal(jax.random.key(0), (NUM_SAMPLES, x.size), x.dtype)

        def change(draw: jax.Array) -> jax.Array:
            move = across @ (across.T @ draw)
            move = radius * move / jnp.maximum(jnp.linalg.norm(move), jnp.finfo(x.dtype).tiny)
            difference = across.T @ (hessian(gradient, x + move) - hessian(gradient, x - move)) @ across
            return jnp.max(jnp.abs(jnp.linalg.eigvalsh((difference + difference.T) / 2))) / (2 * radius)

        return step, inverse, jnp.max(jax.lax.map(change, draws))

    return ForRows(one)
