r"""Unseen basins: their total weight, their number, and when to stop searching.

All of it follows from how often classes were hit: f_k is the number of classes hit exactly k times in n
draws. Good and Turing's estimate of the unseen mass is f_1 / n (Good, Biometrika 40, 237, 1953). No data
bound the *number* of unseen classes from above, since there may be any number of basins too small to be hit;
they do bound it from below.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its subpackages are imported on first use

from jaxgd.base import InputValueError
from jaxgd.statistics.inputs import as_count, as_counts, check_choice, check_confidence, normal_quantile
from jaxgd.statistics.proportions import beta_interval


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """What a catalogue does not contain.

    Attributes:
      mass: estimated probability that the next start ends in a class not yet seen (Good-Turing).
      mass_low: lower limit of that probability.
      mass_high: upper limit of that probability.
      num_low: at least this many classes are unseen, at the same confidence (lower limit of Chao's estimate).
      num_singletons: classes hit exactly once.
      num_doubletons: classes hit exactly twice.
    """

    mass: float
    mass_low: float
    mass_high: float
    num_low: float
    num_singletons: int
    num_doubletons: int


def unseen_mass(hits: Any, confidence: float = 0.95) -> Unseen:
    r"""Returns the probability that the next start ends in a class not yet seen, with an interval.

    The interval holds all masses m that the singletons do not refute, the variance being taken at m,

    $$ (f_1 - n m)^2 \le z^2\, [\, n m (1 - m) + 2 (f_2 + 1) \,]. $$

    The 2 f_2 is the scatter of the mass itself (Esty, Annals of Statistics 11, 905, 1983, whose interval f_1/n +- z
    sqrt(f_1 (1 - f_1/n) + 2 f_2) / n has no width at f_1 = f_2 = 0); the 1 stands for the rare class that happened to
    be hit once or never. Without it one class of weight 1/n violates the lower limit in 37 % of surveys. Draws must be
    independent; unconverged ends are not draws.

    Args:
      hits: (num_classes,) whole numbers, how often each class was hit; zeros are ignored.
      confidence: in (0, 1).

    Returns:
      Unseen. Without any draw the mass is 1, in [0, 1].

    Raises:
      InputValueError: `hits` is not one list of whole numbers.

    Example:
      >>> found = unseen_mass([50, 30, 10, 5, 2, 1, 1, 1])
      >>> print(f"{found.mass:.3f} in [{found.mass_low:.3f}, {found.mass_high:.3f}]")
      0.030 in [0.000, 0.101]
      >>> print(f"{unseen_mass([600, 400]).mass_high:.4f}")  # nothing rare was seen in 1,000 draws
      0.0053
    """
    f, n = _frequencies(hits)
    if n == 0:
        normal_quantile(confidence)
        return Unseen(mass=1.0, mass_low=0.0, mass_high=1.0, num_low=0.0, num_singletons=0, num_doubletons=0)
    z2 = normal_quantile(confidence) ** 2
    middle = (2 * f[1] + z2) / (2 * (n + z2))
    product = (f[1] ** 2 - 2 * z2 * (f[2] + 1)) / (n * (n + z2))
    half = np.sqrt(middle**2 - product)
    return Unseen(
        mass=float(f[1] / n),
        mass_low=float(max(middle - half, 0.0)),
        mass_high=float(min(middle + half, 1.0)),
        num_low=unseen_number(hits, confidence).low,
        num_singletons=int(f[1]),
        num_doubletons=int(f[2]),
    )


@dataclass(frozen=True, kw_only=True)
class UnseenNumber:
    """An estimate from below of how many classes were not seen.

    Attributes:
      estimate: the estimator's value; its mean is at most the number of unseen classes.
      low: lower limit of that mean, and so of the number.
      high: upper limit of that mean, inf where no class was hit more than once. It is no upper limit of the
        number.
      method: the estimator used.
    """

    estimate: float
    low: float
    high: float
    method: str


def unseen_number(hits: Any, confidence: float = 0.95, method: str = "chao1") -> UnseenNumber:
    r"""Returns an estimate from below of how many classes were not seen.

    "chao1" (Chao, Scand. J. Statist. 11, 265, 1984, in the form without bias for equal classes) and
    "ichao1", which takes f_3 and f_4 in and lies nearer when classes differ much (Chiu et al., Biometrics 70,
    671, 2014):

    $$ \hat f_0 = \frac{n-1}{n} \frac{f_1 (f_1 - 1)}{2 (f_2 + 1)}, \qquad
       \hat f_0^{i} = \hat f_0 + \frac{n-3}{4n} \frac{f_3}{f_4}
       \max\Big(f_1 - \frac{n-3}{2(n-1)} \frac{f_2 f_3}{f_4},\ 0\Big). $$

    The limits hold all numbers x with (x - T)^2 <= z^2 (x + V): T the estimate, V its delta-method variance,
    x the scatter of the number itself. Chao's (1987) log-normal lower limit is never zero, and claims unseen
    classes of complete catalogues.

    Args:
      hits: (num_classes,) whole numbers, how often each class was hit; zeros are ignored.
      confidence: in (0, 1).
      method: "chao1" or "ichao1".

    Returns:
      UnseenNumber.

    Raises:
      InputValueError: an unknown method, or `hits` is not one list of whole numbers.

    Example:
      >>> print(f"{unseen_number([5, 4, 2, 2, 1, 1, 1, 1, 1, 1]).estimate:.2f}")  # 18/19 * 6 * 5 / (2 * 3)
      4.74
    """
    check_choice("method", method, _ESTIMATORS)
    f, n = _frequencies(hits)
    if n == 0:
        normal_quantile(confidence)
        return UnseenNumber(estimate=0.0, low=0.0, high=float("inf"), method=method)
    estimate, low, high = _with_limits(_ESTIMATORS[method], f, confidence)
    return UnseenNumber(estimate=estimate, low=low, high=high if np.any(f[2:] > 0) else float("inf"), method=method)


@dataclass(frozen=True, kw_only=True)
class Extrapolation:
    """How many new classes more draws would find.

    Attributes:
      num_more: the further draws asked about.
      expected: expected number of new classes if the unseen ones are equally likely, which is the fewest that
        agree with f_1 and f_2.
      low: lower limit of the number of new classes.
      high: upper limit of it, whatever the unseen classes are.
    """

    num_more: int
    expected: float
    low: float
    high: float


def extrapolation(hits: Any, num_more: int, confidence: float = 0.95) -> Extrapolation:
    r"""Returns how many new classes another `num_more` draws would find.

    With m = `num_more` and \hat f_0 from "chao1" (Chao et al., Ecological Monographs 84, 45, 2014, Eq. 9)

    $$ \hat U(m) = \hat f_0 \Big[ 1 - \Big(1 - \frac{f_1}{n \hat f_0 + f_1}\Big)^m \Big]. $$

    By Jensen's inequality this is the least mean that f_1 and f_2 allow, so `low` is taken from it. The most
    is one new class for each draw that lands in unseen mass, so `high` is a Poisson limit at `mass_high`. The
    two meet for m well below n, and part for m far beyond n, where the data decide nothing.

    Args:
      hits: (num_classes,) whole numbers, how often each class was hit; zeros are ignored.
      num_more: whole number >= 0.
      confidence: in (0, 1), of the number of new classes itself.

    Returns:
      Extrapolation.

    Raises:
      InputValueError: a bad `num_more`, or no draws to extrapolate from.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> hits = np.bincount(rng.integers(1000, size=1000))
      >>> more = extrapolation(hits, 1000)
      >>> unseen = 1000 - np.count_nonzero(hits)  # of these 1 - 1/e would be found
      >>> print(f"{unseen * 0.632:.0f} expected; {more.expected:.0f} in [{more.low:.0f}, {more.high:.0f}]")
      239 expected; 226 in [181, 457]
    """
    f, n = _frequencies(hits)
    m = as_count("num_more", num_more)
    if n == 0:
        raise InputValueError("`hits` holds no draws: nothing to extrapolate from.")

    def curve(f: np.ndarray) -> float:
        f0, draws = _chao1(f), _draws(f)
        return f0 * -np.expm1(m * np.log1p(-f[1] / (draws * f0 + f[1]))) if f0 > 0 else 0.0

    expected, low, _ = _with_limits(curve, f, confidence)
    # Above, half of the allowed error goes to the mass and half to the scatter of the draws.
    half = (1 + check_confidence(confidence)) / 2
    high = scipy.stats.poisson.isf((1 - half) / 2, m * unseen_mass(hits, half).mass_high)
    return Extrapolation(num_more=m, expected=expected, low=low, high=float(min(high, m)))


@dataclass(frozen=True, kw_only=True)
class CoverageStop:
    """Whether a survey has seen enough.

    Attributes:
      stop: the unseen mass is at most what was allowed, with the confidence that was asked for.
      mass_high: upper limit of the unseen mass at this look.
      num_draws: draws since the last look, which the limit rests on.
      num_new: those of them that ended in a class unknown at the last look.
    """

    stop: bool
    mass_high: float
    num_draws: int
    num_new: int


def coverage_stop(
    hits: Any, hits_before: Any, max_unseen_mass: float, *, look: int, confidence: float = 0.95
) -> CoverageStop:
    r"""Returns whether the unseen mass is at most `max_unseen_mass`, with a confidence that holds for repeated looks.

    The draws since the last look are a fresh sample: the number of them outside the classes known then is
    binomial with the mass unseen then, exactly and for any landscape, and that mass has only shrunk since.
    Look number k may err with probability alpha / (k (k + 1)); these sum to alpha, so the whole survey stops
    too early with at most that probability (a union bound). Look when the number of draws has doubled: few
    looks are then spent, and half of all draws are fresh. `unseen_mass` is shorter for one look, but is not
    exact in its tails.

    Args:
      hits: (num_classes,) whole numbers, hits now; classes in order of discovery.
      hits_before: (at most num_classes,) hits of the same classes at the last look; [] at the first.
      max_unseen_mass: in (0, 1).
      look: 1 for the first look, then 2, 3, ...
      confidence: in (0, 1), for all looks together.

    Returns:
      CoverageStop.

    Raises:
      InputValueError: hits that shrank, a mass outside (0, 1), or a look below 1.

    Example:
      >>> first = coverage_stop([60, 40], [], 0.05, look=1)  # every class was new
      >>> second = coverage_stop([120, 80], [60, 40], 0.05, look=2)
      >>> print(first.stop, second.stop, f"{second.mass_high:.3f}")
      False True 0.047
    """
    now, before = as_counts("hits", hits), as_counts("hits_before", hits_before)
    if now.ndim != 1 or before.ndim != 1 or before.size > now.size:
        raise InputValueError("`hits` and `hits_before` must be lists, the second not the longer.")
    before = np.pad(before, (0, now.size - before.size))
    if np.any(now < before):
        raise InputValueError("`hits` must not be below `hits_before`; are the classes in the same order?")
    if not 0 < max_unseen_mass < 1:
        raise InputValueError(f"`max_unseen_mass` must lie strictly between 0 and 1, got {max_unseen_mass}.")
    if look < 1:
        raise InputValueError(f"`look` counts from 1, got {look}.")
    num_draws, num_new = int(np.sum(now - before)), int(np.sum(now[before == 0]))
    error = (1 - check_confidence(confidence)) / (look * (look + 1))
    mass_high = float(beta_interval(num_new, num_draws, 1 - 2 * error).high)
    return CoverageStop(stop=mass_high <= max_unseen_mass, mass_high=mass_high, num_draws=num_draws, num_new=num_new)


# ------------------------------------------------------------------------------- frequencies of frequencies


def _frequencies(hits: Any) -> tuple[np.ndarray, int]:
    """Returns f with f[k] classes hit k times (f[0] = 0, at least 5 long), and the number of draws."""
    counts = as_counts("hits", hits)
    if counts.ndim != 1:
        raise InputValueError(f"`hits` must be one list of counts, got shape {counts.shape}.")
    seen = counts[counts > 0]
    # Beyond ten hits only the total matters: index 11 gathers it, so that a table stays short.
    f = np.bincount(np.minimum(seen, 11), minlength=12).astype(float)
    f[11] = seen[seen > 10].sum() / 11
    return f, int(seen.sum())


def _draws(f: np.ndarray) -> float:
    return float(np.arange(12) @ f)


def _chao1(f: np.ndarray) -> float:
    n = _draws(f)
    return max((n - 1) / n * f[1] * (f[1] - 1) / (2 * (f[2] + 1)), 0.0)


def _ichao1(f: np.ndarray) -> float:
    n, f4 = _draws(f), max(f[4], 1.0)
    more = (n - 3) / (4 * n) * f[3] / f4 * max(f[1] - (n - 3) / (2 * max(n - 1, 1)) * f[2] * f[3] / f4, 0.0)
    return _chao1(f) + max(more, 0.0)


_ESTIMATORS: dict[str, Callable[[np.ndarray], float]] = {"chao1": _chao1, "ichao1": _ichao1}


def _with_limits(
    estimator: Callable[[np.ndarray], float], f: np.ndarray, confidence: float
) -> tuple[float, float, float]:
    r"""Returns an estimate T of a number x of classes, and the limits (x - T)^2 <= z^2 (x + V).

    x is the scatter of the number itself; V is the delta-method variance of T, the f_k independent Poisson
    numbers, one more than seen for k = 1 and 2 as in `unseen_mass`.
    """
    estimate, variance, step = estimator(f), 0.0, 0.5
    for k in range(1, 5):
        up, down = f.copy(), f.copy()
        up[k], down[k] = f[k] + step, max(f[k] - step, 0.0)
        slope = (estimator(up) - estimator(down)) / (up[k] - down[k])
        variance += slope**2 * (f[k] + (k <= 2))
    z2 = normal_quantile(confidence) ** 2
    half = np.sqrt(z2 * (estimate + variance) + z2**2 / 4)
    middle = estimate + z2 / 2
    return float(estimate), float(max(middle - half, 0.0)), float(middle + half)
