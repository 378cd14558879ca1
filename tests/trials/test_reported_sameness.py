"""Reported: distinct points counted as one, and one point counted as many.

Two points are the same if each could be the other by its own placement error, in its own units, coordinate by
coordinate.
"""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from experiments.verdicts.problems.outcomes import claimed
from jaxgd import Stop


@pytest.mark.parametrize(("scale", "double"), [(2e-6, True), (2e-3, False)], ids=["float64", "float32"])
def test_two_wells_in_a_small_coordinate_are_two_minima(scale, double, ask):
    value = lambda p: ((p["x"] / scale) ** 2 - 1) ** 2 + (p["T"] - 1) ** 2
    start = lambda key: {"x": scale * jax.random.normal(key), "T": jax.random.normal(jax.random.fold_in(key, 1))}
    with jax.enable_x64(double):
        found = ask(value, start, None, 100)
    assert claimed(found.points).mean() > 0.9
    assert len(found.catalogue) == 2


@pytest.mark.parametrize("shift", [0.0, pytest.param(1.0, marks=pytest.mark.slow)])
def test_the_bottom_of_a_quartic_bowl_is_one_point(shift, ask):
    found = ask(lambda x: jnp.sum((x - shift) ** 4), lambda key: jax.random.normal(key, (3,)), None, 100)
    assert set(found.points.verdict_counts()) <= {"degenerate", "undecided", "plateau"}
    assert len(found.catalogue) == 1


@pytest.mark.parametrize("double", [pytest.param(True, marks=pytest.mark.slow), False], ids=["float64", "float32"])
def test_equilibria_between_charges_are_counted_once_each(double, ask):
    # Unit charges at the corners of a prism have fifteen equilibria (by root finding, and by the count of Morse theory:
    # ten saddles of index two less five of index one is the number of charges less one).
    corners = [(np.cos(t), np.sin(t), z) for t in (0, 2 * np.pi / 3, 4 * np.pi / 3) for z in (-0.8, 0.8)]

    def squared_field(x):
        away = x - jnp.array(corners)
        return jnp.sum(jnp.sum(away / jnp.sum(away**2, axis=1, keepdims=True) ** 1.5, axis=0) ** 2)

    stop = Stop(gradient_norm=1e-9 if double else 1e-4)
    with jax.enable_x64(double):
        found = ask(squared_field, lambda key: 0.5 * jax.random.normal(key, (3,)), None, 400, stop=stop)
    equilibria = (found.catalogue.verdict == int(jaxgd.Verdict.MINIMUM)) & (found.catalogue.value < 1e-6)
    assert equilibria.sum() == 15


@pytest.mark.parametrize("dim", [10, pytest.param(16, marks=pytest.mark.slow)])
def test_every_one_of_many_sign_vectors_is_a_point_of_its_own(dim):
    wells = jaxgd.Landscape(value=lambda x: jnp.sum((x**2 - 1) ** 2), sample=lambda key: jax.random.normal(key, (dim,)))
    one = jaxgd.classify(wells, jnp.ones((1, dim)))
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=dim)))
    repeated = jax.tree.map(lambda leaf: np.repeat(leaf, len(signs), axis=0), one.columns())
    points = replace(one, **repeated | {"params": signs})
    assert len(jaxgd.catalogue(wells, points)) == 2**dim
