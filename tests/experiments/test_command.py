import json
import math

import jax
import pytest

from jaxgd.base import InputValueError
from jaxgd.experiment import Benchmark, Claim, Options, Statistic, main, start_jax
from jaxgd.experiment.printing import short, table
from jaxgd.face import plain


def measure(options):
    print("chatter of a library")
    row = Statistic(statistic="one", measured=1.0, low=1.0, high=1.0, expected=1.0, num_descents=1)
    claim = "quick" if options.quick else "whole"
    return Claim(name="test.claim", claim=claim, rows=[row])


def run(*arguments, measure=measure, **how):
    return main(measure, list(arguments), description="A test.", **how)


def test_json_is_the_only_thing_on_standard_output(capsys):
    assert run("--json") == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert (found["verdict"], found["claim"]) == ("supported", "whole")
    assert found["seconds"] >= 0
    assert "chatter" in printed.err


def test_without_json_a_person_gets_a_table(capsys):
    assert run("--quick") == 0
    out = capsys.readouterr().out
    assert out.startswith("quick\n\nstatistic  claimed")
    assert "supported" in out


def test_out_gets_the_object_and_the_figure(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    out = tmp_path / "new" / "folder"
    assert run("--out", str(out), figure=lambda result: Figure()) == 0
    assert json.loads((out / "test.claim.json").read_text())["verdict"] == "supported"
    assert (out / "test.claim.png").read_bytes().startswith(b"\x89PNG")


def test_options_reach_the_measurement(capsys, tmp_path):
    seen = []
    empty = lambda options: seen.append(options) or Benchmark(name="b", work="w", rows=[])
    assert run(measure=empty) == 0
    assert run("--quick", "--out", str(tmp_path), measure=lambda o: seen.append(o) or measure(o)) == 0
    assert seen == [Options(), Options(quick=True, out=tmp_path)]


def test_missing_matplotlib_costs_the_figure_alone(capsys, tmp_path):
    def figure(result):
        raise ImportError("No module named 'matplotlib'")

    assert run("--out", str(tmp_path), figure=figure) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["test.claim.json"]
    assert "pip install 'jaxgd[plot]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--fast"], "unrecognized arguments: --fast"),
        (["--qui"], "unrecognized arguments: --qui"),
        (["--out"], "expected one argument"),
        (["--quick", "--seed", "3"], "unrecognized arguments: --seed 3"),
    ],
)
def test_mistake_on_the_command_line_is_one_sentence_and_code_2(capsys, arguments, sentence):
    assert run(*arguments) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert printed.out == ""


def test_folder_that_cannot_be_made_is_refused_before_anything_runs(capsys, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    assert run("--out", str(file / "folder"), measure=lambda options: pytest.fail("ran")) == 2
    assert "cannot write to" in capsys.readouterr().err


def test_refusal_of_the_measurement_is_one_sentence_and_code_2(capsys):
    def refuse(options):
        raise InputValueError("`this` must be that.")

    assert run(measure=refuse) == 2
    printed = capsys.readouterr()
    assert printed.err.endswith(": `this` must be that.\n")
    assert printed.out == ""


def test_help_is_no_mistake(capsys):
    assert run("--help") == 0
    assert "A test." in capsys.readouterr().out


def test_jax_that_has_begun_keeps_its_devices():
    before = len(jax.devices())
    start_jax("float64", num_devices=before + 1)
    assert len(jax.devices()) == before
    assert jax.config.jax_enable_x64


def test_unknown_precision_is_refused():
    with pytest.raises(InputValueError, match="`dtype` must be float32 or float64, got 'bfloat16'"):
        start_jax("bfloat16")


def test_plain_numbers_come_out_of_any_tree():
    tree = {"a": [jax.numpy.arange(2), math.inf], "b": (True, None, "text")}
    assert plain(tree) == {"a": [[0, 1], None], "b": [True, None, "text"]}


def test_numbers_are_short():
    assert [short(x) for x in (None, 0.123456, 12345.6, 7, True, "a")] == [
        "-",
        "0.1235",
        "12,346",
        "7",
        "True",
        "a",
    ]
    assert table([]) == ""
