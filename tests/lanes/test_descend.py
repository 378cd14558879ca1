"""Claims of the lanes engine, seen through `descend`."""

import importlib
import os
import signal
import threading

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd import Engine, InputValueError, Landscape, Status, Stop
from jaxgd.lanes.loop import Loop
from jaxgd.lanes.tune import Choice, choose, measure, neighbours, shape_of

WELL = Landscape(value=lambda x: jnp.sum((x**2 - 1) ** 2), sample=lambda key: jax.random.normal(key, (3,)), name="well")
TREE = Landscape(
    value=lambda p: jnp.sum(p["a"] ** 2) + (p["b"] - 2) ** 4,
    sample=lambda key: {"a": jax.random.normal(key, (2, 2)), "b": jnp.zeros(())},
)
FALLING = Landscape(value=lambda x: -jnp.sum(x**4), sample=lambda key: 1 + jax.random.uniform(key, (2,)))


def by_hand(landscape, optimizer, params, stop):
    """One descent in plain Python: the oracle of the engine."""
    optimizer = optax.with_extra_args_support(optimizer)
    state = optimizer.init(params)
    for step in range(stop.max_steps + 1):
        value, grad = landscape.evaluate(params)
        if optax.tree.norm(grad) <= stop.gradient_norm:
            return params, value, step, Status.CONVERGED
        if step < stop.max_steps:
            update, state = optimizer.update(grad, state, params, value=value, grad=grad, value_fn=landscape.value)
            params = optax.apply_updates(params, update)
    return params, value, stop.max_steps, Status.STEP_LIMIT


@pytest.mark.parametrize("layout", [pytest.param("lanes_first", marks=pytest.mark.slow), "lanes_last"])
def test_every_descent_is_the_one_done_by_hand(key, layout):
    stop = Stop(gradient_norm=1e-6, max_steps=60)
    optimizer = optax.sgd(0.02, momentum=0.5)
    starts = jaxgd.descend(WELL, optimizer, 7, key=key, stop=Stop(max_steps=0)).params
    ends = jaxgd.descend(WELL, optimizer, 7, key=key, stop=stop, engine=Engine(num_lanes=3, layout=layout))
    for number in range(7):
        params, value, num_steps, status = by_hand(WELL, optimizer, starts[number], stop)
        np.testing.assert_allclose(ends.params[number], params, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(ends.value[number], value, rtol=1e-9, atol=1e-15)
        assert (ends.num_steps[number], ends.status[number]) == (num_steps, status)


def test_ends_do_not_depend_on_lanes_or_devices(key):
    run = lambda **engine: jaxgd.descend(WELL, optax.sgd(0.02), 50, key=key, **engine)
    few, many = run(engine=Engine(num_lanes=4)), run(engine=Engine(num_lanes=32))
    chex.assert_trees_all_equal(few.start_number, np.arange(50))
    chex.assert_trees_all_equal(few.num_steps, many.num_steps)
    chex.assert_trees_all_close(few.params, many.params, rtol=1e-12)


@pytest.mark.slow
def test_same_call_gives_same_bits(key):
    run = lambda: jaxgd.descend(WELL, optax.sgd(0.02), 20, key=key, engine=Engine(num_lanes=8))
    first, second = run(), run()
    chex.assert_trees_all_equal(first.params, second.params)


def test_explicit_starts_are_descended_in_order(key):
    starts = {"a": jnp.zeros((3, 2, 2)), "b": jnp.asarray([0.0, 2.0, 3.0])}
    ends = jaxgd.descend(TREE, optax.sgd(0.01), key=key, starts=starts, stop=Stop(max_steps=0))
    np.testing.assert_array_equal(ends.params["b"], [0.0, 2.0, 3.0])
    np.testing.assert_array_equal(ends.num_steps, 0)
    assert ends.status[1] == Status.CONVERGED
    assert ends.status[0] == ends.status[2] == Status.STEP_LIMIT


@pytest.mark.slow
def test_params_of_any_tree_and_dtype_keep_it(key):
    for dtype in (jnp.float32, jnp.float64):
        landscape = Landscape(
            value=TREE.value,
            sample=lambda k, dtype=dtype: jax.tree.map(lambda x: x.astype(dtype), TREE.sample(k)),
        )
        ends = jaxgd.descend(landscape, optax.sgd(0.02, momentum=0.5), 3, key=key, stop=Stop(max_steps=5))
        chex.assert_shape(ends.params["a"], (3, 2, 2))
        chex.assert_tree_all_finite(ends.params)
        assert ends.params["a"].dtype == ends.params["b"].dtype == ends.value.dtype == dtype


def test_divergence_is_a_status_that_keeps_the_last_finite_iterate(key):
    ends = jaxgd.descend(FALLING, optax.sgd(0.1), 10, key=key)
    assert ends.status_counts() == {"diverged": 10}
    chex.assert_tree_all_finite((ends.params, ends.value, ends.gradient_norm))
    np.testing.assert_allclose(jax.vmap(FALLING.value)(jnp.asarray(ends.params)), ends.value)


def test_one_bad_lane_changes_nothing_for_the_others(key):
    starts = jax.random.normal(key, (6, 3))
    run = lambda starts: jaxgd.descend(WELL, optax.sgd(0.02), key=key, starts=starts, engine=Engine(num_lanes=6))
    good, mixed = run(starts), run(starts.at[2].set(jnp.nan))
    others = np.arange(6) != 2
    assert mixed.status[2] == Status.DIVERGED
    assert np.isnan(mixed.value[2])
    chex.assert_trees_all_equal(mixed.params[others], good.params[others])


def test_a_nan_gradient_beside_a_finite_value_is_divergence(key):
    tricky = Landscape(
        value=lambda x: jnp.sqrt(jnp.abs(x - 1)) * jnp.where(x > 0.99, 0.0, 1.0),
        sample=lambda k: jnp.zeros(()),
    )
    ends = jaxgd.descend(tricky, optax.sgd(1.0), key=key, starts=jnp.asarray([1.0, 0.0]), stop=Stop(max_steps=2))
    assert ends.status[0] == Status.DIVERGED


def test_best_iterate_is_kept_beside_the_last(key):
    bowl = Landscape(value=lambda x: x**2, sample=lambda k: jnp.ones(()))
    ends = jaxgd.descend(bowl, optax.sgd(1.1), 1, key=key, stop=Stop(max_steps=5))
    assert ends.best_value[0] == ends.best_params[0] ** 2 == 1.0
    assert ends.value[0] > 1.0
    scalars = jaxgd.descend(bowl, optax.sgd(1.1), 1, key=key, stop=Stop(max_steps=5), keep=())
    assert scalars.params is None
    assert scalars.best_params is None
    assert scalars.best_value[0] == 1.0


def test_patience_ends_a_descent_that_no_longer_improves(key):
    cycle = Landscape(value=lambda x: jnp.abs(x), sample=lambda k: jnp.asarray(0.05))
    ends = jaxgd.descend(cycle, optax.sgd(0.1), 1, key=key, stop=Stop(max_steps=1000, patience=10))
    assert ends.status_counts() == {"plateau": 1}
    assert ends.num_steps[0] == 10


def test_events_are_recorded_and_can_stop(key):
    halving = Landscape(value=lambda x: x**2 / 2, sample=lambda k: jnp.ones(()))
    events = {"below": lambda x, value, grad: x < 0.1, "never": lambda x, value, grad: x < -1}
    run = lambda at: jaxgd.descend(
        halving, optax.sgd(0.5), 1, key=key, events=events, stop=Stop(max_steps=9, at_event=at)
    )
    assert [int(run(None).event_steps[name][0]) for name in events] == [4, -1]
    stopped = run("below")
    assert stopped.status_counts() == {"stopped_by_event": 1}
    assert stopped.num_steps[0] == 4


def test_builtin_noise_of_optax_differs_between_lanes(key):
    noise = optax.chain(optax.add_noise(1.0, 0.0, key=0), optax.add_noise(1.0, 0.0, key=0), optax.scale(-1.0))
    starts = jnp.zeros(16)
    far = Landscape(value=lambda x: x, sample=lambda k: jnp.zeros(()))
    run = lambda **engine: jaxgd.descend(far, noise, key=key, starts=starts, stop=Stop(max_steps=1), **engine).params
    with jax.numpy_dtype_promotion("standard"):  # optax's own arithmetic needs it
        moves, again = run(), run(engine=Engine(num_lanes=3))
    assert len(np.unique(moves)) == 16
    chex.assert_trees_all_equal(moves, again)


def test_update_gets_a_key_of_its_own_in_every_lane_and_step(key):
    def update(updates, state, params=None, *, key, **extra):
        return jax.random.normal(key), state

    walker = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
    slope = Landscape(value=lambda x: x, sample=lambda k: jnp.zeros(()))
    one = jaxgd.descend(slope, walker, 8, key=key, stop=Stop(max_steps=1)).params
    two = jaxgd.descend(slope, walker, 8, key=key, stop=Stop(max_steps=2)).params
    assert len(np.unique(np.concatenate([one, two - one]))) == 16


def test_second_order_methods_may_have_a_part_of_the_params_to_themselves(key):
    parts = {"a": jaxgd.transforms.saddle_free_newton(), "b": optax.sgd(0.02)}
    optimizer = optax.multi_transform(parts, {"a": "a", "b": "b"})
    ends = jaxgd.descend(TREE, optimizer, 4, key=key, stop=Stop(gradient_norm=1e-2, max_steps=500))
    assert ends.status_counts() == {"converged": 4}
    np.testing.assert_allclose(ends.params["a"], 0, atol=1e-9)


def test_noisy_descents_average_to_the_plain_one(key):
    landscape = Landscape(
        value=lambda x: x**2 / 2,
        noisy_value=lambda x, k: x**2 / 2 + x * jax.random.normal(k),
        sample=lambda k: jnp.ones(()),
    )
    ends = jaxgd.descend(
        landscape, optax.sgd(0.1), 2000, key=key, is_noisy=True, stop=Stop(gradient_norm=None, max_steps=20)
    )
    # x_20 = 0.9^20 + noise of variance 0.01 (1 - 0.81^20) / (1 - 0.81)
    sigma = np.sqrt(0.01 * (1 - 0.81**20) / 0.19 / 2000)
    assert abs(ends.params.mean() - 0.9**20) < 4 * sigma
    assert abs(ends.params.var() / (2000 * sigma**2) - 1) < 4 * np.sqrt(2 / 2000)


def test_ctrl_c_returns_what_is_done(key):
    sent = []

    def interrupt(phase, done, total):
        if done and not sent:
            sent.append(True)
            os.kill(os.getpid(), signal.SIGINT)

    ends = jaxgd.descend(WELL, optax.sgd(0.02), 200_000, key=key, engine=Engine(num_lanes=16), progress=interrupt)
    assert 0 < len(ends) < 200_000 == ends.num_starts
    assert len(np.unique(ends.start_number)) == len(ends)
    assert ends.status_counts() == {"converged": len(ends)}


def test_runs_outside_the_main_thread(key):
    found = []
    run = lambda: found.append(len(jaxgd.descend(WELL, optax.sgd(0.02), 4, key=key)))
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [4]


def test_hessian_vector_products_are_counted_as_long_as_a_descent_runs(key):
    landscape = jaxgd.landscapes.styblinski_tang(dim=3)
    ends = jaxgd.descend(
        landscape, jaxgd.transforms.saddle_free_newton(max_step=1.0), 40, key=key, engine=Engine(num_lanes=8)
    )
    assert len(set(ends.num_steps.tolist())) > 1
    np.testing.assert_array_equal(ends.num_hvps, 3 * ends.num_steps)
    assert not jaxgd.descend(landscape, optax.sgd(0.01), 4, key=key, stop=Stop(max_steps=5)).num_hvps.any()


def test_without_a_gradient_norm_not_even_a_critical_point_ends_a_descent(key):
    bowl = Landscape(value=lambda x: x**2, sample=lambda k: jnp.zeros(()))
    ends = jaxgd.descend(bowl, optax.sgd(0.1), 3, key=key, stop=Stop(gradient_norm=None, max_steps=7))
    assert ends.status_counts() == {"step_limit": 3}
    np.testing.assert_array_equal(ends.num_steps, 7)


def test_a_restart_begins_anew_with_a_changed_step(key):
    cliff = Landscape(value=lambda x: x**2, sample=lambda k: 1 + jax.random.uniform(k, ()))
    run = lambda **policy: jaxgd.descend(
        cliff,
        optax.sgd(2.1),
        20,
        key=key,
        stop=Stop(max_steps=5000),
        restart=jaxgd.Restart(on=(Status.DIVERGED,), **policy),
    )
    good = run(step_factor=0.4)  # 2.1 and 0.84 of x^2 / 2's: the first diverges, the second converges
    assert good.status_counts() == {"converged": 20}
    np.testing.assert_array_equal(good.num_restarts, 1)
    bad = run(step_factor=1.0, max_restarts=2)
    assert bad.status_counts() == {"diverged": 20}
    np.testing.assert_array_equal(bad.num_restarts, 2)
    assert np.all(bad.num_steps > good.num_steps)
    assert bad.cost.ticks == bad.num_steps.sum() + 20 * 3


@pytest.mark.slow
def test_measuring_finds_and_remembers_one_of_its_candidates(key):
    landscape = Landscape(value=lambda x: jnp.sum(jnp.cos(x) ** 4), sample=WELL.sample)
    descent = importlib.import_module("jaxgd.descend").descent_of(
        landscape, optax.sgd(0.02), False, Stop(), None, (), False, False
    )
    shape = shape_of(descent, key, None, jax.devices()[0])
    build = lambda choice: Loop(descent=descent, layout=choice.layout, num_lanes=choice.num_lanes, keeps_params=False)
    candidates = neighbours(Choice("lanes_last", 16), 1000)
    assert len(candidates) == 6
    best = measure(shape, candidates, build, key, None, 1000)
    assert best in candidates
    assert measure(shape, candidates, None, key, None, 1000) == best  # without running anything
    assert choose(shape, 10**6, 1) == choose(shape, 10**6, 1)._replace(layout="lanes_last")


def test_an_accelerator_gets_more_lanes_but_no_more_than_there_are_descents_or_bytes(key):
    descent = importlib.import_module("jaxgd.descend").descent_of(
        WELL, optax.sgd(0.02), False, Stop(), None, (), False, False
    )
    here = shape_of(descent, key, None, jax.devices()[0])
    there = here._replace(is_cpu=False)
    assert choose(there, 10**6, 1).num_lanes >= 8 * choose(here, 10**6, 1).num_lanes
    assert choose(there, 100, 1).num_lanes <= 100
    large = there._replace(largest=2**26)
    assert choose(large, 10**6, 1).num_lanes * large.largest <= 2**30


def test_matrix_products_are_laid_out_lanes_first_and_many_body_sums_last():
    for landscape, layout in (
        (jaxgd.landscapes.digits_mlp(widths=(16,)), "lanes_first"),
        (jaxgd.landscapes.spherical_p_spin(dim=40), "lanes_last"),
        (WELL, "lanes_last"),
    ):
        descent = importlib.import_module("jaxgd.descend").descent_of(
            landscape, optax.sgd(0.02), False, Stop(), None, (), False, False
        )
        shape = shape_of(descent, jax.random.key(0), None, jax.devices()[0])
        assert choose(shape, 10**6, 1).layout == layout


def test_stream_yields_every_end_once(key):
    parts = list(jaxgd.stream(WELL, optax.sgd(0.02), 3000, key=key, engine=Engine(num_lanes=64), keep=()))
    ends = jaxgd.concatenate(parts)
    np.testing.assert_array_equal(ends.start_number, np.arange(3000))
    assert ends.cost.ticks == ends.num_steps.sum() + 3000
    assert 0.5 < ends.cost.occupancy <= 1


def test_ends_of_many_parameters_leave_one_by_one_instead_of_filling_the_memory(key, monkeypatch):
    loop = importlib.import_module("jaxgd.lanes.loop")
    monkeypatch.setattr(loop, "_BUFFER_BYTES", 1)  # no two records fit
    landscape = Landscape(value=WELL.value, sample=WELL.sample, name="wide well")
    descent = importlib.import_module("jaxgd.descend").descent_of(
        landscape, optax.sgd(0.02), False, Stop(), None, (), False, False
    )
    lanes = Loop(descent=descent, layout="lanes_last", num_lanes=4, keeps_params=True)
    assert len(jax.eval_shape(lanes._chunk, key, None).buffer.counts) == 4
    ends = jaxgd.descend(landscape, optax.sgd(0.02), 50, key=key, engine=Engine(num_lanes=4))
    every = jaxgd.descend(WELL, optax.sgd(0.02), 50, key=key, engine=Engine(num_lanes=4))
    np.testing.assert_array_equal(ends.start_number, np.arange(50))
    np.testing.assert_array_equal(ends.params, every.params)


def test_a_second_run_compiles_nothing(key):
    landscape, optimizer = Landscape(value=WELL.value, sample=WELL.sample), optax.sgd(0.02)
    jaxgd.descend(landscape, optimizer, 10, key=key)
    with _counting() as compiles:
        jaxgd.descend(landscape, optimizer, 10, key=jax.random.key(1))
    assert not compiles


class _counting:
    """Collects the names of functions that jax compiles."""

    def __enter__(self):
        import logging

        self.names = []
        self.handler = logging.Handler()
        self.handler.emit = lambda record: (
            self.names.append(record.getMessage()) if "_advance" in record.getMessage() else None
        )
        self.logger = logging.getLogger("jax._src.interpreters.pxla")
        self.logger.addHandler(self.handler)
        jax.config.update("jax_log_compiles", True)
        return self.names

    def __exit__(self, *error):
        jax.config.update("jax_log_compiles", False)
        self.logger.removeHandler(self.handler)


BAD = {
    "`engine` must be a jaxgd.Engine": dict(engine={"num_lanes": 3}),
    "`num_devices` must be at most": dict(engine=Engine(num_devices=999)),
    "`key` must be one key": dict(key=0),
    "`num_starts` must be at least 1": dict(num_starts=0),
    "`num_starts` must be an integer": dict(num_starts=2.5),
    "give either": dict(num_starts=None),
    "`keep` may hold": dict(keep=("everything",)),
    "`at_event` names `gone`": dict(stop=Stop(at_event="gone")),
    "event `bad` must return one bool": dict(events={"bad": lambda x, v, g: x}),
    "has no `noisy_value`": dict(is_noisy=True),
    "`optimizer` must be an optax": dict(optimizer=0.1),
    "state changes shape": dict(
        optimizer=optax.GradientTransformation(lambda p: jnp.zeros(1), lambda u, s, p=None: (u, jnp.append(s, s)))
    ),
    "`value` must return one floating-point number": dict(landscape=Landscape(value=lambda x: x, sample=WELL.sample)),
    "`value` raised ZeroDivisionError": dict(landscape=Landscape(value=lambda x: 1 / 0, sample=WELL.sample)),
    "not finite at any": dict(landscape=Landscape(value=lambda x: jnp.nan * jnp.sum(x), sample=WELL.sample)),
    "must be floating-point arrays": dict(landscape=Landscape(value=jnp.sum, sample=lambda k: jnp.arange(3))),
    "hold no numbers": dict(landscape=Landscape(value=jnp.sum, sample=lambda k: jnp.zeros((0,)))),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_questions_are_refused_in_one_sentence(key, message):
    asked = dict(landscape=WELL, optimizer=optax.sgd(0.02), num_starts=4, key=key) | BAD[message]
    with pytest.raises((jaxgd.InputValueError, jaxgd.InputTypeError), match=message):
        jaxgd.descend(asked.pop("landscape"), asked.pop("optimizer"), asked.pop("num_starts"), **asked)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (dict(num_lanes=0), "`num_lanes` must be at least 1"),
        (dict(num_lanes=2.5), "`num_lanes` must be an integer"),
        (dict(num_devices=0), "`num_devices` must be at least 1"),
        (dict(layout="sideways"), "`layout` must be one of"),
    ],
)
def test_an_engine_that_cannot_be_is_refused(bad, message):
    with pytest.raises((jaxgd.InputValueError, jaxgd.InputTypeError), match=message):
        Engine(**bad)


@pytest.mark.parametrize(
    "rule",
    [dict(gradient_norm=0.0), dict(gradient_norm=float("nan")), dict(max_steps=-1), dict(patience=1.5)],
)
def test_stop_refuses_rules_that_cannot_be_meant(rule):
    with pytest.raises((jaxgd.InputValueError, jaxgd.InputTypeError), match=next(iter(rule))):
        Stop(**rule)


def test_a_block_of_starts_ends_as_the_same_starts_of_the_whole_run(key):
    whole = jaxgd.descend(WELL, optax.sgd(0.02), 60, key=key, engine=Engine(num_lanes=8))
    block = jaxgd.descend(WELL, optax.sgd(0.02), 25, first_start=30, key=key, engine=Engine(num_lanes=8))
    np.testing.assert_array_equal(block.start_number, np.arange(30, 55))
    chex.assert_trees_all_equal(block.params, whole.params[30:55])
    np.testing.assert_array_equal(block.num_steps, whole.num_steps[30:55])


def test_a_block_of_given_starts_is_refused(key):
    with pytest.raises(InputValueError, match="`first_start` applies to drawn starts"):
        jaxgd.descend(WELL, optax.sgd(0.02), starts=jnp.ones((4, 2)), first_start=1, key=key)
