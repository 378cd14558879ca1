r"""Minimising -sum x_i^4 on a sphere leads to the 2d axes alone, equally often; there are 3^d - 1 critical points.

value(x) = -sum x_i^4 / |x|^4. A critical point has s coordinates of equal size and d - s zeros: C(d, s) 2^s of value
-1/s, with Hessian -8/s on the sphere along the s - 1 directions that change the sizes and 4/s along the others, hence
index s - 1 (Ge, Huang, Jin, Yuan, COLT 2015, for the minima). Starts uniform on the sphere, gradient descent with step
0.05 (d <= 10) or 0.2, gradient norm 1e-8, seed d. The same with orthonormal components in place of axes is orthogonal
tensor decomposition: a random fourth-order tensor sum_i a_i^(x4) in 8 dimensions, descended from 400 starts.
"""

import math
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgd
from experiments.published.rows import Table, counts, exact, share, stated
from jaxgd import experiment

COUNTED = (2, 3, 4, 5)
DIMS = {2: 0.05, 10: 0.05, 50: 0.2, 200: 0.2}
TENSOR_DIM, TENSOR_STARTS = 8, 400


def quartic(components: np.ndarray) -> jaxgd.Landscape:
    """Returns -sum (a_i . x)^4 / |x|^4 for the (d, d) orthonormal rows a_i; the identity gives the axes."""
    dim = len(components)
    is_plain = np.array_equal(components, np.eye(dim))

    def value(x: jax.Array) -> jax.Array:
        along = x if is_plain else jnp.asarray(components, x.dtype) @ x
        return -jnp.sum(along**4) / jnp.sum(x**2) ** 2

    def sample(key: jax.Array) -> jax.Array:
        x = jax.random.normal(key, (dim,))
        return x / jnp.linalg.norm(x)

    return jaxgd.Landscape(name="sphere_quartic", value=value, sample=sample, symmetry=jaxgd.symmetry.scale())


def measure(options: experiment.Options) -> Table:
    """Returns all critical points of small spheres, and where descents end."""
    rows, seen = [], {}
    for dim in COUNTED[: 3 if options.quick else 4]:
        found = jaxgd.critical_points(quartic(np.eye(dim)), num_starts=400 * 2**dim, key=jax.random.key(dim)).catalogue
        rows.append(exact(f"d={dim}: critical points found", len(found), expected=3**dim - 1, source="3^d - 1"))
        for s in range(1, dim + 1):
            rows.append(exact(f"d={dim}: of index {s - 1}", int(np.sum(found.index == s - 1)),
                              expected=math.comb(dim, s) * 2**s, source="C(d, s) 2^s"))  # fmt: skip
            level = found.value[found.index == s - 1]
            rows.append(exact(f"d={dim}: value at index {s - 1}", level.mean() if level.size else np.nan, error=1e-12,
                              expected=-1 / s, tolerance=1e-10, source="-1/s"))  # fmt: skip
        experiment.note(f"d = {dim}: {len(found)}")
    for dim, rate in DIMS.items():
        num = (1_000 if dim <= 50 else 400) if options.quick else 20_000
        ends = jaxgd.descend(quartic(np.eye(dim)), optax.sgd(rate), num, key=jax.random.key(dim), keep=("params",),
                             stop=jaxgd.Stop(gradient_norm=1e-8, max_steps=100_000))  # fmt: skip
        x = np.asarray(ends.params)
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        axis = np.argmax(np.abs(unit), axis=1)
        is_axis = np.abs(np.abs(unit[np.arange(num), axis]) - 1) < 1e-7
        rows.append(
            share(f"d={dim}: ends at an axis", int(is_axis.sum()), num, expected=1.0, source="no other minimum")
        )
        which = 2 * axis + (unit[np.arange(num), axis] > 0)
        rows.append(counts(f"d={dim}: hits of the 2d axes, chi-square / freedom",
                           np.bincount(which[is_axis], minlength=2 * dim), np.full(2 * dim, 0.5 / dim),
                           source="equal by symmetry"))  # fmt: skip
        seen[dim] = np.asarray(ends.num_steps) * rate
        experiment.note(f"d = {dim}: median time {np.median(seen[dim]):.1f}")
    components = np.linalg.qr(np.random.default_rng(0).standard_normal((TENSOR_DIM, TENSOR_DIM)))[0]
    ends = jaxgd.descend(quartic(components), optax.sgd(0.05), TENSOR_STARTS, key=jax.random.key(0), keep=("params",),
                         stop=jaxgd.Stop(gradient_norm=1e-10, max_steps=100_000))  # fmt: skip
    x = np.asarray(ends.params)
    along = np.abs(x / np.linalg.norm(x, axis=1, keepdims=True) @ components.T)
    nearest = along.argmax(axis=1)
    rows.append(exact("orthogonal tensor, d=8: components found", len(np.unique(nearest)), expected=TENSOR_DIM,
                      source="Ge et al. 2015", num_descents=TENSOR_STARTS))  # fmt: skip
    rows.append(exact("orthogonal tensor, d=8: largest 1 - |cos| to a component", np.max(1 - along.max(axis=1)),
                      expected=0.0, tolerance=1e-12, source="Ge et al. 2015", num_descents=TENSOR_STARTS))  # fmt: skip
    return stated("sphere_tensor", __doc__, rows, data={"seen": seen})


def figure(result: Table) -> Any:
    """Returns numbers of critical points by index, and how long descents take."""
    drawn, (left, right) = experiment.panels(
        "On the sphere of -sum x^4 all descents end at axes, later in more dimensions"
    )
    for dim in COUNTED:
        rows = [row for row in result.rows if row.statistic.startswith(f"d={dim}: of index")]
        if rows:
            (line,) = left.plot(range(dim), [row.expected for row in rows], lw=1, label=f"d = {dim}, theory")
            left.plot(range(dim), [row.measured for row in rows], "o", color=line.get_color(), ms=4)
    left.set(xlabel="index", ylabel="critical points", yscale="log", xticks=range(5))
    for dim, time in result.data["seen"].items():
        right.step(np.sort(time), np.arange(1, time.size + 1) / time.size, where="post", label=f"d = {dim}")
    right.set(xscale="log", xlabel="steps times step", ylabel="share of descents at their end")
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
