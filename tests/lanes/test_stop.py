"""Claims of the stop rule: what it stands for does not depend on units, blocks or bad starts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd import InputValueError, Landscape, Restart, Status, Stop
from jaxgd.lanes.relative_stop import NUM_STARTS, SHARES, relative_limit


def wells(x):
    return jnp.sum(x**4 - 16 * x**2 + 5 * x) / 2


def scaled(power, dtype=jnp.float64):
    """The wells in a unit of value that is 2**power times smaller, and the rate that takes the same steps there."""
    landscape = Landscape(
        value=lambda x: wells(x) * jnp.asarray(2.0**power, dtype),
        sample=lambda key: jax.random.uniform(key, (2,), dtype, minval=-5, maxval=5),
    )
    return landscape, 5e-3 * 2.0**-power


def norms_at_starts(landscape, key, num=NUM_STARTS):
    ends = jaxgd.descend(landscape, optax.sgd(0.0), num, key=key, stop=Stop(gradient_norm=None, max_steps=0))
    return ends.gradient_norm


@pytest.mark.parametrize(("dtype", "patience"), [(jnp.float64, 0), (jnp.float32, 0), (jnp.float64, 3)])
def test_a_power_of_two_in_the_value_changes_no_step_and_no_status(key, dtype, patience):
    def run(power):
        landscape, rate = scaled(power, dtype)
        stop = Stop(patience=patience, improvement=1e-9)
        return jaxgd.descend(landscape, optax.sgd(rate, momentum=0.5), 40, key=key, stop=stop, keep=("params",))

    usual = run(0)
    assert usual.status_counts() == {"plateau" if patience else "converged": 40}
    assert usual.params.dtype == dtype
    for power in (-100, 100):
        other = run(power)
        assert other.stop.gradient_norm == usual.stop.gradient_norm * 2.0**power
        for name in ("params", "num_steps", "status"):
            np.testing.assert_array_equal(getattr(other, name), getattr(usual, name))


def test_energies_in_joules_are_descended(key):
    joules = Landscape(value=lambda x: 1e-21 * wells(x), sample=scaled(0)[0].sample)
    ends = jaxgd.descend(joules, optax.sgd(5e18), 30, key=key)
    assert ends.status_counts() == {"converged": 30}
    assert ends.num_steps.min() > 10
    np.testing.assert_allclose(jax.vmap(jax.grad(wells))(jnp.asarray(ends.params)), 0, atol=1e-5)
    assert ends.notes == ()


def test_a_run_that_stops_at_its_starts_says_so(key):
    joules = Landscape(value=lambda x: 1e-21 * wells(x), sample=scaled(0)[0].sample, name="in joules")
    stop = Stop(gradient_norm=1e-6)
    ends = jaxgd.descend(joules, optax.sgd(5e18), 30, key=key, stop=stop)
    (note,) = ends.notes
    assert note.startswith("30 of 30 descents stopped at their start")
    assert ends[:3].notes == ends.notes
    swept = jaxgd.sweep(joules, optax.sgd, 30, key=key, stop=stop, learning_rate=[5e18, 1e18])
    assert [own.notes for own in swept.ends] == [(note,), (note,)]


def test_auto_is_a_share_of_the_lower_quartile_of_the_first_gradients(key):
    landscape, rate = scaled(0)
    ends = jaxgd.descend(landscape, optax.sgd(rate), 3, key=key)
    asked = SHARES[8] * np.quantile(norms_at_starts(landscape, key), 0.25, method="lower")
    assert asked / 2 < ends.stop.gradient_norm <= asked
    assert np.all(ends.gradient_norm <= ends.stop.gradient_norm)


def test_auto_is_the_same_number_in_every_block_and_sweep(key):
    landscape, rate = scaled(0)
    whole = jaxgd.descend(landscape, optax.sgd(rate), 12, key=key)
    block = jaxgd.descend(landscape, optax.sgd(rate), 4, key=key, first_start=8, engine=jaxgd.Engine(num_lanes=1))
    swept = jaxgd.sweep(landscape, optax.sgd, 12, key=key, learning_rate=[2 * rate, rate])
    assert whole.stop == block.stop == swept.ends[0].stop == swept.ends[1].stop
    np.testing.assert_array_equal(block.num_steps, whole.num_steps[8:])
    np.testing.assert_array_equal(swept.ends[1].num_steps, whole.num_steps)
    other = jaxgd.descend(landscape, optax.sgd(rate), 4, key=jax.random.key(1))
    assert other.stop.gradient_norm > 0


def test_auto_looks_at_the_starts_that_are_given(key):
    landscape, rate = scaled(0)
    starts = jnp.asarray([[3.0, 3.0], [1e3, 1e3], [jnp.nan, 0.0], [2.5, 2.5]])
    run = lambda starts: jaxgd.descend(landscape, optax.sgd(rate), key=key, starts=starts, stop=Stop(max_steps=300))
    ends = run(starts)
    expected = relative_limit(np.asarray(jax.vmap(lambda x: jnp.linalg.norm(jax.grad(wells)(x)))(starts)))
    assert ends.stop.gradient_norm == expected
    assert ends.status.tolist() == [Status.CONVERGED, Status.DIVERGED, Status.DIVERGED, Status.CONVERGED]
    swept = jaxgd.sweep(landscape, optax.sgd, key=key, starts=starts, stop=Stop(max_steps=300), learning_rate=[rate])
    np.testing.assert_array_equal(swept.ends[0].num_steps, ends.num_steps)


def test_exploding_starts_do_not_loosen_the_rule():
    usual, exploding = np.geomspace(1.0, 10.0, 20), np.geomspace(1e10, 1e300, 44)
    assert relative_limit(np.append(exploding, usual)) <= SHARES[8] * 10


def test_what_tells_nothing_leaves_only_zeros_converged(key):
    for norms in (np.zeros(64), np.full(64, np.nan), np.full(3, np.inf, np.float32)):
        assert relative_limit(norms) == np.finfo(norms.dtype).tiny
    flat = Landscape(value=lambda x: 0.0 * jnp.sum(x), sample=lambda key: jax.random.normal(key, (2,)))
    ends = jaxgd.descend(flat, optax.sgd(0.1), 5, key=key)
    assert ends.status_counts() == {"converged": 5}
    assert "stopped at their start" in ends.notes[0]


def test_float32_gradients_below_the_root_of_the_smallest_number_have_a_norm(key):
    tiny = Landscape(value=lambda x: 1e-25 * jnp.sum(x**2), sample=lambda key: jnp.ones((4,), jnp.float32))
    ends = jaxgd.descend(tiny, optax.sgd(4e24), 1, key=key)
    assert ends.status_counts() == {"converged": 1}
    assert ends.num_steps[0] > 3
    start = jaxgd.descend(tiny, optax.sgd(0.0), 1, key=key, stop=Stop(max_steps=0))
    np.testing.assert_allclose(start.gradient_norm, 4e-25, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_has_a_limit_that_it_can_reach(key, dtype):
    bowl = Landscape(value=lambda x: jnp.sum((x - 1) ** 2), sample=lambda key: jax.random.normal(key, (3,), dtype))
    ends = jaxgd.descend(bowl, optax.sgd(0.1), 9, key=key, stop=Stop(max_steps=300))
    assert ends.status_counts() == {"converged": 9}
    assert 0 < ends.stop.gradient_norm < 1


def test_looking_at_starts_restarts_nothing(key):
    landscape, rate = scaled(0)
    again = Restart(on=(Status.CONVERGED, Status.DIVERGED), max_restarts=2, step_factor=1.0)
    ends = jaxgd.descend(landscape, optax.sgd(rate), 6, key=key, restart=again)
    assert ends.num_restarts.tolist() == [2] * 6
    assert ends.stop.gradient_norm < 1e-6


def test_a_number_stays_absolute_and_none_never_converges(key):
    landscape, rate = scaled(0)
    some, never = (
        jaxgd.descend(landscape, optax.sgd(rate), 3, key=key, stop=Stop(gradient_norm=norm, max_steps=200))
        for norm in (0.5, None)
    )
    assert some.stop.gradient_norm == 0.5
    assert 1e-3 < some.gradient_norm.max() <= 0.5
    assert never.status_counts() == {"step_limit": 3}
    assert never.stop.gradient_norm is None


def test_patience_is_relative_to_the_best_value(key):
    # value 1e-15 (1 + x^2): falls of 1e-16 are large here
    small = Landscape(value=lambda x: 1e-15 * (1 + x**2), sample=lambda key: jnp.full((), 3.0))
    stop = Stop(gradient_norm=None, max_steps=400, patience=5, improvement=1e-6)
    ends = jaxgd.descend(small, optax.sgd(5e13), 1, key=key, stop=stop)
    assert ends.status_counts() == {"plateau": 1}
    assert ends.num_steps[0] > 50
    assert abs(ends.params[0]) < 2e-3


@pytest.mark.parametrize("word", ["automatic", "", "1e-6"])
def test_other_words_than_auto_are_refused(word):
    with pytest.raises(InputValueError, match='must be a positive number, "auto" or None'):
        Stop(gradient_norm=word)


def test_a_survey_prints_what_auto_stands_for_and_that_it_never_left_its_starts(key):
    valley = Landscape(value=lambda x: jnp.sum((x - 1) ** 2), sample=lambda key: jnp.full((2,), 1.0))
    found = jaxgd.survey(valley, optax.sgd(0.1), 20, key=key, keep="catalogue")
    norm = found.stop.gradient_norm
    assert norm == found.to_json()["stop"]["gradient_norm"] == np.finfo(float).tiny  # all gradients are zero
    assert f"20 converged (gradient norm {norm:.3g} or less)" in str(found)
    assert "20 of 20 descents stopped at their start" in str(found)
    assert found.to_json()["notes"][0] in found.notes
