"""An interruption leaves a fair sample: the first so many starts, with what was dropped allowed for."""

import json
import os
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from click.testing import CliRunner

import jaxgd
from jaxgd import cli
from jaxgd.interrupt import interruptible

# Two wells of equal width, one thirty times slower than the other: what ends first ends in the fast one.
WELLS = jaxgd.Landscape(
    value=lambda x: jnp.where(x < 0, (x + 1) ** 2, 0.03 * (x - 1) ** 2) / 2,
    sample=lambda key: jax.random.uniform(key, (), minval=-2.0, maxval=2.0),
    name="wells",
)
ASKED = {"key": jax.random.key(1), "stop": jaxgd.Stop(gradient_norm=1e-6, max_steps=50_000)}
ENGINE = jaxgd.Engine(layout="lanes_last", num_lanes=64)


def told(*moments):
    """Returns a progress function that interrupts this process each time the next number of descents is done."""
    left = list(moments)

    def look(phase, done, total):
        while left and phase == "descending" and done >= left[0]:
            left.pop(0)
            os.kill(os.getpid(), signal.SIGINT)

    return look


def survey(num_starts=2_000_000, **changes):
    return jaxgd.survey(WELLS, optax.sgd(0.05), num_starts, **{"engine": ENGINE} | ASKED | changes)


@pytest.mark.parametrize("is_kept", [False, True], ids=["in memory", "on disk"])
def test_after_ctrl_c_the_weights_are_those_of_the_first_starts(is_kept, tmp_path, capsys):
    out = {"out": tmp_path / "run", "block_size": 2048} if is_kept else {"block_size": 2048}
    found = survey(progress=told(3_000), **out)
    num = found.catalogue.num_descents
    assert 3_000 <= num < 2_000_000 == found.num_starts
    np.testing.assert_array_equal(found.ends.start_number, np.arange(num))
    assert found.statuses == {"converged": num}
    assert np.all((found.catalogue.weight_low < 0.5) & (found.catalogue.weight_high > 0.5))
    assert f"this covers the first {num:,} of 2,000,000 starts" in str(found)
    said = capsys.readouterr().err
    assert "no further descents will begin" in said
    assert "Interrupt again to drop them" in said
    if is_kept:
        assert jaxgd.open_run(tmp_path / "run").num_starts == 2_000_000
        assert not [path for path in (tmp_path / "run").iterdir() if path.name.endswith(".claim")]


@pytest.mark.parametrize("num_devices", [1, 2])
def test_dropped_descents_come_back_and_count_in_every_weight(num_devices, monkeypatch):
    one = jax.devices()[0]
    monkeypatch.setattr(jax, "local_devices", lambda: [one, one])
    engine = jaxgd.Engine(layout="lanes_last", num_lanes=64, num_devices=num_devices)
    monkeypatch.setattr("jaxgd.lanes.run._CHUNK_SECONDS", 0.0)  # short chunks, so that slow ones are under way
    found = survey(progress=told(500, 500), engine=engine)
    num, dropped = found.catalogue.num_descents, found.statuses["interrupted"]
    np.testing.assert_array_equal(found.ends.start_number, np.arange(num))
    assert found.verdicts == {"minimum": num - dropped, "undecided": dropped}
    assert found.catalogue.reasons == {"interrupted": dropped}
    assert 10 < dropped <= 64 * num_devices
    weight, low, high = (getattr(found.catalogue, name) for name in ("weight", "weight_low", "weight_high"))
    assert weight.sum() == pytest.approx((num - dropped) / num)
    assert np.all((low < 0.5) & (high > 0.5))
    hits = found.catalogue.hits
    assert hits.max() / hits.sum() > 0.52  # the share among those that have ended is not fair
    assert found.catalogue.unseen.mass_high > dropped / num / 2
    assert f"{dropped:,} descents were dropped" in str(found)
    is_dropped = found.ends.status == jaxgd.Status.INTERRUPTED
    np.testing.assert_array_equal(found.points.params[is_dropped], found.ends.params[is_dropped])


def test_ends_of_interrupted_descents_are_where_they_were_left(monkeypatch):
    monkeypatch.setattr("jaxgd.lanes.run._CHUNK_SECONDS", 0.0)
    ends = jaxgd.descend(WELLS, optax.sgd(0.05), 100_000, engine=ENGINE, progress=told(200, 200), **ASKED)
    dropped = ends[ends.status == jaxgd.Status.INTERRUPTED]
    assert len(dropped) > 10
    one = int(dropped.start_number[0])
    again = jaxgd.descend(
        WELLS,
        optax.sgd(0.05),
        1,
        key=ASKED["key"],
        first_start=one,
        engine=ENGINE,
        stop=jaxgd.Stop(gradient_norm=None, max_steps=int(dropped.num_steps[0])),
    )
    assert abs(float(again.params[0] - dropped.params[0])) <= 0.051 * abs(float(again.gradient_norm[0])) + 1e-12
    assert ends.num_starts == 100_000


def test_an_interrupted_run_is_continued_with_the_same_bits(tmp_path):
    asked = {"num_starts": 6_000, "block_size": 1_000}
    stopped = survey(out=tmp_path / "run", progress=told(2_500), **asked)
    assert stopped.is_interrupted
    found, whole = survey(out=tmp_path / "run", **asked), survey(**asked)
    for name in ("params", "value", "num_steps", "status"):
        np.testing.assert_array_equal(getattr(found.ends, name), getattr(whole.ends, name))
    np.testing.assert_array_equal(found.points.value, whole.points.value)


def test_nothing_but_compiling_done_is_a_sentence(monkeypatch):
    with interruptible() as noted:
        noted.count = 1
        with pytest.raises(jaxgd.InputValueError, match="interrupted before the first"):
            survey()


def test_a_command_that_is_interrupted_before_anything_ended_exits_with_the_signal():
    with interruptible() as noted:
        noted.count, noted.number = 1, signal.SIGTERM
        result = CliRunner().invoke(cli.main, ["survey", "quartic", "--starts", "10"])
    assert (result.exit_code, "interrupted before the first descents" in result.stderr) == (143, True)


def test_a_third_signal_interrupts_as_usual_and_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with interruptible() as noted:
        for number in (signal.SIGTERM, signal.SIGINT):
            with interruptible() as inner:
                assert inner is noted
                os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (noted.count, noted.number) == (2, signal.SIGINT)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


OWN = """
import jax, jax.numpy as jnp
from jaxgd import Landscape
wells = Landscape(value=lambda x: jnp.where(x < 0, (x + 1) ** 2, .03 * (x - 1) ** 2) / 2,
                  sample=lambda key: jax.random.uniform(key, (), minval=-2., maxval=2.))
"""


# The command, saying when a block is done.
LOUDLY = """
import sys
from jaxgd.runs.directory import Directory
from jaxgd.store import Memory
for kind in (Directory, Memory):
    kind.write = lambda *block, write=kind.write: (write(*block), print("a block", file=sys.stderr, flush=True))[0]
from jaxgd.cli import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("is_kept", [False, True], ids=["in memory", "on disk"])
def test_the_command_prints_a_fair_survey_after_a_signal(number, is_kept, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    words = ["survey", f"{tmp_path}/own.py:wells", "--optimizer", "sgd:learning_rate=0.05", "--starts", "20000000"]
    words += ["--max-steps", "50000", "--lanes", "64", "--block", "4096", "--json"]
    words += ["--out", str(tmp_path / "run")] if is_kept else []
    process = subprocess.Popen(
        [sys.executable, "-c", LOUDLY, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while (line := process.stderr.readline()) and line != "a block\n":
        pass
    process.send_signal(number)
    out, said = process.communicate(timeout=300)
    assert process.returncode == 128 + number, said
    found = json.loads(out)
    assert 0 < found["num_descents"] < found["num_starts"]
    assert all(point["weight_low"] < 0.5 < point["weight_high"] for point in found["points"])
    assert ("jaxgd resume" in said) == is_kept
