"""What is found agrees with dense truth."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from jaxgd.diagnose import Cause, diagnose, findings
from jaxgd.diagnose.data import read_data
from jaxgd.diagnose.model import take_apart
from jaxgd.diagnose.problem import build
from jaxgd.diagnose.response import response_of
from jaxgd.diagnose.samples import gradient_samples
from jaxgd.diagnose.units import layers_of

NUM = 43


def network(key):
    keys = jax.random.split(key, 4)
    params = {"v": jax.random.normal(keys[1], (7, 3)), "w": jax.random.normal(keys[0], (5, 7))}
    return params, (jax.random.normal(keys[2], (NUM, 5)), jax.random.normal(keys[3], (NUM, 3)))


def loss(params, batch):
    return jnp.mean((jnp.tanh(batch[0] @ params["w"]) @ params["v"] - batch[1]) ** 2)


def problem_of(params, data, loss=loss, max_bytes=2**29, **how):
    how = {"has_aux": False, "has_key": False} | how
    return build(take_apart(params), loss, read_data(data, None), jax.random.key(3), max_bytes=max_bytes, **how)


@pytest.fixture
def problem(key):
    return problem_of(*network(key))


def test_ends_of_the_spectrum_are_those_of_the_dense_hessian(key, problem, monkeypatch):
    params, data = network(key)
    x, unravel = ravel_pytree(params)
    exact = np.linalg.eigvalsh(jax.hessian(lambda x: loss(unravel(x), data))(x))
    np.testing.assert_array_equal(problem.x, x)
    _, gradient = problem.gradient()
    look = lambda: findings.curvature_at(problem, gradient, gradient, key, 32)
    whole = look()
    monkeypatch.setattr(findings, "MAX_WHOLE", 10)
    part = look()
    for found in (whole, part):
        assert np.min(np.abs(exact - found.lowest[0])) <= (found.lowest[2] - found.lowest[1]) / 2
        assert found.highest[1] <= exact[-1] <= found.highest[2]
        assert found.least <= exact[0]
    assert whole.is_whole
    assert whole.lowest[0] == pytest.approx(exact[0], abs=1e-12)
    assert whole.num_negative == np.sum(exact < -1e-10)
    assert part.num_products <= 34


def test_data_in_parts_give_the_same_loss_gradient_and_curvature(key, problem):
    parts = problem_of(*network(key), max_bytes=3000)
    assert 1 < parts.part_size < NUM
    assert NUM % parts.part_size  # what is left over counts, too
    np.testing.assert_allclose(parts.value(), problem.value(), rtol=1e-12)
    np.testing.assert_allclose(parts.gradient()[1], problem.gradient()[1], rtol=1e-9)
    vector = jnp.ones((1, problem.dim))
    np.testing.assert_allclose(parts.product()(vector), problem.product()(vector), rtol=1e-9)


def test_critical_batch_size_has_the_trace_of_the_exact_covariance_in_its_interval(key):
    params, data = network(key)
    each = jax.vmap(lambda x, y: ravel_pytree(jax.grad(loss)(params, (x[None], y[None])))[0])(*data)
    gradient = each.mean(0)
    exact = float(jnp.sum((each - gradient[None]) ** 2) / NUM / jnp.sum(gradient**2))
    problem = problem_of(params, data)
    inside = 0
    for seed in range(20):
        samples = gradient_samples(problem, gradient, jax.random.key(seed))
        inside += samples.low <= exact * float(jnp.sum(gradient**2)) <= samples.high
    assert inside >= 16  # 19 are expected; 16 or fewer of 20 come at .016


CLIPPED = optax.chain(optax.clip_by_global_norm(1e-3), optax.sgd(0.2))


@pytest.mark.parametrize(
    ("optimizer", "clip_norm", "rate"),
    [
        (optax.sgd(0.2), np.inf, 0.2),
        (optax.sgd(0.2, momentum=0.9), np.inf, 0.2),
        (CLIPPED, 1e-3, None),
        (optax.chain(optax.clip_by_global_norm(1e-3), optax.sgd(0.2, momentum=0.9)), 1e-3, None),
        (optax.clip_by_global_norm(1e9), np.inf, -1.0),
        (optax.adam(1e-3), np.nan, None),
    ],
)
def test_clipping_and_rate_are_found_by_asking_the_optimizer(problem, optimizer, clip_norm, rate):
    value, gradient = problem.gradient()
    with jax.numpy_dtype_promotion("standard"):  # optax itself promotes
        response = response_of(problem, optax.with_extra_args_support(optimizer), None, gradient, value)
    np.testing.assert_allclose(response.clip_norm, clip_norm, rtol=1e-6)
    if rate is not None:
        assert response.rate == pytest.approx(rate)
    if optimizer is CLIPPED or rate is not None:  # without a gradient the rate still shows
        silent = response_of(problem, optax.with_extra_args_support(optimizer), None, jnp.zeros_like(gradient), value)
        assert silent.rate == pytest.approx(0.2 if rate is None else rate)


def test_units_are_counted_where_they_are_computed():
    def deep(params, x):
        x = jax.nn.relu(x @ params["a"] + params["b"][None])
        return jnp.mean(jax.nn.sigmoid(jax.jit(jnp.tanh)(x @ params["c"])) ** 2)

    x = jax.random.uniform(jax.random.key(0), (30, 3)) + 0.5
    shift = jnp.array([0.0, -100.0, 0.0, -100.0])  # the second and the fourth are dead
    params = {"a": jnp.abs(jax.random.normal(jax.random.key(1), (3, 4))), "b": shift, "c": jnp.ones((4, 2))}
    params["c"] = params["c"].at[0, 1].set(1e4)  # saturates one of two
    found = layers_of(problem_of(params, x, deep))
    assert found == [("relu", 4, 2), ("tanh", 2, 1), ("sigmoid", 2, 0)]


def test_leaves_that_the_loss_does_not_depend_on_are_named(key):
    params, data = network(key)
    params["unused"], params["stopped"] = jnp.ones(3), jnp.ones(())
    more = lambda p, batch: loss(p, batch) + 0 * jax.lax.stop_gradient(p["stopped"])
    found = diagnose(params, more, data, key=key, tier="cheap", optimizer=optax.sgd(1e-3))
    assert any("does not depend on unused" in note for note in found.notes)
    assert found.facts.leaf_shares["unused"] == found.facts.leaf_shares["stopped"] == 1


def test_cheap_tier_brackets_the_critical_step(key):
    bowl = lambda params, batch: jnp.sum(params["x"] ** 2) / 2
    found = diagnose({"x": jnp.ones(3)}, bowl, key=key, tier="cheap", optimizer=optax.sgd(3.0))
    step = found["critical step"]  # exactly 2/3 for curvature one
    assert step.low <= 2 / 3 <= step.high
    assert not found.probes
    assert found.facts.curvature is None


def test_steps_below_rounding_are_not_taken_for_too_large(key):
    far = lambda params, batch: 1e3 + jnp.sum(params["x"] ** 2) / 2
    found = diagnose({"x": jnp.ones(3)}, far, key=key, tier="cheap", optimizer=optax.sgd(1e-18))
    assert found["critical step"].value == np.inf
    assert found.cause == Cause.UNDECIDED


@pytest.mark.slow
def test_answer_is_words_first_and_json_holds_no_arrays(key):
    params, data = network(key)
    found = diagnose(params, loss, data, key=key, optimizer=optax.sgd(1e-5), num_steps=32)
    assert found.cause == Cause.STEP_TOO_SMALL
    assert str(found).startswith("Its steps are too small")
    assert found.remedy.name.startswith("steps times")
    tree = found.to_json()
    assert tree["cause"] == "step too small"
    assert len(tree["probes"]) == len(found.probes)
    assert found.remedy.cost == 1
