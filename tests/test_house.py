"""The house as a whole: imports point one way, and no public name lacks a docstring, an example or a test."""

import ast
import enum
import importlib
import inspect
import re
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import jaxgd
from jaxgd.versions import versions

ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "jaxgd").rglob("*.py"))
}


# --------------------------------------------------------------------------------------- imports point one way


@cache
def imports(module):
    """Returns the modules of jaxgd that a module imports anywhere, inside its functions, too."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} has a relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in inner}
    return {name for name in found if name in MODULES} - {module}


@cache
def rooms():
    """Returns the rows of the table of rooms in BUILD_NOTES.md, from the ground up: the names of each row."""
    lines = (ROOT / "BUILD_NOTES.md").read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("| room |"))
    rows = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(re.findall(r"`([^`]+)`", line.split("|")[1]))
    return rows


def row_of(module):
    """Returns the number of the row of a module: that of its file, or else of its folder."""
    path = MODULES[module].relative_to(ROOT / "jaxgd")
    for name in (str(path), *(f"{folder}/" for folder in path.parents if folder.name)):
        for number, row in enumerate(rooms()):
            if name in row:
                return number
    pytest.fail(f"`{path}` stands in no row of the table of rooms in BUILD_NOTES.md; give it one")


@pytest.mark.parametrize("module", [module for module in MODULES if module != "jaxgd"])
def test_a_room_imports_only_from_its_own_row_and_those_above_it(module):
    others = {name for name in imports(module) - {"jaxgd"} if row_of(name) > row_of(module)}
    assert not others, f"{module} must not import from rooms below it in the table of BUILD_NOTES.md"


def test_no_modules_import_each_other_in_a_circle():
    order = list(TopologicalSorter({module: imports(module) for module in MODULES}).static_order())
    assert len(order) == len(MODULES)


def test_every_name_in_the_table_of_rooms_is_there():
    missing = [name for row in rooms() for name in row if not (ROOT / "jaxgd" / name).exists()]
    assert not missing


# ------------------------------------------------------------------------------------------------ public names


def public():
    """Returns every public name as "module.name"; rooms are entered."""
    found = []
    for module in ("jaxgd", *(f"jaxgd.{name}" for name in jaxgd.__all__ if inspect.ismodule(getattr(jaxgd, name)))):
        room = importlib.import_module(module)
        found += [f"{module}.{name}" for name in room.__all__ if not inspect.ismodule(getattr(room, name))]
    return found


@cache
def names_in_tests():
    """Returns all words in the tests, but for this file."""
    texts = [path.read_text() for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    return {word for text in texts for word in re.findall(r"\w+", text)}


def examples():
    """Returns the words of the examples in README.md, which are run as doctests."""
    lines = (ROOT / "README.md").read_text().splitlines()
    return {word for line in lines if line.startswith((">>>", "...")) for word in re.findall(r"\w+", line)}


@pytest.mark.parametrize("name", public())
def test_a_public_name_has_a_docstring_an_example_and_a_test(name):
    module, _, own = name.rpartition(".")
    thing = getattr(importlib.import_module(module), own)
    text = inspect.getdoc(thing) or ""
    if inspect.isclass(thing) and issubclass(thing, (enum.Enum, Exception)):
        assert text
    elif inspect.isclass(thing):  # a record: what a function takes or returns, and is tested with it
        assert "Attributes:" in text or not getattr(thing, "__annotations__", None)
    elif callable(thing):
        assert ">>>" in text or own in examples()
        assert own in names_in_tests()
        assert inspect.Parameter.empty not in {p.annotation for p in inspect.signature(thing).parameters.values()}
    else:
        assert own in names_in_tests()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_is(module):
    assert ast.get_docstring(ast.parse(MODULES[module].read_text()))


def test_the_version_stands_in_one_place():
    assert jaxgd.__version__ == versions()["jaxgd"]
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"\n### {listed['version']}" in (ROOT / "BUILD_NOTES.md").read_text()
