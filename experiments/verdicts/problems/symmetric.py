"""Functions with symmetries that nobody declares: every minimum is a whole orbit of them.

The dimension of an orbit is that of the group less that of the motions that leave the point alone.

References:
  Thomson, Phil. Mag. 7, 237 (1904), for charges on a sphere: energies 3.674234614 of four, 9.985281374 of six (the
  octahedron, here without its closed form), 14.452977414 of seven.
  Kuramoto (1984), for coupled phases on a ring: the states of winding number q are minima where |q| < n/4.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.verdicts.problems.problem import Known, Problem

_MATRIX = np.diag([1.0, 2.0, 4.0, 7.0]) + 0.3


def problems() -> list[Problem]:
    """Returns all of them."""
    eigenvalues = np.linalg.eigvalsh(_MATRIX)
    target = np.array([0.6, 0.8, 0.0])
    x = np.random.default_rng(3).standard_normal((20, 3))
    y = x @ np.array([0.7, -1.2, 0.4])
    angles = lambda p: jnp.arctan2(p[:, 1], p[:, 0])
    pairs = np.triu_indices(4, 1)
    edge = lambda points: jnp.sqrt(jnp.sum((points[pairs[0]] - points[pairs[1]]) ** 2, axis=1))
    return [
        Problem(name="direction", source="scale of a vector: a ray", sample=_normal(3),
                value=lambda v: jnp.sum((v / jnp.linalg.norm(v) - target) ** 2),
                known=(Known(value=0.0, dimension=1), Known(value=4.0, negative=2, dimension=1))),
        Problem(name="Rayleigh quotient", source="eigenvalues, by NumPy; along an eigenvector a ray", sample=_normal(4),
                value=lambda v: v @ _MATRIX @ v / (v @ v),
                known=tuple(Known(value=float(v), negative=i, dimension=1) for i, v in enumerate(eigenvalues))),
        Problem(name="weight norm", source="scale of a vector", value=lambda p: jnp.mean(
                    (p["length"] * (x @ p["v"]) / jnp.linalg.norm(p["v"]) - y) ** 2),
                sample=lambda key: {"v": jax.random.normal(key, (3,)), "length": jnp.ones(())},
                known=(Known(value=0.0, dimension=1),)),
        Problem(name="Kuramoto ring", source="winding numbers: 0 and +-1 of seven phases, turned together",
                value=lambda phase: jnp.sum(1 - jnp.cos(phase - jnp.roll(phase, 1))),
                sample=lambda key: 2 * jnp.pi * jax.random.uniform(key, (7,)),
                known=tuple(Known(value=7 * (1 - float(np.cos(2 * np.pi * q / 7))), dimension=1) for q in (0, 1))),
        *(_thomson(num, energy) for num, energy in ((4, 3.674234614174767), (6, 9.985281374238570))),
        Problem(name="distances", source="four points at given distances: moved and turned together, or mirrored",
                value=lambda p: jnp.sum((edge(p) - 1) ** 2), sample=_normal(4, 3), num_starts=100,
                known=(Known(value=0.0, dimension=6),
                       Known(value=2 * (3 - 2 * np.sqrt(2)), dimension=5, negative=None))),
        Problem(name="phases of pairs", source="length of each of three vectors, and a common turn",
                value=lambda p: jnp.sum(1 - jnp.cos(angles(p) - jnp.roll(angles(p), 1))), sample=_normal(3, 2),
                known=(Known(value=0.0, dimension=4), Known(value=4.5, dimension=4, negative=2),
                       Known(value=4.0, dimension=4, negative=1))),
    ]  # fmt: skip


def _normal(*shape: int) -> Any:
    return lambda key: jax.random.normal(key, shape)


def _thomson(num: int, energy: float) -> Problem:
    """Returns charges on a sphere, each by a vector of any length."""
    pairs = np.triu_indices(num, 1)

    def value(p: Any) -> Any:
        on_sphere = p / jnp.linalg.norm(p, axis=1, keepdims=True)
        away = on_sphere[pairs[0]] - on_sphere[pairs[1]]
        return jnp.sum(1 / jnp.sqrt(jnp.sum(away**2, axis=1)))

    return Problem(
        name=f"Thomson, {num} charges",
        source="Thomson (1904); three turns and the length of every vector",
        value=value,
        sample=_normal(num, 3),
        known=(Known(value=energy, dimension=num + 3),),
    )
