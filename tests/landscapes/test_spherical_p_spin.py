import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd import landscapes


@pytest.mark.parametrize("p", [2, 3, 4])
def test_value_is_the_sum_over_couplings_on_the_sphere(p, key):
    dim = 5
    landscape = landscapes.spherical_p_spin(dim=dim, p=p, seed=3)
    x = 1.7 * landscape.sample(key)
    couplings = np.random.default_rng(3).standard_normal((dim,) * p)
    spins = np.sqrt(dim) * np.asarray(x) / np.linalg.norm(x)
    expected = couplings
    for _ in range(p):
        expected = expected @ spins
    np.testing.assert_allclose(landscape.value(x), expected / dim ** ((p - 1) / 2), rtol=1e-12)
    gradient = jax.grad(landscape.value)(x)
    np.testing.assert_allclose(landscape.gradient(x), gradient, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(gradient @ x, 0, atol=1e-12)


@pytest.mark.slow
def test_two_spins_have_their_eigenvectors_as_critical_points(spectra):
    landscape = landscapes.spherical_p_spin(dim=6, p=2, seed=1)
    facts = landscape.facts
    batch = jnp.stack([jnp.asarray(point.params) for point in facts.points])
    values, grads = jax.vmap(landscape.evaluate)(batch)
    eigenvalues = spectra(landscape, batch)
    np.testing.assert_allclose(values, [point.value for point in facts.points], rtol=1e-12)
    np.testing.assert_allclose(grads, 0, atol=1e-12)
    assert np.sum(eigenvalues < -1e-10, axis=1).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert (np.sum(np.abs(eigenvalues) < 1e-10, axis=1) == 1).all()
    assert 2 / eigenvalues.max(axis=1)[0] == pytest.approx(facts.max_learning_rate)
    motion = landscape.symmetry.generators(batch[0])
    hessian = jax.jacfwd(landscape.gradient)(batch[0])
    np.testing.assert_allclose(motion @ hessian, 0, atol=1e-12)


@pytest.mark.slow
def test_two_dimensional_glass_has_the_mean_number_of_critical_points():
    angles = np.linspace(0, 2 * np.pi, 721)
    circle = jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    counts = []
    for seed in range(150):
        energies = np.asarray(jax.vmap(landscapes.spherical_p_spin(dim=2, p=3, seed=seed).value)(circle))
        is_rising = np.diff(energies) > 0
        counts.append(np.sum(is_rising != np.roll(is_rising, 1)))
    standard_error = np.std(counts) / np.sqrt(len(counts))
    assert np.mean(counts) == pytest.approx(2 * np.sqrt(3 * 3 - 2), abs=4 * standard_error)
    assert max(counts) <= 2 * (2**2 - 1)


def test_length_changes_neither_value_nor_invariants(key):
    landscape = landscapes.spherical_p_spin(dim=7, p=3)
    x = landscape.sample(key)
    np.testing.assert_allclose(jnp.sum(x**2), 7, rtol=1e-14)
    np.testing.assert_allclose(landscape.value(2.5 * x), landscape.value(x), rtol=1e-13)
    np.testing.assert_allclose(landscape.symmetry.invariants(2.5 * x), landscape.symmetry.invariants(x))


def test_seed_alone_decides_the_couplings(key):
    one, same, other = (landscapes.spherical_p_spin(dim=5, seed=seed) for seed in (4, 4, 5))
    x = one.sample(key)
    assert one.value(x) == same.value(x)
    assert one.value(x) != other.value(x)
