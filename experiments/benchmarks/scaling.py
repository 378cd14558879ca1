"""What a descent costs as starts, dimensions and lanes grow, and how much memory it takes.

Gradient descent on the Styblinski-Tang function. Each number of starts runs in a process of its own, so that
its peak of memory is its own: `counted` keeps only how often each value was met, `catalogue` judges the ends
by curvature and keeps their catalogue alone. Dimensions share out a fixed number of coordinates.
Lanes are those that step together on a core.
"""

import contextlib
import functools
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import jaxgd
from jaxgd import experiment
from jaxgd.experiment import System, Timed, WorkDone

ROOT = Path(__file__).parents[2]
DIM = 10
OPTIMIZER = optax.sgd(0.005)
STOP = jaxgd.Stop(gradient_norm=1e-8, max_steps=20_000)


def measure(options: experiment.Options) -> experiment.Benchmark:
    """Returns rates and peaks of memory."""
    quick = options.quick
    counts = (100, 1_000) if quick else (1_000, 10_000, 100_000, 1_000_000)
    dims = (1, 10, 100) if quick else (1, 10, 100, 1_000, 10_000)
    lanes = (1, 64) if quick else (1, 4, 16, 64, 256, 1024, 4096)
    num_coordinates = 2**12 if quick else 2**20
    kinds = ("counted", "catalogue")

    processes = [in_own_process(kind, count) for kind in kinds for count in counts]
    own = experiment.race(processes, repeats=1 if quick else 2)
    inside = [in_this_process(f"{dim:,} dimensions", dim, num_coordinates, None) for dim in dims]
    inside += [in_this_process(f"{count:,} lanes on a core", DIM, num_coordinates, count) for count in lanes]
    here = experiment.race(inside, repeats=2 if quick else 5)

    ratios: dict[str, Any] = {}
    for kind in kinds:
        most, fewer = own[name_of(kind, counts[-1])], own[name_of(kind, counts[-2])]
        ratios[f"rate_{kind}_{counts[-1]}_over_{counts[-2]}"] = own.ratio(most.system, fewer.system)
        ratios[f"peak_gigabytes_{kind}_{counts[-1]}"] = most.notes["peak_gigabytes"]
    return experiment.Benchmark(
        name="scaling",
        work=f"Gradient descents of the Styblinski-Tang function to gradient norm {STOP.gradient_norm:g} in "
        f"float64 on all cores; {DIM} dimensions where nothing else is said.",
        rows=(*own.rows, *here.rows),
        ratios=ratios,
    )


def in_this_process(name: str, dim: int, num_coordinates: int, num_lanes: int | None) -> System:
    """Returns descents of so many coordinates in all."""
    num_starts = max(num_coordinates // dim, 4)
    landscape = jaxgd.landscapes.styblinski_tang(dim=dim)
    call = functools.partial(jaxgd.descend, landscape, OPTIMIZER, num_starts, keep=(), **_how(num_lanes))

    def work_done(ends: jaxgd.Ends) -> WorkDone:
        share = ends.status_counts().get("converged", 0) / num_starts
        notes = {"descents": num_starts, "occupancy": ends.cost.occupancy, "lanes": ends.cost.num_lanes}
        return WorkDone(amount=ends.cost.ticks * dim, converged=share, notes=notes)

    return System(name=name, build=lambda: call, work_done=work_done, unit="coordinates/s")


def _how(num_lanes: int | None = None) -> dict[str, Any]:
    engine = jaxgd.Engine(num_lanes=num_lanes, num_devices=len(jax.devices()))
    return {"key": jax.random.key(0), "stop": STOP, "engine": engine}


# ---------------------------------------------------------------------------------- in a process of its own


def name_of(kind: str, num_starts: int) -> str:
    """Returns what the row is called."""
    return f"{num_starts:,} starts, {kind}"


def in_own_process(kind: str, num_starts: int) -> System:
    """Returns descents in a process of their own, timed there, without compiling."""
    code = f"from experiments.benchmarks.scaling import child; child({kind!r}, {num_starts})"

    def call() -> Timed:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{name_of(kind, num_starts)} failed:\n{done.stderr}")
        found = json.loads(done.stdout)
        return Timed(result=found, seconds=found["seconds"], seconds_compile=found["seconds_compile"])

    def work_done(found: dict[str, Any]) -> WorkDone:
        notes = {name: found[name] for name in ("peak_gigabytes", "num_found")}
        return WorkDone(amount=num_starts, converged=found["converged"], notes=notes)

    return System(name=name_of(kind, num_starts), build=lambda: call, work_done=work_done)


def child(kind: str, num_starts: int) -> None:
    """Does the work, and prints its time and its peak of memory as JSON."""
    experiment.start_jax()
    landscape = jaxgd.landscapes.styblinski_tang(dim=DIM)
    began = time.perf_counter()
    if kind == "counted":
        values: Counter[float] = Counter()
        status: Counter[str] = Counter()
        for part in jaxgd.stream(landscape, OPTIMIZER, num_starts, keep=(), **_how()):
            values.update(np.round(part.value, 6).tolist())
            status.update(part.status_counts())
            cost = part.cost
        converged, num_found = status["converged"], len(values)
    else:
        found = jaxgd.survey(landscape, OPTIMIZER, num_starts, keep="catalogue", **_how())
        converged, num_found = found.statuses["converged"], len(found.catalogue)
        cost = found.cost
    seconds = time.perf_counter() - began - cost.seconds_compile
    answer = {"seconds": seconds, "seconds_compile": cost.seconds_compile, "num_found": num_found}
    answer |= {"converged": converged / num_starts, "peak_gigabytes": peak_memory() / 1e9}
    print(json.dumps(answer))


def peak_memory() -> int:
    """Returns the most bytes that this process has held at once.

    On Linux from the kernel's own mark: `getrusage` also counts what the parent held when it began this.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__))
