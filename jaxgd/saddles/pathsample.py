"""Networks as the files that PATHSAMPLE, OPTIM and pele read: min.data, ts.data, points.min and points.ts.

A line of min.data holds a minimum's value, the sum of the logarithms of its Hessian's eigenvalues, the order of its
point group, and three moments of inertia; one of ts.data the same of a saddle, with the numbers of its two minima,
counted from 1, before the moments. The points files hold coordinates as doubles without any header, in the same order.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgd.base import InputValueError
from jaxgd.points.evidence import Rows
from jaxgd.points.flat import as_rows
from jaxgd.saddles.network import Network

_CLOSE = 1e-3  # of a cluster's size, by which its copies may miss


def write_pathsample(network: Network, folder: str | Path) -> int:
    """Writes a network as four files, and returns how many saddles they hold: those with both ends known.

    Clusters, whose params are one array of (num_atoms, 3), get the orders of their point groups and their moments of
    inertia, with atoms of mass 1; other landscapes 1 for each of these.

    Args:
      network: to write.
      folder: where to; made if it does not exist. Files of the same names are replaced.

    Returns:
      The number of lines of ts.data.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    told = np.flatnonzero(np.all(network.ends >= 0, axis=1))
    saddles = jax.tree.map(lambda leaf: np.asarray(leaf)[told], network.saddles.params)
    for name, params in (("points.min", network.minima.params), ("points.ts", saddles)):
        as_rows(params)[0].astype("<f8").tofile(folder / name)

    def write(name: str, params: Any, value: Rows, log_curvature: Rows, ends: Rows | None) -> None:
        orders, moments = _orders_and_moments(params)
        with open(folder / name, "w") as file:
            for row in range(len(value)):
                joins = "" if ends is None else " {} {}".format(*(ends[row] + 1))
                inertia = " ".join(f"{moment:.12g}" for moment in moments[row])
                file.write(f"{value[row]:.15g} {log_curvature[row]:.15g} {orders[row]}{joins} {inertia}\n")

    write("min.data", network.minima.params, network.minima.value, network.log_curvature, None)
    write("ts.data", saddles, network.saddles.value[told], network.saddle_log_curvature[told], network.ends[told])
    return len(told)


def point_group_orders(params: Any) -> Rows:
    """Returns (n,) int64 orders of the point groups of clusters of equal atoms, mirror images among their elements.

    Each rigid motion that maps a cluster onto itself is counted; it is found by where it takes three atoms.

    Args:
      params: (n, num_atoms, 3) places of the atoms.

    Raises:
      InputValueError: params of another shape, or atoms on a line, whose group is infinite.

    Example:
      >>> square = np.array([[[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]])
      >>> point_group_orders(square).tolist()  # eight motions of the square, twice since it lies in a plane
      [16]
    """
    if not _is_cluster(params):
        raise InputValueError("point groups are those of clusters: give one array of shape (n, num_atoms, 3).")
    return np.array(
        [_order_of(cluster - cluster.mean(axis=0)) for cluster in _only_leaf(params).astype(float)], np.int64
    )


def _order_of(x: Rows) -> int:
    size = np.max(np.linalg.norm(x, axis=1))
    spread = np.linalg.svd(x, compute_uv=False)
    if len(x) < 3 or spread[1] <= _CLOSE * spread[0]:
        raise InputValueError("the atoms of a cluster lie on a line: its point group is infinite.")

    # Two atoms that span a plane with the centre; a motion is known, but for a mirror, by where it takes them.
    first = int(np.argmax(np.linalg.norm(x, axis=1)))
    second = int(np.argmax(np.linalg.norm(np.cross(x[first], x), axis=1)))
    frame = _frame(x[first], x[second])
    apart = np.linalg.norm(x[:, None] - x[None], axis=2)
    radius = np.linalg.norm(x, axis=1)
    near = lambda a, b: np.abs(a - b) <= _CLOSE * size
    count = 0
    for one in np.flatnonzero(near(radius, radius[first])):
        for other in np.flatnonzero(near(radius, radius[second]) & near(apart[one], apart[first, second])):
            for side in (1.0, -1.0):
                to = _frame(x[one], x[other])
                to[2] *= side
                turned = x @ frame.T @ to
                count += bool(
                    np.all(np.min(np.linalg.norm(turned[:, None] - x[None], axis=2), axis=1) <= _CLOSE * size)
                )
    return count


def _frame(one: Rows, other: Rows) -> Rows:
    """Returns three orthonormal rows, the first along one vector, the second in the plane of both."""
    along = one / np.linalg.norm(one)
    across = other - (other @ along) * along
    across /= np.linalg.norm(across)
    return np.stack([along, across, np.cross(along, across)])


def _orders_and_moments(params: Any) -> tuple[Rows, Rows]:
    """Returns (n,) orders of point groups and (n, 3) moments of inertia; ones where there are no atoms."""
    number = len(jax.tree.leaves(params)[0])
    if not _is_cluster(params) or not number:
        return np.ones(number, np.int64), np.ones((number, 3))
    x = _only_leaf(params).astype(float)
    x = x - x.mean(axis=1, keepdims=True)
    square = np.sum(x**2, axis=(1, 2))[:, None, None] * np.eye(3)[None]
    moments = np.linalg.eigvalsh(square - np.einsum("nai,naj->nij", x, x))
    return point_group_orders(params), moments


def _is_cluster(params: Any) -> bool:
    leaves = jax.tree.leaves(params)
    return len(leaves) == 1 and np.ndim(leaves[0]) == 3 and np.shape(leaves[0])[2] == 3


def _only_leaf(params: Any) -> Rows:
    return np.asarray(jax.tree.leaves(params)[0])
