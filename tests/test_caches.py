"""Programs are kept on disk where that is asked for, within bounds; those in memory can be let go of."""

import gc
import os
import subprocess
import sys
import weakref

import jax
import jax.numpy as jnp
import optax
import pytest

import jaxgd
from jaxgd import caches


@pytest.fixture
def _keeping():
    """Lets jax keep programs in a test, and leaves it as it was."""
    names = "jax_enable_compilation_cache", "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_enable_compilation_cache", True)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.parametrize(
    ("system", "variable", "place"),
    [
        ("linux", "XDG_CACHE_HOME", "jaxgd"),
        ("win32", "LOCALAPPDATA", "jaxgd"),
        ("darwin", "HOME", "Library/Caches/jaxgd"),
    ],
)
def test_programs_go_where_each_platform_keeps_what_can_be_made_again(monkeypatch, tmp_path, system, variable, place):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setenv(variable, str(tmp_path))
    assert caches.programs_directory().parent == tmp_path / place


def test_each_kind_of_processor_and_each_jax_has_its_own_directory(monkeypatch):
    here = caches.programs_directory()
    assert jax.__version__ in here.name
    monkeypatch.setattr(caches.platform, "machine", lambda: "another")
    assert caches.programs_directory() != here


@pytest.mark.usefixtures("_keeping")
def test_what_was_not_used_for_longest_is_dropped_when_the_directory_is_opened(monkeypatch, tmp_path):
    monkeypatch.setattr(caches, "MAX_BYTES", 250)
    for age, name in enumerate(("new", "middle", "old")):
        path = tmp_path / f"{name}-cache"
        path.write_bytes(bytes(100))
        os.utime(path, (1e9 - age, 1e9 - age))
    kept = jaxgd.keep_programs(tmp_path)
    assert kept == jaxgd.KeptPrograms(directory=tmp_path, num_programs=2, num_bytes=200)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["middle-cache", "new-cache"]
    assert jax.config.jax_compilation_cache_dir == str(tmp_path)


@pytest.mark.usefixtures("_keeping")
def test_a_directory_that_jax_was_given_already_is_left_as_it_is(monkeypatch, tmp_path):
    monkeypatch.setattr(caches, "MAX_BYTES", 0)
    (tmp_path / "some-cache").write_bytes(bytes(100))
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    assert jaxgd.keep_programs() == jaxgd.KeptPrograms(directory=tmp_path, num_programs=1, num_bytes=100)


@pytest.mark.usefixtures("_keeping")
def test_a_named_directory_that_cannot_be_written_to_is_refused_and_another_one_is_passed_over(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(jaxgd.InputValueError, match="programs cannot be kept in"):
        jaxgd.keep_programs(tmp_path / "file" / "programs")
    monkeypatch.setattr(caches, "programs_directory", lambda: tmp_path / "file" / "programs")
    assert jaxgd.keep_programs() is None


def test_importing_jaxgd_keeps_nothing_on_disk():
    code = "import jax, jaxgd; print(jax.config.jax_compilation_cache_dir)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"


def test_the_command_line_keeps_programs_unless_it_is_told_not_to(tmp_path):
    words = "survey styblinski_tang --optimizer sgd:learning_rate=0.005 --starts 8 --devices 1 --json".split()
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "JAX_ENABLE_COMPILATION_CACHE": "true"}

    def run(*options):
        command = [sys.executable, "-m", "jaxgd.cli", *options, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    run("--no-cache")
    assert not list(tmp_path.rglob("*-cache"))
    if sys.platform.startswith("linux"):
        run()
        assert bool(list((tmp_path / "jaxgd").rglob("*-cache"))) == caches.READS_QUIETLY
    named = tmp_path / "mine"
    run("--compilation-cache", str(named))
    assert list(named.rglob("*-cache"))


def test_clearing_the_caches_lets_go_of_landscapes_and_answers_the_same_afterwards(key):
    landscape = jaxgd.Landscape(value=lambda x: jnp.sum(x**4 - x**2), sample=lambda k: jax.random.normal(k, (2,)))
    before = jaxgd.descend(landscape, optax.sgd(0.05), 8, key=key)
    jaxgd.clear_caches()
    after = jaxgd.descend(landscape, optax.sgd(0.05), 8, key=key)
    assert (before.params == after.params).all()
    gone = weakref.ref(landscape)
    del landscape, before, after
    jaxgd.clear_caches()
    jax.clear_caches()
    gc.collect()
    assert gone() is None
