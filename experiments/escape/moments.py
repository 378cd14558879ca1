"""Rows for the mean and the variance of escape times, with z-scores against their laws."""

from typing import Any

import numpy as np
import scipy

from jaxgd import experiment
from jaxgd.experiment import Statistic


def mean_row(statistic: str, times: Any, expected: float, source: str) -> Statistic:
    """Returns the mean of escape times beside its law, and by how many standard errors they differ."""
    times = np.asarray(times, float)
    z = (times.mean() - expected) / (times.std(ddof=1) / np.sqrt(times.size))
    return experiment.mean(statistic, times, expected=expected, source=source, z=float(z))


def variance_row(statistic: str, times: Any, expected: float, source: str) -> Statistic:
    """Returns the variance of escape times beside its law; the interval follows from their fourth moment."""
    times = np.asarray(times, float)
    squares = (times - times.mean()) ** 2
    variance = times.var(ddof=1)
    error = np.sqrt((np.mean(squares**2) - variance**2) / times.size)
    return estimate_row(statistic, variance, error, times.size, expected, source)


def slope_row(statistic: str, x: Any, times: Any, expected: float, source: str) -> Statistic:
    """Returns the slope of the line of single escape times over x by least squares, beside its law."""
    fit = scipy.stats.linregress(np.asarray(x, float), np.asarray(times, float))
    return estimate_row(statistic, fit.slope, fit.stderr, len(np.asarray(x)), expected, source)


def estimate_row(
    statistic: str, measured: float, error: float, num_descents: int, expected: float, source: str
) -> Statistic:
    """Returns a row from an estimate and its standard error."""
    half = error * scipy.stats.norm.ppf((1 + experiment.CONFIDENCE) / 2)
    return Statistic(
        statistic=statistic,
        measured=float(measured),
        low=float(measured - half),
        high=float(measured + half),
        expected=float(expected),
        source=source,
        z=float((measured - expected) / error) if error > 0 else None,
        num_descents=num_descents,
    )
