import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd import landscapes
from jaxgd.landscapes import rosenbrock


@pytest.mark.parametrize(("dim", "num_minima"), [(3, 1), (4, 2), (30, 2), (31, None)])
def test_second_minimum_exists_from_dimension_four(dim, num_minima, eigenvalues):
    landscape = rosenbrock(dim=dim)
    assert landscape.facts.num_minima == num_minima
    for point in landscape.facts.points:
        value, grad = landscape.evaluate(jnp.asarray(point.params))
        assert value == pytest.approx(point.value, abs=1e-12)
        np.testing.assert_allclose(grad, 0, atol=1e-9)
        assert eigenvalues(landscape, jnp.asarray(point.params)).min() > 0


def test_value_matches_scipy(key):
    from scipy.optimize import rosen

    x = jax.random.normal(key, (6,))
    np.testing.assert_allclose(landscapes.rosenbrock(dim=6).value(x), rosen(np.asarray(x)), rtol=1e-13)
