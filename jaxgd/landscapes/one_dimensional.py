"""Functions of one number: the demonstrations of textbooks, with all their stationary points.

The parameter is a scalar array of shape (). Starts are uniform on [start - spread, start + spread]; with
`spread=0` every start is `start`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # its subpackages are imported on first use

from jaxgd.base import Array, Facts, KnownPoint, Landscape, Stop
from jaxgd.landscapes import checks


def x_plus_sin_x(*, start: float = 2.5, spread: float = 0.5) -> Landscape:
    """Returns x + sin x, on which descent creeps towards an inflection that is no minimum.

        value(x) = x + sin(x),    slope(x) = 1 + cos(x) >= 0.

    The slope vanishes, together with the curvature, at the odd multiples of pi, and nowhere changes sign.
    Gradient descent from (-pi, pi) with a learning rate below 2 approaches -pi from the right like 2 /
    (learning_rate * steps): never fast, never past it. A test of the gradient at 1e-6 stops 0.0014 short of
    it. The right verdict is `degenerate`; a method that takes long steps may jump past -pi and fall for
    ever.

    Args:
      start: middle of the start law.
      spread: half the width of the start law, at least 0.

    Example:
      >>> creep = x_plus_sin_x()
      >>> x = 2.5
      >>> for _ in range(100):
      ...     x = x - float(creep.gradient(jnp.asarray(x)))
      >>> print(f"{x:.4f}")  # still on its way to -3.1416
      -3.1218
    """
    points = tuple(
        KnownPoint(value=k * np.pi, index=0, params=np.asarray(k * np.pi), name="inflection") for k in (1, -1, -3)
    )
    return _scalar_landscape(
        "x_plus_sin_x",
        lambda x: x + jnp.sin(x),
        start,
        spread,
        Facts(source="slope 1 + cos x", points=points, num_minima=0),
        "sgd:learning_rate=1.0",
    )


def sine_parabola(*, start: float = 0.0, spread: float = 8.0) -> Landscape:
    """Returns x^2 - 25 sin x: climbing 25 sin x - x^2 uphill, told as a descent.

        value(x) = x^2 - 25 sin(x).

    Small steps from -2 end at -4.35641 (value -4.45434), not at the global minimum 1.45420 (value -22.7156):
    that start is `start=-2, spread=0`. There, gradient descent is stable only below a learning rate of
    0.0786.

    Args:
      start: middle of the start law.
      spread: half the width of the start law, at least 0.

    Example:
      >>> best = min(sine_parabola().facts.points, key=lambda point: point.value)
      >>> print(f"{best.params:.5f} {best.value:.4f}")
      1.45420 -22.7156
    """
    return _scalar_landscape(
        "sine_parabola",
        _sine_parabola,
        start,
        spread,
        stationary_facts(
            "all roots of 2x = 25 cos x, bracketed on |x| <= 12.5",
            lambda x: _sine_parabola(x, np.sin),
            lambda x: 2 * x - 25 * np.cos(x),
            lambda x: 2 + 25 * np.sin(x),
            (-13.0, 13.0),
        ),
        "sgd:learning_rate=0.01",
    )


def _sine_parabola(x: Any, sin: Callable[[Any], Any] = jnp.sin) -> Any:
    return x**2 - 25 * sin(x)


def quartic_two_wells(*, start: float = 1.5, spread: float = 2.5) -> Landscape:
    """Returns a quartic with two unequal wells, its lower one at height zero.

        value(x) = x (x - 1) (x - 3)^2 + 1.62276.

    Minima at (9 - sqrt 33) / 8 = 0.40693 (value 0.0000 to the digits of the constant) and at 3 (value
    1.62276), a maximum at (9 + sqrt 33) / 8 = 1.84307. From 4, gradient descent ends at 3.

    Args:
      start: middle of the start law.
      spread: half the width of the start law, at least 0.

    Example:
      >>> [f"{point.params:.5f}" for point in quartic_two_wells().facts.points]
      ['0.40693', '1.84307', '3.00000']
    """
    value = lambda x: x * (x - 1) * (x - 3) ** 2 + 1.62276
    facts = stationary_facts(
        "roots of (x - 3)(4x^2 - 9x + 3)",
        value,
        lambda x: (x - 3) * (4 * x**2 - 9 * x + 3),
        lambda x: 12 * x**2 - 42 * x + 30,
        (-1.0, 5.0),
    )
    return _scalar_landscape("quartic_two_wells", value, start, spread, facts, "sgd:learning_rate=0.01")


def double_well_1d(*, start: float = 0.0, spread: float = 1.5) -> Landscape:
    """Returns the double well of escape theory, for one particle.

        value(x) = x^4 / 4 - x^2 / 2.

    Minima at -1 and 1 (value -1/4, curvature 2), a maximum at 0 (curvature -1): the barrier is 1/4. For first
    passages from the left well take `start=-1, spread=0`.

    Args:
      start: middle of the start law.
      spread: half the width of the start law, at least 0.

    Example:
      >>> [point.value for point in double_well_1d().facts.points if point.index == 0]
      [-0.25, -0.25]
    """
    facts = stationary_facts("roots of x^3 - x", double_well, *DOUBLE_WELL_DERIVATIVES, (-2.0, 2.5))
    return _scalar_landscape("double_well_1d", double_well, start, spread, facts, "sgd:learning_rate=0.1")


def double_well(x: Any) -> Any:
    """Returns x^4 / 4 - x^2 / 2 of each entry."""
    return x**4 / 4 - x**2 / 2


DOUBLE_WELL_DERIVATIVES = (lambda x: x**3 - x, lambda x: 3 * x**2 - 1)
"""Slope and curvature of `double_well`."""


def quartic(*, start: float = 0.0, spread: float = 1.0) -> Landscape:
    """Returns x^4, whose only minimum has no curvature.

        value(x) = x^4.

    Gradient descent nears 0 like (8 * learning_rate * steps)^(-1/2), slower than any geometric rate; Newton's
    method multiplies x by 2/3 a step. Judged by its Hessian the minimum is `degenerate`.

    Args:
      start: middle of the start law.
      spread: half the width of the start law, at least 0.

    Example:
      >>> slope = quartic().gradient
      >>> x = 1.0
      >>> for _ in range(1000):
      ...     x = x - 0.1 * float(slope(jnp.asarray(x)))
      >>> print(f"{x:.4f} {(8 * 0.1 * 1000) ** -0.5:.4f}")
      0.0352 0.0354
    """
    facts = Facts(
        source="x^4 >= 0",
        points=(KnownPoint(value=0.0, index=0, params=np.asarray(0.0), name="degenerate minimum"),),
        num_minima=1,
        num_critical_points=1,
    )
    return _scalar_landscape("quartic", lambda x: x**4, start, spread, facts, "sgd:learning_rate=0.1")


def stationary_facts(
    source: str,
    value: Callable[[Any], Any],
    slope: Callable[[Any], Any],
    curvature: Callable[[Any], Any],
    interval: tuple[float, float],
) -> Facts:
    """Returns the facts of a function of one number: its stationary points inside `interval`, left to right.

    Args:
      source: how the facts are derived.
      value: the function, for floats.
      slope: its derivative, for floats and arrays; every root must be a change of sign.
      curvature: its second derivative.
      interval: where to look, with roots at least 1/1000 of it apart.
    """
    roots = sign_changes(slope, interval)
    curvatures = [float(curvature(root)) for root in roots]
    points = tuple(
        KnownPoint(value=float(value(root)), index=int(bend < 0), params=np.asarray(root))
        for root, bend in zip(roots, curvatures, strict=True)
    )
    return Facts(
        source=source,
        points=points,
        num_minima=sum(bend > 0 for bend in curvatures),
        num_critical_points=len(roots),
        max_learning_rate=2 / max(curvatures),
    )


def sign_changes(slope: Callable[[Any], Any], interval: tuple[float, float]) -> list[float]:
    """Returns the roots of `slope` in `interval` that a grid of 10,000 cells tells apart."""
    grid = np.linspace(*interval, 10_001)
    is_up = np.asarray(slope(grid)) >= 0
    cells = np.flatnonzero(is_up[1:] != is_up[:-1])
    return [scipy.optimize.brentq(slope, *grid[cell : cell + 2], xtol=1e-15, rtol=1e-15) for cell in cells.tolist()]


def _scalar_landscape(
    name: str, value: Callable[[Any], Any], start: float, spread: float, facts: Facts, optimizer: str
) -> Landscape:
    start = checks.real("start", start)
    spread = checks.real("spread", spread, at_least=0)

    def sample(key: jax.Array) -> Array:
        return start + spread * jax.random.uniform(key, (), minval=-1.0, maxval=1.0)

    return Landscape(
        name=name,
        value=value,
        sample=sample,
        facts=facts,
        default_optimizer=optimizer,
        default_stop=Stop(gradient_norm=1e-8, max_steps=20_000),
    )
