"""Thousands of descents on an accelerator, beside the cores of the same machine and beside a vmapped loop.

Gradient descent on the Styblinski-Tang function, quenches of thirteen Lennard-Jones atoms, a 3-spin glass of 40 spins
and a 64-16-10 network on 256 images of digits. `jaxgd, cores` does the same in a process that sees only the CPU. The
loop by hand, jit(vmap(while_loop)), is tried with several tiles and the best counts. `verdicts` judges the ends of the
clusters, on the accelerator and on the cores. Values of the ends are compared with those of the cores.

Without an accelerator the rows that need one say so.
"""

import functools
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax

import jaxgd
from experiments.benchmarks.rivals import in_tiles, vmap_while_loop
from jaxgd import experiment
from jaxgd.experiment import System, Timed, WorkDone
from jaxgd.experiment.races import Missing


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is descended, how, how far and how often; `tolerance` 0 means a fixed number of steps."""

    landscape: Callable[[], jaxgd.Landscape]
    optimizer: Callable[[], Any]
    tolerance: float = 0.0
    max_steps: int
    num_starts: int


WORKS = {
    "styblinski_tang 10": Work(
        landscape=lambda: jaxgd.landscapes.styblinski_tang(dim=10),
        optimizer=lambda: optax.sgd(0.005),
        tolerance=1e-8,
        max_steps=20_000,
        num_starts=2**18,
    ),
    "lennard_jones 13": Work(
        landscape=lambda: jaxgd.landscapes.lennard_jones(num_atoms=13),
        optimizer=lambda: jaxgd.transforms.lbfgs(max_step=0.1),
        tolerance=1e-4,
        max_steps=10_000,
        num_starts=2**16,
    ),
    "3-spin 40": Work(
        landscape=lambda: jaxgd.landscapes.spherical_p_spin(40),
        optimizer=lambda: optax.sgd(0.05),
        max_steps=200,
        num_starts=2**14,
    ),
    "digits 16": Work(
        landscape=lambda: jaxgd.landscapes.digits_mlp((16,), num_images=256),
        optimizer=lambda: optax.sgd(0.1),
        max_steps=100,
        num_starts=2**12,
    ),
}
JUDGED, NUM_JUDGED = "lennard_jones 13", 2**14


def measure(options: experiment.Options) -> experiment.Benchmark:
    """Returns descents per second, and verdicts per second."""
    share, repeats = (64, 1) if options.quick else (1, 3)
    counts = {name: work.num_starts // share for name, work in WORKS.items()}
    tiles = (4_096,) if options.quick else (4_096, 65_536)
    cores = _on_the_cores()
    values: dict[str, np.ndarray] = {}

    def here(name: str) -> System:
        def build() -> Callable[[], Any]:
            _check_accelerator()
            return lambda: descents(name, counts[name])

        def work_done(ends: jaxgd.Ends) -> WorkDone:
            notes = {"lanes": ends.cost.num_lanes, "occupancy": ends.cost.occupancy}
            if name in values:
                notes["share_of_equal_values"] = float(np.mean(np.abs(ends.value - values[name]) < 1e-6))
            return WorkDone(amount=counts[name], converged=_share_converged(ends), notes=notes)

        return System(name=f"jaxgd, accelerator, {name}", build=build, work_done=work_done)

    def on_cores(name: str) -> System:
        def work_done(found: dict[str, Any]) -> WorkDone:
            values[name] = found["value"]
            return WorkDone(amount=counts[name], converged=found["converged"])

        call = lambda: cores(timed_descents, name, counts[name])
        return System(name=f"jaxgd, cores, {name}", build=lambda: call, work_done=work_done)

    def by_hand(name: str, tile: int) -> System:
        return System(
            name=f"vmap, accelerator, {name}, {tile:,} at a time",
            build=functools.partial(vmapped, WORKS[name], counts[name], tile),
            work_done=lambda ends: WorkDone(amount=counts[name]),
        )

    num_judged = NUM_JUDGED // share
    judged = [
        System(
            name="verdicts, cores",
            build=lambda: lambda: cores(timed_verdicts, num_judged),
            work_done=lambda found: WorkDone(amount=num_judged, notes=found["counts"]),
            unit="ends/s",
        ),
        System(
            name="verdicts, accelerator",
            build=lambda: _verdicts(num_judged),
            work_done=lambda points: WorkDone(amount=num_judged, notes=points.verdict_counts()),
            unit="ends/s",
        ),
    ]
    systems = [
        system
        for name in WORKS
        for system in (
            on_cores(name),
            here(name),
            *(by_hand(name, tile) for tile in tiles if tile == tiles[0] or tile <= counts[name]),
        )
    ]
    race = experiment.race([*systems, *judged], repeats=repeats)
    ratios: dict[str, Any] = {}
    for name in WORKS:
        short, ours = name.replace(" ", "_"), f"jaxgd, accelerator, {name}"
        ratios[f"cores_{short}"] = race.ratio(ours, f"jaxgd, cores, {name}")
        ratios[f"vmap_best_tile_{short}"] = race.ratio(ours, race.best(f"vmap, accelerator, {name}"))
    ratios["cores_verdicts"] = race.ratio("verdicts, accelerator", "verdicts, cores")
    return experiment.Benchmark(
        name="accelerator",
        work=f"Descents in float64 on {jax.devices()[0].device_kind} and on {experiment.num_cores()} cores: "
        + ", ".join(f"{counts[name]:,} of {name}" for name in WORKS)
        + f"; verdicts of {num_judged:,} ends of {JUDGED}.",
        rows=race.rows,
        ratios=ratios,
        packages=("scikit-learn",),
    )


# -------------------------------------------------------------------------------------------- here


@functools.cache
def _built(name: str) -> tuple[jaxgd.Landscape, Any]:
    work = WORKS[name]
    return work.landscape(), work.optimizer()


def descents(name: str, num_starts: int) -> jaxgd.Ends:
    """Returns the ends, from all devices that this process sees."""
    work, (landscape, optimizer) = WORKS[name], _built(name)
    stop = jaxgd.Stop(gradient_norm=work.tolerance or None, max_steps=work.max_steps)
    engine = jaxgd.Engine(num_devices=len(jax.devices()))
    return jaxgd.descend(
        landscape, optimizer, num_starts, key=jax.random.key(0), stop=stop, engine=engine, keep=("params",)
    )


def _verdicts(num_ends: int) -> Callable[[], jaxgd.Points]:
    _check_accelerator()
    ends = descents(JUDGED, num_ends)
    return lambda: jaxgd.classify(_built(JUDGED)[0], ends)


def vmapped(work: Work, num_starts: int, tile: int) -> Callable[[], Any]:
    """Returns the loop by hand."""
    _check_accelerator()
    landscape = work.landscape()
    keys = jax.random.split(jax.random.key(0), num_starts)
    starts = jax.vmap(landscape.sample)(keys)
    loop = vmap_while_loop(landscape.evaluate, work.optimizer(), tolerance=work.tolerance, max_steps=work.max_steps)
    return in_tiles(loop, tile, starts, keys)


def _share_converged(ends: jaxgd.Ends) -> float:
    return ends.status_counts().get("converged", 0) / len(ends)


def _check_accelerator() -> None:
    if jax.default_backend() == "cpu":
        raise Missing("there is no accelerator here")


# ------------------------------------------------------------------- in a process that sees only the CPU


def _on_the_cores() -> Callable[..., Timed]:
    """Returns a function that calls another one in that process."""
    before = os.environ.get("JAX_PLATFORMS")
    os.environ["JAX_PLATFORMS"] = "cpu"
    try:
        pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        pool.submit(experiment.start_jax).result()
    finally:
        os.environ.pop("JAX_PLATFORMS")
        if before is not None:
            os.environ["JAX_PLATFORMS"] = before
    return lambda function, *args: pool.submit(function, *args).result()


def timed_descents(name: str, num_starts: int) -> Timed:
    """Returns values of the ends, with the time of the descents."""
    began = time.perf_counter()
    ends = descents(name, num_starts)
    found = {"value": ends.value, "converged": _share_converged(ends)}
    return Timed(result=found, seconds=time.perf_counter() - began)


def timed_verdicts(num_ends: int) -> Timed:
    """Returns the number of each verdict, with the time of judging."""
    ends = _ends_of_the_judged(num_ends)
    began = time.perf_counter()
    points = jaxgd.classify(_built(JUDGED)[0], ends)
    return Timed(result={"counts": points.verdict_counts()}, seconds=time.perf_counter() - began)


@functools.cache
def _ends_of_the_judged(num_ends: int) -> jaxgd.Ends:
    return descents(JUDGED, num_ends)


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__))
