"""Pictures of searches and networks: disconnectivity graphs, value against index, the profile of a path."""

from typing import Any

import numpy as np

from jaxgd.base import InputValueError
from jaxgd.saddles.disconnectivity import disconnectivity
from jaxgd.saddles.found import Search
from jaxgd.saddles.network import Network, Way


def plot_disconnectivity(
    network: Network, *, num_levels: int = 20, highest: float | None = None, group: Any = None, axes: Any = None
) -> Any:
    """Returns matplotlib axes with the disconnectivity graph of a network.

    Args:
      network: of minima and saddles.
      num_levels: see `disconnectivity`.
      highest: likewise.
      group: (num_minima,) whole numbers; lines to minima of one number have one colour.
      axes: to draw on; new ones if None.

    Raises:
      InputValueError: matplotlib is not installed, or a bad question.
    """
    tree = disconnectivity(network, num_levels=num_levels, highest=highest)
    group = np.zeros(len(network.minima), np.int64) if group is None else np.asarray(group)
    if group.shape != (len(network.minima),):
        raise InputValueError(f"`group` must hold one number for each of {len(network.minima)} minima.")
    from matplotlib.collections import LineCollection

    axes = _new_axes() if axes is None else axes
    _, number = np.unique(group, return_inverse=True)
    one_colour = len(np.unique(group)) == 1
    colours = ["black" if one_colour or not alone else f"C{number[row] % 10}"
               for row, alone in zip(tree.minimum, tree.is_alone, strict=True)]  # fmt: skip
    axes.add_collection(LineCollection(tree.lines, colors=colours, linewidths=0.9))
    axes.autoscale()
    axes.set_xticks([])
    axes.set_ylabel("value")
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    return axes


def plot_index(search: Search, *, axes: Any = None) -> Any:
    """Returns matplotlib axes with the value of each point against its index.

    Args:
      search: of several indices.
      axes: to draw on; new ones if None.

    Raises:
      InputValueError: matplotlib is not installed.
    """
    axes = _new_axes() if axes is None else axes
    axes.plot(search.catalogue.index, search.catalogue.value, "o", markersize=4, alpha=0.6)
    axes.set_xlabel("index")
    axes.set_ylabel("value")
    return axes


def plot_way(way: Way, *, axes: Any = None) -> Any:
    """Returns matplotlib axes with the value along a minimum-energy path.

    Args:
      way: of `Network.way`.
      axes: to draw on; new ones if None.

    Raises:
      InputValueError: matplotlib is not installed.
    """
    axes = _new_axes() if axes is None else axes
    axes.plot(way.length, way.value)
    axes.set_xlabel("length of the path")
    axes.set_ylabel("value")
    return axes


def _new_axes() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputValueError("pictures need matplotlib: pip install 'jaxgd[plot]'.") from error
    return Figure(figsize=(6, 5), layout="constrained").add_subplot()
