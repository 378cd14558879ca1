"""The probability that a Lanczos process from a random start missed a direction of curvature.

Kuczynski and Wozniakowski (1992), Theorem 4.2: let A be symmetric and positive semidefinite with largest eigenvalue
L, let the start be uniform on the unit sphere of R^n, and let l be the largest Ritz value on the Krylov space of
dimension k. Then for every e in (0, 1)

    P(L - l > e L) <= 1.648 sqrt(n) exp(-(2k - 1) sqrt(e)),

and l = L with probability one when k is at least the number of distinct eigenvalues. The bound is for the worst
spectrum and for exact arithmetic; full reorthogonalisation keeps the process close to that.

Krylov spaces do not change when a multiple of the identity is added. With H's eigenvalues from a to b, the theorem
for b - H and for H - a, each with largest eigenvalue D = b - a, says that both end Ritz values are within e D of a and
b, but for twice that probability. Then the spread S of the Ritz values is at least (1 - 2e) D, and what is seen
bounds what is not:

    P(a < lowest Ritz value - e S / (1 - 2e)) <= 3.296 sqrt(n) exp(-(2k - 1) sqrt(e)).

Read for a given depth -d of curvature, it is a p-value: were there curvature below -d, so small a number would come out
with at most this probability.

References:
  Kuczynski and Wozniakowski, Estimating the Largest Eigenvalue by the Power and Lanczos Algorithms with a Random
  Start, SIAM J. Matrix Anal. Appl. 13, 1094 (1992).
"""

import numpy as np

from jaxgd.base import InputValueError

FACTOR = 2 * 1.648
"""The constant of the theorem, for both ends of the spectrum together."""


def missed_probability(
    lowest: np.ndarray, spread: np.ndarray, depth: np.ndarray | float, dim: np.ndarray | int, num_steps: int
) -> np.ndarray:
    """Returns a bound on the probability that curvature below -`depth` exists, given the Ritz values.

    Args:
      lowest: smallest Ritz value minus its error.
      spread: largest minus smallest Ritz value.
      depth: of the curvature in question (>= 0), in the units of the Hessian.
      dim: dimension of the space that the start was drawn from.
      num_steps: dimension of the Krylov space.

    Example:
      >>> found = missed_probability(0.1, 10.0, depth=0.1, dim=1_000_000, num_steps=100)
      >>> print(f"{found:.1e}")
      3.4e-09
    """
    depth = np.asarray(depth, np.float64)
    if not np.all(depth >= 0):
        raise InputValueError(f"`depth` must not be negative, got {depth.min()}.")
    below = np.asarray(lowest, np.float64) + depth
    share = np.maximum(below, 0) / np.maximum(np.asarray(spread) + 2 * below, np.finfo(np.float64).tiny)
    bound = np.minimum(FACTOR * np.sqrt(dim) * np.exp(-(2 * num_steps - 1) * np.sqrt(np.maximum(share, 0))), 1)
    return np.where(below > 0, np.where(num_steps >= np.asarray(dim), 0.0, bound), 1.0)


def least_curvature(
    lowest: np.ndarray, spread: np.ndarray, probability: float, dim: np.ndarray | int, num_steps: int
) -> np.ndarray:
    """Returns a bound that no eigenvalue is below, except with `probability` in (0, 1); -inf after too few steps.

    Example:
      >>> float(least_curvature(0.0, 1.0, 1e-3, dim=1_000_000, num_steps=77).round(2))  # see `num_steps_for`
      -0.01
    """
    if not 0 < probability < 1:
        raise InputValueError(f"`probability` must lie in (0, 1), got {probability}.")
    share = (np.log(FACTOR * np.sqrt(dim) / probability) / (2 * num_steps - 1)) ** 2
    share = np.where(num_steps >= np.asarray(dim), 0.0, share)
    inside = np.where(share < 0.5, share, 0.0)
    least = np.asarray(lowest) - inside * np.asarray(spread) / (1 - 2 * inside)
    return np.where((share < 0.5) & np.isfinite(least), least, -np.inf)


def num_steps_for(resolution: float, probability: float, dim: int) -> int:
    """Returns how many steps detect curvature as deep as `resolution` times the spread, except with `probability`.

    Example:
      >>> num_steps_for(0.01, 1e-3, 1_000_000)
      77
    """
    share = resolution / (1 + 2 * resolution)
    return min(dim, int(np.ceil((np.log(FACTOR * np.sqrt(dim) / probability) / np.sqrt(share) + 1) / 2)))
