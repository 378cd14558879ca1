import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from jaxgd import InputValueError, Landscape
from jaxgd.saddles.disconnectivity import disconnectivity
from jaxgd.saddles.pathsample import point_group_orders, write_pathsample

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def found():
    """Three wells on a line: values 0, .2 and .1 or so, the first two joined below the last."""

    def value(x):
        along = (x[0] ** 2 - 1) ** 2 * (x[0] - 3) ** 2 / 4 + 0.05 * x[0]
        return along + x[1] ** 2

    wells = Landscape(value=value, sample=lambda key: jnp.array([1.0, 0.0]) + 2 * jax.random.normal(key, (2,)))
    return jaxgd.critical_points(wells, num_starts=150, key=KEY), wells


@pytest.fixture(scope="module")
def network(found):
    return jaxgd.network(found[1], found[0], found[0], key=KEY, num_audited=0)


def test_branches_split_where_saddles_join_them(network):
    assert (len(network.minima), len(network.saddles)) == (3, 2)
    tree = disconnectivity(network, num_levels=50)
    order = np.argsort(tree.place)
    joined_first = set(network.ends[0].tolist())
    assert sorted(tree.place.tolist()) == [0, 1, 2]
    assert abs(np.diff(tree.place[list(joined_first)])[0]) == 1
    feet = {
        int(row): line[1, 1]
        for line, row, alone in zip(tree.lines, tree.minimum, tree.is_alone, strict=True)
        if alone and line[1, 0] == tree.place[row]
    }
    np.testing.assert_allclose([feet[row] for row in range(3)], network.minima.value)
    assert len(order) == 3

    # Each pair parts within a level of the saddle that joins it.
    step = tree.levels[1] - tree.levels[0]
    splits = np.unique([line[0, 1] for line in tree.lines if line[0, 0] != line[1, 0]])
    for height in network.saddles.value:
        assert np.min(np.abs(splits - height)) <= step + 1e-9


def test_minima_above_the_highest_level_are_left_out(network):
    low = network.minima.value
    tree = disconnectivity(network, highest=(low[1] + low[2]) / 2)
    assert np.isnan(tree.place[2])
    with pytest.raises(InputValueError, match="`highest` must be finite and above the lowest minimum"):
        disconnectivity(network, highest=low[0] - 1)


def test_pictures_are_drawn(found, network):
    pytest.importorskip("matplotlib")
    axes = network.plot(group=[0, 1, 1])
    assert len(axes.collections[0].get_segments()) == len(disconnectivity(network).lines)
    assert found[0].plot().get_xlabel() == "index"
    assert len(network.way(0, 1).plot().lines) == 1
    with pytest.raises(InputValueError, match="`group` must hold one number for each of 3 minima"):
        network.plot(group=[1])


def test_without_matplotlib_one_sentence_says_how_to_install_it(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputValueError, match=r"pip install 'jaxgd\[plot\]'"):
        found[0].plot()


def test_files_hold_values_ends_from_one_and_coordinates(network, tmp_path):
    assert write_pathsample(network, tmp_path / "run") == 2
    lines = [line.split() for line in (tmp_path / "run" / "ts.data").read_text().splitlines()]
    np.testing.assert_allclose([float(line[0]) for line in lines], network.saddles.value, rtol=1e-14)
    np.testing.assert_array_equal([[int(line[3]), int(line[4])] for line in lines], network.ends + 1)
    minima = np.loadtxt(tmp_path / "run" / "min.data")
    np.testing.assert_allclose(minima[:, 0], network.minima.value, rtol=1e-14)
    np.testing.assert_allclose(minima[:, 1], network.log_curvature, rtol=1e-12)
    points = np.fromfile(tmp_path / "run" / "points.ts", "<f8").reshape(2, 2)
    np.testing.assert_array_equal(points, network.saddles.params)


def test_point_groups_of_known_bodies_have_their_orders():
    corners = np.array([[a, b, c] for a in (-1.0, 1) for b in (-1, 1) for c in (-1, 1)])
    tetrahedron = corners[[0, 3, 5, 6]]
    octahedron = np.concatenate([np.eye(3), -np.eye(3)])
    golden = (1 + 5**0.5) / 2
    icosahedron = np.concatenate(
        [np.roll([[0, a, b * golden]], turn, axis=1) for turn in range(3) for a in (-1, 1) for b in (-1, 1)]
    )
    scalene = np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0]])
    bodies = (corners, tetrahedron, octahedron, icosahedron, scalene, np.concatenate([icosahedron, np.zeros((1, 3))]))
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    orders = [point_group_orders((body @ turn + 0.3)[None])[0] for body in bodies]
    assert orders == [48, 24, 48, 120, 2, 120]


def test_point_groups_of_no_clusters_are_refused():
    with pytest.raises(InputValueError, match="give one array of shape"):
        point_group_orders(np.ones((2, 3)))
    with pytest.raises(InputValueError, match="lie on a line"):
        point_group_orders(np.array([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]]))
