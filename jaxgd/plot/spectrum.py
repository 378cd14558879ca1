"""Spectrum: the eigenvalues of a Hessian, as lines where all are known, as a density where they were sampled."""

from typing import Any

import numpy as np

from jaxgd.base import InputTypeError, InputValueError
from jaxgd.curvature import Density
from jaxgd.plot.style import FAINT, LOOKS, Verdict, dressed, legend

_NUM_PLACES = 400  # at which a density is drawn


def spectrum(result: Any, axis: Any = None, *, width: float | None = None) -> Any:
    """Returns an axis with a spectrum, what is below zero apart from what is above.

    Args:
      result: (n,) eigenvalues, or a `Density` of `jaxgd.curvature.density`.
      axis: of matplotlib; a new one if None.
      width: of the Gaussians by which a `Density` is smoothed, in the unit of the eigenvalues; its resolution if None.

    Raises:
      InputValueError: matplotlib is not installed, or the eigenvalues are not a list of finite real numbers.
      InputTypeError: `result` is something else.

    Example:
      >>> axis = spectrum(np.array([-1.0, 0.5, 2.0]))
      >>> [text.get_text() for text in axis.get_legend().get_texts()]
      ['1 below zero', '2 zero and above']
    """
    below, above = LOOKS[Verdict.SADDLE][0], LOOKS[Verdict.MINIMUM][0]
    if isinstance(result, Density):
        axis = dressed(axis)
        width = width or max(result.resolution, 1e-300)
        low, high = np.min(result.nodes) - 4 * width, np.max(result.nodes) + 4 * width
        at = np.linspace(low, high, _NUM_PLACES)
        one = lambda t: np.sum(result.weights * np.exp(-(((t - result.nodes) / width) ** 2) / 2), axis=1)
        curves = np.stack([one(t) for t in at], axis=1) / (width * np.sqrt(2 * np.pi))
        mean, error = curves.mean(axis=0), curves.std(axis=0, ddof=1) / np.sqrt(len(curves)) if len(curves) > 1 else 0
        for colour, which, name in ((below, at <= 0, "below zero"), (above, at >= 0, "above zero")):
            if which.any():
                axis.plot(at[which], mean[which], color=colour, lw=2, label=name)
                low_, high_ = (mean - 2 * error)[which], (mean + 2 * error)[which]
                axis.fill_between(at[which], np.maximum(low_, 0), high_, color=colour, alpha=0.2, lw=0)
        axis.set(xlabel="eigenvalue", ylabel="density", ylim=(0, None))
    else:
        try:
            values = np.asarray(result)
        except Exception as error:
            raise InputTypeError("`spectrum` draws a list of eigenvalues or a jaxgd.curvature.Density.") from error
        if values.dtype.kind not in "iuf":
            raise InputTypeError("`spectrum` draws a list of eigenvalues or a jaxgd.curvature.Density.")
        if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
            raise InputValueError("eigenvalues must be one list of finite numbers.")
        axis = dressed(axis)
        values = np.sort(values)
        for colour, shape, which, name in (
            (below, "D", values < 0, "below zero"),
            (above, "o", values >= 0, "zero and above"),
        ):
            if which.any():
                label = f"{which.sum():,} {name}"
                axis.plot(np.flatnonzero(which) + 1, values[which], shape, color=colour, ms=4, label=label)
        axis.axhline(0, color=FAINT, lw=0.8)
        linear = np.median(np.abs(values)) or 1.0
        if np.max(np.abs(values)) > 100 * linear:
            axis.set_yscale("symlog", linthresh=linear)
        axis.set(xlabel="number of the eigenvalue", ylabel="eigenvalue")
    legend(axis, always=True)
    return axis
