"""Does a run survive kill -9 at random moments, and how much is done twice?

Three kinds of runs are killed and continued, each compared with an undisturbed one: with a number of starts, continued
by `jaxgd resume`; with `--until`, continued by the same command; and one that two processes share, killed in turn while
the other one works on.
"""

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
    num_rounds, num_starts, block = (3, 8_192, 1_024) if options.quick else (30, 65_536, 2_048)
    rng = random.Random(0)
    num_unequal = {"resumed runs": 0, "repeated runs with --until": 0, "shared runs, killed in turn": 0}
    num_rewritten = num_lost = most_lost = num_partial = 0
    with tempfile.TemporaryDirectory() as place:
        words = [*SURVEY, "--starts", num_starts, "--block", block]
        looking = [*words, "--until", 0.0005]
        whole, looked = Path(place) / "whole", Path(place) / "looked"
        seconds = _seconds_after_beginning(start(*words, "--out", whole), whole)
        finish(start(*looking, "--out", looked))
        experiment.note(f"{len(blocks(whole))} blocks in {seconds:.1f} s, {len(blocks(looked))} with --until")

        for number in range(num_rounds):
            run = Path(place) / f"run {number}"
            is_looking = number % 3 == 2
            asked = [*(looking if is_looking else words), "--out", run]
            undisturbed = looked if is_looking else whole

            # killed at any moment between its first block and its last
            process = start(*asked)
            _wait_for(process, run, rng.randrange(len(blocks(undisturbed))))
            time.sleep(rng.uniform(0, seconds * block / num_starts))
            process.kill()
            process.wait()
            before = blocks(run)
            under_way = {path.name.partition(".claim")[0] for path in run.glob("block-*.claim")}
            lost = len(under_way - set(before))

            # continued
            finish(start(*asked) if is_looking else start("resume", run))
            after = blocks(run)
            num_partial += 0 < len(before) < len(after)
            num_lost, most_lost = num_lost + lost, max(most_lost, lost)
            num_rewritten += sum(after[name] != before[name] for name in before)
            kind = "repeated runs with --until" if is_looking else "resumed runs"
            num_unequal[kind] += num_unlike(run, undisturbed) > 0
            experiment.note(
                f"round {number}: {len(before)} of {len(after)} blocks at the kill, {lost} lost, litter {_litter(run)}"
            )

        # a tenth of the step, so that it takes longer than a process needs to start
        longer = [word.replace("=0.005", "=0.0005") if isinstance(word, str) else word for word in words]
        slow, shared = Path(place) / "slow", Path(place) / "shared"
        finish(start(*longer, "--out", slow))
        num_kills = _kill_in_turn([*longer, "--out", shared], shared, 2 if options.quick else 8, rng)
        num_unequal["shared runs, killed in turn"] += num_unlike(shared, slow) > 0
        experiment.note(f"two processes: {num_kills} kills in turn, litter {_litter(shared)}")

    row = lambda text, count, **claim: experiment.exactly(text, count, num_descents=num_rounds * num_starts, **claim)
    return experiment.Claim(
        name="survival",
        claim="A run that is killed at any moment and continued ends with the same bits, and loses at most one block.",
        rows=[
            *(
                row(f"{kind} that differ from the undisturbed one", count, expected=0, source="the same bits")
                for kind, count in num_unequal.items()
            ),
            row("blocks written twice", num_rewritten, expected=0, source="what is kept stays"),
            row("most blocks lost by a kill", most_lost, expected=1, relation="at_most", source="the block under way"),
            row("runs that one process was killed in", num_rounds),
            row("killed between its first block and its last", num_partial),
            row("blocks lost in all", num_lost),
            row("kills of two processes on one directory", num_kills),
        ],
    )


def _kill_in_turn(words: "list[object]", run: Path, num_kills: int, rng: random.Random) -> int:
    """Lets two processes share a run, kills one after the other, each replaced by a new one; returns the kills made."""
    processes = [start(*words, share=(number, 2)) for number in range(2)]
    num_made = 0
    for number in range(num_kills):
        _wait_for(processes[number % 2], run, len(blocks(run)) + 1)
        time.sleep(rng.uniform(0, 0.2))
        num_made += processes[number % 2].poll() is None
        processes[number % 2].kill()
        processes[number % 2].wait()
        processes[number % 2] = start(*words, share=(number % 2, 2))
    for process in processes:
        finish(process)
    return num_made


def _litter(run: Path) -> list[str]:
    """Returns what should not be left over in a finished run."""
    return [path.name for path in run.iterdir() if path.name.startswith(".") or path.name.endswith(".claim")]


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
