import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgd.transforms import monitor

CURVATURE = jnp.array([4.0, 1.0])


def bowl(x):
    return jnp.sum(CURVATURE * x * x) / 2


def test_critical_step_is_that_of_the_quadratic_and_moves_are_unchanged():
    inner, x = optax.sgd(0.1, momentum=0.5), jnp.array([1.0, -2.0])
    watched = monitor(inner, every=2)
    state, plain = watched.init(x), inner.init(x)
    gradient = CURVATURE * x
    move, state = watched.update(gradient, state, x, value=bowl(x), value_fn=bowl)
    np.testing.assert_array_equal(move, inner.update(gradient, plain, x)[0])
    exact = 2 * gradient @ gradient / (0.1 * gradient @ (CURVATURE * gradient))
    np.testing.assert_allclose(state.record.critical_step, exact, rtol=1e-12)
    without = watched.update(gradient, watched.init(x), x)[1]
    assert jnp.isnan(without.record.critical_step)


def test_noise_and_signal_are_those_of_the_gradients_drawn(key):
    mean, spread, num = jnp.array([1.0, 0.5]), 0.7, 4000
    watched = monitor(optax.sgd(0.0), every=2, decay=0.999, clip_norm=1.5)
    draws = mean[None] + spread * jax.random.normal(key, (num, 2))
    step = lambda state, draw: (watched.update(draw, state)[1], None)
    record = jax.lax.scan(step, watched.init(mean), draws)[0].record
    assert record.num_recorded == num // 2
    # means over about 1,000 records; |g' - g|^2 / 2 is spread^2 times chi-squared of two
    assert abs(record.noise - 2 * spread**2) < 4 * 2 * spread**2 / 1000**0.5
    assert abs(record.signal - mean @ mean) < 4 * (2 * spread**2 * (mean @ mean) + 2 * spread**4) ** 0.5 / 1000**0.5
    share = float(jnp.mean(jnp.linalg.norm(draws, axis=1) > 1.5))
    assert abs(record.clipped_share - share) < 4 * (share * (1 - share) / 1000) ** 0.5


def test_dwell_counts_records_of_small_gradients_in_a_row():
    watched = monitor(optax.sgd(0.1), every=2, small=0.1)
    state = watched.init(jnp.ones(1))
    for size in (1.0, 1.0, 0.05, 0.05, 0.01, 0.01):
        _, state = watched.update(jnp.array([size]), state)
    assert state.record.dwell == 2
    _, state = watched.update(jnp.array([0.5]), state)
    assert state.record.dwell == 0
    assert state.record.largest_norm == pytest.approx(1.0)
