import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd import Landscape, landscapes


def ten_line_energy(x):
    """What a user would write."""
    num_atoms = x.shape[0]
    apart = x[:, None] - x[None]
    square = jnp.sum(apart**2, axis=-1) + jnp.eye(num_atoms)
    near_6 = 1 / square**3
    return 2 * jnp.sum((near_6**2 - near_6) * (1 - jnp.eye(num_atoms)))


def icosahedron():
    golden = (1 + 5**0.5) / 2
    ring = [(0.0, a, b * golden) for a in (1, -1) for b in (1, -1)]
    corners = [np.roll(corner, shift) for corner in ring for shift in range(3)]
    return 0.57 * np.array([np.zeros(3), *corners])


def random_motion(key, x):
    """A random rotation or reflection, shift and order of the atoms."""
    key_turn, key_shift, key_order = jax.random.split(key, 3)
    turn, _ = jnp.linalg.qr(jax.random.normal(key_turn, (3, 3)))
    moved = x @ turn + jax.random.normal(key_shift, (1, 3))
    return jax.random.permutation(key_order, moved)


@pytest.mark.parametrize("num_atoms", [2, 6, pytest.param(21, marks=pytest.mark.slow), 22])
def test_energy_and_gradient_match_the_ten_line_oracle(num_atoms, key):
    landscape = landscapes.lennard_jones(num_atoms=num_atoms)
    x = 1.3 * landscape.sample(key)
    by_hand, oracle = jax.jit(lambda x: (landscape.evaluate(x), jax.value_and_grad(ten_line_energy)(x)))(x)
    np.testing.assert_allclose(by_hand[0], oracle[0], rtol=1e-12)
    np.testing.assert_allclose(by_hand[1], oracle[1], rtol=1e-10, atol=1e-12 * np.abs(oracle[1]).max())


@pytest.mark.parametrize("num_atoms", [5, 21])
def test_hessian_vector_product_matches_the_ten_line_oracle(num_atoms, key):
    landscape = landscapes.lennard_jones(num_atoms=num_atoms)
    x, direction = 1.3 * landscape.sample(key), landscape.sample(jax.random.fold_in(key, 1))
    product = lambda gradient: jax.jvp(gradient, (x,), (direction,))[1]
    by_hand, oracle = jax.jit(lambda: (product(landscape.gradient), product(jax.grad(ten_line_energy))))()
    np.testing.assert_allclose(by_hand, oracle, rtol=1e-9, atol=1e-11 * np.abs(oracle).max())


def test_icosahedron_is_the_global_minimum_of_thirteen_with_six_zero_modes(descend, eigenvalues):
    landscape = landscapes.lennard_jones(num_atoms=13)
    oracle = Landscape(value=ten_line_energy, sample=landscape.sample)
    x = descend(oracle, jnp.asarray(icosahedron())[None], 1e-3, 3000)[0]
    assert float(landscape.value(x)) == pytest.approx(landscape.facts.points[0].value, abs=5e-7)
    spectrum = eigenvalues(oracle, x)
    assert np.sum(np.abs(spectrum) < 1e-5) == 6
    assert spectrum[6] > 1


@pytest.mark.slow
def test_rigid_motions_are_null_vectors_at_a_critical_point_and_six(key):
    landscape = landscapes.lennard_jones(num_atoms=4)
    corners = 2 ** (1 / 6) / 8**0.5 * np.array([(1.0, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)])
    x = random_motion(key, jnp.asarray(corners))
    assert landscape.value(x) == pytest.approx(-6)
    motions = landscape.symmetry.generators(x).reshape(6, 12)
    assert np.linalg.matrix_rank(motions) == 6
    hessian = jax.jit(jax.jacfwd(landscape.gradient))(x).reshape(12, 12)
    np.testing.assert_allclose(motions @ hessian, 0, atol=1e-10)


def test_third_derivatives_and_transposes_match_the_ten_line_oracle(key):
    landscape = landscapes.lennard_jones(num_atoms=4)
    x, along, across = jax.random.normal(jax.random.key(1), (3, 4, 3)) + jnp.arange(4.0)[None, :, None]

    def derivatives(energy):
        curvature = lambda x: jax.jvp(jax.grad(energy), (x,), (along,))[1]
        return jax.jvp(curvature, (x,), (across,))[1], jax.grad(lambda x: jnp.sum(curvature(x) * across))(x)

    by_hand, oracle = jax.jit(lambda: (derivatives(landscape.value), derivatives(ten_line_energy)))()
    for found, expected in zip(by_hand, oracle, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_invariants_are_the_distances_of_each_atom_and_of_pairs_in_rising_order(dtype, key):
    landscape = landscapes.lennard_jones(num_atoms=5)
    x = np.asarray(landscape.sample(key), dtype)
    of_each = np.mean(np.sum((x[:, None] - x) ** 2, axis=2), axis=1)
    of_pairs = [np.linalg.norm(x[first] - x[second]) for second in range(5) for first in range(second)]
    invariants = landscape.symmetry.invariants(x)
    assert invariants.dtype == dtype
    expected = np.concatenate([np.sort(of_each), np.sort(of_pairs)])
    np.testing.assert_allclose(invariants, expected, rtol=20 * np.finfo(dtype).eps)


def test_value_and_invariants_do_not_see_rigid_motions_mirrors_and_order(key):
    landscape = landscapes.lennard_jones(num_atoms=8)
    x = 1.3 * landscape.sample(key)
    moved = random_motion(jax.random.fold_in(key, 7), x)
    np.testing.assert_allclose(landscape.value(moved), landscape.value(x), rtol=1e-10)
    np.testing.assert_allclose(landscape.symmetry.invariants(moved), landscape.symmetry.invariants(x), atol=1e-12)


def test_invariants_move_no_faster_than_the_atoms(key):
    invariants = landscapes.lennard_jones(num_atoms=13).symmetry.invariants
    x = landscapes.lennard_jones(num_atoms=13).sample(key)
    for size in (1e-6, 1e-3, 1e-1):
        nudge = size * jax.random.uniform(key, x.shape, minval=-1.0, maxval=1.0) / 3**0.5
        assert jnp.max(jnp.abs(invariants(x + nudge) - invariants(x))) <= 2 * size


@pytest.mark.slow
def test_seven_atoms_end_in_exactly_the_four_listed_minima(descend, key):
    landscape = landscapes.lennard_jones(num_atoms=7)
    starts = jax.jit(jax.vmap(landscape.sample))(jax.random.split(key, 100))
    ends = np.asarray(descend(landscape, starts, 1e-3, 15_000, max_step=0.1))
    ends = ends[[_is_whole(x) for x in ends]]
    assert len(ends) > 90
    energies = np.asarray(jax.vmap(landscape.value)(ends))
    listed = np.array([point.value for point in landscape.facts.points if point.index == 0])
    nearest = np.abs(energies[:, None] - listed).argmin(axis=1)
    np.testing.assert_allclose(energies, listed[nearest], atol=6e-6)
    assert set(nearest) == set(range(landscape.facts.num_minima))
    invariants = np.asarray(jax.vmap(landscape.symmetry.invariants)(ends))
    gaps = np.abs(invariants[:, None] - invariants[None]).max(axis=-1)
    is_same = nearest[:, None] == nearest[None]
    assert gaps[is_same].max() < 1e-4
    assert gaps[~is_same].min() > 1e-2


def _is_whole(x):
    distances = np.linalg.norm(x[:, None] - x[None], axis=-1) + 9 * np.eye(len(x))
    return distances.min(axis=1).max() < 1.5


def test_starts_fill_a_ball_evenly(key):
    starts = jax.jit(jax.vmap(landscapes.lennard_jones(num_atoms=13).sample))(jax.random.split(key, 2000))
    radius = 0.3 + 0.6 * (13 / 0.74) ** (1 / 3)
    depth = (jnp.linalg.norm(starts, axis=-1) / radius) ** 3
    assert depth.max() <= 1
    np.testing.assert_allclose(depth.mean(), 0.5, atol=4 / np.sqrt(12 * 26_000))


def test_facts_are_given_only_where_they_are_published():
    assert landscapes.lennard_jones(num_atoms=14).facts is None
    assert landscapes.lennard_jones(num_atoms=8).facts.num_minima == 8
    assert landscapes.lennard_jones(num_atoms=55).facts.points[0].value == -279.248470
