r"""Lennard-Jones clusters have the minima, the lowest energies and the transition states of the Cambridge tables.

Starts uniform in a ball (`jaxgd.landscapes.lennard_jones`), L-BFGS with steps of at most 0.1, the landscape's stop
rule, seed 0; an end where an atom has no neighbour within 1.5 has evaporated and is left out. Energies are in units of
the pair's depth. Numbers of minima stand beside what was not seen (Chao's estimate); transition states by
`jaxgd.saddles` from the minima. LJ38 has two funnels: its lowest minimum is a truncated octahedron, which random
starts do not find; starts displaced from it by N(0, s^2) in every coordinate say how wide its funnel is.
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxgd
from experiments.published.rows import Table, count, exact, share, stated
from jaxgd import experiment
from jaxgd.landscapes.lennard_jones import GLOBAL_MINIMUM
from jaxgd.statistics import unseen_number

NUM_MINIMA = {5: 1, 6: 2, 7: 4, 8: 8}
NUM_SADDLES = {4: 1, 5: 2, 6: 3, 7: 12, 8: 42}
AT_MOST = {13: 1_510}  # Doye, Miller, Wales 1999, "about"
NUM_DESCENTS = {5: 2_000, 6: 2_000, 7: 4_000, 8: 8_000, 9: 8_000, 10: 8_000, 11: 8_000, 12: 16_000, 13: 32_000}
NUM_SEARCHES = {4: 300, 5: 600, 6: 1_000, 7: 6_000, 8: 6_000}
SPREADS = (0.05, 0.15, 0.25, 0.35)
SOURCE = "Cambridge Cluster Database"


def octahedron() -> np.ndarray:
    """Returns (38, 3) the truncated octahedron, cut out of a face-centred cubic lattice with the pair's distance."""
    grid = np.array([(x, y, z) for x in range(-4, 5) for y in range(-4, 5) for z in range(-4, 5)], float)
    grid = grid[(grid.sum(axis=1) % 2) == 1]  # around an octahedral hole
    sizes = np.sort(np.abs(grid), axis=1)
    kept = grid[(sizes.sum(axis=1) <= 3) | (np.linalg.norm(grid, axis=1) < 3.01)]
    kept = kept[np.argsort(np.linalg.norm(kept, axis=1), kind="stable")][:38]
    return kept / np.sqrt(2) * 2 ** (1 / 6)


def is_whole(params: Any) -> np.ndarray:
    """Returns for each end whether every atom has a neighbour within 1.5."""
    x = np.asarray(params)
    apart = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1) + 10 * np.eye(x.shape[1])
    return apart.min(axis=2).max(axis=1) < 1.5


def minima_of(num_atoms: int, num: int) -> tuple[jaxgd.Landscape, jaxgd.Catalogue, np.ndarray]:
    """Returns the landscape, what its descents found, and which rows are whole minima."""
    landscape = jaxgd.landscapes.lennard_jones(num_atoms=num_atoms)
    found = jaxgd.survey(landscape, "lbfgs:max_step=0.1", num, key=jax.random.key(0), keep="catalogue").catalogue
    good = (found.verdict == int(jaxgd.Verdict.MINIMUM)) & is_whole(found.params)
    return landscape, found, np.flatnonzero(good)


def measure(options: experiment.Options) -> Table:
    """Returns numbers of minima and saddles, lowest energies, and the funnel of 38 atoms."""
    rows, curves = [], {}
    sizes = (5, 6, 7, 8, 9) if options.quick else tuple(NUM_DESCENTS)
    for num_atoms in sizes:
        num = NUM_DESCENTS[num_atoms] // (4 if options.quick else 1)
        landscape, found, good = minima_of(num_atoms, num)
        hits = found.hits[good]
        unseen = unseen_number(hits).high
        curves[num_atoms] = np.sort(hits)[::-1] / num
        known = NUM_MINIMA.get(num_atoms, AT_MOST.get(num_atoms))
        judged: dict[str, Any] = {}
        if known is not None:
            judged = {"expected": known, "source": "exhaustive searches (computed)"}
        if num_atoms in AT_MOST:
            judged |= {"relation": "at_most", "source": "Doye, Miller, Wales 1999: about"}
        rows.append(count(f"N={num_atoms}: distinct minima, and those not seen", good.size, unseen, num_descents=num,
                          **judged))  # fmt: skip
        rows.append(exact(f"N={num_atoms}: lowest energy", found.value[good].min(), error=1e-9, source=SOURCE,
                          expected=GLOBAL_MINIMUM[num_atoms], tolerance=6e-7, num_descents=num))  # fmt: skip
        experiment.note(f"N = {num_atoms}: {good.size} minima")
    for num_atoms, num in NUM_SEARCHES.items():
        if options.quick and num_atoms > 6:
            continue
        landscape, found, _ = minima_of(num_atoms, 1_000)
        search = jaxgd.saddles(landscape, found, num_starts=num, key=jax.random.key(1))
        first = search.of_index(1)
        whole = is_whole(first.params)
        rows.append(count(f"N={num_atoms}: transition states, and those not seen", int(whole.sum()),
                          unseen_number(first.hits[whole]).high, expected=NUM_SADDLES[num_atoms], num_descents=num,
                          source="exhaustive searches (computed up to 7)"))  # fmt: skip
        experiment.note(f"N = {num_atoms}: {int(whole.sum())} transition states")

    cluster = jaxgd.landscapes.lennard_jones(num_atoms=38)
    stop = jaxgd.Stop(gradient_norm=1e-6, max_steps=20_000)
    fcc, num = jnp.asarray(octahedron()), 50 if options.quick else 400
    lbfgs = jaxgd.transforms.lbfgs(max_step=0.1)
    bottom = float(jaxgd.descend(cluster, lbfgs, starts=fcc[None], key=jax.random.key(0), stop=stop).value[0])
    rows.append(exact("N=38: the octahedron, relaxed", bottom, error=1e-8, expected=GLOBAL_MINIMUM[38], tolerance=6e-7,
                      source=SOURCE))  # fmt: skip
    widths = {}
    for seed, spread in enumerate(SPREADS):
        starts = fcc + spread * jax.random.normal(jax.random.key(10 + seed), (num, 38, 3))
        ends = jaxgd.descend(cluster, lbfgs, starts=starts, key=jax.random.key(0), stop=stop, keep=("params",))
        back = int(np.sum(np.asarray(ends.value) < bottom + 1e-4))
        widths[spread] = share(f"N=38: back to the octahedron from displacements of {spread:g}", back, num)
        rows.append(widths[spread])
    random = jaxgd.descend(cluster, lbfgs, 500 if options.quick else 20_000, key=jax.random.key(2), stop=stop)
    energy = np.asarray(random.value)[is_whole(random.params)]
    rows.append(share("N=38: random starts that find the octahedron", int(np.sum(energy < bottom + 1e-4)), len(random)))
    rows.append(exact("N=38: lowest energy from random starts", energy.min(), error=1e-6, expected=GLOBAL_MINIMUM[38],
                      relation="at_least", tolerance=6e-7, source=SOURCE))  # fmt: skip
    return stated("lennard_jones", __doc__, rows, data={"curves": curves, "widths": widths, "energy": energy})


def figure(result: Table) -> Any:
    """Returns basin weights of the minima of each cluster, and the ends of 38 atoms."""
    drawn, (left, right) = experiment.panels("Clusters: the known minima, and a funnel that random starts do not find")
    for num_atoms, weights in result.data["curves"].items():
        left.plot(np.arange(1, weights.size + 1), weights, "o-", ms=3, lw=1, label=f"N = {num_atoms}")
    left.set(xscale="log", yscale="log", xlabel="minimum, by hits", ylabel="share of the descents")
    right.hist(result.data["energy"], bins=40, color="0.7")
    right.axvline(GLOBAL_MINIMUM[38], color="#c2571a", label="truncated octahedron")
    right.set(xlabel="energy of 38 atoms from random starts (pair depths)", ylabel="descents")
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
