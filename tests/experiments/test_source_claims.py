"""That each verdict follows from the numbers at hand: other numbers, another verdict. Nothing is descended here."""

import importlib
import json

import numpy as np
import pytest

from experiments.claims import __main__ as runner
from jaxgd.base import InputValueError

RNG = np.random.default_rng(0)
N = 100
near = lambda middle, shape=N: middle + 0.01 * RNG.standard_normal(shape)


def judged(name, *data):
    return importlib.import_module(f"experiments.claims.{name}").judge(*data)


def t1_1():
    dims = (1, 3, 10, 30, 100, 300, 1000)
    costs = {"descent": {d: np.full(N, 10 * (d + 1)) for d in dims}, "grid": {}, "random search": {}}
    slow = costs | {"descent": {d: np.full(N, 10.0 + d**3) for d in dims}}
    found, lost = {"tang": np.ones(1000, bool)}, {"tang": RNG.uniform(size=1000) < 0.5}
    return {"conditional": (costs, lost), "refuted": (slow, lost)}, (costs, found)


def t1_2():
    starts = np.linspace(-8, 8, 2000)
    ends = np.where((starts > -1.7) & (starts < 5.2), 1.454204, -4.35641)
    module = importlib.import_module("experiments.claims.t1_2")
    by_step = lambda of: dict.fromkeys(module.STEPS, of)
    good = ([-4.356410], starts, by_step(ends), {"maximum": 2000})
    everywhere = by_step(np.full(2000, 1.454204))
    return {"supported": good, "refuted": ([-4.356410], starts, everywhere, {"maximum": 2000})}, None


def t1_3():
    cosine = RNG.uniform(-1, 1, (20, 30))
    seen = {"quotient": cosine, "cosine": cosine, "signs": near(1.5, 20)}
    one = RNG.standard_normal((4000, 10))
    cosines = {10: np.abs(one[:, 0]) / np.linalg.norm(one, axis=1)}
    steeper = seen | {"quotient": 1.5 * cosine}
    return {"supported": ({"a": seen}, cosines), "refuted": ({"a": steeper}, cosines)}, None


def t1_4():
    sizes = {"random": -0.5, "stratified": -0.7, "one class": 0.0}
    error = lambda: {
        (kind, size): 3.0 * size**law * np.exp(near(0, ())) for kind, law in sizes.items() for size in (1, 10, 40, 160)
    }
    errors, rates = [error() for _ in range(N)], dict.fromkeys((1, 4, 16, 64, 500), 0.1)
    losses = {1: near(0.1), 4: near(0.2), 16: near(0.3), 64: near(0.5), 500: near(2.0)}
    cheap = losses | {500: near(0.1)}
    best_in_the_middle = losses | {1: near(1.0)}
    return {"conditional": (errors, losses, rates), "refuted": (errors, cheap, rates)}, (
        errors,
        best_in_the_middle,
        rates,
    )


def t1_5():
    ticks, goal = np.arange(10_001), np.broadcast_to
    module = importlib.import_module("experiments.claims.t1_5")
    creep = {step: -np.pi + 2 / (step * np.maximum(ticks, 1)) + np.zeros((N, 1)) for step in module.STEPS}
    creep[1.0][0, 20] = -3.037861
    turn = module.TWO_CYCLE * (-1.0) ** ticks
    valley = {
        1.0: goal(turn, (N, 10_001)),
        0.1: goal(2.5 * 0.1**ticks, (N, 10_001)),
        0.01: goal(2.5 * 0.97**ticks, (N, 10_001)),
    }
    paths = {("x_plus_sin_x", s): p for s, p in creep.items()} | {
        ("straight_walled_valley", s): p for s, p in valley.items()
    }
    claim = judged("t1_5", paths, {"degenerate": N})
    assert claim.verdict == "refuted"  # as the article has it
    turning = judged("t1_5", paths | {("x_plus_sin_x", 1.0): valley[1.0]}, {"degenerate": N})
    assert [row.holds for row in claim.rows[:2]] == [False, False]
    assert turning.rows[0].holds is True
    return {"refuted": (paths, {"degenerate": N})}, None


def t1_6():
    ticks = np.arange(101)
    falling = np.stack([np.interp(ticks, [0, 10, 100], [1, 0.5537, 0.0274]), 1 / (1 + ticks)])
    paths = {"AdaGrad": falling, "RMSProp": falling[:, ::-1]}
    broken = {0.0: np.ones(24, bool), 1e-8: np.zeros(24, bool)}
    ahead, behind = [near(0.0), near(-1.0)], [near(0.0), near(1.0)]
    excess = dict.fromkeys("abcde", ahead)
    return {
        "supported": (excess, paths, broken),
        "conditional": (excess | {"e": behind}, paths, broken),
        "refuted": (excess | {"a": behind}, paths, broken),
    }, (excess, paths | {"AdaGrad": falling[:, ::-1]}, broken)


def t1_7():
    module = importlib.import_module("experiments.claims.t1_7")
    x = np.linspace(-1, 1, 11)
    bowl = np.broadcast_to(x[:, None] ** 2 + x**2, (12, 4, 11, 11))
    rough = bowl + 0.3 * RNG.standard_normal((12, 4, 11, 11))
    seen = {(d, k): rough if k == "plain" else bowl for d in (module.DEEP, module.SHALLOW) for k in module.KINDS}
    swapped = {(d, k): bowl if k == "plain" else rough for d, k in seen}
    losses = {key: near(1.0, 12) for key in seen}
    same = {"filter_normalised": np.stack([bowl[0, 0]] * 2), "whole_normalised": np.stack([bowl[0, 0], 9 * bowl[0, 0]])}
    no_better = seen | {(module.SHALLOW, k): bowl for k in module.KINDS}
    return {
        "supported": (seen, losses, same),
        "conditional": (no_better | {(module.SHALLOW, "residual"): rough}, losses, same),
        "refuted": (swapped, losses, same),
    }, (seen, losses, same | {"filter_normalised": same["whole_normalised"]})


def t2_1():
    rates = 0.01 / 2.0 ** np.arange(5)
    first, second = ({"a": (rates, np.exp(near(0, (N, 1))) * rates**order)} for order in (1, 2))
    module = importlib.import_module("experiments.claims.t2_1")
    settled = {"a": np.repeat(module.AROUND[:, None] < 1, 20, axis=1)}
    late = {"a": np.repeat(module.AROUND[:, None] < 1.02, 20, axis=1)}
    return {"supported": (first, settled), "refuted": (second, settled)}, (first, late)


def t2_2():
    falls = np.full((200, 50), 0.02)
    paths = {"a": (1 - np.cumsum(falls, axis=1), falls)}
    rising = {"a": (1 + np.cumsum(falls, axis=1), falls)}
    ends = {str(place): {"minimum": 200} for place in range(6)}
    return {
        "supported": (paths, ends),
        "conditional": (paths, ends | {"4": {"maximum": 30}}),
        "refuted": (paths, ends | {"3": {"maximum": 200}}),
    }, (rising, ends)


def t2_3():
    falls = np.full((N, 100), 0.01)
    paths = {"a": (1 - np.cumsum(falls, axis=1), falls)}
    sign = np.zeros((N, 5, 2))
    positions = {"sign": sign, 0.0: sign, 0.1: sign + 1.0, 0.3: sign + 2.0, 0.9: sign + 9.0}
    swing = 0.05 * (-1.0) ** np.arange(500) + np.zeros((N, 1))
    cycles = {"sign": swing, "RMSProp": swing}
    return {
        "supported": (paths, positions, cycles),
        "refuted": (paths, positions | {0.0: sign + 1e-3}, cycles),
    }, (paths, positions, cycles | {"RMSProp": 0 * swing})


def t2_4():
    arms = {"SGD": near(-3.0), "AdaGrad": near(-2.0), "RMSProp": near(-2.0)}
    cycles = {eps: np.full((N, 20), max(0.05 - eps, 0)) for eps in (1e-8, 0.01, 0.03, 0.06)}
    slope = np.sqrt(np.arange(2049.0))
    swinging = cycles | {0.06: np.full((N, 20), 1e-5)}
    ahead = {"a": arms | {"RMSProp": near(-4.0)}}
    supporting, tied = ({"a": arms}, swinging, slope), {"a": arms | {"RMSProp": arms["SGD"]}}
    assert judged("t2_4", tied, swinging, slope).verdict == "refuted"
    return {"supported": supporting, "refuted": ({"a": arms}, cycles, slope)}, (ahead, swinging, slope)


def t2_5():
    ends = {"known minimum": 0.40693, "gradient descent": 3.0, "M = 1": 3.2}
    paths = {name: np.full(11, end) for name, end in ends.items()} | {"slow": fall_by_law()}
    arms = {"known minimum": np.full(N, 1500), "noise": np.full(N, 300)}
    swapped = {"known minimum": arms["noise"], "noise": arms["known minimum"]}
    ticks = dict.fromkeys((1, 2, 4, 8), arms)
    return {
        "supported": (paths, ticks),
        "conditional": (paths, ticks | {1: swapped}),
        "refuted": (paths, ticks | {8: swapped}),
    }, (paths | {"M = 1": np.full(11, 0.4)}, ticks)


def fall_by_law():
    """Positions from 4 along which the quartic falls like exp(-t) in steps of 1e-4."""
    x = np.linspace(4, 3.2, 100_000)
    value = x * (x - 1) * (x - 3) ** 2 + 1.62276
    return np.interp(-np.log(value[0]) + 1e-4 * np.arange(1200), -np.log(value), x)


def t2_6():
    module = importlib.import_module("experiments.claims.t2_6")
    ends = {"without noise": {"saddle": 200}, "with noise": {"minimum": 200}}
    times = {0.25: near(module.passage(0.25, module.goal_of(0.25)))}
    rest, lower = np.where(np.arange(1000) < 868, 0.4, 3.0), np.full(1000, 500)
    stuck = np.where(np.arange(1000) < 500, -1, 500)
    return {
        "supported": (ends, times, rest, lower),
        "refuted": (ends | {"with noise": {"saddle": 200}}, times, rest, lower),
    }, (ends, {0.25: 2 * times[0.25]}, rest, stuck)


@pytest.mark.parametrize(
    "case",
    [t1_1, t1_2, t1_3, t1_4, t1_5, t1_6, t1_7, t2_1, t2_2, t2_3, t2_4, t2_5, t2_6],
    ids=lambda case: case.__name__,
)
def test_other_numbers_give_another_verdict(case):
    by_verdict, other = case()
    for verdict, data in by_verdict.items():
        claim = judged(case.__name__, *data)
        assert claim.verdict == verdict, str(claim)
        assert json.dumps(claim.to_json(), allow_nan=False)
        assert claim.name == case.__name__.upper().replace("_", ".")
        assert "data" not in claim.to_json()
    if other is not None:
        assert judged(case.__name__, *other).verdict != next(iter(by_verdict))


def test_the_law_of_first_passage_is_the_published_one():
    module = importlib.import_module("experiments.claims.t2_6")
    for temperature, published in ((0.25, 14.2777), (0.15, 29.5460), (0.10, 66.2686), (0.05, 729.6707)):
        assert module.passage(temperature, 1.0) == pytest.approx(published, rel=1e-5)


def test_every_claim_says_what_it_claims():
    names = runner.names()
    assert {"T1.1", "T1.7", "T2.1", "T2.6"} <= set(names)
    assert all(runner._sentence(name).endswith(".") for name in names if name[1] in "12")


def test_a_claim_that_fails_does_not_stop_the_rest_and_says_why(tmp_path):
    results = runner.run_all(["T9.9", "T9.8"], ["--quick"], tmp_path, jobs=2)
    assert [result["verdict"] for result in results] == ["failed", "failed"]
    assert "there is no claim T9.9" in results[0]["condition"]
    text = runner.overview(results)
    assert "2 failed" in text
    assert "T9.9" in runner.gallery(results, tmp_path, is_quick=True)


def test_gallery_shows_numbers_and_figures(tmp_path):
    claim = judged("t2_2", *t2_2()[0]["conditional"])
    (tmp_path / "T2.2.png").write_bytes(b"")
    page = runner.gallery([claim.to_json()], tmp_path, is_quick=False)
    assert "![T2.2](T2.2.png)" in page
    assert "| conditional |" in page
    assert "--quick" not in page
    assert page.count("\n| ") >= len(claim.rows)


@pytest.mark.parametrize("arguments", [["T7.7"], ["T1.1", "--all"], ["--all", "--jobs", "0"]])
def test_mistakes_are_refused_with_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        runner.main(arguments)
    assert stopped.value.code == 2
    assert "error" in capsys.readouterr().err


def test_without_arguments_it_lists_what_there_is(capsys):
    assert runner.main([]) == 0
    assert "T2.5" in capsys.readouterr().out


def test_equinox_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(importlib.import_module("sys").modules, "equinox", None)
    with pytest.raises(InputValueError, match="pip install equinox"):
        importlib.import_module("experiments.claims.equinox_network").digits_of_equinox()
