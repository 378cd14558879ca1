"""Verdicts at points whose kind is known exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize

import jaxgd
from jaxgd import Landscape, Stop, Verdict, landscapes


def near(params, distance=1e-3, seed=0):
    """Points at about this distance from exact ones."""
    params = jnp.asarray(params)
    return params + distance * jax.random.normal(jax.random.key(seed), params.shape)


def test_all_729_critical_points_of_styblinski_tang_get_their_index():
    per_coordinate = [-2.9035340277711763, 0.15673125654359733, 2.7468027709908369]
    grid = np.stack(np.meshgrid(*[per_coordinate] * 6, indexing="ij"), axis=-1).reshape(-1, 6)
    points = jaxgd.classify(landscapes.styblinski_tang(dim=6), near(grid))
    index = (np.abs(grid - per_coordinate[1]) < 0.1).sum(axis=1)
    np.testing.assert_array_equal(points.index, index)
    np.testing.assert_array_equal(points.index_high, index)
    kinds = np.select([index == 0, index == 6], [Verdict.MINIMUM, Verdict.MAXIMUM], Verdict.SADDLE)
    np.testing.assert_array_equal(points.verdict, kinds)
    np.testing.assert_allclose(points.params, grid, atol=1e-9)
    found = jaxgd.catalogue(landscapes.styblinski_tang(dim=6), points)
    assert len(found) == 729


@pytest.mark.slow
def test_mueller_brown_has_three_minima_and_two_saddles():
    landscape = landscapes.mueller_brown()
    known = landscape.facts.points
    points = jaxgd.classify(landscape, near([point.params for point in known], 1e-3))
    np.testing.assert_array_equal(points.index, [point.index for point in known])
    np.testing.assert_allclose(points.value, [point.value for point in known], atol=1e-6)


@pytest.mark.slow
def test_p2_spherical_spin_has_two_points_of_every_index():
    dim = 6
    landscape = landscapes.spherical_p_spin(dim=dim, p=2)
    starts = jax.vmap(landscape.sample)(jax.random.split(jax.random.key(1), 2000))
    # a squared gradient norm leads to points of every index
    points = jaxgd.classify(landscape, _towards_critical(landscape, starts))
    found = jaxgd.catalogue(landscape, points)
    assert len(found) == 2 * dim
    np.testing.assert_array_equal(np.bincount(found.index), [2] * dim)
    np.testing.assert_array_equal(found.num_symmetry_modes, 1)


def _towards_critical(landscape, starts):
    flow = Landscape(
        value=lambda x: jnp.sum(landscape.gradient(x / jnp.linalg.norm(x) * jnp.sqrt(1.0 * x.size)) ** 2),
        sample=landscape.sample,
    )
    ends = jaxgd.descend(
        flow,
        optax.sgd(0.02),
        key=jax.random.key(0),
        starts=starts,
        stop=Stop(gradient_norm=1e-5, max_steps=3000),
    )
    return ends.params / np.linalg.norm(ends.params, axis=1, keepdims=True) * np.sqrt(1.0 * starts.shape[1])


DEGENERATE = {
    "x^4": (lambda x: x**4, 1e-3),
    "x^3": (lambda x: x**3, 1e-3),
    "x + sin x at -pi": (lambda x: x + jnp.sin(x), -np.pi + 1e-4),
    "x - sin x at 0": (lambda x: x - jnp.sin(x), 1e-4),
    "monkey saddle": (lambda x: x[0] ** 3 - 3 * x[0] * x[1] ** 2, [1e-3, 2e-3]),
    "deep linear": (lambda x: 0.5 * (x[0] * x[1] * x[2] - 1) ** 2, [1e-5, -1e-5, 2e-5]),
    "valley": (lambda x: x[0] ** 2 + 0.0 * x[1], [0.1, 0.3]),
    "constant": (lambda x: 0.0 * x, 0.7),
}


QUICK = ("x + sin x at -pi",)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in DEGENERATE]
)
def test_a_zero_mode_that_no_symmetry_explains_is_degenerate(name):
    value, at = DEGENERATE[name]
    at = jnp.asarray(at, jnp.float64)
    landscape = Landscape(value=value, sample=lambda key: jax.random.normal(key, at.shape))
    points = jaxgd.classify(landscape, at[None])
    assert points.verdict_counts() == {"degenerate": 1}
    assert points.index[0] == 0 < points.index_high[0]


@pytest.mark.parametrize("distance", [0.0, 1e-12, pytest.param(1e-8, marks=pytest.mark.slow)])
def test_beside_a_fixed_point_of_a_symmetry_its_motions_are_no_zero_modes(distance, key):
    origin = distance * jax.random.normal(key, (2, 3), jnp.float64)
    points = jaxgd.classify(jaxgd.landscapes.deep_linear(), origin)
    assert points.verdict_counts() == {"degenerate": 2}
    np.testing.assert_array_equal(points.num_symmetry_modes, 0)
    np.testing.assert_array_equal(points.num_zero_modes, 3)


@pytest.mark.parametrize("unit", [1e-10, pytest.param(1e10, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_a_verdict_does_not_depend_on_the_unit_of_length_or_value(unit):
    for scale in (1e-12, 1e12):
        landscape = Landscape(
            value=lambda x, scale=scale: scale * ((x[0] / unit) ** 2 - (x[1] / unit) ** 2 + (x[0] / unit) ** 3),
            sample=lambda key: unit * jax.random.normal(key, (2,)),
        )
        points = jaxgd.classify(landscape, unit * jnp.asarray([[1e-3, 1e-3]]))
        assert (points.verdict_counts(), int(points.index[0])) == ({"saddle": 1}, 1)


NOT_CRITICAL = {
    "slope": (lambda x: x, 0.3, "undecided", "unbounded"),
    "tilted valley": (lambda x: x[0] ** 2 + x[1], [0.1, 0.2], "undecided", "still_descending"),
    "far tail": (lambda x: -jnp.exp(-(x**2)), 4.0, "undecided", None),
    "decay": (lambda x: jnp.exp(-x), 30.0, "undecided", "unbounded"),
    "nan": (lambda x: jnp.log(x), -1.0, "diverged", "none"),
}


@pytest.mark.parametrize("name", NOT_CRITICAL)
def test_what_is_no_critical_point_is_not_called_one(name):
    value, at, verdict, reason = NOT_CRITICAL[name]
    at = jnp.asarray(at, jnp.float64)
    landscape = Landscape(value=value, sample=lambda key: jax.random.uniform(key, at.shape))
    points = jaxgd.classify(landscape, at[None])
    assert points.verdict_counts() == {verdict: 1}
    assert reason in (None, jaxgd.Reason(points.reason[0]).name.lower())
    assert points.index[0] == -1
    np.testing.assert_array_equal(points.params[0], at)


@pytest.mark.slow
def test_rest_on_a_small_gradient_without_a_critical_point_is_a_plateau(key):
    decay = Landscape(value=lambda x: jnp.exp(-x), sample=lambda k: jax.random.uniform(k, ()))
    ends = jaxgd.descend(decay, optax.sgd(10.0), 4, key=key, stop=Stop(gradient_norm=1e-3))
    assert ends.status_counts() == {"converged": 4}
    assert jaxgd.classify(decay, ends).verdict_counts() == {"plateau": 4}


@pytest.mark.slow
def test_lennard_jones_minima_are_counted_without_a_false_one(key):
    landscape = landscapes.lennard_jones(num_atoms=6)
    found = jaxgd.survey(landscape, num_starts=200, key=key).catalogue
    np.testing.assert_allclose(found.value, [-12.712062, -12.302928], atol=1e-6)
    np.testing.assert_array_equal(found.verdict, Verdict.MINIMUM)
    np.testing.assert_array_equal(found.num_symmetry_modes, 6)
    np.testing.assert_array_equal(found.num_zero_modes, 6)


def test_float32_judges_what_float32_can_tell():
    landscape = landscapes.styblinski_tang(dim=2)
    points = jaxgd.classify(landscape, jnp.asarray([[-2.9, 2.75], [0.16, 2.75]], jnp.float32))
    assert points.value.dtype == np.float32
    np.testing.assert_array_equal(points.verdict, [Verdict.MINIMUM, Verdict.SADDLE])


@pytest.mark.parametrize("name", ["rastrigin", pytest.param("factorisation", marks=pytest.mark.slow)])
def test_every_known_critical_point_is_judged_rightly_from_nearby(name):
    if name == "rastrigin":
        landscape, exact, index = rastrigin_points()
    else:
        landscape = landscapes.rank_one_factorisation((4.0, 3.0, 2.0, 1.0))
        exact = np.stack([point.params for point in landscape.facts.points])
        index = np.array([point.index for point in landscape.facts.points])
    points = jaxgd.classify(landscape, near(exact))
    np.testing.assert_array_equal(points.index, index)
    np.testing.assert_array_equal(points.index_high, index)
    np.testing.assert_allclose(points.params, exact, atol=1e-8)


def rastrigin_points():
    """All 21^2 points in two dimensions, by roots of the derivative of one coordinate."""
    slope = lambda x: 2 * x + 20 * np.pi * np.sin(2 * np.pi * x)
    places = np.linspace(-5.12, 5.12, 4000)  # none of them a root
    signs = np.flatnonzero(np.diff(np.sign(slope(places))))
    roots = np.array([scipy.optimize.brentq(slope, places[i], places[i + 1], xtol=1e-14) for i in signs])
    assert len(roots) == 21
    bends = 2 + 40 * np.pi**2 * np.cos(2 * np.pi * roots) < 0
    exact = np.stack(np.meshgrid(roots, roots, indexing="ij"), axis=-1).reshape(-1, 2)
    return landscapes.rastrigin(dim=2), exact, (bends[:, None].astype(int) + bends[None]).ravel()


@pytest.mark.slow
def test_all_points_of_the_p2_spherical_spin_are_judged_rightly_from_nearby():
    landscape = landscapes.spherical_p_spin(dim=8, p=2)
    known = landscape.facts.points
    points = jaxgd.classify(landscape, near([point.params for point in known]))
    np.testing.assert_array_equal(points.index, [point.index for point in known])
    np.testing.assert_array_equal(np.bincount(points.index), [2] * 8)


def test_a_contradictory_derivative_is_measured_and_reported():
    matrix = jnp.asarray([[2.0, 0.5], [-0.5, -2.0]])
    twisted = Landscape(
        value=lambda x: x[0] ** 2 - x[1] ** 2,
        sample=lambda key: jax.random.normal(key, (2,)),
        value_and_grad=lambda x: (x[0] ** 2 - x[1] ** 2, matrix @ x),
    )
    points = jaxgd.classify(twisted, jnp.asarray([[1e-3, 1e-3]]))
    assert "asymmetric by up to 0.35 of its norm at 1 of 1 points" in points.notes[0]
    assert points.eigenvalue_error[0] >= np.sqrt(0.5)
    assert (points.index[0], points.index_high[0]) == (1, 1)


@pytest.mark.slow
def test_a_hessian_that_is_not_finite_where_the_gradient_is_stays_undecided_and_is_reported():
    kink = Landscape(value=lambda x: jnp.sum(jnp.abs(x) ** 1.5), sample=lambda key: jax.random.normal(key, (2,)))
    points = jaxgd.classify(kink, jnp.asarray([[0.0, 1.0]]))
    assert points.verdict_counts() == {"undecided": 1}
    assert "not finite at 1 of 1 points" in points.notes[0]


@pytest.mark.parametrize("dtype", [pytest.param(jnp.float16, marks=pytest.mark.slow), jnp.bfloat16])
def test_half_precision_is_judged_in_float32(dtype):
    landscape = jaxgd.landscapes.styblinski_tang(dim=2)
    points = jaxgd.classify(landscape, jnp.full((2, 2), -2.9, dtype))
    assert points.verdict_counts() == {"minimum": 2}
    assert points.value.dtype == points.params.dtype == np.float32
    np.testing.assert_allclose(points.params, -2.903534, rtol=1e-6)


@pytest.mark.slow
def test_float32_says_when_float64_may_tell():
    shallow = Landscape(value=lambda x: x[0] ** 2 + 1e-9 * x[1] ** 2, sample=lambda key: jax.random.normal(key, (2,)))
    points = jaxgd.classify(shallow, jnp.asarray([[1e-3, 1e-3]], jnp.float32))
    assert points.verdict_counts().keys() <= {"degenerate", "undecided"}
    assert "float32" in points.notes[0]
    assert jaxgd.classify(shallow, jnp.asarray([[1e-3, 1e-3]])).verdict_counts() == {"minimum": 1}


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (jnp.zeros((0, 2)), "no points to judge"),
        (jnp.zeros(()), "one leading axis"),
        (jnp.zeros((3, 2), int), "must be floating-point"),
        (jnp.zeros((3, 5)), "have shapes"),
    ],
)
def test_bad_batches_are_refused_in_one_sentence(batch, message):
    with pytest.raises((jaxgd.InputValueError, jaxgd.InputTypeError), match=message):
        jaxgd.classify(landscapes.mueller_brown(), batch)


def test_ends_without_params_are_refused(key):
    ends = jaxgd.descend(landscapes.quartic(), optax.sgd(0.01), 2, key=key, keep=(), stop=Stop(max_steps=3))
    with pytest.raises(jaxgd.InputValueError, match="kept no params"):
        jaxgd.classify(landscapes.quartic(), ends)
