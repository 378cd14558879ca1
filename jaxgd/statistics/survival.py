r"""How long descents dwell before they escape; a run that had not escaped is censored, never data.

A dwell is a pair (time, escaped): the ticks watched, and whether they ended in escape. With d_j escapes
among n_j dwells still watched at time t_j, the share that has not escaped is (Kaplan and Meier, JASA 53,
457, 1958)

$$ \hat S(t) = \prod_{t_j \le t} (1 - d_j / n_j), \qquad
   \widehat{\mathrm{Var}}\, \hat S = \hat S^2 \sum_{t_j \le t} \frac{d_j}{n_j (n_j - d_j)}. $$

Censoring must not depend on what would have happened next: a step limit does not, stopping a run that "looks
stuck" does. Nothing here is NaN: an unknown number is None, an unbounded one inf, and `message` says why.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy  # its subpackages are imported on first use

from jaxgd.base import InputValueError, plain_number
from jaxgd.statistics.inputs import as_durations, as_numbers, check_confidence, normal_quantile
from jaxgd.statistics.proportions import Estimate, Interval, beta_interval, proportion_interval


@dataclass(frozen=True, kw_only=True)
class SurvivalCurve:
    """The share of dwells that has not escaped by each time; constant from each time to the next.

    Attributes:
      times: (k,) distinct observed times, ascending.
      survival: (k,) estimated share that lasts longer.
      low: (k,) lower limits, each for its own time.
      high: (k,) upper limits, each for its own time.
      num_at_risk: (k,) dwells still watched just before.
      num_escaped: (k,) escapes at that time.
      median: time by which half have escaped, with limits; inf where the data do not reach it; None without
        dwells.
      message: empty, or what the data cannot say.
    """

    times: np.ndarray
    survival: np.ndarray
    low: np.ndarray
    high: np.ndarray
    num_at_risk: np.ndarray
    num_escaped: np.ndarray
    median: Estimate | None
    message: str = ""


def survival_curve(times: Any, escaped: Any, confidence: float = 0.95) -> SurvivalCurve:
    """Returns the Kaplan-Meier curve with pointwise limits, and the median.

    The limits are exact binomial ones at the effective number S (1 - S) / Var(S) of dwells (Dorey and Korn,
    Statistics in Medicine 6, 679, 1987), which without censoring is the number of dwells; so they also exist
    before the first and after the last escape, where Greenwood's variance is zero. The median's limits are
    the times at which the limits of the curve pass 1/2 (Brookmeyer and Crowley, Biometrics 38, 29, 1982).

    Args:
      times: (n,) time watched, finite and >= 0. An escape and a censoring at one time count in that order.
      escaped: (n,) bool, whether the dwell ended in escape.
      confidence: in (0, 1).

    Returns:
      SurvivalCurve.

    Raises:
      InputValueError: shapes differ, or a time is negative, infinite or NaN.

    Example:
      >>> curve = survival_curve([6, 7, 9, 10, 10], [True, False, True, True, False])
      >>> print(curve.survival.round(3), curve.median)
      [0.8   0.8   0.533 0.267] Estimate(value=10.0, low=0.0, high=inf)
    """
    times, escaped = as_durations(times, escaped)
    check_confidence(confidence)
    if times.size == 0:
        none = np.zeros(0)
        return SurvivalCurve(
            times=none,
            survival=none,
            low=none,
            high=none,
            num_at_risk=none.astype(int),
            num_escaped=none.astype(int),
            median=None,
            message="No dwells in this arm.",
        )
    curve = scipy.stats.ecdf(scipy.stats.CensoredData.right_censored(times, ~escaped)).sf
    at, survival = curve.quantiles, curve.probabilities
    num_at_risk, num_escaped = _risk_table(times, escaped, at)
    left = num_at_risk - num_escaped
    # Var(S) / S^2 by Greenwood's formula; at S = 0 the effective number of the time before is kept.
    relative = np.cumsum(np.where(left > 0, num_escaped / (num_at_risk * np.maximum(left, 1)), 0.0))
    effective = np.where(relative > 0, (1 - survival) / np.maximum(survival * relative, 1e-300), num_at_risk)
    ended = np.flatnonzero(survival == 0)
    if ended.size:
        effective[ended] = effective[ended[0] - 1] if ended[0] else times.size
    low, high = beta_interval(survival * effective, effective, confidence)
    passed = lambda limit: float(at[limit <= 0.5][0]) if np.any(limit <= 0.5) else float("inf")
    # Before the first observed time nothing escapes: n of n dwells last, which is weak evidence if n is small.
    proven = beta_interval(times.size, times.size, confidence).low > 0.5
    return SurvivalCurve(
        times=at,
        survival=survival,
        low=low,
        high=high,
        num_at_risk=num_at_risk,
        num_escaped=num_escaped,
        median=Estimate(passed(survival), passed(low) if proven else 0.0, passed(high)),
        message="" if escaped.any() else f"No escape among {times.size} dwells: all are censored.",
    )


@dataclass(frozen=True, kw_only=True)
class RestrictedMean:
    """The mean dwell time, dwells longer than the horizon counted as the horizon.

    Attributes:
      mean: with limits.
      standard_error: of the mean; None where no escape was seen.
      horizon: the time at which all dwells are cut.
      message: empty, or what the data cannot say.
    """

    mean: Estimate
    standard_error: float | None
    horizon: float
    message: str = ""


def restricted_mean(times: Any, escaped: Any, horizon: float | None = None, confidence: float = 0.95) -> RestrictedMean:
    r"""Returns the area under the Kaplan-Meier curve up to a horizon, the mean that censoring leaves.

    $$ \mu(h) = \int_0^h \hat S(t)\, dt, \qquad
       \widehat{\mathrm{Var}} = \sum_{t_j < h} \Big(\int_{t_j}^h \hat S\Big)^2 \frac{d_j}{n_j (n_j - d_j)}. $$

    To compare arms, give them the same horizon. Without an escape the standard error is unknown (None), and
    the lower limit lets as many dwells as the exact binomial limit allows escape at once.

    Args:
      times: (n,) time watched, n >= 1.
      escaped: (n,) bool.
      horizon: in (0, max(times)]; None takes max(times).
      confidence: in (0, 1).

    Returns:
      RestrictedMean.

    Raises:
      InputValueError: no dwells, or a horizon beyond what was watched.

    Example:
      >>> print(restricted_mean([1, 2, 3, 4], [True] * 4).mean.value)
      2.5
    """
    curve = survival_curve(times, escaped, confidence)
    if curve.times.size == 0:
        raise InputValueError("`times` is empty: a mean needs at least one dwell.")
    last = float(curve.times[-1])
    horizon = last if horizon is None else plain_number("horizon", horizon)
    if not 0 < horizon <= last:
        raise InputValueError(f"`horizon` must lie in (0, {last}], the longest time watched; got {horizon}.")

    # The area under the curve up to the horizon.
    inside = curve.times < horizon
    steps = np.concatenate([[0.0], curve.times[inside], [horizon]])
    area = np.concatenate([[1.0], curve.survival[inside]]) * np.diff(steps)
    mean = float(area.sum())

    escapes, at_risk = curve.num_escaped[inside], curve.num_at_risk[inside]
    if not escapes.any():
        num = curve.num_at_risk[0]
        low = horizon * float(proportion_interval(num, num, confidence).low)
        return RestrictedMean(
            mean=Estimate(mean, low, horizon),
            standard_error=None,
            horizon=horizon,
            message="No escape before the horizon: the mean is the horizon, its error unknown.",
        )

    # The variance of the area, by Greenwood.
    after = np.cumsum(area[::-1])[::-1][1:]  # the area to the right of each time
    terms = np.where(at_risk > escapes, after**2 * escapes / (at_risk * np.maximum(at_risk - escapes, 1)), 0.0)
    error = float(np.sqrt(terms.sum()))
    half = normal_quantile(confidence) * error
    return RestrictedMean(
        mean=Estimate(mean, max(mean - half, 0.0), min(mean + half, horizon)),
        standard_error=error,
        horizon=horizon,
    )


@dataclass(frozen=True, kw_only=True)
class Hazard:
    """Escapes per unit of time watched, bin by bin.

    Attributes:
      edges: (k + 1,) bin edges.
      rate: (k,) escapes per unit of time; 0 in a bin that nobody was watched in, where the limits are [0,
        inf].
      low: (k,) lower limits.
      high: (k,) upper limits.
      num_escaped: (k,) escapes.
      exposure: (k,) time watched, summed over dwells.
    """

    edges: np.ndarray
    rate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    num_escaped: np.ndarray
    exposure: np.ndarray


def hazard_rate(times: Any, escaped: Any, edges: Any, confidence: float = 0.95) -> Hazard:
    r"""Returns the rate of escape in each bin (edges[i], edges[i+1]], with exact Poisson limits.

    $$ \hat h = d / T, \qquad [\,G^{-1}(\alpha/2;\ d) / T,\ \ G^{-1}(1 - \alpha/2;\ d + 1) / T\,] $$

    with d escapes in time T watched and G the gamma distribution (Garwood, Biometrika 28, 437, 1936). A
    constant rate is a memoryless escape (Kramers); one that rises from 0 and levels off is growth away from
    a saddle.

    Args:
      times: (n,) time watched.
      escaped: (n,) bool.
      edges: (k + 1,) ascending, the first >= 0.
      confidence: in (0, 1).

    Returns:
      Hazard.

    Raises:
      InputValueError: edges that do not ascend.

    Example:
      >>> hazard = hazard_rate([1.0, 2.0, 4.0], [True, True, False], [0, 2, 4])
      >>> print(hazard.rate, hazard.exposure)
      [0.4 0. ] [5. 2.]
    """
    times, escaped = as_durations(times, escaped)
    edges = as_numbers("edges", edges)
    if edges.size < 2 or edges[0] < 0 or not np.all(np.diff(edges) > 0):
        raise InputValueError("`edges` must be at least two ascending numbers, the first not negative.")
    count = np.diff(np.searchsorted(np.sort(times[escaped]), edges, side="right"))
    exposure = np.array([np.clip(times - a, 0, b - a).sum() for a, b in pairwise(edges)])
    low, high = rate_interval(count, exposure, confidence)
    watched = exposure > 0
    return Hazard(
        edges=edges,
        rate=np.where(watched, count / np.where(watched, exposure, 1), 0.0),
        low=low,
        high=high,
        num_escaped=count,
        exposure=exposure,
    )


@dataclass(frozen=True, kw_only=True)
class LogRank:
    """Whether arms escape at the same rate.

    Attributes:
      p_value: probability of so large a difference if all arms were alike; 1 where nothing can be compared.
      statistic: chi-square statistic.
      degrees: its degrees of freedom, the number of compared arms minus one.
      arms: names of the compared arms.
      num_escaped: escapes in each.
      num_expected: escapes that each would have if all were alike; fewer seen than expected is a longer
        dwell.
      message: empty, or which arms could not be compared and why.
    """

    p_value: float
    statistic: float
    degrees: int
    arms: tuple[str, ...]
    num_escaped: np.ndarray
    num_expected: np.ndarray
    message: str = ""


def log_rank(arms: Mapping[str, tuple[Any, Any]]) -> LogRank:
    r"""Returns the log-rank test that several arms share one law of escape.

    With n_{ij} dwells of arm i at risk at t_j, and d_j escapes in all (Peto and Peto, JRSS A 135, 185, 1972)

    $$ E_i = \sum_j \frac{n_{ij} d_j}{n_j}, \quad
       V_{ik} = \sum_j \frac{d_j (n_j - d_j)}{n_j^2 (n_j - 1)} (n_{ij} n_j \delta_{ik} - n_{ij} n_{kj}), \quad
       \chi^2 = (O - E)^T V^{+} (O - E). $$

    For two arms it is `scipy.stats.logrank`. It has most power where the rates keep a fixed ratio and little
    where the curves cross. Arms must be independent: descents from the same starts call for a paired
    comparison.

    Args:
      arms: name to (times, escaped) of each arm.

    Returns:
      LogRank. An empty arm is left out, and `message` says so.

    Raises:
      InputValueError: fewer than two arms.

    Example:
      >>> slow, fast = ([5.0, 8.0, 9.0, 9.0], [True, True, True, False]), ([1.0, 2.0, 2.0, 3.0], [True] * 4)
      >>> print(f"{log_rank({'slow': slow, 'fast': fast}).p_value:.4f}")
      0.0069
    """
    if len(arms) < 2:
        raise InputValueError(f"`arms` must name at least two arms to compare, got {len(arms)}.")
    data = {name: as_durations(*arm) for name, arm in arms.items()}
    empty = [name for name, (times, _) in data.items() if times.size == 0]
    data = {name: arm for name, arm in data.items() if name not in empty}
    message = f"Left out, being empty: {', '.join(empty)}." if empty else ""

    # Dwells at risk and escapes, (arms, distinct times).
    at = np.unique(np.concatenate([np.zeros(0), *(times[escaped] for times, escaped in data.values())]))
    tables = [_risk_table(times, escaped, at) for times, escaped in data.values()]
    at_risk = np.array([table[0] for table in tables], float).reshape(len(data), at.size)
    escapes = np.array([table[1] for table in tables], float).reshape(len(data), at.size)
    n, d = at_risk.sum(0), escapes.sum(0)

    # If all arms share one law, each has its proportion of the escapes at each time.
    observed, expected = escapes.sum(1), (at_risk * d / n).sum(1)
    weight = d * (n - d) / (n**2 * np.maximum(n - 1, 1))
    variance = np.diag((at_risk * n * weight).sum(1)) - (at_risk * weight) @ at_risk.T

    degrees = max(len(data) - 1, 0)
    if not np.any(variance) or degrees == 0:
        statistic, p_value = 0.0, 1.0
        message = (message + " Nothing can be compared: too few escapes or arms.").strip()
    else:
        difference = observed - expected
        statistic = float(difference @ np.linalg.pinv(variance, hermitian=True) @ difference)
        p_value = float(scipy.special.chdtrc(degrees, statistic))

    return LogRank(
        p_value=p_value,
        statistic=statistic,
        degrees=degrees,
        arms=tuple(data),
        num_escaped=observed.astype(int),
        num_expected=expected,
        message=message,
    )


def rate_interval(num_events: Any, exposure: Any, confidence: float) -> Interval:
    """Returns exact Poisson limits of a rate, [0, inf] where nothing was watched."""
    error = (1 - check_confidence(confidence)) / 2
    events, exposure = np.broadcast_arrays(np.asarray(num_events, float), np.asarray(exposure, float))
    watched = exposure > 0
    time = np.where(watched, exposure, 1.0)
    low = np.where(events > 0, scipy.special.gammaincinv(np.maximum(events, 1), error), 0.0) / time
    high = np.where(watched, scipy.special.gammainccinv(events + 1, error) / time, np.inf)
    return Interval(np.where(watched, low, 0.0), high)


def _risk_table(times: np.ndarray, escaped: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns dwells at risk just before, and escapes at, each of the times `at`."""
    at_risk = times.size - np.searchsorted(np.sort(times), at, side="left")
    events = np.sort(times[escaped])
    return at_risk, np.searchsorted(events, at, "right") - np.searchsorted(events, at, "left")
