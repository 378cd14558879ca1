"""NIST's reference data for nonlinear regression: 27 sums of squares with certified parameters.

The function is the residual sum of squares as anybody writes it, in the parameters' own units (up to nine powers of ten
apart). Starts are NIST's two, one or the other, each parameter off by 2 % at random. Certified parameters and residual
sums of squares are the listed minimum, which is judged by itself as well; many descents of a general optimizer do not
arrive there, and then have to be undecided.

`nist_strd.json` holds NIST's numbers (a work of the United States government, in the public domain).

References:
  NIST/ITL Statistical Reference Datasets, Nonlinear Regression.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.verdicts.problems.problem import Known, Problem

SOURCE = "NIST StRD"
DATA = json.loads(Path(__file__).with_name("nist_strd.json").read_text())
SMALLEST = 1e-6  # curvature, relative to the largest after diagonal scaling, that float64 surely tells from zero


def _gauss(b: Any, x: Any) -> Any:
    bump = lambda height, centre, width: height * jnp.exp(-((x - centre) ** 2) / width**2)
    return b[0] * jnp.exp(-b[1] * x) + bump(*b[2:5]) + bump(*b[5:8])


def _lanczos(b: Any, x: Any) -> Any:
    return sum(b[i] * jnp.exp(-b[i + 1] * x) for i in (0, 2, 4))


def _cubic_over_cubic(b: Any, x: Any) -> Any:
    return (b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3) / (1 + b[4] * x + b[5] * x**2 + b[6] * x**3)


def _enso(b: Any, x: Any) -> Any:
    wave = lambda period, cosine, sine: (
        cosine * jnp.cos(2 * jnp.pi * x / period) + sine * jnp.sin(2 * jnp.pi * x / period)
    )
    return b[0] + wave(12, b[1], b[2]) + wave(b[3], b[4], b[5]) + wave(b[6], b[7], b[8])


MODELS: dict[str, Callable[[Any, Any], Any]] = {
    "Bennett5": lambda b, x: b[0] * (b[1] + x) ** (-1 / b[2]),
    "BoxBOD": lambda b, x: b[0] * (1 - jnp.exp(-b[1] * x)),
    "Chwirut1": lambda b, x: jnp.exp(-b[0] * x) / (b[1] + b[2] * x),
    "Chwirut2": lambda b, x: jnp.exp(-b[0] * x) / (b[1] + b[2] * x),
    "DanWood": lambda b, x: b[0] * x ** b[1],
    "Eckerle4": lambda b, x: b[0] / b[1] * jnp.exp(-0.5 * ((x - b[2]) / b[1]) ** 2),
    "ENSO": _enso,
    "Gauss1": _gauss,
    "Gauss2": _gauss,
    "Gauss3": _gauss,
    "Hahn1": _cubic_over_cubic,
    "Kirby2": lambda b, x: (b[0] + b[1] * x + b[2] * x**2) / (1 + b[3] * x + b[4] * x**2),
    "Lanczos1": _lanczos,
    "Lanczos2": _lanczos,
    "Lanczos3": _lanczos,
    "MGH09": lambda b, x: b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3]),
    "MGH10": lambda b, x: b[0] * jnp.exp(b[1] / (x + b[2])),
    "MGH17": lambda b, x: b[0] + b[1] * jnp.exp(-x * b[3]) + b[2] * jnp.exp(-x * b[4]),
    "Misra1a": lambda b, x: b[0] * (1 - jnp.exp(-b[1] * x)),
    "Misra1b": lambda b, x: b[0] * (1 - (1 + b[1] * x / 2) ** (-2)),
    "Misra1c": lambda b, x: b[0] * (1 - (1 + 2 * b[1] * x) ** (-0.5)),
    "Misra1d": lambda b, x: b[0] * b[1] * x / (1 + b[1] * x),
    "Nelson": lambda b, x: b[0] - b[1] * x[:, 0] * jnp.exp(-b[2] * x[:, 1]),
    "Rat42": lambda b, x: b[0] / (1 + jnp.exp(b[1] - b[2] * x)),
    "Rat43": lambda b, x: b[0] / (1 + jnp.exp(b[1] - b[2] * x)) ** (1 / b[3]),
    "Roszman1": lambda b, x: b[0] - b[1] * x - jnp.arctan(b[2] / (x - b[3])) / jnp.pi,
    "Thurber": _cubic_over_cubic,
}
"""By name: (parameters, predictor) -> response."""


def problems() -> list[Problem]:
    """Returns the 27 regressions."""
    return [problem(name) for name in MODELS]


def problem(name: str) -> Problem:
    """Returns one of them by NIST's name."""
    data = DATA[name]
    x, y, certified = np.array(data["x"]), np.array(data["y"]), np.array(data["certified"])
    value = functools.partial(_residual_sum_of_squares, MODELS[name], x, np.log(y) if name == "Nelson" else y)
    minimum = Known(value=data["residual_sum_of_squares"], params=certified)
    return Problem(
        name=name,
        source=SOURCE,
        value=value,
        sample=functools.partial(_around, np.array(data["starts"])),
        known=(minimum, *ALSO_KNOWN.get(name, ())),
        can_tell=lambda: _smallest_curvature(value, certified) > SMALLEST,
    )


ALSO_KNOWN: dict[str, tuple[Known, ...]] = {
    "Eckerle4": (  # both signs of the width are the same curve
        Known(value=1.4635887487e-3, params=np.array([-1.5543827178, -4.0888321754, 451.54121844])),
    ),
    "ENSO": (Known(value=889.080781),),
    # Two of the three exponentials are the same: the best fit of two.
    "Lanczos1": (Known(value=4.2906202074e-6, dimension=1, negative=None),),
    "Lanczos2": (Known(value=4.29822088e-6, dimension=1, negative=None),),
    "Lanczos3": (Known(value=4.34655327837e-6, dimension=1, negative=None),),
    "Rat43": (
        Known(value=1076461.5963733334, dimension=3),
    ),  # constant in floating point: the mean, where exponentials vanish
    "Thurber": (Known(value=14796.6539), Known(value=15215.8147), Known(value=15470.585, negative=1)),
}
"""Further critical points that descents from these starts end at: at each, Newton's method, diagonally scaled, stands
still to 1e-12, and the scaled Hessian has this inertia."""


def _residual_sum_of_squares(model: Any, x: np.ndarray, y: np.ndarray, b: Any) -> Any:
    return jnp.sum((y - model(b, x)) ** 2)


def _around(starts: np.ndarray, key: Any) -> Any:
    key_which, key_off = jax.random.split(key)
    start = jnp.asarray(starts)[jax.random.randint(key_which, (), 0, 2)]
    return start * (1 + 0.02 * jax.random.normal(key_off, start.shape))


def _smallest_curvature(value: Any, b: np.ndarray) -> float:
    """Returns the smallest curvature at `b`, relative to the largest after diagonal scaling."""
    hessian = np.asarray(jax.hessian(value)(jnp.asarray(b)))
    scale = 1 / np.sqrt(np.diag(hessian))
    eigenvalues = np.linalg.eigvalsh(scale[:, None] * hessian * scale)
    return float(eigenvalues[0] / eigenvalues[-1])
