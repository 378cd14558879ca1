"""Published tables: the harness of their rows, the laws and landscapes that they stand beside, quick runs of each."""

import importlib
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.published import __main__ as runner
from experiments.published import (
    gaussian_fields,
    goe_minimum,
    lennard_jones,
    octopus,
    p_spin,
    rows,
    sphere_tensor,
    xy_ring,
)
from jaxgd.base import InputValueError

LOOSE = (jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"))


# ------------------------------------------------------------------------------------------------ the harness


@pytest.mark.parametrize(("z", "verdict"), [(3.9, "agrees"), (-3.9, "agrees"), (4.1, "disagrees"), (-4.1, "disagrees")])
def test_a_row_disagrees_beyond_four_standard_errors_of_both_sides(z, verdict):
    row = rows.estimate("x", 10.0 + z * 5.0, 3.0, 100, expected=10.0, source_error=4.0, source="somebody 1999")
    assert row.z == pytest.approx(z)
    assert row.verdict == verdict
    assert (row.low, row.high) == pytest.approx((row.measured - 12.0, row.measured + 12.0))


def test_a_row_that_must_be_refuted_is_refuted_and_so_is_its_table():
    wrong = rows.mean("mean", np.random.default_rng(0).normal(1.0, 1.0, 400), expected=0.0, source="wrong")
    right = rows.mean("mean", np.random.default_rng(0).normal(1.0, 1.0, 400), expected=1.0, source="right")
    assert (wrong.verdict, right.verdict) == ("disagrees", "agrees")
    assert rows.stated("x", "Says.", [right, wrong]).verdict == "refuted"
    assert rows.stated("x", "Says.", [right]).verdict == "supported"
    assert rows.share("share", 60, 100, expected=0.3, source="wrong").verdict == "disagrees"
    assert rows.share("share", 1, 100, expected=0.0, source="never").verdict == "disagrees"


def test_a_row_without_a_published_number_is_a_prediction():
    row = rows.estimate("x", 1.0, 0.1, 10)
    assert (row.verdict, row.z, row.to_json()["verdict"]) == ("prediction", None, "prediction")


def test_z_of_a_share_is_that_of_two_proportions_where_the_source_counted():
    row = rows.share("spurious", 300, 1_000, expected=0.346, source="1,000 runs", source_trials=1_000)
    pooled = 0.323
    assert row.z == pytest.approx(-0.046 / math.sqrt(pooled * (1 - pooled) * 2 / 1_000))
    alone = rows.share("spurious", 300, 1_000, expected=0.346, source="exact")
    assert alone.z == pytest.approx(-0.046 / math.sqrt(0.346 * 0.654 / 1_000))


def test_z_of_means_and_of_counts_is_standard_normal_where_the_claim_is_true():
    rng = np.random.default_rng(1)
    means = [rows.mean("m", rng.normal(size=200), expected=0.0, source="true").z for _ in range(2_000)]
    chances = np.array([0.4, 0.3, 0.2, 0.1])
    squares = [rows.counts("c", rng.multinomial(500, chances), chances, source="true").z for _ in range(2_000)]
    for z in (means, squares):
        assert abs(np.mean(z)) < 4 / math.sqrt(2_000)
        assert np.std(z) == pytest.approx(1.0, abs=0.07)


def test_counts_of_another_law_disagree():
    assert rows.counts("c", [300, 100, 100], [0.5, 0.3, 0.2], source="wrong").verdict == "disagrees"
    with pytest.raises(InputValueError, match="too few counts"):
        rows.counts("c", [1, 1], [0.5, 0.5], source="few")


def test_a_count_may_be_as_large_as_what_was_not_seen_allows():
    assert rows.count("minima", 7, 0.0, expected=8, source="all").verdict == "disagrees"
    assert rows.count("minima", 7, 1.5, expected=8, source="all").verdict == "agrees"
    assert rows.count("minima", 9, 5.0, expected=8, source="all").verdict == "disagrees"


def test_impossible_errors_are_refused():
    with pytest.raises(InputValueError, match="must not be negative"):
        rows.estimate("x", 1.0, -0.1, 10, expected=1.0)
    with pytest.raises(InputValueError, match="no error on either side"):
        rows.estimate("x", 1.0, 0.0, 10, expected=1.0)
    with pytest.raises(InputValueError, match="at least two"):
        rows.mean("x", [1.0])


def test_the_one_table_has_source_interval_z_and_verdict_of_every_row(tmp_path):
    table = rows.stated(
        "x",
        "Says.\n\nMore.",
        [rows.mean("steps", np.arange(10.0), expected=4.5, source="A 1999"), rows.estimate("y", 1, 1, 2)],
    )
    result = json.loads(json.dumps(table.to_json()))
    text = runner.overview([result | {"seconds": 1.0}])
    assert all(word in text for word in ("A 1999", "agrees", "prediction", "2 rows: 1 agrees, 1 prediction."))
    page = runner.gallery([result | {"seconds": 1.0}], tmp_path, is_quick=True)
    assert "| steps | 4.5 | 4.5 [0.6703, 8.33] | 0.0 | agrees | 10 | A 1999 |" in page
    assert str(table).startswith("Says.\n")


def test_every_script_says_what_it_reproduces(capsys):
    assert runner.main([]) == 0
    said = capsys.readouterr().out
    for name in runner.names():
        assert runner.sentence(name).endswith(".")
        assert name in said


def test_a_script_that_fails_is_named_and_does_not_stop_the_rest():
    failed = {
        "experiment": "published.x",
        "claim": "",
        "rows": [],
        "verdict": "failed",
        "condition": "no disk",
        "seconds": 1.0,
    }
    assert "published.x failed: no disk" in runner.overview([failed])


# ------------------------------------------------------------------------------------------- laws and landscapes


def assert_derivatives(value, x, gradient, second):
    """Checks both derivatives by differences and against formulas of their own."""
    step = 1e-5
    basis = np.eye(x.size)
    by_grad, by_second = jax.grad(value)(x), jax.hessian(value)(x)
    differences = [(value(x + step * e) - value(x - step * e)) / (2 * step) for e in basis]
    np.testing.assert_allclose(by_grad, differences, atol=1e-7)
    slopes = [(jax.grad(value)(x + step * e) - jax.grad(value)(x - step * e)) / (2 * step) for e in basis]
    np.testing.assert_allclose(by_second, np.stack(slopes), atol=1e-6)
    np.testing.assert_allclose(by_grad, gradient, atol=1e-12)
    np.testing.assert_allclose(by_second, second, atol=1e-11)


def test_derivatives_of_the_ring_are_those_of_its_laplacian():
    theta = np.random.default_rng(0).uniform(-3, 3, 6)
    apart = np.roll(theta, -1) - theta
    incidence = np.roll(np.eye(6), 1, axis=1) - np.eye(6)  # row i: theta_{i+1} - theta_i
    gradient = incidence.T @ np.sin(apart)
    assert_derivatives(
        xy_ring.ring(6).value, jnp.asarray(theta), gradient, incidence.T @ np.diag(np.cos(apart)) @ incidence
    )


def test_derivatives_of_the_quartic_on_the_sphere_are_those_of_a_quotient():
    x = np.random.default_rng(0).standard_normal(4)
    x /= np.linalg.norm(x)
    top, eye = np.sum(x**4), np.eye(4)
    gradient = -4 * x**3 + 4 * top * x
    second = (
        -12 * np.diag(x**2) + 16 * (np.outer(x**3, x) + np.outer(x, x**3)) + 4 * top * eye - 24 * top * np.outer(x, x)
    )
    assert_derivatives(sphere_tensor.quartic(np.eye(4)).value, jnp.asarray(x), gradient, second)


def test_derivatives_of_a_glass_are_those_that_its_search_uses():
    with LOOSE[0], LOOSE[1]:
        tensor = p_spin.couplings(jax.random.key(0), 5, 3)
        x = jax.random.normal(jax.random.key(1), (5,))
        x = x * np.sqrt(5) / jnp.linalg.norm(x)
        value = lambda x: jnp.einsum("ijk,i,j,k", tensor, x, x, x)
        energy, slope, second = p_spin.at(tensor, x)
        assert float(energy) == pytest.approx(float(value(x)))
        on_sphere = 6 * np.einsum("ijk,k->ij", tensor, x)
        assert_derivatives(value, x, slope, on_sphere)
        np.testing.assert_allclose(second, on_sphere - 3 * energy / 5 * np.eye(5))
        landscape = p_spin.glasses(5, 3)
        assert float(landscape.value({"couplings": tensor, "x": 2 * x})) == pytest.approx(float(energy))


def test_the_formula_of_kac_and_rice_counts_the_eigenvectors_and_the_points_of_small_spheres():
    by_index, _ = p_spin.kac_rice(5, 2, 1_000)
    np.testing.assert_allclose(by_index[:-1], 2.0)  # two of each index at p = 2, whatever was drawn
    for dim, known in p_spin.EXACT_MEANS.items():
        value, error = p_spin.kac_rice(dim, 3, 200_000)
        assert abs(value[-1] - known) < 4 * error[-1] + 1e-5
    value, error = p_spin.kac_rice(3, 3, 200_000)
    assert abs(value[0] - p_spin.EXACT_MINIMA) < 4 * error[0]


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_pfaffians_give_the_closed_forms_of_definite_matrices(n):
    law = goe_minimum.index_law(n)
    assert law[0] == pytest.approx(goe_minimum.CLOSED[n], abs=1e-12)
    np.testing.assert_allclose(law, law[::-1], atol=1e-12)


def test_pfaffians_give_the_index_of_drawn_matrices():
    spectra = np.linalg.eigvalsh(goe_minimum.goe(np.random.default_rng(5), 20_000, 5))
    seen = np.bincount(np.sum(spectra < 0, axis=1), minlength=6)
    assert rows.counts("index", seen, goe_minimum.index_law(5), source="Pfaffian").verdict == "agrees"


def test_splitting_is_free_of_bias():
    _, levels = goe_minimum.splitting(np.random.default_rng(0), 3, 100, None)
    found = [goe_minimum.splitting(np.random.default_rng([7, run]), 3, 100, levels)[0] for run in range(120)]
    row = rows.mean("P", found, expected=goe_minimum.CLOSED[3], source="closed form")
    assert row.verdict == "agrees"
    assert rows.mean("P", found, expected=2 * goe_minimum.CLOSED[3], source="wrong").verdict == "disagrees"


@pytest.mark.parametrize("n", [3, 5, 7, 9, 11])
def test_critical_points_of_rings_add_up_to_a_torus(n):
    every = xy_ring.all_points(n)
    assert sum((-1) ** index * number for index, number in every.items()) == 0
    assert every[0] == 2 * ((n - 1) // 4) + 1
    assert {index: every[index] for index in (0, 1, 2)} == {0: 1, 1: 3, 2: 2} if n == 3 else len(every) > 3


def test_winding_counts_turns():
    twisted = 2 * np.pi * 3 * np.arange(20) / 20
    assert xy_ring.winding(np.stack([twisted, -twisted, 0 * twisted])).tolist() == [3, -3, 0]


def test_the_mean_index_of_a_field_falls_with_its_energy_to_zero():
    index = gaussian_fields.index_at(3, 0.6, np.array([-4.0, 0.6, 5.0]), num=5_000)
    assert index[0] < 1e-3
    assert index[1] == pytest.approx(0.5, abs=0.02)  # V'' + m is centred there
    assert index[2] > 0.999


def test_field_of_one_dimension_has_the_number_of_the_closed_form():
    value, error = gaussian_fields.law(1, 0.6, 400_000)
    assert abs(value[0] - 2.439) < 4 * error[0] + 5e-4
    assert abs(value[1] - 1.719) < 4 * error[1] + 5e-4


def test_the_octahedron_is_the_cluster_of_thirty_eight_atoms():
    x = lennard_jones.octahedron()
    apart = np.linalg.norm(x[:, None] - x[None], axis=-1)[np.triu_indices(38, 1)]
    assert len(x) == 38
    assert np.sum(apart < 1.2) == 144
    assert np.sum(4 * (apart**-12 - apart**-6)) == pytest.approx(-173.928, abs=1.5)


def test_an_evaporated_atom_is_seen():
    x = lennard_jones.octahedron()
    gone = x.copy()
    gone[np.argmax(np.linalg.norm(x, axis=1))] *= 3
    assert lennard_jones.is_whole(np.stack([x, gone])).tolist() == [True, False]


def test_logarithms_leave_the_saddles_of_the_octopus_when_single_steps_do():
    landscape = jax.jit(jax.vmap(jax.grad(octopus.jaxgd.landscapes.octopus(3, tau=octopus.TAU).value)))
    starts = np.random.default_rng(3).uniform(-1, 1, (20, 3))
    x, times = jnp.asarray(starts), np.full((20, 3), -1.0)
    for step in range(400):
        left = np.abs(np.asarray(x)) >= 2 * octopus.TAU
        times[left & (times < 0)] = step
        x = x - 0.25 * landscape(x)
    np.testing.assert_array_equal(octopus.by_logarithms(1.0, 3, starts), times)


@pytest.mark.slow
@pytest.mark.parametrize("name", runner.names())
def test_quick_run_prints_the_contract_and_draws_its_figure(name, check_quick_run):
    check_quick_run(importlib.import_module(f"experiments.published.{name}"))
