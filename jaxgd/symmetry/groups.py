"""Groups that can be multiplied: how a factor acts on leaves of the params, and how factors combine.

The invariants of a product are made in stages, since those of one factor are seldom those of another. Each factor
replaces the leaves it acts on by something that it leaves unchanged and that later ones still
act on as before: lengths of rows are divided out, then points become the distances between them, then the whole is
divided by its size, and permuted rows are sorted last.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxgd.base import Array, InputTypeError, InputValueError, Key, Params, Symmetry

At = str | int | tuple[str | int, ...] | None
"""Where a leaf is: its key or field in the params, or several on the way to it; None where the params are the leaf."""

ROWS, MOTIONS, SIZE, ORDER = range(4)
"""The stages: lengths of rows, motions of the points, the size of the whole, the order of rows."""


class View(NamedTuple):
    """What invariants are made of, for one leaf.

    Attributes:
      array: the leaf, or what a factor made of it.
      diagonal: None where the array's rows are the leaf's; where the first two axes run over pairs of rows, 0, or 1 if
        pairs of a row with itself say nothing.
      extras: vectors that are finished.
    """

    array: Array
    diagonal: int | None = None
    extras: tuple[Array, ...] = ()


class Views(NamedTuple):
    """The leaves on their way to invariants.

    Attributes:
      of: view of each leaf by its number, until a factor has made invariants of it.
      finished: vectors of invariants.
    """

    of: dict[int, View]
    finished: tuple[Array, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Factor:
    """One group on some leaves; what maps leaves takes and returns them as a list, in the order of the params.

    Attributes:
      name: what a person calls it.
      stage: when its invariants are made.
      at: the leaves it acts on.
      look: maps views and the numbers of its leaves to views that it leaves unchanged.
      velocities: maps its leaves to those of its continuous motions, each with one leading axis; None without any.
      move: maps its leaves and a key to their images under a random motion.
      check: refuses leaves, given by shapes, that it cannot act on.
      is_alone: whether no other factor may act on its leaves.
    """

    name: str
    stage: int
    at: tuple[At, ...]
    look: Callable[[Views, list[int]], Views]
    move: Callable[[list[Array], Key], list[Array]]
    velocities: Callable[[list[Array]], list[Array]] | None = None
    check: Callable[[list[Any]], None] = lambda leaves: None
    is_alone: bool = False


@dataclass(frozen=True, kw_only=True)
class Group(Symmetry):
    """A symmetry made of ready factors; `*` returns the group that two generate.

    Attributes:
      factors: on which leaves it acts, and how.
    """

    factors: tuple[Factor, ...] = ()

    def __mul__(self, other: "Group") -> "Group":
        """Returns the group of all motions of both."""
        if not isinstance(other, Group):
            raise InputTypeError(f"only groups of `jaxgd.symmetry` can be multiplied, got {other!r}.")
        return group(*self.factors, *other.factors)


def group(*factors: Factor) -> Group:
    """Returns the group that these factors generate."""
    _check_together(factors)
    is_continuous = any(factor.velocities is not None for factor in factors)
    return Group(
        name=" and ".join(factor.name for factor in factors),
        invariants=lambda params: _invariants(factors, params),
        generators=(lambda params: _generators(factors, params)) if is_continuous else None,
        random_motion=lambda params, key: _moved(factors, params, key),
        factors=factors,
    )


def _check_together(factors: Sequence[Factor]) -> None:
    """Rejects combinations of factors whose joint invariants are not known."""
    for i, one in enumerate(factors):
        for other in factors[i + 1 :]:
            is_shared = not set(one.at).isdisjoint(other.at)
            if is_shared and (one.is_alone or other.is_alone or one.stage == other.stage):
                raise InputValueError(
                    f"no invariants are known of {one.name} together with {other.name} on one leaf; give your own by"
                    " jaxgd.Symmetry(name=..., invariants=..., generators=...)."
                )


def _leaves(factors: Sequence[Factor], params: Params) -> tuple[list[Array], Any, list[list[int]]]:
    """Returns the leaves of the params, their structure, and the numbers of the leaves of each factor."""
    leaves, treedef = jax.tree.flatten(params)
    numbers = jax.tree.unflatten(treedef, list(range(len(leaves))))
    own = [[_number(numbers, at, factor.name) for at in factor.at] for factor in factors]
    for factor, of_factor in zip(factors, own, strict=True):
        factor.check([leaves[number] for number in of_factor])
    return leaves, treedef, own


def _number(numbers: Any, at: At, name: str) -> int:
    """Returns the number of the leaf at a place."""
    for step in () if at is None else at if isinstance(at, tuple) else (at,):
        try:
            numbers = getattr(numbers, step) if isinstance(step, str) and hasattr(numbers, step) else numbers[step]
        except (KeyError, IndexError, TypeError):
            raise InputValueError(f"the params have no leaf at {at!r}, on which {name} should act.") from None
    if not isinstance(numbers, int):
        raise InputValueError(
            f"the params have no single leaf at {at!r}, on which {name} should act; say which by `at`."
        )
    return numbers


def _invariants(factors: Sequence[Factor], params: Params) -> Array:
    leaves, _, own = _leaves(factors, params)
    views = Views({i: View(leaf) for i, leaf in enumerate(leaves)})
    for factor, numbers in sorted(zip(factors, own, strict=True), key=lambda pair: pair[0].stage):
        views = factor.look(views, numbers)
    rest = [
        part
        for view in views.of.values()
        for part in (view.array.ravel() if view.diagonal is None else upper(view).ravel(), *view.extras)
    ]
    return jnp.ravel(ravel_pytree([*rest, *views.finished])[0])


def _generators(factors: Sequence[Factor], params: Params) -> Params:
    leaves, treedef, own = _leaves(factors, params)
    columns: list[list[Array]] = [[] for _ in leaves]
    for factor, numbers in zip(factors, own, strict=True):
        if factor.velocities is None:
            continue
        velocities = factor.velocities([leaves[number] for number in numbers])
        count = len(velocities[0])
        for number, (column, leaf) in enumerate(zip(columns, leaves, strict=True)):
            moved = velocities[numbers.index(number)] if number in numbers else jnp.zeros((count, *leaf.shape))
            column.append(moved.astype(leaf.dtype))
    return jax.tree.unflatten(treedef, [jnp.concatenate(column) for column in columns])


def _moved(factors: Sequence[Factor], params: Params, key: Key) -> Params:
    leaves, treedef, own = _leaves(factors, params)
    for factor, numbers, own_key in zip(factors, own, jax.random.split(key, len(factors)), strict=True):
        moved = factor.move([leaves[number] for number in numbers], own_key)
        for number, leaf in zip(numbers, moved, strict=True):
            leaves[number] = leaf.astype(leaves[number].dtype)
    return jax.tree.unflatten(treedef, leaves)


def upper(view: View) -> Array:
    """Returns (pairs, ...) the entries of a view of pairs, each pair once."""
    first, second = np.triu_indices(view.array.shape[0], view.diagonal or 0)
    return view.array[first, second]


def check_matrix(name: str) -> Callable[[list[Any]], None]:
    """Returns the check that leaves are matrices."""

    def check(leaves: list[Any]) -> None:
        for leaf in leaves:
            if len(leaf.shape) != 2:
                raise InputValueError(f"{name} act on rows of coordinates, shape (n, d), but a leaf has {leaf.shape}.")

    return check


def length(array: Array, axis: int | None = None) -> Array:
    """Returns Euclidean lengths, 1 where they are zero; with an axis it is kept."""
    square = jnp.sum(array**2, axis=axis, keepdims=axis is not None)
    return jnp.sqrt(jnp.where(square > 0, square, jnp.ones_like(square)))
