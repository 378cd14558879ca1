"""The spherical p-spin glass: random polynomials on a sphere in high dimension."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Array, Facts, InputValueError, KnownPoint, Landscape, Stop
from jaxgd.landscapes import checks
from jaxgd.symmetry import scale

MAX_COUPLINGS = 10_000_000
"""More couplings than this do not fit into a lane's caches, nor into patience."""


def spherical_p_spin(dim: int = 20, p: int = 3, *, seed: int = 0) -> Landscape:
    """Returns one draw of the p-spin Hamiltonian on the sphere |s|^2 = dim, for any length of the parameters.

        value(x) = dim^(-(p-1)/2) sum J_{i_1 ... i_p} s_{i_1} ... s_{i_p},    s = sqrt(dim) x / |x|,

    with independent J ~ N(0, 1), so that energies are of order dim. Any optimizer can descend it in x; the
    radial direction is a zero mode of every critical point, declared as a symmetry. Gradient steps lengthen
    x and thereby shrink themselves a little.

    For p = 3 and large dim, value / dim of the lowest minimum tends to -1.657. Where descents end it tends to
    about -2 sqrt((p-1)/p) = -1.633, slowly: -1.31 at dim 10, -1.43 at dim 20. On average over J there are
    2 sqrt(3p - 2) critical points for dim 2, and for p = 3 never more than 2 (2^dim - 1). For p = 2 they are
    the eigenvectors: 2 dim points, two of each index. Antipodes count as two points (for odd p the value
    changes its sign).

    Starts are uniform on the sphere.

    Args:
      dim: number of spins, at least 2.
      p: spins that interact, at least 2; dim^p couplings are stored.
      seed: which draw of the couplings; the same in every session and precision.

    Example:
      >>> glass = spherical_p_spin(dim=4, p=2, seed=1)
      >>> [point.index for point in glass.facts.points]
      [0, 0, 1, 1, 2, 2, 3, 3]

    References:
      Crisanti and Sommers, Zeitschrift fuer Physik B 87, 341 (1992); Auffinger, Ben Arous and Cerny,
      Communications on Pure and Applied Mathematics 66, 165 (2013).
    """
    dim = checks.integer("dim", dim, at_least=2)
    p = checks.integer("p", p, at_least=2)
    seed = checks.integer("seed", seed, at_least=0)
    if dim**p > MAX_COUPLINGS:
        raise InputValueError(f"`dim` ** `p` must be at most {MAX_COUPLINGS:,}, got {dim}^{p} = {dim**p:,}.")
    drawn = np.random.default_rng(seed).standard_normal((dim,) * p)
    orders = list(itertools.permutations(range(p)))
    couplings = sum(drawn.transpose(order) for order in orders) / (len(orders) * dim ** ((p - 1) / 2))

    def value_and_grad(x: Array) -> tuple[Array, Array]:
        radius = jnp.sqrt(jnp.sum(x**2))
        spins = math.sqrt(dim) * x / radius
        field = jnp.asarray(couplings, x.dtype).reshape(dim ** (p - 1), dim) @ spins
        for rank in range(p - 2, 0, -1):
            field = field.reshape(dim**rank, dim) @ spins
        energy = jnp.sum(field * spins)
        return energy, (p * math.sqrt(dim) / radius) * (field - (energy / dim) * spins)

    def sample(key: jax.Array) -> Array:
        direction = jax.random.normal(key, (dim,))
        return math.sqrt(dim) * direction / jnp.sqrt(jnp.sum(direction**2))

    return Landscape(
        name="spherical_p_spin",
        value=lambda x: value_and_grad(x)[0],
        sample=sample,
        value_and_grad=value_and_grad,
        symmetry=scale(),
        facts=_eigenvector_facts(couplings) if p == 2 else None,
        default_optimizer="sgd:learning_rate=0.05",
        default_stop=Stop(gradient_norm=1e-8, max_steps=50_000),
    )


def _eigenvector_facts(couplings: np.ndarray) -> Facts:
    eigenvalues, eigenvectors = np.linalg.eigh(couplings)
    dim = len(eigenvalues)
    return Facts(
        source="value = dim * Rayleigh quotient of the symmetrised couplings",
        points=tuple(
            KnownPoint(value=dim * float(eigenvalue), index=index, params=sign * math.sqrt(dim) * vector)
            for index, (eigenvalue, vector) in enumerate(zip(eigenvalues, eigenvectors.T, strict=True))
            for sign in (1, -1)
        ),
        num_minima=2,
        num_critical_points=2 * dim,
        max_learning_rate=1 / float(eigenvalues[-1] - eigenvalues[0]),
    )
