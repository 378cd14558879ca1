"""Input checks of the statistics: each returns a clean array or raises an error that says what is accepted."""

from typing import Any

import numpy as np
import scipy  # its subpackages are imported on first use

from jaxgd.base import InputTypeError, InputValueError, plain_number

_LARGEST = 2.0**53  # up to which float64 represents every whole number


def check_confidence(confidence: float) -> float:
    """Returns a confidence level strictly between 0 and 1."""
    level = plain_number("confidence", confidence)
    if not 0 < level < 1:
        raise InputValueError(f"`confidence` must lie strictly between 0 and 1, got {confidence}.")
    return level


def _as_array(name: str, values: Any) -> np.ndarray:
    """Returns an array; rejects ragged lists and values that are not lists."""
    try:
        return np.asarray(values)
    except (ValueError, TypeError) as error:
        raise InputTypeError(
            f"`{name}` must be numbers in a list or an array, got a {type(values).__name__}."
        ) from error


def check_choice(name: str, value: str, choices: Any) -> str:
    """Returns `value` if it is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise InputValueError(f"`{name}` must be one of {', '.join(sorted(choices))}, got {value!r}.")
    return value


def as_counts(name: str, values: Any) -> np.ndarray:
    """Returns whole numbers >= 0 as an int64 array of the same shape."""
    counts = _as_array(name, values)
    if counts.size == 0:
        return np.zeros(counts.shape, np.int64)
    if counts.dtype.kind not in "iuf":
        raise InputTypeError(f"`{name}` must hold whole numbers, got dtype {counts.dtype}.")
    if not np.all((counts >= 0) & (counts == np.floor(counts)) & np.isfinite(counts)):
        raise InputValueError(f"`{name}` must hold whole numbers that are not negative.")
    if np.sum(counts, dtype=np.float64) > _LARGEST:
        raise InputValueError(f"`{name}` must sum to no more than 2**53, beyond which counts are not exact.")
    return counts.astype(np.int64)


def as_count(name: str, value: Any) -> int:
    """Returns one whole number >= 0."""
    count = as_counts(name, value)
    if count.ndim or count.size == 0:
        raise InputTypeError(f"`{name}` must be one whole number, got shape {count.shape}.")
    return int(count)


def as_numbers(name: str, values: Any, ndim: int = 1) -> np.ndarray:
    """Returns a float64 array with `ndim` axes and no NaN; infinities pass."""
    numbers = _as_array(name, values)
    if numbers.size and numbers.dtype.kind not in "biuf":
        raise InputTypeError(f"`{name}` must hold real numbers, got dtype {numbers.dtype}.")
    numbers = numbers.astype(np.float64)
    if numbers.ndim != ndim:
        raise InputValueError(f"`{name}` must have {ndim} axis or axes, got shape {numbers.shape}.")
    if np.isnan(numbers).any():
        raise InputValueError(f"`{name}` contains NaN; leave those entries out or mark them as failures.")
    return numbers


def as_flags(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a bool array of the given shape."""
    flags = _as_array(name, values)
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
