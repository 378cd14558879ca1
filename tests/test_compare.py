"""Runs of one landscape and key are compared start by start."""

import json
import os
import pickle
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from click.testing import CliRunner

import jaxgd
from jaxgd import cli

LANDSCAPE = jaxgd.landscapes.styblinski_tang(dim=1)
SHORT = jaxgd.Stop(gradient_norm=1e-6, max_steps=4)


def run(directory, rate=0.02, num_starts=60, seed=0, landscape=LANDSCAPE, **changes):
    jaxgd.survey(
        landscape,
        optax.sgd(rate),
        num_starts,
        key=jax.random.key(seed),
        out=directory,
        block_size=20,
        engine=jaxgd.Engine(layout="lanes_last", num_lanes=16),
        **changes,
    )
    return directory


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs") / "base")


def row(found, what):
    (only,) = [each for each in found.rows[0] if each.what == what]
    return only


def test_a_run_does_not_differ_from_itself(base):
    found = jaxgd.compare({"one": base, "the same": base}, landscape=LANDSCAPE)
    assert found.num_pairs == 60
    assert all(each.difference.value == 0 for each in found.rows[0])
    assert not any(each.is_sure for each in found.rows[0])


def test_differences_are_those_of_the_pairs(base, tmp_path):
    other = run(tmp_path / "other", 0.01, num_starts=40)
    found = jaxgd.compare([base, other], landscape=LANDSCAPE)
    assert found.num_pairs == 40
    ends = [jaxgd.open_run(path).ends[:40] for path in (base, other)]
    ticks = row(found, "mean ticks")
    assert ticks.difference.value == pytest.approx(np.mean(ends[1].num_steps - ends[0].num_steps))
    assert ticks.difference.low < ticks.difference.value < ticks.difference.high
    assert ticks.is_sure  # half the rate takes about twice the ticks
    fewer = row(found, "share that needs fewer ticks than the other")
    assert fewer.first - fewer.second == -fewer.difference.value
    assert fewer.first > 0.9
    assert row(found, "share that ends lower than the other").difference.value == 0
    assert row(found, "pairs that reach different critical points").difference.value == 0
    assert f"{other} against {base}" in str(found)
    json.dumps(found.to_json(), allow_nan=False)


def test_more_rows_make_wider_intervals(base, tmp_path):
    other = run(tmp_path / "other", 0.01)
    one = jaxgd.compare([base, other], landscape=LANDSCAPE)
    two = jaxgd.compare({"a": base, "b": other, "c": other}, landscape=LANDSCAPE)
    width = lambda found: row(found, "mean ticks").difference.high - row(found, "mean ticks").difference.low
    assert width(two) > width(one)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "their keys differ"),
        ({"landscape": jaxgd.landscapes.styblinski_tang(dim=2)}, "their landscapes differ"),
        (
            {
                "landscape": jaxgd.Landscape(
                    value=LANDSCAPE.value, sample=lambda key: jax.random.normal(key, (1,)), name=LANDSCAPE.name
                )
            },
            "their landscapes differ",
        ),
    ],
    ids=["seed", "landscape", "starts"],
)
def test_runs_that_are_no_pairs_are_refused(changes, message, base, tmp_path):
    other = run(tmp_path / "other", stop=SHORT, **changes)
    with pytest.raises(jaxgd.InputValueError, match=message):
        jaxgd.compare([base, other], landscape=LANDSCAPE)


def test_one_run_alone_or_twice_without_a_name_is_refused(base):
    for runs in ([base], [base, base]):
        with pytest.raises(jaxgd.InputValueError, match="needs two different runs"):
            jaxgd.compare(runs, landscape=LANDSCAPE)


# ------------------------------------------------------------------------------------------------- optimizers

ASK = dict(key=jax.random.key(0), progress=False)


def wells(x):
    return jnp.sum((x**2 - 1) ** 2 + 0.3 * x)


@pytest.fixture(scope="module")
def three():
    arms = {"sgd": "sgd(0.02)", "again": optax.sgd(0.02), "momentum": "sgd(0.02, momentum=0.9)"}
    return jaxgd.compare(wells, arms, 80, sample=jaxgd.box(-2, 2, dim=2), seed=0, progress=False)


def test_optimizers_compare_as_their_run_directories_do(base, tmp_path):
    other = run(tmp_path / "other", 0.01)
    stored = jaxgd.compare({"a": base, "b": other}, landscape=LANDSCAPE)
    engine = jaxgd.Engine(layout="lanes_last", num_lanes=16)
    found = jaxgd.compare(LANDSCAPE, {"a": optax.sgd(0.02), "b": optax.sgd(0.01)}, 60, engine=engine, **ASK)
    assert found == stored
    assert repr(jaxgd.compare(base, other, landscape=LANDSCAPE).rows) == repr(stored.rows)


def test_every_optimizer_descends_from_the_same_starts_into_one_catalogue(three):
    sgd, again, momentum = three.arms
    survey = jaxgd.survey(wells, "sgd(0.02)", 80, sample=jaxgd.box(-2, 2, dim=2), seed=0, progress=False)
    assert sgd.hits.tolist() == survey.catalogue.hits.tolist()
    assert sgd.low == pytest.approx(survey.catalogue.weight_low)
    assert sgd.gradients == survey.cost.ticks
    assert sgd.hits.tolist() == again.hits.tolist()
    assert momentum.hits.sum() == 80
    assert dict(momentum.statuses) == {"converged": 80}
    assert not any(each.is_sure for each in three.rows[0])
    assert next(each for each in three.rows[1] if each.what == "mean ticks").is_sure


def test_the_rows_of_all_arms_are_the_same_statistics(three):
    names = [[each.what for each in rows] for rows in three.rows]
    assert names[0] == names[1]
    assert len(set(names[0])) == len(names[0])


def test_a_basins_row_counts_the_hits_of_its_point(three):
    for each in three.rows[1]:
        if each.what.startswith("basin of point"):
            place = int(each.what.split()[3].rstrip(",")) - 1
            assert each.first == three.arms[0].share[place]
            assert each.second == three.arms[2].share[place]


def test_a_comparison_reads_in_some_ten_lines(three):
    lines = repr(three).splitlines()
    assert len(lines) <= 14
    assert "80 paired starts" in lines[0]
    assert "gradients per descent" in repr(three)
    assert "end lower than sgd" in lines[-1]
    assert "<table" in three._repr_html_()
    assert "Hessian-vector" not in repr(three)
    assert pickle.loads(pickle.dumps(three)) == three
    json.dumps(three.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jaxgd.compare(), "needs `landscape`"),
        (lambda: jaxgd.compare(LANDSCAPE), "needs `optimizers`"),
        (lambda: jaxgd.compare(LANDSCAPE, {}, 5, **ASK), "two different optimizers or more, got 0"),
        (lambda: jaxgd.compare(LANDSCAPE, {"a": "sgd(0.1)"}, 5, **ASK), "two different optimizers or more, got 1"),
        (lambda: jaxgd.compare(LANDSCAPE, "sgd(0.1)", 5, **ASK), "jaxgd.survey runs a single one"),
        (lambda: jaxgd.compare(LANDSCAPE, 3, 5, **ASK), "must be a dictionary such as"),
        (lambda: jaxgd.compare(LANDSCAPE, ["sgd(0.01)", "sgdd(0.1)"], 5, **ASK), "Did you mean `sgd`"),
        (lambda: jaxgd.compare(LANDSCAPE, ["sgd(0.01)", "sgd(0.1)"], 5), "give `seed=0`"),
        (lambda: jaxgd.compare("styblinski_tan", ["sgd(0.01)", "sgd(0.1)"], 5, **ASK), "Did you mean"),
        (lambda: jaxgd.compare("one", "other", seed=0), "takes no `seed`"),
        (lambda: jaxgd.compare("one", "other"), "holds no run"),
        (lambda: jaxgd.compare({"one": 1, "other": 2}), "must be a directory"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_sentence(call, message):
    with pytest.raises((jaxgd.InputTypeError, jaxgd.InputValueError), match=message):
        call()


def test_an_interrupted_comparison_covers_the_starts_that_all_have_done(monkeypatch):
    calls = []

    def interrupt(phase, done, total):
        calls.append(phase)
        if phase.startswith("b") and len([call for call in calls if call.startswith("b")]) == 1:
            os.kill(os.getpid(), signal.SIGINT)

    engine = jaxgd.Engine(layout="lanes_last", num_lanes=16)
    arms = {"a": "sgd(0.02)", "b": "sgd(0.002)"}
    found = jaxgd.compare(LANDSCAPE, arms, 20_000, key=jax.random.key(0), engine=engine, progress=interrupt)
    assert 0 < found.num_pairs < 20_000
    assert all(arm.hits.sum() <= found.num_pairs for arm in found.arms)


def test_the_command_compares_optimizers_of_a_named_landscape():
    words = ["styblinski_tang", "--param", "dim=1", "--optimizer", "sgd:0.02", "--optimizer", "sgd:0.01"]
    result = CliRunner().invoke(cli.main, ["compare", *words, "--starts", "20", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["names"] == ["sgd:0.02", "sgd:0.01"]
    result = CliRunner().invoke(cli.main, ["compare", *words[:5], "--starts", "20"])
    assert result.exit_code == 2
    assert "two different optimizers or more" in result.stderr


def test_the_command_compares_runs_that_it_can_build_again(tmp_path):
    written = {"landscape": "styblinski_tang", "params": {"dim": "1"}, "optimizer": "sgd:learning_rate=0.02", "seed": 0}
    words = []
    for rate in ("0.02", "0.01"):
        mine = written | {"optimizer": f"sgd:learning_rate={rate}"}
        words.append(str(run(tmp_path / rate, float(rate), written=mine)))
    result = CliRunner().invoke(cli.main, ["compare", *words, "--json"])
    assert result.exit_code == 0, result.output
    assert {"mean ticks", "share of minimum"} <= {each["statistic"] for each in json.loads(result.stdout)["rows"]}
