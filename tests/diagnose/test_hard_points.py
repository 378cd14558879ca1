"""Points at which others say "converged", each with a truth that is known from theory."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgd.diagnose import Cause, diagnose

CORNERS = jnp.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])


def told(params, loss, data=None, rate=0.1):
    return diagnose(params, loss, data, key=jax.random.key(0), optimizer=optax.sgd(rate))


def test_xor_at_ln_2_is_a_plateau_and_no_minimum():
    """With all weights zero the gradient is zero and the Hessian positive semidefinite, yet other weights do better."""
    draw = lambda scale: {"w": scale * jnp.ones((2, 3)), "b": jnp.zeros(3), "v": scale * jnp.ones(3)}

    def loss(params, batch):
        x, right = batch
        logit = jnp.tanh(x @ params["w"] + params["b"][None]) @ params["v"]
        return jnp.mean(optax.sigmoid_binary_cross_entropy(logit, right))

    found = told(draw(0.0), loss, (CORNERS, jnp.array([0.0, 1.0, 1.0, 0.0])))
    assert found["loss"].value == pytest.approx(np.log(2))
    assert found.cause == Cause.PLATEAU
    assert found.is_stuck


@pytest.mark.slow
def test_zero_weights_before_a_linear_goal_are_a_strict_saddle():
    """Input and goal being correlated, weights of the two layers gain together: curvature is minus the covariance."""
    x = jax.random.normal(jax.random.key(1), (64, 2))
    goal = x @ jnp.array([1.0, -0.5])
    params = {"w": jnp.zeros((2, 3)), "v": jnp.zeros(3)}
    loss = lambda p, batch: jnp.mean((jnp.tanh(batch[0] @ p["w"]) @ p["v"] - batch[1]) ** 2) / 2
    found = told(params, loss, (x, goal))
    assert found.cause == Cause.SADDLE
    exact = -float(jnp.linalg.norm(jnp.mean(x * goal[:, None], axis=0)))  # of the block [0, c; c', 0]
    lowest = found["lowest curvature"]
    assert lowest.low <= exact <= lowest.high
    assert found["steps to escape"].value == pytest.approx(-10 / exact, rel=1e-3)


@pytest.mark.slow
def test_dead_rectifiers_are_dead_units():
    x = jax.random.normal(jax.random.key(1), (64, 3))
    goal = jnp.sin(2 * x[:, 0])
    params = {
        "w": jax.random.normal(jax.random.key(2), (3, 8)),
        "b": jnp.full(8, -30.0),
        "v": jnp.ones(8),
        "c": jnp.mean(goal),
    }
    loss = lambda p, batch: jnp.mean((jax.nn.relu(batch[0] @ p["w"] + p["b"][None]) @ p["v"] + p["c"] - batch[1]) ** 2)
    found = told(params, loss, (x, goal))
    assert found.cause == Cause.DEAD_UNITS
    assert found["silent units"].value == 1
    assert found.facts.leaf_shares["w"] == found.facts.leaf_shares["v"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(("which", "cause"), [((0, 1), Cause.MINIMUM), ((1, 2), Cause.SADDLE)])
def test_linear_autoencoder_is_stuck_unless_it_has_the_leading_components(which, cause):
    """Baldi and Hornik (1989): its critical points are the sets of principal components, one set is no saddle."""
    x = jax.random.normal(jax.random.key(1), (100, 4))
    x = jnp.linalg.svd(x - x.mean(0)[None], full_matrices=False)[0] * (10 * jnp.array([2.0, 1.5, 1.0, 0.5])[None])
    code = jnp.eye(4)[:, jnp.array(which)]
    loss = lambda p, batch: jnp.mean(jnp.sum((batch @ p["in"] @ p["out"] - batch) ** 2, axis=1))
    # At a rate of 0.1 rounding grows so fast along the saddle that going on as before leaves it within the probe.
    assert told({"in": code, "out": code.T}, loss, x, rate=0.01).cause == cause


@pytest.mark.slow
@pytest.mark.parametrize(("variance", "cause"), [(3.0, Cause.MINIMUM), (0.5, Cause.SADDLE)])
def test_collapsed_posterior_of_a_linear_vae_is_a_minimum_only_above_the_leading_variance(variance, cause):
    """Lucas et al. (2019): with noise of that variance, collapse is stable where it exceeds the data's largest one."""
    x = jax.random.normal(jax.random.key(1), (200, 3))
    x = jnp.linalg.svd(x, full_matrices=False)[0] * (200**0.5 * jnp.array([1.4, 1.0, 0.5])[None])  # variances 2, 1, 1/4

    def loss(p, batch):
        mean, spread = batch @ p["in"], jnp.exp(p["log_variance"])
        error = jnp.sum((batch - mean @ p["out"]) ** 2, axis=1) + jnp.sum(spread * jnp.sum(p["out"] ** 2, axis=1))
        divergence = jnp.sum(mean**2, axis=1) + jnp.sum(spread - 1 - p["log_variance"])
        return jnp.mean(error / variance + divergence) / 2

    params = {"in": jnp.zeros((3, 2)), "out": jnp.zeros((2, 3)), "log_variance": jnp.zeros(2)}
    assert told(params, loss, x).cause == cause


@pytest.mark.slow
def test_trivial_solution_of_an_equation_is_a_minimum_of_its_residual():
    """u = 0 solves u'' + u = 0: without boundary values the residual has its least value there, and nobody is stuck."""
    params = {"w": jax.random.normal(jax.random.key(1), (5,)), "b": jnp.ones(5), "v": jnp.zeros(5)}
    u = lambda p, t: jnp.tanh(t * p["w"] + p["b"]) @ p["v"]

    def loss(p, times):
        residual = jax.vmap(lambda t: jax.grad(jax.grad(lambda s: u(p, s)))(t) + u(p, t))(times)
        return jnp.mean(residual**2)

    found = told(params, loss, jnp.linspace(0.0, 3.0, 20))
    assert found.cause == Cause.MINIMUM
    assert found["loss"].value == 0
    assert "flat" in found.reason
