r"""A Gaussian field in a trap has as many stationary points as Kac and Rice say, and their index follows their energy.

value(x) = m/2 |x|^2 + V(x), E V(x) V(y) = N exp(-|x - y|^2/(2 N)), by 500 N plane waves. Mean number of stationary
points E |det(m + V'')| / m^N (Fyodorov, PRL 92, 240601 (2004)), of minima the same with V'' > -m alone. V'' is a GOE
matrix of variances 1/N beside and 2/N on the diagonal, plus a common shift of variance 1/N; given V = N e the shift is
-e. So at given energy the mean index is that of m - e + GOE, weighted by |det|; for many dimensions a(e) =
(arccos u - u sqrt(1 - u^2))/pi with u = (m - e)/2 (Bray and Dean, PRL 98, 150201 (2007), for m = 0).

Searches: on each draw (seed = its number) Newton's method from N(0, (2/m)^2) starts; points are distinct beyond 1e-4.
The sum of (-1)^index is 1 in a trap, which checks each draw: where it is not, points were missed, and as many other
starts are tried, up to eight times. Nothing is left out where it still is not. (With one attempt 3 of 100 draws at
N = 3 missed a point.)
"""

import functools
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.published.rows import Table, estimate, mean, share, stated
from jaxgd import experiment

COMPUTED = {1: (2.439, 1.719), 2: (3.848, 2.190), 3: (5.538, 2.621), 5: (10.22, 3.49)}
"""N: mean numbers of stationary points and of minima at m = 0.6, computed independently."""

CASES = {(1, 0.6): (300, 60), (2, 0.6): (300, 200), (3, 0.6): (200, 400), (4, 0.6): (100, 1_000), (5, 0.6): (60, 2_500),
         (1, 0.3): (300, 200), (2, 0.4): (200, 600), (3, 0.9): (200, 200)}  # fmt: skip
"""(N, m): draws, Newton starts of each."""

MOST_ATTEMPTS = 8


def law(dim: int, m: float, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean numbers (of all, of minima) and their standard errors, by sampling V''."""
    rng = np.random.default_rng([dim, int(1000 * m)])
    a = rng.standard_normal((num, dim, dim))
    second = (a + a.transpose(0, 2, 1)) / np.sqrt(2 * dim) + rng.standard_normal((num, 1, 1)) / np.sqrt(dim) * np.eye(
        dim
    )
    spectra = np.linalg.eigvalsh(second) + m
    all_points = np.abs(spectra).prod(axis=1) / m**dim
    both = np.column_stack([all_points, all_points * (spectra[:, 0] > 0)])
    return both.mean(axis=0), both.std(axis=0, ddof=1) / np.sqrt(num)


def index_at(dim: int, m: float, energies: np.ndarray, num: int = 20_000) -> np.ndarray:
    """Returns the mean index over N of stationary points with V/N at each of the energies."""
    a = np.random.default_rng(dim).standard_normal((num, dim, dim))
    spectra = np.linalg.eigvalsh((a + a.transpose(0, 2, 1)) / np.sqrt(2 * dim))
    shifted = spectra[None] + (m - energies)[:, None, None]
    weight = np.abs(shifted).prod(axis=2)
    return (weight * (shifted < 0).mean(axis=2)).sum(axis=1) / weight.sum(axis=1)


@functools.partial(jax.jit, static_argnums=(1, 3))
def searched(key: jax.Array, dim: int, m: float, num: int, attempt: int) -> tuple[jax.Array, ...]:
    """Returns of one draw Newton's ends (num, dim), their gradient norms, V/N there, and indices."""
    key_waves, key_phases, key_starts = jax.random.split(key, 3)
    key_starts = jax.random.fold_in(key_starts, attempt)
    features = 500 * dim
    waves = jax.random.normal(key_waves, (features, dim)) / np.sqrt(dim)
    phases = jax.random.uniform(key_phases, (features,), maxval=2 * np.pi)
    height = np.sqrt(2 * dim / features)

    def parts(x: jax.Array) -> tuple[jax.Array, ...]:
        angles = waves @ x + phases
        cosine = jnp.cos(angles)
        gradient = m * x - height * (jnp.sin(angles) @ waves)
        second = m * jnp.eye(dim) - height * ((cosine[:, None] * waves).T @ waves)
        return height * jnp.sum(cosine), gradient, second

    def one(x: jax.Array) -> tuple[jax.Array, ...]:
        def step(x: jax.Array, _: None) -> tuple[jax.Array, None]:
            _, gradient, second = parts(x)
            move = -jnp.linalg.solve(second, gradient)
            return x + move * jnp.minimum(1.0, 0.5 * np.sqrt(dim) / jnp.linalg.norm(move)), None

        x = jax.lax.scan(step, x, None, length=30)[0]
        energy, gradient, second = parts(x)
        return x, jnp.linalg.norm(gradient), energy / dim, jnp.sum(jnp.linalg.eigvalsh(second) < 0)

    return jax.lax.map(one, 2 / m * jax.random.normal(key_starts, (num, dim)), batch_size=256)


def points_of(draw: int, dim: int, m: float, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns V/N and index of the distinct stationary points of one draw."""
    places, parts = np.zeros(0), (np.zeros(0), np.zeros(0, int))
    for attempt in range(MOST_ATTEMPTS):
        found = searched(jax.random.fold_in(jax.random.key(dim), draw), dim, m, num, attempt)
        x, norm, energy, index = (np.asarray(part) for part in found)
        good = norm < 1e-9
        names = np.round(np.concatenate([places, x[good] @ np.linspace(1, 2, dim) ** 3]), 4)
        places, first = np.unique(names, return_index=True)
        parts = tuple(np.concatenate(pair)[first] for pair in zip(parts, (energy[good], index[good]), strict=True))
        if np.sum((-1.0) ** parts[1]) == 1:
            break
    return parts


def measure(options: experiment.Options) -> Table:
    """Returns numbers of stationary points, and index against energy."""
    rows, seen = [], {}
    cases = {c: n for c, n in CASES.items() if not options.quick or c in ((1, 0.6), (2, 0.6), (3, 0.6))}
    for (dim, m), (num_draws, num_starts) in cases.items():
        num_draws = num_draws // 4 if options.quick else num_draws
        draws = [points_of(draw, dim, m, num_starts) for draw in range(num_draws)]
        expected, error = law(dim, m, 400_000 if options.quick else 4_000_000)
        numbers = [len(index) for _, index in draws]
        rows.append(mean(f"N={dim}, m={m:g}: stationary points", numbers, source_error=error[0],
                         expected=expected[0], source="Fyodorov 2004, sampled"))  # fmt: skip
        rows.append(mean(f"N={dim}, m={m:g}: minima", [int(np.sum(index == 0)) for _, index in draws],
                         source_error=error[1], expected=expected[1], source="Fyodorov 2004, sampled"))  # fmt: skip
        if m == 0.6 and dim in COMPUTED:
            for part, name in enumerate(("stationary points", "minima")):
                rows.append(estimate(f"N={dim}, m=0.6: {name}, the sampled formula", expected[part], error[part], 0,
                                     expected=COMPUTED[dim][part], source="computed independently",
                                     source_error=(0.06, 0.05)[part] if dim == 5 else 3e-4))  # fmt: skip
        sums = np.array([np.sum((-1.0) ** index) for _, index in draws])
        rows.append(share(f"N={dim}, m={m:g}: draws whose (-1)^index add up to 1", int(np.sum(sums == 1)), num_draws,
                          expected=1.0, source="Morse theory"))  # fmt: skip
        energy, index = (np.concatenate([draw[part] for draw in draws]) for part in (0, 1))
        seen[dim, m] = (energy, index / dim)
        if dim > 1:
            for low, high in ((-3, -0.75), (-0.75, 0.0), (0.0, 3)):
                inside = (energy >= low) & (energy < high)
                if inside.sum() >= 20:
                    gap = index[inside] / dim - index_at(dim, m, energy[inside])
                    rows.append(mean(f"N={dim}, m={m:g}, V/N in [{low:g}, {high:g}): index over N less the law", gap,
                                     expected=0.0, source="Kac-Rice at given energy (Bray and Dean 2007)"))  # fmt: skip
        experiment.note(f"N = {dim}, m = {m:g}: {np.mean([len(i) for _, i in draws]):.3f} of {expected[0]:.3f}")
    return stated("gaussian_fields", __doc__, rows, data={"seen": seen})


def figure(result: Table) -> Any:
    """Returns index over energy with both laws, and the z of all rows."""
    drawn, (left, right) = experiment.panels(
        "Stationary points of random fields: their number and index as theory has them"
    )
    dim, m = max(result.data["seen"], key=lambda case: (case[0], -case[1]))
    energy, index = result.data["seen"][dim, m]
    groups = np.array_split(np.argsort(energy), 10)
    middle, level = [energy[some].mean() for some in groups], [index[some].mean() for some in groups]
    grid = np.linspace(energy.min(), energy.max(), 40)
    left.plot(middle, level, "o", color="black", ms=4, label=f"found, N = {dim}, m = {m:g}")
    left.plot(grid, index_at(dim, m, grid), label="law at this N")
    u = np.clip((m - grid) / 2, -1, 1)
    left.plot(grid, (np.arccos(u) - u * np.sqrt(1 - u**2)) / np.pi, "--", label="many dimensions")
    left.set(xlabel="V / N at the stationary point", ylabel="index over N")
    from experiments.published.rows import draw_rows

    draw_rows(right, result.rows)
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
