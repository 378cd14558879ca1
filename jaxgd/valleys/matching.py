r"""The hidden units of one network put into the order, and given the signs, of another's.

Permuting the hidden units between two layers, and for odd activations flipping the signs around them, changes no
output. So of all copies of network b the one nearest to a is sought: for the units between two layers

$$ \max_{P, s} \sum_u s_u \langle a_u, b_{P(u)} \rangle , $$

over all weights into and out of a unit, is an assignment problem (Ainsworth, Hayase and Srinivasa, Git Re-Basin, arXiv
2209.04836). With several hidden layers the problems depend on each other, and are solved in turns until nothing
changes. Whether it is allowed is measured: the landscape's value must not change.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
import numpy as np
import scipy.optimize

from jaxgd.base import InputValueError, Landscape, Params

_MAX_ROUNDS = 50

Leaves = dict[str, np.ndarray]
"""Of one network, by the names on the way to them, joined by dots."""


class _Axis(NamedTuple):
    """Along which axis of which leaf the units lie."""

    leaf: str
    axis: int


def named_leaves(params: Params) -> Leaves:
    """Returns the leaves by name, such as "layer_1.weights"."""
    paths, _ = jax.tree_util.tree_flatten_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in paths}


def matched(landscape: Landscape, a: Params, b: Params, layers: Sequence[str], tolerance: float) -> Params:
    """Returns `b` with its hidden units permuted, and their signs flipped where that is allowed, to be nearest to `a`.

    Args:
      landscape: whose value must not change by it.
      a: a network.
      b: another of the same shapes.
      layers: names of successive layers; the units between each and the next are matched.
      tolerance: change of the value that rounding explains.

    Raises:
      InputValueError: names or shapes do not fit, or permuting the units changes the value.
    """
    ones, others, structure = named_leaves(a), named_leaves(b), jax.tree.structure(b)
    value = jax.jit(landscape.value)
    as_params = lambda leaves: jax.tree.unflatten(structure, list(leaves.values()))
    keeps = lambda leaves: bool(abs(float(value(as_params(leaves))) - float(value(b))) <= tolerance)
    matrices = [_matrix(others, name) for name in layers]

    # Weights may stand as (inputs, outputs) or as (outputs, inputs): the value tells.
    draw = np.random.default_rng(0)
    for is_output_last in (True, False):
        places = [_joint(others, *pair, is_output_last) for pair in pairwise(zip(layers, matrices, strict=True))]
        joints = [joint for joint in places if joint is not None]
        if len(joints) == len(places):
            sizes = [others[joint[0].leaf].shape[joint[0].axis] for joint in joints]
            orders = [draw.permutation(size) for size in sizes]
            if keeps(_moved(others, joints, orders, [np.ones(size) for size in sizes])):
                break
    else:
        raise InputValueError(
            f"permuting the units between {', '.join(layers)} changes the value of `{landscape.name}`; `match` must"
            " name successive fully connected layers, each with one matrix of weights."
        )
    signs = [draw.choice([-1.0, 1.0], size) for size in sizes]
    has_signs = keeps(_moved(others, joints, [np.arange(size) for size in sizes], signs))

    for _ in range(_MAX_ROUNDS):
        has_changed = False
        for joint in joints:
            order, sign = _best(ones, others, joint, has_signs)
            has_changed |= bool(np.any(order != np.arange(len(order))) or np.any(sign < 0))
            others = _moved(others, [joint], [order], [sign])
        if not has_changed:
            break
    return as_params(others)


def _matrix(leaves: Leaves, layer: str) -> str:
    """Returns the name of a layer's matrix of weights."""
    matrices = [name for name, leaf in leaves.items() if _is_of(name, layer) and leaf.ndim == 2]
    if len(matrices) != 1:
        known = ", ".join(dict.fromkeys(name.rpartition(".")[0] or name for name in leaves))
        raise InputValueError(
            f"`match` names `{layer}`, which must hold one matrix of weights but holds {len(matrices)}; layers are"
            f" {known}."
        )
    return matrices[0]


def _is_of(name: str, layer: str) -> bool:
    return name == layer or name.startswith(f"{layer}.")


def _joint(leaves: Leaves, first: tuple[str, str], second: tuple[str, str], is_output_last: bool) -> list[_Axis] | None:
    """Returns where the units between two layers lie; None if the matrices do not fit together."""
    (layer, matrix), (_, following) = first, second
    out_of, into = (1, 0) if is_output_last else (0, 1)
    size = leaves[matrix].shape[out_of]
    if leaves[following].shape[into] != size:
        return None
    biases = [_Axis(name, 0) for name, leaf in leaves.items() if _is_of(name, layer) and leaf.shape == (size,)]
    return [_Axis(matrix, out_of), *biases, _Axis(following, into)]


def _moved(leaves: Leaves, joints: list[list[_Axis]], orders: list[np.ndarray], signs: list[np.ndarray]) -> Leaves:
    """Returns the leaves with units in other orders and with other signs."""
    moved = dict(leaves)
    for joint, order, sign in zip(joints, orders, signs, strict=True):
        for name, axis in joint:
            leaf = np.take(moved[name], order, axis=axis)
            shape = [-1 if place == axis else 1 for place in range(leaf.ndim)]
            moved[name] = leaf * sign.astype(leaf.dtype).reshape(shape)
    return moved


def _best(ones: Leaves, others: Leaves, joint: list[_Axis], has_signs: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns (order, signs) of the other network's units that bring them nearest to the one's."""
    rows: Callable[[Leaves], np.ndarray] = lambda leaves: np.concatenate(
        [np.moveaxis(leaves[name], axis, 0).reshape(leaves[name].shape[axis], -1) for name, axis in joint], axis=1
    ).astype(np.float64)
    alike = rows(ones) @ rows(others).T
    _, order = scipy.optimize.linear_sum_assignment(np.abs(alike) if has_signs else alike, maximize=True)
    own = alike[np.arange(len(order)), order]
    return order, np.where(has_signs & (own < 0), -1.0, 1.0)
