"""A file that is imported works as it would as a script."""

import os
import subprocess
import sys

import jax
import pytest
from click.testing import CliRunner

import jaxgd
from jaxgd import InputValueError, cli
from jaxgd.experiment import command
from jaxgd.importing import import_file
from jaxgd.names import find_landscape, find_optimizer

DATACLASSES = """
from __future__ import annotations

import dataclasses, typing
import jax, jax.numpy as jnp
from jaxgd import Landscape


@dataclasses.dataclass(frozen=True)
class Setting:
    stiffness: float = 2.0
    kind: typing.ClassVar[str] = "bowl"


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Position:
    x: jax.Array


def make(stiffness: float = Setting().stiffness) -> Landscape:
    setting = Setting(stiffness)
    return Landscape(
        value=lambda p: setting.stiffness * jnp.sum(p.x**2),
        sample=lambda key: Position(jax.random.normal(key, (2,))),
        name=setting.kind,
    )


mine = make()
assert typing.get_type_hints(Setting)["stiffness"] is float
if __name__ == "__main__":
    raise RuntimeError("this is for scripts")
"""

WITH_HELPER = """
import jax
from helper import NAME, value
from tools.draw import sample
from jaxgd import Landscape


def later(x):
    import late_helper
    return late_helper.value(x)


mine = Landscape(value=value, sample=sample, name=NAME)
lazy = Landscape(value=later, sample=sample)
"""


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    monkeypatch.setattr(command, "start_jax", lambda dtype, num_devices: None)  # the tests have started jax already
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("helper", "late_helper", "tools"):
            del sys.modules[name]


def write(folder, name="mine", power=2):
    (folder / "tools").mkdir(parents=True)
    (folder / "tools" / "__init__.py").write_text("")
    (folder / "tools" / "draw.py").write_text("import jax\nsample = lambda key: jax.random.normal(key, (2,))\n")
    (folder / "helper.py").write_text(f"NAME = {name!r}\ndef value(x): return (x**{power}).sum()\n")
    (folder / "late_helper.py").write_text(f"def value(x): return {power} * (x**2).sum()\n")
    (folder / "problem.py").write_text(WITH_HELPER)
    return folder / "problem.py"


def survey(*words):
    words = ["survey", *words, "--starts", 5, "--optimizer", "sgd:learning_rate=0.1", "--max-steps", 0]
    return CliRunner().invoke(cli.main, [str(word) for word in words])


def test_a_file_with_dataclasses_and_deferred_annotations_is_surveyed(tmp_path):
    path = tmp_path / "with data.classes.py"
    path.write_text(DATACLASSES)
    result = survey(f"{path}:mine")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("bowl, 5 descents")
    stiff = find_landscape(f"{path}:make:stiffness=3.0")
    start = stiff.sample(jax.random.key(0))
    assert float(stiff.value(start)) == pytest.approx(3 * float((start.x**2).sum()))


def test_modules_beside_the_file_are_found_and_later_too(tmp_path):
    path = write(tmp_path / "here")
    assert find_landscape(f"{path}:mine").name == "mine"
    x = jax.numpy.ones(2)
    assert float(find_landscape(f"{path}:lazy").value(x)) == 4


def test_helpers_of_one_name_beside_two_files_are_not_mixed_up(tmp_path):
    first, second = write(tmp_path / "one", "first", 2), write(tmp_path / "two", "second", 4)
    x = jax.numpy.full(2, 2.0)
    ones = find_landscape(f"{first}:mine")
    two, lazy = find_landscape(f"{second}:mine"), find_landscape(f"{second}:lazy")
    again = find_landscape(f"{first}:mine")
    assert [found.name for found in (ones, two, again)] == ["first", "second", "first"]
    assert [float(found.value(x)) for found in (ones, two, again)] == [8, 32, 8]
    find_landscape(f"{second}:mine")
    assert float(lazy.value(x)) == 32


def test_a_file_is_found_by_a_relative_name(tmp_path, monkeypatch):
    write(tmp_path / "sub folder")
    monkeypatch.chdir(tmp_path)
    assert find_landscape("sub folder/problem.py:mine").name == "mine"
    assert find_landscape("./sub folder/../sub folder/problem.py: mine").name == "mine"
    monkeypatch.chdir(tmp_path / "sub folder")
    assert find_landscape("problem.py:mine").name == "mine"


def test_an_optimizer_and_an_attribute_of_an_attribute_are_found(tmp_path):
    path = tmp_path / "own.py"
    path.write_text("import optax\nfast = lambda rate: optax.sgd(rate)\nclass Zoo: slow = optax.sgd(0.1)\n")
    assert find_optimizer(f"{path}:Zoo.slow").init
    assert find_optimizer(f"{path}:fast:rate=0.5").init
    with pytest.raises(InputValueError, match=r"has no attribute `Zoo\.slo`. Did you mean `slow`"):
        find_optimizer(f"{path}:Zoo.slo")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1\ny = 1 / 0\n", "raised ZeroDivisionError in line 2: division by zero"),
        ("import sys\nsys.exit('no data')\n", "raised SystemExit in line 2: no data"),
        ("import no_such_helper\n", "raised ModuleNotFoundError in line 1: No module named 'no_such_helper'"),
        ("from . import helper\n", "raised ImportError in line 1: attempted relative import with no known parent"),
        ("def f(:\n", "raised SyntaxError: "),
    ],
)
def test_a_file_that_raises_is_refused_with_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "broken file.py"
    path.write_text(text)
    result = survey(f"{path}:mine")
    assert result.exit_code == 2
    assert sentence in result.output
    assert "Traceback" not in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not [name for name in sys.modules if "broken file" in name]


def test_a_file_without_an_attribute_and_one_that_is_not_there_are_refused(tmp_path):
    path = write(tmp_path / "here")
    with pytest.raises(InputValueError, match=r"is a file; say what of it you mean: .*problem.py:attribute"):
        find_landscape(str(path))
    with pytest.raises(InputValueError, match="there is no file"):
        import_file(tmp_path / "nowhere.py")
    with pytest.raises(InputValueError, match=r"has no attribute `min`\. Did you mean `mine`"):
        find_landscape(f"{path}:min")


def test_the_command_itself_finds_what_a_script_would(tmp_path):
    path = write(tmp_path / "a folder")
    words = [sys.executable, "-m", "jaxgd.cli", "survey", f"{path.name}:lazy", "--starts", "3", "--max-steps", "0"]
    root = os.path.dirname(os.path.dirname(jaxgd.__file__))
    done = subprocess.run(
        words, cwd=path.parent, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("landscape, 3 descents")


def test_one_name_of_jaxgd_or_optax_is_one_object_but_a_file_is_read_anew(tmp_path):
    assert find_optimizer("sgd:learning_rate=0.1") is find_optimizer("sgd:learning_rate=0.1")
    assert find_optimizer("sgd:learning_rate=0.1") is not find_optimizer("sgd:learning_rate=0.2")
    path = tmp_path / "own.py"
    path.write_text("import optax\nmine = optax.sgd(0.1)\n")
    before = find_optimizer(f"{path}:mine")
    assert find_optimizer(f"{path}:mine") is not before
