"""The experiments on run directories, in small and, where that is what holds a promise, in full."""

import jax
import pytest

from experiments.cluster import damage, survival
from jaxgd.experiment import Options


@pytest.mark.parametrize("is_quick", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["quick", "in full"])
def test_damaged_directories_are_refused_or_continued_with_the_same_bits(is_quick):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        found = damage.measure(Options(quick=is_quick))
    counts = {row.statistic: row.measured for row in found.rows}
    assert found.verdict == "supported"
    assert counts["flipped bits: refused"] > 5 * counts["flipped bits: the same all the same"]  # dates, and the like
    assert counts["spoilt directories: the same all the same"] > counts["spoilt directories: refused"] > 0


@pytest.mark.slow
def test_killed_runs_end_with_the_bits_of_undisturbed_ones():
    assert survival.measure(Options(quick=True)).verdict == "supported"
