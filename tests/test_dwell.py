import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd import InputValueError, Landscape, dwell_by_index


def test_index_along_descents_is_that_of_the_closed_form(key):
    """In each coordinate of sum x^4/4 - x^2/2 the curvature 3 x^2 - 1 is negative until x passes 1/sqrt 3."""
    landscape = Landscape(
        value=lambda p: jnp.sum(p["a"] ** 4 / 4 - p["a"] ** 2 / 2) + p["b"] ** 2,
        sample=lambda key: {"a": jnp.ones(2), "b": jnp.ones(())},
    )
    starts = {"a": jnp.array([[0.01, -0.2], [0.9, 1e-6], [1.0, 1.1]]), "b": jnp.zeros(3)}
    seen = dwell_by_index(landscape, optax.sgd(0.1), key=key, starts=starts, num_steps=60, every=3)
    x, expected = np.array(starts["a"]), []
    for step in range(61):
        if step % 3 == 0:
            expected.append(np.sum(3 * x**2 < 1, axis=1))
        x = x - 0.1 * (x**3 - x)
    np.testing.assert_array_equal(seen.index, np.stack(expected, axis=1))
    np.testing.assert_array_equal(seen.steps, np.arange(0, 61, 3))
    ticks, escaped = seen.spells.of(1)
    assert escaped.tolist() == [True, False]  # the lane that starts at 1e-6 is still there at the end
    assert ticks[1] == 60
    assert "3 descents, each watched for 60 ticks" in str(seen)


def test_too_many_parameters_are_refused(key):
    large = Landscape(value=jnp.sum, sample=lambda key: jnp.ones(1025))
    with pytest.raises(InputValueError, match="at most 1024 parameters; this landscape has 1025"):
        dwell_by_index(large, optax.sgd(0.1), 1, key=key, num_steps=1)
    with pytest.raises(InputValueError, match="`every`"):
        dwell_by_index(jaxgd.landscapes.quartic(), optax.sgd(0.1), 1, key=key, num_steps=1, every=0)


@pytest.mark.slow
def test_index_that_is_not_known_is_minus_one(key):
    cliff = Landscape(value=lambda x: jnp.where(x > 0, x**2, jnp.nan), sample=lambda key: jnp.ones(()))
    seen = dwell_by_index(cliff, optax.sgd(0.7), 1, key=key, num_steps=4, every=1)
    assert seen.index[0, 0] == 0
    assert seen.index[0, -1] == -1
    assert "nan" not in str(seen)
    assert jax.tree.leaves(seen.spells.index)
