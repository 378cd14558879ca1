"""Runs that are stopped, extended, shared and compared: the same bits whatever happened."""

import dataclasses
import json
import threading

import jax
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd.runs.carry import How, Stopped
from jaxgd.runs.manifest import part_name, read_manifest
from jaxgd.runs.work import Signals, do_unit, signals


def parts(directory):
    return sorted(path.name for path in directory.glob("part-*.npz"))


def test_units_hold_the_bits_of_one_run_of_all(whole, runs):
    run = jaxgd.open_run(whole)
    assert [len(unit) for unit in run.asked.units] == [40, 40, 40]
    ends = jaxgd.descend(
        runs.question.landscape, runs.question.optimizer, 120, key=jax.random.key(7), stop=runs.question.stop,
        layout="lanes_last", num_lanes=32, keep=("params",),
    )  # fmt: skip
    for name in ("start_number", "params", "value", "gradient_norm", "status", "num_steps", "best_value"):
        np.testing.assert_array_equal(getattr(run.ends, name), getattr(ends, name))
    points = jaxgd.classify(runs.question.landscape, ends)
    np.testing.assert_array_equal(run.points.verdict, points.verdict)
    at_once = jaxgd.catalogue(runs.question.landscape, points)
    for name in ("value", "hits", "weight_low", "weight_high", "entry"):
        np.testing.assert_array_equal(getattr(run.catalogue, name), getattr(at_once, name))
    assert (len(at_once), run.catalogue.unseen) == (2, at_once.unseen)
    assert run.catalogue.hits.sum() == 120
    assert run.ends.cost.ticks == ends.cost.ticks
    assert (run.is_finished, run.problems) == (True, [])


def test_the_result_is_the_json_of_a_survey(whole):
    kept = json.loads((whole / "result-000.json").read_text())
    assert kept["state"] == "finished"
    assert kept["result"]["verdicts"] == {"minimum": 120}
    assert kept["result"]["num_descents"] == kept["result"]["num_starts"] == 120
    assert [point["hits"] for point in kept["result"]["points"]] == jaxgd.open_run(whole).catalogue.hits.tolist()


def test_only_what_is_missing_is_done_again(whole, copy, runs):
    (copy / parts(copy)[1]).unlink()
    before = {name: (copy / name).stat().st_mtime_ns for name in parts(copy)}
    runs.finish(copy)
    assert parts(copy) == parts(whole)
    assert all((copy / name).stat().st_mtime_ns == time for name, time in before.items())
    runs.same(jaxgd.open_run(copy), jaxgd.open_run(whole))


def test_an_extended_run_is_a_longer_run(whole, tmp_path, runs):
    runs.ask(tmp_path, 60)
    runs.finish(tmp_path)
    manifest, arm = runs.ask(tmp_path, 120)
    assert [(unit.start, unit.stop) for unit in manifest.arms[arm].units] == [
        (0, 40), (40, 60), (60, 80), (80, 120),
    ]  # fmt: skip
    runs.finish(tmp_path)
    runs.same(jaxgd.open_run(tmp_path), jaxgd.open_run(whole))


@pytest.mark.slow
def test_a_new_arm_begins_at_the_same_starts(copy, runs):
    from jaxgd.runs.manifest import add_arm

    frozen = runs.question.with_optimizer("sgd:learning_rate=0.01", jaxgd.Stop(max_steps=0))
    arm = dataclasses.replace(read_manifest(copy).arms[0], optimizer=frozen.optimizer_name, stop=frozen.stop)
    add_arm(copy, arm)
    surveys = runs.finish(copy, {0: runs.question, 1: frozen})
    assert sorted(surveys) == [0, 1]
    run = jaxgd.open_run(copy, arm="sgd:learning_rate=0.01")
    assert run.arms == ["sgd:learning_rate=0.02", "sgd:learning_rate=0.01"]
    starts = jaxgd.descend(
        runs.question.landscape, optax.sgd(0.01), 120, key=jax.random.key(7), stop=frozen.stop
    ).params
    np.testing.assert_array_equal(run.ends.params, starts)
    with pytest.raises(jaxgd.InputValueError, match="has no arm `adam`"):
        jaxgd.open_run(copy, arm="adam")


DIFFERENCES = {
    "seed: 7 there, 8 here": {"seed": 8},
    "params: {'dim': '1'} there, {'dim': '2'} here": {"params": {"dim": "2"}},
    "dtype: 'float64' there, 'float32' here": {"dtype": "float32"},
    "max_steps: 5000 there, 6000 here": {"stop": jaxgd.Stop(gradient_norm=1e-8, max_steps=6000)},
    "optimizer: 'sgd:learning_rate=0.02' there, 'adam:learning_rate=0.02' here": {
        "optimizer_name": "adam:learning_rate=0.02"
    },
}


@pytest.mark.parametrize("message", DIFFERENCES)
def test_a_run_that_asks_something_else_is_refused_with_the_difference(message, copy, runs):
    before = (copy / "manifest.json").read_bytes()
    with pytest.raises(jaxgd.InputValueError) as refused:
        runs.ask(copy, 120, dataclasses.replace(runs.question, **DIFFERENCES[message]))
    assert message in str(refused.value)
    assert (copy / "manifest.json").read_bytes() == before


def test_fewer_starts_other_lanes_and_other_versions_are_refused(copy, runs):
    with pytest.raises(jaxgd.InputValueError, match="cannot shrink to 60"):
        runs.ask(copy, 60)
    with pytest.raises(jaxgd.InputValueError, match="num_lanes 32, not 16"):
        runs.ask(copy, 120, how=How(num_lanes=16))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["setting"]["versions"]["jax"] = "0.1"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(jaxgd.InputValueError, match=r"jax: '0\.1' there"):
        runs.ask(copy, 120)


def test_code_that_computes_something_else_is_refused(copy, runs):
    landscape = jaxgd.Landscape(value=lambda x: 0.5 * (x**4).sum(), sample=runs.question.landscape.sample)
    other = dataclasses.replace(runs.question)
    other.__dict__["landscape"] = landscape
    with pytest.raises(jaxgd.InputValueError, match="code: the landscape, the optimizer or jaxgd computes something"):
        runs.ask(copy, 120, other)


def test_data_inside_a_landscape_are_part_of_its_code(runs):
    from jaxgd.runs.question import fingerprint

    def with_data(data):
        question = dataclasses.replace(runs.question)
        question.__dict__["landscape"] = jaxgd.Landscape(
            value=lambda x: jax.numpy.sum((x - data) ** 2), sample=runs.question.landscape.sample
        )
        return fingerprint(question)

    assert with_data(np.arange(500.0)) == with_data(np.arange(500.0))
    assert with_data(np.arange(500.0)) != with_data(np.arange(500.0) + (np.arange(500) == 250))


def test_a_first_signal_finishes_the_unit_under_way_and_a_second_drops_it(tmp_path, runs):
    runs.ask(tmp_path, 120)
    told = Signals()

    def once(phase, done, total):
        told.count, told.began = int(told.began), True

    told.began = False
    with pytest.raises(Stopped, match="stopped: 40 of 120 descents are in"):
        runs.finish(tmp_path, told=told, show=once)
    kept = parts(tmp_path)
    assert len(kept) == 1

    def twice(phase, done, total):
        told.count, told.began = 2 * told.began, True

    told.count, told.began = 0, False
    with pytest.raises(Stopped):
        runs.finish(tmp_path, told=told, show=twice)
    assert parts(tmp_path) == kept
    assert not list(tmp_path.glob("*.claim-*"))


def test_signals_are_noted_and_then_as_before():
    import os
    import signal

    before = signal.getsignal(signal.SIGTERM)
    with signals() as told:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert (told.count, told.number) == (2, signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_workers_on_one_directory_share_its_units_and_one_reports(whole, tmp_path, runs):
    runs.ask(tmp_path, 120)
    found = []
    workers = [threading.Thread(target=lambda: found.append(runs.finish(tmp_path))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len([surveys for surveys in found if surveys is not None]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in whole.iterdir())
    runs.same(jaxgd.open_run(tmp_path), jaxgd.open_run(whole))


def test_processes_that_begin_at_once_agree_on_one_manifest(tmp_path, runs):
    found = []
    begin = lambda: found.append(runs.ask(tmp_path, 120)[0].run)
    workers = [threading.Thread(target=begin) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_a_unit_smaller_than_others_is_done_by_the_program_of_all(runs, whole):
    arm = jaxgd.open_run(whole).asked
    ends, points = do_unit(runs.question, arm, range(40, 60), 1)
    assert (len(ends), len(points), ends.num_starts) == (20, 20, 20)
    np.testing.assert_array_equal(ends.params, jaxgd.open_run(whole).ends.params[40:60])


def test_the_compiled_loop_has_no_collective(runs):
    from jaxgd.descend import _descent, _loop

    descent = _descent(
        runs.question.landscape, runs.question.optimizer, False, runs.question.stop, None, (), False, False
    )
    programs = _loop(descent, "lanes_last", 32, True).prepare(
        jax.device_put(jax.random.key(7), jax.devices()[0]), None
    )()
    text = programs.advance.as_text().lower()
    assert "while" in text
    for word in ("all-reduce", "all-gather", "all-to-all", "collective", "reduce-scatter", "send(", "recv("):
        assert word not in text


def test_a_run_becomes_a_dataset_and_a_table(whole):
    pytest.importorskip("xarray")
    run = jaxgd.open_run(whole)
    dataset = run.to_xarray()
    assert dict(dataset.sizes)["descent"] == 120
    np.testing.assert_array_equal(dataset["point_verdict"].values, run.points.verdict)
    assert json.loads(dataset.attrs["manifest"])["landscape"] == "styblinski_tang"
    table = run.to_dataframe()
    assert table.index.name == "descent"
    assert {"value", "status", "params[0]", "point_value", "point_params[0]"} <= set(table.columns)
    np.testing.assert_array_equal(table["params[0]"].to_numpy(), run.ends.params[:, 0])


@pytest.mark.parametrize(("package", "method"), [("xarray", "to_xarray"), ("pandas", "to_dataframe")])
def test_what_is_not_installed_is_named(package, method, whole, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(jaxgd.InputValueError, match=f"needs `pip install .*{package}"):
        getattr(jaxgd.open_run(whole), method)()


def test_a_part_is_read_without_jaxgd(whole):
    with np.load(whole / part_name(0, range(0, 40)), allow_pickle=False) as arrays:
        record = json.loads(str(arrays["record"]))
        assert record["starts"] == [0, 40]
        assert arrays["ends.params"].shape == (40, 1)
        np.testing.assert_array_equal(arrays["ends.start_number"], np.arange(40))
