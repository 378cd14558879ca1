"""Changes of length and of sign."""

import jax
import jax.numpy as jnp

from jaxgd.base import Array, Key
from jaxgd.symmetry.groups import MOTIONS, ROWS, SIZE, At, Factor, Group, View, Views, check_matrix, group, length


def scale(at: At = None, *, rows: bool = False) -> Group:
    """Returns the scalings x -> c x, c > 0, for losses that do not depend on the length of a leaf.

    The invariant is the leaf divided by its length.

    Args:
      at: which leaf.
      rows: whether each row of a leaf (n, d) has a factor of its own, as where rows are normalised.

    Example:
      >>> import jax.numpy as jnp
      >>> scale().invariants(jnp.array([3.0, 4.0])).round(3).tolist()
      [0.6, 0.8]
    """

    def velocities(leaves: list[Array]) -> list[Array]:
        (x,) = leaves
        return [jnp.eye(x.shape[0], dtype=x.dtype)[:, :, None] * x[None] if rows else x[None]]

    def move(leaves: list[Array], key: Key) -> list[Array]:
        (x,) = leaves
        return [x * jnp.exp(jax.random.normal(key, (x.shape[0], 1) if rows else (1,) * x.ndim, x.dtype))]

    def look(views: Views, numbers: list[int]) -> Views:
        view = views.of[numbers[0]]
        size = length(view.array, axis=1) if rows else length(view.array)
        extras = view.extras if rows else tuple(extra / jnp.max(size) for extra in view.extras)
        return views._replace(of=views.of | {numbers[0]: View(view.array / size, view.diagonal, extras)})

    name = "lengths of the rows" if rows else "length of the parameters"
    check = check_matrix(name) if rows else lambda leaves: None
    stage = ROWS if rows else SIZE
    return group(Factor(name=name, stage=stage, at=(at,), look=look, velocities=velocities, move=move, check=check))


def sign_flips(at: At = None, *, together: bool = False) -> Group:
    """Returns the changes of sign of the entries of a leaf, each by itself, or of all at once.

    The invariants are absolute values; of all at once the absolute sums and differences of all pairs of entries.

    Args:
      at: which leaf.
      together: whether only changing all signs at once leaves the value unchanged.

    Example:
      >>> import jax.numpy as jnp
      >>> sign_flips().invariants(jnp.array([-3.0, 4.0])).tolist()
      [3.0, 4.0]
    """

    def move(leaves: list[Array], key: Key) -> list[Array]:
        (x,) = leaves
        return [x * jax.random.rademacher(key, (1,) * x.ndim if together else x.shape).astype(x.dtype)]

    def look(views: Views, numbers: list[int]) -> Views:
        view = views.of[numbers[0]]
        if not together:
            return views._replace(of=views.of | {numbers[0]: view._replace(array=jnp.abs(view.array))})
        x = view.array.reshape(-1)
        pairs = jnp.stack([jnp.abs(x[:, None] + x[None]), jnp.abs(x[:, None] - x[None])], axis=-1)
        return views._replace(of=views.of | {numbers[0]: View(pairs, 0)})

    name = "the sign of all coordinates" if together else "signs of the coordinates"
    return group(Factor(name=name, stage=MOTIONS, at=(at,), look=look, move=move))
