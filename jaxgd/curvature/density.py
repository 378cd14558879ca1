"""How the eigenvalues of a large Hessian are spread: density, trace, share below zero, outliers, with standard errors.

Stochastic Lanczos quadrature: for a random vector v with independent entries of mean 0 and variance 1, the Ritz values
t_i of k Lanczos steps from v and the squares w_i of the first entries of their vectors make a Gauss quadrature, exact
for polynomials of degree up to 2k - 1,

    sum_i w_i f(t_i) ~ v' f(H) v / |v|^2,

and the mean over vectors estimates tr f(H) / dim. With f a narrow Gaussian it is the density, with f(t) = t the trace
(Hutchinson), with a step at zero the share of negative curvature. A step is no polynomial: the quadrature puts the
weight of a Ritz value on one side whole, and eigenvalues closer to zero than `resolution` may be counted on either. The
spread over vectors gives the standard errors; they do not hold that bias. Signs are used as entries: the variance of a
trace then comes from the off-diagonal entries alone.

References:
  Ubaru, Chen and Saad, Fast Estimation of tr(f(A)) via Stochastic Lanczos Quadrature, SIAM J. Matrix Anal. Appl. 38,
  1075 (2017); Ghorbani, Krishnan and Xiao, An Investigation into Neural Net Optimization via Hessian Eigenvalue
  Density, arXiv 1901.10159 (2019); Hutchinson, Commun. Stat. 18, 1059 (1989).
"""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matfree import decomp

from jaxgd.base import InputValueError, Key
from jaxgd.curvature.products import Product


@dataclass(frozen=True, kw_only=True, eq=False)
class Density:
    """The spectrum of one operator as quadratures from several random vectors.

    Attributes:
      nodes: (vectors, k) Ritz values, ascending.
      weights: (vectors, k) shares of the spectrum, each row of sum 1.
      dim: dimension of the operator.
      num_products: products that were computed.
    """

    nodes: np.ndarray
    weights: np.ndarray
    dim: int
    num_products: int

    @property
    def resolution(self) -> float:
        """Distance of neighbouring Ritz values in the middle of the spectrum: nothing finer is told apart."""
        return float(np.median(np.diff(self.nodes, axis=1))) if self.nodes.shape[1] > 1 else float("inf")

    def trace(self) -> tuple[float, float]:
        """Returns the trace and its standard error."""
        return self._mean(self.dim * np.sum(self.weights * self.nodes, axis=1))

    def mean(self, fn: Any) -> tuple[float, float]:
        """Returns the mean of `fn` over the eigenvalues, tr fn(H) / dim, and its standard error.

        Args:
          fn: maps an array of eigenvalues to an array of the same shape.
        """
        return self._mean(np.sum(self.weights * fn(self.nodes), axis=1))

    def share_negative(self, below: float = 0.0) -> tuple[float, float]:
        """Returns the share of eigenvalues under `below`, and its standard error."""
        return self.mean(lambda nodes: (nodes < below).astype(np.float64))

    def density(self, at: np.ndarray, width: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Returns the density of eigenvalues, of integral 1, and its standard errors.

        Args:
          at: (m,) places.
          width: standard deviation of the Gaussian that each eigenvalue is blurred by; twice the resolution if None.
        """
        width = 2 * self.resolution if width is None else width
        if not (np.isfinite(width) and width > 0):
            raise InputValueError(f"`width` must be positive and finite, got {width}.")
        away = (np.asarray(at)[:, None, None] - self.nodes[None]) / width
        each = np.sum(self.weights[None] * np.exp(-(away**2) / 2), axis=2) / (width * np.sqrt(2 * np.pi))
        return each.mean(axis=1), each.std(axis=1, ddof=1) / np.sqrt(each.shape[1])

    def outliers(self, factor: float = 4.0) -> np.ndarray:
        """Returns Ritz values of the first vector that stand apart from the bulk, ascending.

        Apart are those at the ends that a gap of more than `factor` times the largest gap inside the middle half of the
        weight divides from the rest.
        """
        nodes, weights = self.nodes[0], self.weights[0]
        if len(nodes) < 4:
            return nodes[:0]
        below = np.cumsum(weights)
        gaps = np.diff(nodes)
        bulk = (below[:-1] >= 0.25) & (below[:-1] <= 0.75)
        middle = int(np.searchsorted(below, 0.5))
        usual = gaps[bulk].max() if bulk.any() else gaps[min(middle, len(gaps) - 1)]
        wide = np.flatnonzero(gaps > factor * usual)
        left, right = wide[wide < middle], wide[wide >= middle]
        first = int(left[-1]) + 1 if len(left) else 0
        last = int(right[0]) if len(right) else len(nodes) - 1
        return np.concatenate([nodes[:first], nodes[last + 1 :]])

    def _mean(self, each: np.ndarray) -> tuple[float, float]:
        return float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each)))


def density(product: Product, key: Key, *, num_vectors: int = 16, num_steps: int = 64) -> Density:
    """Returns the spectrum's spread from `num_vectors` random vectors, at `num_steps` products each.

    Args:
      product: the operator; of one lane.
      key: of the random vectors.
      num_vectors: vectors (>= 2, for there is no standard error from one).
      num_steps: Lanczos steps from each (>= 1); never more than the dimension.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxgd.curvature import product_of
      >>> diagonal = jnp.concatenate([-jnp.ones(25), jnp.full(75, 2.0)])
      >>> found = density(product_of(lambda v: diagonal * v, 100), jax.random.key(0), num_steps=2)
      >>> print([f"{x:.3f}" for x in (*found.trace(), *found.share_negative())])
      ['125.000', '0.000', '0.250', '0.000']
    """
    if product.num_lanes != 1:
        raise InputValueError(f"`product` must have one lane, got {product.num_lanes}.")
    if num_vectors < 2 or num_steps < 1:
        raise InputValueError(
            f"`num_vectors` must be at least 2 and `num_steps` at least 1, got {num_vectors} and {num_steps}."
        )
    num_steps = min(num_steps, product.dim)
    nodes, weights = [], []
    for number in range(num_vectors):
        signs = jax.random.rademacher(jax.random.fold_in(key, number), (product.dim,), jnp.zeros(()).dtype)
        diagonal, off = _tridiagonal(product.apply, product.operand, signs, jnp.dtype(product.dtype).name, num_steps)
        found, weight = _quadrature(np.asarray(diagonal, np.float64), np.asarray(off, np.float64))
        nodes.append(found)
        weights.append(weight)
    return Density(
        nodes=np.stack(nodes), weights=np.stack(weights), dim=product.dim, num_products=num_vectors * num_steps
    )


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def _tridiagonal(apply: Any, operand: Any, start: jax.Array, dtype: str, num_steps: int) -> tuple[jax.Array, jax.Array]:
    multiply = lambda vector: apply(operand, vector[None].astype(dtype))[0].astype(start.dtype)
    process = decomp.tridiag_sym(num_steps, materialize=False, reortho="full", custom_vjp=False)
    return process(multiply, start).J_small


def _quadrature(diagonal: np.ndarray, off: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns nodes and weights; nodes beyond the end of an exhausted process repeat the last with weight 0."""
    entries = np.concatenate([diagonal, off])
    size = np.max(np.abs(entries[np.isfinite(entries)]), initial=0.0)
    ended = ~(np.abs(off) > 100 * np.finfo(np.float64).eps * size) | ~np.isfinite(diagonal[1:])
    length = int(np.argmax(ended)) + 1 if ended.any() else len(diagonal)
    if not np.isfinite(diagonal[0]):
        return np.full_like(diagonal, np.nan), np.full_like(diagonal, np.nan)
    matrix = np.diag(diagonal[:length]) + np.diag(off[: length - 1], 1) + np.diag(off[: length - 1], -1)
    values, vectors = np.linalg.eigh(matrix)
    missing = len(diagonal) - length
    return np.pad(values, (0, missing), mode="edge"), np.pad(vectors[0] ** 2, (0, missing))
