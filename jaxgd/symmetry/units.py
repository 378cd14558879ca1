"""Hidden units of a network layer: their order, their signs, and their rescaling."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxgd.base import Array, InputValueError, Key
from jaxgd.symmetry.groups import ORDER, At, Factor, Group, Views, group
from jaxgd.symmetry.permuted import as_set, directions, flat


def hidden_units(
    incoming: Sequence[At],
    outgoing: Sequence[At],
    *,
    signs: bool = False,
    rescaling: bool = False,
    units_first: bool = False,
) -> Group:
    """Returns the symmetries of the h hidden units of one layer, activation(x @ W1 + b1) @ W2.

    Units may be exchanged. Where the activation is odd (tanh), a unit's incoming and outgoing weights may change sign
    together. Where it is homogeneous (ReLU), incoming weights times a > 0 and outgoing ones divided by a do the same.

    The invariants are sorted over the units: projections of their weights on random directions, absolute values of
    these, or products of one of the incoming and one of the outgoing weights. They do not tell a unit without incoming
    weights from one without outgoing ones if units are rescaled.

    A leaf between two hidden layers belongs to the units of both, of which no common invariants are known here; then
    give your own, such as what the network answers to a few inputs: `jaxgd.Symmetry(name=..., invariants=...)`.

    Args:
      incoming: leaves whose last axis runs over the units, such as ("w1", "b1").
      outgoing: leaves whose first axis does, such as ("w2",).
      signs: whether the activation is odd.
      rescaling: whether the activation is homogeneous.
      units_first: incoming leaves have units on their first axis and outgoing ones on their last, as in W2 @ (W1 @ x).

    Example:
      >>> import jax.numpy as jnp
      >>> units = hidden_units(["w1", "b1"], ["w2"], signs=True)
      >>> one = {"w1": jnp.array([[1.0, 2.0]]), "b1": jnp.array([3.0, 4.0]), "w2": jnp.array([[5.0], [6.0]])}
      >>> other = {"w1": jnp.array([[2.0, -1.0]]), "b1": jnp.array([4.0, -3.0]), "w2": jnp.array([[6.0], [-5.0]])}
      >>> bool(jnp.allclose(units.invariants(one), units.invariants(other)))
      True
    """
    for what, leaves in (("incoming", incoming), ("outgoing", outgoing)):
        if isinstance(leaves, str) or not len(leaves):
            raise InputValueError(f'`{what}` must be a sequence of leaves such as ("w1", "b1"), got {leaves!r}.')
    at, num_incoming = (*incoming, *outgoing), len(incoming)
    axes = [(0 if (place < num_incoming) == units_first else -1) for place in range(len(at))]
    name = "permutations of hidden units" + (", their signs" if signs else "") + (", their scale" if rescaling else "")
    name += f" ({', '.join(map(str, at))})"

    def by_unit(leaves: list[Array]) -> list[Array]:
        return [jnp.moveaxis(leaf, axis, 0) for leaf, axis in zip(leaves, axes, strict=True)]

    def as_leaves(parts: Sequence[Array], ahead: int = 0) -> list[Array]:
        """Moves the axis of units back, behind so many other axes."""
        return [jnp.moveaxis(part, ahead, -1 if axis else ahead) for part, axis in zip(parts, axes, strict=True)]

    def check(leaves: list[Array]) -> None:
        shapes = [leaf.shape for leaf in leaves]
        if any(not shape for shape in shapes) or len({s[a] for s, a in zip(shapes, axes, strict=True)}) > 1:
            raise InputValueError(f"{name} act on leaves with one number of units, got shapes {shapes}.")

    def look(views: Views, numbers: list[int]) -> Views:
        parts = [flat(part) for part in by_unit([views.of[number].array for number in numbers])]
        into, out = (jnp.concatenate(some, axis=1) for some in (parts[:num_incoming], parts[num_incoming:]))
        if rescaling:
            number = 2 * (into.shape[1] + out.shape[1])
            known = as_set(
                (into @ directions(into.shape[1], number, into.dtype))
                * (out @ directions(out.shape[1], number, out.dtype, seed=1))
            )
        else:
            known = as_set(jnp.concatenate([into, out], axis=1), is_even=signs)
        left = {number: view for number, view in views.of.items() if number not in numbers}
        return views._replace(of=left, finished=(*views.finished, known))

    def velocities(leaves: list[Array]) -> list[Array]:
        changes = []
        for place, part in enumerate(by_unit(leaves)):
            one = jnp.eye(part.shape[0], dtype=part.dtype).reshape(*(part.shape[:1] * 2), *(1,) * (part.ndim - 1))
            changes.append((1 if place < num_incoming else -1) * one * part[None])
        return as_leaves(changes, 1)

    def move(leaves: list[Array], key: Key) -> list[Array]:
        key_order, key_sign, key_scale = jax.random.split(key, 3)
        parts = by_unit(leaves)
        count, dtype = parts[0].shape[0], parts[0].dtype
        order = jax.random.permutation(key_order, count)
        sign = jax.random.rademacher(key_sign, (count,)).astype(dtype) if signs else jnp.ones(count, dtype)
        scale = jnp.exp(jax.random.normal(key_scale, (count,), dtype) / 2) if rescaling else jnp.ones(count, dtype)
        moved = []
        for place, part in enumerate(parts):
            factor = sign * (scale if place < num_incoming else 1 / scale)
            moved.append((factor.reshape(-1, *(1,) * (part.ndim - 1)) * part)[order])
        return as_leaves(moved)

    return group(
        Factor(
            name=name,
            stage=ORDER,
            at=at,
            look=look,
            velocities=velocities if rescaling else None,
            move=move,
            check=check,
            is_alone=True,
        )
    )
