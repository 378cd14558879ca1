r"""Where theorems exclude spurious minima, all descents that settle end at global ones, and saddles have their index.

Seeds 0, starts N(0, 1) in every entry where nothing else is said, L-BFGS with steps of at most 0.3 and gradient norm
1e-9, every end judged by `classify`; an end counts as global where its value is within 1e-9 of the least possible one.

- Phase retrieval, real: mean of ((a_k . x)^2 - y_k)^2 / 4, 16 dimensions, 400 Gaussian sensors (Sun, Qu, Wright 2018).
- Matrix sensing: mean of (<A_k, U U'> - y_k)^2 / 4, rank 2 in 6 dimensions, 300 Gaussian A_k (Bhojanapalli,
  Neyshabur, Srebro 2016).
- Low-rank factorisation |U V' - M|^2 / 2 + |U'U - V'V|^2 / 8, M of 6 x 5 and rank 2 (Ge, Jin, Zheng 2017).
- A deep linear network 4-3-4 of full-rank data (Kawaguchi 2016): minima alone are global.
- A linear autoencoder (Baldi and Hornik 1989) with distinct variances l_1 > ... > l_6, two hidden units, encoder tied
  to the decoder: critical points pick subspaces; and u u' against M, all of whose critical points are known: 0 and
  sqrt(l_i) v_i of index i - 1.
- A linear variational autoencoder with a fixed noise of the data is probabilistic PCA (Lucas et al. 2019): it has the
  same minima, of value -log-likelihood (Tipping and Bishop 1999).
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxgd
from experiments.published.rows import Table, exact, share, stated
from jaxgd import Landscape, experiment

VARIANCES = np.array([6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
NOISE = 0.5  # variance of the data around the model, of the variational autoencoder
NUM_DESCENTS = 2_000


def _normal(*shapes: tuple[int, ...]) -> Any:
    keys = lambda key: jax.random.split(key, len(shapes))
    return lambda key: [jax.random.normal(k, shape) for k, shape in zip(keys(key), shapes, strict=True)]


def problems() -> dict[str, tuple[Landscape, float, str]]:
    """Returns by name the landscape, its least value, and the source."""
    rng = np.random.default_rng(0)
    sensors, signal = rng.standard_normal((400, 16)), rng.standard_normal(16)
    seen = (sensors @ signal) ** 2
    matrices, factor = rng.standard_normal((300, 6, 6)), rng.standard_normal((6, 2))
    measured = np.einsum("kij,ij->k", matrices, factor @ factor.T)
    target = rng.standard_normal((6, 2)) @ rng.standard_normal((2, 5))
    linear = rng.standard_normal((4, 4))
    singular = np.linalg.svd(linear, compute_uv=False)
    spread = jnp.asarray(np.diag(VARIANCES))

    def factorised(p: Any) -> jax.Array:
        u, v = p
        return jnp.sum((u @ v.T - target) ** 2) / 2 + jnp.sum((u.T @ u - v.T @ v) ** 2) / 8

    def autoencoder(p: Any) -> jax.Array:  # half the mean squared error of x - W W' x
        left = jnp.eye(6) - p[0] @ p[0].T
        return jnp.trace(left @ spread @ left.T) / 2

    def probabilistic(p: Any) -> jax.Array:  # the bound at its best encoder is the likelihood of x ~ N(0, W W' + NOISE)
        model = p[0] @ p[0].T + NOISE * jnp.eye(6)
        return (jnp.linalg.slogdet(model)[1] + jnp.trace(jnp.linalg.solve(model, spread))) / 2

    likelihood = (np.log(VARIANCES[:2]).sum() + 2 + 4 * np.log(NOISE) + VARIANCES[2:].sum() / NOISE) / 2
    return {
        "phase retrieval": (Landscape(value=lambda p: jnp.mean(((sensors @ p[0]) ** 2 - seen) ** 2) / 4,
                                      sample=_normal((16,))), 0.0, "Sun, Qu, Wright 2018"),
        "matrix sensing": (Landscape(value=lambda p: jnp.mean(
            (jnp.einsum("kij,ia,ja->k", matrices, p[0], p[0]) - measured) ** 2) / 4, sample=_normal((6, 2))), 0.0,
            "Bhojanapalli et al. 2016"),
        "low-rank factorisation": (Landscape(value=factorised, sample=_normal((6, 2), (5, 2))), 0.0, "Ge et al. 2017"),
        "deep linear network": (Landscape(value=lambda p: jnp.sum((p[0] @ p[1] - linear) ** 2) / 2,
                                          sample=_normal((4, 3), (3, 4))), float(singular[-1] ** 2) / 2,
                                "Kawaguchi 2016"),
        "linear autoencoder": (Landscape(value=autoencoder, sample=_normal((6, 2))), float(VARIANCES[2:].sum()) / 2,
                               "Baldi and Hornik 1989"),
        "linear variational autoencoder": (Landscape(value=probabilistic, sample=_normal((6, 2))), float(likelihood),
                                           "Lucas et al. 2019"),
    }  # fmt: skip


def measure(options: experiment.Options) -> Table:
    """Returns the share of global ends of each problem, and the indices of known saddles."""
    num, rows, seen = 100 if options.quick else NUM_DESCENTS, [], {}
    for name, (landscape, least, source) in problems().items():
        ends = jaxgd.descend(landscape, jaxgd.transforms.lbfgs(max_step=0.3), num, key=jax.random.key(0),
                             stop=jaxgd.Stop(gradient_norm=1e-9, max_steps=20_000))  # fmt: skip
        excess = np.asarray(ends.value) - least
        settled = np.asarray(ends.status) == int(jaxgd.Status.CONVERGED)
        seen[name] = excess
        num_settled, num_global = int(np.sum(settled)), int(np.sum(settled & (np.abs(excess) < 1e-9)))
        rows.append(share(f"{name}: ends at a global minimum", num_global, num_settled, expected=1.0, source=source))
        if num_settled < num:
            rows.append(share(f"{name}: descents that do not settle", num - num_settled, num))
        rows.append(exact(f"{name}: lowest value below the least possible one", max(0.0, -excess.min()), expected=0.0,
                          tolerance=1e-10, source=source, num_descents=num))  # fmt: skip
        experiment.note(f"{name}: {np.sum(np.abs(excess) < 1e-9)} of {num}")

    ladder = jaxgd.landscapes.rank_one_factorisation(tuple(VARIANCES))
    found = jaxgd.critical_points(ladder, num_starts=600, key=jax.random.key(0)).catalogue
    rows.append(
        exact("u u' against M, d=6: critical points up to sign", len(found), expected=7, source="M u = |u|^2 u")
    )
    for index in range(7):
        value = (np.sum(VARIANCES**2) - (VARIANCES[index] ** 2 if index < 6 else 0)) / 4
        here = found.value[found.index == index]
        rows.append(exact(f"u u' against M, d=6: value at index {index}", here[0] if len(here) == 1 else np.nan,
                          error=1e-10, expected=value, tolerance=1e-9, source="derived: index i - 1"))  # fmt: skip
    return stated("no_spurious_minima", __doc__, rows, data={"seen": seen})


def figure(result: Table) -> Any:
    """Returns the excess value at all ends of each problem."""
    drawn, (panel,) = experiment.panels("All descents end at global minima, as the theorems say", 1, width=7)
    for name, excess in result.data["seen"].items():
        panel.plot(np.sort(np.maximum(np.abs(excess), 1e-30)), np.arange(1, excess.size + 1) / excess.size, label=name)
    panel.axvline(1e-9, color="black", ls=":")
    panel.set(
        xscale="log", xlabel="distance of the end's value to the least possible one", ylabel="share of ends below"
    )
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
