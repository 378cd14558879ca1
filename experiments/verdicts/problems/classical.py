"""Classical test functions whose critical points are all known: in closed form, from tables, or as polynomial roots.

References:
  Styblinski and Tang, Neural Networks 3, 467 (1990); Himmelblau, Applied Nonlinear Programming (1972); Dixon and Szego,
  Towards Global Optimisation 2 (1978), for the six-hump camel; Mueller and Brown, Theor. Chim. Acta 53, 75 (1979);
  Rastrigin, Systems of Extremal Control (1974); Maxwell, Treatise on Electricity and Magnetism (1873), for equilibria
  between charges; Baldi and Hornik, Neural Networks 2, 53 (1989), for the linear autoencoder.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq

import jaxgd
from experiments.verdicts.problems.problem import Known, Problem


def problems() -> list[Problem]:
    """Returns all of them."""
    return [
        *_separable(),
        *_polynomials(),
        _mueller_brown(),
        _charges("float64"),
        _charges("float32"),
        *_singular(),
        *_manifolds(),
    ]


def _uniform(size: int, low: float, high: float) -> Callable[[Any], Any]:
    return lambda key: jax.random.uniform(key, (size,), minval=low, maxval=high)


def _normal(*shape: int) -> Callable[[Any], Any]:
    return lambda key: jax.random.normal(key, shape)


def _products(roots: Sequence[float], curvatures: Sequence[float], value: Callable[[float], float], size: int) -> tuple:
    """Returns all critical points of a sum of one function over coordinates."""
    return tuple(
        Known(
            value=float(sum(value(roots[i]) for i in which)),
            negative=sum(curvatures[i] < 0 for i in which),
            params=np.array([roots[i] for i in which]),
        )
        for which in itertools.product(range(len(roots)), repeat=size)
    )


def _separable() -> list[Problem]:
    """Returns sums over coordinates: each point is a choice of a root in each."""
    source = "separable: products of the roots of one polynomial"
    tang = lambda x: (x**4 - 16 * x**2 + 5 * x) / 2
    well = lambda x: (x**2 - 1) ** 2
    tang_roots, well_roots = np.sort(np.roots([4.0, 0.0, -32.0, 5.0]).real), [-1.0, 0.0, 1.0]
    tang_points = _products(tang_roots, 6 * tang_roots**2 - 16, tang, 3)
    well_points = _products(well_roots, [8.0, -4.0, 8.0], well, 4)
    return [
        Problem(
            name=name,
            source=source,
            value=lambda x, f=f: jnp.sum(f(x)),
            sample=_uniform(size, low, -low),
            known=known,
            num_starts=400,
            dtype=dtype,
        )
        for name, f, known, size, low in (
            ("Styblinski-Tang", tang, tang_points, 3, -5.0),
            ("product of double wells", well, well_points, 4, -2.0),
        )
        for dtype in ("float64", "float32")
    ] + [_rastrigin()]


def _rastrigin() -> Problem:
    slope = lambda x: 2 * x + 20 * np.pi * np.sin(2 * np.pi * x)
    grid = np.linspace(-3.3, 3.3, 2000)
    roots = [brentq(slope, a, b, xtol=1e-15) for a, b in itertools.pairwise(grid) if slope(a) * slope(b) < 0]
    curvatures = [2 + 40 * np.pi**2 * np.cos(2 * np.pi * x) for x in roots]
    one = lambda x: 10 + x**2 - 10 * np.cos(2 * np.pi * x)
    return Problem(
        name="Rastrigin",
        source="separable: roots of one function, bracketed",
        value=lambda x: 10 * len(x) + jnp.sum(x**2 - 10 * jnp.cos(2 * jnp.pi * x)),
        sample=_uniform(2, -2.5, 2.5),
        known=_products(roots, curvatures, one, 2),
        num_starts=400,
        stop=jaxgd.Stop(gradient_norm=1e-6, max_steps=5000),
        optimizer="sgd:learning_rate=0.002",
    )


def _polynomials() -> list[Problem]:
    """Returns functions of two variables whose critical points are found by Newton's method from a grid."""
    himmelblau = lambda x: (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2
    camel = lambda x: (4 - 2.1 * x[0] ** 2 + x[0] ** 4 / 3) * x[0] ** 2 + x[0] * x[1] + (4 * x[1] ** 2 - 4) * x[1] ** 2
    return [
        Problem(
            name=name,
            source="all roots of the gradient, by Newton's method from a grid; their number is published",
            value=value,
            sample=_uniform(2, low, -low),
            known=functools.partial(_by_newton, value, _grid(low), -2 * low, num),
            num_starts=300,
            optimizer=optimizer,
        )
        for name, value, num, low, optimizer in (
            ("Himmelblau", himmelblau, 9, -5.0, None),
            ("six-hump camel", camel, 15, -2.0, "sgd:learning_rate=0.005"),
        )
    ]


def _grid(low: float) -> np.ndarray:
    return np.stack(np.meshgrid(*[np.linspace(low, -low, 41)] * 2), axis=-1).reshape(-1, 2) + 1e-3


def _cube(half: float) -> np.ndarray:
    return np.random.default_rng(0).uniform(-half, half, (4000, 3))


def _by_newton(value: Callable[[Any], Any], x: np.ndarray, radius: float, num: int) -> tuple[Known, ...]:
    """Returns the critical points within a radius that Newton's method finds from many places; their number is checked.

    Steps are no longer than a tenth of the radius, and solved by NumPy.
    """
    gradient, hessian = jax.jit(jax.vmap(jax.grad(value))), jax.jit(jax.vmap(jax.hessian(value)))
    for _ in range(100):
        step = np.linalg.solve(np.asarray(hessian(x)), np.asarray(gradient(x))[..., None])[..., 0]
        length = np.linalg.norm(step, axis=1, keepdims=True)
        x = x - np.where(length > 0, step * np.minimum(1, radius / 10 / np.maximum(length, 1e-300)), 0)
    stands = (np.linalg.norm(gradient(x), axis=1) < 1e-9) & (np.linalg.norm(x, axis=1) < radius)
    _, first = np.unique(x[stands].round(6), axis=0, return_index=True)
    points = x[stands][first]
    if len(points) != num:
        raise RuntimeError(f"{len(points)} critical points were found where there are {num}.")
    negative = np.sum(np.linalg.eigvalsh(np.asarray(hessian(points))) < 0, axis=1)
    return tuple(
        Known(value=float(value(place)), negative=int(index), params=place)
        for place, index in zip(points, negative, strict=True)
    )


def _mueller_brown() -> Problem:
    a, b, c = np.array([-1, -1, -6.5, 0.7]), np.array([0, 0, 11, 0.6]), np.array([-10, -10, -6.5, 0.7])
    height, x0, y0 = np.array([-200.0, -100, -170, 15]), np.array([1, 0, -0.5, -1]), np.array([0, 0.5, 1.5, 1])

    def value(x: Any) -> Any:
        dx, dy = x[0] - x0, x[1] - y0
        return jnp.sum(height * jnp.exp(a * dx**2 + b * dx * dy + c * dy**2))

    return Problem(
        name="Mueller-Brown",
        source="Mueller and Brown (1979); values recomputed",
        value=value,
        sample=lambda key: jnp.array([-1.2, -0.2]) + jax.random.uniform(key, (2,)) * jnp.array([2.2, 2.0]),
        known=(
            Known(value=-146.6995172),
            Known(value=-108.1667241),
            Known(value=-80.7678181),
            Known(value=-40.6648435, negative=1),
            Known(value=-72.2489401, negative=1),
        ),
        num_starts=300,
    )


def _charges(dtype: str) -> Problem:
    """Returns the squared field of six charges: its zeros are the equilibria of Maxwell's problem."""
    corners = np.array([(np.cos(t), np.sin(t), z) for t in (0, 2 * np.pi / 3, 4 * np.pi / 3) for z in (-0.8, 0.8)])

    def value(x: Any) -> Any:
        away = x - corners
        return jnp.sum(jnp.sum(away / jnp.sum(away**2, axis=1, keepdims=True) ** 1.5, axis=0) ** 2)

    return Problem(
        name="equilibria between charges",
        source="fifteen zeros by root finding, and by Morse theory of the potential",
        value=value,
        sample=lambda key: 0.5 * jax.random.normal(key, (3,)),
        known=functools.partial(_by_newton, value, _cube(1.3), 3.0, 43),
        num_starts=400,
        stop=jaxgd.Stop(gradient_norm=1e-9 if dtype == "float64" else 1e-4),
        dtype=dtype,
    )


def _singular() -> list[Problem]:
    """Returns functions whose critical point has zero curvature, and it alone."""
    monkey = lambda x: x[0] ** 3 - 3 * x[0] * x[1] ** 2
    quartic = lambda x: jnp.sum((x - 1.0) ** 4)
    half = lambda x: (x[0] - 2) ** 2 + (x[1] - 1) ** 4
    creeping = lambda x: x[0] + jnp.sin(x[0])
    bounded_monkey = lambda x: monkey(x) + jnp.sum(x**2) ** 3
    singular = lambda size, zeros, value=0.0, place=0.0: (Known(value=value, zeros=zeros, params=np.full(size, place)),)
    monkeys = tuple(
        Known(
            value=-0.25,
            params=0.5 ** (1 / 3) * np.array([np.cos(t), np.sin(t)]),
        )
        for t in (np.pi, np.pi / 3, -np.pi / 3)
    )
    return [
        Problem(name="quartic bowl", source="closed form", value=quartic, sample=_normal(3),
                known=singular(3, 3, 0.0, 1.0)),
        Problem(name="quartic in one of two", source="closed form", value=half, sample=_normal(2),
                known=(Known(value=0.0, zeros=1, params=np.array([2.0, 1.0])),)),
        Problem(name="monkey saddle, bounded", source="closed form", value=bounded_monkey, sample=_normal(2),
                known=(*singular(2, 2), *monkeys)),
        Problem(name="x + sin x", source="closed form; descents creep to the inflection at -pi", value=creeping,
                sample=lambda key: jnp.array([2.5]) + 0.1 * jax.random.normal(key, (1,)),
                known=(Known(value=-np.pi, zeros=1, params=np.array([-np.pi])),),
                optimizer="sgd:learning_rate=0.1", stop=jaxgd.Stop(gradient_norm=1e-6, max_steps=50_000),
                num_starts=20),
    ]  # fmt: skip


def _manifolds() -> list[Problem]:
    """Returns functions whose minima are not isolated."""
    sphere = lambda x: (jnp.sum(x**2) - 1) ** 2
    hyperbola = lambda x: (x[0] * x[1] - 1) ** 2 / 2
    matrix = np.diag([3.0, 2.0, 1.0])
    factors = lambda u: jnp.sum((u @ u.T - matrix) ** 2) / 4
    covariance = np.diag([4.0, 2.0, 1.0, 0.5])
    autoencoder = lambda p: jnp.trace(
        (p["out"] @ p["in"] - jnp.eye(4)) @ covariance @ (p["out"] @ p["in"] - jnp.eye(4)).T
    )
    pairs = list(itertools.combinations(range(4), 2))
    return [
        Problem(name="sphere", source="closed form", value=sphere, sample=_normal(3),
                known=(Known(value=0.0, dimension=2), Known(value=1.0, negative=3, params=np.zeros(3)))),
        Problem(name="hyperbola", source="closed form", value=hyperbola, sample=_normal(2),
                known=(Known(value=0.0, dimension=1), Known(value=0.5, negative=1, params=np.zeros(2)))),
        Problem(name="factorisation of a matrix", source="closed form: rotations of the square root", value=factors,
                sample=_normal(3, 2), known=(Known(value=0.25, dimension=1),)),
        Problem(name="linear autoencoder", source="Baldi and Hornik (1989): every pair of principal axes is critical",
                value=autoencoder,
                sample=lambda key: {"in": jax.random.normal(key, (2, 4)),
                                    "out": jax.random.normal(jax.random.fold_in(key, 1), (4, 2))},
                known=tuple(Known(value=7.5 - float(sum(np.diag(covariance)[list(pair)])), dimension=4,
                                  negative=sum(covariance[j, j] > covariance[i, i] for i in pair for j in range(4)
                                               if j not in pair)) for pair in pairs)),
    ]  # fmt: skip
