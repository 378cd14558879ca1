r"""Proportions with intervals: one share, a whole catalogue, or shares under a different start law.

Exact intervals invert the binomial law through the beta distribution (Clopper and Pearson, Biometrika 26,
404, 1934)

$$ \mathrm{low} = B^{-1}(\alpha/2;\ x,\ n-x+1), \qquad \mathrm{high} = B^{-1}(1-\alpha/2;\ x+1,\ n-x), $$

with x = `hits`, n = `trials` and alpha = 1 - `confidence`: the coverage is never below `confidence`, whatever
the share.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy  # its subpackages are imported on first use

from jaxgd.base import InputValueError
from jaxgd.statistics.inputs import as_count, as_counts, as_numbers, check_choice, check_confidence, normal_quantile


class Interval(NamedTuple):
    """Two limits between which a quantity lies with the confidence that was asked for.

    Attributes:
      low: the lower limits, in the shape of what was asked.
      high: the upper ones.
    """

    low: np.ndarray
    high: np.ndarray


class Estimate(NamedTuple):
    """A number with the limits between which it lies with the confidence that was asked for.

    Attributes:
      value: the estimate.
      low: the lower limit.
      high: the upper one.
    """

    value: float
    low: float
    high: float


def proportion_interval(hits: Any, trials: Any, confidence: float = 0.95, method: str = "exact") -> Interval:
    """Returns the interval of a share seen `hits` times in `trials`.

    "exact" (Clopper-Pearson) covers with at least the stated confidence for every share. "wilson" (Wilson's
    score interval, 1927) is shorter and covers with about that confidence on average over shares, less for
    some. Without any trial nothing is known and the interval is [0, 1].

    Args:
      hits: whole numbers in [0, trials], any shape.
      trials: whole numbers >= 0, broadcast against `hits`.
      confidence: in (0, 1).
      method: "exact" or "wilson".

    Returns:
      Interval of float64 arrays of the broadcast shape.

    Raises:
      InputValueError: more hits than trials, a confidence outside (0, 1), or an unknown method.

    Example:
      >>> low, high = proportion_interval(346, 1000)  # Safran and Shamir (2018): ten neurons, 34.6 % spurious
      >>> print(f"{low:.4f} {high:.4f}")
      0.3165 0.3764
    """
    check_choice("method", method, ("exact", "wilson"))
    hits, trials = as_counts("hits", hits), as_counts("trials", trials)
    if np.any(hits > trials):
        raise InputValueError("`hits` must not exceed `trials`.")
    if method == "exact":
        return beta_interval(hits, trials, confidence)
    z, n = normal_quantile(confidence), np.maximum(trials, 1)
    share = hits / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low = np.where(hits == 0, 0.0, middle - half)
    high = np.where(hits == trials, 1.0, middle + half)
    return Interval(np.where(trials > 0, low, 0.0), np.where(trials > 0, high, 1.0))


def simultaneous_intervals(hits: Any, trials: int, confidence: float = 0.95) -> Interval:
    r"""Returns intervals that hold simultaneously for all classes of a catalogue, including those not found.

    Bonferroni's bound divides the error by the number of classes, which is unknown, and dividing it by the
    number of classes *found* is wrong: among many rare classes those found were lucky, and their shares are
    overstated. Here a class of weight p gets the share p of the error. The weights sum to one, so the error
    is spent once, however many classes exist:

    $$ \{p : P_p(X \ge x) > \alpha p / 2 \ \text{and}\ P_p(X \le x) > \alpha p / 2\},
       \qquad \sum_i \alpha p_i = \alpha. $$

    For k equal classes it is about what Bonferroni gives with k known; a class found once has lower limit 0.
    Goodman's (1965) intervals are shorter for a few well-filled classes, but need large counts and the number
    of classes.

    Args:
      hits: (num_classes,) whole numbers, how often each class was found; zero is allowed.
      trials: whole number >= sum(hits); the rest ended in no class.
      confidence: in (0, 1), the probability that every interval holds.

    Returns:
      Interval of two (num_classes,) float64 arrays.

    Raises:
      InputValueError: `hits` is not a list of counts whose sum is at most `trials`.

    Example:
      >>> low, high = simultaneous_intervals([700, 299, 1], 1000)
      >>> print(low.round(3), high.round(3))
      [0.668 0.264 0.   ] [0.73  0.335 0.011]
    """
    counts, total = as_counts("hits", hits), as_count("trials", trials)
    if counts.ndim != 1 or counts.sum() > total:
        raise InputValueError("`hits` must be one list of counts that sums to at most `trials`.")
    error = (1 - check_confidence(confidence)) / 2
    hit, place = np.unique(counts, return_inverse=True)
    # Both maps increase with p and contract log p by 1/2 or better (at the lower end 1/x for x hits).
    low, high = hit / max(total, 1), np.ones(hit.shape)
    for _ in range(40):
        low = np.where(hit > 1, scipy.special.betaincinv(np.maximum(hit, 1), total - hit + 1, error * low), 0.0)
        high = np.where(hit < total, scipy.special.betainccinv(hit + 1, np.maximum(total - hit, 1), error * high), 1.0)
    return Interval(low[place], high[place])


@dataclass(frozen=True, kw_only=True)
class WeightedShares:
    """Shares of classes under another start law than the one that was drawn from.

    Attributes:
      share: (num_classes,) estimated weight of each class, summing to one.
      low: (num_classes,) lower limits.
      high: (num_classes,) upper limits.
      effective_trials: how many draws from the wanted law would tell as much, (sum w)^2 / sum w^2.
      message: empty, or a plain warning that few draws carry the result.
    """

    share: np.ndarray
    low: np.ndarray
    high: np.ndarray
    effective_trials: float
    message: str = ""


def weighted_shares(
    labels: Any, log_weights: Any, num_classes: int | None = None, confidence: float = 0.95
) -> WeightedShares:
    r"""Returns the shares that classes would have if starts had followed another law.

    Start i was drawn from density q and ended in class `labels[i]`; under density r the share is estimated by

    $$ \hat p_c = \sum_{i: c_i = c} w_i \Big/ \sum_i w_i, \quad \log w_i = \log r(x_i) - \log q(x_i) + c. $$

    The interval is the exact binomial one at the effective number of trials p(1-p)/Var(p) (Korn and Graubard,
    Survey Methodology 24, 193, 1998), never above Kish's (sum w)^2 / sum w^2, and at sum w / max w for a
    class never seen. It rests on the weights that were drawn: where r is large and q never went, nothing can
    be said, and a small `effective_trials` is the only sign of it.

    Args:
      labels: (n,) whole numbers, the class each start ended in.
      log_weights: (n,) log density ratio, up to a constant; -inf gives a start no weight.
      num_classes: classes to report; None takes max(labels) + 1.
      confidence: in (0, 1).

    Returns:
      WeightedShares.

    Raises:
      InputValueError: shapes differ, no start has weight, or a weight is not a number.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> x = rng.normal(size=4000)  # drawn from N(0, 1), wanted under N(1, 1): P(x > 0) = 0.8413
      >>> shares = weighted_shares((x > 0).astype(int), x - 0.5)
      >>> print(f"{shares.share[1]:.3f} in [{shares.low[1]:.3f}, {shares.high[1]:.3f}]")
      0.835 in [0.816, 0.853]
    """
    labels, log_weights = as_counts("labels", labels), as_numbers("log_weights", log_weights)
    if labels.shape != log_weights.shape:
        raise InputValueError(f"`labels` {labels.shape} and `log_weights` {log_weights.shape} differ.")
    if labels.size == 0 or not np.isfinite(log_weights.max()):
        raise InputValueError("`log_weights` must give at least one start a finite weight that is not zero.")
    num_classes = int(labels.max()) + 1 if num_classes is None else num_classes
    if labels.max() >= num_classes:
        raise InputValueError(f"`labels` must be below `num_classes` = {num_classes}, got {labels.max()}.")
    weight = np.exp(log_weights - log_weights.max())
    total, squares = weight.sum(), np.sum(weight**2)
    share = np.bincount(labels, weight, num_classes) / total
    squares_in = np.bincount(labels, weight**2, num_classes)
    variance = ((1 - share) ** 2 * squares_in + share**2 * (squares - squares_in)) / total**2
    kish = float(total**2 / squares)
    with np.errstate(divide="ignore", invalid="ignore"):
        trials = np.where(variance > 0, np.minimum(share * (1 - share) / variance, kish), total)  # max w is 1
    low, high = beta_interval(share * trials, trials, confidence)
    poor = f"Only {kish:.1f} effective of {labels.size} starts: the weights are too uneven to trust."
    return WeightedShares(share=share, low=low, high=high, effective_trials=kish, message=poor if kish < 30 else "")


def beta_interval(hits: Any, trials: Any, confidence: float) -> Interval:
    """Returns Clopper-Pearson limits; `hits` and `trials` may be fractional, as effective numbers are."""
    error = (1 - check_confidence(confidence)) / 2
    hits, trials = np.broadcast_arrays(np.asarray(hits, float), np.asarray(trials, float))
    misses = trials - hits
    low = np.where(hits > 0, scipy.special.betaincinv(np.where(hits > 0, hits, 1.0), misses + 1, error), 0.0)
    high = np.where(misses > 0, scipy.special.betainccinv(hits + 1, np.where(misses > 0, misses, 1.0), error), 1.0)
    return Interval(low, high)
