"""Does a run survive its processes? kill -9 at random moments, then `jaxgd resume`: nothing changes, little is redone."""

import random
import sys
import tempfile
import time
from pathlib import Path

from experiments.cluster.commands import SURVEY, finish, num_unlike, parts, start
from jaxgd import experiment


def measure(options: experiment.Options) -> experiment.Claim:
    """Kills runs at random moments and compares what becomes of them with an undisturbed one."""
    num_rounds, num_starts, block = (3, 8_192, 1_024) if options.quick else (20, 65_536, 2_048)
    rng = random.Random(0)
    num_unequal = num_rewritten = num_lost = most_lost = num_partial = num_begun = 0
    with tempfile.TemporaryDirectory() as place:
        words = [*SURVEY, "--starts", num_starts, "--block", block, "--out"]
        whole = Path(place) / "whole"
        began = time.perf_counter()
        finish(start(*words, whole))
        seconds = time.perf_counter() - began
        for number in range(num_rounds):
            run = Path(place) / f"run {number}"
            process = start(*words, run)
            time.sleep(rng.uniform(0, seconds))
            process.kill()
            process.wait()
            has_begun = (run / "manifest.json").exists()
            before = parts(run) if has_begun else {}
            under_way = (
                {path.name.partition(".claim")[0] for path in run.glob("part-*.claim-*")} if has_begun else set()
            )
            lost = len(under_way - set(before))
            finish(start("resume", run) if has_begun else start(*words, run))
            after = parts(run)
            num_begun += has_begun
            num_partial += 0 < len(before) < len(after)
            num_lost, most_lost = num_lost + lost, max(most_lost, lost)
            num_rewritten += sum(after[name] != before[name] for name in before)
            num_unequal += num_unlike(run, whole) > 0
            litter = [path.name for path in run.iterdir() if path.name.startswith(".") or ".claim-" in path.name]
            experiment.note(
                f"round {number}: {len(before)} of {len(after)} parts at the kill, {lost} lost, litter {litter}"
            )
    row = lambda text, count, **claim: experiment.Statistic(
        statistic=text, measured=count, low=count, high=count, num_descents=num_rounds * num_starts, **claim
    )
    return experiment.Claim(
        name="survival",
        claim="A run that is killed at any moment and resumed ends with the same bits, and loses at most one unit.",
        rows=[
            row("resumed runs that differ from the undisturbed one", num_unequal, expected=0, source="the same bits"),
            row("parts written twice", num_rewritten, expected=0, source="what is kept stays"),
            row("most units lost by a kill", most_lost, expected=1, relation="at_most", source="the unit under way"),
            row("rounds", num_rounds),
            row("killed after the run had begun", num_begun),
            row("killed between its first part and its last", num_partial),
            row("units lost in all", num_lost),
        ],
    )


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__))
