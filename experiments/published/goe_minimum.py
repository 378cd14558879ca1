r"""A random symmetric matrix is positive definite far more rarely than 0.5^n, as de Bruijn's formula has it.

GOE matrices: density exp(-tr A^2 / 4), entries N(0, 1), N(0, 2) on the diagonal. The joint law of the eigenvalues,
prod |l_i - l_j| exp(-l^2/4), makes every expectation of a product over eigenvalues a Pfaffian (de Bruijn 1955); with
weight z below zero and 1 above, its coefficients in z are the probabilities of each index, all exact. Closed forms for
n = 1 .. 4 check that. Measured (seed n): matrices drawn directly for n <= 5 and for the index; and, for n = 2 to 8, by
multilevel splitting: N copies, levels of the lowest eigenvalue at which a third should survive (fixed beforehand, by a
run with another seed), copies drawn anew from those that survive, and moved by autoregressive steps that keep the law
and may not fall below the level. Its estimate is free of bias, and its error is the spread over independent runs.
"""

import math
import sys
from typing import Any

import numpy as np
import scipy

from experiments.published.rows import Table, counts, estimate, exact, share, stated
from jaxgd import experiment

CLOSED = {
    1: 1 / 2, 2: 1 / 2 - 2**0.5 / 4, 3: 1 / 4 - 2**0.5 / (2 * np.pi), 4: 1 / 4 - 2**0.5 / 16 - 1 / (2 * np.pi)
}  # fmt: skip
DIRECT, INDEXED, RARE = (1, 2, 3, 4, 5), (4, 8), (2, 4, 5, 6, 7, 8)
SURVIVING, NUM_MOVES = 1 / 3, 9
CORRELATIONS = (0.8, 0.9, 0.97)  # of a copy with itself before a move, in turn


def index_law(n: int) -> np.ndarray:
    """Returns (n + 1,) the exact probability of each index k of an n x n GOE matrix.

    Pf of n (or n + 1, bordered, for odd n) rows: a_ij = int int_{x < y} (x^i y^j - x^j y^i) w(x) w(y), border
    int x^i w(x), with w(x) = exp(-x^2/4) (z if x < 0 else 1), so each entry is a polynomial in z.
    """
    num = n + n % 2
    negative = lambda i, j: (-1) ** (i + j) * -_ordered(i, j)  # both below zero: reflection exchanges their order
    across = lambda i, j: ((-1) ** i - (-1) ** j) * _moment(i) * _moment(j)
    values = []
    at = np.exp(2j * np.pi * np.arange(n + 1) / (n + 1))  # the polynomial in z from its values at roots of unity
    for z in at:
        matrix = np.zeros((num, num), complex)
        for i in range(n):
            for j in range(i + 1, n):
                matrix[i, j] = _ordered(i, j) + z * across(i, j) + z**2 * negative(i, j)
            if n % 2:
                matrix[i, n] = (1 + z * (-1) ** i) * _moment(i)
        values.append(_pfaffian(matrix - matrix.T))
    law = np.fft.fft(np.array(values)).real / (n + 1)
    return law / law.sum()


def _moment(i: int) -> float:
    """Returns the integral of x^i exp(-x^2/4) over x > 0."""
    return 2**i * math.gamma((i + 1) / 2)


def _ordered(i: int, j: int) -> float:
    """Returns the integral over 0 < x < y of (x^i y^j - x^j y^i) exp(-(x^2 + y^2)/4): polar, by incomplete betas."""
    radial = 2 ** (i + j + 1) * math.gamma((i + j + 2) / 2)
    below = lambda a, b: (
        scipy.special.betainc((a + 1) / 2, (b + 1) / 2, 0.5) * scipy.special.beta((a + 1) / 2, (b + 1) / 2) / 2
    )
    return radial * float(below(i, j) - below(j, i))  # sin^a cos^b up to a quarter of pi: x is the smaller one


def _pfaffian(matrix: np.ndarray) -> complex:
    """Returns the Pfaffian of a skew matrix, by elimination with pivots."""
    a, result = matrix.copy(), 1.0 + 0j
    for k in range(0, len(a) - 1, 2):
        pivot = k + 1 + int(np.argmax(np.abs(a[k, k + 1 :])))
        if pivot != k + 1:
            a[[k + 1, pivot]] = a[[pivot, k + 1]]
            a[:, [k + 1, pivot]] = a[:, [pivot, k + 1]]
            result = -result
        result *= a[k, k + 1]
        row = a[k, k + 2 :] / a[k, k + 1]
        below = a[k + 1, k + 2 :]
        a[k + 2 :, k + 2 :] += np.outer(below, row) - np.outer(row, below)
    return result


def goe(rng: np.random.Generator, count: int, n: int) -> np.ndarray:
    """Returns matrices with N(0, 1) beside and N(0, 2) on the diagonal."""
    a = rng.standard_normal((count, n, n))
    return (a + a.transpose(0, 2, 1)) / np.sqrt(2)


def splitting(rng: np.random.Generator, n: int, count: int, levels: list[float] | None) -> tuple[float, list[float]]:
    """Returns the estimate of P(positive definite) by one run, and the levels; they are chosen where None is given."""
    lowest = lambda matrices: np.linalg.eigvalsh(matrices)[:, 0]
    matrices = goe(rng, count, n)
    bottom, product, chosen = lowest(matrices), 1.0, []
    while True:
        level = min(0.0, float(np.quantile(bottom, 1 - SURVIVING))) if levels is None else levels[len(chosen)]
        chosen.append(level)
        survives = np.flatnonzero(bottom > level)
        product *= len(survives) / count
        if level == 0.0 or not survives.size:
            return product, chosen
        picked = rng.choice(survives, count)
        matrices, bottom = matrices[picked], bottom[picked]
        for move in range(NUM_MOVES):
            kept = CORRELATIONS[move % len(CORRELATIONS)]
            moved = kept * matrices + np.sqrt(1 - kept**2) * goe(rng, count, n)
            after = lowest(moved)
            is_taken = after > level
            matrices[is_taken], bottom[is_taken] = moved[is_taken], after[is_taken]


def measure(options: experiment.Options) -> Table:
    """Returns exact, direct and rare-event probabilities, and the law of the index."""
    num = 200_000 if options.quick else 4_000_000
    laws = {n: index_law(n) for n in range(1, max(RARE) + 1)}
    rows = [
        exact(f"n={n}: exact, by Pfaffian", laws[n][0], error=1e-9, expected=closed, source="closed form (derived)")
        for n, closed in CLOSED.items()
    ]
    for n in DIRECT:
        eigenvalues = np.linalg.eigvalsh(goe(np.random.default_rng(n), num, n))
        rows.append(share(f"n={n}: positive definite, drawn directly", int(np.sum(eigenvalues[:, 0] > 0)), num,
                          expected=laws[n][0], source="exact: de Bruijn 1955"))  # fmt: skip
    indexed = {}
    for n in INDEXED:
        eigenvalues = np.linalg.eigvalsh(goe(np.random.default_rng(100 + n), num // 4, n))
        indexed[n] = np.bincount(np.sum(eigenvalues < 0, axis=1), minlength=n + 1)
        rows.append(counts(f"n={n}: index, chi-square / freedom", indexed[n], laws[n], source="exact: de Bruijn 1955"))
    runs, copies = (8, 500) if options.quick else (40, 4_000)
    found: dict[int, tuple[float, float]] = {}
    for n in RARE:
        _, levels = splitting(np.random.default_rng(1_000 + n), n, copies, None)
        estimates = [splitting(np.random.default_rng([n, run]), n, copies, levels)[0] for run in range(runs)]
        found[n] = (float(np.mean(estimates)), float(np.std(estimates, ddof=1) / np.sqrt(runs)))
        rows.append(estimate(f"n={n}: positive definite, by splitting", *found[n], runs * copies,
                             expected=laws[n][0], source="exact: de Bruijn 1955"))  # fmt: skip
        experiment.note(f"n = {n}: {found[n][0]:.3g}, {len(levels)} levels")
    for n in (4, 8):
        rows.append(exact(f"n={n}: ln P over -(n^2/4) ln 3", math.log(laws[n][0]) / (-(n**2) / 4 * math.log(3)),
                          error=1e-6, source="prediction; tends to 1 (Dean and Majumdar 2006)"))  # fmt: skip
    rows.append(exact("n=8: exact P over 0.5^n", laws[8][0] * 2**8, error=1e-12,
                      source="prediction; independent signs would give 1"))  # fmt: skip
    return stated("goe_minimum", __doc__, rows, data={"laws": laws, "found": found, "indexed": indexed})


def figure(result: Table) -> Any:
    """Returns the share of definite matrices over n, and the law of the index."""
    drawn, (left, right) = experiment.panels("A random symmetric matrix is a minimum far more rarely than 0.5^n")
    laws, n = result.data["laws"], np.array(list(result.data["laws"]))
    left.plot(n, 0.5**n, "--", label="0.5^n")
    left.plot(n, 3.0 ** (-(n**2) / 4), ":", label="3^(-n^2/4)")
    left.plot(n, [laws[k][0] for k in n], label="exact")
    rare = result.data["found"]
    left.errorbar(list(rare), [m for m, _ in rare.values()], [4 * e for _, e in rare.values()], fmt="o", color="black",
                  ms=4, label="splitting")  # fmt: skip
    left.set(yscale="log", xlabel="n", ylabel="P(positive definite)")
    for n_, seen in result.data["indexed"].items():
        (line,) = right.plot(np.arange(n_ + 1), laws[n_], lw=1, label=f"n = {n_}, exact")
        right.plot(np.arange(n_ + 1), seen / seen.sum(), "o", color=line.get_color(), ms=4, label="drawn")
    right.set(yscale="log", xlabel="index", ylabel="probability")
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
