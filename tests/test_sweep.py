"""Sweeps: the same starts under every setting, as if each had run alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd import Landscape, Stop

WELL = Landscape(value=lambda x: jnp.sum((x**2 - 1) ** 2), sample=lambda key: jax.random.normal(key, (2,)))


def test_every_setting_gives_what_it_gives_alone(key):
    stop = Stop(max_steps=50)
    found = jaxgd.sweep(WELL, optax.sgd, 5, key=key, stop=stop, learning_rate=[0.01, 0.05], momentum=[0.5])
    assert found.settings[1] == {"learning_rate": 0.05, "momentum": 0.5}
    for setting, ends in zip(found.settings, found.ends, strict=True):
        alone = jaxgd.descend(WELL, optax.sgd(**setting), 5, key=key, stop=stop)
        np.testing.assert_array_equal(ends.start_number, np.arange(5))
        np.testing.assert_array_equal(ends.num_steps, alone.num_steps)
        np.testing.assert_allclose(ends.params, alone.params, rtol=1e-12)
    assert "learning_rate=0.05, momentum=0.5" in str(found)


def test_noise_is_paired_across_settings(key):
    slope = Landscape(value=lambda x: 0.0 * x, sample=lambda k: jnp.zeros(()))
    tilted = Landscape(value=lambda x: x, sample=slope.sample)
    walk = lambda size: optax.GradientTransformationExtraArgs(
        lambda params: optax.EmptyState(),
        lambda updates, state, params=None, *, key, **extra: (size * jax.random.normal(key), state),
    )
    found = jaxgd.sweep(tilted, walk, 6, key=key, stop=Stop(max_steps=1), size=[1.0, 2.0])
    np.testing.assert_allclose(found.ends[1].params, 2 * found.ends[0].params)
    assert len(np.unique(found.ends[0].params)) == 6


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (dict(learning_rate=0.1), "nothing to sweep"),
        (dict(learning_rate=[]), "at least one"),
        (dict(learning_rate=[0.1, float("nan")]), "finite numbers"),
        (dict(learning_rate=["a"]), "list of numbers"),
    ],
)
def test_bad_settings_are_refused(key, asked, message):
    with pytest.raises((jaxgd.InputValueError, jaxgd.InputTypeError), match=message):
        jaxgd.sweep(WELL, optax.sgd, 5, key=key, **asked)
