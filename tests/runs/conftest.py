"""A small question, asked once, so that all tests of run directories share its compiled programs."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

import jaxgd

LANDSCAPE = jaxgd.landscapes.styblinski_tang(dim=1)
OPTIMIZER = "sgd:learning_rate=0.02"
STOP = jaxgd.Stop(gradient_norm=1e-8, max_steps=5000)
ENGINE = jaxgd.Engine(layout="lanes_last", num_lanes=32)
WRITTEN = {"landscape": "styblinski_tang", "params": {"dim": "1"}, "optimizer": OPTIMIZER, "seed": 7}


def survey(out=None, num_starts=120, **changes):
    """Asks the small question, with changes."""
    asked = {
        "landscape": LANDSCAPE,
        "optimizer": OPTIMIZER,
        "key": jax.random.key(7),
        "stop": STOP,
        "engine": ENGINE,
        "block_size": 40,
        "written": WRITTEN,
    }
    return jaxgd.survey(num_starts=num_starts, out=out, **asked | changes)


def same(one, other):
    """Asserts that two runs, or surveys, hold the same bits."""
    for record in ("ends", "points", "catalogue"):
        mine, theirs = getattr(one, record), getattr(other, record)
        for name in vars(mine):
            a, b = getattr(mine, name), getattr(theirs, name)
            if isinstance(a, np.ndarray):
                assert a.dtype == b.dtype, name
                np.testing.assert_array_equal(a, b, err_msg=f"{record}.{name}")


def blocks(directory):
    """Returns the names of the blocks that are there."""
    return sorted(path.name for path in directory.glob("block-*.npz"))


def litter(directory):
    """Returns what should not be left over in a directory."""
    return [path.name for path in directory.iterdir() if path.name.startswith(".") or path.name.endswith(".claim")]


@pytest.fixture
def runs():
    return SimpleNamespace(
        survey=survey,
        same=same,
        blocks=blocks,
        litter=litter,
        landscape=LANDSCAPE,
        optimizer=OPTIMIZER,
        stop=STOP,
        engine=ENGINE,
        written=WRITTEN,
    )


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """An undisturbed run of 120 starts in three blocks."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    survey(directory)
    return directory


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of that run, to be spoilt."""
    directory = tmp_path / "copy"
    directory.mkdir()
    for path in whole.iterdir():
        (directory / path.name).write_bytes(path.read_bytes())
    return directory
