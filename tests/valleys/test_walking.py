"""Walks on valleys: they stay there to rounding, and where they end they say why."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from jaxgd import InputValueError, Landscape, Verdict, walk_valley

SPHERE = Landscape(value=lambda x: (jnp.sum(x**2) - 1) ** 2, sample=lambda key: jax.random.normal(key, (3,)))
PLACES = jnp.array([[0.6, 0.8, 0.1], [0.0, 0.0, 1.0]])  # the first is beside the sphere


@pytest.mark.parametrize("is_straight", [False, True])
def test_a_walk_stays_on_the_sphere_to_rounding(key, is_straight):
    walk = walk_valley(SPHERE, PLACES, 12, key=key, is_straight=is_straight)
    radius = np.linalg.norm(walk.params, axis=-1)
    np.testing.assert_allclose(radius, 1, atol=1e-14)
    assert walk.num_steps.tolist() == [12, 12]
    assert walk.dimension.tolist() == [2, 2]
    assert np.all(walk.drift <= 8 * walk.value_error.max())
    assert walk.is_shown.all()
    assert set(walk.ended) == {""}
    np.testing.assert_allclose(walk.length[:, 1:], 0.1)
    assert "24 of 24 steps taken" in str(walk)


def test_a_straight_walk_goes_around_a_great_circle(key):
    walk = walk_valley(SPHERE, PLACES[1:], 12, key=key, is_straight=True)
    middle = walk.params[0] - walk.params[0, 0]
    assert np.linalg.svd(walk.params[0])[1][2] < 0.05  # all places lie nearly in one plane
    assert np.all(np.diff(np.linalg.norm(middle, axis=1)) > 0)


def test_a_walk_does_not_depend_on_how_many_others_there_are(key):
    both, one = (walk_valley(SPHERE, places, 3, key=key) for places in (PLACES, PLACES[:1]))
    np.testing.assert_array_equal(both.params[0], one.params[0])


def test_points_that_were_judged_can_be_walked_from(key):
    points = jaxgd.classify(SPHERE, PLACES)
    np.testing.assert_array_equal(walk_valley(SPHERE, points, 2, key=key).verdict, points.verdict)


def plane(value, key=None):
    return Landscape(value=value, sample=lambda key: jax.random.normal(key, (2,)))


def test_a_walk_ends_at_an_edge_and_says_why(key):
    edge = plane(lambda x: x[1] ** 2 + jnp.maximum(x[0] - 1, 0.0) ** 2)
    walk = walk_valley(edge, jnp.array([[0.9, 0.0], [0.8, 0.0]]), 30, key=jax.random.key(3), is_straight=True)
    assert np.all(walk.params[..., 0] <= 1 + 1e-9)
    ends = walk.num_steps < 30
    assert ends.any()
    assert all(("edge" in why) == is_short for why, is_short in zip(walk.ended, ends, strict=True))
    np.testing.assert_array_equal(walk.is_shown.sum(axis=1) - 1, walk.num_steps)
    assert "ended early" in str(walk)


def test_where_valleys_of_other_rank_meet_no_wrong_place_is_shown(key):
    crossing = plane(lambda x: x[0] ** 2 * x[1] ** 2)
    walk = walk_valley(crossing, jnp.array([[0.35, 0.0]]), 12, key=key, is_straight=True)
    assert np.all(np.abs(walk.params[0, :, 1]) <= 1e-12)
    assert np.all(walk.value[0] <= 1e-20)


@pytest.mark.parametrize(
    ("value", "place", "why"),
    [
        (lambda x: jnp.sum((x**2 - 1) ** 2), [1.0, -1.0], "isolated"),
        (lambda x: x[0] ** 4 + x[1] ** 2, [0.0, 0.0], "degenerate"),
        (lambda x: jnp.sum((x**2 - 1) ** 2), [0.5, 0.3], "undecided"),
    ],
)
def test_no_walk_begins_where_there_is_no_valley(key, value, place, why):
    walk = walk_valley(plane(value), jnp.array([place]), 3, key=key)
    assert walk.num_steps.tolist() == [0]
    assert why in walk.ended[0]
    assert not walk.is_shown[0, 1:].any()


def test_wrong_arguments_are_refused(key):
    with pytest.raises(InputValueError, match="`num_steps` must be at least 1"):
        walk_valley(SPHERE, PLACES, 0, key=key)
    with pytest.raises(InputValueError, match="`step_length` must be positive and finite"):
        walk_valley(SPHERE, PLACES, 2, key=key, step_length=-1.0)


def large(value, dim=1100):
    return Landscape(value=value, sample=lambda key: jax.random.normal(key, (dim,)))


def test_a_valley_of_many_parameters_is_told_and_walked_by_products(key):
    scale = jnp.concatenate([jnp.linspace(1.0, 2.0, 20), jnp.zeros(1080)])
    bent = lambda x: jnp.sum((scale * (x - 0.1 * jnp.sin(jnp.roll(x, 30)))) ** 2) / 2
    ring = lambda x: (jnp.sum(x[30:32] ** 2) - 1) ** 2
    landscape = large(lambda x: bent(x) + ring(x))
    start = jax.random.normal(jax.random.key(1), (1100,)).at[30:32].set(jnp.array([0.6, 0.8]))
    start = start.at[:20].set((0.1 * jnp.sin(jnp.roll(start, 30)))[:20])
    points = jaxgd.classify(landscape, start[None] + 1e-6 * jax.random.normal(key, (1, 1100)))
    assert points.verdict_counts() == {"minimum": 1}
    rank = 21
    assert 0 <= 1100 - rank - points.dimension[0] <= 40  # a lower limit
    assert "of all directions are flat" in points.notes[0]
    walk = walk_valley(landscape, points, 3, key=key)
    assert walk.num_steps.tolist() == [3]
    assert np.all(walk.value <= 1e-20)
    assert np.linalg.norm(walk.params[0, 3] - walk.params[0, 0]) > 0.1


@pytest.mark.parametrize("power", [3, 4, 6])
def test_a_singular_point_of_many_parameters_is_no_valley(power):
    # A root of higher order in one coordinate, a thousand that are free, and ninety-nine with curvature.
    landscape = large(lambda x: x[0] ** power + jnp.sum(x[1001:] ** 2))
    points = jaxgd.classify(landscape, jnp.zeros((1, 1100)).at[:, 1:1001].set(0.3))
    assert points.dimension.tolist() == [-1]
    assert points.verdict[0] in (int(Verdict.DEGENERATE), int(Verdict.UNDECIDED))


def test_a_singular_origin_of_many_parameters_is_no_valley():
    # The product of three factors at 0 in each of 400 places, and fourth powers everywhere else.
    chains = lambda x: jnp.sum((jnp.prod(x[:1200].reshape(3, 400), axis=0) - 1) ** 2) / 800
    for value in (lambda x: jnp.sum(x**4), lambda x: chains(x) + jnp.sum(x[1200:] ** 4) + jnp.sum(x[:3] ** 2)):
        points = jaxgd.classify(large(value, 2000), jnp.zeros((1, 2000)))
        assert points.dimension.tolist() == [-1]
        assert points.verdict_counts() == {"degenerate": 1}


def test_a_valley_with_curvature_across_of_many_sizes_is_told_by_products(key):
    size = jnp.geomspace(1.0, 1e-3, 60)  # curvature is its square
    bend = lambda x: 0.3 * jnp.sin(3 * jnp.roll(x, 60))[:60]
    landscape = large(lambda x: jnp.sum((size * (x[:60] - bend(x))) ** 2) / 2)
    start = jax.random.normal(key, (1100,))
    start = start.at[:60].set(bend(start))
    points = jaxgd.classify(landscape, start[None])
    assert points.verdict_counts() == {"minimum": 1}
    assert 0 <= 1040 - points.dimension[0] <= 60  # a lower limit


@pytest.mark.slow
def test_a_network_of_many_parameters_at_zero_loss_is_on_a_valley(key):
    draw = np.random.default_rng(0)
    inputs, goals = draw.standard_normal((12, 20)), draw.standard_normal((12, 3))

    def value(p):
        hidden = jnp.tanh(jnp.tanh(inputs @ p["w1"]) @ p["w2"])
        return jnp.mean((hidden @ p["w3"] - goals) ** 2)

    shapes = {"w1": (20, 40), "w2": (40, 30), "w3": (30, 3)}
    sample = lambda key: {name: jax.random.normal(key, shape) / shape[0] ** 0.5 for name, shape in shapes.items()}
    landscape, num_params = Landscape(value=value, sample=sample), sum(a * b for a, b in shapes.values())
    stop = jaxgd.Stop(gradient_norm=1e-10, max_steps=10_000)
    points = jaxgd.classify(landscape, jaxgd.descend(landscape, jaxgd.transforms.lbfgs(), 2, key=key, stop=stop))
    assert points.value.max() < 1e-18
    assert points.verdict_counts() == {"minimum": 2}
    assert np.all(points.dimension <= num_params - goals.size)
    assert np.all(points.dimension >= 0.9 * (num_params - goals.size))
