"""Regressions and other statistics as people write them: one minimum, none at all, or one at a kink.

The minima of convex problems are found again by SciPy (BFGS, then Newton's method), which shares no code with jaxgd.
Data are drawn from fixed seeds by NumPy.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from experiments.verdicts.problems.problem import Known, Problem

_RNG = np.random.default_rng(15)
_X = _RNG.standard_normal((60, 3))
_NOISY = _X @ np.array([1.0, -2.0, 0.5]) + 0.7 + _RNG.logistic(size=60)
_LABELS = np.where(_NOISY > 0, 1.0, -1.0)
_COUNTS = _RNG.poisson(np.exp(0.5 * _X[:, 0] - 0.3 * _X[:, 1] + 0.2)).astype(float)
_HEAVY = _X @ np.array([1.0, -2.0, 0.5]) + 0.7 + _RNG.standard_t(1.5, size=60)
_MIXED = np.concatenate([_RNG.normal(-2, 0.7, 150), _RNG.normal(1.5, 1.0, 250)])


NOWHERE = (Known(value=-1.0),)
"""No critical point at all: no loss here is negative."""


def problems() -> list[Problem]:
    """Returns all of them."""
    separable = np.where(_X @ np.array([1.0, -2.0, 0.5]) > 0, 1.0, -1.0)
    return [
        *(_convex(name, value, size, dtype=dtype) for name, value, size, dtypes in CONVEX for dtype in dtypes),
        Problem(
            name="separable logistic regression",
            source="no critical point: the loss falls to zero at infinity",
            value=lambda b: _logistic(b, separable),
            sample=lambda key: jax.random.normal(key, (4,)),
            known=NOWHERE,
        ),
        Problem(
            name="least absolute deviations",
            source="a linear program: its solution lies at a kink, where four residuals vanish",
            value=lambda b: jnp.mean(jnp.abs(_HEAVY - _line(b))),
            sample=lambda key: jax.random.normal(key, (4,)),
            known=NOWHERE,
            optimizer="adam:learning_rate=0.01",
            num_starts=40,
        ),
        Problem(
            name="mixture of two Gaussians",
            source="SciPy; the two names of the components may be exchanged",
            value=_mixture,
            sample=_mixture_start,
            known=_mixture_minima,
            num_starts=200,
        ),
    ]


def _line(b: Any) -> Any:
    return jnp.asarray(_X, b.dtype) @ b[:3] + b[3]


def _logistic(b: Any, labels: Any = _LABELS) -> Any:
    return jnp.mean(jnp.logaddexp(0.0, -jnp.asarray(labels, b.dtype) * _line(b)))


def _ridge_logistic(b: Any) -> Any:
    return _logistic(b) + 0.01 * jnp.sum(b**2)


def _poisson(b: Any) -> Any:
    return jnp.sum(jnp.exp(_line(b)) - jnp.asarray(_COUNTS, b.dtype) * _line(b))


def _huber(b: Any) -> Any:
    away = jnp.abs(_HEAVY - _line(b))
    return jnp.sum(jnp.where(away < 1, away**2 / 2, away - 0.5))


def _in_odd_units(b: Any) -> Any:
    """Least squares with predictors in micrometres, metres and kilometres."""
    return jnp.sum((_NOISY - (_X * np.array([1e6, 1.0, 1e-3])) @ b[:3] - b[3]) ** 2)


BOTH = ("float64", "float32")
CONVEX: tuple[tuple[str, Callable[[Any], Any], np.ndarray, tuple[str, ...]], ...] = (
    ("logistic regression", _logistic, np.ones(4), BOTH),
    ("ridge logistic regression", _ridge_logistic, np.ones(4), ("float64",)),
    ("Poisson regression", _poisson, np.full(4, 0.3), BOTH),
    ("Huber regression", _huber, np.ones(4), ("float64",)),
    ("least squares in odd units", _in_odd_units, np.array([1e-6, 1.0, 1e3, 1.0]), ("float64",)),
)
"""Name, loss, sizes of the parameters, precisions."""


def _convex(name: str, value: Callable[[Any], Any], sizes: np.ndarray, dtype: str) -> Problem:
    scaled = lambda u: value(u * sizes)
    return Problem(
        name=name,
        source="convex; SciPy",
        value=value,
        sample=lambda key: sizes.astype(dtype) * jax.random.normal(key, sizes.shape, dtype),
        known=lambda: (_minimum(scaled, np.zeros(len(sizes)), sizes),),
        dtype=dtype,
    )


def _minimum(value: Callable[[Any], Any], start: np.ndarray, sizes: np.ndarray) -> Known:
    """Returns the minimum that SciPy finds, after Newton's steps."""
    gradient, hessian = jax.jit(jax.grad(value)), jax.jit(jax.hessian(value))
    found = minimize(value, start, jac=lambda x: np.asarray(gradient(x)), method="BFGS").x
    for _ in range(10):
        found = found - np.linalg.solve(np.asarray(hessian(found)), np.asarray(gradient(found)))
    if not np.linalg.eigvalsh(np.asarray(hessian(found)))[0] > 0:
        raise RuntimeError("SciPy's point is no minimum.")
    return Known(value=float(value(found)), params=found * sizes)


def _mixture(p: Any) -> Any:
    """Negative log-likelihood of a mixture, by logit of the share, means and logarithms of the widths."""
    share, mean, width = jax.nn.log_sigmoid(jnp.array([1.0, -1.0]) * p[0]), p[1:3], jnp.exp(p[3:5])
    density = share - 0.5 * ((_MIXED[:, None] - mean) / width) ** 2 - jnp.log(width)
    return -jnp.mean(jax.nn.logsumexp(density, axis=1))


def _mixture_start(key: Any) -> Any:
    return jax.random.normal(key, (5,)) * jnp.array([0.3, 1.5, 1.5, 0.2, 0.2])


def _mixture_minima() -> tuple[Known, ...]:
    one = _minimum(_mixture, np.array([-0.4, -2.0, 1.5, -0.3, 0.0]), np.ones(5))
    swapped = one.params[[0, 2, 1, 4, 3]] * np.array([-1, 1, 1, 1, 1])
    # One Gaussian fits all where the share of the other falls below rounding, wherever that one is.
    alone = Known(value=1.112797071, dimension=3)
    return one, Known(value=one.value, params=swapped), alone
