"""Is a singular point ever called a valley, and a valley ever counted wrongly, at any bend and in any unit?

A thousand random polynomials in three variables, each a sum of powers 0, 2, 3 and 4 of sheared coordinates, so that
what their critical point is can be read off: isolated, on a valley, or singular. A wrong answer is a dimension that is
not the true one; -1, unknown, is none. Then valleys y = b sin(x / b) bent at scales b from 1e-3 to 1e3 of the start
law's length, in units of value and of length from 1e-12 to 1e12 and 1e-6 to 1e6, in float64 and float32; and bad
input: a valley with an edge, one that runs to infinity, two that touch, a ReLU valley whose dimension changes.
"""

import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxgd
from jaxgd import Landscape, experiment
from jaxgd.experiment import Claim, Statistic

NUM_POLYNOMIALS = 1_024
BENDS = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)
UNITS = ((1e-12, 1.0), (1e12, 1.0), (1.0, 1e-6), (1.0, 1e6))  # of value and of length
NUM_ENDS, OFF = 24, 1e-7


def sheared(x: Any, shear: Any) -> Any:
    """Returns the coordinates in which a random polynomial is a sum: a polynomial map that has an inverse."""
    first, second, third = x
    second = second + shear[0] * third**2 + shear[1] * third
    return jnp.stack([first + shear[2] * second * third + shear[3] * second**2, second, third])


def polynomials(num: int, dtype: Any) -> tuple[Landscape, np.ndarray, np.ndarray]:
    """Returns a landscape of random polynomials, a place beside each one's critical point, and its true dimension.

    Two further coordinates say which polynomial it is; the value changes along them in steps only.
    """
    side = int(num**0.5)
    num, draw = side**2, np.random.default_rng(7)
    power = draw.choice([0, 2, 2, 3, 4], size=(num, 3))
    power[:, 0] = np.where((power == 0).all(axis=1), 2, power[:, 0])
    sign = draw.choice([-1.0, 1.0], size=(num, 3)) * draw.uniform(0.5, 2, (num, 3))
    shear = draw.uniform(-0.5, 0.5, (num, 4))
    weight = np.stack([np.where(power == k, sign, 0) for k in (2, 3, 4)], axis=1)

    def value(x: Any) -> Any:
        which = jnp.clip(jnp.round(x[3:] * side), 0, side - 1).astype(jnp.int32)
        number = which[0] * side + which[1]
        y = sheared(x[:3], jnp.asarray(shear, x.dtype)[number])
        return jnp.sum(jnp.asarray(weight, x.dtype)[number] * jnp.stack([y**2, y**3, y**4]))

    place = np.where(power == 0, draw.uniform(-0.5, 0.5, (num, 3)), 0)
    place[:, 0] -= shear[:, 2] * place[:, 1] * place[:, 2] + shear[:, 3] * place[:, 1] ** 2
    place[:, 1] -= shear[:, 0] * place[:, 2] ** 2 + shear[:, 1] * place[:, 2]
    is_singular = (power > 2).any(axis=1)
    place += np.where(is_singular, 1e-9, 1e-5)[:, None] * draw.standard_normal(place.shape)
    number = np.arange(num)
    index = np.stack([number // side, number % side], axis=1) / side
    dimension = np.where(is_singular, -1, (power == 0).sum(axis=1) + 2)
    sample = lambda key: jnp.pad(jax.random.normal(key, (3,), dtype), (0, 2), constant_values=0.5)
    return Landscape(value=value, sample=sample), np.concatenate([place, index], axis=1).astype(dtype), dimension


def counted(
    value: Callable[[Any], Any], places: Any, *, length: float = 1.0, dtype: Any = jnp.float64
) -> tuple[jaxgd.Points, jaxgd.Catalogue]:
    """Returns what places are, moved a little first as ends of descents are, and the catalogue of them."""
    places = places + OFF * length * np.random.default_rng(9).standard_normal(np.shape(places))
    places = jnp.asarray(places, dtype)
    draw = lambda key: jnp.asarray(length, dtype) * jax.random.normal(key, places.shape[1:], dtype)
    landscape = Landscape(value=value, sample=draw)
    points = jaxgd.classify(landscape, places)
    return points, jaxgd.catalogue(landscape, points)


def measure(options: experiment.Options) -> Claim:
    """Returns how many answers are wrong, and how many are not told."""
    rows: list[Statistic] = []
    for dtype in (jnp.float64,) if options.quick else (jnp.float64, jnp.float32):
        own = f"random polynomials, {jnp.dtype(dtype).name}"
        landscape, places, known = polynomials(100 if options.quick else NUM_POLYNOMIALS, dtype)
        points = jaxgd.classify(landscape, jnp.asarray(places))
        is_told = points.dimension >= 0
        is_wrong = is_told & (points.dimension != known)
        rows.append(
            experiment.exactly(
                f"{own}: called valleys or isolated wrongly", int(is_wrong.sum()), expected=0, num_descents=len(known)
            )
        )
        rows.append(experiment.share(f"{own}: of those that are not singular, told", is_told[known >= 0]))

    told: dict[str, list[tuple[float, float]]] = {"float64": [], "float32": []}
    draw = np.random.default_rng(0)
    t = draw.uniform(-2, 2, NUM_ENDS)
    for name, dtype in (("float64", jnp.float64), ("float32", jnp.float32)):
        wrong = too_few = not_said = 0
        for bend in (1e-2, 1.0, 1e2) if options.quick else BENDS:
            value = lambda x, bend=bend: (x[1] - bend * jnp.sin(x[0] / bend)) ** 2
            points, found = counted(value, np.stack([t, bend * np.sin(t / bend)], axis=1), dtype=dtype)
            is_told = points.dimension >= 0
            wrong += int(np.sum(is_told & (points.dimension != 1)))
            valleys = found.dimension == 1
            too_few += int(valleys.sum() < 1 and is_told.any())
            not_said += int(valleys.sum() > 1 and found.num_unjoined < valleys.sum())
            told[name].append((bend, float(is_told.mean())))
            experiment.note(f"{name}, bend {bend:g}: {valleys.sum()} valleys, {is_told.mean():.2f} told")
        rows += [
            experiment.exactly(f"bent valleys, {name}: wrong dimensions", wrong, expected=0, num_descents=NUM_ENDS),
            experiment.exactly(
                f"bent valleys, {name}: counted as several, which is not said to be an upper bound",
                not_said,
                expected=0,
            ),
        ]

    # Units change nothing.
    t = np.exp(draw.uniform(-1, 1, NUM_ENDS)) * np.where(np.arange(NUM_ENDS) % 3 == 0, -1, 1)
    places = np.stack([t, 1 / t], axis=1)
    for height, length in UNITS:
        value = lambda x, height=height, length=length: height * (x[0] * x[1] / length**2 - 1) ** 2 / 2
        found = counted(value, length * places, length=length)[1]
        own = f"hyperbola, value times {height:g}, length times {length:g}"
        rows.append(experiment.exactly(f"{own}: valleys", len(found), expected=2, num_descents=NUM_ENDS))
    bad, circles = _bad_input()
    rows += bad
    return Claim(
        name="valleys.singular",
        claim="No singular point is called a valley, no valley has a wrong dimension, and what is counted as several "
        "is said to be an upper bound; at any bend and in any unit.",
        rows=rows,
        data={"told": told, "circles": circles},
    )


def _bad_input() -> tuple[list[Statistic], tuple[np.ndarray, np.ndarray]]:
    """Returns how many wrong answers there are where the words of the theory hardly apply.

    The second part is (places, row of the catalogue of each) on two circles that touch.
    """
    line = np.linspace(-1.5, 1.5, NUM_ENDS)
    flat = np.stack([line, np.zeros(NUM_ENDS)], axis=1)

    # name, value, places, where the valley has dimension 1, number of valleys at least
    edge = lambda x: x[1] ** 2 + jnp.maximum(x[0], 0.0) ** 4
    away = lambda x: x[1] ** 2 + 0 * x[0]
    circles = lambda x: ((x[0] - 1) ** 2 + x[1] ** 2 - 1) ** 2 * ((x[0] + 1) ** 2 + x[1] ** 2 - 1) ** 2
    relu = lambda x: (jnp.maximum(x[0], 0.0) * x[1]) ** 2
    angle = np.linspace(0.3, 2 * np.pi - 0.3, NUM_ENDS // 2)
    side = np.stack([-np.cos(angle) + 1, np.sin(angle)], axis=1)
    touching = np.concatenate([side, -side])
    on_axis = np.stack([np.abs(line) + 0.1, np.zeros(NUM_ENDS)], axis=1)
    cases = [
        ("valley with an edge", edge, flat[flat[:, 0] < -0.1], 1),
        ("valley that runs to infinity", away, flat, 1),
        ("two circles that touch", circles, touching, 1),
        ("ReLU valley", relu, on_axis, 1),
    ]
    rows, seen = [], {}
    for name, value, places, dimension in cases:
        points, found = counted(value, places)
        is_wrong = (points.dimension >= 0) & (points.dimension != dimension)
        valleys = found.dimension == dimension
        is_said = valleys.sum() == 1 or found.num_unjoined == valleys.sum()
        rows.append(
            experiment.exactly(f"{name}: wrong dimensions", int(is_wrong.sum()), expected=0, num_descents=len(places))
        )
        rows.append(
            experiment.exactly(
                f"{name}: valleys counted that are not said to be an upper bound",
                0 if is_said else int(valleys.sum()),
                expected=0,
            )
        )
        experiment.note(f"{name}: {valleys.sum()} valleys, {points.verdict_counts()}")
        seen[name] = (np.asarray(points.params), found.entry)
    return rows, seen["two circles that touch"]


def figure(result: Claim) -> Any:
    """Returns how many ends on bent valleys were told, by bend, and how many answers were wrong."""
    drawn, (left, right) = experiment.panels("Valleys bent at any scale: an answer is right, or it is not given")
    for name, told in result.data["told"].items():
        left.semilogx(*np.array(told).T, "o-", ms=4, label=name)
    left.set(
        xlabel="scale of the bend, in lengths of the start law",
        ylabel="share of ends whose dimension is told",
        ylim=(-0.05, 1.05),
        title="y = b sin(x / b)",
    )
    left.legend(fontsize=8)
    places, entry = result.data["circles"]
    for number in np.unique(entry):
        some = entry == number
        label = f"valley {number + 1}" if number >= 0 else "not told"
        right.plot(*places[some].T, "o" if number >= 0 else "x", ms=5, label=f"{label}: {some.sum()} ends")
    right.set(aspect="equal", xlabel="x", ylabel="y", title="two circles that touch at 0", ylim=(-1.2, 1.8))
    right.legend(fontsize=8, loc="upper center", ncols=2)
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
