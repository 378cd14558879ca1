"""Whether the value falls along a flat direction, where that is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from jaxgd import Landscape

SLOW = pytest.mark.slow
KNOWN = {
    "x^4 does not": (lambda x: x**4, 1e-3, 0),
    "-x^4 does": (lambda x: -(x**4), 1e-3, 1),
    "x^3 does": (lambda x: x**3, 1e-3, 1),
    "x + sin x at -pi does": (lambda x: x + jnp.sin(x), -np.pi + 1e-4, 1),
    "monkey saddle does": (lambda x: x[0] ** 3 - 3 * x[0] * x[1] ** 2, [1e-3, 2e-3], 1),
    "deep linear does": (lambda x: 0.5 * (x[0] * x[1] * x[2] - 1) ** 2, [1e-5, -1e-5, 2e-5], 1),
    "small cubic beside a quartic does": (lambda x: x[0] ** 2 + 0.01 * x[1] ** 3 + x[1] ** 4, [1e-4, 1e-4], 1),
    "along a parabola between two others does": (
        lambda x: (x[0] + x[1] ** 2) * (x[0] + 2 * x[1] ** 2),
        [0.0, 0.0],
        1,
    ),
    "bent upwards does not": (lambda x: x[0] ** 2 + x[0] * x[1] ** 2 + 2 * x[1] ** 4, [0.0, 1e-4], 0),
    "valley is not known": (lambda x: x[0] ** 2 + 0.0 * x[1], [0.1, 0.3], -1),
    "two quartics are not known": (lambda x: x[0] ** 2 + x[1] ** 4 + x[2] ** 4, [1e-4, 1e-4, 1e-4], -1),
    "fifth powers are not known": (lambda x: x**5, 1e-2, -1),
}
FAST = ("x^4 does not",)


@pytest.mark.parametrize("name", [name if name in FAST else pytest.param(name, marks=SLOW) for name in KNOWN])
def test_descent_along_a_flat_direction(name):
    value, at, expected = KNOWN[name]
    at = jnp.asarray(at, jnp.float64)
    landscape = Landscape(value=value, sample=lambda key: jax.random.normal(key, at.shape))
    points = jaxgd.classify(landscape, at[None], with_descends=True)
    assert points.verdict_counts() == {"degenerate": 1}
    assert points.descends[0] == expected


@pytest.mark.slow
@pytest.mark.parametrize("offset", [1e-2, 1e-3, 1e-5, 1e-8])
def test_a_quartic_is_never_said_to_fall_however_badly_its_point_is_placed(offset):
    from jaxgd.curvature import spectrum
    from jaxgd.points.flat_directions import descends

    value = lambda x: jnp.sum(x**4)
    x, curvature = jnp.asarray([offset]), 12 * offset**2
    at = spectrum(jnp.asarray([[curvature]]))
    assert descends(value, jax.grad(value), x, at, jnp.asarray([4 * curvature + 1e-15]), jnp.asarray(1.0)) != 1
