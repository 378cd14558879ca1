"""A small question, asked once, so that all tests of run directories share its compiled programs."""

from types import SimpleNamespace

import numpy as np
import pytest

import jaxgd
from jaxgd.runs.carry import How, begin, carry_on
from jaxgd.runs.question import Question
from jaxgd.runs.work import Signals

HOW = How(layout="lanes_last", num_lanes=32, block_size=40)
STOP = jaxgd.Stop(gradient_norm=1e-8, max_steps=5000)
QUESTION = Question(
    landscape_name="styblinski_tang",
    params={"dim": "1"},
    optimizer_name="sgd:learning_rate=0.02",
    stop=STOP,
    seed=7,
    dtype="float64",
    is_noisy=False,
)


def ask(directory, num_starts, question=QUESTION, how=HOW):
    """Begins or extends a run without doing any of it."""
    directory.mkdir(exist_ok=True)
    return begin(directory, question, num_starts, how)


def finish(directory, questions=None, told=None, show=lambda phase, done, total: None):
    """Does what is missing of a run and returns its surveys."""
    return carry_on(directory, questions or {0: QUESTION}, told or Signals(), 1, show)


def same(one, other):
    """Asserts that two runs hold the same bits."""
    for record in ("ends", "points"):
        mine, theirs = getattr(one, record), getattr(other, record)
        for name in vars(mine):
            a, b = getattr(mine, name), getattr(theirs, name)
            if isinstance(a, np.ndarray):
                assert a.dtype == b.dtype, name
                np.testing.assert_array_equal(a, b, err_msg=f"{record}.{name}")


@pytest.fixture
def runs():
    return SimpleNamespace(ask=ask, finish=finish, same=same, question=QUESTION, how=HOW)


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """An undisturbed run of 120 starts in three units."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    ask(directory, 120)
    finish(directory)
    return directory


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of that run, to be spoilt."""
    directory = tmp_path / "copy"
    directory.mkdir()
    for path in whole.iterdir():
        (directory / path.name).write_bytes(path.read_bytes())
    return directory
