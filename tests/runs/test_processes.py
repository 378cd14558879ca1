"""Runs by processes of their own: shared, stopped, killed, extended, merged, always with the same bits."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import jaxgd
from jaxgd import launch, names

SURVEY = (
    "survey styblinski_tang --param dim=2 --optimizer sgd:learning_rate=0.005 --starts 20000 --block 512 --lanes 64"
    " --layout lanes_last --json"
).split()


def start(*words, launcher=(), **variables):
    module = ["jaxgd.launch", *map(str, launcher), "--"] if launcher else ["jaxgd.cli"]
    return subprocess.Popen(
        [sys.executable, "-m", *module, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    )


def output(process, code=0):
    out, said = process.communicate(timeout=300)
    assert process.returncode == code, said
    return out, said


def wait_for_parts(directory, process):
    while len(list(directory.glob("part-*.npz"))) < 2 and process.poll() is None:
        time.sleep(0.01)


def litter(directory):
    return [path.name for path in directory.iterdir() if path.name.startswith(".") or ".claim-" in path.name]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole") / "run"
    out, _ = output(start(*SURVEY, "--devices", 1, "--out", directory))
    assert json.loads(out)["verdicts"] == {"minimum": 20000}
    return directory


@pytest.mark.slow
@pytest.mark.parametrize(("num_processes", "num_devices"), [(2, 1), (4, 1), (1, 2), (2, 2)])
def test_any_number_of_processes_and_devices_gives_the_same_bits(num_processes, num_devices, whole, tmp_path, runs):
    words = [*SURVEY, "--out", tmp_path / "run"]
    words += ["--devices", min(num_devices, os.cpu_count())]
    out, said = output(start(*words, launcher=("--processes", num_processes)))
    assert json.loads(out)["num_descents"] == 20000  # one object: one process reported
    assert said.count("another process reports") == num_processes - 1
    runs.same(jaxgd.open_run(tmp_path / "run"), jaxgd.open_run(whole))
    assert litter(tmp_path / "run") == []


CLUSTERS = {  # what the tasks of a job of two find in their environment; jax detects it
    "slurm": lambda task: {
        "SLURM_JOB_ID": "4242",
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(task),
        "SLURM_LOCALID": str(task),
    },
    "open_mpi": lambda task: {
        "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://127.0.0.1:38635",
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_RANK": str(task),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(task),
    },
    "addresses": lambda task: {
        "JAX_COORDINATOR_ADDRESS": "localhost:38637",
        "JAX_NUM_PROCESSES": "2",
        "JAX_PROCESS_ID": str(task),
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_tasks_that_jax_joins_first_give_the_same_bits(cluster, whole, tmp_path, runs):
    words = [*SURVEY, "--devices", 1, "--distributed", "--out", tmp_path / "run"]
    tasks = [start(*words, **CLUSTERS[cluster](number)) for number in range(2)]
    said = [output(task)[1] for task in tasks]
    assert sum("another process reports" in text for text in said) == 1
    runs.same(jaxgd.open_run(tmp_path / "run"), jaxgd.open_run(whole))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_goes_on_where_it_was(number, whole, tmp_path, runs):
    run = tmp_path / "run"
    process = start(*SURVEY, "--out", run)
    wait_for_parts(run, process)
    process.send_signal(number)
    _, said = output(process, -9 if number == signal.SIGKILL else 128 + number)
    before = {path.name: path.stat().st_ino for path in run.glob("part-*.npz")}
    assert 0 < len(before) < 40
    num_done = sum(int(name[20:30]) - int(name[9:19]) for name in before)  # the last part is a short one
    if number != signal.SIGKILL:
        assert f"stopped: {num_done:,} of 20,000 descents are in" in said
        assert litter(run) == []
    merged, _ = output(start("merge", run, "--json"), 3)
    assert json.loads(merged)["num_descents"] == num_done
    output(start(*(SURVEY if number == signal.SIGINT else ["resume"]), *(["--out"] * (number == signal.SIGINT)), run))
    after = {path.name: path.stat().st_ino for path in run.glob("part-*.npz")}
    assert {name: after[name] for name in before} == before
    runs.same(jaxgd.open_run(run), jaxgd.open_run(whole))
    assert litter(run) == []


@pytest.mark.slow
def test_others_go_on_and_take_over_when_one_is_killed(whole, tmp_path, runs):
    run = tmp_path / "run"
    processes = [start(*SURVEY, "--out", run) for _ in range(3)]
    wait_for_parts(run, processes[0])
    processes[0].kill()
    reports = [output(process)[0] for process in processes[1:]]
    assert sum(map(bool, reports)) == 1
    processes[0].communicate()
    runs.same(jaxgd.open_run(run), jaxgd.open_run(whole))
    assert litter(run) == []


@pytest.mark.slow
def test_launch_hands_signals_on_and_says_how_it_ended(tmp_path):
    run = tmp_path / "run"
    process = start(*SURVEY, "--out", run, launcher=("--processes", 2))
    wait_for_parts(run, process)
    process.send_signal(signal.SIGTERM)
    _, said = output(process, 143)
    assert said.count("of 20,000 descents are in") == 2
    assert litter(run) == []


@pytest.mark.slow
def test_a_run_is_extended_and_gets_a_second_arm_on_the_command_line(whole, tmp_path):
    run = tmp_path / "run"
    words = [word if word != "20000" else "3000" for word in SURVEY]
    output(start(*words, "--out", run))
    out, _ = output(start("extend", run, "--starts", 4000, "--json"))
    assert json.loads(out)["num_descents"] == 4000
    out, _ = output(start("extend", run, "--optimizer", "sgd:learning_rate=0.01", "--max-steps", 7, "--json"))
    assert [arm["optimizer"] for arm in json.loads(out)["arms"]] == [
        "sgd:learning_rate=0.005",
        "sgd:learning_rate=0.01",
    ]
    first, second = jaxgd.open_run(run), jaxgd.open_run(run, arm=1)
    np.testing.assert_array_equal(first.ends.params, jaxgd.open_run(whole).ends.params[:4000])
    assert len(second.ends) == 4000
    assert second.ends.num_steps.max() == 7
    _, said = output(start("extend", run, "--starts", 10), 2)
    assert "cannot shrink" in said
    out, _ = output(start("merge", run))
    assert out.count("distinct critical points") == 2


@pytest.mark.slow
def test_code_of_ones_own_is_resumed_only_if_trusted_and_refused_once_changed(tmp_path):
    own, run = tmp_path / "own.py", tmp_path / "run"
    text = (
        "import jax, jax.numpy as jnp\nfrom jaxgd import Landscape\n"
        "mine = Landscape(value=lambda p: jnp.sum((p['a'] ** 2 - 1) ** 2), "
        "sample=lambda key: {'a': jax.random.normal(key, (2,))})\n"
    )
    own.write_text(text)
    words = ["survey", f"{own}:mine", "--optimizer", "sgd:learning_rate=0.05", "--starts", 400, "--out", run, "--json"]
    output(start(*words))
    next(run.glob("part-*.npz")).unlink()
    _, said = output(start("resume", run), 2)
    assert "say `--trust`" in said
    out, _ = output(start("resume", run, "--trust", "--json"))
    assert len(json.loads(out)["points"]) == 4
    unknown, known = jaxgd.open_run(run), jaxgd.open_run(run, landscape=names.find_landscape(f"{own}:mine"))
    assert len(unknown.catalogue) == 4  # as written, without the landscape
    assert list(unknown.ends.params) == ["['a']"]
    np.testing.assert_array_equal(known.ends.params["a"], unknown.ends.params["['a']"])
    own.write_text(text.replace("- 1)", "- 2)"))
    next(run.glob("part-*.npz")).unlink()
    for again in (["resume", run, "--trust"], words):
        _, said = output(start(*again), 2)
        assert "code: the landscape, the optimizer or jaxgd computes something else" in said


@pytest.mark.slow
def test_a_plan_is_near_what_a_run_takes(tmp_path):
    words = "styblinski_tang --param dim=4 --optimizer sgd:learning_rate=0.005 --starts 200000".split()
    out, _ = output(start("plan", *words, "--processes", 1, "--json"))
    plan = json.loads(out)
    began = time.perf_counter()
    output(start("survey", *words, "--out", tmp_path / "run"))
    seconds = time.perf_counter() - began
    disk = sum(path.stat().st_size for path in (tmp_path / "run").glob("part-*"))
    assert plan["disk_bytes"] == pytest.approx(disk, rel=0.02)
    assert seconds / 4 < plan["seconds"] < 4 * seconds  # on a busy machine


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--processes", "0", "--", "survey", "quartic", "--out", "x"], "at least one process"),
        (["--processes", "2"], "at least one process and a command"),
        (["--", "survey", "quartic"], "meet in a run directory"),
        (["--", "doctor"], "meet in a run directory"),
    ],
)
def test_launch_refuses_what_processes_cannot_share(words, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        launch.main(words)
    assert message in capsys.readouterr().err
