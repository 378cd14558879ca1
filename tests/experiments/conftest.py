"""The scripts of `experiments` are no part of the installed package: they are found from the repository."""

import json
import sys
from pathlib import Path

import jax
import pytest

from jaxgd import experiment

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


@pytest.fixture
def check_quick_run(capsys, tmp_path):
    """A function of an experiment's module: its quick run prints the contract's object and draws its figure."""

    def check(module):
        pytest.importorskip("matplotlib")
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            arguments = ["--quick", "--json", "--out", str(tmp_path)]
            assert experiment.main(module.measure, arguments, description="", figure=module.figure) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["verdict"] in ("supported", "conditional", "undecided")
        assert found["rows"]
        assert all(row["measured"] is not None for row in found["rows"])
        assert (tmp_path / f"{found['experiment']}.png").stat().st_size > 10_000

    return check
