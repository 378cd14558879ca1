import numpy as np
import pytest

from jaxgd.base import InputValueError
from jaxgd.experiment import exactly, mean, median, share, share_of, slope, stated


def test_intervals_cover_what_they_claim():
    rng = np.random.default_rng(0)
    rows = {
        "mean": (lambda: mean("", 3 + rng.standard_normal(15)), 3.0),
        "median": (lambda: median("", rng.exponential(size=30)), np.log(2)),
        "share": (lambda: share("", rng.uniform(size=40) < 0.3), 0.3),
        "slope": (lambda: slope("", [1, 2, 4, 8], np.array([1, 2, 4, 8.0]) ** 2 * rng.lognormal(0, 0.1, 4)), 2.0),
    }
    for draw, truth in rows.values():
        missed = sum(not row.low <= truth <= row.high for row in (draw() for _ in range(300)))
        assert missed <= 3  # 99.9 %: one of a thousand


def test_a_bound_is_an_expectation_with_a_relation():
    flags = [True] * 90 + [False] * 10
    assert [share("", flags, at_least=x).holds for x in (0.5, 0.9, 0.99)] == [True, None, False]
    assert [share("", flags, at_most=x).holds for x in (0.5, 0.9, 0.99)] == [False, None, True]
    assert share("", flags, expected=0.9).relation == "equal"


def test_numbers_that_are_not_finite_decide_nothing():
    assert mean("", [1.0, np.inf, 2.0], at_least=0).holds is None
    assert median("", [1.0, np.nan, 2.0], at_least=0).holds is None
    assert median("", [3.0, np.inf] * 50, at_least=2).holds is True
    assert mean("", [1.0], at_least=0).holds is None
    assert median("", [1.0, 2.0], at_least=0).holds is None  # too few for any interval


def test_shares_of_kinds_are_counted():
    row = share_of("", {"minimum": 30, "saddle": 10}, ["saddle", "maximum"])
    assert (row.measured, row.num_descents) == (0.25, 40)
    with pytest.raises(InputValueError, match="one list that is not empty"):
        share_of("minima", {}, ["minimum"])


def test_exact_numbers_hold_within_their_error():
    assert exactly("", 1.0, error=0.1, expected=1.05).holds is True
    assert exactly("", 1.0, expected=1.05).holds is False


def test_a_claim_is_stated_by_its_docstring():
    claim = stated("T1.1: It is\nso.\n\nMore.", [exactly("", 1.0, expected=1.0)], condition="if")
    assert (claim.name, claim.claim, claim.verdict, claim.condition) == ("T1.1", "It is so.", "supported", "if")
    for docstring in (None, "no name", "two words: no"):
        with pytest.raises(InputValueError, match="`docstring` must begin with a name"):
            stated(docstring, [])
