"""Clusters of atoms that attract each other from afar and repel each other close by."""

import jax
import jax.numpy as jnp

from jaxgd.base import Array, Facts, KnownPoint, Landscape, Stop
from jaxgd.landscapes import checks
from jaxgd.symmetry import permutations, rigid_motions

# Energies of the global minima, from the Cambridge Cluster Database.
GLOBAL_MINIMUM = {
    2: -1.0, 3: -3.0, 4: -6.0, 5: -9.103852, 6: -12.712062, 7: -16.505384, 8: -19.821489, 9: -24.113360,
    10: -28.422532, 11: -32.765970, 12: -37.967600, 13: -44.326801, 19: -72.659782, 38: -173.928427,
    55: -279.248470,
}  # fmt: skip

# All other minima, where the search for them is settled.
OTHER_MINIMA = {
    2: (), 3: (), 4: (), 5: (), 6: (-12.30293,), 7: (-15.93504, -15.59321, -15.53306),
    8: (-19.76530, -19.18931, -19.16928, -18.97606, -18.85683, -18.82867, -18.77821),
}  # fmt: skip

SADDLES_7 = (-15.4447, -15.3199, -15.2834, -15.0978, -15.0334, -15.0264, -14.8164, -14.8111, -14.5969,
             -14.5681, -14.5486, -12.5489)  # fmt: skip
"""Energies of the saddles of index 1 of seven atoms."""

MAX_ROWS = 20
"""Beyond so many atoms, rows unrolled one by one take more time to compile than they save."""


def lennard_jones(num_atoms: int = 13) -> Landscape:
    """Returns the energy of a Lennard-Jones cluster, in units of the pair's depth and diameter.

        value(x) = 4 sum_{i < j} (r_ij^-12 - r_ij^-6),    r_ij = |x_i - x_j|,    x of shape (num_atoms, 3).

    The number of minima grows exponentially with the atoms: 2, 4, 8 for 6, 7, 8 atoms and about 1,500 for
    13. Every critical point has six zero modes, three shifts and three turns (one fewer turn for atoms on a
    line).

    Starts are uniform in a ball of radius 0.3 + 0.6 (num_atoms / 0.74)^(1/3), about as dense as the cluster,
    which keeps the atoms close enough to condense. Some overlap, with energies beyond 1e4: cap the step, as
    the default optimizer does, or they fly apart. An atom that has no neighbour within 1.5 at the end has
    evaporated: the energy decays like r^-6 and its gradient soon passes any test. Nothing here pulls it
    back.

    Value and gradient are computed together, each pair once. Up to 20 atoms that goes row by row, which runs
    fastest; for more, all atoms at once around a ring, which compiles faster.

    Args:
      num_atoms: number of atoms, at least 2.

    Example:
      >>> pair = lennard_jones(num_atoms=2)
      >>> print(f"{pair.value(jnp.array([[0.0, 0, 0], [2 ** (1 / 6), 0, 0]])):.4f}")
      -1.0000

    References:
      Wales and Doye, Journal of Physical Chemistry A 101, 5111 (1997); the Cambridge Cluster Database.
    """
    num_atoms = checks.integer("num_atoms", num_atoms, at_least=2)
    radius = 0.3 + 0.6 * (num_atoms / 0.74) ** (1 / 3)

    def sample(key: jax.Array) -> Array:
        key_direction, key_radius = jax.random.split(key)
        direction = jax.random.normal(key_direction, (num_atoms, 3))
        length = jnp.sqrt(jnp.sum(direction**2, axis=1, keepdims=True))
        return radius * jax.random.uniform(key_radius, (num_atoms, 1)) ** (1 / 3) * direction / length

    return Landscape(
        name="lennard_jones",
        value=lambda x: _energy_and_gradient(x)[0],
        sample=sample,
        value_and_grad=_energy_and_gradient,
        symmetry=rigid_motions() * permutations(),
        facts=_facts(num_atoms),
        default_optimizer="lbfgs:max_step=0.1",
        default_stop=Stop(gradient_norm=1e-6, max_steps=10_000),
    )


@jax.jit  # one program also where a caller does not compile: there are hundreds of operations
def _energy_and_gradient(x: Array) -> tuple[Array, Array]:
    return (_row_by_row if x.shape[0] <= MAX_ROWS else _around_the_ring)(x)


def _row_by_row(x: Array) -> tuple[Array, Array]:
    """Each atom meets those after it; `tail` holds the gradient of the atoms whose row is still to come."""
    energy = jnp.zeros((), x.dtype)
    rows, tail = [], jnp.zeros_like(x)
    for atom in range(x.shape[0] - 1):
        heights, pushes = _pairs(x[atom : atom + 1] - x[atom + 1 :])
        energy = energy + jnp.sum(heights)
        rows.append(tail[:1] + jnp.sum(pushes, axis=0, keepdims=True))
        tail = tail[1:] - pushes
    return energy, jnp.concatenate([*rows, tail])


def _around_the_ring(x: Array) -> tuple[Array, Array]:
    """Every atom meets the one that follows `hop` places later on a ring, all atoms at once."""
    num_atoms = x.shape[0]
    twice = jnp.concatenate([x, x])
    energy, grad = jnp.zeros((), x.dtype), jnp.zeros_like(x)
    for hop in range(1, num_atoms // 2 + 1):
        share = 0.5 if 2 * hop == num_atoms else 1.0  # half way around, each pair meets from both sides
        heights, pushes = _pairs(x - twice[hop : hop + num_atoms])
        energy = energy + share * jnp.sum(heights)
        received = jnp.concatenate([pushes[num_atoms - hop :], pushes[: num_atoms - hop]])
        grad = grad + share * (pushes - received)
    return energy, grad


@jax.custom_jvp
def _pairs(apart: Array) -> tuple[Array, Array]:
    """Returns energies (n,) and gradients (n, 3) with respect to `apart`, the vectors between the pairs."""
    near = 1 / jnp.sum(apart**2, axis=1)
    near_6 = near**3
    push = 24 * (near_6 - 2 * near_6**2) * near
    return 4 * (near_6**2 - near_6), push[:, None] * apart


@_pairs.defjvp
def _change_of_pairs(at: tuple[Array], change: tuple[Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """The derivative by hand: what does not depend on the direction is computed once for all columns of a Hessian."""
    (apart,), (moved,) = at, change
    near = 1 / jnp.sum(apart**2, axis=1)
    near_6 = near**3
    push = 24 * (near_6 - 2 * near_6**2) * near
    stiffening = 96 * (7 * near_6 - 2) * near_6 * near**2  # the change of `push` with half the squared distance
    closer = jnp.sum(apart * moved, axis=1)
    return _pairs(apart), (push * closer, push[:, None] * moved + (stiffening * closer)[:, None] * apart)


def _facts(num_atoms: int) -> Facts | None:
    if num_atoms not in GLOBAL_MINIMUM:
        return None
    others = OTHER_MINIMA.get(num_atoms)
    saddles = SADDLES_7 if num_atoms == 7 else ()
    return Facts(
        source="Cambridge Cluster Database (global minima); exhaustive searches (other minima, saddles)",
        points=(
            KnownPoint(value=GLOBAL_MINIMUM[num_atoms], index=0, name="global minimum"),
            *(KnownPoint(value=value, index=0) for value in others or ()),
            *(KnownPoint(value=value, index=1) for value in saddles),
        ),
        num_minima=None if others is None else 1 + len(others),
    )
