r"""Two-layer ReLU networks of the teacher's width end in spurious minima, more often the wider they are.

Safran and Shamir 2018 (arXiv 1712.08968). As there: starts N(0, 1/n), gradient descent with step 0.1, float64, stop at
max_i |2 pi dF/dw_i| <= 1e-9, at most 40,000 steps, spurious where F >= 1e-3 (seed 100 n + k). The source halves the
step and starts again where the scaled gradient passes 1e4; here a descent that did would be counted as lost. With units
to spare descents end on valleys, so slowly that few settle: the loss then decides alone. Shares of the source rest on
1,000 runs. Where neither the source nor a table at hand gives a number the row is a prediction;
k < n ends in no global minimum at all (its minima are valleys or isolated, as `classify` tells).
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgd
from experiments.published.rows import Table, exact, share, stated
from jaxgd import experiment
from jaxgd.landscapes.two_layer_relu import SPURIOUS

SHARES = {6: 0.003, 8: 0.126, 10: 0.346, 12: 0.585, 15: 0.803, 20: 0.949}
"""Of 1,000 runs, k = n."""

QUICK, FULL = ((6, 6), (8, 8), (10, 10), (7, 6)), (
    *((n, n) for n in range(6, 21)), *((n + 1, n) for n in range(6, 16)), (5, 6), (7, 8)
)  # fmt: skip
NUM_RUNS = 1_000
HIGH = 1e-3  # the least loss of a spurious end


def descended(k: int, n: int, num: int) -> tuple[jaxgd.Landscape, jaxgd.Ends]:
    """Returns the ends of descents by the source's rules."""
    landscape = jaxgd.landscapes.two_layer_relu(k=k, n=n)
    steepest = lambda w, value, grad: 2 * jnp.pi * jnp.max(jnp.linalg.norm(grad, axis=1)) <= 1e-9
    stop = jaxgd.Stop(gradient_norm=None, max_steps=40_000, at_event="settled")
    ends = jaxgd.descend(landscape, optax.sgd(0.1), num, key=jax.random.key(100 * n + k), stop=stop,
                         events={"settled": steepest}, keep=("params",))  # fmt: skip
    return landscape, ends


def measure(options: experiment.Options) -> Table:
    """Returns the share of spurious ends, the losses of the families, and their smallest curvatures."""
    rows, seen = [], {}
    for k, n in QUICK if options.quick else FULL:
        num = 200 if options.quick else NUM_RUNS
        landscape, ends = descended(k, n, num)
        settled = np.asarray(ends.event_steps["settled"]) >= 0
        loss = np.asarray(ends.value)
        is_spurious = settled & (loss >= HIGH)
        seen[k, n] = loss
        rows.append(share(f"k={k}, n={n}: runs that settle", int(settled.sum()), num))
        judged: dict[str, Any] = {}
        if k == n and n in SHARES:
            judged = {"expected": SHARES[n], "source": "Safran and Shamir 2018", "source_trials": 1_000}
        elif k < n:
            judged = {"expected": 1.0, "source": "no k < n units imitate n"}
        rows.append(share(f"k={k}, n={n}: spurious ends", int(np.sum(loss >= HIGH)), num, **judged))
        families, hits = np.unique(np.round(loss[is_spurious], 5), return_counts=True)
        for published in SPURIOUS.get(n, ()) if k == n else ():
            near = families[np.abs(families - published) < 2e-5]
            if near.size:
                rows.append(exact(f"k={k}, n={n}: loss of the family near {published:g}",
                                  np.median(loss[np.abs(loss - published) < 2e-5]), error=1e-8, expected=published,
                                  tolerance=6e-6, source="Safran and Shamir 2018"))  # fmt: skip
        if k <= n and is_spurious.any():
            _, first = np.unique(np.round(loss[is_spurious], 6), return_index=True)
            flat = jnp.asarray(ends.params)[np.flatnonzero(is_spurious)[first]]
            second = jax.jit(jax.vmap(jax.hessian(landscape.value)))(flat).reshape(len(flat), k * n, k * n)
            lowest = np.linalg.eigvalsh(np.asarray(second))[:, 0]
            rows.append(exact(f"k={k}, n={n}: smallest curvature of {len(flat)} families", lowest.min(), error=1e-9,
                              expected=1e-4, relation="at_least", source="Safran and Shamir 2018"))  # fmt: skip
        experiment.note(
            f"k = {k}, n = {n}: {is_spurious.sum()} of {settled.sum()} spurious, {families.tolist()}, {hits.tolist()}"
        )
    return stated("safran_shamir", __doc__, rows, data={"seen": seen})


def figure(result: Table) -> Any:
    """Returns the share of spurious ends over the width, and the losses at the ends."""
    drawn, (left, right) = experiment.panels("Spurious minima: common at the teacher's width, rare with a unit more")
    left.plot(list(SHARES), list(SHARES.values()), "k+", ms=10, label="published, k = n")
    for extra, label in ((0, "k = n"), (1, "k = n + 1")):
        sizes = [n for k, n in result.data["seen"] if k == n + extra]
        found = [next(r for r in result.rows if r.statistic == f"k={n + extra}, n={n}: spurious ends") for n in sizes]
        middle = np.array([row.measured for row in found])
        ends = np.abs(np.array([[row.low, row.high] for row in found]) - middle[:, None]).T
        left.errorbar(sizes, middle, ends, fmt="o", ms=4, capsize=3, label=label)
    left.set(xlabel="n", ylabel="share of spurious ends")
    for (k, n), loss in result.data["seen"].items():
        right.plot(np.sort(np.maximum(loss, 1e-22)), np.arange(1, loss.size + 1) / loss.size, lw=1, label=f"{k}, {n}")
    right.axvline(HIGH, color="black", ls=":")
    right.set(xscale="log", xlabel="loss", ylabel="share of runs below")
    if len(result.data["seen"]) <= 8:
        right.legend(fontsize=7, title="k, n")
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
