"""Are valleys whose number and dimension are known counted right?

Nothing is declared to jaxgd: spheres, cylinders, a hyperbola, factorisations U U' = M (U and its reflections, hence two
valleys of dimension r (r - 1) / 2), deep linear networks, least squares with more parameters than data, phase retrieval
(a phase is free: a circle), and Thomson's sixteen charges on a sphere, where the length of each vector and three turns
are free. What was joined is shown; a count of valleys that were not shown to be connected is an upper bound, and every
number below is one that the theory gives exactly.
"""

import itertools
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxgd
from jaxgd import Landscape, Verdict, experiment
from jaxgd.experiment import Claim, Statistic

NUM_DESCENTS = 60
DIMS = (2, 3, 4, 5, 7, 10, 14, 20, 30, 40, 50)
CAMBRIDGE = (92.91165530, 92.92035396)
"""Energies of the two minima of sixteen charges (Wales and Ulker 2006; Cambridge Cluster Database)."""

NUM_CHARGES = 16
NUM_THOMSON = 200


class Known(NamedTuple):
    """A landscape whose lowest minima are known."""

    name: str
    landscape: Landscape
    num_valleys: int
    dimension: int
    source: str


def _normal(*shape: int) -> Any:
    return lambda key: jax.random.normal(key, shape)


def _sphere(dim: int) -> Known:
    value = lambda x: (jnp.sum(x**2) - 1) ** 2
    return Known(
        f"sphere in {dim} dimensions", Landscape(value=value, sample=_normal(dim)), 1, dim - 1, "a sphere is connected"
    )


def _cylinder(dim: int) -> Known:
    value = lambda x: (jnp.sum(x[:2] ** 2) - 1) ** 2
    return Known(
        f"cylinder in {dim} dimensions", Landscape(value=value, sample=_normal(dim)), 1, dim - 1, "a circle times lines"
    )


def _factorisation(rank: int) -> Known:
    target = np.random.default_rng(rank).standard_normal((rank + 1, rank))
    target = target @ target.T
    value = lambda u: jnp.sum((u @ u.T - target) ** 2) / 4
    return Known(
        f"U U' = M, {rank} columns",
        Landscape(value=value, sample=_normal(rank + 1, rank)),
        2,
        rank * (rank - 1) // 2,
        "rotations and reflections",
    )


def _deep_linear(widths: tuple[int, ...], num_valleys: int) -> Known:
    """Returns a product of matrices, of which the sign of each determinant is kept if no unit is to spare."""
    draw = np.random.default_rng(len(widths))
    target = draw.standard_normal((widths[0], widths[-1])) + np.eye(widths[0])
    shapes = list(itertools.pairwise(widths))

    def sample(key: Any) -> Any:
        return [
            jax.random.normal(each, shape)
            for each, shape in zip(jax.random.split(key, len(shapes)), shapes, strict=True)
        ]

    def value(params: Any) -> Any:
        product = params[0]
        for matrix in params[1:]:
            product = product @ matrix
        return jnp.sum((product - target) ** 2) / 2

    dimension = sum(a * b for a, b in shapes) - target.size
    name = "deep linear network " + "-".join(map(str, widths))
    return Known(name, Landscape(value=value, sample=sample), num_valleys, dimension, "signs of the determinants")


def _least_squares() -> Known:
    draw = np.random.default_rng(1)
    matrix, target = draw.standard_normal((5, 8)), draw.standard_normal(5)
    value = lambda w: jnp.sum((matrix @ w - target) ** 2) / 2
    return Known("least squares, 5 data, 8 parameters", Landscape(value=value, sample=_normal(8)), 1, 3, "the kernel")


def _phase_retrieval(dim: int) -> Known:
    draw = np.random.default_rng(dim)
    sensors = draw.standard_normal((40, dim, 2)) @ np.array([1, 1j])
    signal = draw.standard_normal((dim, 2)) @ np.array([1, 1j])
    seen = np.abs(sensors @ signal) ** 2

    def value(z: Any) -> Any:
        real = sensors.real @ z[0] - sensors.imag @ z[1]
        imaginary = sensors.real @ z[1] + sensors.imag @ z[0]
        return jnp.mean((real**2 + imaginary**2 - seen) ** 2) / 4

    return Known(
        f"phase retrieval, {dim} complex number{'s' * (dim > 1)}",
        Landscape(value=value, sample=_normal(2, dim)),
        1,
        1,
        "a phase is free",
    )


def _hyperbola() -> Known:
    value = lambda x: (x[0] * x[1] - 1) ** 2 / 2
    return Known("hyperbola u v = 1", Landscape(value=value, sample=_normal(2)), 2, 1, "two branches")


def problems(*, is_quick: bool) -> list[Known]:
    """Returns what is counted."""
    dims = (2, 10) if is_quick else DIMS
    small = [_hyperbola(), _factorisation(2), _least_squares(), _phase_retrieval(1), _deep_linear((2, 2, 2), 2)]
    if is_quick:
        return [_sphere(dim) for dim in dims] + [_cylinder(3), *small]
    return [
        *(_sphere(dim) for dim in dims),
        *(_cylinder(dim) for dim in dims),
        *small,
        _factorisation(3),
        _factorisation(4),
        _phase_retrieval(2),
        _deep_linear((2, 3, 2), 1),
        _deep_linear((1, 1, 1, 1), 4),
        _deep_linear((2, 2, 2, 2), 4),
    ]


def count(known: Known, num_descents: int) -> jaxgd.Catalogue:
    """Returns the catalogue of one landscape."""
    found = jaxgd.survey(
        known.landscape,
        "lbfgs:max_step=1.0",
        num_descents,
        key=jax.random.key(0),
        stop=jaxgd.Stop(gradient_norm=1e-9, max_steps=5_000),
    )
    return found.catalogue


def thomson() -> Landscape:
    """Returns the energy of charges on a sphere, as a function of vectors of any length."""
    upper = np.triu_indices(NUM_CHARGES, 1)

    def value(x: Any) -> Any:
        unit = x / jnp.linalg.norm(x, axis=1, keepdims=True)
        return jnp.sum(1 / jnp.linalg.norm(unit[upper[0]] - unit[upper[1]], axis=1))

    return Landscape(value=value, sample=_normal(NUM_CHARGES, 3))


def measure(options: experiment.Options) -> Claim:
    """Returns the number and dimension of the lowest valleys of each landscape."""
    rows: list[Statistic] = []
    wrong_dimensions = 0
    dimensions: list[tuple[str, int, int]] = []
    for known in problems(is_quick=options.quick):
        found = count(known, NUM_DESCENTS)
        lowest = (found.verdict == int(Verdict.MINIMUM)) & (found.value < found.value.min() + 1e-9)
        own = found.dimension[lowest]
        wrong_dimensions += int(np.sum(own != known.dimension))
        dimensions.append((known.name, known.dimension, int(own[0]) if len(own) else -1))
        rows.append(
            experiment.exactly(
                f"{known.name}: valleys",
                int(lowest.sum()),
                expected=known.num_valleys,
                source=known.source,
                num_descents=NUM_DESCENTS,
            )
        )
        experiment.note(f"{known.name}: {int(lowest.sum())} of dimension {own.tolist()}, {found.verdicts}")
    rows.append(experiment.exactly("valleys of another dimension than theory says", wrong_dimensions, expected=0))

    num_thomson = 30 if options.quick else NUM_THOMSON
    landscape = thomson()
    ends = jaxgd.descend(
        landscape,
        jaxgd.transforms.lbfgs(max_step=0.3),
        num_thomson,
        key=jax.random.key(1),
        stop=jaxgd.Stop(gradient_norm=1e-7, max_steps=5_000),
    )
    points = jaxgd.classify(landscape, ends, in_full=True)
    is_minimum = points.verdict == int(Verdict.MINIMUM)
    expected = NUM_CHARGES + 3
    rows.append(
        experiment.exactly(
            f"{NUM_CHARGES} charges: minima of another dimension than {expected}",
            int(np.sum(points.dimension[is_minimum] != expected)),
            expected=0,
            num_descents=num_thomson,
            source="a length for each, three turns",
        )
    )
    values = np.unique(np.round(np.asarray(points.value)[is_minimum], 7))
    rows.append(
        experiment.exactly(
            f"{NUM_CHARGES} charges: values of minima",
            len(values),
            expected=len(CAMBRIDGE),
            num_descents=num_thomson,
            source="Cambridge Cluster Database",
        )
    )
    for value, published in zip(values, CAMBRIDGE, strict=False):
        rows.append(
            experiment.exactly(f"{NUM_CHARGES} charges: value", value, error=1e-7, expected=published, tolerance=5e-9)
        )
    return Claim(
        name="valleys.known",
        claim="Valleys of known number and dimension are counted right, with nothing declared.",
        rows=rows,
        data={"dimensions": dimensions, "rows": rows, "hyperbola": _on_hyperbola()},
    )


def _on_hyperbola() -> tuple[np.ndarray, np.ndarray]:
    """Returns (places, valley of each) on the two branches of the hyperbola."""
    known = _hyperbola()
    found = jaxgd.survey(known.landscape, "lbfgs:max_step=1.0", 200, key=jax.random.key(2))
    entry = found.catalogue.entry
    return np.asarray(found.points.params)[entry >= 0], entry[entry >= 0]


def figure(result: Claim) -> Any:
    """Returns dimensions found beside those known, and the two branches of the hyperbola."""
    drawn, (left, right) = experiment.panels("Valleys have the right dimension; a count is an upper bound")
    dimensions = np.array([pair[1:] for pair in result.data["dimensions"]])
    most = dimensions.max() + 1
    left.plot([0, most], [0, most], color="0.7", lw=1)
    left.plot(dimensions[:, 0], dimensions[:, 1], "o", ms=5, mfc="none")
    left.set(xlabel="dimension of the valley, by theory", ylabel="found", title=f"{len(dimensions)} landscapes")
    places, valley = result.data["hyperbola"]
    for number in np.unique(valley):
        some = valley == number
        right.plot(*places[some].T, ".", ms=4, label=f"valley {number + 1}: {some.sum()} ends")
    right.set(xlim=(-4, 4), ylim=(-4, 4), xlabel="u", ylabel="v", title="u v = 1: two valleys of dimension 1")
    right.legend(fontsize=8)
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
