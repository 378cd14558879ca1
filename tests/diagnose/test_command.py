import json

import numpy as np
import pytest
from click.testing import CliRunner

from jaxgd.base import InputValueError
from jaxgd.cli import main
from jaxgd.diagnose.checkpoint import read_checkpoint, with_arrays

FILE = """
import jax.numpy as jnp, numpy as np, optax

def question():
    loss = lambda params, batch: jnp.sum((params["a"]["w"] * params["a"]["v"] - 1) ** 2)
    zeros = {"a": {"w": np.ones((), np.float32), "v": np.ones((), np.float32)}}
    return {"model": zeros, "loss": loss, "optimizer": optax.sgd(0.1), "num_steps": 32}
"""


def test_command_reads_a_checkpoint_and_prints_the_answer(tmp_path):
    (tmp_path / "mine.py").write_text(FILE)
    np.savez(tmp_path / "end.npz", **{"a/w": np.zeros((), np.float32), "a/v": np.zeros((), np.float32)})
    asked = ["diagnose", f"{tmp_path}/mine.py:question", "--checkpoint", f"{tmp_path}/end.npz", "--dtype", "float64"]
    result = CliRunner().invoke(main, [*asked, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["cause"] == "saddle"
    assert found["is_stuck"] is True


def test_checkpoints_that_do_not_fit_are_refused_by_name(tmp_path):
    model = {"w": np.zeros(2)}
    with pytest.raises(InputValueError, match="there is no checkpoint"):
        read_checkpoint(tmp_path / "none.npz")
    (tmp_path / "x.pkl").touch()
    with pytest.raises(InputValueError, match=r"must be \.npz or \.safetensors"):
        read_checkpoint(tmp_path / "x.pkl")
    with pytest.raises(InputValueError, match="the checkpoint has no `w`; it has v"):
        with_arrays(model, {"v": np.ones(2)})
    with pytest.raises(InputValueError, match=r"`w` has shape \(3,\) in the checkpoint and \(2,\) in the model"):
        with_arrays(model, {"w": np.ones(3)})
    with pytest.raises(InputValueError, match="the model has no v, which the checkpoint has"):
        with_arrays(model, {"w": np.ones(2), "v": np.ones(2)})


def test_safetensors_are_read(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    safetensors.save_file({"w": np.arange(3.0)}, tmp_path / "end.safetensors")
    assert with_arrays({"w": np.zeros(3)}, read_checkpoint(tmp_path / "end.safetensors"))["w"].tolist() == [0, 1, 2]
