"""The tutorials run as they stand, and end in a figure."""

import runpy
import sys

import numpy as np
import pytest


def run(name, monkeypatch, tmp_path):
    figure = tmp_path / f"{name}.png"
    monkeypatch.setattr(sys, "argv", [name, str(figure)])
    found = runpy.run_module(f"experiments.tutorials.{name}", run_name="__main__")
    assert figure.read_bytes()[:4] == b"\x89PNG"
    return found


def test_the_theorist_sees_the_logarithm_of_theory(monkeypatch, tmp_path):
    found = run("theorist", monkeypatch, tmp_path)
    np.testing.assert_allclose(np.diff(found["medians"]), np.log(100) / np.log(1.05), atol=12)  # four standard errors


@pytest.mark.slow
@pytest.mark.parametrize("name", ["teacher", "physicist", "practitioner"])
def test_the_others_find_minima(monkeypatch, tmp_path, name):
    found = run(name, monkeypatch, tmp_path)["found"]
    assert found.points.verdict_counts()["minimum"] > 0.9 * len(found.points)
