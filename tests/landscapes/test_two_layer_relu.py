import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd import landscapes


def closed_form(weights):
    """Safran and Shamir's formula, pair by pair."""

    def f(w, v):
        sizes = np.linalg.norm(w) * np.linalg.norm(v)
        t = np.arccos(np.clip(w @ v / sizes, -1, 1))
        return sizes * (np.sin(t) + (np.pi - t) * np.cos(t)) / (2 * np.pi)

    targets = np.eye(weights.shape[1])
    pairs = lambda left, right: sum(f(w, v) for w in left for v in right)
    return pairs(weights, weights) / 2 - pairs(weights, targets) + pairs(targets, targets) / 2


@pytest.mark.parametrize(("k", "n"), [(1, 3), (6, 5)])
def test_value_matches_the_closed_form(k, n, key):
    landscape = landscapes.two_layer_relu(k=k, n=n)
    weights = landscape.sample(key)
    np.testing.assert_allclose(jax.jit(landscape.value)(weights), closed_form(np.asarray(weights)), rtol=1e-12)


@pytest.mark.slow
def test_value_is_the_expected_squared_error_over_gaussian_inputs(key):
    landscape = landscapes.two_layer_relu(k=3, n=2)
    weights = landscape.sample(key)
    inputs = np.random.default_rng(0).standard_normal((400_000, 2))
    relu = lambda x: np.maximum(x, 0)
    losses = (relu(inputs @ np.asarray(weights).T).sum(1) - relu(inputs).sum(1)) ** 2 / 2
    standard_error = losses.std() / np.sqrt(len(losses))
    assert float(landscape.value(weights)) == pytest.approx(losses.mean(), abs=4 * standard_error)


@pytest.mark.slow
def test_hessian_stays_finite_and_continuous_near_parallel_neurons(key, spectra):
    landscape = landscapes.two_layer_relu(k=5, n=4)
    twins = jnp.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 2, 0, 0], [0, -1, 0, 0], [0.6, 0.8, 0, 0]])
    spreads = jnp.array([0.0, 1e-12, 1e-9, 1e-7, 1e-5])
    batch = twins[None] + spreads[:, None, None] * jax.random.normal(key, (5, *twins.shape))
    eigenvalues = spectra(landscape, batch)
    np.testing.assert_allclose(eigenvalues, np.broadcast_to(eigenvalues[-1], eigenvalues.shape), atol=1e-3)


def test_gradient_is_finite_at_a_zero_neuron():
    landscape = landscapes.two_layer_relu(k=3, n=2)
    value, grad = landscape.evaluate(jnp.array([[1.0, 0], [0, 1], [0, 0]]))
    assert float(value) == pytest.approx(0, abs=1e-15)
    assert np.isfinite(grad).all()


@pytest.mark.slow
def test_value_and_invariants_do_not_see_the_order_of_neurons_and_inputs(key):
    landscape = landscapes.two_layer_relu(k=5, n=4)
    weights = landscape.sample(key)
    shuffled = jax.random.permutation(jax.random.fold_in(key, 1), weights)
    shuffled = jax.random.permutation(jax.random.fold_in(key, 2), shuffled, axis=1)
    np.testing.assert_allclose(landscape.value(shuffled), landscape.value(weights), rtol=1e-13)
    invariants = landscape.symmetry.invariants
    np.testing.assert_allclose(invariants(shuffled), invariants(weights), atol=1e-13)
    assert jnp.max(jnp.abs(invariants(weights.at[0, 0].add(0.1)) - invariants(weights))) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("size", [8, 10, 12])
def test_descents_end_at_published_losses_that_are_true_minima(size, descend, spectra, key):
    landscape = landscapes.two_layer_relu(k=size, n=size)
    starts = jax.vmap(landscape.sample)(jax.random.split(key, 64))
    ends = descend(landscape, starts, 0.1, 12_000)
    values, grads = jax.vmap(landscape.evaluate)(ends)
    is_done = np.abs(grads).max(axis=(1, 2)) < 1e-9
    assert is_done.mean() > 0.9
    listed = np.array([point.value for point in landscape.facts.points])
    distance = np.abs(np.asarray(values)[is_done, None] - listed).min(axis=1)
    assert np.mean(distance < 6e-6) > 0.95  # rarer families exist: one in 64 ends at 0.07580 for size 12
    is_spurious = is_done & (np.asarray(values) >= 1e-3)
    assert 2 <= is_spurious.sum() <= 50
    assert spectra(landscape, ends[is_spurious]).min() > 1e-4
