"""Judging one end of each group gives what judging every end gives, and what does not belong is judged by itself."""

import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd import Landscape, Stop

classify_room = sys.modules["jaxgd.points.classify"]

WELLS = jaxgd.landscapes.styblinski_tang(dim=2)


@pytest.fixture(scope="module")
def ends():
    return jaxgd.descend(WELLS, optax.sgd(5e-3), 600, key=jax.random.key(0), stop=Stop(gradient_norm=1e-6))


@pytest.fixture
def judged(monkeypatch):
    """Collects how many ends are judged in full."""
    counts, judge = [], classify_room.judge_in_full
    monkeypatch.setattr(
        classify_room, "judge_in_full", lambda *args, **kw: counts.append(len(args[1])) or judge(*args, **kw)
    )
    return counts


def test_groups_get_the_verdicts_that_every_end_gets_by_itself(ends, judged):
    grouped = jaxgd.classify(WELLS, ends)
    assert sum(judged) < 60  # four minima, and the audit
    each = jaxgd.classify(WELLS, ends, in_full=True)
    np.testing.assert_array_equal(grouped.verdict, each.verdict)
    np.testing.assert_allclose(grouped.params, each.params, atol=1e-9)
    np.testing.assert_allclose(grouped.value, each.value, rtol=1e-12)
    one, other = jaxgd.catalogue(WELLS, grouped), jaxgd.catalogue(WELLS, each)
    np.testing.assert_array_equal(one.hits, other.hits)
    np.testing.assert_array_equal(one.entry, other.entry)
    assert "0 of 32 audited ends changed verdict" in grouped.notes[-1]


@pytest.mark.slow
def test_ends_that_lie_too_far_off_are_judged_by_themselves(ends, judged):
    astray = replace(ends, params=ends.params + 1e-3 * np.sign(ends.params) * (np.arange(600) % 2)[:, None])
    points = jaxgd.classify(WELLS, astray)
    assert sum(judged) >= 300
    np.testing.assert_allclose(points.params, jaxgd.classify(WELLS, ends).params, atol=1e-9)


@pytest.mark.slow
def test_a_value_that_the_gradient_does_not_explain_keeps_an_end_out_of_the_group(ends, judged):
    jaxgd.classify(WELLS, replace(ends, value=ends.value + 1e-3 * (np.arange(600) % 2)))
    assert sum(judged) >= 300


@pytest.mark.slow
def test_the_audit_reports_members_that_were_taken_wrongly(ends, monkeypatch):
    take_all = lambda landscape, ends, invariants, which, *others: np.ones(len(which), bool)
    monkeypatch.setattr(classify_room, "_belongs", take_all)

    monkeypatch.setattr(classify_room, "_CELL", 1e3)  # all ends in one cell, taken for one minimum
    wrong = int(jaxgd.classify(WELLS, ends).notes[-1].split("; ")[-1].split()[0])
    assert wrong > classify_room.NUM_AUDITED / 4


@pytest.mark.slow
def test_what_does_not_converge_or_is_no_minimum_is_judged_in_full(judged):
    cubic = Landscape(value=lambda x: x**3, sample=lambda key: jax.random.uniform(key, (), minval=0.5, maxval=1.0))
    ends = jaxgd.descend(cubic, optax.sgd(0.1), 300, key=jax.random.key(0), stop=Stop(gradient_norm=1e-4))
    points = jaxgd.classify(cubic, ends)
    assert sum(judged) >= 300
    assert points.verdict_counts() == {"degenerate": 300}
    judged.clear()
    limited = jaxgd.descend(WELLS, optax.sgd(5e-3), 300, key=jax.random.key(0), stop=Stop(max_steps=3))
    jaxgd.classify(WELLS, limited)
    assert sum(judged) >= 300


@pytest.mark.slow
def test_nothing_but_diverged_ends_is_no_error():
    cliff = Landscape(value=lambda x: -jnp.sum(x**4), sample=lambda key: 1 + jax.random.uniform(key, (2,)))
    ends = jaxgd.descend(cliff, optax.sgd(1.0), 300, key=jax.random.key(0))
    assert jaxgd.classify(cliff, ends).verdict_counts() == {"diverged": 300}


def test_judging_that_fails_leaves_ends_undecided_with_a_note_and_what_reports_progress_may_raise(ends, monkeypatch):
    some = ends[:4]

    def interrupt(done, total):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        jaxgd.points.classify_or_say_why(WELLS, some, progress=interrupt)

    def fail(*args, **kw):
        raise MemoryError("too large")

    monkeypatch.setattr(classify_room, "judge_in_full", fail)
    points = jaxgd.points.classify_or_say_why(WELLS, some)
    assert points.verdict_counts() == {"undecided": 4}
    assert points.reason_counts() == {"judging_failed": 4}
    assert points.notes == ("judging failed, MemoryError: too large",)
