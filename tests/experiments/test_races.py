import json
import statistics

import pytest

from jaxgd.base import InputValueError
from jaxgd.experiment import Benchmark, Missing, System, Timed, WorkDone, race

KEYS = {"work", "rows", "ratios", "versions"}
ROW_KEYS = {"system", "rate", "unit", "converged", "seconds_compile"}


def system(name, seconds, amount=10.0, converged=1.0, log=None):
    """A system whose calls take the given seconds, the first one being the warm-up."""
    left = iter(seconds)

    def call():
        if log is not None:
            log.append(name)
        return Timed(result=name, seconds=next(left))

    work_done = lambda result: WorkDone(amount=amount, converged=converged, notes={"told": result})
    return System(name=name, build=lambda: call, work_done=work_done)


def absent(name, error):
    def build():
        raise error

    return System(name=name, build=build, work_done=lambda result: WorkDone(amount=1))


def test_benchmark_prints_the_object_of_the_contract():
    ours, rival = system("ours", [9, 1, 2, 4]), system("rival", [9, 10, 10, 10])
    run = race([ours, rival, absent("c++", Missing("there is no compiler"))], repeats=3)
    ratios = {"rival": run.ratio("ours", "rival"), "c++": run.ratio("ours", "c++"), "occupancy": 0.9}
    benchmark = Benchmark(name="test", work="adding", rows=run.rows, ratios=ratios, packages=("no-such-thing",))
    found = json.loads(json.dumps(benchmark.to_json(), allow_nan=False))
    assert found.keys() >= KEYS
    assert all(row.keys() >= ROW_KEYS for row in found["rows"])
    assert [row["rate"] for row in found["rows"]] == [5.0, 1.0, None]
    assert (found["rows"][0]["low"], found["rows"][0]["high"]) == (2.5, 10.0)
    assert found["ratios"] == {"rival": 5.0, "c++": None, "occupancy": 0.9}
    assert found["ratio_ranges"] == {"rival": [2.5, 10.0]}
    assert found["versions"]["no-such-thing"] == "not installed"
    assert found["rows"][0]["told"] == "ours"
    assert "there is no compiler" in str(benchmark)


@pytest.mark.parametrize("error", [ImportError("No module named 'pele'"), Missing("there is no gcc")])
def test_what_is_not_installed_has_no_rate_but_a_reason(error):
    row = race([absent("rival", error)], repeats=2)["rival"].to_json()
    assert row["rate"] is None
    assert row["converged"] is None
    assert row["reason"] == str(error)


def test_rate_is_the_median_and_the_warm_up_is_no_part_of_it():
    row = race([system("ours", [100, 1, 5, 2])], repeats=3)["ours"]
    assert row.rate == 10 / 2
    assert row.seconds_compile == 98
    assert row.converged == 1.0


def test_seconds_to_compile_are_those_that_the_system_tells():
    call = lambda: Timed(result=None, seconds=3.0, seconds_compile=7.0)
    told = System(name="told", build=lambda: call, work_done=lambda result: WorkDone(amount=None))
    row = race([told], repeats=2)["told"]
    assert (row.seconds_compile, row.rate) == (7.0, 3.0)  # no amount: the rate is the seconds themselves


def test_systems_take_turns_and_each_begins_a_round():
    log = []
    race([system(name, [1] * 4, log=log) for name in "abc"], repeats=3)
    assert "".join(log) == "abc" + "abc" + "bca" + "cab"


def test_ratio_is_one_of_medians_and_ranges_over_rounds():
    run = race([system("ours", [1, 1, 2, 3]), system("rival", [1, 9, 4, 6])], repeats=3)
    ratio = run.ratio("ours", "rival")
    assert ratio.value == statistics.median([9, 4, 6]) / statistics.median([1, 2, 3])
    assert (ratio.low, ratio.high) == (2.0, 9.0)


def test_best_is_the_fastest_of_a_family_and_skips_what_did_not_run():
    family = [system("tile 1", [1, 3]), system("tile 8", [1, 2]), absent("tile 64", Missing("too large"))]
    run = race([*family, system("other", [1, 1])], repeats=1)
    assert run.best("tile") == "tile 8"
    assert race([family[2]], repeats=1).best("tile") == "tile 64"


def test_wall_time_is_measured_where_the_call_does_not_tell():
    sums = System(name="sum", build=lambda: lambda: sum(range(1000)), work_done=lambda n: WorkDone(amount=n))
    assert race([sums], repeats=2)["sum"].rate > 499_500  # it took less than a second


def test_figure_has_a_line_for_each_system_that_ran():
    pytest.importorskip("matplotlib")
    run = race([system("ours", [1, 1, 2]), absent("rival", Missing("no"))], repeats=2)
    figure = Benchmark(name="test", work="adding", rows=run.rows).figure()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["ours"]


def test_no_rounds_are_refused():
    with pytest.raises(InputValueError, match="`repeats` must be at least 1, got 0"):
        race([], repeats=0)
