"""Curvatures and their directions at one flat point, the motions of a symmetry raised out of the way."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgd.curvature import hessian
from jaxgd.points.flat import Flat, motions_at


class Modes(NamedTuple):
    """The eigenvectors of the Hessian in a metric: of D H D, D being the length of each coordinate."""

    curvature: jax.Array  # (dim,) ascending, motions last
    vectors: jax.Array  # (dim, dim) columns
    motions: jax.Array  # (k, dim) orthonormal, in the metric
    height: jax.Array  # () Frobenius norm of the Hessian

    def slope(self, gradient: jax.Array) -> jax.Array:
        """Returns (dim,) the gradient, given in the metric, along each mode; none is left along the motions."""
        return self.vectors.T @ (gradient - self.motions.T @ (self.motions @ gradient))


def modes_at(functions: Flat, x: jax.Array, unit: jax.Array, metric: jax.Array, *, raised: float) -> Modes:
    """Returns the modes at a point.

    Args:
      functions: of a landscape, on flat points.
      x: (dim,) the point.
      unit: (dim,) of length.
      metric: (dim,) length of each coordinate.
      raised: curvature of the motions, in units of the Hessian's Frobenius norm.
    """
    matrix = metric[:, None] * hessian(functions.second_order(x), x, unit) * metric[None, :]
    motions = motions_at(functions, x, metric)
    height = jnp.linalg.norm(matrix)
    curvature, vectors = jnp.linalg.eigh((matrix + matrix.T) / 2 + raised * height * motions.T @ motions)
    return Modes(curvature, vectors, motions, height)
