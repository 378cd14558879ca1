"""What every landscape promises, whatever its family."""

import inspect
import subprocess
import sys
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from jaxgd import landscapes
from jaxgd.base import InputTypeError, InputValueError, Landscape

BUILDERS = [getattr(landscapes, name) for name in landscapes.__all__]
BAD_VALUES = {
    "activation": "sine", "ascent_curvature": 0.0, "axes": "tilted", "batch_size": 0, "connections": "dense",
    "depth": 0, "descent_curvature": -1.0, "dim": 0, "eigenvalues": (2.0, 2.0), "gamma": 0.0, "half_width": 0.0,
    "index": -1, "k": 0, "l2": -1.0, "m": -0.6, "n": 0, "normalisation": "layer",
    "num_atoms": 1, "num_features": 0, "num_images": 1798, "p": 1, "scale": float("nan"), "seed": -1,
    "spread": -0.5, "steepness": float("inf"), "tau": 0.0, "weight_scale": 0.0, "width": 0, "widths": (),
}  # fmt: skip
SMALLER = {  # quicker to compile
    "lennard_jones": {"num_atoms": 5},
    "digits_mlp": {"num_images": 100},
    "digits_network": {"num_images": 50, "depth": 1, "width": 4},
}
every_builder = pytest.mark.parametrize("builder", BUILDERS, ids=landscapes.__all__)


@cache
def built(builder) -> Landscape:
    return builder(**SMALLER.get(builder.__name__, {}))


@cache
def some_starts(builder):
    return jax.jit(jax.vmap(built(builder).sample))(jax.random.split(jax.random.key(0), 4))


def leaves(tree) -> list:
    return jax.tree.leaves(tree)


def assert_evaluates_in(dtype, landscape, starts):
    """Returns (value, gradient) as the landscape gives it and as automatic differentiation does, from one program."""
    starts = jax.tree.map(lambda leaf: leaf.astype(dtype), starts)
    both = lambda start: (landscape.evaluate(start), jax.value_and_grad(landscape.value)(start))
    (values, grads), automatic = jax.jit(jax.vmap(both))(starts)
    assert (values.shape, values.dtype) == ((4,), dtype)
    assert np.isfinite(values).all()
    for grad, start in zip(leaves(grads), leaves(starts), strict=True):
        assert (grad.shape, grad.dtype) == (start.shape, dtype)
        assert np.isfinite(grad).all()
    return (values, grads), automatic


@every_builder
@pytest.mark.slow
def test_starts_evaluate_in_float32(builder):
    landscape, starts = built(builder), some_starts(builder)
    assert all(leaf.dtype == jnp.zeros(()).dtype and leaf.shape[0] == 4 for leaf in leaves(starts))
    assert_evaluates_in(jnp.float32, landscape, starts)


@every_builder
def test_starts_evaluate_in_float64_as_automatic_differentiation_does(builder):
    landscape, starts = built(builder), some_starts(builder)
    by_hand, automatic = assert_evaluates_in(jnp.float64, landscape, starts)
    for one, other in zip(leaves(by_hand), leaves(automatic), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * (1 + np.abs(other).max()))


@every_builder
@pytest.mark.slow
def test_hessian_vector_products_match_differences_of_the_gradient(builder):
    landscape = built(builder)
    flat, restore = ravel_pytree(jax.tree.map(lambda leaf: leaf[1], some_starts(builder)))
    direction = np.random.default_rng(0).standard_normal(flat.shape)
    direction = jnp.asarray(direction / np.linalg.norm(direction))
    gradient = lambda vector: ravel_pytree(landscape.gradient(restore(vector)))[0]
    product = lambda vector: jax.jvp(gradient, (vector,), (direction,))
    # Both shifts in one batch: gradients and products from one program.
    shifted = jnp.stack([flat - 1e-6 * direction, flat + 1e-6 * direction])
    (behind, ahead), products = jax.jit(jax.vmap(product))(shifted)
    differences = (ahead - behind) / 2e-6
    np.testing.assert_allclose(products.mean(axis=0), differences, rtol=1e-4, atol=1e-5 * (1 + np.abs(products).max()))


@every_builder
def test_known_points_are_critical_with_the_stated_value_and_index(builder, spectra):
    landscape = built(builder)
    points = [point for point in landscape.facts.points if point.params is not None] if landscape.facts else []
    if not points:
        pytest.skip("no critical point of this landscape is known")
    batch = jnp.stack([jnp.asarray(point.params) for point in points])
    values, grads = jax.jit(jax.vmap(landscape.evaluate))(batch)
    eigenvalues = spectra(landscape, batch)
    scale = 1 + np.abs(eigenvalues).max()
    np.testing.assert_allclose(values, [point.value for point in points], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(grads, 0, atol=1e-11 * scale)
    assert np.sum(eigenvalues < -1e-9 * scale, axis=1).tolist() == [point.index for point in points]
    if landscape.facts.max_learning_rate is not None:
        steepest = max(max(each) for each, point in zip(eigenvalues, points, strict=True) if point.index == 0)
        assert 2 / steepest == pytest.approx(landscape.facts.max_learning_rate, rel=5e-3)


@every_builder
def test_facts_have_a_source_and_counts_that_agree(builder):
    facts = built(builder).facts
    if facts is None:
        pytest.skip("nothing is known of this landscape")
    assert facts.source
    if facts.num_critical_points is not None:
        assert facts.num_minima <= facts.num_critical_points
        assert len(facts.points) <= facts.num_critical_points


@every_builder
def test_invariants_are_a_vector_and_generators_keep_the_value(builder):
    landscape = built(builder)
    if landscape.symmetry is None:
        pytest.skip("this landscape has no symmetry")
    start = jax.tree.map(lambda leaf: leaf[0], some_starts(builder))
    invariants = landscape.symmetry.invariants(start)
    assert invariants.ndim == 1
    assert invariants.dtype == jnp.float64
    if landscape.symmetry.generators is not None:
        motions = landscape.symmetry.generators(start)
        for motion, leaf in zip(leaves(motions), leaves(start), strict=True):
            assert (motion.shape[1:], motion.dtype) == (leaf.shape, leaf.dtype)
        grad, _ = ravel_pytree(jax.jit(landscape.gradient)(start))
        flat = jax.vmap(lambda motion: ravel_pytree(motion)[0])(motions)
        np.testing.assert_allclose(flat @ grad, 0, atol=1e-12 * (1 + np.abs(grad).max()) * np.abs(flat).max())


@every_builder
def test_all_arguments_are_named_and_have_defaults_that_build(builder):
    landscape = builder()
    assert isinstance(landscape, Landscape)
    assert landscape.name == builder.__name__
    for parameter in inspect.signature(builder).parameters.values():
        assert parameter.default is not inspect.Parameter.empty
        assert parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)


@every_builder
def test_default_optimizer_is_a_name_with_numbers(builder):
    name, _, arguments = built(builder).default_optimizer.partition(":")
    assert name == "lbfgs" or hasattr(optax, name)
    for argument in arguments.split(","):
        key, _, number = argument.partition("=")
        assert key.isidentifier()
        assert float(number) > 0


@every_builder
def test_bad_arguments_are_refused_by_name(builder):
    for name in inspect.signature(builder).parameters:
        with pytest.raises(InputTypeError, match=f"`{name}` must be"):
            builder(**{name: object()})
        bad = "cauchy" if name == "start" and builder is landscapes.quadratic_saddle else BAD_VALUES.get(name)
        bad = float("inf") if bad is None else bad
        with pytest.raises(InputValueError, match=f"`{name}` must"):
            builder(**{name: bad})


def test_the_sentence_names_argument_bound_and_value():
    with pytest.raises(InputValueError, match=r"^`dim` must be an integer of at least 1, got 0\.$"):
        landscapes.styblinski_tang(dim=0)
    with pytest.raises(InputTypeError, match=r"^`dim` must be an integer of at least 1, got 2\.5\.$"):
        landscapes.styblinski_tang(dim=2.5)
    with pytest.raises(InputTypeError, match=r"`dim` must be an integer of at least 1, got True\."):
        landscapes.styblinski_tang(dim=True)
    with pytest.raises(InputValueError, match=r"`index` must be an integer from 0 to 2, got 3\."):
        landscapes.quadratic_saddle(dim=2, index=3)
    with pytest.raises(InputValueError, match=r"`half_width` must be a finite number above 0, got -1\.0\."):
        landscapes.rosenbrock(half_width=-1.0)
    with pytest.raises(InputValueError, match=r"`activation` must be one of 'tanh', 'relu', got 'sine'\."):
        landscapes.digits_mlp(activation="sine")
    with pytest.raises(InputValueError, match=r"`dim` \*\* `p` must be at most 10,000,000"):
        landscapes.spherical_p_spin(dim=300)
    with pytest.raises(InputValueError, match="`steepness` must be at least `gamma`"):
        landscapes.octopus(steepness=0.5)


def test_import_brings_no_optional_dependency():
    code = "import sys, jaxgd.landscapes; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
