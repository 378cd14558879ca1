r"""How a quantity grows with dimension, width, noise or step, and which laws the data exclude.

$$ \text{constant } y = a, \quad \text{logarithmic } y = a + b \ln x, \quad
   \text{power } y = a x^b, \quad \text{exponential } y = a e^{b x}. $$

All laws are fitted to the same data under the same errors, so that their likelihoods can be compared by AICc
(Hurvich and Tsai, Biometrika 76, 297, 1989): errors of y that are known (`standard_error`), or else relative
errors of one unknown size. Comparing the straightness of a power law on logarithmic and an exponential on
half-logarithmic paper compares different errors, not laws.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its subpackages are imported on first use

from jaxgd.base import InputTypeError, InputValueError, plain_number
from jaxgd.statistics.inputs import as_numbers, check_choice, check_confidence, normal_quantile
from jaxgd.statistics.proportions import Estimate, Interval

EXCLUDED = 10.0
"""A law this many units of AICc behind the best is excluded: its evidence is below 1/148 of the best's."""

_MAX_GRID = 2**24
"""Largest number of values of a grid."""

_LAWS: dict[str, Callable[..., np.ndarray]] = {
    "constant": lambda x, a: a + 0.0 * x,
    "logarithmic": lambda x, a, b: a + b * np.log(x),
    "power": lambda x, a, b: a * x**b,
    "exponential": lambda x, a, b: a * np.exp(np.clip(b * x, -600, 600)),
}
_FORMULAS = {
    "constant": "y = {a:.4g}",
    "logarithmic": "y = {a:.4g} + {b:.4g} ln x",
    "power": "y = {a:.4g} x^{b:.4g}",
    "exponential": "y = {a:.4g} exp({b:.4g} x)",
}


def log_grid(low: float, high: float, num: int, integers: bool = False) -> np.ndarray:
    """Returns values spaced evenly in their logarithm, which suits measurements of scaling laws.

    Args:
      low: first value, > 0.
      high: last value, > `low`.
      num: how many, >= 2.
      integers: round to whole numbers and drop repeats (dimensions, widths).

    Returns:
      (num,) float64, or fewer whole numbers (int64).

    Raises:
      InputValueError: a range that is not 0 < low < high, or fewer than 2 values.

    Example:
      >>> log_grid(2, 1000, 6, integers=True)
      array([   2,    7,   24,   83,  289, 1000])
    """
    low, high = plain_number("low", low), plain_number("high", high)
    if isinstance(num, bool) or not isinstance(num, (int, np.integer)):
        raise InputTypeError(f"`num` must be an integer, got {num!r}.")
    if num > _MAX_GRID:
        raise InputValueError(f"`num` must be at most {_MAX_GRID:,}, got {num}.")
    if not 0 < low < high < np.inf:
        raise InputValueError(f"`low` and `high` must satisfy 0 < low < high, got {low} and {high}.")
    if num < 2:
        raise InputValueError(f"`num` must be at least 2, got {num}.")
    grid = np.geomspace(low, high, num)
    return np.unique(np.round(grid).astype(np.int64)) if integers else grid


def paired_design(grid: Any, num_seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns every grid value with the same seeds, so that effects of the seed cancel between values.

    Args:
      grid: (k,) values.
      num_seeds: >= 1 seeds 0, 1, ... at each value.

    Returns:
      values (k * num_seeds,) and seeds (k * num_seeds,), seeds running fastest.

    Raises:
      InputValueError: fewer than one seed.

    Example:
      >>> values, seeds = paired_design([2, 10], 3)
      >>> print(values, seeds)
      [ 2  2  2 10 10 10] [0 1 2 0 1 2]
    """
    if num_seeds < 1:
        raise InputValueError(f"`num_seeds` must be at least 1, got {num_seeds}.")
    grid = np.asarray(grid)
    return np.repeat(grid, num_seeds), np.tile(np.arange(num_seeds), grid.size)


@dataclass(frozen=True, kw_only=True)
class LawFit:
    """One law fitted to the data.

    Attributes:
      law: its name.
      parameters: a, and b where the law has one, with limits.
      aicc: corrected Akaike criterion; smaller is better, only differences count.
      p_value: probability of so bad a fit if the law held; None where the errors of y are not known.
    """

    law: str
    parameters: dict[str, Estimate]
    aicc: float
    p_value: float | None

    def predict(self, x: Any) -> np.ndarray:
        """Returns the law's value at `x`."""
        return _LAWS[self.law](np.asarray(x, float), *(value for value, _, _ in self.parameters.values()))


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """The laws compared on one set of data, the best first.

    Attributes:
      fits: each law, by rising AICc.
      x: (n,) as given.
      y: (n,) as given.
      standard_error: (n,) as given, or None.
      confidence: of the limits.
    """

    fits: tuple[LawFit, ...]
    x: np.ndarray
    y: np.ndarray
    standard_error: np.ndarray | None
    confidence: float

    @property
    def best(self) -> LawFit:
        """The law with the smallest AICc."""
        return self.fits[0]

    def excluded(self) -> tuple[str, ...]:
        """Returns the laws that are at least `EXCLUDED` units of AICc behind the best."""
        return tuple(fit.law for fit in self.fits[1:] if fit.aicc - self.best.aicc >= EXCLUDED)

    def sentence(self) -> str:
        """Returns a sentence on which laws the data support, leave open and exclude."""
        best, excluded = self.best, self.excluded()
        values = {name: estimate.value for name, estimate in best.parameters.items()}
        text = (
            f"Over x from {self.x.min():g} to {self.x.max():g} ({self.x.size} values) the best of "
            f"{len(self.fits)} laws is {best.law}, {_FORMULAS[best.law].format(**values)}"
        )
        if "b" in best.parameters:
            _, low, high = best.parameters["b"]
            text += f" ({100 * self.confidence:g} % interval of {values['b']:.4g}: {low:.4g} to {high:.4g})"
        behind = lambda fit: f"{fit.law} (behind by {fit.aicc - best.aicc:.1f})"
        out = ", ".join(behind(fit) for fit in self.fits[1:] if fit.law in excluded)
        left = ", ".join(behind(fit) for fit in self.fits[1:] if fit.law not in excluded)
        text += f". Excluded by AICc: {out or 'none'}." + (f" Not excluded: {left}." if left else "")
        if best.p_value is not None and best.p_value < 0.01:
            text += f" None of them fits: the best has chi-square p = {best.p_value:.1g}."
        return text

    def band(self, x: Any, num_resamples: int = 1000, *, seed: int) -> Interval:
        """Returns pointwise bootstrap limits of the best law at `x`.

        Each resample draws new errors about the fitted law, from the known standard errors or, where they
        are not known, from the relative residuals, scaled up for the fitted parameters; then the law is
        fitted again. The band does not include the uncertainty about which law is right: see `excluded`.

        Args:
          x: (k,) where.
          num_resamples: >= 100.
          seed: of the resampling.

        Returns:
          Interval of two (k,) arrays.
        """
        if num_resamples < 100:
            raise InputValueError(f"`num_resamples` must be at least 100, got {num_resamples}.")
        rng, law, fitted = np.random.default_rng(seed), self.best.law, self.best.predict(self.x)
        start = np.array([value for value, _, _ in self.best.parameters.values()])
        curves = np.empty((num_resamples, np.size(x)))
        for i in range(num_resamples):
            if self.standard_error is not None:
                y = fitted + self.standard_error * rng.standard_normal(fitted.size)
            else:
                residual = np.log(self.y / fitted) * np.sqrt(self.x.size / (self.x.size - start.size))
                y = fitted * np.exp(rng.choice(residual, size=fitted.size))
            values, _, _ = _fit(law, self.x, y, self.standard_error, start)
            curves[i] = _LAWS[law](np.asarray(x, float), *values)
        tail = (1 - self.confidence) / 2
        return Interval(*np.quantile(curves, [tail, 1 - tail], axis=0))


def compare_laws(
    x: Any,
    y: Any,
    standard_error: Any = None,
    laws: tuple[str, ...] = ("constant", "logarithmic", "power", "exponential"),
    confidence: float = 0.95,
) -> Scaling:
    r"""Returns the laws fitted to y(x), best first, with the evidence for each.

    With k parameters and residuals r (y - law over `standard_error`, or ln y - ln law)

    $$ \mathrm{AICc} = \begin{cases} \sum r^2 + 2 k & \text{errors known} \\
       n \ln \frac{1}{n} \sum r^2 + 2 (k+1) + \frac{2 (k+1)(k+2)}{n-k-2} & \text{else.} \end{cases} $$

    Limits of the parameters are Gaussian (Student's, where the errors are not known) from the curvature at
    the fit.

    Args:
      x: (n,) positive, with at least 3 distinct values and n >= 5.
      y: (n,) the quantity; positive unless `standard_error` is given.
      standard_error: (n,) positive, of y; None where errors are relative and of one unknown size.
      laws: names out of "constant", "logarithmic", "power", "exponential".
      confidence: in (0, 1).

    Returns:
      Scaling.

    Raises:
      InputValueError: too few values, or numbers that are not positive or finite where they must be.

    Example:
      >>> dim = log_grid(2, 1000, 12, integers=True)
      >>> steps = 40 + 6 * np.log(dim) + np.random.default_rng(0).normal(size=12)
      >>> scaling = compare_laws(dim, steps, np.ones(12))
      >>> print(scaling.best.law, scaling.excluded())
      logarithmic ('power', 'exponential', 'constant')
      >>> print(scaling.sentence())
      Over x from 2 to 1000 (12 values) the best of 4 laws is logarithmic, y = 40.44 + 5.89 ln x
      (95 % interval of 5.89: 5.599 to 6.182). Excluded by AICc: power (behind by 13.7),
      exponential (behind by 627.4), constant (behind by 1563.1).
    """
    x, y = as_numbers("x", x), as_numbers("y", y)
    check_confidence(confidence)
    if x.shape != y.shape or not np.all(np.isfinite(y)):
        raise InputValueError(f"`x` {x.shape} and `y` {y.shape} must be of one shape and `y` finite.")
    if x.size < 5 or np.unique(x).size < 3:
        raise InputValueError(f"`x` must hold 5 values, 3 of them distinct, to compare laws; got {x.size}.")
    if not np.all(np.isfinite(x) & (x > 0)):
        raise InputValueError("`x` must be positive and finite.")

    # Errors are absolute and known, or relative and of one unknown size.
    if standard_error is not None:
        standard_error = as_numbers("standard_error", standard_error)
        if standard_error.shape != x.shape or not np.all(np.isfinite(standard_error) & (standard_error > 0)):
            raise InputValueError("`standard_error` must be positive, finite and of the shape of `x`.")
    elif not np.all(y > 0):
        raise InputValueError("`y` must be positive where no `standard_error` is given: errors are relative.")

    if not laws:
        raise InputValueError("`laws` names no law.")
    for law in laws:
        check_choice("laws", law, _LAWS)

    fits = [_law_fit(law, x, y, standard_error, confidence) for law in laws]
    return Scaling(
        fits=tuple(sorted(fits, key=lambda fit: fit.aicc)),
        x=x,
        y=y,
        standard_error=standard_error,
        confidence=confidence,
    )


def _law_fit(law: str, x: np.ndarray, y: np.ndarray, standard_error: np.ndarray | None, confidence: float) -> LawFit:
    values, squares, covariance = _fit(law, x, y, standard_error, _start(law, x, y))
    n, k = x.size, len(values)
    if standard_error is not None:
        aicc, p_value, quantile = (
            squares + 2 * k,
            float(scipy.special.chdtrc(n - k, squares)),
            normal_quantile(confidence),
        )
    else:
        k = k + 1  # the size of the errors is a parameter too
        aicc = n * np.log(max(squares, 1e-300) / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
        p_value, quantile = None, float(scipy.special.stdtrit(n - k + 1, (1 + confidence) / 2))
        covariance = covariance * squares / (n - k + 1)
    half = quantile * np.sqrt(np.diag(covariance))
    return LawFit(
        law=law,
        parameters={
            name: Estimate(float(value), float(value - h), float(value + h))
            for name, value, h in zip("ab", values, half, strict=False)
        },
        aicc=float(aicc),
        p_value=p_value,
    )


def _fit(
    law: str, x: np.ndarray, y: np.ndarray, standard_error: np.ndarray | None, start: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray]:
    """Returns the parameters, the sum of squared residuals, and the inverse of J^T J."""

    def residual(parameters: np.ndarray) -> np.ndarray:
        fitted = _LAWS[law](x, *parameters)
        if standard_error is not None:
            return (y - fitted) / standard_error
        return np.log(y) - np.log(np.maximum(fitted, 1e-300))

    best = scipy.optimize.least_squares(residual, start, x_scale="jac", method="lm", max_nfev=2000)
    return best.x, float(2 * best.cost), np.linalg.pinv(best.jac.T @ best.jac)


def _start(law: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the coefficients of a straight line in the coordinates that linearise the law."""
    if law == "constant":
        return np.array([np.exp(np.log(y).mean()) if np.all(y > 0) else y.mean()])
    if law == "logarithmic":
        slope, level = np.polyfit(np.log(x), y, 1)
        return np.array([level, slope])
    abscissa = np.log(x) if law == "power" else x
    if np.all(y > 0) or np.all(y < 0):
        slope, level = np.polyfit(abscissa, np.log(np.abs(y)), 1)
        return np.array([np.sign(y[0]) * np.exp(level), slope])
    return np.array([y.mean(), 0.0])
