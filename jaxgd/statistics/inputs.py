"""What the statistics accept: each check returns a clean array or refuses with the sentence that helps."""

from typing import Any

import numpy as np
import scipy  # its rooms load when they are entered

from jaxgd.base import InputTypeError, InputValueError


def check_confidence(confidence: float) -> float:
    """Returns a confidence level strictly between 0 and 1."""
    if not 0 < confidence < 1:
        raise InputValueError(f"`confidence` must lie strictly between 0 and 1, got {confidence}.")
    return float(confidence)


def check_choice(name: str, value: str, choices: Any) -> str:
    """Returns `value` if it is one of the choices."""
    if value not in choices:
        raise InputValueError(f"`{name}` must be one of {', '.join(sorted(choices))}, got {value!r}.")
    return value


def as_counts(name: str, values: Any) -> np.ndarray:
    """Returns whole numbers >= 0 as an int64 array of the same shape."""
    counts = np.asarray(values)
    if counts.size == 0:
        return counts.astype(np.int64)
    if counts.dtype == bool or not np.issubdtype(counts.dtype, np.number):
        raise InputTypeError(f"`{name}` must hold whole numbers, got dtype {counts.dtype}.")
    if not np.all((counts >= 0) & (counts == np.floor(counts)) & np.isfinite(counts)):
        raise InputValueError(f"`{name}` must hold whole numbers that are not negative.")
    return counts.astype(np.int64)


def as_numbers(name: str, values: Any, ndim: int = 1) -> np.ndarray:
    """Returns a float64 array with `ndim` axes and no NaN; infinities pass."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != ndim:
        raise InputValueError(f"`{name}` must have {ndim} axis or axes, got shape {numbers.shape}.")
    if np.isnan(numbers).any():
        raise InputValueError(f"`{name}` contains NaN; leave those entries out or mark them as failures.")
    return numbers


def as_flags(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a bool array of the given shape."""
    flags = np.asarray(values)
    if flags.size and flags.dtype != bool:
        raise InputTypeError(f"`{name}` must be an array of bool, got dtype {flags.dtype}.")
    if flags.shape != shape:
        raise InputValueError(f"`{name}` must have shape {shape}, got {flags.shape}.")
    return flags.astype(bool)


def normal_quantile(confidence: float) -> float:
    """Returns z such that a standard normal lies in [-z, z] with probability `confidence`."""
    return float(scipy.special.ndtri((1 + check_confidence(confidence)) / 2))


def as_durations(times: Any, escaped: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns dwell times (float64, finite, >= 0) and whether each ended in escape (bool)."""
    times = as_numbers("times", times)
    escaped = as_flags("escaped", escaped, times.shape)
    if not np.all(np.isfinite(times) & (times >= 0)):
        raise InputValueError(
            "`times` must be finite and not negative; for a dwell without escape give the time watched."
        )
    return times, escaped
