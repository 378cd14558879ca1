"""Can the end of a network of a million parameters be told to be a minimum, by Hessian-vector products alone?

A network of two hidden layers on all 1,797 digits, with a penalty of 0.1 on its weights, descended by L-BFGS from one
random start to a small gradient. Polish and verdict then see products only: Newton's steps from MINRES until the
gradient is rounding, and Lanczos for the lowest eigenvalue. That a minimum is one is certain but for a stated
probability that a direction of negative curvature, deeper than stated, was missed. The same is done for a network of
2,166 parameters, whose whole spectrum NumPy can compute: there the verdict, the index and the interval of the lowest
eigenvalue are checked.
"""

import sys
import time

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

import jaxgd
from jaxgd import experiment
from jaxgd.experiment import Claim, Statistic

SMALL, LARGE = (22, 22), (964, 964)
PENALTY = 0.1
STOP = jaxgd.Stop(gradient_norm=1e-6, max_steps=3_000)


def measure(options: experiment.Options) -> Claim:
    """Returns what was found of the small network, and of the large one unless quick."""
    rows = small()
    if not options.quick:
        rows += large()
    return Claim(
        name="verdicts.million",
        claim="The end of a network of a million parameters is polished until its gradient is rounding, and is told to "
        "be a minimum with an interval for its lowest eigenvalue, by Hessian-vector products alone.",
        rows=rows,
    )


def judged(widths: tuple[int, ...]) -> tuple[jaxgd.Landscape, jaxgd.Points, list[Statistic]]:
    """Returns a network, what its end is, and that told in rows."""
    landscape = jaxgd.landscapes.digits_mlp(widths, l2=PENALTY)
    began = time.perf_counter()
    ends = jaxgd.descend(landscape, jaxgd.transforms.lbfgs(), 1, key=jax.random.key(0), stop=STOP)
    descended = time.perf_counter()
    points = jaxgd.classify(landscape, ends)
    done = time.perf_counter()
    name = f"{sum(leaf[0].size for leaf in jax.tree.leaves(points.params)):,} parameters"
    is_minimum = int(points.verdict[0] == int(jaxgd.Verdict.MINIMUM))
    norm = float(points.gradient_norm[0])
    rows = [
        experiment.exactly(f"{name}: ends told to be minima", is_minimum, expected=1, source="a network at rest"),
        experiment.exactly(f"{name}: gradient norm after polish", norm, at_most=1e-12, source="rounding"),
        experiment.exactly(f"{name}: gradient norm at the end", float(ends.gradient_norm[0])),
        experiment.exactly(f"{name}: distance from the end", float(points.move[0])),
        experiment.exactly(f"{name}: curvature that may be missed", float(points.missed_curvature[0])),
        experiment.exactly(f"{name}: with probability", float(points.missed_probability[0])),
        experiment.exactly(f"{name}: seconds of the descent", descended - began),
        experiment.exactly(f"{name}: seconds of the verdict", done - descended),
    ]
    return landscape, points, rows


def small() -> list[Statistic]:
    """Returns what was told of the small network, index and lowest eigenvalue against the whole spectrum."""
    landscape, points, rows = judged(SMALL)
    x, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], points.params))
    gradient = lambda x: ravel_pytree(landscape.gradient(unravel(x)))[0]
    spectrum = np.linalg.eigvalsh(np.asarray(jax.jit(jax.jacfwd(gradient))(x)))
    name, judge = f"{x.size:,} parameters", {"source": "the whole spectrum"}
    lowest, error = float(points.lowest_eigenvalue[0]), float(points.eigenvalue_error[0])
    return [
        *rows,
        experiment.exactly(f"{name}: index", int(points.index[0]), expected=int(np.sum(spectrum < 0)), **judge),
        experiment.exactly(f"{name}: lowest eigenvalue", lowest, error=error, expected=float(spectrum[0]), **judge),
    ]


def large() -> list[Statistic]:
    """Returns what was told of the large network, its lowest eigenvalue among it."""
    _, points, rows = judged(LARGE)
    lowest, error = float(points.lowest_eigenvalue[0]), float(points.eigenvalue_error[0])
    row = "lowest eigenvalue of the network of a million"
    return [*rows, experiment.exactly(row, lowest, error=error, at_least=0.0, source="a minimum")]


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__))
