"""Reported: files that a script may be were refused by the command line."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from jaxgd.names import find_landscape

ROOT = Path(__file__).parents[2]


def test_a_file_with_dataclasses_and_postponed_annotations_is_found(tmp_path):
    path = tmp_path / "with_dataclass.py"
    path.write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "import jax, jax.numpy as jnp, jaxgd\n"
        "@dataclass\n"
        "class Problem:\n"
        "    centre: float = 1.0\n"
        "    def value(self, x): return jnp.sum((x - self.centre) ** 2)\n"
        "mine = jaxgd.Landscape(value=Problem().value, sample=lambda key: jax.random.normal(key, (2,)))\n"
    )
    assert float(find_landscape(f"{path}:mine").value(np.ones(2))) == 0.0


def test_a_file_imports_the_module_beside_it(tmp_path):
    (tmp_path / "beside_the_trial.py").write_text("CENTRE = 3.0\n")
    path = tmp_path / "importing.py"
    path.write_text(
        "import jax, jax.numpy as jnp, jaxgd\n"
        "from beside_the_trial import CENTRE\n"
        "mine = jaxgd.Landscape(value=lambda x: jnp.sum((x - CENTRE) ** 2),"
        " sample=lambda key: jax.random.normal(key, (2,)))\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from jaxgd.names import find_landscape; print(find_landscape(sys.argv[1]).name)",
            f"{path}:mine",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-1000:]
    assert done.stdout.strip() == "landscape"
