"""Pictures of networks: disconnectivity graphs, and the profile of a path."""

from typing import Any

import numpy as np

from jaxgd.base import InputValueError
from jaxgd.plot.style import dressed
from jaxgd.saddles.disconnectivity import disconnectivity
from jaxgd.saddles.network import Network, Way


def plot_disconnectivity(
    network: Network, *, num_levels: int = 20, highest: float | None = None, group: Any = None, axis: Any = None
) -> Any:
    """Returns an axis with the disconnectivity graph of a network.

    Args:
      network: of minima and saddles.
      num_levels: see `disconnectivity`.
      highest: likewise.
      group: (num_minima,) whole numbers; lines to minima of one number have one colour.
      axis: of matplotlib; a new one if None.

    Raises:
      InputValueError: matplotlib is not installed, or a bad question.
    """
    tree = disconnectivity(network, num_levels=num_levels, highest=highest)
    group = np.zeros(len(network.minima), np.int64) if group is None else np.asarray(group)
    if group.shape != (len(network.minima),):
        raise InputValueError(f"`group` must hold one number for each of {len(network.minima)} minima.")
    from matplotlib.collections import LineCollection

    axis = dressed(axis)
    _, number = np.unique(group, return_inverse=True)
    one_colour = len(np.unique(group)) == 1
    colours = ["black" if one_colour or not alone else f"C{number[row] % 10}"
               for row, alone in zip(tree.minimum, tree.is_alone, strict=True)]  # fmt: skip
    axis.add_collection(LineCollection(tree.lines, colors=colours, linewidths=0.9))
    axis.autoscale()
    axis.grid(visible=False)
    axis.set_xticks([])
    axis.set_ylabel("value")
    axis.spines["bottom"].set_visible(False)
    return axis


def plot_way(way: Way, *, axis: Any = None) -> Any:
    """Returns an axis with the value along a minimum-energy path.

    Args:
      way: of `Network.way`.
      axis: of matplotlib; a new one if None.

    Raises:
      InputValueError: matplotlib is not installed.
    """
    axis = dressed(axis)
    axis.plot(way.length, way.value)
    axis.set_xlabel("length of the path")
    axis.set_ylabel("value")
    return axis
