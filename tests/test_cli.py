"""The command line as a person or a script meets it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import jaxgd
from jaxgd import cli
from jaxgd.experiment import command

OWN = """
import jax, jax.numpy as jnp, optax
from jaxgd import Landscape
sample = lambda key: {"a": jax.random.normal(key, (2,)), "b": jnp.zeros(())}
mine = Landscape(value=lambda p: jnp.sum((p["a"] ** 2 - 1) ** 2) + p["b"] ** 2, sample=sample, name="mine")
falling = Landscape(value=lambda p: -jnp.sum(p["a"] ** 4), sample=sample)
vector = Landscape(value=lambda p: p["a"], sample=sample)
raising = Landscape(value=lambda p: 1 / 0, sample=sample)
growing = optax.GradientTransformation(lambda p: jnp.zeros(1), lambda u, s, p=None: (u, jnp.append(s, s)))
"""


@pytest.fixture(autouse=True)
def _one_device(monkeypatch):
    monkeypatch.setattr(command, "start_jax", lambda dtype, num_devices: None)  # the tests have started jax already


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "my own.py"
    path.write_text(OWN)
    return path


def call(*words):
    return CliRunner().invoke(cli.main, [str(word) for word in words])


def test_survey_prints_one_json_object_and_writes_what_it_found(tmp_path):
    words = "styblinski_tang --param dim=2 --optimizer sgd:learning_rate=0.005 --starts 500 --seed 3 --json".split()
    result = call("survey", *words, "--out", tmp_path / "run 1")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    for key in (
        "landscape",
        "num_starts",
        "seed",
        "dtype",
        "optimizer",
        "status",
        "verdicts",
        "points",
        "versions",
    ):
        assert key in found
    assert found["verdicts"] == {"minimum": 500}
    assert [round(point["value"], 4) for point in found["points"]] == [-78.3323, -64.1956, -64.1956, -50.0589]
    assert sum(point["hits"] for point in found["points"]) == 500
    assert set(found["unseen"]) == {"mass", "mass_low", "mass_high", "num_low"}
    assert {"ticks", "seconds_compile", "seconds_run", "occupancy"} <= set(found["cost"])
    assert set(found["engine"]) == {"layout", "num_lanes", "num_devices"}
    kept = json.loads((tmp_path / "run 1" / "result-0000000500.json").read_text())
    assert (kept["state"], {"seed": 3, **kept["result"]}) == ("finished", found)
    ends = jaxgd.open_run(tmp_path / "run 1").ends
    np.testing.assert_array_equal(ends.start_number, np.arange(500))
    assert ends.params.shape == (500, 2)


def test_a_file_of_ones_own_with_a_tree_of_params_is_surveyed(own):
    result = call("survey", f"{own}:mine", "--starts", 50, "--optimizer", "sgd:learning_rate=0.05")
    assert result.exit_code == 0, result.output
    assert "50 minimum" in result.stdout
    assert "4 distinct critical points" in result.stdout


def test_everything_diverging_is_a_table_not_an_error(own):
    result = call("survey", f"{own}:falling", "--starts", 20, "--optimizer", "sgd:learning_rate=1")
    assert result.exit_code == 0
    assert "20 diverged" in result.stdout
    assert "no critical point was found" in result.stdout


MISTAKES = {
    "Did you mean `styblinski_tang`": ["styblinsky_tang"],
    "Did you mean `sgd`": ["quartic", "--optimizer", "sgdd:learning_rate=1"],
    "Did you mean `learning_rate`": ["quartic", "--optimizer", "sgd:learning_rat=1"],
    "Did you mean `dim`": ["styblinski_tang", "--param", "dmi=3"],
    "must be written name=value": ["styblinski_tang", "--param", "dim"],
    "given twice": ["styblinski_tang", "--param", "dim=1", "--param", "dim=2"],
    "`dim` must be an integer": ["styblinski_tang", "--param", "dim=two"],
    "needs `learning_rate`": ["quartic", "--optimizer", "sgd"],
    "`learning_rate` must be positive": ["quartic", "--optimizer", "sgd:learning_rate=-1"],
    "0 is not in the range": ["quartic", "--starts", "0"],
    "-3 is not in the range": ["quartic", "--starts", "-3"],
    "not a valid integer": ["quartic", "--starts", "many"],
    "not one of 'float64', 'float32'": ["quartic", "--dtype", "float16"],
    "must be positive and finite": ["quartic", "--gradient-norm", "nan"],
    "cannot write to": ["quartic", "--out", "/proc/nothing/here"],
    "`--executor` must be dask:ADDRESS, loky": ["quartic", "--executor", "slurm"],
    "`num_devices` must be at most": ["quartic", "--devices", "9999"],
    "no file": ["nowhere.py:mine"],
    "importing `nowhere` raised": ["nowhere:mine"],
    "has no attribute `min`. Did you mean `mine`": ["OWN:min"],
    "must return one floating-point number": ["OWN:vector"],
    "`value` raised ZeroDivisionError": ["OWN:raising"],
    "state changes shape": ["OWN:mine", "--optimizer", "OWN:growing"],
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_one_sentence_and_code_2_and_leaves_nothing(message, own, tmp_path):
    words = [word.replace("OWN", str(own)) for word in MISTAKES[message]]
    out = tmp_path / "out"
    result = call("survey", *(() if "--out" in words else ("--out", out)), *words)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stdout == ""
    assert not out.exists()


def test_lists_name_every_landscape_and_optimizer():
    listed = call("landscapes").stdout
    assert "styblinski_tang(dim=2" in listed
    optimizers = call("optimizers").stdout
    for name in ("jaxgd.lbfgs(", "jaxgd.fire(", "optax.adam(learning_rate", "optax.sgd(learning_rate"):
        assert name in optimizers


def test_doctor_finds_that_this_jax_computes_rightly():
    result = call("doctor", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["computes_rightly"] is True


def test_the_installed_command_runs_in_a_process_of_its_own(tmp_path):
    words = "survey x_plus_sin_x --starts 20 --json --dtype float64".split()
    code = "import sys; from jaxgd.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert json.loads(done.stdout)["verdicts"] == {"degenerate": 20}
    assert list(Path(tmp_path).iterdir()) == []


def test_tuning_measures_and_says_how_to_repeat_what_it_found():
    result = call("tune", "quartic", "--optimizer", "sgd:learning_rate=0.01", "--starts", 100)
    assert result.exit_code == 0, result.output
    assert "Fastest: Engine(layout='lanes_" in result.stdout
    assert "Repeat with --layout lanes_" in result.stdout


@pytest.mark.parametrize("command", ["resume", "extend", "merge"])
def test_a_directory_without_a_run_is_refused(command, tmp_path):
    result = call(command, tmp_path, *(["--starts", 5] if command == "extend" else []))
    assert (result.exit_code, "holds no run" in result.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []
