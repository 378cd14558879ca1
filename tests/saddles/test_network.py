import signal
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from jaxgd import InputTypeError, InputValueError, Landscape, landscapes
from jaxgd.points.flat import as_rows
from jaxgd.saddles.downhill import FINE, downhill_program
from jaxgd.saddles.found import rows_of
from jaxgd.saddles.graph import forest_of, path_edges

KEY = jax.random.key(0)
SURFACE = landscapes.mueller_brown()


def joined(landscape, num_starts=300, **options):
    found = jaxgd.critical_points(landscape, num_starts=num_starts, key=KEY)
    return jaxgd.network(landscape, found, found, key=KEY, **{"num_audited": 0, **options})


@pytest.fixture(scope="module")
def surface():
    return joined(SURFACE)


def test_mueller_and_browns_minima_are_a_chain_with_known_barriers(surface):
    value = np.sort([point.value for point in SURFACE.facts.points])
    assert surface.ends.tolist() == [[1, 2], [0, 2]]
    low, passes = value[:3], value[3:]
    np.testing.assert_allclose(surface.barriers, [passes[0] - low[[1, 2]], passes[1] - low[[0, 2]]], rtol=1e-9)
    assert surface.lowest_barrier(0, 1) == pytest.approx(passes[1] - low[0])
    assert surface.lowest_barrier(1, 2) == pytest.approx(passes[0] - low[1])
    assert surface.lowest_barrier(1, 1) == 0
    assert "3 minima, 2 saddles" in str(surface)
    assert surface.num_new == 0


def test_way_between_minima_falls_from_each_saddle_and_ends_at_the_minima(surface):
    way = surface.way(0, 1)
    assert way.minima.tolist() == [0, 2, 1]
    assert way.saddles.tolist() == [1, 0]
    np.testing.assert_allclose(way.value[[0, -1]], surface.minima.value[[0, 1]], rtol=1e-6)
    np.testing.assert_allclose(way.params[[0, -1]], surface.minima.params[[0, 1]], atol=1e-5)
    for piece in range(2):
        values = way.value[way.piece == piece]
        top = np.argmax(values)
        assert values[top] == pytest.approx(surface.saddles.value[way.saddles[piece]])
        assert np.all(np.diff(values[: top + 1]) > -1e-9)
        assert np.all(np.diff(values[top:]) < 1e-9)
    assert np.all(np.diff(way.length) >= 0)


def test_way_down_is_the_gradient_flow():
    """x' = -x, y' = -4 y: along the flow y goes as x^4."""
    bowl = Landscape(
        value=lambda x: jnp.sqrt(1 + x[0] ** 2 + 4 * x[1] ** 2), sample=lambda key: jax.random.normal(key, (2,))
    )
    start = np.array([[1.0, 0.8]])
    program = downhill_program(bowl, as_rows(start)[1], 256)
    found = program(start, np.ones((1, 2)), np.full(1, 0.02), np.float64(FINE))
    nodes = found.nodes[0][: found.num_nodes[0]]
    assert len(nodes) > 40
    np.testing.assert_allclose(nodes[:, 1], 0.8 * nodes[:, 0] ** 4, atol=5e-3)
    np.testing.assert_allclose(found.x, 0, atol=1e-8)


@pytest.mark.slow
def test_network_of_the_separable_wells_is_a_cube():
    wells = joined(landscapes.product_double_well(dim=3), 600)
    assert (len(wells.minima), len(wells.saddles)) == (8, 12)
    sides = np.abs(np.diff(wells.minima.params[wells.ends], axis=1)[:, 0])
    np.testing.assert_allclose(np.sort(sides, axis=1), np.tile([0, 0, 2], (12, 1)), atol=1e-6)
    assert np.bincount(wells.ends.ravel()).tolist() == [3] * 8
    assert np.all(wells.components == 0)


def test_rates_are_those_of_the_harmonic_theory():
    """V = (x^2 - 1)^2 / 4 + 2 y^2: curvature 2 and 4 in the wells, -1 and 4 on top, height 1/4."""
    wells = Landscape(
        value=lambda x: (x[0] ** 2 - 1) ** 2 / 4 + 2 * x[1] ** 2, sample=lambda key: jax.random.normal(key, (2,))
    )
    rates = joined(wells, 60).rates(0.1)
    np.testing.assert_allclose(rates, np.full((1, 2), np.sqrt(2) / (2 * np.pi) * np.exp(-2.5)), rtol=1e-9)


def test_saddle_that_joins_a_minimum_to_its_own_copy_is_a_loop():
    """One minimum up to the symmetry x -> -x."""
    mirror = jaxgd.Symmetry(name="mirror", invariants=lambda x: jnp.stack([x[0] ** 2, x[1]]))
    wells = Landscape(
        value=lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2,
        sample=lambda key: jax.random.normal(key, (2,)),
        symmetry=mirror,
    )
    found = joined(wells, 60)
    assert (len(found.minima), found.ends.tolist()) == (1, [[0, 0]])
    assert found.is_loop.all()
    assert "1 join a minimum to itself" in str(found)
    with pytest.raises(InputValueError, match="need the orders of the point groups"):
        found.rates(1.0)
    assert found.rates(1.0, orders=([1], [2])).shape == (1, 2)


def test_minima_that_ways_down_come_to_are_added(surface):
    only = jaxgd.saddles(SURFACE, num_starts=200, key=KEY)
    found = jaxgd.network(SURFACE, only, only, key=KEY, num_audited=0)
    assert found.num_new == 3
    assert found.ends.tolist() == surface.ends.tolist()


def test_way_down_that_never_ends_is_unknown():
    """A saddle at the origin: one way leads to a minimum, the other one to infinity."""
    spur = Landscape(value=lambda x: x[0] ** 3 - 3 * x[0] + x[1] ** 2, sample=lambda key: jax.random.normal(key, (2,)))
    found = joined(spur, 60)
    assert found.ends.tolist() == [[0, -1]]
    assert found.unknown == {"came to no critical point": 1}
    assert np.isnan(found.barriers[0, 1])
    assert np.isnan(found.rates(1.0)[0, 1])


def test_minima_that_nothing_joins_are_components_of_their_own():
    ends, height = np.array([[0, 1], [1, 2], [0, 2], [3, 3], [4, -1]]), np.array([1.0, 3.0, 2.0, 0.5, 0.1])
    forest = forest_of(5, ends, height)
    assert forest.edges.tolist() == [0, 2]
    assert forest.component.tolist() == [0, 0, 0, 1, 2]
    assert path_edges(forest, ends, 1, 2).tolist() == [0, 2]
    assert path_edges(forest, ends, 1, 3) is None


def test_unjoined_minima_have_no_path():
    found = jaxgd.critical_points(SURFACE, num_starts=300, key=KEY)
    lowest = rows_of(found.of_index(1), np.arange(2) == 0)
    part = jaxgd.network(SURFACE, found, lowest, key=KEY, num_audited=0)
    assert part.lowest_barrier(0, 1) == np.inf
    assert part.components.tolist() == [0, 1, 1]
    with pytest.raises(InputValueError, match="no known saddles join minimum 0 to minimum 1"):
        part.way(0, 1)


def test_interruption_keeps_the_saddles_that_were_followed(monkeypatch):
    monkeypatch.setattr(sys.modules[jaxgd.network.__module__], "_TOGETHER", 1)
    stop = lambda phase, done, total: signal.raise_signal(signal.SIGINT)
    found = joined(SURFACE, progress=stop)
    assert found.is_interrupted
    assert found.ends.tolist() == [[1, 2]]
    assert len(found.saddles) == 1


@pytest.mark.slow
def test_gradient_flow_agrees_with_the_ways_down():
    pytest.importorskip("diffrax")
    found = joined(SURFACE, num_audited=4)
    assert (found.audit.num_ways, found.audit.num_elsewhere, found.audit.num_unknown) == (4, 0, 0)


def test_without_diffrax_a_note_says_that_there_was_no_audit(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    found = joined(SURFACE, num_audited=4)
    assert found.audit is None
    assert any("were not audited" in note for note in found.notes)


def test_graph_of_networkx_has_every_saddle_as_an_edge(surface):
    networkx = pytest.importorskip("networkx")
    graph = surface.to_networkx()
    assert isinstance(graph, networkx.MultiGraph)
    assert sorted(graph.edges(keys=True)) == [(0, 2, 1), (1, 2, 0)]
    assert graph.nodes[0]["value"] == surface.minima.value[0]


def test_without_networkx_one_sentence_says_how_to_install_it(surface, monkeypatch):
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(InputValueError, match="needs networkx: pip install networkx"):
        surface.to_networkx()


def test_bad_questions_are_refused(surface):
    with pytest.raises(InputTypeError, match="`minima` must be a Catalogue, or a Survey or Search"):
        jaxgd.network(SURFACE, [1], surface.saddles, key=KEY)
    with pytest.raises(InputValueError, match="holds no isolated saddle of index 1"):
        jaxgd.network(SURFACE, surface.minima, surface.minima, key=KEY)
    with pytest.raises(InputValueError, match="`num_audited` must be at least 0"):
        jaxgd.network(SURFACE, surface.minima, surface.saddles, key=KEY, num_audited=-1)
    with pytest.raises(InputValueError, match="`temperature` must be positive"):
        surface.rates(0.0)
    with pytest.raises(InputValueError, match="`orders` must be one list"):
        surface.rates(1.0, orders=([1], [1]))
    with pytest.raises(InputValueError, match="the row of a minimum"):
        surface.way(0, 7)
    with pytest.raises(InputValueError, match="`num_nodes`"):
        surface.way(0, 1, num_nodes=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_atoms", "num_starts", "counts"), [(7, 6_000, (4, 12, 6, 5)), (8, 4_000, (8, 42, 16, 16))]
)
def test_clusters_have_the_loops_and_pairs_that_are_known(num_atoms, num_starts, counts):
    atoms = landscapes.lennard_jones(num_atoms=num_atoms)
    minima = jaxgd.survey(atoms, num_starts=2_000, key=KEY, keep="catalogue")
    passes = jaxgd.saddles(atoms, minima, num_starts=num_starts, key=KEY)
    found = jaxgd.network(atoms, minima, passes, key=KEY)
    pairs = np.unique(found.ends[~found.is_loop], axis=0)
    assert (len(found.minima), len(found.saddles), int(found.is_loop.sum()), len(pairs)) == counts
    assert np.all(found.components == 0)
    if found.audit is not None:
        assert found.audit.num_elsewhere == 0
