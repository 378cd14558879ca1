import contextlib
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from experiments.benchmarks import lennard_jones, rivals, saddle_escape, separable
from jaxgd import experiment

ROOT = Path(__file__).parents[2]
RATIOS = {
    "lennard_jones": {
        "vmap_optax_lbfgs",
        "vmap_fire",
        "vmap_optimistix_bfgs",
        "pele_lbfgs",
        "pele_lbfgs_all_cores",
        "c_simd_gradient",
        "natural_over_pele",
        "float32_over_float64",
        "two_cores_over_one",
    },
    "saddle_escape": {"vmap_plain", "vmap_noisy", "occupancy_plain", "max_over_mean_plain"},
    "separable": {"vmap_rastrigin_2", "vmap_styblinski_tang_1000"},
    "matmul": {"vmap_best_tile_p_spin_float64", "vmap_best_tile_mlp_float32", "torch_func_mlp_float64"},
    "scaling": {"peak_gigabytes_counted_1000", "peak_gigabytes_catalogue_1000"},
    "overhead": {"seconds_import_beyond_jax_and_optax", "first_result_over_by_hand"},
}


@contextlib.contextmanager
def foreign():
    """Other libraries promote dtypes and ranks."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def check(found, name):
    assert found["benchmark"] == name
    assert found["work"]
    assert found["versions"]["jax"] == jax.__version__
    for row in found["rows"]:
        assert row.keys() >= {"system", "rate", "unit", "converged", "seconds_compile"}
        assert row["rate"] > 0 if row["rate"] is not None else row["reason"]


@pytest.mark.slow
def test_benchmark_runs_and_every_descent_converges(capsys, monkeypatch):
    monkeypatch.setattr(separable, "DIMS", (10,))
    monkeypatch.setattr(separable, "BUILDERS", {"styblinski_tang": jaxgd.landscapes.styblinski_tang})
    assert experiment.main(separable.measure, ["--quick", "--json"], description="") == 0
    found = json.loads(capsys.readouterr().out)
    check(found, "separable")
    assert [row["converged"] for row in found["rows"]] == [1.0, 1.0]
    assert found["ratios"].keys() == {"vmap_styblinski_tang_10"}


@pytest.mark.slow
def test_loop_by_hand_does_the_same_descents_as_the_engine(key):
    landscape = jaxgd.landscapes.styblinski_tang(dim=3)
    keys = jax.random.split(key, 20)
    starts = jax.vmap(landscape.sample)(keys)
    stop = jaxgd.Stop(gradient_norm=1e-6, max_steps=1000)
    ends = jaxgd.descend(landscape, optax.sgd(0.005, momentum=0.5), starts=starts, key=key, stop=stop)
    loop = rivals.vmap_while_loop(
        jax.value_and_grad(landscape.value), optax.sgd(0.005, momentum=0.5), tolerance=1e-6, max_steps=1000
    )
    params, steps = loop(starts, keys)
    np.testing.assert_array_equal(steps, ends.num_steps)
    np.testing.assert_allclose(params, ends.params, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "has_line_search"), [(optax.lbfgs(), True), (rivals.fire(), False)], ids=["lbfgs", "fire"]
)
def test_rivals_by_hand_reach_minima_of_small_clusters(key, optimizer, has_line_search):
    landscape = jaxgd.landscapes.lennard_jones(num_atoms=3)
    keys = jax.random.split(key, 8)
    loop = rivals.vmap_while_loop(
        jax.value_and_grad(lennard_jones.natural_energy),
        optimizer,
        tolerance=1e-6,
        max_steps=5000,
        has_line_search=has_line_search,
    )
    with foreign():
        params, steps = loop(jax.vmap(landscape.sample)(keys), keys)
    norms = jax.vmap(lambda x: optax.tree.norm(landscape.gradient(x)))(params)
    assert jnp.all(norms[steps < 5000] <= 2e-6)
    assert jnp.mean(steps < 5000) >= 0.7


def test_optimistix_stops_by_the_gradients_norm(key):
    pytest.importorskip("optimistix")
    landscape = jaxgd.landscapes.styblinski_tang(dim=2)
    starts = jax.vmap(landscape.sample)(jax.random.split(key, 6))
    with foreign():
        ends = rivals.vmap_optimistix_bfgs(landscape.value, 1e-6, 500)(starts)
    norms = jax.vmap(lambda x: optax.tree.norm(jax.grad(landscape.value)(x)))(ends)
    assert jnp.all(norms <= 1e-6)


@pytest.mark.slow
def test_natural_energy_is_the_landscapes(key):
    x = lennard_jones.LANDSCAPE.sample(key)
    np.testing.assert_allclose(lennard_jones.natural_energy(x), lennard_jones.LANDSCAPE.value(x), rtol=1e-10)


@pytest.mark.slow
def test_noise_beside_the_saddle_is_unbiased(key):
    x = saddle_escape.sample(key)
    draws = jax.vmap(lambda k: jax.grad(saddle_escape.noisy_value)(x, k))(jax.random.split(key, 4000))
    exact = jax.grad(saddle_escape.LANDSCAPE.value)(x)
    error = jnp.std(draws, axis=0) / jnp.sqrt(4000.0)
    assert jnp.all(jnp.abs(jnp.mean(draws, axis=0) - exact) <= 4.5 * error)


def test_tiles_cover_all_descents():
    seen = []
    rivals.in_tiles(lambda xs, ys: seen.extend(xs.tolist()) or ys, 4, np.arange(10), np.arange(10))()
    assert seen == list(range(10))


def test_mistake_on_the_command_line_is_a_sentence_and_code_2():
    done = subprocess.run(
        [sys.executable, "-m", "experiments.benchmarks.separable", "--starts", "3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "unrecognized arguments: --starts 3" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", RATIOS)
def test_quick_run_prints_one_object_and_writes_the_figure(name, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", f"experiments.benchmarks.{name}", "--quick", "--json", "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    check(found, name)
    assert found["ratios"].keys() >= RATIOS[name]
    assert {path.name for path in tmp_path.iterdir()} >= {f"{name}.json"}
