"""Quenches of 13 Lennard-Jones atoms: jaxgd, vmapped loops by hand and of optimistix, pele's C++, SIMD in C.

The starts are jaxgd's own, most with overlapping atoms. Descents end where the gradient's norm is at most
1e-4 (1e-3 in float32). `converged` is judged for all alike, from the ends that they return; `near_minimum`
is the share of them whose value lies within 1e-6 of that of the minimum they polish to, on a subsample. Slow
rivals get fewer of the starts.

The vmapped rivals descend the natural energy in ten lines, as their users do; those with "jaxgd's energy"
get jaxgd's own, row by row with its gradient by hand, so that only the loops differ. pele has its own in
C++.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgd
from experiments.benchmarks import rivals
from experiments.benchmarks.lennard_jones_gradient import LANDSCAPE, gradient_systems
from jaxgd import experiment
from jaxgd.experiment import System, WorkDone

TOLERANCE, TOLERANCE_FLOAT32, MAX_STEPS = 1e-4, 1e-3, 10_000
MAX_STEP = 0.1
SLACK = 1.05
"""Rounding of the gradient's norm, when it is computed once more in another order, in float32."""
NUM_POLISHED = 128
SAME = ", jaxgd's energy"


def natural_energy(x: jax.Array) -> jax.Array:
    """Returns the energy as anybody would write it."""
    apart = x[:, None] - x[None]
    same = jnp.eye(x.shape[0], dtype=x.dtype)
    near_6 = 1 / (jnp.sum(apart**2, axis=-1) + same) ** 3
    return 2 * jnp.sum((near_6**2 - near_6) * (1 - same))


NATURAL = jaxgd.Landscape(name="natural_lennard_jones", value=natural_energy, sample=LANDSCAPE.sample)


def measure(options: experiment.Options) -> experiment.Benchmark:
    """Returns quenches per second, and gradients per second of one core."""
    num_starts, num_slow = (512, 64) if options.quick else (4096, 512)
    repeats = 2 if options.quick else 7
    starts = np.asarray(jax.vmap(LANDSCAPE.sample)(jax.random.split(jax.random.key(0), num_starts)))
    num_devices = len(jax.devices())
    counts = sorted({1, min(2, num_devices), num_devices})
    cores = {count: f"{count} core{'s' * (count > 1)}" for count in counts}
    all_cores, pele_all = cores[num_devices], "pele L-BFGS, a process per core"

    def jaxgds(name: str, landscape: Any, starts: Any, num: int, tolerance: float = TOLERANCE) -> System:
        build = lambda: quenches(landscape, starts, num, tolerance)
        return System(name=f"jaxgd, {name}", build=build, work_done=judged(tolerance))

    def rival(name: str, build: Callable[[], rivals.Descend], starts: Any) -> System:
        return System(name=name, build=lambda: functools.partial(build(), starts), work_done=judged(TOLERANCE))

    pele = functools.partial(rivals.pele_lbfgs, TOLERANCE, MAX_STEPS)
    systems = [
        *(jaxgds(name, LANDSCAPE, starts, count) for count, name in cores.items()),
        jaxgds("natural energy", NATURAL, starts, num_devices),
        jaxgds("float32", LANDSCAPE, starts.astype(np.float32), num_devices, TOLERANCE_FLOAT32),
        jaxgds("float64 to 1e-3", LANDSCAPE, starts, num_devices, TOLERANCE_FLOAT32),
        *(rival(name, build, starts[:num_slow]) for name, build in slow_rivals().items()),
        rival("pele L-BFGS, 1 process", pele, starts),
        rival(pele_all, lambda: pele(experiment.num_cores()), starts),
    ]
    systems += gradient_systems(options.quick)

    race = experiment.race(systems, repeats=repeats)
    against = lambda rival, system=f"jaxgd, {all_cores}": race.ratio(system, rival)
    return experiment.Benchmark(
        name="lennard_jones",
        work=f"Quenches of {num_starts:,} random clusters of 13 Lennard-Jones atoms to gradient norm "
        f"{TOLERANCE:g} in float64; slow rivals get the first {num_slow}. {all_cores.capitalize()} for all "
        "where nothing else is said.",
        rows=race.rows,
        ratios={
            "vmap_optax_lbfgs": against("vmap optax.lbfgs"),
            "vmap_fire": against("vmap FIRE"),
            "vmap_optax_lbfgs_same_energy": against(f"vmap optax.lbfgs{SAME}"),
            "vmap_fire_same_energy": against(f"vmap FIRE{SAME}"),
            "vmap_optimistix_bfgs": against("vmap optimistix BFGS"),
            "pele_lbfgs": against("pele L-BFGS, 1 process", f"jaxgd, {cores[1]}"),
            "pele_lbfgs_all_cores": against(pele_all),
            "c_simd_gradient": against("gradient alone, C with SIMD", race.best("gradient alone, jaxgd")),
            "natural_over_pele": against(pele_all, "jaxgd, natural energy"),
            "float32_over_float64": against(f"jaxgd, {all_cores}", "jaxgd, float32"),
            "float32_over_float64_to_same_tolerance": against("jaxgd, float64 to 1e-3", "jaxgd, float32"),
            "two_cores_over_one": against("jaxgd, 1 core", "jaxgd, 2 cores") if num_devices > 1 else None,
        },
        packages=("optimistix", "pele"),
    )


def quenches(landscape: jaxgd.Landscape, starts: Any, num_devices: int, tolerance: float) -> Callable[[], Any]:
    """Returns the call that descends all starts with jaxgd."""
    optimizer = jaxgd.transforms.lbfgs(max_step=MAX_STEP)
    stop = jaxgd.Stop(gradient_norm=tolerance, max_steps=MAX_STEPS)
    how = {"key": jax.random.key(0), "stop": stop, "keep": ("params",), "engine": jaxgd.Engine(num_devices=num_devices)}
    return lambda: jaxgd.descend(landscape, optimizer, starts=starts, **how).params


def slow_rivals() -> dict[str, Callable[[], rivals.Descend]]:
    """Returns the vmapped rivals by name, each as a builder of (starts) -> ends."""

    def loop(optimizer: optax.GradientTransformation, evaluate: Any, **how: Any) -> rivals.Descend:
        run = rivals.vmap_while_loop(evaluate, optimizer, tolerance=TOLERANCE, max_steps=MAX_STEPS, **how)
        return lambda starts: run(starts, jax.random.split(jax.random.key(0), len(starts)))[0]

    found: dict[str, Callable[[], rivals.Descend]] = {}
    for energy, evaluate in (("", jax.value_and_grad(natural_energy)), (SAME, LANDSCAPE.evaluate)):
        lbfgs = functools.partial(loop, optax.lbfgs(), evaluate, has_line_search=True)
        fire = functools.partial(loop, rivals.fire(max_step=MAX_STEP), evaluate)
        found |= {f"vmap optax.lbfgs{energy}": lbfgs, f"vmap FIRE{energy}": fire}
    optimistix = lambda: rivals.vmap_optimistix_bfgs(natural_energy, TOLERANCE, MAX_STEPS)
    return {**found, "vmap optimistix BFGS": optimistix}


_gradient_norms = jax.jit(jax.vmap(lambda x: optax.tree.norm(LANDSCAPE.gradient(x))))


def judged(tolerance: float) -> Callable[[Any], WorkDone]:
    """Returns what was done, read from ends: how many, which share converged, and which lies at a minimum."""

    def work_done(ends: Any) -> WorkDone:
        norms = _gradient_norms(jnp.asarray(ends))
        some = jnp.asarray(ends[:NUM_POLISHED], float)
        points = jaxgd.classify(LANDSCAPE, some)
        drop = np.asarray(jax.vmap(LANDSCAPE.value)(some)) - np.asarray(points.value)
        is_near = (np.asarray(points.verdict) == jaxgd.Verdict.MINIMUM) & (np.abs(drop) <= 1e-6)
        return WorkDone(
            amount=len(ends),
            converged=float(np.mean(np.asarray(norms) <= SLACK * tolerance)),
            notes={"descents": len(ends), "near_minimum": float(np.mean(is_near))},
        )

    return work_done


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__))
