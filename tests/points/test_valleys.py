"""Where critical points are not isolated: valleys have a dimension and are one entry, singular points stay degenerate."""

import jax
import jax.numpy as jnp
import pytest

import jaxgd
from jaxgd import Landscape

VALLEYS = {
    "sphere": (lambda x: (jnp.sum(x**2) - 1) ** 2, 3, 2, 1),
    "hyperbola": (lambda x: (x[0] * x[1] - 1) ** 2, 2, 1, 2),
    "scale-invariant": (lambda x: jnp.sum((x / jnp.linalg.norm(x) - jnp.array([1.0, 0.0])) ** 2), 2, 1, 1),
}


@pytest.mark.parametrize("name", VALLEYS)
def test_ends_on_a_valley_are_one_entry_of_its_dimension(name, key):
    value, dim, dimension, count = VALLEYS[name]
    found = jaxgd.survey(Landscape(value=value, sample=lambda k: jax.random.normal(k, (dim,))), num_starts=40, key=key)
    assert found.points.verdict_counts() == {"minimum": 40}
    assert set(found.points.dimension.tolist()) == {dimension}
    assert len(found.catalogue) == count


SINGULAR = {
    "x^4": (lambda x: x[0] ** 4, [1e-3]),
    "crossing of x^2 y^2": (lambda x: x[0] ** 2 * x[1] ** 2, [0.0, 0.0]),
    "monkey saddle": (lambda x: x[0] ** 3 - 3 * x[0] * x[1] ** 2, [1e-3, 2e-3]),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_a_singular_point_is_degenerate_and_on_no_valley(name):
    value, at = SINGULAR[name]
    landscape = Landscape(value=value, sample=lambda k: jax.random.normal(k, (len(at),)))
    points = jaxgd.classify(landscape, jnp.asarray([at]))
    assert points.verdict_counts() == {"degenerate": 1}
    assert points.dimension[0] == -1
