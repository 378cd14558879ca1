"""T4.2: Each direction curves up or down with probability 1/2, so a critical point is a minimum with probability 0.5^n.

Put to three tests. (1) Random symmetric matrices (GOE), the model of "no knowledge": the share that is positive
definite, against 0.5^n and against the exact law. (2) Critical points of a Gaussian random field in a trap, found by
Newton's method from points along descents and judged by `classify`: their index against their energy, and the share of
minima among all and among the lowest fifth. (3) The same for a small network on the digits (one hidden tanh unit, 20
images). Newton's method finds what its basins hold, not a fair sample, but the claim is about every critical point,
low ones included. A "descent" is a matrix or a distinct critical point. Theory: GOE 1/2, 0.146447, 0.0249209,
0.00245671 for n = 1 .. 4, asymptotically 3^(-n^2 / 4) (Dean and Majumdar 2006): eigenvalues repel, so that a definite
matrix is far rarer than 0.5^n; and the index of a critical point of a field follows its energy (Bray and Dean 2007):
low ones are minima.
"""

from typing import Any

import jax
import numpy as np
import optax

from jaxgd import Landscape, Verdict, classify, experiment, landscapes
from jaxgd.experiment.charts import with_intervals
from jaxgd.points.newton_search import newton_search
from jaxgd.trajectory import trajectories

GOE = {
    1: 1 / 2, 2: 1 / 2 - 2**0.5 / 4, 3: 1 / 4 - 2**0.5 / (2 * np.pi), 4: 1 / 4 - 2**0.5 / 16 - 1 / (2 * np.pi)
}  # fmt: skip


def share_definite(n: int, count: int) -> np.ndarray:
    """Returns whether each of `count` random symmetric matrices is positive definite."""
    a = np.random.default_rng(n).standard_normal((count, n, n))
    return np.linalg.eigvalsh(a + a.transpose(0, 2, 1))[:, 0] > 0


def critical_points(landscape: Landscape, rate: float, num_starts: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Returns n, and values and indices over n of the distinct critical points found from points along descents."""
    key = jax.random.key(1)
    way = trajectories(landscape, optax.sgd(rate), num_starts, key=key, num_steps=400, every=40,
                       observe=lambda params, state: params)[1]  # fmt: skip
    starts = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), way)
    points = classify(landscape, newton_search(landscape, starts=starts, num_steps=40, key=key))
    is_regular = np.isin(points.verdict, [Verdict.MINIMUM, Verdict.SADDLE, Verdict.MAXIMUM])
    values, first = np.unique(np.round(np.asarray(points.value)[is_regular], 7), return_index=True)
    dim = sum(leaf[0].size for leaf in jax.tree.leaves(points.params))
    return dim, values, np.asarray(points.index)[is_regular][first] / dim


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns definite matrices, and critical points of a field and of a network."""
    count, num_field, num_network = (100_000, 64, 4) if options.quick else (2_000_000, 1_000, 64)
    matrices = {n: share_definite(n, count) for n in GOE}
    field = landscapes.gaussian_field(dim=5, m=0.3, num_features=1_000)
    network = landscapes.digits_mlp(widths=(1,), num_images=20, l2=1e-2)
    found = {
        "Gaussian field, n = 5": critical_points(field, 0.05, num_field),
        "network, n = 85": critical_points(network, 0.3, num_network),
    }
    return judge(matrices, found)


def judge(matrices: dict[int, np.ndarray], found: dict[str, tuple[int, np.ndarray, np.ndarray]]) -> experiment.Claim:
    """Returns the claim from flags of matrices by n, and from (n, values, index / n) of critical points."""
    rows = [
        experiment.share(f"GOE, n = {n}: definite (exactly {GOE[n]:.4g})", flags, expected=0.5**n, source="0.5^n")
        for n, flags in matrices.items()
    ]
    for name, (n, values, index) in found.items():
        if values.size >= 5:
            is_low = values <= np.quantile(values, 0.2)
            rows += [
                experiment.share(f"{name}: minima among all found", index == 0, expected=0.5**n, source="0.5^n"),
                experiment.share(f"{name}: minima, lowest fifth", index[is_low] == 0, expected=0.5**n, source="0.5^n"),
            ]
    return experiment.Claim(
        name="T4.2", rows=rows, data={"found": found, "matrices": dict(enumerate(rows[: len(matrices)], start=1))},
        claim="A critical point in n dimensions is a minimum with probability 0.5^n.",
    )  # fmt: skip


def figure(claim: experiment.Claim) -> Any:
    """Returns the law of the matrices, and index against energy."""
    title = "0.5^n is far too large for random matrices, and no law for critical points: the index follows the value"
    drawn, axes = experiment.panels(title, 1 + len(claim.data["found"]), width=4.4)
    n = list(claim.data["matrices"])
    with_intervals(axes[0], n, list(claim.data["matrices"].values()), "GOE, measured")
    axes[0].plot(n, [0.5**k for k in n], "k--", label="0.5^n")
    axes[0].plot(n, [GOE[k] for k in n], "k+", ms=10, label="exact")
    axes[0].set(yscale="log", xlabel="n", ylabel="share positive definite", xticks=n)
    axes[0].legend()
    for panel, (name, (_, values, index)) in zip(axes[1:], claim.data["found"].items(), strict=True):
        panel.plot(values, index, "o", ms=4, alpha=0.5)
        panel.set(xlabel="value", ylabel="negative directions, share", title=name)
    return drawn
