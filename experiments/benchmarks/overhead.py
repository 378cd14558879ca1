"""What jaxgd costs where there is little to do: to import, until the first result, and for each run.

Imports and first results are timed in processes of their own. The first result is that of 1,000 gradient
descents of the Styblinski-Tang function in two dimensions, from nothing to printed, beside the same by hand
in ten lines of jax. A run of one descent without a step costs checks, one visit of the host and the
gathering of ends.
"""

import functools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import optax

import jaxgd
from jaxgd import experiment
from jaxgd.experiment import System, Timed, WorkDone

ROOT = Path(__file__).parents[2]
SECONDS = functools.partial(System, unit="seconds", work_done=lambda result: WorkDone(amount=None))
EMPTY_RUN, VISIT = "a run of one descent without a step", "a visit of the host within it"
CLOCK = "import time; began = time.perf_counter(); {work}; print(time.perf_counter() - began)"
FIRST_RESULT = """
import jax, optax, jaxgd
landscape = jaxgd.landscapes.styblinski_tang(dim=2)
stop = jaxgd.Stop(gradient_norm=1e-4, max_steps=20_000)
ends = jaxgd.descend(landscape, optax.sgd(5e-3), 1000, key=jax.random.key(0), stop=stop)
print(ends.status_counts())
"""
BY_HAND = """
import jax, jax.numpy as jnp, optax
value_and_grad = jax.value_and_grad(lambda x: jnp.sum(x**4 - 16 * x**2 + 5 * x) / 2)
optimizer = optax.sgd(5e-3)
def one(key):
    x = jax.random.uniform(key, (2,), minval=-5, maxval=5)
    def body(carry):
        x, state, grad, step = carry
        update, state = optimizer.update(grad, state, x)
        return x + update, state, value_and_grad(x + update)[1], step + 1
    goes_on = lambda carry: (jnp.linalg.norm(carry[2]) > 1e-4) & (carry[3] < 20_000)
    return jax.lax.while_loop(goes_on, body, (x, optimizer.init(x), value_and_grad(x)[1], 0))[3]
print((jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 1000)) < 20_000).sum())
"""


def measure(options: experiment.Options) -> experiment.Benchmark:
    """Returns seconds."""
    systems = [
        SECONDS(name="import jax and optax", build=lambda: timed_inside(CLOCK.format(work="import jax, optax"))),
        SECONDS(
            name="import jaxgd beyond them",
            build=lambda: timed_inside("import jax, optax; " + CLOCK.format(work="import jaxgd")),
        ),
        SECONDS(name="first result, jaxgd", build=lambda: functools.partial(run, FIRST_RESULT)),
        SECONDS(name="first result, by hand", build=lambda: functools.partial(run, BY_HAND)),
        SECONDS(name=EMPTY_RUN, build=lambda: empty_run(time_of)),
        SECONDS(name=VISIT, build=lambda: empty_run(lambda run: run().cost.seconds_run)),
    ]
    race = experiment.race(systems, repeats=2 if options.quick else 9)
    visits = num_visits(2_000 if options.quick else 500_000)
    seconds_visit = race[VISIT].rate
    assert seconds_visit is not None
    return experiment.Benchmark(
        name="overhead",
        work="Next to nothing: imports, the first result from nothing, and a run without a step.",
        rows=race.rows,
        ratios={
            "seconds_import_beyond_jax_and_optax": race["import jaxgd beyond them"].rate,
            "first_result_over_by_hand": race.ratio("first result, jaxgd", "first result, by hand"),
            "visits_per_second_in_a_long_run": visits["visits"] / visits["seconds"],
            "share_of_a_long_run_spent_in_visits": visits["visits"] * seconds_visit / visits["seconds"],
        },
    )


def run(code: str) -> str:
    """Runs Python code in a process of its own and returns what it printed."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"this failed:\n{code}\n{done.stderr}")
    return done.stdout


def timed_inside(code: str) -> Callable[[], Timed]:
    """Returns the call that runs code which prints its own seconds."""
    return lambda: Timed(result=None, seconds=float(run(code)), seconds_compile=0.0)


def empty_run(seconds_of: Callable[[Callable[[], jaxgd.Ends]], float]) -> Callable[[], Timed]:
    """Returns the call that descends one start by no step, again and again."""
    landscape, optimizer = jaxgd.landscapes.styblinski_tang(dim=2), optax.sgd(5e-3)
    how: dict[str, Any] = {"key": jax.random.key(0), "stop": jaxgd.Stop(max_steps=0)}
    run = lambda: jaxgd.descend(landscape, optimizer, 1, **how)
    return lambda: Timed(result=None, seconds=statistics.median(seconds_of(run) for _ in range(20)))


def time_of(run: Callable[[], Any]) -> float:
    """Returns the wall time of a call."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def num_visits(num_starts: int) -> dict[str, float]:
    """Returns how often the host looked in during a long run, and how long that took."""
    visits: list[int] = []
    ends = jaxgd.descend(
        jaxgd.landscapes.styblinski_tang(dim=10),
        optax.sgd(5e-3),
        num_starts,
        key=jax.random.key(0),
        keep=(),
        engine=jaxgd.Engine(num_devices=len(jax.devices())),
        progress=lambda phase, done, asked: visits.append(done),
    )
    return {"visits": len(visits), "seconds": ends.cost.seconds_run}


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__))
