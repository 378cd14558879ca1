"""Gradients to convergence, and failures: jaxgd's optimizers and their models on twenty-one landscapes.

Everybody gets the same starts and stops at the first gradient whose norm is small enough; a descent that is not there
after 5,000 gradients has failed, and counts with these. A row's rate is the geometric mean over the landscapes of the
mean number of gradients; the numbers of each landscape, with the failures in brackets, stand beside it. Steps are
capped on Lennard-Jones clusters (0.1) and on the network (1) for the optimizers that have a cap.
"""

import math
import statistics
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize
from jax.flatten_util import ravel_pytree

import jaxgd
from experiments.benchmarks import rivals
from jaxgd import experiment
from jaxgd.experiment import Missing, System, Timed, WorkDone
from jaxgd.landscapes import (
    deep_linear,
    digits_mlp,
    gaussian_field,
    lennard_jones,
    long_valley,
    mueller_brown,
    rank_one_factorisation,
    rastrigin,
    rosenbrock,
    rugged_bowl,
    spherical_p_spin,
    styblinski_tang,
    two_layer_relu,
)

MAX_GRADIENTS = 5000
NUM_STARTS, NUM_SLOW = 8, 4  # of these, descents of the landscapes whose gradients take longest


class Case(NamedTuple):
    """A landscape, the gradient norm at which a descent of it has converged, and the longest step."""

    landscape: jaxgd.Landscape
    tolerance: float = 1e-6
    max_step: float | None = None
    num_starts: int = NUM_STARTS


class Spent(NamedTuple):
    """Gradients of each descent of a landscape, and whether it converged."""

    gradients: np.ndarray
    is_converged: np.ndarray


Solve = Callable[[Case, np.ndarray], Spent]
"""Maps a case and its flat starts to what was spent."""


def cases() -> dict[str, Case]:
    """Returns the landscapes by name."""
    return {
        "rosenbrock 2": Case(rosenbrock(dim=2)),
        "rosenbrock 30": Case(rosenbrock(dim=30)),
        "styblinski_tang 10": Case(styblinski_tang(dim=10)),
        "rastrigin 10": Case(rastrigin(dim=10)),
        "rugged_bowl 10": Case(rugged_bowl(10)),
        "mueller_brown": Case(mueller_brown()),
        "long_valley": Case(long_valley()),
        "rank_one_factorisation": Case(rank_one_factorisation()),
        "deep_linear 3": Case(deep_linear(3)),
        "gaussian_field 8": Case(gaussian_field(8)),
        "spherical_p_spin 20": Case(spherical_p_spin(20)),
        "two_layer_relu 6": Case(two_layer_relu(6, 6)),
        "lennard_jones 13": Case(lennard_jones(13), 1e-4, 0.1),
        "lennard_jones 38": Case(lennard_jones(38), 1e-4, 0.1, NUM_SLOW),
        "bowl 50, condition 1e4": Case(_around(np.zeros(50), 1.0, _bowl)),
        "powell singular": Case(_around([3, -1, 0, 1], 0.1, _powell_singular), 1e-5),
        "wood": Case(_around([-3, -1, -3, -1], 0.1, _wood)),
        "beale": Case(_around([1, 1], 0.1, _beale)),
        "trigonometric 20": Case(_around(np.full(20, 1 / 20), 0.02, _trigonometric)),
        "broyden tridiagonal 100": Case(_around(np.full(100, -1), 0.1, _broyden)),
        "digits network": Case(digits_mlp(), 1e-4, 1.0, NUM_SLOW),
    }


def measure(options: experiment.Options) -> experiment.Benchmark:
    """Returns gradients to convergence."""
    table = cases()
    if options.quick:
        table = {name: table[name] for name in ("rosenbrock 2", "beale")}
    solvers: dict[str, Solve] = {
        "jaxgd lbfgs": _by_jaxgd(lambda case: jaxgd.transforms.lbfgs(max_step=case.max_step)),
        "jaxgd lbfgs, 10 pairs": _by_jaxgd(lambda case: jaxgd.transforms.lbfgs(10, case.max_step)),
        "scipy L-BFGS-B": _by_scipy("L-BFGS-B", {"ftol": 0, "gtol": 0, "maxfun": 10**7, "maxiter": 10**7}),
        "optax lbfgs": _by_optax,
        "jaxgd nonlinear_cg": _by_jaxgd(lambda case: jaxgd.transforms.nonlinear_cg(1e-3)),
        "scipy CG": _by_scipy("CG", {"gtol": 0, "maxiter": 10**7}),
        "jaxgd fire": _by_jaxgd(lambda case: jaxgd.transforms.fire(max_step=case.max_step or 0.2)),
        "FIRE as published": _by_jaxgd(lambda case: rivals.fire(max_step=case.max_step or 0.2)),
    }
    systems = [_system(name, table, solve) for name, solve in solvers.items()]
    systems.append(System(name="pele L-BFGS", build=_no_pele, work_done=_judge, unit="gradients"))
    race = experiment.race(systems, repeats=1)
    pairs = {
        "lbfgs_over_scipy": ("jaxgd lbfgs", "scipy L-BFGS-B"),
        "lbfgs_10_over_scipy": ("jaxgd lbfgs, 10 pairs", "scipy L-BFGS-B"),
        "lbfgs_over_optax": ("jaxgd lbfgs", "optax lbfgs"),
        "nonlinear_cg_over_scipy": ("jaxgd nonlinear_cg", "scipy CG"),
        "fire_over_published": ("jaxgd fire", "FIRE as published"),
    }
    ratios: dict[str, Any] = {name: race.ratio(*pair) for name, pair in pairs.items()}
    if not options.quick:
        of = lambda system: float(race[system].notes["digits network"].split()[0])
        ratios["digits_network_over_scipy"] = of("jaxgd lbfgs, 10 pairs") / of("scipy L-BFGS-B")
    return experiment.Benchmark(
        name="gradients",
        work=f"Gradients to convergence on {len(table)} landscapes, {NUM_STARTS} starts each; a geometric mean.",
        rows=race.rows,
        ratios=ratios,
        packages=("pele",),
    )


def _system(name: str, table: dict[str, Case], solve: Solve) -> System:
    """Returns the participant; its counts are no times, so that one call is enough."""
    known: list[Timed] = []

    def call() -> Timed:
        if not known:
            found = {case: solve(table[case], _starts(table[case])) for case in table}
            each = [float(np.mean(spent.gradients)) for spent in found.values()]
            mean = math.exp(statistics.fmean(map(math.log, each)))
            known.append(Timed(result=found, seconds=mean, seconds_compile=0.0))
        return known[0]

    return System(name=name, build=lambda: call, work_done=_judge, unit="gradients")


def _judge(found: dict[str, Spent]) -> WorkDone:
    failures = {case: int(np.sum(~spent.is_converged)) for case, spent in found.items()}
    words = {
        case: f"{np.mean(spent.gradients):.1f}" + (f" ({failures[case]})" if failures[case] else "")
        for case, spent in found.items()
    }
    converged = np.concatenate([spent.is_converged for spent in found.values()])
    return WorkDone(amount=None, converged=float(np.mean(converged)), notes=words)


def _starts(case: Case) -> np.ndarray:
    """Returns (starts, dim), the same for all."""
    keys = jax.random.split(jax.random.key(3), case.num_starts)
    return np.asarray(jax.vmap(lambda key: ravel_pytree(case.landscape.sample(key))[0])(keys))


def _flat(case: Case) -> jaxgd.Landscape:
    """Returns the landscape of flat parameters."""
    unravel = ravel_pytree(case.landscape.sample(jax.random.key(0)))[1]
    sample = lambda key: ravel_pytree(case.landscape.sample(key))[0]
    return jaxgd.Landscape(value=lambda x: case.landscape.value(unravel(x)), sample=sample)


def _by_jaxgd(optimizer_of: Callable[[Case], optax.GradientTransformation]) -> Solve:
    def solve(case: Case, starts: np.ndarray) -> Spent:
        stop = jaxgd.Stop(gradient_norm=case.tolerance, max_steps=MAX_GRADIENTS - 1)
        ends = jaxgd.descend(_flat(case), optimizer_of(case), starts=starts, key=jax.random.key(0), stop=stop, keep=())
        is_converged = ends.status == jaxgd.Status.CONVERGED
        return Spent(np.where(is_converged, ends.num_steps + 1, MAX_GRADIENTS), is_converged)

    return solve


def _by_scipy(method: str, options: dict[str, Any]) -> Solve:
    class Over(Exception):
        """Enough gradients, or a small one."""

    def solve(case: Case, starts: np.ndarray) -> Spent:
        evaluate = jax.jit(jax.value_and_grad(_flat(case).value))

        def one(start: np.ndarray) -> tuple[int, bool]:
            count, norm = 0, math.inf

            def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
                nonlocal count, norm
                value, gradient = evaluate(x)
                count, norm = count + 1, float(np.linalg.norm(gradient))
                if norm <= case.tolerance or count >= MAX_GRADIENTS:
                    raise Over
                return float(value), np.asarray(gradient)

            try:
                with np.errstate(all="ignore"):
                    scipy.optimize.minimize(fun, start, jac=True, method=method, options=options)
            except Over:
                pass
            return (count, True) if norm <= case.tolerance else (MAX_GRADIENTS, False)

        counts, is_converged = zip(*map(one, starts), strict=True)
        return Spent(np.array(counts), np.array(is_converged))

    return solve


def _by_optax(case: Case, starts: np.ndarray) -> Spent:
    """Counts the evaluations of its line search, and the first one."""
    value, optimizer = _flat(case).value, optax.lbfgs()

    def body(carry: Any) -> Any:
        x, state, last, gradient, count = carry
        update, state = optimizer.update(gradient, state, x, value=last, grad=gradient, value_fn=value)
        count = count + jnp.asarray(optax.tree.get(state, "num_linesearch_steps"), count.dtype)
        return (
            optax.apply_updates(x, update),
            state,
            optax.tree.get(state, "value"),
            optax.tree.get(state, "grad"),
            count,
        )

    def one(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        goes_on = lambda carry: (jnp.linalg.norm(carry[3]) > case.tolerance) & (carry[4] < MAX_GRADIENTS)
        begin = (x, optimizer.init(x), *jax.value_and_grad(value)(x), jnp.ones((), jnp.int32))
        _, _, _, gradient, count = jax.lax.while_loop(goes_on, body, begin)
        return count, jnp.linalg.norm(gradient) <= case.tolerance

    counts, is_converged = map(np.asarray, jax.jit(jax.vmap(one))(starts))
    return Spent(np.where(is_converged, counts, MAX_GRADIENTS), is_converged)


def _no_pele() -> Callable[[], Any]:
    try:
        import pele  # noqa: F401
    except ImportError as error:
        raise Missing(str(error)) from error
    raise Missing("its L-BFGS takes only potentials of its own.")


# ------------------------------------------------------------------------------------------ test functions


def _around(middle: Any, spread: float, value: Callable[[jax.Array], jax.Array]) -> jaxgd.Landscape:
    middle = np.asarray(middle, float)
    return jaxgd.Landscape(value=value, sample=lambda key: middle + spread * jax.random.normal(key, middle.shape))


def _bowl(x: jax.Array) -> jax.Array:
    return jnp.sum(jnp.logspace(0, 4, 50) * x**2) / 2


def _powell_singular(x: jax.Array) -> jax.Array:
    return (x[0] + 10 * x[1]) ** 2 + 5 * (x[2] - x[3]) ** 2 + (x[1] - 2 * x[2]) ** 4 + 10 * (x[0] - x[3]) ** 4


def _wood(x: jax.Array) -> jax.Array:
    valleys = 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2 + 90 * (x[3] - x[2] ** 2) ** 2 + (1 - x[2]) ** 2
    return valleys + 10 * (x[1] + x[3] - 2) ** 2 + 0.1 * (x[1] - x[3]) ** 2


def _beale(x: jax.Array) -> jax.Array:
    return sum(((y - x[0] * (1 - x[1] ** i)) ** 2 for i, y in ((1, 1.5), (2, 2.25), (3, 2.625))), start=jnp.zeros(()))


def _trigonometric(x: jax.Array) -> jax.Array:
    number, cosine = jnp.arange(1, 21), jnp.cos(x)
    return jnp.sum((20 - jnp.sum(cosine) + number * (1 - cosine) - jnp.sin(x)) ** 2)


def _broyden(x: jax.Array) -> jax.Array:
    before, after = jnp.pad(x[:-1], (1, 0)), jnp.pad(x[1:], (0, 1))
    return jnp.sum(((3 - 2 * x) * x - before - 2 * after + 1) ** 2)


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__))
