"""Are the bits the same for any number of processes and devices, and what do more processes give on these cores?"""

import sys
import tempfile
import time
from pathlib import Path

from experiments.cluster.commands import SURVEY, blocks, finish, num_unlike, start
from jaxgd import experiment


def measure(options: experiment.Options) -> experiment.Claim:
    """Runs one survey by 1, 2, 4 and 8 processes of 1 and 2 devices."""
    num_starts, block = (16_384, 1_024) if options.quick else (200_000, 4_096)
    settings = [(1, 1), (2, 1)] if options.quick else [(1, 1), (2, 1), (4, 1), (8, 1), (1, 2), (2, 2), (4, 2)]
    words = [*SURVEY, "--starts", num_starts, "--block", block]
    rows, seconds = [], {}
    with tempfile.TemporaryDirectory() as place:
        first = Path(place) / "1 1"
        for num_processes, num_devices in settings:
            run = Path(place) / f"{num_processes} {num_devices}"
            processes = [
                start(*words, "--devices", num_devices, "--out", run, share=(number, num_processes))
                for number in range(num_processes)
            ]
            while not blocks(run):  # all have begun, more or less
                time.sleep(0.01)
            began = time.perf_counter()
            while len(blocks(run)) < num_starts / block:
                time.sleep(0.01)
            seconds[num_processes, num_devices] = time.perf_counter() - began
            for process in processes:
                finish(process)
            what = f"{num_processes} processes of {num_devices} devices"
            experiment.note(f"{what}: {num_starts / seconds[num_processes, num_devices]:,.0f} descents per second")
            unlike = num_unlike(run, first)
            rows.append(
                experiment.Statistic(
                    statistic=f"arrays unlike those of one process, {what}",
                    measured=unlike,
                    low=unlike,
                    high=unlike,
                    expected=0,
                    source="the same bits",
                    num_descents=num_starts,
                )
            )
    for (num_processes, num_devices), time_taken in seconds.items():
        if num_devices == 1:
            ratio = seconds[1, 1] / time_taken
            rows.append(
                experiment.Statistic(
                    statistic=f"rate of {num_processes} processes over one on {experiment.num_cores()} cores",
                    measured=ratio,
                    low=ratio,
                    high=ratio,
                    num_descents=num_starts,
                )
            )
    return experiment.Claim(
        name="processes",
        claim="A run holds the same bits whatever the number of its processes and devices.",
        rows=rows,
    )


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__))
