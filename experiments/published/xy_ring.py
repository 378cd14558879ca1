r"""A ring of n oscillators has the twisted states of Wiley et al., and as many critical points as algebra counts.

value(theta) = -sum_i cos(theta_{i+1} - theta_i). All differences of a critical point have one sine: n - k of them are
phi with |phi| < pi/2, and k are pi - phi, with (n - k) phi + k (pi - phi) = 2 pi m. For odd n that counts them all, up
to turns of the whole ring; C(n, k) arrangements each, of index k or k - 1 by the sign of the spectrum's secular sum.
Minima are the twisted states (k = 0), |q| < n/4 (Wiley, Strogatz, Girvan, Chaos 16, 015103 (2006)), which found that
their basins fall like a Gaussian of the winding number q, with a width proportional to sqrt(n).

Starts uniform on the torus, gradient descent with step 0.2 < 1/L = 1/4, gradient norm 1e-8, seed n. The winding number
of the starts has variance n/12 up to exp(-n) (differences are independent and uniform but for their sum); that of the
ends is smaller, and its ratio to n is a prediction.
"""

import math
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgd
from experiments.published.rows import Table, counts, estimate, exact, share, stated
from jaxgd import experiment

SIZES = (5, 10, 20, 40, 80)
COUNTED = (3, 5, 7)


def ring(n: int) -> jaxgd.Landscape:
    """Returns the energy of a ring of n oscillators."""
    return jaxgd.Landscape(
        name="xy_ring",
        value=lambda theta: -jnp.sum(jnp.cos(jnp.roll(theta, -1) - theta)),
        sample=lambda key: jax.random.uniform(key, (n,), minval=-jnp.pi, maxval=jnp.pi),
        symmetry=jaxgd.symmetry.torus(),
    )


def winding(theta: Any) -> np.ndarray:
    """Returns how often the phases of (..., n) rings go around."""
    apart = np.roll(theta, -1, axis=-1) - theta
    return np.rint(((apart + np.pi) % (2 * np.pi) - np.pi).sum(axis=-1) / (2 * np.pi)).astype(int)


def all_points(n: int) -> dict[int, int]:
    """Returns how many critical points there are of each index, up to turns of the whole ring; n odd."""
    found: dict[int, int] = {}
    for k in range(n + 1):
        for m in range(-n, n + 1):
            phi = (2 * np.pi * m - k * np.pi) / (n - 2 * k)
            if abs(phi) < np.pi / 2 - 1e-9:
                # cosines c on n - k edges and -c on k: the Hessian has as many negative modes as edges, or one fewer.
                index = k - 1 if n - 2 * k < 0 else k
                found[index] = found.get(index, 0) + math.comb(n, k)
    return found


def measure(options: experiment.Options) -> Table:
    """Returns critical points of small rings, and the law of the winding number."""
    rows, seen = [], {}
    for n in COUNTED[: 2 if options.quick else 3]:
        known = all_points(n)
        found = jaxgd.critical_points(ring(n), num_starts=2_000 if options.quick else 20_000, key=jax.random.key(n))
        regular = found.catalogue
        own = [int(np.sum(regular.index == index)) for index in range(n)]
        for index in range(n):
            if known.get(index, 0) or own[index]:
                rows.append(exact(f"n={n}: critical points of index {index}", own[index], source="sines are equal",
                                  expected=known.get(index, 0)))  # fmt: skip
        rows.append(exact(f"n={n}: sum of (-1)^index", sum((-1) ** k * c for k, c in enumerate(own)), expected=0,
                          source="Euler characteristic of a torus"))  # fmt: skip
    num = 2_000 if options.quick else 50_000
    spread = []
    sizes = SIZES[: 4 if options.quick else 5]
    for n in sizes:
        landscape = ring(n)
        stop = jaxgd.Stop(gradient_norm=1e-8, max_steps=100_000)
        ends = jaxgd.descend(landscape, optax.sgd(0.2), num, key=jax.random.key(n), stop=stop, keep=("params",))
        at_start = jaxgd.descend(landscape, optax.sgd(0.2), num, key=jax.random.key(n), keep=("params",),
                                 stop=jaxgd.Stop(gradient_norm=None, max_steps=0))  # fmt: skip
        q, before = winding(np.asarray(ends.params)), winding(np.asarray(at_start.params))
        seen[n] = np.unique(q, return_counts=True)
        apart = np.asarray(ends.params)
        twisted = np.abs(np.cos(np.roll(apart, -1, axis=1) - apart) - np.cos(2 * np.pi * q / n)[:, None]).max(axis=1)
        rows.append(share(f"n={n}: ends that are twisted states", int(np.sum(twisted < 1e-6)), num, expected=1.0,
                          source="Wiley et al. 2006"))  # fmt: skip
        rows.append(exact(f"n={n}: largest |q| at an end", np.abs(q).max(), expected=(n - 1) // 4, relation="at_most",
                          source="|q| < n/4", num_descents=num))  # fmt: skip
        if n >= 10:
            rows.append(_variance(f"n={n}: variance of q at the starts, over n", before, n, expected=1 / 12,
                                  source="derived, up to exp(-n)"))  # fmt: skip
            spread.append(_variance(f"n={n}: variance of q at the ends, over n", q, n))
            rows.append(spread[-1])
            low, high = q.min(), q.max()
            chances = np.exp(-(np.arange(low, high + 1) ** 2) / (2 * q.var()))
            rows.append(counts(f"n={n}: q beside a Gaussian of its variance, chi-square / freedom",
                               np.bincount(q - low), chances / chances.sum(), source="Wiley et al. 2006: a Gaussian",
                               is_outside=n < 40))  # fmt: skip
        experiment.note(f"n = {n}: done")
    first, last = spread[-2], spread[-1]
    rows.append(estimate("variance over n, the two largest rings: ratio", last.measured / first.measured,
                         float(np.hypot(last.high / last.measured - 1, first.high / first.measured - 1)) / 4, num,
                         expected=1.0, source="Wiley et al. 2006: width as sqrt(n)"))  # fmt: skip
    return stated("xy_ring", __doc__, rows, data={"seen": seen, "spread": spread},
                  condition="the law of winding numbers is one of large rings")  # fmt: skip


def _variance(statistic: str, q: np.ndarray, n: int, **judged: Any) -> Any:
    squares = q.astype(float) ** 2 / n  # the mean is zero by symmetry
    return estimate(statistic, squares.mean(), squares.std(ddof=1) / np.sqrt(q.size), q.size, **judged)


def figure(result: Table) -> Any:
    """Returns winding numbers at the ends, and their variance over n."""
    drawn, (left, right) = experiment.panels("Winding numbers of rings are Gaussian, with a width as sqrt(n)")
    for n, (q, number) in result.data["seen"].items():
        left.plot(q / np.sqrt(n), number / number.sum() * np.sqrt(n), "o-", ms=3, lw=1, label=f"n = {n}")
    left.set(yscale="log", xlabel="winding number over sqrt(n)", ylabel="share of ends times sqrt(n)")
    spread = result.data["spread"]
    sizes = [n for n in result.data["seen"] if n >= 10]
    right.errorbar(sizes, [row.measured for row in spread], [row.high - row.measured for row in spread], fmt="o",
                   color="black", ms=4, label="at the ends")  # fmt: skip
    right.axhline(1 / 12, ls=":", label="at the starts, 1/12")
    right.set(xscale="log", xlabel="n", ylabel="variance of the winding number over n", ylim=(0, 0.1))
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
