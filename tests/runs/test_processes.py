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
from jaxgd import names

SURVEY = (
    "survey styblinski_tang --param dim=2 --optimizer sgd:learning_rate=0.005 --starts 20000 --block 512 --lanes 64"
    " --layout lanes_last --json"
).split()


# The command, dawdling after each block, so that it is still at work when it is stopped, however busy the machine is.
SLOWLY = """
import time
from jaxgd.runs.directory import Directory
write = Directory.write
Directory.write = lambda *block: (write(*block), time.sleep(0.5))[0]
from jaxgd.cli import main
main()
"""


def start(*words, is_slow=False, **variables):
    return subprocess.Popen(
        [sys.executable, *(["-c", SLOWLY] if is_slow else ["-m", "jaxgd.cli"]), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    )


def output(process, code=0):
    out, said = process.communicate(timeout=300)
    assert process.returncode == code, said
    return out, said


def wait_for_blocks(runs, directory, process):
    while not (directory.exists() and len(runs.blocks(directory)) > 1) and process.poll() is None:
        time.sleep(0.01)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole") / "run"
    out, _ = output(start(*SURVEY, "--devices", 1, "--out", directory))
    assert json.loads(out)["verdicts"] == {"minimum": 20000}
    return directory


@pytest.mark.slow
@pytest.mark.parametrize(("num_processes", "num_devices"), [(2, 1), (4, 1), (1, 2), (2, 2)])
def test_any_number_of_processes_and_devices_gives_the_same_bits(num_processes, num_devices, whole, tmp_path, runs):
    words = [*SURVEY, "--out", tmp_path / "run", "--devices", min(num_devices, os.cpu_count())]
    for out, _ in [output(process) for process in [start(*words) for _ in range(num_processes)]]:
        assert json.loads(out)["num_descents"] == 20000  # each of them reports
    runs.same(jaxgd.open_run(tmp_path / "run"), jaxgd.open_run(whole))
    assert runs.litter(tmp_path / "run") == []


JOB = os.getpid()  # names a port, so that tests side by side do not meet
CLUSTERS = {  # what the tasks of a job of two find in their environment; jax detects it
    "slurm": lambda task: {
        "SLURM_JOB_ID": str(JOB),
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(task),
        "SLURM_LOCALID": str(task),
    },
    "open_mpi": lambda task: {
        "OMPI_MCA_orte_hnp_uri": f"{4096 * (JOB + 1)}.0;tcp://127.0.0.1:38635",
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_RANK": str(task),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(task),
    },
    "addresses": lambda task: {
        "JAX_COORDINATOR_ADDRESS": f"localhost:{61440 + (JOB + 2) % 4096}",
        "JAX_NUM_PROCESSES": "2",
        "JAX_PROCESS_ID": str(task),
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_tasks_that_jax_joins_first_give_the_same_bits(cluster, whole, tmp_path, runs):
    words = [*SURVEY, "--devices", 1, "--distributed", "--out", tmp_path / "run"]
    for task in [start(*words, **CLUSTERS[cluster](number)) for number in range(2)]:
        output(task)
    runs.same(jaxgd.open_run(tmp_path / "run"), jaxgd.open_run(whole))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_is_continued_where_it_was(number, whole, tmp_path, runs):
    run = tmp_path / "run"
    process = start(*SURVEY, "--out", run, is_slow=True)
    wait_for_blocks(runs, run, process)
    process.send_signal(number)
    out, said = output(process, -9 if number == signal.SIGKILL else 128 + number)
    before = {path.name: path.stat().st_ino for path in run.glob("block-*.npz")}
    assert 0 < len(before) < 40
    num_done = 512 * len(before)
    if number != signal.SIGKILL:
        assert num_done <= json.loads(out)["num_descents"] < num_done + 512
        assert f"`jaxgd resume {run}` continues this run" in said
        assert runs.litter(run) == []
    merged, _ = output(start("merge", run, "--json"), 3)
    assert json.loads(merged)["num_descents"] == num_done
    output(start(*(SURVEY if number == signal.SIGINT else ["resume"]), *(["--out"] * (number == signal.SIGINT)), run))
    after = {path.name: path.stat().st_ino for path in run.glob("block-*.npz")}
    assert {name: after[name] for name in before} == before
    runs.same(jaxgd.open_run(run), jaxgd.open_run(whole))
    assert runs.litter(run) == []


@pytest.mark.slow
def test_others_go_on_and_do_what_a_killed_one_had_claimed(whole, tmp_path, runs):
    run = tmp_path / "run"
    killed = start(*SURVEY, "--out", run, is_slow=True)
    wait_for_blocks(runs, run, killed)
    others = [start(*SURVEY, "--out", run) for _ in range(2)]
    killed.kill()
    for process in others:
        output(process)
    output(killed, -signal.SIGKILL)
    runs.same(jaxgd.open_run(run), jaxgd.open_run(whole))
    assert runs.litter(run) == []


@pytest.mark.slow
def test_a_run_is_extended_on_the_command_line(whole, tmp_path):
    run = tmp_path / "run"
    words = [word if word != "20000" else "3000" for word in SURVEY]
    output(start(*words, "--out", run))
    out, _ = output(start("extend", run, "--starts", 4000, "--json"))
    assert json.loads(out)["num_descents"] == 4000
    np.testing.assert_array_equal(jaxgd.open_run(run).ends.params, jaxgd.open_run(whole).ends.params[:4000])
    _, said = output(start("extend", run, "--starts", 10), 2)
    assert "cannot be reduced" in said
    out, _ = output(start("merge", run))
    assert out.count("distinct critical points") == 1


@pytest.mark.slow
def test_until_goes_with_a_directory_on_the_command_line(tmp_path):
    words = [word if word != "20000" else "100000" for word in SURVEY]
    for _ in range(2):
        out, _ = output(start(*words, "--until", 0.02, "--out", tmp_path / "run"))
        assert json.loads(out)["num_descents"] == json.loads(out)["num_starts"] == 2048


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
    next(run.glob("block-*.npz")).unlink()
    _, said = output(start("resume", run), 2)
    assert "say `--trust`" in said
    out, _ = output(start("resume", run, "--trust", "--json"))
    assert len(json.loads(out)["points"]) == 4
    unknown, known = jaxgd.open_run(run), jaxgd.open_run(run, landscape=names.find_landscape(f"{own}:mine"))
    assert len(unknown.catalogue) == 4  # as written, without the landscape
    assert list(unknown.ends.params) == ["['a']"]
    np.testing.assert_array_equal(known.ends.params["a"], unknown.ends.params["['a']"])
    own.write_text(text.replace("mine =", "NAME = 3\nmine ="))
    next(run.glob("block-*.npz")).unlink()
    output(start(*words))  # other words that compute the same
    own.write_text(text.replace("- 1)", "- 2)"))
    for again in (["resume", run, "--trust"], words):
        _, said = output(start(*again), 2)
        assert "the landscape or the optimizer computes something else" in said


@pytest.mark.slow
def test_a_plan_is_near_what_a_run_takes(tmp_path):
    words = "styblinski_tang --param dim=4 --optimizer sgd:learning_rate=0.005 --starts 200000".split()
    out, _ = output(start("plan", *words, "--processes", 1, "--json"))
    plan = json.loads(out)
    output(start("survey", *words, "--out", tmp_path / "run"))
    disk = sum(path.stat().st_size for path in (tmp_path / "run").glob("block-*"))
    assert plan["disk_bytes"] == pytest.approx(disk, rel=0.02)
    assert len(list((tmp_path / "run").glob("block-*"))) == -(-200_000 // plan["block_size"])
    assert 0.5 < plan["seconds"] < 100
