"""A bowl whose curvatures span a given range, along the axes or turned away from them."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Array, Facts, KnownPoint, Landscape, Stop
from jaxgd.landscapes import checks


def quadratic_bowl(
    dim: int = 2, *, condition_number: float = 100.0, axes: str = "aligned", scale: float = 1.0, seed: int = 0
) -> Landscape:
    """Returns a quadratic with curvatures from 1 to `condition_number`, evenly spaced in their logarithm.

        value(x) = 1/2 sum_i a_i (q_i . x)^2,    a_i = condition_number^(i / (dim - 1)),  i = 0 .. dim - 1,

    with q_i the axes, or an orthonormal basis drawn once from Haar's law. Gradient descent does not see the
    difference; methods with a rate for each coordinate do, as only along the axes a coordinate has a
    steepness of its own. The best constant rate, 2 / (1 + condition_number), shrinks the error by
    (condition_number - 1) / (condition_number + 1) a step. In one dimension the curvature is 1.

    Starts are N(0, scale^2) in every coordinate.

    Args:
      dim: number of coordinates, at least 1.
      condition_number: largest over smallest curvature, at least 1.
      axes: "aligned" or "rotated".
      scale: standard deviation of the start law, at least 0.
      seed: of the rotation; the same in every session and precision.

    Example:
      >>> print(float(quadratic_bowl(dim=2, condition_number=100.0).value(jnp.ones(2))))
      50.5
    """
    dim = checks.integer("dim", dim, at_least=1)
    largest = checks.real("condition_number", condition_number, at_least=1)
    checks.choice("axes", axes, ("aligned", "rotated"))
    scale = checks.real("scale", scale, at_least=0)
    seed = checks.integer("seed", seed, at_least=0)
    curvatures = np.geomspace(1.0, largest, dim)
    basis = np.eye(dim) if axes == "aligned" else _haar(dim, seed)

    def value(x: Array) -> Array:
        along = x if axes == "aligned" else jnp.asarray(basis, x.dtype) @ x
        return jnp.sum(jnp.asarray(curvatures, x.dtype) * along**2) / 2

    return Landscape(
        name="quadratic_bowl",
        value=value,
        sample=lambda key: scale * jax.random.normal(key, (dim,)),
        facts=Facts(
            source="linear gradient",
            points=(KnownPoint(value=0.0, index=0, params=np.zeros(dim)),),
            num_minima=1,
            num_critical_points=1,
            max_learning_rate=2 / float(curvatures[-1]),
        ),
        default_optimizer=f"sgd:learning_rate={1 / float(curvatures[-1]):g}",
        default_stop=Stop(gradient_norm=1e-8, max_steps=20_000),
    )


def _haar(dim: int, seed: int) -> np.ndarray:
    """Returns an orthogonal matrix from Haar's law (Mezzadri, Notices of the AMS 54, 592, 2007)."""
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))
    return q * np.sign(np.diag(r))
