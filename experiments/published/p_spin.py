r"""Spherical spin glasses have as many critical points as Kac and Rice say, and descents end above the threshold.

H = N^(-(p-1)/2) sum J s..s, |s|^2 = N, J ~ N(0, 1), antipodes count as two. The mean number of critical points of
index k is (Auffinger, Ben Arous, Cerny, Comm. Pure Appl. Math. 66, 165 (2013)), exactly at every N,

    2 sqrt(2/p) (p-1)^(N/2) E exp(-N (p-2)/(2p) l_k^2),    l_0 < ... < l_{N-1} the spectrum of a GOE matrix with
                                                           variances 1/(2N) beside and 1/N on the diagonal.

Searches: on each draw of J Newton's method on the sphere from random points, each distinct end counted once, index from
the Hessian projected on the sphere. Odd N checks each draw: the sum of (-1)^index is the Euler characteristic, 2; draws
where it is not are counted. Descents: one for each draw of J, uniform on the sphere, step 0.05, gradient norm 1e-6
(seed N), compared with an independent computation; the threshold -2 sqrt((p-1)/p) is a limit that no N here reaches.
"""

import functools
import itertools
import math
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgd
from experiments.published.rows import Table, estimate, exact, mean, share, stated
from jaxgd import experiment

EXACT_MEANS = {2: 2 * math.sqrt(7), 3: 10.55236}
EXACT_MINIMA = 3.13809  # N = 3
COMPUTED = {10: (-1.3145, 0.0064), 20: (-1.4332, 0.0053)}
THRESHOLD = 2 * math.sqrt(2 / 3)
SEARCHES = {2: (400, 40), 3: (400, 100), 4: (300, 200), 5: (200, 400), 6: (100, 1_000), 7: (60, 3_000)}
"""N: draws of the couplings, random points of each."""
TRIED = 30  # Newton steps


def couplings(key: jax.Array, dim: int, p: int) -> jax.Array:
    """Returns one draw of the symmetrised couplings, scaled so that the energy is of order dim."""
    drawn = jax.random.normal(key, (dim,) * p)
    orders = list(itertools.permutations(range(p)))
    return sum(jnp.transpose(drawn, order) for order in orders) / (len(orders) * dim ** ((p - 1) / 2))


def at(tensor: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns energy, gradient in space, and the second derivatives on the sphere, at |x|^2 = dim, in space."""
    p, dim = tensor.ndim, x.size
    field = tensor
    for _ in range(p - 2):
        field = field @ x
    slope = p * (field @ x)
    energy = jnp.sum(slope * x) / p
    second = p * (p - 1) * field
    return energy, slope, second - jnp.sum(slope * x) / dim * jnp.eye(dim)


def newton(tensor: jax.Array, x: jax.Array) -> jax.Array:
    """Returns where Newton's method on the sphere ends."""
    dim = x.size

    def step(x: jax.Array, _: None) -> tuple[jax.Array, None]:
        _, slope, second = at(tensor, x)
        unit = x / jnp.sqrt(dim)
        inside = jnp.eye(dim) - jnp.outer(unit, unit)
        move = -jnp.linalg.solve(inside @ second @ inside + jnp.outer(unit, unit), inside @ slope)
        x = x + move * jnp.minimum(1.0, 0.5 * jnp.sqrt(dim) / jnp.linalg.norm(move))
        return x * jnp.sqrt(dim) / jnp.linalg.norm(x), None

    return jax.lax.scan(step, x, None, length=TRIED)[0]


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def searched(key: jax.Array, dim: int, p: int, num: int) -> tuple[jax.Array, ...]:
    """Returns ends (num, dim), their gradient norms on the sphere, energies and indices, for one draw."""
    key_tensor, key_starts = jax.random.split(key)
    tensor = couplings(key_tensor, dim, p)
    starts = jax.random.normal(key_starts, (num, dim))
    starts = starts * jnp.sqrt(dim) / jnp.linalg.norm(starts, axis=1, keepdims=True)
    ends = jax.vmap(lambda x: newton(tensor, x))(starts)

    def judge(x: jax.Array) -> tuple[jax.Array, ...]:
        energy, slope, second = at(tensor, x)
        unit = x / jnp.sqrt(dim)
        inside = jnp.eye(dim) - jnp.outer(unit, unit)
        spectrum = jnp.linalg.eigvalsh(inside @ second @ inside)
        return jnp.linalg.norm(inside @ slope), energy, jnp.sum(spectrum < -1e-7)

    return (ends, *jax.vmap(judge)(ends))


def distinct(ends: Any, norms: Any, indices: Any) -> list[int]:
    """Returns the index of each distinct critical point, antipodes included whether or not they were met."""
    good = np.asarray(norms) < 1e-8
    places = np.asarray(ends)[good]
    index = np.asarray(indices)[good]
    dim = places.shape[1]
    both = np.concatenate([places, -places])
    both_index = np.concatenate([index, dim - 1 - index])  # odd p: the antipode has the opposite energy
    _, first = np.unique(np.round(both @ np.linspace(1, 2, dim) ** 3, 5), return_index=True)
    return both_index[first].tolist()


def kac_rice(dim: int, p: int, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (dim,) mean numbers of critical points by index, and their standard errors, by sampling the GOE."""
    a = np.random.default_rng(dim).standard_normal((num, dim, dim))
    spectra = np.linalg.eigvalsh((a + a.transpose(0, 2, 1)) / np.sqrt(4 * dim))
    terms = 2 * np.sqrt(2 / p) * (p - 1) ** (dim / 2) * np.exp(-dim * (p - 2) / (2 * p) * spectra**2)
    total = terms.sum(axis=1)
    terms = np.column_stack([terms, total])
    return terms.mean(axis=0), terms.std(axis=0, ddof=1) / np.sqrt(num)


def glasses(dim: int, p: int) -> jaxgd.Landscape:
    """Returns one glass a descent: the couplings are drawn with the start, and do not move."""

    def value(params: Any) -> jax.Array:
        tensor, x = jax.lax.stop_gradient(params["couplings"]), params["x"]
        spins = jnp.sqrt(jnp.asarray(dim, x.dtype)) * x / jnp.sqrt(jnp.sum(x**2))
        for _ in range(p):
            tensor = tensor @ spins
        return tensor

    def sample(key: jax.Array) -> Any:
        key_tensor, key_x = jax.random.split(key)
        x = jax.random.normal(key_x, (dim,))
        return {"couplings": couplings(key_tensor, dim, p), "x": x * np.sqrt(dim) / jnp.linalg.norm(x)}

    return jaxgd.Landscape(value=value, sample=sample)


def descended(dim: int, p: int, num: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns E/N and the index at the ends that converged, and how many did not."""
    ends = jaxgd.descend(glasses(dim, p), optax.sgd(0.05), num, key=jax.random.key(dim),
                         stop=jaxgd.Stop(gradient_norm=1e-6, max_steps=50_000), keep=("params",))  # fmt: skip
    good = np.flatnonzero(np.asarray(ends.status) == int(jaxgd.Status.CONVERGED))

    def index_of(tensor: jax.Array, x: jax.Array) -> jax.Array:
        x = x * jnp.sqrt(dim) / jnp.linalg.norm(x)
        inside = jnp.eye(dim) - jnp.outer(x, x) / dim
        return jnp.sum(jnp.linalg.eigvalsh(inside @ at(tensor, x)[2] @ inside) < -1e-7)

    some = {name: jnp.asarray(leaf[good]) for name, leaf in ends.params.items()}
    index = jax.jit(lambda s: jax.lax.map(lambda one: index_of(one["couplings"], one["x"]), s))(some)
    return np.asarray(ends.value)[good] / dim, np.asarray(index), num - good.size


def measure(options: experiment.Options) -> Table:
    """Returns numbers of critical points and ends of descents."""
    rows, found = [], {}
    for dim, (num_draws, num_starts) in SEARCHES.items():
        if options.quick and dim > 5:
            continue
        num_draws = num_draws if dim <= 3 or not options.quick else num_draws // 3
        draws = []
        for seed in range(num_draws):
            ends, norms, _, index = searched(jax.random.fold_in(jax.random.key(dim), seed), dim, 3, num_starts)
            draws.append(distinct(ends, norms, index))
        numbers = np.array([len(draw) for draw in draws])
        law, law_error = kac_rice(dim, 3, 400_000 if options.quick else 2_000_000)
        found[dim] = (numbers.mean(), numbers.std(ddof=1) / np.sqrt(num_draws), law[-1])
        rows.append(mean(f"p=3, N={dim}: critical points", numbers, expected=law[-1], source_error=law_error[-1],
                         source="Kac-Rice, Auffinger et al. 2013, sampled"))  # fmt: skip
        minima = np.array([draw.count(0) for draw in draws])
        rows.append(mean(f"p=3, N={dim}: minima", minima, expected=law[0], source_error=law_error[0],
                         source="Kac-Rice, Auffinger et al. 2013, sampled"))  # fmt: skip
        if dim in EXACT_MEANS:
            rows.append(estimate(f"p=3, N={dim}: the sampled formula itself", law[-1], law_error[-1], 0,
                                 expected=EXACT_MEANS[dim], source="closed form"))  # fmt: skip
        if dim % 2:
            sums = np.array([sum((-1) ** k for k in draw) for draw in draws])
            rows.append(share(f"p=3, N={dim}: draws whose points add up to the sphere", int(np.sum(sums == 2)),
                              num_draws, expected=1.0, source="Euler characteristic"))  # fmt: skip
        rows.append(exact(f"p=3, N={dim}: most points of a draw", numbers.max(), expected=2 * (2**dim - 1),
                          relation="at_most", source="Cartwright and Sturmfels 2013: 2 (2^N - 1)"))  # fmt: skip
        experiment.note(f"N = {dim}: {numbers.mean():.2f} of {law[-1]:.2f}")

    glass = jaxgd.landscapes.spherical_p_spin(dim=6, p=2)
    every = jaxgd.critical_points(glass, num_starts=400, key=jax.random.key(0)).catalogue
    rows.append(exact("p=2, N=6: critical points found", len(every), expected=12, source="eigenvectors: 2 N"))
    known = np.sort([point.value for point in glass.facts.points])
    rows.append(exact("p=2, N=6: largest error of an energy",
                      np.abs(np.sort(every.value) - known).max() if len(every) == 12 else np.nan, expected=0.0,
                      tolerance=1e-8, source="eigenvalues, by LAPACK"))  # fmt: skip
    energies = {}
    num = 150 if options.quick else 600
    sizes = {3: (10, 20) if options.quick else (10, 20, 40), 4: (10,)}
    for p, dims in sizes.items():
        for dim in dims:
            energy, index, lost = descended(dim, p, num if dim < 40 else num // 4)
            energies[p, dim] = energy
            expected, error = COMPUTED.get(dim, (None, 0.0)) if p == 3 else (None, 0.0)
            named = {"expected": expected, "source_error": error, "source": "independent computation"}
            rows.append(mean(f"p={p}, N={dim}: E/N where descents end", energy, **(named if expected else {})))
            rows.append(share(f"p={p}, N={dim}: ends of index 0", int(np.sum(index == 0)), energy.size + lost,
                              expected=1.0, source="minima alone attract"))  # fmt: skip
            experiment.note(f"p = {p}, N = {dim}: {energy.mean():.4f}, {lost} did not converge")
    small, large = energies[3, 10], energies[3, 20]
    rows.append(estimate("p=3: E/N at N=20 less that at N=10", large.mean() - small.mean(),
                         np.hypot(large.std() / large.size**0.5, small.std() / small.size**0.5), large.size,
                         expected=0.0, relation="at_most", source="towards the threshold -1.633"))  # fmt: skip
    rows.append(exact("p=3: spread of E/N, N=20 over N=10", large.std(ddof=1) / small.std(ddof=1), expected=1.0,
                      error=4 * 0.7 * np.sqrt(1 / large.size + 1 / small.size), relation="at_most",
                      source="energies concentrate"))  # fmt: skip
    return stated("p_spin", __doc__, rows, data={"found": found, "energies": energies})


def figure(result: Table) -> Any:
    """Returns numbers of critical points over N beside the formula, and where descents end."""
    drawn, (left, right) = experiment.panels(
        "As many critical points as Kac-Rice says; descents end above the threshold on average"
    )
    found = result.data["found"]
    left.plot(list(found), [law for _, _, law in found.values()], "-", label="Kac-Rice")
    left.errorbar(list(found), [m for m, _, _ in found.values()], [4 * e for _, e, _ in found.values()], fmt="o",
                  color="black", ms=4, label="found")  # fmt: skip
    left.set(yscale="log", xlabel="N", ylabel="mean number of critical points, p = 3")
    for (p, dim), energy in result.data["energies"].items():
        right.hist(energy, bins=25, histtype="step", density=True, label=f"p = {p}, N = {dim}")
    right.axvline(-THRESHOLD, color="black", ls=":", label="threshold, p = 3")
    right.set(xlabel="E/N at the ends of descents", ylabel="density")
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
