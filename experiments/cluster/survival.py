"""Does a run survive kill -9 at random moments, each followed by `jaxgd resume`, and how much is done twice?"""

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from experiments.cluster.commands import SURVEY, blocks, finish, num_unlike, start
from jaxgd import experiment


def measure(options: experiment.Options) -> experiment.Claim:
    """Kills runs at random moments and compares what becomes of them with an undisturbed one."""
    num_rounds, num_starts, block = (3, 8_192, 1_024) if options.quick else (20, 65_536, 2_048)
    rng = random.Random(0)
    num_unequal = num_rewritten = num_lost = most_lost = num_partial = 0
    with tempfile.TemporaryDirectory() as place:
        words = [*SURVEY, "--starts", num_starts, "--block", block, "--out"]
        whole = Path(place) / "whole"
        seconds = _seconds_after_beginning(start(*words, whole), whole)
        for number in range(num_rounds):
            run = Path(place) / f"run {number}"
            process = start(*words, run)
            _wait_for(process, run, rng.randrange(num_starts // block))
            time.sleep(rng.uniform(0, seconds * block / num_starts))
            process.kill()
            process.wait()
            before = blocks(run)
            under_way = {path.name.partition(".claim")[0] for path in run.glob("block-*.claim")}
            lost = len(under_way - set(before))
            finish(start("resume", run))
            after = blocks(run)
            num_partial += 0 < len(before) < len(after)
            num_lost, most_lost = num_lost + lost, max(most_lost, lost)
            num_rewritten += sum(after[name] != before[name] for name in before)
            num_unequal += num_unlike(run, whole) > 0
            litter = [path.name for path in run.iterdir() if path.name.startswith(".") or path.name.endswith(".claim")]
            experiment.note(
                f"round {number}: {len(before)} of {len(after)} blocks at the kill, {lost} lost, litter {litter}"
            )
    row = lambda text, count, **claim: experiment.Statistic(
        statistic=text, measured=count, low=count, high=count, num_descents=num_rounds * num_starts, **claim
    )
    return experiment.Claim(
        name="survival",
        claim="A run that is killed at any moment and resumed ends with the same bits, and loses at most one block.",
        rows=[
            row("resumed runs that differ from the undisturbed one", num_unequal, expected=0, source="the same bits"),
            row("blocks written twice", num_rewritten, expected=0, source="what is kept stays"),
            row("most blocks lost by a kill", most_lost, expected=1, relation="at_most", source="the block under way"),
            row("rounds", num_rounds),
            row("killed between its first block and its last", num_partial),
            row("blocks lost in all", num_lost),
        ],
    )


def _wait_for(process: "subprocess.Popen[bytes]", run: Path, num_blocks: int = 0) -> None:
    """Waits until a run has begun and has some blocks; what comes before, start and compilation, leaves nothing."""
    while process.poll() is None and not ((run / "manifest.json").exists() and len(blocks(run)) >= num_blocks):
        time.sleep(0.01)


def _seconds_after_beginning(process: "subprocess.Popen[bytes]", run: Path) -> float:
    """Returns how long a run takes from its manifest to its end."""
    _wait_for(process, run)
    began = time.perf_counter()
    finish(process)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__))
