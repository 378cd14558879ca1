"""Motions of points in space: turns, shifts and mirror images, rotations of columns, shifts on a torus."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Array, InputTypeError, InputValueError, Key
from jaxgd.symmetry.groups import MOTIONS, At, Factor, Group, View, Views, check_matrix, group, length


def rigid_motions(at: At = None, *, reflections: bool = True) -> Group:
    """Returns the shifts and turns of n points in d dimensions, a leaf of shape (n, d), for energies of clusters.

    The invariants are the distances of all pairs. Without reflections one number more tells mirror images apart, unless
    the shape is so symmetric that it vanishes.

    Args:
      at: which leaf holds the points.
      reflections: whether mirror images have the same value, too.

    Example:
      >>> import jax.numpy as jnp
      >>> triangle = jnp.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
      >>> rigid_motions().invariants(triangle).tolist(), rigid_motions().generators(triangle).shape
      ([3.0, 4.0, 5.0], (3, 3, 2))
    """
    name = "rigid motions" + (" and mirror images" if reflections else "")

    def velocities(leaves: list[Array]) -> list[Array]:
        (x,) = leaves
        shifts = jnp.broadcast_to(jnp.eye(x.shape[1], dtype=x.dtype)[:, None, :], (x.shape[1], *x.shape))
        return [jnp.concatenate([shifts, _turns(_centred(x))])]

    def move(leaves: list[Array], key: Key) -> list[Array]:
        (x,) = leaves
        key_turn, key_shift = jax.random.split(key)
        shift = jax.lax.stop_gradient(jnp.max(jnp.abs(x))) * jax.random.normal(key_shift, (1, x.shape[1]), x.dtype)
        return [_turned(x, key_turn, reflections) + shift]

    def look(views: Views, numbers: list[int]) -> Views:
        x = views.of[numbers[0]].array
        apart = x[:, None] - x[None]
        pairs = jnp.sqrt(jnp.sum(apart**2, axis=-1))
        return _with(views, numbers[0], View(pairs, 1, () if reflections else (_handedness(_centred(x), pairs),)))

    return group(
        Factor(
            name=name, stage=MOTIONS, at=(at,), look=look, velocities=velocities, move=move, check=check_matrix(name)
        )
    )


def orthogonal(at: At = None, *, reflections: bool = True) -> Group:
    """Returns the rotations U -> U Q of the columns of a matrix (n, r), as of the factors of U U'.

    The invariants are the entries of U U'. Rows may be points on spheres, too: turns about the origin are the same.

    Args:
      at: which leaf holds the matrix.
      reflections: whether Q of determinant -1 leave the value unchanged, too.

    Example:
      >>> import jax.numpy as jnp
      >>> orthogonal().invariants(jnp.array([[3.0, 4.0]])).tolist()
      [25.0]
    """
    name = "rotations of the columns" + (" and reflections" if reflections else "")

    def look(views: Views, numbers: list[int]) -> Views:
        x = views.of[numbers[0]].array
        pairs = jnp.sum(x[:, None] * x[None], axis=-1)
        return _with(views, numbers[0], View(pairs, 0, () if reflections else (_handedness(x, pairs),)))

    return group(
        Factor(
            name=name,
            stage=MOTIONS,
            at=(at,),
            look=look,
            velocities=lambda leaves: [_turns(leaves[0])],
            move=lambda leaves, key: [_turned(leaves[0], key, reflections)],
            check=check_matrix(name),
        )
    )


def torus(period: float = 2 * math.pi, at: At = None, *, shifts: bool = True) -> Group:
    """Returns the motions of a leaf whose entries are periodic: whole periods for each, one shift for all rows.

    The invariants are cosine and sine of the differences between rows, or of the entries themselves without shifts.

    Args:
      period: of every entry, positive.
      at: which leaf; rows are points on a torus, entries of a vector are angles.
      shifts: whether shifting all rows together leaves the value unchanged.

    Example:
      >>> import jax.numpy as jnp
      >>> angles = torus()
      >>> bool(jnp.allclose(angles.invariants(jnp.array([0.1, 0.4])), angles.invariants(jnp.array([7.0, 7.3]))))
      True
    """
    if isinstance(period, bool) or not isinstance(period, (int, float, np.number)):
        raise InputTypeError(f"`period` must be a number, got {period!r}.")
    if not (np.isfinite(period) and period > 0):
        raise InputValueError(f"`period` must be positive and finite, got {period}.")
    rows = lambda x: x.reshape(x.shape[0] if x.ndim else 1, -1)

    def look(views: Views, numbers: list[int]) -> Views:
        x = rows(views.of[numbers[0]].array) * (2 * math.pi / period)
        turn = x[:, None] - x[None] if shifts else x
        return _with(
            views, numbers[0], View(jnp.concatenate([jnp.cos(turn), jnp.sin(turn)], axis=-1), 1 if shifts else None)
        )

    def velocities(leaves: list[Array]) -> list[Array]:
        (x,) = leaves
        width = rows(x).shape[1]
        return [jnp.broadcast_to(jnp.eye(width, dtype=x.dtype)[:, None], (width, *rows(x).shape)).reshape(-1, *x.shape)]

    def move(leaves: list[Array], key: Key) -> list[Array]:
        (x,) = leaves
        key_shift, key_period = jax.random.split(key)
        moved = rows(x) + period * jax.random.randint(key_period, rows(x).shape, -2, 3).astype(x.dtype)
        if shifts:
            moved = moved + period * jax.random.uniform(key_shift, (1, moved.shape[1]), x.dtype)
        return [moved.reshape(x.shape)]

    name = "shifts on a torus" if shifts else "whole periods"
    return group(
        Factor(name=name, stage=MOTIONS, at=(at,), look=look, velocities=velocities if shifts else None, move=move)
    )


def _with(views: Views, number: int, view: View) -> Views:
    """Returns the views with another one of a leaf."""
    return views._replace(of=views.of | {number: view})


def _centred(x: Array) -> Array:
    return x - jnp.mean(x, axis=0, keepdims=True)


def _turns(x: Array) -> Array:
    """Returns (d (d - 1) / 2, n, d) the velocities of turns about the origin, one for each pair of axes."""
    first, second = np.triu_indices(x.shape[1], 1)
    plane = np.zeros((len(first), x.shape[1], x.shape[1]))
    plane[np.arange(len(first)), first, second] = 1
    plane[np.arange(len(first)), second, first] = -1
    return jnp.einsum("ni,kij->knj", x, jnp.asarray(plane, x.dtype))


def _turned(x: Array, key: Key, reflections: bool) -> Array:
    """Returns the points turned at random about the origin."""
    turn, _ = jnp.linalg.qr(jax.random.normal(key, (x.shape[1], x.shape[1]), x.dtype))
    if not reflections:
        turn = turn.at[:, 0].multiply(jnp.sign(jnp.linalg.det(turn)))
    return x @ turn


def _handedness(x: Array, pairs: Array) -> Array:
    """Returns (1,) a number that mirror images have with opposite signs, whatever the order of the points.

    It is the determinant of d weighted sums of the points, with powers of what a point's pairs come to as weights.
    """
    weight = jnp.mean(pairs, axis=1)
    weight = weight / length(weight) * math.sqrt(weight.shape[0])
    sums = jnp.stack([jnp.sum(weight[:, None] ** (k + 1) * x, axis=0) for k in range(x.shape[1])])
    return (jnp.linalg.det(sums) / length(x) ** (x.shape[1] - 1))[None]
