"""Runs of one landscape and key are compared start by start."""

import json

import jax
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


def test_the_command_compares_runs_that_it_can_build_again(tmp_path):
    written = {"landscape": "styblinski_tang", "params": {"dim": "1"}, "optimizer": "sgd:learning_rate=0.02", "seed": 0}
    words = []
    for rate in ("0.02", "0.01"):
        mine = written | {"optimizer": f"sgd:learning_rate={rate}"}
        words.append(str(run(tmp_path / rate, float(rate), written=mine)))
    result = CliRunner().invoke(cli.main, ["compare", *words, "--json"])
    assert result.exit_code == 0, result.output
    assert {"mean ticks", "share of minimum"} <= {each["statistic"] for each in json.loads(result.stdout)["rows"]}
