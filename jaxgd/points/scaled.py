"""Spectra of Hessians in units that suit them, and what gradients and placement mean in their modes.

With D = diag(d) positive, D H D has the same inertia as H (Sylvester), and with d chosen so that the largest entry of
each row is about one, eigenvalues of very different units no longer hide each other in rounding. Modes are eigenvectors
v of D H D: a step s along one moves x by D v s, and the gradient along it is v' D g.

What is rounding of large terms in H may look like curvature here. A mode is faint where its curvature, measured in the
landscape's units of length, is no more than rounding of the largest curvature or of the values themselves.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.curvature import Spectrum, spectrum
from jaxgd.curvature.dense import orthonormal_rows
from jaxgd.points.evidence import Rows
from jaxgd.points.noise import Model
from jaxgd.points.rows import ForRows

_ROUNDS = 4  # of equilibration
_FAINT = 64.0  # roundings


class Scaled(NamedTuple):
    """A Hessian's spectrum in its own units, with one leading axis of points where there are several.

    Attributes:
      eigenvalues: (dim,) of D H D, ascending; those set aside come last.
      vectors: (dim, dim), column j belongs to eigenvalue j.
      error: (dim,) of each eigenvalue, by rounding and asymmetry.
      is_mode: (dim,) bool, False for the directions set aside.
      rounding: (dim,) about what rounding of larger ones, and of values, comes to in each eigenvalue.
      is_faint: (dim,) bool, whether the eigenvalue may be that.
      num_aside: () int32, how many those are.
      scale: (dim,) d.
      unit: (dim,) of length, as given.
      matrix: (dim, dim) H itself, made symmetric.
      asymmetry: () as a share of the norm.
      skew: () Frobenius norm of what was taken away to make H symmetric.
    """

    eigenvalues: jax.Array
    vectors: jax.Array
    error: jax.Array
    is_mode: jax.Array
    rounding: jax.Array
    is_faint: jax.Array
    num_aside: jax.Array
    scale: jax.Array
    unit: jax.Array
    matrix: jax.Array
    asymmetry: jax.Array
    skew: jax.Array


def _scaled_spectrum(
    matrix: jax.Array, motions: jax.Array, unit: jax.Array, height: jax.Array, most: jax.Array
) -> Scaled:
    """Returns the spectrum of one Hessian.

    Args:
      matrix: (dim, dim) the Hessian.
      motions: (k, dim) directions to be set aside, in units of length; some may be zero.
      unit: (dim,) of length.
      height: () of values.
      most: () by which rows of little curvature may be scaled up; 1 leaves the units of length alone.
    """
    symmetric = (matrix + matrix.T) / 2
    scale = _equilibrated(symmetric, unit, most)
    own = scale[:, None] * matrix * scale[None, :]

    # A direction m of x is D^-1 m here.
    at = spectrum(own, _independent(motions * (unit / scale)[None, :]))

    # Compared in units of length with the largest curvature, or with that of the values' own size.
    largest = jnp.maximum(jnp.max(jnp.abs(symmetric) * unit[:, None] * unit[None, :]), height)
    squared = jnp.sum(((scale / unit)[:, None] * at.vectors) ** 2, axis=0)
    rounding = len(unit) * jnp.finfo(matrix.dtype).eps * largest * squared
    return Scaled(
        eigenvalues=at.eigenvalues,
        vectors=at.vectors,
        error=at.error,
        is_mode=at.is_mode,
        rounding=rounding,
        is_faint=jnp.abs(at.eigenvalues) <= _FAINT * rounding,
        num_aside=at.num_symmetry_modes,
        scale=scale,
        unit=unit,
        matrix=symmetric,
        asymmetry=at.asymmetry / jnp.where(at.norm > 0, at.norm, 1),
        skew=jnp.linalg.norm(matrix - matrix.T) / 2,
    )


def _equilibrated(symmetric: jax.Array, unit: jax.Array, most: jax.Array) -> jax.Array:
    """Returns (dim,) d, so that the largest entry of every row of D H D is about one, as far as `most` allows."""
    own = jnp.abs(symmetric) * unit[:, None] * unit[None, :]
    largest = jnp.max(own)
    own = own * (1 / jnp.where(largest > 0, largest, 1))

    def balance(_: jax.Array, d: jax.Array) -> jax.Array:
        row = jnp.max(own * d[:, None] * d[None, :], axis=1)
        return jnp.clip(d / jnp.sqrt(jnp.where(row > 0, row, 0)), 0, most)

    d = jax.lax.fori_loop(0, _ROUNDS, balance, jnp.ones_like(unit))
    return d * unit / jnp.sqrt(jnp.where(largest > 0, largest, 1))


def _raw_spectrum(matrix: jax.Array, motions: jax.Array, unit: jax.Array) -> Spectrum:
    """Returns the spectrum in the units of the parameters; arguments as above."""
    return spectrum(matrix, _independent(motions * unit[None, :]))


def _independent(rows: jax.Array) -> jax.Array:
    """Returns an orthonormal basis of the span of rows whose lengths mean nothing."""
    lengths = jnp.linalg.norm(rows, axis=1, keepdims=True)
    return orthonormal_rows(jnp.where(lengths > 0, rows / jnp.where(lengths > 0, lengths, 1), 0))


SCALED_SPECTRUM, RAW_SPECTRUM = ForRows(_scaled_spectrum), ForRows(_raw_spectrum)
"""matrix, motions, unit (and height, most for the first) -> spectra, for many points."""


def rounding_of(at: Scaled, x: Rows) -> Rows:
    """Returns (n, dim) what one rounding of x makes of the gradient."""
    return np.finfo(x.dtype).eps * np.einsum("nij,nj->ni", np.abs(at.matrix), np.abs(x))


def is_curved(at: Scaled) -> Rows:
    """Returns (n, dim) whether each mode has curvature beyond rounding."""
    return at.is_mode & ~at.is_faint & (np.abs(at.eigenvalues) > at.error)


def model_of(at: Scaled, x: Rows, is_free: Rows) -> Model:
    """Returns the quadratic models at points (n, dim)."""
    product = lambda moves: np.einsum("nij,nkj->nki", at.matrix, moves)
    return Model(product, rounding_of(at, x), at.unit, is_free)


def along_modes(at: Scaled, gradient: Rows) -> Rows:
    """Returns (n, dim) the gradient along each mode."""
    return np.einsum("nij,ni->nj", at.vectors, at.scale * gradient)


def spread_over_modes(at: Scaled, error: Rows) -> Rows:
    """Returns (n, dim) what errors (n, dim) of a gradient come to along each mode, at most."""
    return np.einsum("nij,ni->nj", np.abs(at.vectors), at.scale * error)


def as_step(at: Scaled, along: Rows) -> Rows:
    """Returns (n, dim) the step of x that goes so far along each mode."""
    return at.scale * np.einsum("nij,nj->ni", at.vectors, along)


def extent(at: Scaled) -> Rows:
    """Returns (n, dim) how far a step of one along each mode goes in units of length, in the coordinate of most."""
    return np.max((at.scale / at.unit)[:, :, None] * np.abs(at.vectors), axis=1)
