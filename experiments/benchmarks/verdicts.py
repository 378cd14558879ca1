"""What verdicts cost beside the descents that they judge, and what grouping saves.

Descents are those of `jaxgd survey` with a landscape's own optimizer, stop rule and starts. Styblinski-Tang's 100,000
ends in ten dimensions lie at 1,024 minima, one in a hundred; the 4,096 of thirteen Lennard-Jones atoms at some five
hundred, one in eight, and each of those is polished and proven by its whole Hessian. A descent is cheap: the minimum
of a Lennard-Jones cluster costs 130 gradients or so, its Hessian alone 39 products.
"""

import functools
import sys
from typing import Any

import jax
import numpy as np

import jaxgd
from jaxgd import experiment
from jaxgd.experiment import System, WorkDone
from jaxgd.names import find_optimizer

CONVERGED = int(jaxgd.Status.CONVERGED)
CASES: dict[str, tuple[jaxgd.Landscape, int]] = {
    "lennard_jones_13": (jaxgd.landscapes.lennard_jones(num_atoms=13), 4_096),
    "styblinski_tang_10": (jaxgd.landscapes.styblinski_tang(dim=10), 100_000),
}


def measure(options: experiment.Options) -> experiment.Benchmark:
    """Returns ends per second of descending, of judging in groups, and of judging each in full."""
    cases = {name: (landscape, num // 8 if options.quick else num) for name, (landscape, num) in CASES.items()}
    race = experiment.race(
        [system for name, case in cases.items() for system in systems_of(name, *case)],
        repeats=2 if options.quick else 9,
    )
    times = lambda slow, fast, name: race.ratio(f"{fast}, {name}", f"{slow}, {name}")
    return experiment.Benchmark(
        name="verdicts",
        work="; ".join(f"{num:,} ends of {name}" for name, (_, num) in cases.items()) + ". Ratios are of seconds.",
        rows=race.rows,
        ratios={
            **{f"verdicts_over_descents_{name}": times("verdicts", "descents", name) for name in cases},
            **{f"in_full_over_verdicts_{name}": times("in full", "verdicts", name) for name in cases},
        },
    )


def systems_of(name: str, landscape: jaxgd.Landscape, num_starts: int) -> list[System]:
    """Returns the descents, and the two ways to judge their ends."""
    optimizer = find_optimizer(landscape.default_optimizer)
    how: dict[str, Any] = {
        "key": jax.random.key(0),
        "stop": landscape.default_stop,
        "engine": jaxgd.Engine(num_devices=len(jax.devices())),
    }
    descend = lambda: jaxgd.descend(landscape, optimizer, num_starts, **how)
    ends = functools.cache(descend)

    def work_done(points: jaxgd.Points) -> WorkDone:
        found = jaxgd.catalogue(landscape, points)
        share = float(np.mean(points.is_critical()))
        return WorkDone(amount=len(points), converged=share, notes={"distinct": len(found), **points.verdict_counts()})

    return [
        System(
            name=f"descents, {name}",
            build=lambda: descend,
            work_done=lambda ends: WorkDone(amount=num_starts, converged=float(np.mean(ends.status == CONVERGED))),
        ),
        System(
            name=f"verdicts, {name}",
            build=lambda: lambda: jaxgd.classify(landscape, ends()),
            work_done=work_done,
            unit="ends/s",
        ),
        System(
            name=f"in full, {name}",
            build=lambda: lambda: jaxgd.classify(landscape, ends(), in_full=True),
            work_done=work_done,
            unit="ends/s",
        ),
    ]


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__))
