"""What every transformation keeps, from one table: iterates, lanes, dtypes, traces, arguments."""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd.transforms as transforms
from jaxgd import testing
from jaxgd.base import InputTypeError, InputValueError
from jaxgd.testing.transformation import CURVATURE, NUM_STEPS, START, as_tree, extras, run, step_types

# ----------------------------------------------------- the papers' iterates, in plain numpy, on the quadratic


def value_at(x):
    return np.sum(CURVATURE * x * x) / 2


def gradient_at(x):
    return CURVATURE * x


def linear_map(matrix: Callable[..., np.ndarray] | np.ndarray) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Returns the path of x <- factor * x."""

    def path(x):
        return [x := matrix * x for _ in range(NUM_STEPS)]

    return path


def descent(rate: float) -> Callable[[np.ndarray], list[np.ndarray]]:
    return linear_map(1 - rate * CURVATURE)


def heavy_ball_path(x, rate=0.1, momentum=0.9):
    before, path = x, []
    for _ in range(NUM_STEPS):
        x, before = x - rate * gradient_at(x) + momentum * (x - before), x
        path.append(x)
    return path


def nesterov_path(y, rate=0.1):
    x, k, path = y, 0, []
    for _ in range(NUM_STEPS):
        new = y - rate * gradient_at(y)
        k = 0 if gradient_at(y) @ (new - x) > 0 else k
        y, x = new + k / (k + 3) * (new - x), new
        k += 1
        path.append(y)
    return path


def fire_path(x, step=0.1, max_step=0.2, max_time_step=1.0):
    """ASE's FIRE."""
    v, alpha, downhill, path = np.zeros_like(x), 0.1, 0, []
    for number in range(NUM_STEPS):
        force = -gradient_at(x)
        if number:
            if force @ v > 0:
                v = (1 - alpha) * v + alpha * force / np.linalg.norm(force) * np.linalg.norm(v)
                if downhill > 5:
                    step, alpha = min(1.1 * step, max_time_step), 0.99 * alpha
                downhill += 1
            else:
                v, alpha, step, downhill = np.zeros_like(x), 0.1, step / 2, 0
        v = v + step * force
        move = step * v
        move *= min(1, max_step / np.linalg.norm(move))
        x = x + move
        path.append(x)
    return path


def lbfgs_path(x, memory=2):
    """The same rules with the inverse Hessian as a matrix, built by the product form of BFGS."""
    scale, pairs, x0, g0, f0, path = 1.0, [], None, None, np.inf, []
    for number in range(NUM_STEPS):
        f, g = value_at(x), gradient_at(x)
        if number:
            s, y = x - x0, g - g0
            assert f <= f0 + 1e-12
            if s @ y > 1.5e-8 * np.linalg.norm(s) * np.linalg.norm(y):
                pairs, scale = [*pairs, (s, y)], s @ y / (y @ y)
            else:
                pairs, scale = [*pairs, None], 2 * scale
            pairs = pairs[-memory:]
        inverse = scale * np.eye(len(x))
        for s, y in filter(None, pairs):
            left = np.eye(len(x)) - np.outer(s, y) / (s @ y)
            inverse = left @ inverse @ left.T + np.outer(s, s) / (s @ y)
        move = -inverse @ g
        if not number:
            factor = min(1, 1 / np.linalg.norm(move))
            move, scale = factor * move, factor * scale
        x0, g0, f0, x = x, g, f, x + move
        path.append(x)
    return path


def barzilai_borwein_path(x, rate=0.1):
    x0, path = None, []
    for _ in range(NUM_STEPS):
        if x0 is not None:
            s, y = x - x0, gradient_at(x) - gradient_at(x0)
            rate = s @ y / (y @ y) if s @ y > 0 else np.linalg.norm(s) / np.linalg.norm(y)
        x0, x = x, x - rate * gradient_at(x)
        path.append(x)
    return path


def root_mean_square_path(x):
    squares, path = [], []
    for _ in range(NUM_STEPS):
        squares.append(gradient_at(x) ** 2)
        x = x - 0.1 * gradient_at(x) / np.sqrt(np.mean(squares, axis=0))
        path.append(x)
    return path


def baoab_path(x, step=0.1, friction=0.5):
    v, path = np.zeros_like(x), []
    for _ in range(NUM_STEPS):
        v = v - step / 2 * gradient_at(x)
        x = x + step / 2 * v
        v = np.exp(-friction * step) * v
        x = x + step / 2 * v
        v = v - step / 2 * gradient_at(x)
        path.append(x)
    return path


def accelerated_path(x, rate=0.1, momentum=0.8, concavity=0.05, probe=0.3):
    """The points where Jin, Netrapalli and Jordan's Algorithms 2 and 3 evaluate the function, in order."""
    v, path = np.zeros_like(x), []
    while len(path) < NUM_STEPS:
        y = x + momentum * v
        path.append(y)
        bound = value_at(y) + gradient_at(y) @ (x - y) - concavity / 2 * (x - y) @ (x - y)
        if value_at(x) < bound - 1e-12:
            if np.linalg.norm(v) < probe:
                xi = probe * v / np.linalg.norm(v)
                path += [x + xi, x - xi]
                x = x - xi if value_at(x - xi) <= value_at(x + xi) else x + xi
            v = np.zeros_like(x)
        else:
            new = y - rate * gradient_at(y)
            v, x = new - x, new
        path.append(x)
    return path[:NUM_STEPS]


def cubic_path(x, m=2.0):
    path = []
    for _ in range(NUM_STEPS):
        low, high = max(0, -2 * CURVATURE.min() / m), 1e3
        for _ in range(200):  # on the length r of the step
            r = (low + high) / 2
            s = -gradient_at(x) / (CURVATURE + m * r / 2)
            low, high = (r, high) if np.linalg.norm(s) > r else (low, r)
        x = x + s
        path.append(x)
    return path


def known_minimum_path(x, rate=0.01, bound=-5.0):
    path = []
    for _ in range(NUM_STEPS):
        g = gradient_at(x)
        x = x - rate * (value_at(x) - bound) * g / (g @ g)
        path.append(x)
    return path


def proximal_path(x, rate=0.1, strength=0.3):
    start, path = x, []
    for _ in range(NUM_STEPS):
        x = x - rate * (gradient_at(x) + strength * (x - start))
        path.append(x)
    return path


def ball_path(x, rate=0.3, radius=0.5):
    start, path = x, []
    for _ in range(NUM_STEPS):
        offset = x - rate * gradient_at(x) - start
        x = start + min(1, radius / np.linalg.norm(offset)) * offset
        path.append(x)
    return path


def discarding_path(x, rate=0.3, limit=0.8):
    path = []
    for _ in range(NUM_STEPS):
        move = -rate * gradient_at(x)
        x = x + move if np.linalg.norm(move) <= limit else x
        path.append(x)
    return path


# ------------------------------------------------------------------------------------------------ the table


def then_descend(builder, rate=0.1):
    return lambda **kwargs: optax.chain(builder(**kwargs), optax.scale(-rate))


def after_descent(builder, rate=0.1):
    return lambda **kwargs: optax.chain(optax.scale(-rate), builder(**kwargs))


@dataclass(frozen=True)
class Case:
    """A builder with hyperparameters, the path they give without noise, and arguments to be refused."""

    builder: Callable[..., optax.GradientTransformationExtraArgs]
    kwargs: dict[str, Any]
    path: Callable[[np.ndarray], list[np.ndarray]] | None
    bad: dict[str, Any]
    quiet: dict[str, Any] = field(default_factory=dict)  # hyperparameters that switch noise off
    static: tuple[str, ...] = ()
    is_noisy: bool = False
    wrap: Callable[..., Any] = lambda builder: builder


TABLE = {
    "barzilai_borwein": Case(
        transforms.barzilai_borwein,
        {"learning_rate": 0.1},
        barzilai_borwein_path,
        {"learning_rate": -1.0, "max_learning_rate": 0.0, "form": "medium"},
    ),
    "fire": Case(
        transforms.fire,
        {},
        fire_path,
        {
            "time_step": 0.0, "max_time_step": np.inf, "max_step": -0.1, "growth": 0.5, "shrink": 1.5,
            "mixing": -0.1, "mixing_decay": 2.0, "delay": -1,
        },
    ),
    "heavy_ball": Case(
        transforms.heavy_ball,
        {"learning_rate": 0.1, "momentum": 0.9},
        heavy_ball_path,
        {"learning_rate": np.nan, "momentum": 1.0},
    ),
    "lbfgs": Case(
        transforms.lbfgs,
        {"memory_size": 2},
        lbfgs_path,
        {
            "memory_size": 0, "max_step": 0.0, "max_first_step": -1.0, "initial_scale": 0.0,
            "max_rise": -1e-3, "shrink": 1.0,
        },
        static=("memory_size",),
    ),
    "nesterov_restart": Case(
        transforms.nesterov_restart,
        {"learning_rate": 0.1},
        nesterov_path,
        {"learning_rate": 0.0, "restart": "always"},
    ),
    "nonlinear_cg": Case(
        transforms.nonlinear_cg,
        {},
        None,
        {"max_first_step": 0.0, "slope_fraction": 1.0, "max_trials": 0},
    ),
    "scale_by_root_mean_square": Case(
        transforms.scale_by_root_mean_square,
        {"epsilon": 0.0},
        root_mean_square_path,
        {"epsilon": -1.0},
        wrap=then_descend,
    ),
    "add_gradient_noise": Case(
        transforms.add_gradient_noise,
        {"scale": 0.3, "tail_index": 1.5},
        descent(0.1),
        {"scale": -0.1, "tail_index": 2.5},
        quiet={"scale": 0.0},
        is_noisy=True,
        wrap=then_descend,
    ),
    "langevin": Case(
        transforms.langevin,
        {"learning_rate": 0.1, "temperature": 0.2},
        descent(0.1),
        {"learning_rate": -0.1, "temperature": -1.0},
        quiet={"temperature": 0.0},
        is_noisy=True,
    ),
    "underdamped_langevin": Case(
        transforms.underdamped_langevin,
        {"time_step": 0.1, "temperature": 0.2, "friction": 0.5},
        baoab_path,
        {"time_step": 0.0, "temperature": -1.0, "friction": -1.0},
        quiet={"temperature": 0.0},
        is_noisy=True,
    ),
    "always_perturbed_gradient": Case(
        transforms.always_perturbed_gradient,
        {"learning_rate": 0.1, "radius": 0.2},
        descent(0.1),
        {"learning_rate": 0.0, "radius": -1.0},
        quiet={"radius": 0.0},
        is_noisy=True,
    ),
    "perturbed_gradient": Case(
        transforms.perturbed_gradient,
        {"learning_rate": 0.1, "radius": 0.2, "gradient_norm": 10.0, "wait": 3},
        descent(0.1),
        {"learning_rate": 0.0, "radius": 0.0, "gradient_norm": 0.0, "wait": 0, "value_drop": -1.0},
        quiet={"gradient_norm": 1e-9},
        is_noisy=True,
    ),
    "perturbed_accelerated": Case(
        transforms.perturbed_accelerated,
        {
            "learning_rate": 0.1, "momentum": 0.8, "radius": 0.2, "gradient_norm": 10.0, "wait": 3,
            "concavity": 0.05, "probe_length": 0.3,
        },
        accelerated_path,
        {
            "learning_rate": 0.0, "momentum": 1.0, "radius": 0.0, "gradient_norm": 0.0, "wait": 0,
            "concavity": -1.0, "probe_length": 0.0,
        },
        quiet={"gradient_norm": 1e-9},
        is_noisy=True,
    ),
    "neon": Case(
        transforms.neon,
        {
            "learning_rate": 0.1, "gradient_norm": 10.0, "start_radius": 0.1, "escape_length": 0.2,
            "max_search": 5,
        },
        descent(0.1),
        {
            "learning_rate": 0.0, "gradient_norm": 0.0, "start_radius": 0.0, "escape_length": 0.0,
            "max_search": 0,
        },
        quiet={"gradient_norm": 1e-9},
        is_noisy=True,
    ),
    "negative_curvature": Case(
        transforms.negative_curvature,
        {"learning_rate": 0.1, "gradient_norm": 10.0, "step_length": 0.5, "num_vectors": 2},
        descent(0.1),
        {
            "learning_rate": 0.0, "gradient_norm": 0.0, "step_length": 0.0, "num_vectors": 0,
            "min_curvature": -1.0,
        },
        quiet={"gradient_norm": 1e-9},
        static=("num_vectors",),
        is_noisy=True,
    ),
    "noise_when_stalled": Case(
        transforms.noise_when_stalled,
        {"scale": 0.1, "patience": 2, "improvement": 10.0},
        descent(0.1),
        {"scale": 0.0, "patience": 0, "improvement": -1.0},
        quiet={"improvement": 0.0},
        is_noisy=True,
        wrap=after_descent,
    ),
    "cubic_newton": Case(
        transforms.cubic_newton,
        {"hessian_lipschitz": 2.0},
        cubic_path,
        {"hessian_lipschitz": 0.0, "num_vectors": 0},
    ),
    "saddle_free_newton": Case(
        transforms.saddle_free_newton,
        {"learning_rate": 0.5},
        linear_map(1 - 0.5 * np.sign(CURVATURE)),
        {"learning_rate": 0.0, "min_curvature": 0.0, "max_step": 0.0, "num_vectors": 0},
    ),
    "trust_region_newton": Case(
        transforms.trust_region_newton,
        {"max_products": 3},
        None,
        {"initial_radius": 0.0, "max_radius": -1.0, "max_products": 0},
        static=("max_products",),
    ),
    "gentlest_ascent": Case(
        transforms.gentlest_ascent,
        {"learning_rate": 0.1},
        None,
        {"learning_rate": 0.0, "direction_rate": 0.0, "max_step": 0.0},
        is_noisy=True,
    ),
    "gradient_norm_descent": Case(
        transforms.gradient_norm_descent,
        {"learning_rate": 0.1},
        linear_map(1 - 0.1 * CURVATURE**2),
        {"learning_rate": 0.0},
    ),
    "saddle_dynamics": Case(
        transforms.saddle_dynamics,
        {"learning_rate": 0.1, "index": 3},
        linear_map(1 + 0.1 * CURVATURE),  # all directions turned round: ascent
        {"learning_rate": 0.0, "index": -1, "direction_rate": 0.0, "max_step": 0.0, "num_turns": 0},
        static=("index", "num_turns"),
        is_noisy=True,
    ),
    "ascend": Case(
        transforms.ascend,
        {"optimizer": optax.sgd(0.1)},
        linear_map(1 + 0.1 * CURVATURE),
        {},
    ),
    "discard_large_updates": Case(
        transforms.discard_large_updates,
        {"max_norm": 0.8},
        discarding_path,
        {"max_norm": 0.0},
        wrap=functools.partial(after_descent, rate=0.3),
    ),
    "known_minimum": Case(
        transforms.known_minimum,
        {"learning_rate": 0.01, "minimum_value": -5.0},
        known_minimum_path,
        {"learning_rate": 0.0, "minimum_value": np.inf, "max_inverse_gradient": 0.0},
    ),
    "monitor": Case(
        transforms.monitor,
        {"optimizer": optax.sgd(0.1), "every": 2},
        descent(0.1),
        {"every": 1, "decay": 1.0, "small": 0.0, "clip_norm": -1.0},
        static=("optimizer", "every"),
    ),
    "pull_to_start": Case(
        transforms.pull_to_start,
        {"strength": 0.3},
        proximal_path,
        {"strength": -1.0},
        wrap=then_descend,
    ),
    "stay_within": Case(
        transforms.stay_within,
        {"radius": 0.5},
        ball_path,
        {"radius": 0.0},
        wrap=functools.partial(after_descent, rate=0.3),
    ),
}  # fmt: skip

every = pytest.mark.parametrize("name", TABLE)
noisy = pytest.mark.parametrize("name", [name for name, case in TABLE.items() if case.is_noisy])


def build(name, **changes):
    case = TABLE[name]
    return case.wrap(case.builder)(**(case.kwargs | changes))


@functools.cache
def compiled_run(name):
    """Returns three lanes' paths and last states from their starts and keys; one program for all tests."""
    return jax.jit(jax.vmap(lambda params, key: run(build(name), params, key)))


def keys_of_lanes(key):
    return jax.vmap(lambda lane: jax.random.fold_in(key, lane))(jnp.arange(3))


def path_of(name, key):
    return compiled_run(name)(jnp.tile(START, (3, 1)), keys_of_lanes(key))[0][0]


def tree_start(dtype=jnp.float64):
    return as_tree(START, dtype)


def test_the_table_has_every_public_transformation():
    assert set(TABLE) | {"perturbed_gradient_constants"} == set(transforms.__all__)


@pytest.mark.parametrize("name", [name for name, case in TABLE.items() if case.path])
def test_iterates_on_an_indefinite_quadratic_are_those_of_the_source(name):
    case = TABLE[name]
    testing.assert_iterates(build(name, **case.quiet), case.path(START))


@every
def test_a_lane_does_not_see_its_neighbours(name):
    """Neither its steps nor its noise change when it trades places, or when a neighbour is broken."""
    testing.assert_lanes_independent(build(name))


@noisy
def test_two_lanes_never_draw_the_same_noise(name):
    testing.assert_noise_differs(build(name))


def counted_step(optimizer):
    """Returns a compiled step that fails if it is traced twice."""
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(params, state, key):
        grad, extra = extras(params, key)
        move, state = optimizer.update(grad, state, params, **extra)
        return optax.apply_updates(params, move), state

    return step


@pytest.mark.parametrize("name", [name for name in TABLE if not TABLE[name].is_noisy])
def test_a_tree_of_parameters_steps_like_one_array_and_traces_once(name, key):
    optimizer, params = build(name), tree_start()
    state, step = optimizer.init(params), counted_step(optimizer)
    for number in range(4):
        params, state = step(params, state, jax.random.fold_in(key, number))
    flat = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(params)])
    np.testing.assert_allclose(flat, path_of(name, key)[3], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", [name for name in TABLE if TABLE[name].is_noisy])
def test_a_noisy_step_of_a_tree_of_parameters_traces_once(name, key):
    optimizer, params = build(name), tree_start()
    state, step = optimizer.init(params), counted_step(optimizer)
    jax.eval_shape(step, *jax.eval_shape(step, params, state, key), key)


def assert_types_kept(optimizer, params):
    before, after, move = step_types(optimizer, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(before, after)
    chex.assert_trees_all_equal_shapes_and_dtypes(move, params)


@every
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtypes_are_kept(name, dtype):
    testing.assert_dtypes_kept(build(name), [dtype])


@every
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_hyperparameters_may_be_traced_scalars_of_any_float_dtype(name, dtype):
    case = TABLE[name]
    numbers = {
        key: jnp.asarray(number, dtype)
        for key, number in case.kwargs.items()
        if key not in case.static and isinstance(number, (int, float))
    }

    def both(numbers, params):
        before, after, move = step_types(build(name, **numbers), params)
        chex.assert_trees_all_equal_shapes_and_dtypes(before, after)
        chex.assert_trees_all_equal_shapes_and_dtypes(move, params)
        return 0

    jax.eval_shape(both, numbers, tree_start(jnp.float32))


@every
def test_it_works_inside_chain_and_multi_transform_and_inject_hyperparams(name):
    case, params = TABLE[name], tree_start()
    assert_types_kept(optax.chain(optax.clip(1.0), build(name), optax.scale(0.5)), params)
    block_of_two = {"index": 2} if "index" in case.kwargs else {}
    split = optax.multi_transform(
        {"mine": build(name, **block_of_two), "theirs": optax.sgd(0.1)}, {"a": "theirs", "b": "mine"}
    )
    block = lambda v: jax.tree.map(lambda leaf: leaf, v)  # an hvp of the block
    before, after, move = step_types(split, params, hvp=block)
    chex.assert_trees_all_equal_shapes_and_dtypes(before, after)
    chex.assert_trees_all_equal_shapes_and_dtypes(move, params)
    assert_types_kept(optax.inject_hyperparams(case.builder, static_args=case.static)(**case.kwargs), params)


BAD = [(name, argument, number) for name, case in TABLE.items() for argument, number in case.bad.items()]


@pytest.mark.parametrize(("name", "argument", "number"), BAD)
def test_a_bad_hyperparameter_is_refused_by_name_value_and_rule(name, argument, number):
    case = TABLE[name]
    message = rf"`{argument}` must be .*, got {re.escape(repr(number))}\."
    with pytest.raises(InputValueError, match=message):
        case.builder(**(case.kwargs | {argument: number}))


@pytest.mark.parametrize(
    ("name", "argument", "thing"),
    [
        ("heavy_ball", "learning_rate", "fast"),
        ("heavy_ball", "momentum", True),
        ("lbfgs", "memory_size", 2.0),
        ("lbfgs", "memory_size", True),
        ("saddle_dynamics", "index", jnp.asarray(1)),
        ("fire", "time_step", [0.1]),
        ("add_gradient_noise", "scale", "large"),
        ("ascend", "optimizer", 0.1),
        ("monitor", "optimizer", 0.1),
    ],
)
def test_a_hyperparameter_of_the_wrong_kind_is_refused(name, argument, thing):
    case = TABLE[name]
    with pytest.raises(InputTypeError, match=f"`{argument}` must be"):
        case.builder(**(case.kwargs | {argument: thing}))


def test_every_learning_rate_that_may_be_a_schedule_follows_it(key):
    schedule = optax.linear_schedule(0.2, 0.0, NUM_STEPS)
    factors = [1 - 0.2 * (1 - step / NUM_STEPS) * CURVATURE for step in range(NUM_STEPS)]
    expected = START * np.cumprod(factors, axis=0)
    for optimizer in (transforms.heavy_ball(schedule, 0.0), transforms.langevin(schedule, 0.0)):
        np.testing.assert_allclose(run(optimizer, jnp.asarray(START), key)[0], expected, rtol=1e-6)


@every
def test_update_says_which_argument_it_lacks(name):
    """Each of the optional arguments is either not needed, or asked for by name."""
    optimizer, params, key = build(name), jnp.asarray(START), jax.random.key(0)

    def step(lacking):
        grad, extra = extras(params, key)
        del extra[lacking]
        return optimizer.update(grad, optimizer.init(params), params, **extra)

    documentation = TABLE[name].builder.__doc__
    for argument in ("value", "hvp", "key"):
        is_needed = re.search(rf"`update`\s+needs[^.]*`{argument}`", documentation) is not None
        if TABLE[name].is_noisy if argument == "key" else is_needed:
            with pytest.raises(InputValueError, match=rf"`\w+` needs `{argument}`, .*: pass it to `update`"):
                step(argument)
        else:
            jax.eval_shape(lambda argument=argument: step(argument))


# ---------------------------------------------------------------------------------------------------- noise


@pytest.mark.parametrize("name", ["langevin", "neon"])
def test_outside_an_engine_the_builders_key_gives_noise_anew_each_step(name, key):
    optimizer, params = build(name, key=key), jnp.asarray(START)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state):
        grad, extra = extras(params, None)
        move, state = optimizer.update(grad, state, params, **extra)
        return optax.apply_updates(params, move), state

    for _ in range(2):
        params, state = step(params, state)
    other, _ = step(*step(jnp.asarray(START), build(name, key=jax.random.key(7)).init(params)))
    assert jnp.max(jnp.abs(other - params)) > 1e-9


@noisy
def test_a_key_in_the_state_takes_the_place_of_the_extra_argument(name, key):
    before, after, _ = step_types(build(name, key=key), jnp.asarray(START), key=None)
    chex.assert_trees_all_equal_shapes_and_dtypes(before, after)


def test_two_noisy_transformations_in_one_chain_differ_where_their_keys_do(key):
    zeros = jnp.zeros(1000)
    once = transforms.add_gradient_noise(1.0, key=jax.random.key(1))
    twice = transforms.add_gradient_noise(1.0, key=jax.random.key(2))
    first, _ = once.update(zeros, once.init(zeros), key=key)
    second, _ = twice.update(zeros, twice.init(zeros), key=key)
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(1000)
