"""Rows of a claim from raw numbers, each with its interval: a share, a mean, a median, a difference, an exact number.

All intervals have one confidence, high enough that the ten or so rows of a claim hold together. What is claimed of a
row is `expected=x` for equality, or `at_least=x` or `at_most=x`; further arguments are fields of `Statistic`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy  # its rooms load when they are entered

from jaxgd.base import InputValueError
from jaxgd.experiment.claims import Statistic
from jaxgd.statistics import proportion_interval

CONFIDENCE = 0.999


def share(statistic: str, flags: Any, **judged: Any) -> Statistic:
    """Returns the share of descents for which a flag holds, with the exact binomial interval.

    Args:
      statistic: what was measured, in words.
      flags: (n,) bool, n >= 1.
      **judged: further fields of `Statistic`, such as `expected`, or `at_least` or `at_most`.

    Example:
      >>> row = share("went left", [True] * 60 + [False] * 40, expected=0.5)
      >>> print(f"{row.measured:.2f} [{row.low:.2f}, {row.high:.2f}] {row.holds}")
      0.60 [0.43, 0.75] True
    """
    flags = _numbers(statistic, flags)
    low, high = proportion_interval(int(flags.sum()), flags.size, CONFIDENCE)
    return _row(statistic, flags.mean(), low, high, flags.size, judged)


def share_of(statistic: str, counts: Mapping[str, int], which: Sequence[str], **judged: Any) -> Statistic:
    """Returns the share of some kinds among counts such as `Points.verdict_counts()`, as `share` does.

    Args:
      statistic: what was measured, in words.
      counts: how many there are of each kind, at least one in all.
      which: the kinds that count.
      **judged: as in `share`.

    Example:
      >>> row = share_of("minima", {"minimum": 60, "saddle": 40}, ["minimum"], at_least=0.4)
      >>> row.measured, row.holds
      (0.6, True)
    """
    hits, total = sum(counts.get(kind, 0) for kind in which), sum(counts.values())
    return share(statistic, np.arange(total) < hits, **judged)


def mean(statistic: str, values: Any, **judged: Any) -> Statistic:
    """Returns the mean, with Student's interval; for paired arms give the differences.

    Args:
      statistic: what was measured, in words.
      values: (n,) numbers, n >= 1; one that is not finite makes the row undecided.
      **judged: as in `share`.
    """
    values = _numbers(statistic, values)
    if values.size < 2 or not np.isfinite(values).all():
        return _row(statistic, np.nan, np.nan, np.nan, values.size, judged)
    error = values.std(ddof=1) / np.sqrt(values.size)
    half = error * scipy.stats.t.ppf((1 + CONFIDENCE) / 2, values.size - 1)
    middle = values.mean()
    return _row(statistic, middle, middle - half, middle + half, values.size, judged)


def median(statistic: str, values: Any, **judged: Any) -> Statistic:
    """Returns the median, with the interval between two order statistics, which supposes no law of the values.

    Args:
      statistic: what was measured, in words.
      values: (n,) numbers, n >= 1; inf counts as larger than all, NaN makes the row undecided. With too few values
        for the confidence the interval is unbounded.
      **judged: as in `share`.

    Example:
      >>> row = median("ticks", range(101))
      >>> row.measured, row.low, row.high
      (50.0, 33.0, 67.0)
    """
    values = np.sort(_numbers(statistic, values))
    below = int(scipy.stats.binom.ppf((1 - CONFIDENCE) / 2, values.size, 0.5)) - 1  # P(X <= below) within the error
    low, high = (-np.inf, np.inf) if below < 0 else (values[below], values[-1 - below])
    middle = np.quantile(values, 0.5, method="inverted_cdf")
    if np.isnan(values).any():
        low = middle = high = np.nan
    return _row(statistic, middle, low, high, values.size, judged)


def exactly(statistic: str, value: float, *, error: float = 0.0, **judged: Any) -> Statistic:
    """Returns a number that no chance has part in, within `error` of rounding."""
    return _row(statistic, value, value - error, value + error, judged.pop("num_descents", 1), judged)


def slope(statistic: str, x: Any, y: Any, **judged: Any) -> Statistic:
    """Returns the exponent b of y = a x^b by least squares of the logarithms, with Student's interval.

    Args:
      statistic: what was measured, in words.
      x: (n,) positive, n >= 3.
      y: (n,) positive.
      **judged: as in `share`.
    """
    x, y = np.log(_numbers(statistic, x)), np.log(_numbers(statistic, y))
    fit = scipy.stats.linregress(x, y)
    half = fit.stderr * scipy.stats.t.ppf((1 + CONFIDENCE) / 2, x.size - 2)
    return _row(statistic, fit.slope, fit.slope - half, fit.slope + half, judged.pop("num_descents", x.size), judged)


def _numbers(statistic: str, values: Any) -> np.ndarray:
    values = np.asarray(values, float)
    if values.ndim != 1 or values.size == 0:
        raise InputValueError(f"the values of `{statistic}` must be one list that is not empty.")
    return values


def _row(statistic: str, measured: Any, low: Any, high: Any, num_descents: int, judged: dict[str, Any]) -> Statistic:
    fields = {"num_descents": num_descents} | judged
    for relation in ("at_least", "at_most"):
        if relation in fields:
            fields |= {"expected": fields.pop(relation), "relation": relation}
    return Statistic(statistic=statistic, measured=float(measured), low=float(low), high=float(high), **fields)
