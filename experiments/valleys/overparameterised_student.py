r"""Does one hidden unit to spare join the isolated minima of a student of the teacher's width?

Simsek, Ged, Jacot, Spadaro, Hongler, Gerstner and Brea (ICML 2021, arXiv:2105.12221): a student

    f(x) = sum_j a_j s(w_j x)

with the teacher's r hidden units has r! global minima, isolated, one for each order of the units. With r + 1 units
they become T(r, r + 1) = r (r + 1)! / 2 + (r + 1)! affine subspaces that meet: in (r + 1)! of them one unit is silent
(a = 0, its w anything), in the others two units share what one unit of the teacher does. All of it is one connected
union. For an odd activation (tanh) signs of units multiply these numbers (2^r for r units), and a unit may also be
silent for w = 0.

What Hessians say of them is told here, too. Where a unit is silent for a = 0 the subspace is a valley of as many
dimensions as there are inputs. Where two units share one, pulling their weights apart, a_1 dw_1 + a_2 dw_2 = 0, changes
the function to second order and the loss to fourth: the rank of the Hessian is too small all along, and each point is
singular, `degenerate`. So the valleys are joined by lines of singular points, which they meet where the rank drops: no
walk of jaxgd shows that, and the catalogue says "not shown to be connected". The lines are walked here, place by place,
knowing where they are.
"""

import itertools
import math
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxgd
from jaxgd import Landscape, Verdict, experiment
from jaxgd.experiment import Claim, Statistic

NUM_INPUTS, NUM_DATA = 2, 100
ACTIVATIONS = {"softplus": jax.nn.softplus, "tanh": jnp.tanh}
OFF = 1e-7
"""How far places that are judged are moved off the subspaces first."""


class Subspace(NamedTuple):
    """Students that do exactly what the teacher does."""

    is_silent: bool  # one unit is; otherwise two share
    units: tuple[int, ...]  # which unit of the teacher each unit stands for, -1 for the silent one

    def place(self, teacher: dict[str, np.ndarray], free: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the student at `free`: (inputs,) weights of the silent unit, or (1,) the share of the first one."""
        which = np.array(self.units)
        w, a = teacher["w"][:, which].copy(), teacher["a"][which].copy()
        if self.is_silent:
            silent = self.units.index(-1)
            w[:, silent], a[silent] = free, 0
        else:
            first, second = self.sharing
            a[first], a[second] = free[0] * a[first], (1 - free[0]) * a[second]
        return {"w": w, "a": a}

    @property
    def sharing(self) -> tuple[int, int]:
        """The two units that stand for one."""
        first = next(i for i, unit in enumerate(self.units) if self.units.count(unit) == 2)
        return first, len(self.units) - 1 - self.units[::-1].index(self.units[first])


def subspaces(rank: int) -> list[Subspace]:
    """Returns the T(r, r + 1) subspaces of a student with a unit to spare, signs left out.

    Example:
      >>> [len(subspaces(rank)) for rank in (1, 2, 3)]
      [3, 12, 60]
    """
    silent = [Subspace(True, order) for order in itertools.permutations((-1, *range(rank)))]
    shared = [
        Subspace(False, order)
        for twice in range(rank)
        for order in sorted(set(itertools.permutations((twice, *range(rank)))))
    ]
    return silent + shared


def teacher_of(rank: int) -> dict[str, np.ndarray]:
    """Returns a teacher with units in general position."""
    draw = np.random.default_rng(rank)
    angle = np.linspace(0.3, 0.3 + 1.6 * np.pi, rank, endpoint=False) + draw.uniform(-0.1, 0.1, rank)
    length = draw.uniform(1, 2, rank)
    return {"w": length * np.stack([np.cos(angle), np.sin(angle)]), "a": draw.uniform(1, 2, rank)}


def landscape_of(rank: int, width: int, activation: str) -> Landscape:
    """Returns the mean squared error of a student against its teacher."""
    inputs = np.random.default_rng(0).standard_normal((NUM_DATA, NUM_INPUTS))
    act, teacher = ACTIVATIONS[activation], teacher_of(rank)
    network = lambda params: act(inputs @ params["w"]) @ params["a"]
    target = np.asarray(network(teacher))

    def sample(key: Any) -> Any:
        key_w, key_a = jax.random.split(key)
        return {"w": jax.random.normal(key_w, (NUM_INPUTS, width)), "a": jax.random.normal(key_a, (width,))}

    return Landscape(value=lambda params: jnp.mean((network(params) - target) ** 2) / 2, sample=sample)


def judged(landscape: Landscape, places: list[dict[str, np.ndarray]]) -> tuple[jaxgd.Points, jaxgd.Catalogue]:
    """Returns what places are, each moved a little first, and the catalogue of them."""
    draw = np.random.default_rng(1)
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *places)
    points = jaxgd.classify(landscape, jax.tree.map(lambda leaf: leaf + OFF * draw.standard_normal(leaf.shape), batch))
    return points, jaxgd.catalogue(landscape, points)


def joined(landscape: Landscape, rank: int) -> tuple[int, float, float]:
    """Returns how many sets of subspaces remain when ways through crossings join them, largest loss and gradient there.

    A subspace on which two units share one meets the two on which the first or the second of them is silent, at shares
    0 and 1: the silent unit's weights are those of the other one there.
    """
    teacher, every = teacher_of(rank), subspaces(rank)
    number = {subspace: i for i, subspace in enumerate(every)}
    label, ways = np.arange(len(every)), []
    for shared in every:
        if shared.is_silent:
            continue
        for silent, share in zip(shared.sharing, (0.0, 1.0), strict=True):
            units = tuple(-1 if i == silent else unit for i, unit in enumerate(shared.units))
            other = Subspace(True, units)
            at = teacher["w"][:, shared.units[silent]]
            here, there = label[number[shared]], label[number[other]]
            label[label == here] = there

            # From the middle of one to the crossing, and on to a place of the other.
            for t in np.linspace(0, 1, 9):
                ways.append(shared.place(teacher, np.array([0.5 + t * (share - 0.5)])))
                ways.append(other.place(teacher, (1 - t) * at + t * np.array([0.3, -0.7])))
    batch = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *ways)
    value, gradient = jax.jit(jax.vmap(landscape.evaluate))(batch)
    norm = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(gradient))
    return len(np.unique(label)), float(value.max()), norm


def measure(options: experiment.Options) -> Claim:
    """Returns the numbers of minima and subspaces, and whether ways between them are level."""
    rows: list[Statistic] = []
    data: dict[str, Any] = {}
    cases = [(2, "softplus"), (2, "tanh")] if options.quick else [(r, name) for r in (2, 3) for name in ACTIVATIONS]
    for rank, activation in cases:
        own = f"r = {rank}, {activation}"
        signs = 2**rank if activation == "tanh" else 1
        expected = math.factorial(rank) * signs
        num = 60 * expected if not options.quick else 100
        landscape = landscape_of(rank, rank, activation)
        found = jaxgd.survey(
            landscape,
            "lbfgs:max_step=1.0",
            num,
            key=jax.random.key(0),
            stop=jaxgd.Stop(gradient_norm=1e-10, max_steps=5_000),
        ).catalogue
        lowest = (found.verdict == int(Verdict.MINIMUM)) & (found.value < 1e-14)
        rows.append(
            experiment.exactly(
                f"{own}: global minima of {rank} units",
                int(lowest.sum()),
                expected=expected,
                source="r! orders" + (" and 2^r signs" if signs > 1 else ""),
                num_descents=num,
            )
        )
        rows.append(
            experiment.exactly(
                f"{own}: of these on valleys", int(np.sum(found.dimension[lowest] != 0)), expected=0, num_descents=num
            )
        )

        # With a unit to spare.
        wide, teacher, every = landscape_of(rank, rank + 1, activation), teacher_of(rank), subspaces(rank)
        rows.append(
            experiment.exactly(
                f"{own}: subspaces T(r, r + 1)",
                len(every),
                source="Simsek et al. 2021",
                expected=math.factorial(rank + 1) * (rank + 2) / 2,
            )
        )
        draw = np.random.default_rng(2)
        free = lambda subspace, draw=draw: (
            draw.uniform(-2, 2, NUM_INPUTS) if subspace.is_silent else draw.uniform(0.2, 0.8, 1)
        )
        places = [subspace.place(teacher, free(subspace)) for subspace in every for _ in range(2)]
        is_silent = np.repeat([subspace.is_silent for subspace in every], 2)
        points, catalogue = judged(wide, places)
        is_valley = (points.verdict == int(Verdict.MINIMUM)) & (points.dimension == NUM_INPUTS)
        is_wrong = (points.dimension >= 0) & ~is_valley & is_silent
        statistic = f"{own}: places with a silent unit told to be anything but valleys of {NUM_INPUTS} dimensions"
        rows.append(experiment.exactly(statistic, int(is_wrong.sum()), expected=0))
        rows.append(
            experiment.exactly(
                f"{own}: places where two units share one that are called minima or isolated",
                int(np.sum(points.dimension[~is_silent] >= 0)),
                expected=0,
                source="the kernel has d + 1 dimensions there, the line 1",
            )
        )
        entries = catalogue.entry[is_silent & is_valley]
        rows.append(
            experiment.exactly(
                f"{own}: valleys that walks show",
                len(np.unique(entries)),
                expected=math.factorial(rank + 1),
                source="(r + 1)!",
            )
        )
        rows.append(
            experiment.exactly(
                f"{own}: of these said not to be shown connected",
                int(np.sum(catalogue.is_open[np.unique(entries)])),
                expected=math.factorial(rank + 1),
            )
        )
        sets, value, gradient = joined(wide, rank)
        rows.append(
            experiment.exactly(
                f"{own}: sets of subspaces that crossings do not join", sets, expected=1, source="Simsek et al. 2021"
            )
        )
        rows.append(
            experiment.exactly(f"{own}: largest loss on the ways through crossings", value, expected=0, tolerance=1e-25)
        )
        rows.append(
            experiment.exactly(f"{own}: largest entry of the gradient there", gradient, expected=0, tolerance=1e-13)
        )

        # Where descents end.
        ends = jaxgd.survey(
            wide,
            "lbfgs:max_step=1.0",
            40 if options.quick else 300,
            key=jax.random.key(1),
            stop=jaxgd.Stop(gradient_norm=1e-10, max_steps=5_000),
        ).points
        low = np.asarray(ends.value) < 1e-12
        for verdict, count in ends[np.flatnonzero(low)].verdict_counts().items() if low.any() else ():
            rows.append(
                experiment.exactly(
                    f"{own}: ends of {rank + 1} units at zero loss called {verdict}", count, num_descents=len(ends)
                )
            )
    data["curve"] = _loss_beside(landscape_of(2, 3, "softplus"))
    return Claim(
        name="valleys.overparameterised_student",
        claim="A student of the teacher's width has isolated global minima, one for each order (and sign) of its "
        "units; with one more unit they become T(r, r + 1) subspaces, all joined at crossings.",
        rows=rows,
        data=data,
    )


def _loss_beside(landscape: Landscape) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns the way from one order of two units to the other, with a unit to spare: (share of the way, loss)."""
    teacher = teacher_of(2)
    corners = [Subspace(True, (0, 1, -1)).place(teacher, np.array([0.3, -0.7]))]

    # The third unit takes over what the first does, the first what the second does, the second what the third does.
    for units, shares in (((0, 1, 0), (1.0, 0.0)), ((1, 1, 0), (0.0, 1.0)), ((1, 0, 0), (0.0, 1.0))):
        corners += [Subspace(False, units).place(teacher, np.array([share])) for share in shares]
    corners.append(Subspace(True, (1, 0, -1)).place(teacher, np.array([0.3, -0.7])))
    ends = {"straight": [corners[0], corners[-1]], "through crossings": corners}
    curves = {}
    for name, path in ends.items():
        places = [
            jax.tree.map(lambda a, b, t=t: (1 - t) * a + t * b, one, other)
            for one, other in itertools.pairwise(path)
            for t in np.linspace(0, 1, 33)
        ]
        batch = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *places)
        value = np.asarray(jax.vmap(landscape.value)(batch))
        curves[name] = (np.linspace(0, 1, len(value)), value)
    return curves


def figure(result: Claim) -> Any:
    """Returns the loss on the ways between two orders of the units, and the numbers counted."""
    drawn, (left, right) = experiment.panels(
        "One hidden unit to spare joins the minima: straight there is a barrier, through crossings there is none"
    )
    for name, (along, value) in result.data["curve"].items():
        left.semilogy(along, np.maximum(value, 1e-33), label=name)
    left.set(xlabel="way from one order of the units to the other", ylabel="loss", title="r = 2, three units, softplus")
    left.legend(fontsize=8)
    counted = [row for row in result.rows if row.expected not in (None, 0.0)]
    right.plot([1, 100], [1, 100], color="0.7", lw=1)
    right.loglog([row.expected for row in counted], [row.measured for row in counted], "o", mfc="none")
    right.set(xlabel="by theory", ylabel="counted", title="minima, subspaces, valleys")
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
