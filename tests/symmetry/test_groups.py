"""Ready groups: value and gradient follow every motion, invariants are equal on an orbit and tell orbits apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxgd
from jaxgd.symmetry import hidden_units, orthogonal, permutations, rigid_motions, scale, sign_flips, torus

PROBES = jnp.asarray(np.random.default_rng(5).normal(size=(7, 2)))
GOALS = jnp.asarray(np.random.default_rng(6).normal(size=(7, 1)))


def pairs(x, *, is_signed=False):
    """A function of the distances of points; with handedness it is not its own mirror image's."""
    square = jnp.sum((x[:, None] - x[None]) ** 2, axis=-1)
    value = jnp.sum(jnp.sin(square) + 0.1 * square)
    return value + (jnp.linalg.det(x[1:3] - x[:1]) if is_signed else 0)


def chiral(x):
    """Turns and permutations of rows leave it unchanged, mirror images do not."""
    weight = jnp.sum((x[:, None] - x[None]) ** 2, axis=(1, 2))[:, None]
    centred = x - jnp.mean(x, axis=0, keepdims=True)
    return pairs(x) + jnp.linalg.det(jnp.stack([jnp.sum(weight * centred, 0), jnp.sum(weight**2 * centred, 0)]))


def normal(*shape):
    return lambda key: jax.random.normal(key, shape)


def network(activation):
    def value(params):
        hidden = activation(PROBES @ params["w1"] + params["b1"][None])
        return jnp.mean((hidden @ params["w2"] - GOALS) ** 2)

    return value


def weights(key):
    one, two, three = jax.random.split(key, 3)
    return {
        "w1": jax.random.normal(one, (2, 4)),
        "b1": jax.random.normal(two, (4,)),
        "w2": jax.random.normal(three, (4, 1)),
    }


LAYER = (["w1", "b1"], ["w2"])
GRAM = jnp.asarray(np.random.default_rng(7).normal(size=(4, 4)))
NAMES = {  # name: (group, a function with it, starts, number of generators)
    "rows": (permutations(), lambda x: jnp.sum(jnp.tanh(x[:, 0] * x[:, 1] + x[:, 0])), normal(5, 2), 0),
    "entries": (permutations(), lambda x: jnp.prod(x) + jnp.sum(x**3), normal(4), 0),
    "rows and columns": (
        permutations(columns=True),
        lambda x: jnp.sum(jnp.sin(x)) + jnp.sum((x @ x.T) ** 2),
        normal(3, 4),
        0,
    ),
    "rows of two leaves": (
        permutations("x", "q"),
        lambda p: jnp.sum(jnp.sin(p["x"]) * p["q"][:, None]),
        lambda key: {"q": jax.random.normal(key, (4,)), "x": jax.random.normal(jax.random.fold_in(key, 1), (4, 2))},
        0,
    ),
    "rigid": (rigid_motions(), pairs, normal(5, 3), 6),
    "rigid in a plane": (rigid_motions(), pairs, normal(4, 2), 3),
    "rigid in four": (rigid_motions(), pairs, normal(5, 4), 10),
    "proper": (rigid_motions(reflections=False), lambda x: pairs(x, is_signed=True), normal(5, 2), 3),
    "cluster": (rigid_motions() * permutations(), pairs, normal(5, 3), 6),
    "chiral cluster": (rigid_motions(reflections=False) * permutations(), chiral, normal(5, 2), 3),
    "torus": (torus(2.0), lambda x: jnp.sum(jnp.cos(jnp.pi * (x[:, None] - x[None]) + 0.3)), normal(4, 2), 2),
    "angles": (torus(), lambda x: jnp.sum(jnp.cos(jnp.diff(x) + 0.3)), normal(4), 1),
    "particles on a torus": (
        torus(2.0) * permutations(),
        lambda x: jnp.sum(jnp.cos(jnp.pi * (x[:, None] - x[None]))),
        normal(4, 2),
        2,
    ),
    "periods": (torus(1.0, shifts=False), lambda x: jnp.sum(jnp.sin(2 * jnp.pi * x) * jnp.arange(3.0)), normal(3), 0),
    "signs": (sign_flips(), lambda x: jnp.sum(x**2 * jnp.arange(1.0, 5)) + jnp.prod(x**2), normal(4), 0),
    "one sign": (sign_flips(together=True), lambda x: x[0] * x[1] + x[1] * x[2] ** 3, normal(3), 0),
    "cube": (sign_flips() * permutations(), lambda x: jnp.sum(x**4) - jnp.prod(x**2), normal(4), 0),
    "length": (scale(), lambda x: jnp.sum(jnp.arange(4.0) * x) / jnp.linalg.norm(x), normal(4), 1),
    "lengths of rows": (
        scale(rows=True),
        lambda x: jnp.sum(jnp.sin(x / jnp.linalg.norm(x, axis=1, keepdims=True) @ GRAM)),
        normal(3, 4),
        3,
    ),
    "spheres": (
        scale(rows=True) * orthogonal() * permutations(),
        lambda x: pairs(x / jnp.linalg.norm(x, axis=1, keepdims=True)),
        normal(4, 3),
        7,
    ),
    "shape": (
        rigid_motions() * scale() * permutations(),
        lambda x: pairs((x - x.mean(0, keepdims=True)) / jnp.linalg.norm(x - x.mean(0, keepdims=True))),
        normal(4, 2),
        4,
    ),
    "columns": (orthogonal(), lambda u: jnp.sum((u @ u.T - GRAM) ** 2), normal(4, 3), 3),
    "columns turned": (
        orthogonal(reflections=False),
        lambda u: jnp.sum((u @ u.T - GRAM) ** 2) + jnp.linalg.det(u[:2]),
        normal(4, 2),
        1,
    ),
    "units": (hidden_units(*LAYER), network(jax.nn.softplus), weights, 0),
    "odd units": (hidden_units(*LAYER, signs=True), network(jnp.tanh), weights, 0),
    "ReLU units": (hidden_units(*LAYER, rescaling=True), network(jax.nn.relu), weights, 4),
    "two leaves": (
        rigid_motions("atoms") * permutations("atoms") * scale("gain"),
        lambda p: pairs(p["atoms"]) + jnp.sum(p["gain"] * jnp.arange(3.0)) / jnp.linalg.norm(p["gain"]),
        lambda key: {"atoms": jax.random.normal(key, (4, 3)), "gain": jax.random.normal(key, (3,))},
        7,
    ),
}


FAST = ("rows", "cluster", "signs", "ReLU units")
every_group = pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)


def flat(tree):
    return ravel_pytree(tree)[0]


@every_group
def test_value_gradient_and_invariants_follow_the_motions_of_the_group(name):
    group, value, sample, num_generators = NAMES[name]

    @jax.jit
    @jax.vmap
    def at(key):
        x, key_motion = sample(key), jax.random.fold_in(key, 3)
        move = lambda x: group.random_motion(x, key_motion)
        image, other = move(x), sample(jax.random.fold_in(key, 4))

        # The gradient at the image, pulled back, is the gradient at the point.
        pulled = jax.vjp(move, x)[1](jax.grad(value)(image))[0]
        found = [(value(y), group.invariants(y)) for y in (x, image, other)]
        slopes = jnp.zeros(0)
        if group.generators is not None:
            slopes = jax.vmap(flat)(group.generators(x)) @ flat(jax.grad(value)(x))
        return found, flat(jax.grad(value)(x)), flat(pulled), flat(x) - flat(image), slopes

    keys = jax.random.split(jax.random.key(0), 6)
    ((here, known), (there, known_there), (_, elsewhere)), gradient, pulled, way, slopes = at(keys)
    size = 1 + np.abs(known).max()
    np.testing.assert_allclose(there, here, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(pulled, gradient, rtol=1e-7, atol=1e-8 * np.abs(gradient).max())
    np.testing.assert_allclose(known_there, known, atol=1e-10 * size)
    assert np.abs(way).max() > 0.1
    assert np.linalg.norm(elsewhere - known, axis=1).min() > 1e-2
    assert slopes.shape[1] == num_generators
    np.testing.assert_allclose(slopes, 0, atol=1e-10 * (1 + np.abs(gradient).max()))


@every_group
def test_invariants_tell_points_apart_that_no_motion_maps_on_each_other(name):
    """Beside a point, invariants have as many independent directions as the params without the group's motions."""
    group, _, sample, num_generators = NAMES[name]
    x = sample(jax.random.key(1))
    place, back = ravel_pytree(x)
    places = place[None] + 1e-5 * jnp.concatenate([jnp.eye(place.size), -jnp.eye(place.size)])
    known = jax.jit(jax.vmap(lambda place: group.invariants(back(place))))(places)
    changes = np.subtract(*np.split(known, 2)) / 2e-5
    assert np.linalg.matrix_rank(changes, tol=1e-6) == place.size - num_generators


def test_mirror_images_are_told_apart_only_where_they_are_no_motions(key):
    x = jax.random.normal(key, (5, 3))
    image = x.at[:, 0].multiply(-1)[::-1]
    for reflections in (True, False):
        group = rigid_motions(reflections=reflections) * permutations()
        assert np.allclose(group.invariants(x), group.invariants(image)) == reflections


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_groups_keep_the_dtype(dtype):
    x = jnp.arange(6, dtype=dtype).reshape(3, 2) ** 2
    group = rigid_motions() * permutations()
    moved = group.random_motion(x, jax.random.key(0))
    assert {group.invariants(x).dtype, group.generators(x).dtype, moved.dtype} == {jnp.dtype(dtype)}


@pytest.mark.slow
def test_layers_written_units_first_have_the_same_group():
    params = weights(jax.random.key(0))
    turned = {"w1": params["w1"].T, "b1": params["b1"], "w2": params["w2"].T}
    for signs in (False, True):
        group, other = (hidden_units(*LAYER, signs=signs, units_first=first) for first in (False, True))
        np.testing.assert_allclose(group.invariants(params), other.invariants(turned))
        moved = other.random_motion(turned, jax.random.key(2))
        np.testing.assert_allclose(other.invariants(moved), other.invariants(turned), atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("x", [np.zeros((3, 2)), np.zeros((1, 2)), np.full((3, 2), np.nan), np.full((3, 2), 1e200)])
@pytest.mark.parametrize("name", ["rigid", "spheres", "shape", "proper"])
def test_odd_points_give_invariants_of_the_same_shape(name, x):
    group = NAMES[name][0]
    assert group.invariants(jnp.asarray(x)).shape == group.invariants(jnp.ones(x.shape) + jnp.eye(*x.shape)).shape


@pytest.mark.slow
def test_points_that_coincide_have_finite_invariants():
    for name in ("rigid", "spheres", "shape", "proper", "columns turned"):
        assert np.isfinite(NAMES[name][0].invariants(jnp.zeros((3, 2)))).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: rigid_motions() * orthogonal(), "no invariants are known of rigid motions and mirror images together"),
        (lambda: hidden_units(["a"], ["b"]) * hidden_units(["b"], ["c"]), "no invariants are known of permutations"),
        (lambda: rigid_motions().invariants(jnp.zeros(3)), "act on rows of coordinates"),
        (lambda: scale("w").invariants({"v": jnp.zeros(3)}), "the params have no leaf at 'w'"),
        (lambda: scale().invariants({"v": jnp.zeros(3)}), "no single leaf at None"),
        (lambda: permutations("a", "b", columns=True), "columns can be permuted of one leaf only"),
        (lambda: permutations("a", "b").invariants({"a": jnp.zeros(3), "b": jnp.zeros(2)}), "one number of rows"),
        (lambda: torus(-1.0), "`period` must be positive and finite"),
        (lambda: hidden_units("w1", ["w2"]), "`incoming` must be a sequence of leaves"),
        (
            lambda: hidden_units(*LAYER).invariants(
                {"w1": jnp.zeros((2, 3)), "b1": jnp.zeros(2), "w2": jnp.ones((2, 1))}
            ),
            "one number of units",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(build, message):
    with pytest.raises(jaxgd.InputValueError, match=message):
        build()


def test_only_groups_multiply():
    with pytest.raises(jaxgd.InputTypeError, match="only groups"):
        scale() * 3
    with pytest.raises(jaxgd.InputTypeError, match="`period` must be a number"):
        torus("two")


# ------------------------------------------------------------------------------------- wrongly declared ones


def wrong(value, sample, symmetry):
    return jaxgd.Landscape(value=value, sample=sample, symmetry=symmetry)


def slowly(value, sample, symmetry, message):
    return pytest.param(wrong(value, sample, symmetry), message, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("landscape", "message"),
    [
        slowly(lambda x: pairs(x) + jnp.sum(x[:, 0] ** 2), normal(3, 2), rigid_motions(), "along generator 0"),
        (wrong(lambda x: x[0] ** 2 + 2 * x[1] ** 2, normal(2), permutations()), "under random motions"),
        slowly(network(jax.nn.softplus), weights, hidden_units(*LAYER, signs=True), "under random motions"),
        slowly(network(jnp.tanh), weights, hidden_units(*LAYER, rescaling=True), "along generator 0"),
        slowly(lambda x: 1e-20 * x[0], normal(2), sign_flips(), "under random motions"),
        (wrong(lambda x: 1e20 * x[0], normal(2), scale()), "along generator 0"),
        (
            wrong(
                lambda x: jnp.sum(x),
                normal(2),
                jaxgd.Symmetry(name="a shift", invariants=jnp.abs, generators=lambda x: jnp.ones((1, 2))),
            ),
            "along generator 0 of its symmetry, a shift",
        ),
    ],
)
def test_a_symmetry_under_which_the_value_changes_is_refused(landscape, message):
    with pytest.raises(jaxgd.InputValueError, match=f"the value of landscape `landscape` changes {message}"):
        jaxgd.classify(landscape, jax.tree.map(lambda leaf: leaf[None], landscape.sample(jax.random.key(0))))


@pytest.mark.slow
def test_right_ones_are_accepted_in_float32_and_with_starts_that_are_not_finite(key):
    def value(x):
        return jnp.where(jnp.max(x) > 1.5, jnp.nan, pairs(x))

    for dtype in (jnp.float32, jnp.float64):
        sample = lambda key, dtype=dtype: jax.random.normal(key, (3, 2), dtype)
        landscape = wrong(value, sample, rigid_motions() * permutations())
        assert len(jaxgd.classify(landscape, sample(key)[None])) == 1
