"""Every optimizer of optax takes the same steps with the lane axis last as under `vmap`."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import jaxgd
from jaxgd.lanes_last.mapping import lanes_last

NUM_LANES = 3
RATE = 0.01

OPTIMIZERS = {
    "adabelief": lambda: optax.adabelief(RATE),
    "adadelta": lambda: optax.adadelta(RATE),
    "adafactor": lambda: optax.adafactor(RATE, min_dim_size_to_factor=2),
    "adagrad": lambda: optax.adagrad(RATE),
    "adam": lambda: optax.adam(RATE),
    "adamax": lambda: optax.adamax(RATE),
    "adamaxw": lambda: optax.adamaxw(RATE),
    "adamw": lambda: optax.adamw(RATE),
    "adan": lambda: optax.adan(RATE),
    "amsgrad": lambda: optax.amsgrad(RATE),
    "fromage": lambda: optax.fromage(RATE),
    "lamb": lambda: optax.lamb(RATE),
    "lars": lambda: optax.lars(RATE),
    "lbfgs": lambda: optax.lbfgs(memory_size=3),
    "lion": lambda: optax.lion(RATE),
    "nadam": lambda: optax.nadam(RATE),
    "nadamw": lambda: optax.nadamw(RATE),
    "noisy_sgd": lambda: optax.noisy_sgd(RATE, key=jax.random.key(5)),
    "novograd": lambda: optax.novograd(RATE),
    "optimistic_adam": lambda: optax.optimistic_adam_v2(RATE),
    "optimistic_gradient_descent": lambda: optax.optimistic_gradient_descent(RATE),
    "polyak_sgd": lambda: optax.polyak_sgd(),
    "radam": lambda: optax.radam(RATE),
    "rmsprop": lambda: optax.rmsprop(RATE, centered=True, momentum=0.9, nesterov=True),
    "rprop": lambda: optax.rprop(RATE),
    "sgd": lambda: optax.sgd(RATE, momentum=0.9, nesterov=True),
    "sign_sgd": lambda: optax.sign_sgd(RATE),
    "signum": lambda: optax.signum(RATE),
    "sm3": lambda: optax.sm3(RATE),
    "yogi": lambda: optax.yogi(RATE),
    "acprop": lambda: optax.contrib.acprop(RATE),
    "ademamix": lambda: optax.contrib.ademamix(RATE),
    "simplified_ademamix": lambda: optax.contrib.simplified_ademamix(RATE),
    "adopt": lambda: optax.contrib.adopt(RATE),
    "cocob": lambda: optax.contrib.cocob(),
    "dadapt_adamw": lambda: optax.contrib.dadapt_adamw(),
    "dog": lambda: optax.contrib.dog(1.0),
    "dowg": lambda: optax.contrib.dowg(1.0),
    "galore": lambda: optax.contrib.galore(RATE, rank=2),
    "madgrad": lambda: optax.contrib.madgrad(RATE),
    "mechanize": lambda: optax.contrib.mechanize(optax.sgd(RATE)),
    "momo": lambda: optax.contrib.momo(),
    "momo_adam": lambda: optax.contrib.momo_adam(),
    "muon": lambda: optax.contrib.muon(RATE),
    "prodigy": lambda: optax.contrib.prodigy(),
    "sam": lambda: optax.contrib.sam(optax.sgd(RATE), optax.sgd(0.1), sync_period=2),
    "schedule_free_adamw": lambda: optax.contrib.schedule_free_adamw(RATE),
    "schedule_free_sgd": lambda: optax.contrib.schedule_free_sgd(RATE),
    "sophia": lambda: optax.contrib.sophia(RATE),
    # wrappers and clips, one of each kind
    "apply_every": lambda: optax.chain(optax.apply_every(2), optax.scale(-RATE)),
    "apply_if_finite": lambda: optax.apply_if_finite(optax.adam(RATE), 3),
    "backtracking": lambda: optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(5)),
    "clip_by_global_norm": lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(RATE)),
    "adaptive_grad_clip": lambda: optax.chain(optax.adaptive_grad_clip(0.1), optax.sgd(RATE)),
    "inject_hyperparams": lambda: optax.inject_hyperparams(optax.adam)(optax.linear_schedule(0.1, 0.01, 3)),
    "lookahead": lambda: optax.chain(optax.ema(0.9), optax.zero_nans(), optax.centralize(), optax.sgd(RATE)),
    "multi_steps": lambda: optax.MultiSteps(optax.adam(RATE), 2).gradient_transformation(),
    "reduce_on_plateau": lambda: optax.chain(optax.adam(RATE), optax.contrib.reduce_on_plateau(patience=0)),
}
FAST = {"adam", "lion", "sgd", "clip_by_global_norm"}
NOT_STEPPED = {
    "dpsgd",
    "schedule_free",
    "optimistic_adam_v2",
}  # a gradient per example; stepped by other names


def value_fn(params):
    hidden = jnp.tanh(params["weight"] @ params["bias"]) + params["bias"][:2]
    return jnp.sum((hidden - 0.3) ** 2) + 0.1 * jnp.sum(params["weight"] ** 2)


def steps(optimizer, params, accepts):
    """Takes three steps from `params`; returns where they led, and the optimizer's state."""
    optimizer = optax.with_extra_args_support(optimizer)
    state = optimizer.init(params)
    for _ in range(3):
        value, gradient = jax.value_and_grad(value_fn)(params)
        extra = {"value": value, "grad": gradient, "value_fn": value_fn, "obj_fn": value_fn}
        extra = {name: extra[name] for name in accepts}
        updates, state = optimizer.update(gradient, state, params, **extra)
        params = optax.apply_updates(params, updates)
    return params, state


CASES = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in OPTIMIZERS]


@pytest.mark.parametrize("dtype", [jnp.float64, pytest.param(jnp.float32, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CASES)
def test_optimizers_take_the_steps_that_they_take_under_vmap(name, dtype):
    random = np.random.default_rng(1)
    params = {
        "weight": jnp.asarray(random.normal(size=(2, 3, NUM_LANES)), dtype),
        "bias": jnp.asarray(random.normal(size=(3, NUM_LANES)), dtype),
    }
    accepts = {"sam": (), "sophia": ("obj_fn",)}.get(name, ("value", "grad", "value_fn"))
    run = lambda params: steps(OPTIMIZERS[name](), params, accepts)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        found = jax.jit(lanes_last(run))(params)
        expected = jax.jit(jax.vmap(run, in_axes=-1, out_axes=-1))(params)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert jax.typeof(a) == jax.typeof(b)
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        tolerance = 1e-9 if dtype == jnp.float64 else 2e-3
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


ALONE = [pytest.param(name, marks=() if name == "sgd" else pytest.mark.slow) for name in OPTIMIZERS]
BOWL = jaxgd.Landscape(
    value=value_fn,
    sample=lambda key: {"weight": jax.random.normal(key, (2, 3)), "bias": jax.random.normal(key, (3,))},
)


@pytest.mark.parametrize("layout", ["lanes_last", pytest.param("lanes_first", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ALONE)
def test_a_descent_among_others_is_the_descent_alone(name, layout, key):
    """Five descents share two lanes and are refilled; each is done once more in a lane of its own."""
    optimizer, stop = OPTIMIZERS[name](), jaxgd.Stop(gradient_norm=0.3, max_steps=12)
    ask = functools.partial(jaxgd.descend, BOWL, optimizer, key=key, stop=stop)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        among = ask(5, engine=jaxgd.Engine(layout=layout, num_lanes=2))
        alone = [ask(1, first_start=number, engine=jaxgd.Engine(layout=layout, num_lanes=1)) for number in range(5)]
    np.testing.assert_array_equal(among.num_steps, [ends.num_steps[0] for ends in alone])
    np.testing.assert_array_equal(among.status, [ends.status[0] for ends in alone])
    for number, ends in enumerate(alone):
        for a, b in zip(jax.tree.leaves(among.params), jax.tree.leaves(ends.params), strict=True):
            np.testing.assert_allclose(a[number], b[0], rtol=1e-9, atol=1e-12)


def test_no_optimizer_of_optax_is_missing():
    for module in (optax, optax.contrib):
        builders = {
            name
            for name, build in inspect.getmembers(module, inspect.isfunction)
            if "learning_rate" in inspect.signature(build).parameters
        }
        missing = builders - OPTIMIZERS.keys() - NOT_STEPPED
        assert {name for name in missing if not name.startswith(("_", "scale_by"))} == set()
