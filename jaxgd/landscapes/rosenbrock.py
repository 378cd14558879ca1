"""The curved valley of Rosenbrock, in any dimension."""

from typing import Any

import jax
import numpy as np
import scipy  # its rooms load when they are entered

from jaxgd.base import Array, Facts, KnownPoint, Landscape, Stop
from jaxgd.landscapes import checks


def rosenbrock(dim: int = 2, *, half_width: float = 2.0) -> Landscape:
    """Returns the extended Rosenbrock function: one minimum up to dimension 3, two from 4 to 30.

        value(x) = sum_{i < dim} 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2.

    The global minimum is (1, ..., 1), value 0. From dimension 4 on there is a second one close to (-1, 1,
    ..., 1), with value 3.70 (dim 4) rising to 3.99. The valley between is curved, with curvatures of 0.5
    along and 1,000 across, so plain gradient descent is slow: measure it by what is left, not by its steps.

    Args:
      dim: number of coordinates, at least 2.
      half_width: half the side of the box around the origin from which starts are drawn uniformly, above 0.

    Example:
      >>> [f"{point.value:.4f}" for point in rosenbrock(dim=4).facts.points]
      ['0.0000', '3.7014']

    References:
      Shang and Qiu, Evolutionary Computation 14, 119 (2006); Kok and Sandrock, ibid. 17, 437 (2009).
    """
    dim = checks.integer("dim", dim, at_least=2)
    half_width = checks.real("half_width", half_width, above=0)

    def sample(key: jax.Array) -> Array:
        return jax.random.uniform(key, (dim,), minval=-half_width, maxval=half_width)

    points = [KnownPoint(value=0.0, index=0, params=np.ones(dim), name="global minimum")]
    if 4 <= dim <= 30:
        other = scipy.optimize.root(_gradient, np.concatenate([[-1.0], np.ones(dim - 1)]), tol=1e-14).x
        points.append(KnownPoint(value=float(_value(other)), index=0, params=other, name="local minimum"))
    return Landscape(
        name="rosenbrock",
        value=_value,
        sample=sample,
        facts=Facts(
            source="sum of squares; the second minimum polished from (-1, 1, ..., 1)",
            points=tuple(points),
            num_minima=len(points) if dim <= 30 else None,
        ),
        default_optimizer="lbfgs:max_step=0.5",
        default_stop=Stop(gradient_norm=1e-8, max_steps=20_000),
    )


def _value(x: Any) -> Any:
    head, tail = x[:-1], x[1:]
    return (100 * (tail - head**2) ** 2 + (1 - head) ** 2).sum()


def _gradient(x: np.ndarray) -> np.ndarray:
    """Returns the gradient in float64 whatever the session's precision is, for the facts."""
    head, tail = x[:-1], x[1:]
    lift = 200 * (tail - head**2)
    grad = np.zeros_like(x)
    grad[1:] += lift
    grad[:-1] -= 2 * head * lift + 2 * (1 - head)
    return grad
