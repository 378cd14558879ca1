"""Valleys: what lies on one is told from what is singular, and is one entry of the catalogue."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from jaxgd import Landscape, Verdict
from jaxgd.points.tally import join_catalogues

NUM_ENDS = 24


def normal(dim, dtype=jnp.float64, scale=1.0):
    return lambda key: scale * jax.random.normal(key, (dim,), dtype)


def beside(places, off=1e-6, dtype=np.float64):
    """Returns places moved a little at random, as ends of descents are."""
    places = np.asarray(places)
    return jnp.asarray(places + off * np.random.default_rng(9).standard_normal(places.shape), dtype)


def counted(value, places, *, sample=None):
    """Returns the judged points and the catalogue of ends at these places."""
    landscape = Landscape(value=value, sample=sample or normal(places.shape[1], places.dtype))
    points = jaxgd.classify(landscape, places)
    return points, jaxgd.catalogue(landscape, points)


def on_sphere(dim, num=NUM_ENDS):
    draws = np.random.default_rng(dim).standard_normal((num, dim))
    return draws / np.linalg.norm(draws, axis=1, keepdims=True)


def by_newton(residual, starts):
    """Returns zeros of an underdetermined system beside the starts (Gauss-Newton of least norm)."""
    step = jax.jit(jax.vmap(lambda x: x - jnp.linalg.pinv(jax.jacobian(residual)(x)) @ residual(x)))
    x = jnp.asarray(starts)
    for _ in range(30):
        x = step(x)
    return x[np.linalg.norm(np.asarray(jax.vmap(residual)(x)), axis=1) < 1e-10]


def sphere(x):
    return (jnp.sum(x**2) - 1) ** 2


def hyperbola(x):
    return (x[0] * x[1] - 1) ** 2 / 2


def branches_of_hyperbola(num=NUM_ENDS):
    t = np.exp(np.random.default_rng(0).uniform(-1, 1, num)) * np.where(np.arange(num) % 3 == 0, -1, 1)
    return np.stack([t, 1 / t], axis=1)


@pytest.mark.parametrize("dim", range(2, 7))
def test_a_sphere_is_one_valley(dim):
    points, found = counted(sphere, beside(on_sphere(dim)))
    assert points.verdict_counts() == {"minimum": NUM_ENDS}
    assert found.dimension.tolist() == [dim - 1]
    assert found.hits.tolist() == [NUM_ENDS]
    assert found.num_unjoined == 0


def test_descents_that_end_on_one_sphere_find_nothing_new(key):
    landscape = Landscape(value=sphere, sample=normal(3))
    found = jaxgd.survey(landscape, "lbfgs", 300, key=key).catalogue
    assert len(found) == 1
    assert found.unseen.mass == 0
    assert "at most" not in str(found)


def test_opposite_places_on_a_circle_are_joined_around_it():
    _, found = counted(sphere, beside([[1.0, 0.2], [-1.0, -0.2]] / np.sqrt(1.04)))
    assert found.hits.tolist() == [2]


def test_branches_of_a_hyperbola_are_two_valleys_and_the_count_is_said_to_be_an_upper_bound():
    points, found = counted(hyperbola, beside(branches_of_hyperbola()))
    assert np.all(points.dimension == 1)
    assert sorted(found.hits.tolist()) == [NUM_ENDS // 3, NUM_ENDS - NUM_ENDS // 3]
    sign = np.sign(points.params[:, 0])
    assert len({*zip(found.entry.tolist(), sign.tolist(), strict=True)}) == 2
    assert found.num_unjoined == 2
    assert "2 of them lie on valleys that were not shown to be connected" in str(found)
    assert "at most 2" in str(found)


@pytest.mark.parametrize("apart", [0.3, 0.03])
def test_parallel_valleys_of_equal_value_stay_two(apart):
    t = np.linspace(-1.5, 1.5, NUM_ENDS)
    side = np.where(np.arange(NUM_ENDS) % 2, apart, -apart)
    value = lambda x: (((x[1] - jnp.sin(3 * x[0])) / apart) ** 2 - 1) ** 2
    points, found = counted(value, beside(np.stack([t, np.sin(3 * t) + side], axis=1), 1e-6 * apart))
    assert np.all(points.dimension == 1)
    assert found.hits.tolist() == [NUM_ENDS // 2, NUM_ENDS // 2]
    np.testing.assert_array_equal(found.entry == found.entry[0], side == side[0])


def test_a_sine_is_one_valley():
    t = np.random.default_rng(0).uniform(-2, 2, NUM_ENDS)
    _, found = counted(lambda x: (x[1] - jnp.sin(3 * x[0])) ** 2, beside(np.stack([t, np.sin(3 * t)], axis=1)))
    assert found.hits.tolist() == [NUM_ENDS]


def test_least_squares_with_more_parameters_than_data_is_one_valley():
    draw = np.random.default_rng(1)
    matrix, target = draw.standard_normal((5, 8)), draw.standard_normal(5)
    residual = lambda w: matrix @ w - target
    places = by_newton(residual, draw.standard_normal((NUM_ENDS, 8)))
    _, found = counted(lambda w: jnp.mean(residual(w) ** 2), beside(places))
    assert found.hits.tolist() == [NUM_ENDS]
    assert found.dimension.tolist() == [3]


def test_rotations_of_a_factor_are_one_valley_and_reflections_another():
    draw = np.random.default_rng(3)
    factor = draw.standard_normal((3, 2))
    target = factor @ factor.T
    angle = draw.uniform(0, 2 * np.pi, NUM_ENDS)
    sign = np.where(np.arange(NUM_ENDS) % 2, 1, -1)
    turn = np.array([[np.cos(angle), -sign * np.sin(angle)], [np.sin(angle), sign * np.cos(angle)]])
    places = np.einsum("ij,jkn->nik", factor, turn).reshape(NUM_ENDS, 6)
    value = lambda x: jnp.sum((x.reshape(3, 2) @ x.reshape(3, 2).T - target) ** 2) / 4
    _, found = counted(value, beside(places))
    assert found.dimension.tolist() == [1, 1]
    np.testing.assert_array_equal(found.entry == found.entry[0], sign == sign[0])


@pytest.mark.parametrize(("width", "num_valleys"), [(2, 2), (3, 1)])
def test_factorisations_are_connected_if_a_hidden_unit_is_to_spare(width, num_valleys):
    draw = np.random.default_rng(4)
    target = draw.standard_normal((2, 2))

    def residual(x):
        return jnp.ravel(x[: 2 * width].reshape(2, width) @ x[2 * width :].reshape(width, 2) - target)

    places = by_newton(residual, draw.standard_normal((NUM_ENDS, 4 * width)))
    points, found = counted(lambda x: jnp.sum(residual(x) ** 2) / 2, beside(places))
    assert np.all(points.dimension == 4 * width - 4)
    assert len(found) == num_valleys
    if num_valleys == 2:
        sign = np.linalg.det(np.asarray(points.params)[:, :4].reshape(-1, 2, 2)) > 0
        np.testing.assert_array_equal(found.entry == found.entry[0], sign == sign[0])


@pytest.mark.slow
def test_chains_of_matrices_are_joined_around_what_blocks_the_straight_way_and_no_signs_are_mixed():
    draw = np.random.default_rng(5)
    target = draw.standard_normal((2, 2)) + np.eye(2)
    residual = lambda x: jnp.ravel(x[:4].reshape(2, 2) @ x[4:8].reshape(2, 2) @ x[8:].reshape(2, 2) - target)
    places = by_newton(residual, draw.standard_normal((40, 12)))
    _, found = counted(lambda x: jnp.sum(residual(x) ** 2) / 2, beside(places))
    signs = np.sign(np.linalg.det(np.asarray(places).reshape(-1, 3, 2, 2)))
    is_told = np.isin(found.entry, np.flatnonzero(found.verdict == int(jaxgd.Verdict.MINIMUM)))
    assert is_told.sum() >= 36  # the others lie beside matrices of lower rank
    assert len(np.unique(found.entry[is_told])) == len(np.unique(signs, axis=0)) == 4
    assert len({*zip(found.entry[is_told].tolist(), map(tuple, signs[is_told].tolist()), strict=True)}) == 4


def test_a_value_that_no_scale_changes_has_rays_for_valleys():
    weights = jnp.arange(1.0, 4.0)
    radius = np.random.default_rng(0).uniform(0.5, 2, NUM_ENDS)
    places = np.zeros((NUM_ENDS, 3))
    places[:, 0] = radius
    _, found = counted(lambda x: jnp.sum(weights * x**2) / jnp.sum(x**2), beside(places))
    assert found.hits.tolist() == [NUM_ENDS]
    assert found.dimension.tolist() == [1]


def test_a_value_of_the_direction_alone_has_one_valley():
    radius = np.random.default_rng(0).uniform(1, 2, NUM_ENDS)
    places = radius[:, None] * np.array([[0.6, 0.8]])
    value = lambda x: jnp.sum((x / jnp.linalg.norm(x) - jnp.array([0.6, 0.8])) ** 2)
    _, found = counted(value, beside(places))
    assert found.hits.tolist() == [NUM_ENDS]


def test_a_valley_of_saddles_keeps_its_index():
    places = np.column_stack([on_sphere(2), np.zeros(NUM_ENDS)])
    points, found = counted(lambda x: sphere(x[:2]) - x[2] ** 2, beside(places))
    assert points.verdict_counts() == {"saddle": NUM_ENDS}
    assert found.index.tolist() == found.dimension.tolist() == [1]
    assert found.hits.tolist() == [NUM_ENDS]


@pytest.mark.parametrize(("height", "length"), [(1e-12, 1.0), (1e12, 1.0), (1.0, 1e-6), (1.0, 1e6)])
def test_units_of_value_and_length_do_not_change_the_count(height, length):
    value = lambda x: height * hyperbola(x / length)
    places = length * beside(branches_of_hyperbola())
    _, found = counted(value, places, sample=normal(2, scale=length))
    assert sorted(found.hits.tolist()) == [NUM_ENDS // 3, NUM_ENDS - NUM_ENDS // 3]
    assert found.dimension.tolist() == [1, 1]


def test_a_circle_in_single_precision_is_one_valley():
    points, found = counted(sphere, beside(on_sphere(2), 1e-3, np.float32))
    assert points.value.dtype == np.float32
    assert found.hits.tolist() == [NUM_ENDS]
    assert found.dimension.tolist() == [1]


SINGULAR = {
    "x^4": (lambda x: jnp.sum(x**4), [0.0]),
    "beside x^4": (lambda x: jnp.sum(x**4), [1e-3]),
    "beside a monkey saddle": (lambda x: x[0] ** 3 - 3 * x[0] * x[1] ** 2, [1e-3, 2e-3]),
    "x^4 + y^2": (lambda x: x[0] ** 4 + x[1] ** 2, [0.0, 0.0]),
    "x^4 + y^2 beside a free coordinate": (lambda x: x[0] ** 4 + x[1] ** 2 + 0 * x[2], [1e-6, 0.0, 0.3]),
    "x^3 + y^2 beside a free coordinate": (lambda x: x[0] ** 3 + x[1] ** 2 + 0 * x[2], [1e-6, 0.0, 0.3]),
    "monkey saddle": (lambda x: x[0] ** 3 - 3 * x[0] * x[1] ** 2, [0.0, 0.0]),
    "crossing": (lambda x: x[0] ** 2 * x[1] ** 2, [0.0, 0.0]),
    "crossing in a trough": (lambda x: x[0] ** 2 * x[1] ** 2 + x[2] ** 2, [0.0, 0.0, 0.0]),
    "x + sin x": (lambda x: x[0] + jnp.sin(x[0]), [-np.pi]),
    "deep linear origin": (lambda x: (x[0] * x[1] * x[2] - 1) ** 2, [0.0, 0.0, 0.0]),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_singular_points_stay_degenerate(name):
    value, place = SINGULAR[name]
    points, found = counted(value, jnp.asarray([place]))
    assert points.verdict_counts() == {"degenerate": 1}
    assert points.dimension.tolist() == found.dimension.tolist() == [-1]
    assert found.num_unjoined == 0


def test_isolated_minima_are_left_as_they_are():
    landscape = jaxgd.landscapes.styblinski_tang(dim=2)
    well = np.array([-2.903534, 2.746803])
    places = well[np.random.default_rng(0).integers(2, size=(NUM_ENDS, 2))]
    found = jaxgd.catalogue(landscape, jaxgd.classify(landscape, beside(places, 1e-4)))
    assert len(found) == 4
    assert found.dimension.tolist() == [0] * 4
    assert found.num_unjoined == 0


def test_parts_of_a_catalogue_are_joined_along_the_valley():
    landscape = Landscape(value=sphere, sample=normal(3))
    points = jaxgd.classify(landscape, beside(on_sphere(3)))
    parts = [jaxgd.catalogue(landscape, points[begin : begin + 8]) for begin in range(0, NUM_ENDS, 8)]
    joined, row = join_catalogues(landscape, parts)
    assert joined.hits.tolist() == [NUM_ENDS]
    assert set(row.tolist()) == {0}


def test_more_ends_than_are_joined_with_each_other_are_attached():
    _, found = counted(sphere, beside(on_sphere(3, 400)))
    assert found.hits.tolist() == [400]


def sheared(x, shear):
    """Returns the coordinates in which the random polynomials are sums: a polynomial map that has an inverse."""
    first, second, third = x
    second = second + shear[0] * third**2 + shear[1] * third
    return jnp.stack([first + shear[2] * second * third + shear[3] * second**2, second, third])


def test_of_random_polynomials_none_is_called_a_valley_wrongly():
    side = 15
    num = side**2
    draw = np.random.default_rng(7)
    power = draw.choice([0, 2, 2, 3, 4], size=(num, 3))
    power[:, 0] = np.where((power == 0).all(axis=1), 2, power[:, 0])
    sign = draw.choice([-1.0, 1.0], size=(num, 3)) * draw.uniform(0.5, 2, (num, 3))
    shear = draw.uniform(-0.5, 0.5, (num, 4))
    weight = np.stack([np.where(power == k, sign, 0) for k in (2, 3, 4)], axis=1)

    # Two further coordinates say which polynomial it is, so that one program serves all; the value does not change
    # along them but in steps.
    def value(x):
        which = jnp.clip(jnp.round(x[3:] * side), 0, side - 1).astype(jnp.int32)
        number = which[0] * side + which[1]
        y = sheared(x[:3], jnp.asarray(shear)[number])
        return jnp.sum(jnp.asarray(weight)[number] * jnp.stack([y**2, y**3, y**4]))

    # Where a coordinate does not count, the point may lie anywhere along it.
    place = np.where(power == 0, draw.uniform(-0.5, 0.5, (num, 3)), 0)
    place[:, 0] -= shear[:, 2] * place[:, 1] * place[:, 2] + shear[:, 3] * place[:, 1] ** 2
    place[:, 1] -= shear[:, 0] * place[:, 2] ** 2 + shear[:, 1] * place[:, 2]
    is_singular = (power > 2).any(axis=1)
    off = np.where(is_singular, 1e-9, 1e-5)[:, None]
    number = np.arange(num)
    index = np.stack([number // side, number % side], axis=1) / side
    places = jnp.concatenate([beside(place, off), jnp.asarray(index)], axis=1)
    sample = lambda key: jnp.pad(jax.random.normal(key, (3,)), (0, 2), constant_values=0.5)
    points = jaxgd.classify(Landscape(value=value, sample=sample), places)

    known = np.where(is_singular, -1, (power == 0).sum(axis=1) + 2)
    is_right = points.dimension == known
    assert np.all(is_right | (points.dimension == -1))
    assert is_right[~is_singular].mean() > 0.9
    regular = is_right & ~is_singular
    num_negative = ((power == 2) & (sign < 0)).sum(axis=1)
    np.testing.assert_array_equal(points.index[regular], num_negative[regular])
    assert not np.any(np.isin(points.verdict[is_singular], [int(Verdict.MINIMUM), int(Verdict.MAXIMUM)]))
