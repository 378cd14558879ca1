"""The test problems of More, Garbow and Hillstrom: sums of squares with their standard starts and published minima.

Starts are normal around the standard start, with a tenth of each coordinate (and of one, where it is zero) as standard
deviation. Minimum values are those of the paper, polished to all digits by an independent solver where it gives six;
further critical points that descents meet are listed where Newton's method, diagonally scaled, stands still to 1e-12.

Where the smallest curvature at the minimum, diagonally scaled, is below 1e-6 of the largest, float64 is not required
to tell it from zero.

References:
  More, Garbow and Hillstrom, Testing Unconstrained Optimization Software, ACM Trans. Math. Softw. 7, 17 (1981).
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.verdicts.problems.problem import Known, Problem

SOURCE = "More, Garbow and Hillstrom (1981)"

BARD = np.array([0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39])
GAUSSIAN = np.array([0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521, 0.3989])
MEYER = np.array(
    [34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261, 7030, 6005, 5147, 4427, 3820, 3307, 2872]
)
KOWALIK = np.array([0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246])
KOWALIK_AT = np.array([4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])
OSBORNE_1 = np.array(
    """
    0.844 0.908 0.932 0.936 0.925 0.908 0.881 0.850 0.818 0.784 0.751 0.718 0.685 0.658 0.628 0.603 0.580
    0.558 0.538 0.522 0.506 0.490 0.478 0.467 0.457 0.448 0.438 0.431 0.424 0.420 0.414 0.411 0.406
    """.split(),
    float,
)
OSBORNE_2 = np.array(
    """
    1.366 1.191 1.112 1.013 0.991 0.885 0.831 0.847 0.786 0.725 0.746 0.679 0.608 0.655 0.616 0.606 0.602
    0.626 0.651 0.724 0.649 0.649 0.694 0.644 0.624 0.661 0.612 0.558 0.533 0.495 0.500 0.423 0.395 0.375
    0.372 0.391 0.396 0.405 0.428 0.429 0.523 0.562 0.607 0.653 0.672 0.708 0.633 0.668 0.645 0.632 0.591
    0.559 0.597 0.625 0.739 0.710 0.729 0.720 0.636 0.581 0.428 0.292 0.162 0.098 0.054
    """.split(),
    float,
)


def _rosenbrock(x: Any) -> Any:
    return jnp.concatenate([10 * (x[1::2] - x[::2] ** 2), 1 - x[::2]])


def _freudenstein_roth(x: Any) -> Any:
    return jnp.stack([-13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1], -29 + x[0] + ((x[1] + 1) * x[1] - 14) * x[1]])


def _powell_badly_scaled(x: Any) -> Any:
    return jnp.stack([1e4 * x[0] * x[1] - 1, jnp.exp(-x[0]) + jnp.exp(-x[1]) - 1.0001])


def _brown_badly_scaled(x: Any) -> Any:
    return jnp.stack([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2])


def _beale(x: Any) -> Any:
    return jnp.array([1.5, 2.25, 2.625]) - x[0] * (1 - x[1] ** jnp.arange(1, 4))


def _jennrich_sampson(x: Any) -> Any:
    i = jnp.arange(1, 11)
    return 2 + 2 * i - jnp.exp(i * x[0]) - jnp.exp(i * x[1])


def _helical_valley(x: Any) -> Any:
    turn = jnp.arctan(x[1] / x[0]) / (2 * jnp.pi) + jnp.where(x[0] < 0, 0.5, 0.0)
    return jnp.stack([10 * (x[2] - 10 * turn), 10 * (jnp.sqrt(x[0] ** 2 + x[1] ** 2) - 1), x[2]])


def _bard(x: Any) -> Any:
    u = jnp.arange(1, 16)
    v = 16 - u
    return BARD - (x[0] + u / (v * x[1] + jnp.minimum(u, v) * x[2]))


def _gaussian(x: Any) -> Any:
    t = (8 - jnp.arange(1, 16)) / 2
    return x[0] * jnp.exp(-x[1] * (t - x[2]) ** 2 / 2) - np.concatenate([GAUSSIAN, GAUSSIAN[-2::-1]])


def _meyer(x: Any) -> Any:
    return x[0] * jnp.exp(x[1] / (45 + 5 * jnp.arange(1, 17) + x[2])) - MEYER


def _gulf(x: Any) -> Any:
    t = jnp.arange(1, 100) / 100
    y = 25 + (-50 * jnp.log(t)) ** (2 / 3)
    return jnp.exp(-(jnp.abs(y - x[1]) ** x[2]) / x[0]) - t


def _box(x: Any) -> Any:
    t = 0.1 * jnp.arange(1, 11)
    return jnp.exp(-t * x[0]) - jnp.exp(-t * x[1]) - x[2] * (jnp.exp(-t) - jnp.exp(-10 * t))


def _powell_singular(x: Any) -> Any:
    a, b, c, d = x[::4], x[1::4], x[2::4], x[3::4]
    return jnp.concatenate([a + 10 * b, jnp.sqrt(5) * (c - d), (b - 2 * c) ** 2, jnp.sqrt(10) * (a - d) ** 2])


def _wood(x: Any) -> Any:
    a, b, c, d = x
    return jnp.stack(
        [10 * (b - a**2), 1 - a, jnp.sqrt(90) * (d - c**2), 1 - c, jnp.sqrt(10) * (b + d - 2), (b - d) / jnp.sqrt(10)]
    )


def _kowalik_osborne(x: Any) -> Any:
    u = KOWALIK_AT
    return KOWALIK - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])


def _brown_dennis(x: Any) -> Any:
    t = jnp.arange(1, 21) / 5
    return (x[0] + t * x[1] - jnp.exp(t)) ** 2 + (x[2] + x[3] * jnp.sin(t) - jnp.cos(t)) ** 2


def _osborne_1(x: Any) -> Any:
    t = 10 * jnp.arange(33)
    return OSBORNE_1 - (x[0] + x[1] * jnp.exp(-t * x[3]) + x[2] * jnp.exp(-t * x[4]))


def _biggs(x: Any) -> Any:
    t = 0.1 * jnp.arange(1, 14)
    y = jnp.exp(-t) - 5 * jnp.exp(-10 * t) + 3 * jnp.exp(-4 * t)
    return x[2] * jnp.exp(-t * x[0]) - x[3] * jnp.exp(-t * x[1]) + x[5] * jnp.exp(-t * x[4]) - y


def _osborne_2(x: Any) -> Any:
    t = jnp.arange(65) / 10
    bumps = sum(x[k] * jnp.exp(-x[k + 4] * (t - x[k + 7]) ** 2) for k in (1, 2, 3))
    return OSBORNE_2 - (x[0] * jnp.exp(-t * x[4]) + bumps)


def _watson(x: Any) -> Any:
    t, n = jnp.arange(1, 30)[:, None] / 29, len(x)
    j = jnp.arange(n)
    slope = (j[1:] * x[1:] * t ** (j[1:] - 1)).sum(axis=1)
    inner = slope - (x * t**j).sum(axis=1) ** 2 - 1
    return jnp.concatenate([inner, jnp.stack([x[0], x[1] - x[0] ** 2 - 1])])


def _penalty_1(x: Any) -> Any:
    return jnp.append(jnp.sqrt(1e-5) * (x - 1), x @ x - 0.25)


def _penalty_2(x: Any) -> Any:
    n, a = len(x), jnp.sqrt(1e-5)
    i = jnp.arange(1, n + 1)
    y = jnp.exp(i[1:] / 10) + jnp.exp((i[1:] - 1) / 10)
    pairs = a * (jnp.exp(x[1:] / 10) + jnp.exp(x[:-1] / 10) - y)
    tails = a * (jnp.exp(x[1:] / 10) - jnp.exp(-1 / 10))
    return jnp.concatenate([x[:1] - 0.2, pairs, tails, jnp.sum((n - i + 1) * x**2, keepdims=True) - 1])


def _variably_dimensioned(x: Any) -> Any:
    along = jnp.sum(jnp.arange(1, len(x) + 1) * (x - 1))
    return jnp.concatenate([x - 1, jnp.stack([along, along**2])])


def _trigonometric(x: Any) -> Any:
    n, i = len(x), jnp.arange(1, len(x) + 1)
    return n - jnp.sum(jnp.cos(x)) + i * (1 - jnp.cos(x)) - jnp.sin(x)


def _brown_almost_linear(x: Any) -> Any:
    return jnp.append(x[:-1] + jnp.sum(x) - (len(x) + 1), jnp.prod(x) - 1)


def _discrete_boundary_value(x: Any) -> Any:
    n, h = len(x), 1 / (len(x) + 1)
    padded = jnp.pad(x, 1)
    return 2 * x - padded[:-2] - padded[2:] + h**2 * (x + h * jnp.arange(1, n + 1) + 1) ** 3 / 2


def _discrete_integral_equation(x: Any) -> Any:
    n, h = len(x), 1 / (len(x) + 1)
    t = h * jnp.arange(1, n + 1)
    cubes = (x + t + 1) ** 3
    return x + h * ((1 - t) * jnp.cumsum(t * cubes) + t * (jnp.sum((1 - t) * cubes) - jnp.cumsum((1 - t) * cubes))) / 2


def _broyden_tridiagonal(x: Any) -> Any:
    padded = jnp.pad(x, 1)
    return (3 - 2 * x) * x - padded[:-2] - 2 * padded[2:] + 1


def _broyden_banded(x: Any) -> Any:
    n = len(x)
    i, j = jnp.arange(n)[:, None], jnp.arange(n)[None]
    near = (j != i) & (j >= i - 5) & (j <= i + 1)
    return x * (2 + 5 * x**2) + 1 - jnp.where(near, x * (1 + x), 0.0).sum(axis=1)


def _linear_full_rank(x: Any) -> Any:
    return jnp.concatenate([x, jnp.zeros(10)]) - 2 / 20 * jnp.sum(x) - 1


def _linear_rank_1(x: Any) -> Any:
    return jnp.arange(1, 21) * jnp.sum(jnp.arange(1, len(x) + 1) * x) - 1


def _linear_rank_1_zeros(x: Any) -> Any:
    n, i = len(x), jnp.arange(20)
    inner = jnp.sum(jnp.arange(2, n) * x[1:-1])
    return jnp.where((i == 0) | (i == 19), -1.0, i * inner - 1)


def _chebyquad(x: Any) -> Any:
    n, t = len(x), 2 * x - 1
    low, high, rows = jnp.ones(n), t, []
    for i in range(1, n + 1):
        exact = -1 / (i**2 - 1) if i % 2 == 0 else 0.0
        rows.append(jnp.mean(high) - exact)
        low, high = high, 2 * t * high - low
    return jnp.stack(rows)


def _ones(n: int) -> Known:
    return Known(value=0.0, params=np.ones(n))


_M, _N = 20, 10  # of the linear problems
TABLE: dict[str, tuple[Callable[[Any], Any], Any, tuple[Known, ...], dict[str, Any]]] = {
    "Rosenbrock": (_rosenbrock, [-1.2, 1.0], (_ones(2),), {}),
    "Freudenstein and Roth": (
        _freudenstein_roth,
        [0.5, -2.0],
        (Known(value=0.0, params=np.array([5.0, 4.0])), Known(value=48.98425367924003)),
        {},
    ),
    "Powell badly scaled": (_powell_badly_scaled, [0.0, 1.0], (Known(value=0.0),), {"unit": 1e-3, "can_tell": False}),
    "Brown badly scaled": (_brown_badly_scaled, [1.0, 1.0], (Known(value=0.0, params=np.array([1e6, 2e-6])),), {}),
    "Beale": (_beale, [1.0, 1.0], (Known(value=0.0, params=np.array([3.0, 0.5])),), {}),
    "Jennrich and Sampson": (_jennrich_sampson, [0.3, 0.4], (Known(value=124.36218235561473),), {}),
    "Helical valley": (_helical_valley, [-1.0, 0.0, 0.0], (Known(value=0.0, params=np.array([1.0, 0.0, 0.0])),), {}),
    "Bard": (_bard, [1.0, 1.0, 1.0], (Known(value=8.214877306578970e-3),), {"unit": 1e-2}),
    "Gaussian": (_gaussian, [0.4, 1.0, 0.0], (Known(value=1.127932769618e-8),), {"unit": 1e-3}),
    "Meyer": (_meyer, [0.02, 4000.0, 250.0], (Known(value=87.94585517018),), {"unit": 1e2, "can_tell": False}),
    "Gulf": (
        _gulf,
        [5.0, 2.5, 0.15],
        # Many descents run to where all exponentials underflow: a plateau, with no critical point.
        (Known(value=0.0, params=np.array([50.0, 25.0, 1.5])),),
        {},
    ),
    "Box": (
        _box,
        [0.0, 10.0, 20.0],
        (
            Known(value=0.0, params=np.array([1.0, 10.0, 1.0])),
            Known(value=0.0, params=np.array([10.0, 1.0, -1.0])),
            Known(value=0.0, dimension=1),
        ),
        {},
    ),
    "Powell singular": (_powell_singular, [3.0, -1.0, 0.0, 1.0], (Known(value=0.0, zeros=2, params=np.zeros(4)),), {}),
    "Wood": (
        _wood,
        [-3.0, -1.0, -3.0, -1.0],
        (_ones(4), Known(value=7.876967165176868, negative=1)),  # the saddle beside the source's start, by root finding
        {},
    ),
    "Kowalik and Osborne": (
        _kowalik_osborne,
        [0.25, 0.39, 0.415, 0.39],
        (Known(value=3.0750560384924e-4),),
        {"unit": 1e-3},
    ),
    "Brown and Dennis": (_brown_dennis, [25.0, 5.0, -5.0, -1.0], (Known(value=85822.20162635628),), {}),
    "Osborne 1": (_osborne_1, [0.5, 1.5, -1.0, 0.01, 0.02], (Known(value=5.46489469748e-5),), {"unit": 1e-3}),
    "Biggs EXP6": (
        _biggs,
        [1.0, 2.0, 1.0, 1.0, 1.0, 1.0],
        (Known(value=0.0, num=None), Known(value=5.65564992597e-3)),
        {"unit": 1e-2},
    ),
    "Osborne 2": (
        _osborne_2,
        [1.3, 0.65, 0.65, 0.7, 0.6, 3.0, 5.0, 7.0, 2.0, 4.5, 5.5],
        # The three bumps may change places. The last three values are those of the best fits of two bumps: the third
        # lies outside of the data and vanishes in rounding, or nearly so.
        (
            Known(value=4.01377362935477e-2, num=6),
            Known(value=8.75947241e-2, num=6),
            Known(value=0.317634289346, dimension=3),
            Known(value=0.363897733707, dimension=3),
            Known(value=0.602867099508, dimension=3),
        ),
        {"unit": 1e-1},
    ),
    "Watson 6": (_watson, [0.0] * 6, (Known(value=2.28767005355e-3),), {"unit": 1e-2}),
    "Watson 9": (_watson, [0.0] * 9, (Known(value=1.399760138e-6),), {"unit": 1e-4, "can_tell": False}),
    "Extended Rosenbrock": (_rosenbrock, [-1.2, 1.0] * 5, (_ones(10),), {}),
    "Extended Powell": (
        _powell_singular,
        [3.0, -1.0, 0.0, 1.0] * 3,
        (Known(value=0.0, zeros=6, params=np.zeros(12)),),
        {},
    ),
    "Penalty I": (_penalty_1, list(range(1, 5)), (Known(value=2.24997750089e-5),), {"unit": 1e-3}),
    "Penalty II": (_penalty_2, [0.5] * 4, (Known(value=9.376293007e-6),), {"unit": 1e-4, "can_tell": False}),
    "Variably dimensioned": (_variably_dimensioned, list(1 - np.arange(1, 11) / 10), (_ones(10),), {}),
    "Trigonometric": (
        _trigonometric,
        [0.1] * 10,
        (Known(value=0.0, num=None), Known(value=2.795056122e-5, num=None), Known(value=4.21863389e-5, num=None)),
        {"unit": 1e-3},
    ),
    "Brown almost linear": (_brown_almost_linear, [0.5] * 10, (_ones(10), Known(value=0.0), Known(value=1.0)), {}),
    "Discrete boundary value": (_discrete_boundary_value, None, (Known(value=0.0),), {}),
    "Discrete integral equation": (_discrete_integral_equation, None, (Known(value=0.0),), {}),
    "Broyden tridiagonal": (_broyden_tridiagonal, [-1.0] * 10, (Known(value=0.0),), {}),
    "Broyden banded": (_broyden_banded, [-1.0] * 10, (Known(value=0.0),), {}),
    "Linear, full rank": (_linear_full_rank, [1.0] * _N, (Known(value=_M - _N, params=-np.ones(_N)),), {}),
    "Linear, rank 1": (
        _linear_rank_1,
        [1.0] * _N,
        (Known(value=_M * (_M - 1) / (2 * (2 * _M + 1)), dimension=_N - 1),),
        {},
    ),
    "Linear, rank 1 with zeros": (
        _linear_rank_1_zeros,
        [1.0] * _N,
        (Known(value=(_M**2 + 3 * _M - 6) / (2 * (2 * _M - 3)), dimension=_N - 1),),
        {},
    ),
    "Chebyquad 6": (_chebyquad, list(np.arange(1, 7) / 7), (Known(value=0.0, num=720),), {}),
    "Chebyquad 8": (
        _chebyquad,
        list(np.arange(1, 9) / 9),
        (Known(value=3.516873725677e-3, num=40320),),
        {"unit": 1e-2},
    ),
}
"""By name: residuals, standard start, critical points, further fields of `Problem`."""


def problems() -> list[Problem]:
    """Returns all of them, some in float32 as well."""
    found = [_problem(name) for name in TABLE]
    return found + [_problem(name, dtype="float32") for name in IN_FLOAT32]


IN_FLOAT32 = ("Freudenstein and Roth", "Beale", "Brown almost linear", "Broyden tridiagonal", "Linear, full rank")


def _problem(name: str, **fields: Any) -> Problem:
    residuals, start, known, more = TABLE[name]
    if start is None:
        t = np.arange(1, 11) / 11
        start = t * (t - 1)
    return Problem(
        name=name,
        source=SOURCE,
        value=functools.partial(_sum_of_squares, residuals),
        sample=functools.partial(_around, np.asarray(start, float)),
        known=known,
        **{**more, **fields},
    )


def _sum_of_squares(residuals: Callable[[Any], Any], x: Any) -> Any:
    return jnp.sum(residuals(x) ** 2)


def _around(start: np.ndarray, key: Any) -> Any:
    spread = 0.1 * np.where(start == 0, 1.0, np.abs(start))
    return jnp.asarray(start + spread * jax.random.normal(key, start.shape))
