r"""Laws of escape, fitted to censored dwell times by maximum likelihood and judged by how well they fit.

Dwells are counted in ticks of length `resolution`, so that an escape at t says t - resolution < tau <= t:

$$ \log L = \sum_{\mathrm{escaped}} \log\, [S(t - \mathrm{resolution}) - S(t)]
           + \sum_{\mathrm{censored}} \log S(t). $$

- exponential, S = exp(-rate t): noise over a barrier (Kramers). In ticks it is the geometric law with
  p = 1 - exp(-rate resolution).
- saddle_normal, S = scipy.special.erf(exp(growth (delay - t)) / sqrt 2): the first time with abs(x) >= R when
  dx/dt = growth x and x_0 ~ N(0, s^2).
- saddle_uniform, S = min(1, exp(growth (delay - t))): the same from x_0 ~ U[-s, s]; exponential at delay 0.

Here delay = ln(R/s) / growth, the log(1/s) law: gradient descent of step eta at a saddle of curvature -a has
growth ln(1 + eta a) a tick. The means are delay + 0.6351814 / growth and delay + 1 / growth.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its subpackages are imported on first use

from jaxgd.base import InputValueError
from jaxgd.statistics.inputs import as_durations, as_numbers, check_choice, check_confidence, normal_quantile
from jaxgd.statistics.proportions import Estimate, beta_interval

MEAN_LOG_NORMAL = (np.euler_gamma + np.log(2)) / 2
"""E ln(1/|Z|) = 0.6351814 for a standard normal Z."""

LAWS = ("exponential", "saddle_normal", "saddle_uniform")


@dataclass(frozen=True, kw_only=True)
class EscapeFit:
    """A law of escape fitted to dwell times.

    Attributes:
      law: its name.
      parameters: each with limits; empty where nothing could be fitted.
      mean: mean escape time with limits, before rounding up to ticks; inf where no escape was seen, None
        where nothing could be fitted.
      log_likelihood: of the ticks; compares laws on the same dwells. None where nothing could be fitted.
      p_value: probability that data of this law fit as badly; None where there are too few escapes to say.
      num_escaped: escapes.
      num_censored: dwells without escape.
      message: empty, or what the data cannot say.
    """

    law: str
    parameters: dict[str, Estimate]
    mean: Estimate | None
    log_likelihood: float | None
    p_value: float | None
    num_escaped: int
    num_censored: int
    message: str = ""

    def survival(self, times: Any) -> np.ndarray:
        """Returns the fitted probability that a dwell lasts longer than each of `times`."""
        if not self.parameters:
            raise InputValueError(f"the law could not be fitted: {self.message}")
        values = [estimate.value for estimate in self.parameters.values()]
        return np.exp(_log_survival(self.law, np.asarray(times, float), values))


def fit_escape(times: Any, escaped: Any, law: str, resolution: float = 1.0, confidence: float = 0.95) -> EscapeFit:
    """Returns the maximum-likelihood fit of a law of escape, with limits and goodness of fit.

    Limits are exact binomial ones (exponential, and saddle_uniform, whose likelihood has an edge and whose
    later ticks are memoryless) or come from the observed information (saddle_normal). The fit is judged by a
    chi-square of escapes against those expected from the fitted hazard, in bins of equal numbers of escapes
    (Hjort, Annals of Statistics 18, 1221, 1990), which censoring does not disturb.

    Args:
      times: (n,) time watched, multiples of `resolution`.
      escaped: (n,) bool, whether the dwell ended in escape.
      law: "exponential", "saddle_normal" or "saddle_uniform".
      resolution: time of a tick (1 for ticks, the step for a discretised process); times are rounded up to
        it.
      confidence: in (0, 1).

    Returns:
      EscapeFit; with too few escapes its `message` says so, and unknown numbers are None or inf, never NaN.

    Raises:
      InputValueError: an unknown law, times that are no multiples of `resolution`, or bad dwells.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> start = np.abs(rng.normal(0, 1e-6, 2000))  # growth ln(1.1) = 0.0953 a tick, out at 1
      >>> ticks = np.ceil(np.log(1 / start) / np.log(1.1))
      >>> fit = fit_escape(ticks, ticks < 1e9, "saddle_normal")
      >>> growth = fit.parameters["growth"]
      >>> print(f"{growth.value:.4f} in [{growth.low:.4f}, {growth.high:.4f}], p = {fit.p_value:.2f}")
      0.0968 in [0.0934, 0.1004], p = 0.69
    """
    check_choice("law", law, LAWS)
    check_confidence(confidence)
    times, escaped = as_durations(times, escaped)
    if not (np.isfinite(resolution) and resolution > 0):
        raise InputValueError(f"`resolution` must be positive and finite, got {resolution}.")
    ticks = np.round(times / resolution)
    if not np.allclose(ticks * resolution, times, rtol=1e-6, atol=1e-6 * resolution):
        raise InputValueError("`times` must be multiples of `resolution`, the time of a tick.")

    # Data that cannot be fitted give a message, not an error.
    num_escaped, distinct = int(escaped.sum()), np.unique(ticks[escaped]).size
    if law == "exponential" and np.any(escaped & (ticks == 0)):
        raise InputValueError("`times` holds an escape at 0, which a memoryless law excludes.")
    counts = {"num_escaped": num_escaped, "num_censored": int(times.size - num_escaped)}
    enough = ticks.sum() > num_escaped if law == "exponential" else distinct >= 3
    if not enough:
        return EscapeFit(
            law=law,
            parameters={},
            mean=None,
            log_likelihood=None,
            p_value=None,
            **counts,
            message=f"{num_escaped} escapes at {distinct} distinct times cannot fit the law.",
        )

    # Fitted in ticks, returned in units of time.
    parameters, mean = _FITS[law](ticks, escaped, confidence)
    values = [estimate.value for estimate in parameters.values()]
    p_value = _goodness(law, values, ticks, escaped)
    message = "" if num_escaped else f"No escape among {times.size} dwells: all are censored."
    scale = {"rate": 1 / resolution, "growth": 1 / resolution, "delay": resolution}
    return EscapeFit(
        law=law,
        parameters={name: _scaled(estimate, scale[name]) for name, estimate in parameters.items()},
        mean=_scaled(mean, resolution),
        log_likelihood=_log_likelihood(law, ticks, escaped, values),
        p_value=p_value,
        message=message if p_value is not None or message else "Too few escapes to judge the fit.",
        **counts,
    )


def growth_factor(escape_times: Any, confidence: float = 0.95) -> Estimate:
    r"""Returns the factor by which successive escape times grow, as gradient descent's do on the octopus.

    $$ \tau_{k+1} = \kappa\, \tau_k + c + \text{noise}, $$

    the line through all pairs of successive escapes by least squares; the limits allow for the dependence of
    pairs in one lane (sandwich variance by lane). Gradient descent on the octopus (Du et al. 2017, arXiv
    1705.10412) has kappa = 1 + ln(1/(1 - 2 eta L)) / ln(1 + 2 eta gamma); perturbed gradient descent, whose
    times are linear, has kappa = 1. Saddles that some lane did not escape are left out for all lanes, with
    those after them: keeping only the lanes that escaped in time would pull kappa down.

    Args:
      escape_times: (n, saddles) time of each lane's successive escapes, inf where it did not escape.
      confidence: in (0, 1).

    Returns:
      Estimate of kappa.

    Raises:
      InputValueError: fewer than 2 lanes, or fewer than two saddles that every lane escaped.

    Example:
      >>> start = np.random.default_rng(0).uniform(size=(500, 1))
      >>> times = [np.log(1 / start)]
      >>> for _ in range(3): times.append(2.7095 * times[-1] + 1)
      >>> print(f"{growth_factor(np.hstack(times)).value:.4f}")
      2.7095
    """
    times = as_numbers("escape_times", escape_times, ndim=2)
    complete = np.cumprod(np.isfinite(times).all(axis=0)).astype(bool)
    times = times[:, complete]
    num_lanes, num_saddles = times.shape
    if num_lanes < 2 or num_saddles < 2:
        raise InputValueError(
            f"`escape_times` must hold two lanes and two saddles that every lane escaped, got {times.shape}; "
            "raise the step limit."
        )
    before, after = times[:, :-1], times[:, 1:]
    x, y = before - before.mean(), after - after.mean()
    total = np.sum(x**2)
    if total == 0:
        raise InputValueError("`escape_times` are all equal: there is no line through one point.")
    slope = float(np.sum(x * y) / total)
    by_lane = np.sum(x * (y - slope * x), axis=1)
    error = np.sqrt(num_lanes / (num_lanes - 1) * np.sum(by_lane**2)) / total
    half = float(normal_quantile(confidence) * error)
    return Estimate(slope, slope - half, slope + half)


# ------------------------------------------------------------------------------------------------- the laws


def _log_survival(law: str, t: np.ndarray, parameters: Any) -> np.ndarray:
    if law == "exponential":
        return -parameters[0] * t
    growth, delay = parameters
    log_size = np.clip(growth * (delay - t), -700, 30)
    if law == "saddle_uniform":
        return np.minimum(log_size, 0.0)
    return np.log(scipy.special.erf(np.exp(log_size) / np.sqrt(2)))


def _log_likelihood(law: str, ticks: np.ndarray, escaped: np.ndarray, parameters: Any) -> float:
    unique, place = np.unique(ticks, return_inverse=True)
    now = _log_survival(law, unique, parameters)
    before = np.where(unique > 0, _log_survival(law, unique - 1, parameters), 0.0)
    inside = before + np.log(np.maximum(-np.expm1(now - before), 1e-300))
    return float(np.sum(np.where(escaped, inside[place], now[place])))


def _fit_exponential(ticks: np.ndarray, escaped: np.ndarray, confidence: float) -> tuple[dict, Estimate]:
    num, total = float(escaped.sum()), float(ticks.sum())
    low, high = beta_interval(num, total, confidence)
    rate = Estimate(*(float(-np.log1p(-p)) for p in (num / total, low, high)))
    mean = Estimate(*(1 / r if r > 0 else float("inf") for r in (rate.value, rate.high, rate.low)))
    return {"rate": rate}, mean


def _fit_saddle_uniform(ticks: np.ndarray, escaped: np.ndarray, confidence: float) -> tuple[dict, Estimate]:
    """Beyond the first tick with an escape the law is memoryless; that tick's escapes give the delay."""
    first = ticks[escaped].min()
    beyond = ticks > first
    num_first = np.sum(ticks[escaped] == first)
    num_watched = num_first + beyond.sum()
    fitted, later = _fit_exponential(ticks[beyond] - first, escaped[beyond], confidence)
    growth = fitted["rate"]
    # Growth times the time since the delay: from the share of escapes, from its lower limit, and from the longest time
    # without escapes that the confidence allows.
    since = -np.log1p(-num_first / num_watched)
    since_low = -np.log1p(-beta_interval(num_first, num_watched, confidence).low)
    silent = -np.log1p(-beta_interval(0, num_watched, confidence).high)
    delay = Estimate(
        float(max(first - since / growth.value, first - 1)),
        float(first - 1 - silent / growth.low),
        float(first - since_low / growth.high),
    )
    return {"growth": growth, "delay": delay}, Estimate(*(delay.value + mean for mean in later))


def _fit_saddle_normal(ticks: np.ndarray, escaped: np.ndarray, confidence: float) -> tuple[dict, Estimate]:
    seen = ticks[escaped]
    growth = np.pi / np.sqrt(8) / seen.std()
    delay = seen.mean() - MEAN_LOG_NORMAL / growth
    unpack = lambda u: (growth * np.exp(u[0]), delay + u[1] / growth)
    loss = lambda u: -_log_likelihood("saddle_normal", ticks, escaped, unpack(u))
    best = scipy.optimize.minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-6}).x
    covariance = np.linalg.inv(_hessian(loss, best, step=0.3 / np.sqrt(len(seen))))
    z = normal_quantile(confidence)
    rate, at = unpack(best)
    spread, shift = z * np.sqrt(np.diag(covariance))
    # mean = delay + c / growth: its gradient in (log growth, scaled delay)
    slope = np.array([-MEAN_LOG_NORMAL / rate, 1 / growth])
    half = z * np.sqrt(slope @ covariance @ slope)
    mean = at + MEAN_LOG_NORMAL / rate
    return {
        "growth": Estimate(float(rate), float(rate * np.exp(-spread)), float(rate * np.exp(spread))),
        "delay": Estimate(float(at), float(at - shift / growth), float(at + shift / growth)),
    }, Estimate(float(mean), float(mean - half), float(mean + half))


_FITS: dict[str, Callable[[np.ndarray, np.ndarray, float], tuple[dict[str, Estimate], Estimate]]] = {
    "exponential": _fit_exponential,
    "saddle_normal": _fit_saddle_normal,
    "saddle_uniform": _fit_saddle_uniform,
}


def _goodness(law: str, parameters: list[float], ticks: np.ndarray, escaped: np.ndarray) -> float | None:
    """Returns the p-value of escapes against those expected, or None with too few for bins of twenty."""
    if law == "saddle_uniform":  # the first tick fits by construction; later ones are memoryless
        first = ticks[escaped].min()
        beyond = ticks > first
        return _goodness("exponential", parameters[:1], ticks[beyond] - first, escaped[beyond])
    num_bins = min(int(escaped.sum()) // 20, 12)
    if num_bins < len(parameters) + 2:
        return None
    edges = np.unique(np.quantile(ticks[escaped], np.linspace(0, 1, num_bins + 1)[1:-1]).astype(int))
    edges = np.concatenate([[-1], edges, [int(ticks.max())]])
    if edges.size - 1 < len(parameters) + 2:
        return None
    # The probability of escape per tick and its variance, summed up to each tick.
    stride = int(np.ceil((edges[-1] + 1) / 1_000_000))
    grid = np.arange(-1, edges[-1] + stride, stride)
    log_survival = np.where(grid >= 0, _log_survival(law, np.maximum(grid, 0) * 1.0, parameters), 0.0)
    chance = -np.expm1(np.diff(log_survival))
    total, scatter = np.cumsum(np.append(0, chance)), np.cumsum(np.append(0, chance * (1 - chance)))
    place = lambda t: np.ceil((np.asarray(t) + 1) / stride).astype(int)
    until = place(np.minimum(ticks[:, None], edges))
    expected, variance = np.diff(total[until].sum(0)), np.diff(scatter[until].sum(0))
    observed = np.diff(np.searchsorted(np.sort(ticks[escaped]), edges, side="right"))
    # Bins hold given numbers of escapes, so the expected numbers scatter about those, not the reverse.
    spread = observed * variance / np.maximum(expected, 1e-300)
    statistic = np.sum((observed - expected) ** 2 / np.maximum(spread, 1e-300))
    return float(scipy.special.chdtrc(edges.size - 1 - len(parameters), statistic))


def _hessian(function: Callable[[np.ndarray], float], at: np.ndarray, step: float) -> np.ndarray:
    e = step * np.eye(2)
    return np.array(
        [
            [
                (function(at + a + b) - function(at + a - b) - function(at - a + b) + function(at - a - b))
                / (4 * step**2)
                for a in e
            ]
            for b in e
        ]
    )


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    return Estimate(*(float(value * factor) for value in estimate))
