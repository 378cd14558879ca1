"""Spectral statistics of a large Hessian: density, trace, share below zero, outliers, with standard errors.

Stochastic Lanczos quadrature: for a random vector v with independent entries of mean 0 and variance 1, the Ritz values
t_i of k Lanczos steps from v and the squares w_i of the first entries of their vectors make a Gauss quadrature, exact
for polynomials of degree up to 2k - 1,

    sum_i w_i f(t_i) ~ v' f(H) v / |v|^2,

and the mean over vectors estimates tr f(H) / dim. With f a narrow Gaussian it is the density, with f(t) = t the trace
(Hutchinson). Signs are used as entries: the variance of a trace then comes from the off-diagonal entries alone, and the
spread over vectors gives the standard errors.

The share of eigenvalues below some number is the mean of a step, which is not a polynomial: a Ritz value counts
entirely on one side, although the eigenvalues that it represents may lie on both, and the spread over vectors does not
show this. But the rule with one node prescribed at the step (Radau's) bounds the share from both sides: all weight
before that node is at most v's share before the step, and with the node's own weight it is at least that (Chebyshev,
Markov and Stieltjes). Where many eigenvalues are nearly zero the two bounds are far apart at zero; `share_negative`
therefore steps back to the level below which they are close. A vector's part of a share has a variance of at most 2 p
(1 - p) / dim, as if dim / 2 eigenvalues had been drawn; the limits include this.

References:
  Ubaru, Chen and Saad, Fast Estimation of tr(f(A)) via Stochastic Lanczos Quadrature, SIAM J. Matrix Anal. Appl. 38,
  1075 (2017); Ghorbani, Krishnan and Xiao, An Investigation into Neural Net Optimization via Hessian Eigenvalue
  Density, arXiv 1901.10159 (2019); Hutchinson, Commun. Stat. 18, 1059 (1989); Golub and Meurant, Matrices, Moments and
  Quadrature with Applications (2010), for Radau's rule and the bounds.
"""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.stats

from jaxgd.base import InputValueError, Key
from jaxgd.curvature.products import Product

_ROUNDING = 32.0  # rounding units of the largest Ritz value, within which an eigenvalue may lie on either side
_EXHAUSTED = 100.0  # rounding units of the largest product; a row below that is exhausted
_LARGEST_ENTRY = 1e6  # of a rule with a prescribed node, relative to the others; beyond, the other nodes lose digits
_MIN_GAP = 0.01  # between the two bounds of a share, which is always small enough
_GAP_NODES = 2.0  # weights of an average node; the quadrature cannot resolve less


class Share(NamedTuple):
    """The share of eigenvalues less than `below` lies between `low` and `high`.

    Attributes:
      low: lower limit, in [0, 1].
      high: upper limit, in [0, 1].
      below: the level, in the unit of the eigenvalues.
    """

    low: float
    high: float
    below: float

    def __str__(self) -> str:
        return f"{self.low:.3f} to {self.high:.3f} of the eigenvalues lie below {self.below:.3g}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Density:
    """The spectrum of one operator as quadratures from several random vectors.

    Attributes:
      nodes: (vectors, k) Ritz values, ascending.
      weights: (vectors, k) shares of the spectrum, each row of sum 1.
      diagonals: (vectors, k) of the tridiagonal matrices of the Lanczos processes, whose eigenvalues the nodes are.
      off_diagonals: (vectors, k) beside them, and beyond the last; zero from where a process was exhausted.
      dim: dimension of the operator.
      num_products: products that were computed.
      epsilon: rounding unit of the products.
    """

    nodes: np.ndarray
    weights: np.ndarray
    diagonals: np.ndarray
    off_diagonals: np.ndarray
    dim: int
    num_products: int
    epsilon: float

    @property
    def resolution(self) -> float:
        """Distance of neighbouring Ritz values in the middle of the spectrum, the resolution of the quadrature."""
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

    def share_below(self, below: float, confidence: float = 0.95) -> Share:
        """Returns limits of the share of eigenvalues less than `below`, which hold it with this confidence.

        They are far apart if many eigenvalues lie closer to `below` than the quadrature resolves.
        """
        if not 0 < confidence < 1:
            raise InputValueError(f"`confidence` must lie strictly between 0 and 1, got {confidence}.")
        low, high = self._bounds(below)
        trials, tail = len(self.nodes) * self.dim / 2, (1 - confidence) / 2
        lower = scipy.stats.beta.ppf(tail, low * trials, (1 - low) * trials + 1) if low > 0 else 0.0
        upper = scipy.stats.beta.ppf(1 - tail, high * trials + 1, (1 - high) * trials) if high < 1 else 1.0
        return Share(low=float(lower), high=float(upper), below=float(below))

    def share_negative(self, confidence: float = 0.95) -> Share:
        """Returns limits of the share of eigenvalues less than -`level`, the smallest level that is resolved.

        Zero is resolved, and `below` of the answer is zero, unless eigenvalues crowd there: the sign of those nearer to
        zero than the level is unknown, and they are in neither the share nor its limits.
        """
        enough = max(_MIN_GAP, _GAP_NODES / self.nodes.shape[1])
        largest, num_halvings = float(np.max(np.abs(self.nodes))), int(-np.log2(_ROUNDING * self.epsilon))
        levels = [*(largest * 0.5 ** np.arange(num_halvings)), 0.0]
        gap = lambda level: -np.subtract(*self._bounds(-level))
        # The gap grows towards zero, so bisect.
        resolved, unresolved = 0, len(levels)
        while unresolved - resolved > 1:
            place = len(levels) - 1 if unresolved == len(levels) else (resolved + unresolved) // 2
            resolved, unresolved = (place, unresolved) if gap(levels[place]) <= enough else (resolved, place)
        return self.share_below(0.0 - levels[resolved], confidence)

    def _bounds(self, below: float) -> tuple[float, float]:
        """Returns bounds of the share of eigenvalues less than `below` in the vectors of this sample, their mean."""
        rounding = _ROUNDING * self.epsilon * float(np.max(np.abs(self.nodes)))
        pairs = list(zip(self.diagonals, self.off_diagonals, strict=True))
        low = np.mean([_weight_before(*pair, below, -rounding)[0] for pair in pairs])
        high = np.mean([_weight_before(*pair, below, rounding)[1] for pair in pairs])
        return (float(low), float(high)) if np.isfinite(rounding) else (0.0, 1.0)

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
      num_vectors: vectors (>= 2, since one gives no standard error).
      num_steps: Lanczos steps from each (>= 1); never more than the dimension.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxgd.curvature import product_of
      >>> diagonal = jnp.concatenate([-jnp.ones(25), jnp.full(75, 2.0)])
      >>> found = density(product_of(lambda v: diagonal * v, 100), jax.random.key(0), num_steps=2)
      >>> print([f"{x:.3f}" for x in found.trace()], found.share_negative())
      ['125.000', '0.000'] 0.220 to 0.282 of the eigenvalues lie below 0
    """
    if product.num_lanes != 1:
        raise InputValueError(f"`product` must have one lane, got {product.num_lanes}.")
    if num_vectors < 2 or num_steps < 1:
        raise InputValueError(
            f"`num_vectors` must be at least 2 and `num_steps` at least 1, got {num_vectors} and {num_steps}."
        )

    # One Lanczos process for each random vector.
    num_steps = min(num_steps, product.dim)
    processes, epsilon = [], float(jnp.finfo(product.dtype).eps)
    for number in range(num_vectors):
        signs = jax.random.rademacher(jax.random.fold_in(key, number), (product.dim,), jnp.zeros(()).dtype)
        diagonal, off = _tridiagonal(product.apply, product.operand, signs, jnp.dtype(product.dtype).name, num_steps)
        processes.append((np.asarray(diagonal, np.float64), np.asarray(off, np.float64)))

    nodes, weights = zip(*(_quadrature(*process) for process in processes), strict=True)
    diagonals, off_diagonals = zip(*processes, strict=True)
    return Density(
        nodes=np.stack(nodes),
        weights=np.stack(weights),
        diagonals=np.stack(diagonals),
        off_diagonals=np.stack(off_diagonals),
        dim=product.dim,
        num_products=num_vectors * num_steps,
        epsilon=epsilon,
    )


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def _tridiagonal(apply: Any, operand: Any, start: jax.Array, dtype: str, num_steps: int) -> tuple[jax.Array, jax.Array]:
    """Returns the (k,) diagonal and the (k,) off-diagonal of a Lanczos process; zeros from where it was exhausted.

    The whole basis is kept and every new row is orthogonalised against it twice: once is not enough if little remains.
    """
    epsilon = jnp.finfo(dtype).eps.astype(start.dtype)

    def step(carry: tuple[jax.Array, jax.Array, jax.Array], place: jax.Array) -> Any:
        row, basis, size = carry
        basis = basis.at[place].set(row)
        image = apply(operand, row[None].astype(dtype))[0].astype(start.dtype)
        left = image
        for _ in range(2):
            left = left - (basis @ left) @ basis
        size, length = jnp.maximum(size, jnp.linalg.norm(image)), jnp.linalg.norm(left)
        length = jnp.where(length > _EXHAUSTED * epsilon * size, length, jnp.zeros_like(length))
        row = jnp.where(length > 0, left / length, jnp.zeros_like(left))
        return (row, basis, size), (jnp.vdot(basis[place], image), length)

    first = start / jnp.linalg.norm(start)
    carry = first, jnp.zeros((num_steps, len(start)), start.dtype), jnp.zeros((), start.dtype)
    return jax.lax.scan(step, carry, jnp.arange(num_steps, dtype=jnp.int32))[1]


def _quadrature(diagonal: np.ndarray, off: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns nodes and weights; nodes beyond the end of an exhausted process repeat the last with weight 0."""
    length = _length(diagonal, off)
    if not np.isfinite(diagonal[0]):
        return np.full_like(diagonal, np.nan), np.full_like(diagonal, np.nan)
    values, weights = _nodes(diagonal[:length], off[: length - 1])
    missing = len(diagonal) - length
    return np.pad(values, (0, missing), mode="edge"), np.pad(weights, (0, missing))


def _weight_before(diagonal: np.ndarray, off: np.ndarray, step: float, margin: float) -> tuple[float, float]:
    """Returns bounds of the weight that the vector of a Lanczos process has in eigenvalues before `step`.

    They are those of a place beside it: `margin` away, or further if a Ritz value is in the way.
    """
    length = _length(diagonal, off)
    if not np.isfinite(step + margin) or not np.all(np.isfinite(diagonal[:length])):
        return 0.0, 1.0
    if off[length - 1] == 0:  # exhausted: the quadrature is the spectrum of the vector itself
        values, weights = _nodes(diagonal[:length], off[: length - 1])
        exact = float(weights[values < step + margin].sum())
        return exact, exact

    # Radau: one more diagonal entry, such that the step is a node, that is, the last pivot of T - step is zero.
    largest = _LARGEST_ENTRY * np.max(np.abs([diagonal, off]))
    last = np.inf
    while not abs(last) <= largest:
        at, margin, pivot = step + margin, 2 * margin, np.inf
        for entry, before in zip((diagonal - at).tolist(), [0.0, *off[:-1].tolist()], strict=True):
            pivot = (entry - before**2 / pivot) or float(np.finfo(float).tiny)
        last = at + float(off[-1]) ** 2 / pivot
    values, weights = _nodes(np.append(diagonal, last), off)
    node = int(np.argmin(np.abs(values - at)))
    low = float(weights[:node].sum())
    return low, min(low + float(weights[node]), 1.0)


def _length(diagonal: np.ndarray, off: np.ndarray) -> int:
    """Returns the steps of a Lanczos process before it was exhausted."""
    ended = off == 0
    return int(np.argmax(ended)) + 1 if ended.any() else len(diagonal)


def _nodes(diagonal: np.ndarray, off: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the eigenvalues of a tridiagonal matrix, ascending, and the squares of their vectors' first entries."""
    values, vectors = scipy.linalg.eigh_tridiagonal(diagonal, off)
    return values, vectors[0] ** 2
