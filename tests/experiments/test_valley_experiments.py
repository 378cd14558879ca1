"""The experiments on valleys: their exact numbers, and small runs of each."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.valleys import digits, known, overparameterised_student, singular

EVERY = (known, overparameterised_student, digits, singular)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_subspaces_of_a_student_are_as_many_as_the_formula_says_and_do_what_the_teacher_does(rank):
    every = overparameterised_student.subspaces(rank)
    assert len(set(every)) == rank * math.factorial(rank + 1) // 2 + math.factorial(rank + 1)
    teacher = overparameterised_student.teacher_of(rank)
    x = np.random.default_rng(0).standard_normal((5, 2))
    answer = lambda params: np.logaddexp(0, x @ params["w"]) @ params["a"]
    for subspace in every:
        free = np.array([0.3, -0.7]) if subspace.is_silent else np.array([0.4])
        np.testing.assert_allclose(answer(subspace.place(teacher, free)), answer(teacher))


def test_ways_through_crossings_are_level_and_join_all_subspaces():
    landscape = overparameterised_student.landscape_of(2, 3, "softplus")
    sets, value, gradient = overparameterised_student.joined(landscape, 2)
    assert sets == 1
    assert value < 1e-25
    assert gradient < 1e-13
    curves = overparameterised_student._loss_beside(landscape)
    assert curves["through crossings"][1].max() < 1e-25
    assert curves["straight"][1].max() > 1e-3


def test_places_of_the_random_polynomials_are_critical_to_the_distance_they_are_moved():
    landscape, places, dimension = singular.polynomials(49, jnp.float64)
    gradient = jax.vmap(jax.grad(landscape.value))(jnp.asarray(places))
    assert float(jnp.abs(gradient).max()) < 1e-3
    assert set(dimension.tolist()) == {-1, 2, 3, 4}


@pytest.mark.slow
@pytest.mark.parametrize("module", EVERY, ids=lambda module: module.__name__)
def test_quick_run_prints_the_contract_and_draws_its_figure(module, check_quick_run):
    check_quick_run(module)
