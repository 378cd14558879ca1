"""Gradient descent on sums of one function over the coordinates, from 2 to 1,000 of them.

Rastrigin (a cosine for each coordinate) and Styblinski-Tang (a few products), to gradient norm 1e-6 in
float64: jaxgd against `jit(vmap(while_loop))` of all starts at once. Little is to be gained where descents
are of equal length and each coordinate is dear: the share of time that is not the gradient's shows here.
"""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgd
from experiments.benchmarks.rivals import vmap_while_loop
from jaxgd import experiment
from jaxgd.experiment import System, WorkDone

DIMS = (2, 10, 100, 1000)
STOP = jaxgd.Stop(gradient_norm=1e-6, max_steps=20_000)
BUILDERS = {"rastrigin": jaxgd.landscapes.rastrigin, "styblinski_tang": jaxgd.landscapes.styblinski_tang}
LEARNING_RATES = {"rastrigin": 0.002, "styblinski_tang": 0.005}


def measure(options: experiment.Options) -> experiment.Benchmark:
    """Returns descents per second for each function and dimension."""
    num_coordinates, repeats = (2**12, 2) if options.quick else (2**20, 5)
    systems, names = [], []
    for function in BUILDERS:
        for dim in DIMS:
            num_starts = max(num_coordinates // dim, 16)
            systems += race_of_two(function, dim, min(num_starts, 2**16))
            names.append(f"{function}_{dim}")
    race = experiment.race(systems, repeats=repeats)
    return experiment.Benchmark(
        name="separable",
        work=f"Gradient descents to gradient norm {STOP.gradient_norm:g}, about {num_coordinates:,} "
        f"coordinates in all (at most {2**16:,} starts), float64.",
        rows=race.rows,
        ratios={f"vmap_{name}": race.ratio(f"jaxgd, {name}", f"vmap, {name}") for name in names},
    )


def race_of_two(function: str, dim: int, num_starts: int) -> list[System]:
    """Returns jaxgd and the loop by hand."""
    landscape = BUILDERS[function](dim=dim)
    optimizer = optax.sgd(LEARNING_RATES[function])
    keys = jax.random.split(jax.random.key(0), num_starts)
    starts = np.asarray(jax.vmap(landscape.sample)(keys))
    how = {
        "key": jax.random.key(0),
        "stop": STOP,
        "keep": ("params",),
        "engine": jaxgd.Engine(num_devices=len(jax.devices())),
    }
    value_and_grad = jax.value_and_grad(landscape.value)
    by_hand = vmap_while_loop(value_and_grad, optimizer, tolerance=STOP.gradient_norm, max_steps=STOP.max_steps)

    def work_done(ends: jax.Array) -> WorkDone:
        norms = jax.jit(jax.vmap(lambda x: optax.tree.norm(jax.grad(landscape.value)(x))))(jnp.asarray(ends))
        share = float(np.mean(np.asarray(norms) <= 1.05 * STOP.gradient_norm))
        return WorkDone(amount=num_starts, converged=share, notes={"descents": num_starts})

    name = f"{function}_{dim}"
    call = lambda: jaxgd.descend(landscape, optimizer, starts=starts, **how).params
    return [
        System(name=f"jaxgd, {name}", build=lambda: call, work_done=work_done),
        System(
            name=f"vmap, {name}",
            build=lambda: functools.partial(by_hand, starts, keys),
            work_done=lambda ends: work_done(ends[0]),
        ),
    ]


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__))
