import json
import math
from dataclasses import replace

import numpy as np
import pytest

from jaxgd.base import InputValueError
from jaxgd.experiment import Claim, Statistic

ROW = Statistic(statistic="share", measured=0.5, low=0.45, high=0.55, expected=0.5, source="symmetry", num_descents=400)
KEYS = {"experiment", "claim", "rows", "verdict", "condition", "seconds", "versions"}
ROW_KEYS = {"statistic", "expected", "source", "measured", "low", "high", "z", "num_descents"}


def claim(*rows, condition=None):
    return Claim(name="test.claim", claim="Half of them.", rows=rows, condition=condition, seconds=1.0)


def test_claim_prints_the_object_of_the_contract():
    found = json.loads(json.dumps(claim(ROW, ROW).to_json(), allow_nan=False))
    assert found.keys() == KEYS
    assert all(row.keys() >= ROW_KEYS for row in found["rows"])
    assert found["experiment"] == "test.claim"
    assert found["versions"]["jax"]


def test_numbers_of_numpy_become_numbers_and_what_is_not_finite_becomes_null():
    row = replace(ROW, measured=np.float32(0.5), low=np.float64(-np.inf), num_descents=np.int64(3), z=math.nan)
    found = json.loads(json.dumps(claim(row).to_json(), allow_nan=False))["rows"][0]
    assert (found["measured"], found["low"], found["num_descents"], found["z"]) == (0.5, None, 3, None)


@pytest.mark.parametrize(
    ("relation", "expected", "holds"),
    [
        ("equal", 0.5, True),
        ("equal", 0.46, True),
        ("equal", 0.44, False),
        ("equal", 0.56, False),
        ("at_least", 0.45, True),
        ("at_least", 0.5, None),
        ("at_least", 0.56, False),
        ("at_most", 0.55, True),
        ("at_most", 0.5, None),
        ("at_most", 0.44, False),
        ("equal", None, None),
    ],
)
def test_row_holds_where_its_interval_says_so(relation, expected, holds):
    assert replace(ROW, relation=relation, expected=expected).holds is holds


def test_error_of_the_published_number_is_granted():
    row = replace(ROW, expected=0.559)
    assert row.holds is False
    assert replace(row, tolerance=0.01).holds is True


def test_row_without_a_number_cannot_tell():
    assert replace(ROW, measured=math.nan, low=math.nan, high=math.nan).holds is None


def test_verdict_flips_with_the_numbers():
    off = replace(ROW, measured=0.7, low=0.65, high=0.75)
    assert claim(ROW, ROW).verdict == "supported"
    assert claim(ROW, off).verdict == "refuted"
    assert claim(ROW, replace(off, is_outside=True), condition="small steps").verdict == "conditional"
    assert claim(ROW, replace(ROW, is_outside=True), condition="small steps").verdict == "supported"
    assert claim(off, replace(off, is_outside=True), condition="small steps").verdict == "refuted"


def test_verdict_is_undecided_where_a_row_cannot_tell_or_none_is_judged():
    open_row = replace(ROW, relation="at_least", expected=0.5)
    assert claim(ROW, open_row).verdict == "undecided"
    assert claim(replace(ROW, expected=None)).verdict == "undecided"
    assert claim().verdict == "undecided"
    assert claim(open_row, replace(ROW, expected=0.7)).verdict == "refuted"


def test_table_says_what_the_object_says():
    text = str(claim(ROW, replace(ROW, relation="at_least", expected=0.6)))
    assert "refuted" in text
    assert ">= 0.6" in text
    assert "symmetry" in text


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(InputValueError, match="`relation` must be one of equal, at_least, at_most, got 'about'"):
        replace(ROW, relation="about")
    with pytest.raises(InputValueError, match="`low` must not exceed `high`, got 1 and 0"):
        replace(ROW, low=1, high=0)
    with pytest.raises(InputValueError, match="`tolerance` must not be negative, got -1"):
        replace(ROW, tolerance=-1)
    with pytest.raises(InputValueError, match="names no `condition`"):
        claim(replace(ROW, is_outside=True))
