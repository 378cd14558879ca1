"""How long a person waits: from the command to the printed answer, the first time and the second.

Every call is a process of its own. The first time there is nothing in the cache of compiled programs; the second
command of a session finds what the first one has left there. A row's rate is the CPU seconds of the whole process,
which a busy machine changes least; beside it stand what a clock on the wall showed in the warm-up and where that went:
the import, tracing, compiling (the descents, the verdicts and all else; in threads side by side, so that these may add
up to more than the wait) and running the descents. The rest is judging, cataloguing and printing.

By hand and by scipy there is no verdict: they stop at the ends, or at the best of them.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxgd import experiment
from jaxgd.experiment import Missing, System, Timed, WorkDone

ROOT = Path(__file__).parents[2]
FIRST, SECOND = "first time", "second time"

OWN_FILE = """
import jax, jax.numpy as jnp, jaxgd
mine = jaxgd.Landscape(
    value=lambda p: jnp.sum((p["a"] ** 2 - 1) ** 2) + p["b"] ** 2 * jnp.sum(p["a"] ** 2 + 0.1),
    sample=lambda key: {"a": jax.random.normal(key, (4,)), "b": jnp.ones(())},
)
"""
JOBS = {
    "Styblinski-Tang, d=4": "styblinski_tang --param dim=4 --optimizer sgd:learning_rate=0.005 --starts 10000",
    "a file of one's own": "{own}:mine --optimizer sgd:learning_rate=0.05 --starts 1000",
    "Lennard-Jones 13": "lennard_jones --param num_atoms=13 --starts 4096",
    "Lennard-Jones 38": "lennard_jones --param num_atoms=38 --starts 256",
    "digits network": "digits_mlp --starts 50",
}
QUICK = ("a file of one's own",)

# Runs a command of jaxgd in this process, and says last, on standard error, where its seconds went.
PROBE = """
import json, sys, threading, time
began = time.perf_counter()
import jax
from jaxgd import cli
spent = {"import": time.perf_counter() - began, "trace": 0.0, "compile descents": 0.0, "compile verdicts": 0.0}
spent["compile all else"] = 0.0
names = {"jit(_advance)": "compile descents", "jit(_through_the_steps)": "compile verdicts"}
turn = threading.Lock()
def listen(event, seconds, fun_name="", **_):
    part = event.rpartition("/")[2]
    if part == "backend_compile_duration":
        name = names.get(fun_name, "compile all else")
    elif part in ("jaxpr_trace_duration", "jaxpr_to_mlir_module_duration"):
        name = "trace"
    else:
        return
    with turn:
        spent[name] += seconds
jax.monitoring.register_event_duration_secs_listener(listen)
cli.main(sys.argv[1:], standalone_mode=False)
print(json.dumps(spent), file=sys.stderr)
"""

BY_HAND = """
import jax, jax.numpy as jnp, optax
jax.config.update("jax_enable_x64", True)
{function}
value_and_grad = jax.value_and_grad(value)
def one(key):
    x = sample(key)
    def body(carry):
        x, state, last, grad, step = carry
        update, state = optimizer.update(grad, state, x, value=last, grad=grad, value_fn=value)
        return x + update, state, *value_and_grad(x + update), step + 1
    goes_on = lambda carry: (jnp.linalg.norm(carry[3]) > tolerance) & (carry[4] < 20_000)
    x, _, last, grad, _ = jax.lax.while_loop(goes_on, body, (x, optimizer.init(x), *value_and_grad(x), 0))
    return last, jnp.linalg.norm(grad)
values, norms = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), {num_starts}))
print(float(jnp.mean(norms <= tolerance)), float(values.min()))
"""
STYBLINSKI_TANG = """
value = lambda x: jnp.sum(x**4 - 16 * x**2 + 5 * x) / 2
sample = lambda key: jax.random.uniform(key, (4,), minval=-5, maxval=5)
optimizer, tolerance = optax.with_extra_args_support(optax.sgd(5e-3)), 1e-8
"""
LENNARD_JONES = """
from experiments.benchmarks.rivals import fire
def value(x):
    apart = x[:, None] - x[None]
    same = jnp.eye(13)
    near_6 = 1 / (jnp.sum(apart**2, axis=-1) + same) ** 3
    return 2 * jnp.sum((near_6**2 - near_6) * (1 - same))
sample = lambda key: jax.random.uniform(key, (13, 3), minval=-2, maxval=2)
optimizer, tolerance = fire(max_step=0.1), 1e-4
"""
BASIN_HOPPING = """
import numpy as np, scipy.optimize
def energy(x):
    x = x.reshape(13, 3)
    apart = x[:, None] - x[None]
    square = np.sum(apart**2, axis=-1) + np.eye(13)
    near_6 = (1 - np.eye(13)) / square**3
    slope = (-48 * near_6**2 + 24 * near_6) / square
    return 2 * np.sum(near_6**2 - near_6), np.sum(slope[:, :, None] * apart, axis=1).ravel()
start = np.random.default_rng(0).uniform(-2, 2, 39)
how = {"jac": True, "method": "L-BFGS-B"}
found = scipy.optimize.basinhopping(energy, start, niter=NUM_HOPS - 1, minimizer_kwargs=how, rng=0)
print(1.0, found.fun)
"""
NUM_HOPS = 200
NUM_BY_HAND = 1000  # Lennard-Jones clusters


def measure(options: experiment.Options) -> experiment.Benchmark:
    """Returns CPU seconds of whole processes."""
    jobs = {name: words for name, words in JOBS.items() if not options.quick or name in QUICK}
    systems = []
    for name, words in jobs.items():
        systems += [ours(f"jaxgd, {name}, {FIRST}", words, False), ours(f"jaxgd, {name}, {SECOND}", words, True)]
    imports = "importing jaxgd"
    systems.append(process(imports, [sys.executable, "-c", "import jaxgd, jaxgd.cli"], {}))
    if not options.quick:
        by_hand = lambda function, num: [sys.executable, "-c", BY_HAND.format(function=function, num_starts=num)]
        hops = BASIN_HOPPING.replace("NUM_HOPS", str(NUM_HOPS))
        systems += [
            process("by hand, Styblinski-Tang, d=4", by_hand(STYBLINSKI_TANG, 10_000), {"descents": 10_000}),
            process("by hand, Lennard-Jones 13", by_hand(LENNARD_JONES, NUM_BY_HAND), {"descents": NUM_BY_HAND}),
            process("scipy basin hopping, Lennard-Jones 13", [sys.executable, "-c", hops], {"descents": NUM_HOPS}),
            System(name="pele, Lennard-Jones 13", build=pele, work_done=work_done, unit="CPU seconds"),
        ]
    race = experiment.race(systems, repeats=1 if options.quick else 3)
    ratios: dict[str, Any] = {}
    base = race[imports].rate
    for name in jobs:
        first, second = f"jaxgd, {name}, {FIRST}", f"jaxgd, {name}, {SECOND}"
        ratios[f"second_over_first_{name}"] = race.ratio(second, first)
        seconds = race[second].rate
        ratios[f"second_cpu_seconds_beyond_import_{name}"] = None if seconds is None or base is None else seconds - base
        if f"by hand, {name}" in {row.system for row in race.rows}:
            ratios[f"first_over_by_hand_{name}"] = race.ratio(first, f"by hand, {name}")
    return experiment.Benchmark(
        name="first_answer",
        work="From the command to the printed catalogue: whole processes, with nothing compiled and the second time.",
        rows=race.rows,
        ratios=ratios,
        packages=("pele",),
    )


def work_done(result: Any) -> WorkDone:
    """Returns what a process printed and spent as notes of its row."""
    return WorkDone(amount=None, converged=result["converged"], notes=result["notes"])


def ours(name: str, words: str, is_second: bool) -> System:
    """Returns a command of jaxgd, the first or the second time in a session."""

    def build() -> Callable[[], Timed]:
        kept = tempfile.TemporaryDirectory()
        own = Path(kept.name) / "own.py"
        own.write_text(OWN_FILE)
        command = [sys.executable, "-c", PROBE, "survey", *words.format(own=own).split(), "--json"]
        call = lambda: _ours(command, kept.name if is_second else None)
        call.kept = kept  # type: ignore[attr-defined] # as long as the call
        if is_second:
            call()
        return call

    return System(name=name, build=build, work_done=work_done, unit="CPU seconds")


def _ours(command: list[str], cache: str | None) -> Timed:
    with tempfile.TemporaryDirectory() as empty:
        timed, out, err = _timed(command, {"XDG_CACHE_HOME": cache or empty})
    found, spent = json.loads(out), json.loads(err.splitlines()[-1])
    spent["run"] = found["cost"]["seconds_run"]
    notes = {**timed, **{name: round(seconds, 2) for name, seconds in spent.items()}}
    converged = found["status"].get("converged", 0) / found["num_descents"]
    return Timed(result={"converged": converged, "notes": notes}, seconds=timed["cpu"], seconds_compile=0.0)


def process(name: str, command: list[str], notes: dict[str, Any]) -> System:
    """Returns a command of somebody else, which prints the share that converged and the lowest value."""

    def call() -> Timed:
        timed, out, _ = _timed(command, {})
        converged = float(out.split()[0]) if out else None
        return Timed(result={"converged": converged, "notes": timed | notes}, seconds=timed["cpu"], seconds_compile=0.0)

    return System(name=name, build=lambda: call, work_done=work_done, unit="CPU seconds")


def pele() -> Callable[[], Timed]:
    """Returns the same with pele, where it is installed."""
    try:
        import pele  # noqa: F401
    except ImportError as error:
        raise Missing(str(error)) from error
    code = (
        "import numpy as np; from experiments.benchmarks.rivals import pele_lbfgs;"
        "starts = np.random.default_rng(0).uniform(-2, 2, (4096, 13, 3)); pele_lbfgs(1e-4, 10_000)(starts); print(1.0)"
    )
    return process("", [sys.executable, "-c", code], {"descents": 4096}).build()


def _timed(command: list[str], environment: dict[str, str]) -> tuple[dict[str, float], str, str]:
    """Returns wall and CPU seconds of a command, and what it printed."""
    before, began = _cpu_seconds(), time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment})
    wall = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"this failed: {command}\n{done.stderr}")
    return {"wall": round(wall, 2), "cpu": round(_cpu_seconds() - before, 2)}, done.stdout, done.stderr


def _cpu_seconds() -> float:
    """Returns CPU seconds of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__))
