"""Saddles by themselves, to see how descent leaves them."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Array, Facts, KnownPoint, Landscape, Stop
from jaxgd.landscapes import checks


def quadratic_saddle(
    dim: int = 2,
    index: int = 1,
    *,
    descent_curvature: float = 1.0,
    ascent_curvature: float = 1.0,
    start: str = "normal",
    scale: float = 1.0,
) -> Landscape:
    """Returns a quadratic with `index` directions down and the others up; with index 0, a bowl.

        value(x) = -a/2 sum_{i < index} x_i^2 + b/2 sum_{i >= index} x_i^2.

    Gradient descent multiplies a coordinate by 1 + learning_rate a each step on the way down and by 1 -
    learning_rate b on the way up, so all escape times are known exactly. Unbounded below: descents that are
    not stopped by an event or a step limit diverge, in at most ln(1e308) / ln(1 + learning_rate a) steps.

    Args:
      dim: number of coordinates, at least 1.
      index: number of directions down, from 0 to `dim`; they come first.
      descent_curvature: a, above 0.
      ascent_curvature: b, above 0.
      start: "normal" for N(0, scale^2) or "uniform" for U[-scale, scale] in every coordinate.
      scale: width of the start law, at least 0.

    Example:
      >>> saddle = quadratic_saddle(dim=3, index=2)
      >>> float(saddle.value(jnp.ones(3)))
      -0.5
    """
    dim = checks.integer("dim", dim, at_least=1)
    index = checks.integer("index", index, at_least=0, at_most=dim)
    down = checks.real("descent_curvature", descent_curvature, above=0)
    up = checks.real("ascent_curvature", ascent_curvature, above=0)
    checks.choice("start", start, ("normal", "uniform"))
    scale = checks.real("scale", scale, at_least=0)
    curvatures = np.where(np.arange(dim) < index, -down, up)

    def value(x: Array) -> Array:
        return jnp.sum(jnp.asarray(curvatures, x.dtype) * x**2) / 2

    def sample(key: jax.Array) -> Array:
        if start == "normal":
            return scale * jax.random.normal(key, (dim,))
        return scale * jax.random.uniform(key, (dim,), minval=-1.0, maxval=1.0)

    return Landscape(
        name="quadratic_saddle",
        value=value,
        sample=sample,
        facts=Facts(
            source="linear gradient",
            points=(KnownPoint(value=0.0, index=index, params=np.zeros(dim)),),
            num_minima=int(index == 0),
            num_critical_points=1,
            max_learning_rate=2 / up if index == 0 else None,
        ),
        default_optimizer=f"sgd:learning_rate={0.1 / max(down, up):g}",
        default_stop=Stop(gradient_norm=1e-8, max_steps=10_000),
    )


def monkey_saddle(*, half_width: float = 1.5) -> Landscape:
    """Returns a saddle with three ways down, walled in by a quartic bowl.

        value(x, y) = x^3 - 3 x y^2 + 3/4 (x^2 + y^2)^2 = r^3 cos(3 theta) + 3/4 r^4.

    The gradient and the whole Hessian vanish at the origin, yet it is no minimum: a saddle that curvature
    cannot show, to be called `degenerate`. Near it descent slows down like 1 / time. The three minima lie at
    r = 1, theta = 60, 180 and 300 degrees, with value -1/4 and curvatures 3 and 9.

    Args:
      half_width: half the side of the box around the origin from which starts are drawn uniformly, above 0.

    Example:
      >>> float(monkey_saddle().value(jnp.array([-1.0, 0.0])))
      -0.25
    """
    half_width = checks.real("half_width", half_width, above=0)

    def value(params: Array) -> Array:
        x, y = params[0], params[1]
        return x**3 - 3 * x * y**2 + 0.75 * (x**2 + y**2) ** 2

    def sample(key: jax.Array) -> Array:
        return jax.random.uniform(key, (2,), minval=-half_width, maxval=half_width)

    angles = np.pi * np.array([1, 3, 5]) / 3
    minima = tuple(
        KnownPoint(value=-0.25, index=0, params=np.array([np.cos(angle), np.sin(angle)]), name="minimum")
        for angle in angles
    )
    return Landscape(
        name="monkey_saddle",
        value=value,
        sample=sample,
        facts=Facts(
            source="stationary points of r^3 cos(3 theta) + 3/4 r^4",
            points=(*minima, KnownPoint(value=0.0, index=0, params=np.zeros(2), name="monkey saddle")),
            num_minima=3,
            num_critical_points=4,
            max_learning_rate=2 / 9,
        ),
        default_optimizer="sgd:learning_rate=0.02",
        default_stop=Stop(gradient_norm=1e-8, max_steps=20_000),
    )
