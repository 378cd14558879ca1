"""Runs that are stopped, extended and shared: the same bits whatever happened."""

import json
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd.blocks import cut, do_block, make_question
from jaxgd.runs.directory import Directory
from jaxgd.runs.manifest import read_manifest


def test_blocks_hold_the_bits_of_one_run_of_all(whole, runs):
    run = jaxgd.open_run(whole)
    assert [len(block) for block in run.store.blocks] == [40, 40, 40]
    ends = jaxgd.descend(
        runs.landscape,
        optax.sgd(0.02),
        120,
        key=jax.random.key(7),
        stop=runs.stop,
        engine=runs.engine,
        keep=("params",),
    )
    for name in ("start_number", "params", "value", "gradient_norm", "status", "num_steps", "best_value"):
        np.testing.assert_array_equal(getattr(run.ends, name), getattr(ends, name))
    points = jaxgd.classify(runs.landscape, ends)
    np.testing.assert_array_equal(run.points.verdict, points.verdict)
    at_once = jaxgd.catalogue(runs.landscape, points)
    for name in ("value", "hits", "weight_low", "weight_high", "entry"):
        np.testing.assert_array_equal(getattr(run.catalogue, name), getattr(at_once, name))
    assert (len(at_once), run.catalogue.unseen) == (2, at_once.unseen)
    assert run.catalogue.hits.sum() == 120
    assert run.ends.cost.ticks == ends.cost.ticks
    assert (run.is_finished, run.problems) == (True, [])


def test_a_directory_holds_the_bits_of_a_survey_in_memory(whole, runs):
    runs.same(jaxgd.open_run(whole), runs.survey())


def test_a_relative_stop_asks_for_the_same_gradient_norm_in_every_block(tmp_path, runs):
    auto = jaxgd.Stop(max_steps=5000)
    scales = jaxgd.Landscape(
        value=lambda x: x**2 / 2, sample=lambda key: 10.0 ** jax.random.uniform(key, (), minval=-6.0, maxval=6.0)
    )
    asked = {"landscape": scales, "optimizer": optax.sgd(0.5), "stop": auto, "written": None}
    whole, run = runs.survey(**asked, block_size=120), jaxgd.open_run
    found = runs.survey(tmp_path / "run", **asked)
    runs.same(found, whole)
    runs.same(run(tmp_path / "run", landscape=scales), whole)

    # each block by itself would have asked for another one
    first = jax.vmap(lambda number: scales.sample(jax.random.fold_in(jax.random.fold_in(jax.random.key(7), number), 0)))
    starts = first(np.arange(120))
    np.testing.assert_allclose(whole.ends.params, 0, atol=whole.stop.gradient_norm)
    alone = [
        jaxgd.descend(scales, optax.sgd(0.5), key=jax.random.key(7), starts=starts[begin : begin + 40]).stop
        for begin in (0, 40, 80)
    ]
    assert len(set(alone)) > 1

    # the manifest has the word, everything that was descended the number
    again = runs.survey(tmp_path / "run", num_starts=160, **asked)
    stored = run(tmp_path / "run", landscape=scales)
    assert stored.manifest.stop == auto
    assert whole.stop == whole.ends.stop == found.stop == again.stop == stored.ends.stop == stored.survey().stop
    assert f"(gradient norm {whole.stop.gradient_norm:.3g} or less)" in str(again)


def test_what_is_frozen_and_what_is_to_be_said_come_back_from_a_directory(tmp_path, runs):
    held = jaxgd.Landscape(
        value=lambda p: jnp.sum(p["a"] ** 2) + p["b"] ** 2,
        sample=lambda key: {"a": jnp.ones(2), "b": jnp.zeros(())},
    )
    optimizer = optax.chain(optax.sgd(0.1), optax.freeze({"a": False, "b": True}))
    found = runs.survey(tmp_path / "run", 50, landscape=held, optimizer=optimizer, written=None)
    stored = jaxgd.open_run(tmp_path / "run", landscape=held)
    assert stored.ends.frozen == found.ends.frozen == {"a": False, "b": True}
    (note,) = (note for note in found.notes if "all starts are the same" in note)  # once, of both blocks
    assert note in stored.ends.notes
    assert stored.survey().notes == found.notes


def test_the_result_is_the_json_of_a_survey(whole):
    kept = json.loads((whole / "result-0000000120.json").read_text())
    assert kept["state"] == "finished"
    assert kept["result"]["verdicts"] == {"minimum": 120}
    assert kept["result"]["num_descents"] == kept["result"]["num_starts"] == 120
    assert [point["hits"] for point in kept["result"]["points"]] == jaxgd.open_run(whole).catalogue.hits.tolist()


def test_only_what_is_missing_is_done_again_and_nothing_else_changes(whole, copy, runs):
    (copy / runs.blocks(copy)[1]).unlink()
    before = {path.name: path.stat().st_mtime_ns for path in copy.iterdir()}
    runs.same(runs.survey(copy), jaxgd.open_run(whole))
    assert runs.blocks(copy) == runs.blocks(whole)
    assert all((copy / name).stat().st_mtime_ns == time for name, time in before.items())


def test_an_extended_run_holds_the_ends_of_a_longer_run(whole, tmp_path, runs):
    manifest = None
    for num_starts in (60, 120):
        runs.survey(tmp_path / "run", num_starts)
        manifest = manifest or (tmp_path / "run" / "manifest.json").read_bytes()
    run = jaxgd.open_run(tmp_path / "run")
    assert run.store.blocks == cut([60, 120], 40) == [range(0, 40), range(40, 60), range(60, 80), range(80, 120)]
    assert (tmp_path / "run" / "manifest.json").read_bytes() == manifest
    np.testing.assert_array_equal(run.ends.params, jaxgd.open_run(whole).ends.params)
    np.testing.assert_array_equal(run.catalogue.hits, jaxgd.open_run(whole).catalogue.hits)


def test_until_extends_a_directory_as_it_does_a_survey_in_memory(tmp_path, runs):
    asked = {"num_starts": 100_000, "until": 0.02, "block_size": 700}
    found = runs.survey(tmp_path / "run", **asked)
    assert found.num_starts == found.catalogue.num_descents == 2048
    assert jaxgd.open_run(tmp_path / "run").store.ends_of_extents == [1024, 2048]
    runs.same(found, runs.survey(**asked))
    (tmp_path / "run" / runs.blocks(tmp_path / "run")[1]).unlink()
    runs.same(runs.survey(tmp_path / "run", **asked), found)


DIFFERENCES = {
    "seed: 7 there, 8 here": lambda written: {"key": jax.random.key(8), "written": written | {"seed": 8}},
    "param dim: '1' there, '2' here": lambda written: {
        "landscape": jaxgd.landscapes.styblinski_tang(dim=2),
        "written": written | {"params": {"dim": "2"}},
    },
    "max_steps: 5000 there, 6000 here": lambda written: {"stop": jaxgd.Stop(gradient_norm=1e-8, max_steps=6000)},
    "optimizer: 'sgd:learning_rate=0.02' there, 'sgd:learning_rate=0.01' here": lambda written: {
        "optimizer": "sgd:learning_rate=0.01"
    },
    "is_noisy: False there, True here": lambda written: {
        "landscape": jaxgd.Landscape(
            value=lambda x: x @ x, noisy_value=lambda x, key: x @ x, sample=lambda key: jax.random.normal(key, (1,))
        ),
        "is_noisy": True,
    },
    "num_lanes: 32 there, 16 here": lambda written: {"engine": jaxgd.Engine(num_lanes=16)},
    "block_size: 40 there, 30 here": lambda written: {"block_size": 30},
    "cannot be reduced to 60": lambda written: {"num_starts": 60},
}


@pytest.mark.parametrize("message", DIFFERENCES)
def test_a_run_that_asks_something_else_is_refused_with_the_difference(message, copy, runs):
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    with pytest.raises(jaxgd.InputValueError) as refused:
        runs.survey(copy, **DIFFERENCES[message](runs.written))
    assert message in str(refused.value)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_a_landscape_object_that_computes_something_else_is_refused_by_name_or_without(copy, runs):
    other = jaxgd.Landscape(value=lambda x: 0.5 * (x**4).sum(), sample=runs.landscape.sample, name=runs.landscape.name)
    with pytest.raises(jaxgd.InputValueError, match="landscape or the optimizer no longer computes"):
        runs.survey(copy, landscape=other)


def test_objects_that_compute_the_same_continue_a_run_that_was_begun_by_name(whole, copy, runs):
    (copy / runs.blocks(copy)[2]).unlink()
    again = jaxgd.landscapes.styblinski_tang(dim=1)
    found = runs.survey(copy, landscape=again, optimizer=optax.sgd(0.02), written=None)
    runs.same(found, jaxgd.open_run(whole))


def test_layout_lanes_and_block_size_of_a_run_are_its_own_unless_they_are_asked_for(copy, runs):
    assert runs.survey(copy, engine=None, block_size=None).engine.num_lanes == 32


def test_other_versions_are_refused(copy, runs, monkeypatch):
    old = dict.fromkeys("python jaxgd jax jaxlib optax numpy scipy platform".split(), "0.1")
    monkeypatch.setattr("jaxgd.runs.manifest.versions", lambda: old)
    with pytest.raises(jaxgd.InputValueError, match=r"jax: '.*' there, '0\.1' here"):
        runs.survey(copy)


@pytest.mark.parametrize("left_by", [b"", b"a host 17\n", b"\xff" * 1000], ids=["empty", "dead", "bytes"])
def test_a_claim_is_only_a_hint(left_by, whole, copy, runs):
    import os
    import time

    lost = runs.blocks(copy)[0]
    (copy / lost).unlink()
    claim = copy / f"{lost}.claim"
    claim.write_bytes(left_by)
    later = time.time() + 10**6
    os.utime(claim, (later, later))  # as from a machine whose clock runs ahead
    runs.survey(copy)
    runs.same(jaxgd.open_run(copy), jaxgd.open_run(whole))
    assert runs.litter(copy) == []


def test_what_a_process_left_that_died_after_it_wrote_a_block_is_cleared_away(copy, runs):
    (copy / runs.blocks(copy)[0]).unlink()
    (copy / f"{runs.blocks(copy)[1]}.claim").write_text("dead")
    (copy / f".{runs.blocks(copy)[1]}.17-abcd").write_bytes(b"half of it")
    runs.survey(copy)
    assert runs.litter(copy) == []


def test_blocks_without_a_claim_are_taken_first_and_in_order(copy, runs):
    for name in runs.blocks(copy):
        (copy / name).unlink()
    mine, theirs = (Directory(copy, read_manifest(copy)) for _ in range(2))
    assert [mine.next_block(), theirs.next_block(), mine.next_block()] == [range(0, 40), range(40, 80), range(80, 120)]
    assert mine.next_block() == range(40, 80)  # which somebody else has
    assert theirs.next_block() in (range(0, 40), range(80, 120))
    mine.give_back(range(0, 40))
    assert theirs.next_block() == range(0, 40)


def test_workers_on_one_directory_share_its_blocks(whole, tmp_path, runs):
    found = []
    workers = [threading.Thread(target=lambda: found.append(runs.survey(tmp_path / "run"))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 4
    for each in found:
        runs.same(each, jaxgd.open_run(whole))
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(path.name for path in whole.iterdir())


def test_a_block_that_somebody_else_has_done_is_given_up(whole, copy, runs):
    lost = runs.blocks(copy)[1]
    (copy / lost).unlink()
    said = []

    def meanwhile(phase, done, total):
        said.append(done)
        (copy / lost).write_bytes((whole / lost).read_bytes())

    found = runs.survey(copy, progress=meanwhile)
    assert said
    runs.same(found, jaxgd.open_run(whole))
    assert runs.litter(copy) == []


def test_a_block_smaller_than_the_lanes_is_done_by_the_program_of_all(runs, whole):
    question = make_question(
        runs.landscape, runs.optimizer, 120, key=jax.random.key(7), stop=runs.stop, is_noisy=False, engine=runs.engine
    )
    ends, points = do_block(question, range(40, 60))
    assert (len(ends), len(points), ends.num_starts) == (20, 20, 20)
    np.testing.assert_array_equal(ends.params, jaxgd.open_run(whole).ends.params[40:60])


def test_no_device_waits_for_another(runs):
    from jaxgd.descend import _loop, descent_of

    descent = descent_of(runs.landscape, optax.sgd(0.02), False, runs.stop, None, (), False, False)
    program = _loop(descent, "lanes_last", 32, True).prepare(
        jax.device_put(jax.random.key(7), jax.devices()[0]), None
    )()
    text = program.advance.as_text().lower()
    assert "while" in text
    for word in ("all-reduce", "all-gather", "all-to-all", "collective", "reduce-scatter", "send(", "recv("):
        assert word not in text


def test_a_gap_ends_what_a_reader_counts_but_not_what_it_reads(copy, runs):
    (copy / runs.blocks(copy)[1]).unlink()
    run = jaxgd.open_run(copy)
    assert len(run.ends) == 80
    assert run.catalogue.num_descents == run.survey().catalogue.num_descents == 40
    assert run.survey().is_interrupted
    assert not run.is_finished


def test_params_of_a_tree_and_pytree_columns_come_back_as_they_were(tmp_path):
    mine = jaxgd.Landscape(
        value=lambda p: (p["b"] ** 2).sum() + (p["a"][0] - 1) ** 2,
        sample=lambda key: {"b": jax.random.normal(key, (2,)), "a": (jax.numpy.zeros(()),)},
    )
    found = jaxgd.survey(mine, optax.sgd(0.1), 20, key=jax.random.key(0), out=tmp_path / "run")
    run = jaxgd.open_run(tmp_path / "run", landscape=mine)
    for one, other in ((found.ends.params, run.ends.params), (found.points.params, run.points.params)):
        assert jax.tree.structure(one) == jax.tree.structure(other)
        jax.tree.map(np.testing.assert_array_equal, one, other)
    assert jax.tree.structure(run.catalogue.params) == jax.tree.structure(found.catalogue.params)
    unknown = jaxgd.open_run(tmp_path / "run")
    assert set(unknown.ends.params) == {"['a'][0]", "['b']"}
    assert len(unknown.catalogue) == 1


def test_a_run_becomes_a_dataset_and_a_table(whole):
    pytest.importorskip("xarray")
    run = jaxgd.open_run(whole)
    dataset = run.to_xarray()
    assert dict(dataset.sizes)["descent"] == 120
    np.testing.assert_array_equal(dataset["descent"].values, run.ends.start_number)
    assert dataset["point_verdict"].values.tolist() == [jaxgd.Verdict(code).name.lower() for code in run.points.verdict]
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


def test_a_block_is_read_without_jaxgd(whole, runs):
    with np.load(whole / runs.blocks(whole)[0], allow_pickle=False) as arrays:
        record = json.loads(str(arrays["record"]))
        assert record["starts"] == [0, 40]
        assert record["question"] == json.loads((whole / "manifest.json").read_text())["sha256"]
        assert arrays["ends.params"].shape == (40, 1)
        np.testing.assert_array_equal(arrays["ends.start_number"], np.arange(40))
