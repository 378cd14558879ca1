import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.integrate

import jaxgd
from jaxgd import InputTypeError, InputValueError, Landscape, basin_distortion, gradient_flow

pytest.importorskip("diffrax")

MAXIMUM = 0.15673126  # of Styblinski-Tang in one coordinate
BOWL = Landscape(value=lambda x: jnp.sum(x**2) / 2, sample=lambda key: jnp.ones(2))


@pytest.fixture(scope="module")
def wells():
    """The double well of one number: its flow, and gradient descent from the same starts at two steps."""
    landscape = jaxgd.landscapes.double_well_1d(spread=2.0)
    key = jax.random.key(5)
    flow = gradient_flow(landscape, 200, key=key, method="explicit", gradient_norm=1e-5)
    swept = jaxgd.sweep(landscape, optax.sgd, 200, key=key, learning_rate=[0.05, 0.6])
    return landscape, flow, swept.ends


def test_stiff_bowl_over_a_pytree_follows_its_exponentials_in_few_steps(key):
    rates = {"a": np.array([1.0, 50.0]), "b": np.array(1e5)}

    def value(p):
        return (jnp.sum(rates["a"] * p["a"] ** 2) + rates["b"] * p["b"] ** 2) / 2

    sample = lambda key: {"a": jax.random.normal(key, (2,)), "b": jnp.ones(())}
    flow = gradient_flow(Landscape(value=value, sample=sample), 4, key=key, max_time=0.3, gradient_norm=1e-12)
    begin = jaxgd.descend(
        Landscape(value=value, sample=sample), optax.sgd(0.0), 4, key=key, stop=jaxgd.Stop(max_steps=0)
    )
    for name in ("a", "b"):
        exact = begin.params[name] * np.exp(-0.3 * rates[name])
        np.testing.assert_allclose(flow.ends.params[name], exact, rtol=0, atol=30 * flow.tolerance)
        np.testing.assert_allclose(flow.coarse.params[name], exact, rtol=0, atol=30 * flow.coarse_tolerance)
    assert flow.ends.status_counts() == {"stopped_by_event": 4}
    np.testing.assert_allclose(flow.time, 0.3, rtol=1e-12)
    assert flow.ends.num_steps.max() < 300  # an explicit solver needs 0.3 x 1e5 / 6 = 5,000
    assert np.all(flow.coarse.num_steps < flow.ends.num_steps)


def test_sign_of_the_start_decides_where_the_flow_ends(wells):
    landscape, flow, _ = wells
    begin = jaxgd.descend(landscape, optax.sgd(0.0), 200, key=jax.random.key(5), stop=jaxgd.Stop(max_steps=0))
    assert set(flow.ends.status_counts()) <= {"converged", "plateau"}
    np.testing.assert_allclose(flow.ends.params, np.sign(begin.params), atol=1e-4)


def test_distortion_counts_the_starts_that_a_long_step_throws_over(wells):
    landscape, flow, (short, long) = wells
    found = basin_distortion(landscape, flow, {"short": short, "long": long})
    assert found.num_known == 200
    assert found.self_agreement.value == 1
    small, large = found.departures
    assert (small.num_elsewhere, small.share.low) == (0, 0)
    is_critical = np.abs(np.abs(long.params) - 1) < 1e-3  # two-cycles and divergence end nowhere
    thrown = is_critical & (np.sign(long.params) != np.sign(flow.ends.params))
    assert large.num_elsewhere == thrown.sum() > 5
    assert large.share.low < large.share.value < large.share.high
    assert large.basin_elsewhere.sum() == large.num_elsewhere
    assert large.num_compared + large.num_nowhere == 200
    np.testing.assert_array_equal(found.flow_entry[large.entry == found.flow_entry] >= 0, True)
    assert "long" in str(found)


def test_ends_of_other_starts_are_not_paired_with_the_flow(wells):
    landscape, flow, (short, _) = wells
    run = lambda **which: jaxgd.descend(landscape, optax.sgd(0.05), stop=jaxgd.Stop(max_steps=3), **which)
    same, other = (run(num_starts=200, key=jax.random.key(seed)) for seed in (5, 6))
    given = run(starts=jnp.linspace(-2, 2, 200), key=jax.random.key(5))
    assert same.origin == short.origin == flow.ends.origin == flow.coarse.origin
    for ends in (other, given):
        with pytest.raises(InputValueError, match=r"the ends of `mine` come from other starts .* use the `key`"):
            basin_distortion(landscape, flow, {"right": short, "mine": ends})
    assert basin_distortion(landscape, flow, replace(short, origin=None)).num_known == 200  # nobody can tell


def test_flow_and_descents_from_given_starts_are_paired(key):
    starts = {"x": jnp.ones((3, 2)), "y": jnp.arange(3.0)}
    bowl = Landscape(
        value=lambda p: jnp.sum(p["x"] ** 2) + p["y"] ** 2, sample=lambda key: jax.tree.map(lambda a: a[0], starts)
    )
    flow = gradient_flow(bowl, key=key, starts=starts, method="explicit", max_steps=5)
    run = lambda starts: jaxgd.descend(bowl, optax.sgd(0.1), key=key, starts=starts, stop=jaxgd.Stop(max_steps=5))
    assert run(starts).origin == flow.ends.origin
    assert run(jax.tree.map(np.asarray, starts)).origin == flow.ends.origin
    assert run({**starts, "y": starts["y"] + 1e-9}).origin != flow.ends.origin


def test_distortion_of_part_of_the_starts_and_of_ends_that_end_nowhere(wells):
    landscape, flow, (short, _) = wells
    nowhere = replace(short, params=np.full(200, np.nan))
    found = basin_distortion(landscape, flow[:20], nowhere[:20])
    (one,) = found.departures
    assert (one.share, one.num_compared, one.num_nowhere) == (None, 0, 20)
    assert "nan" not in str(found)


def test_solutions_that_disagree_are_not_known(wells):
    landscape, flow, (short, _) = wells
    other = replace(flow.coarse, params=np.where(np.arange(200) < 50, -flow.coarse.params, flow.coarse.params))
    found = basin_distortion(landscape, replace(flow, coarse=other), short)
    assert (found.num_known, found.self_agreement.value) == (150, 0.75)
    assert np.all(found.flow_entry[:50] == -1)


def test_bad_questions_are_refused(key, wells):
    landscape, flow, (short, _) = wells
    with pytest.raises(InputValueError, match="`method` must be one of implicit, explicit, got 'euler'"):
        gradient_flow(BOWL, 1, key=key, method="euler")
    with pytest.raises(InputValueError, match=r"`tolerance` must lie in \(0, 0.01\), got nan"):
        gradient_flow(BOWL, 1, key=key, tolerance=float("nan"))
    with pytest.raises(InputValueError, match="`max_time` must be positive and finite, got -1"):
        gradient_flow(BOWL, 1, key=key, max_time=-1)
    with pytest.raises(InputValueError, match="`gradient_norm` must be positive"):
        gradient_flow(BOWL, 1, key=key, gradient_norm=0.0)
    with pytest.raises(InputValueError, match="one leading axis of starts"):
        gradient_flow(BOWL, key=key, starts=jnp.ones(()))
    with pytest.raises(InputValueError, match="either `num_starts` or `starts`"):
        gradient_flow(BOWL, key=key)
    with pytest.raises(InputValueError, match="must come from the flow's 200 starts"):
        basin_distortion(landscape, flow, short[:10])
    with pytest.raises(InputTypeError, match="`ends` must be the Ends"):
        basin_distortion(landscape, flow, {})


def test_without_diffrax_one_sentence_says_how_to_install_it(key, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(InputValueError, match=r"needs diffrax: pip install 'jaxgd\[flow\]'"):
        gradient_flow(BOWL, 1, key=key)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["implicit", "explicit"])
def test_rosenbrock_agrees_with_scipy(key, method):
    landscape = jaxgd.landscapes.rosenbrock(dim=4)
    starts = 2 * jax.random.normal(key, (5, 4))
    flow = gradient_flow(landscape, key=key, starts=starts, method=method, max_time=0.5)
    slope = jax.jit(landscape.gradient)
    for start, end in zip(np.asarray(starts), flow.ends.params, strict=True):
        exact = scipy.integrate.solve_ivp(
            lambda t, x: -np.asarray(slope(x)), (0, 0.5), start, method="LSODA", rtol=1e-11, atol=1e-11
        )
        np.testing.assert_allclose(end, exact.y[:, -1], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["implicit", "explicit"])
def test_styblinski_tang_ends_by_the_sign_of_each_coordinate(key, method):
    landscape = jaxgd.landscapes.styblinski_tang(dim=3)
    flow = gradient_flow(landscape, 300, key=key, method=method)
    begin = jaxgd.descend(landscape, optax.sgd(0.0), 300, key=key, stop=jaxgd.Stop(max_steps=0))
    np.testing.assert_array_equal(flow.ends.params < 0, begin.params < MAXIMUM)
    np.testing.assert_allclose(np.where(flow.ends.params < 0, -2.90353403, 2.74680277), flow.ends.params, atol=1e-5)
    np.testing.assert_array_equal(flow.ends.params < 0, flow.coarse.params < 0)


@pytest.mark.slow
def test_failures_are_statuses(key):
    cliff = Landscape(value=lambda x: jnp.where(x > 0, x, jnp.nan), sample=lambda key: jnp.ones(()))
    for method in ("implicit", "explicit"):
        flow = gradient_flow(cliff, 2, key=key, method=method, max_steps=300)  # reaches the cliff at time 1
        assert set(flow.ends.status_counts()) <= {"step_limit", "diverged", "plateau"}
        assert np.isfinite(flow.ends.value).all()
        assert np.all(flow.time <= 1 + flow.tolerance)
    endless = Landscape(value=lambda x: -(x**4), sample=lambda key: jnp.ones(()))  # blows up at time 1/8
    flow = gradient_flow(endless, 2, key=key, method="explicit", max_steps=2_000)
    assert np.all(flow.time <= 0.126)
    assert np.isfinite(flow.ends.params).all()


@pytest.mark.slow
def test_float32_flow_keeps_its_dtype(key):
    bowl = Landscape(value=lambda x: jnp.sum(x**2) / 2, sample=lambda key: jnp.ones(2, jnp.float32))
    flow = gradient_flow(bowl, 2, key=key, max_time=1.0)
    assert flow.ends.params.dtype == np.float32
    np.testing.assert_allclose(flow.ends.params, np.exp(-1), atol=1e-3)


@pytest.mark.slow
def test_flow_does_not_depend_on_devices_or_on_the_other_starts(key):
    landscape = jaxgd.landscapes.styblinski_tang(dim=2)
    many = gradient_flow(landscape, 40, key=key, method="explicit")
    few = gradient_flow(landscape, 7, key=key, method="explicit")
    np.testing.assert_allclose(many.ends.params[:7], few.ends.params, atol=1e-8)
