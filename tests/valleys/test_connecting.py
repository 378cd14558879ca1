"""Ways between two points: walks that are shown, barriers that are upper bounds, hidden units matched."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd import InputValueError, Landscape, connect
from jaxgd.valleys.string import spread_out


def plane(value, dim=2):
    return Landscape(value=value, sample=lambda key: jax.random.normal(key, (dim,)))


RING = plane(lambda x: (jnp.sum(x**2) - 1) ** 2)
WELLS = plane(lambda x: (x[0] ** 2 - 1) ** 2 + (x[1] - x[0] ** 2) ** 2)


def test_opposite_places_on_a_ring_are_connected_along_it():
    found = connect(RING, jnp.array([1.0, 0.0]), jnp.array([-1.0, 0.0]))
    assert found.way == "valley"
    assert found.is_connected
    np.testing.assert_allclose(np.linalg.norm(found.params, axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(found.params[[0, -1]], [[1, 0], [-1, 0]], atol=1e-12)
    assert np.linalg.norm(np.diff(found.params, axis=0), axis=1).max() < 1  # each step is a short one
    assert found.barrier < 1e-20
    assert found.straight_barrier == pytest.approx(1)
    assert str(found).startswith("Connected: a walk of")


def test_between_two_wells_the_string_finds_the_saddle_and_the_barrier_is_an_upper_bound():
    found = connect(WELLS, jnp.array([1.0, 1.0]), jnp.array([-1.0, 1.0]))
    assert found.way == "string"
    assert not found.is_connected
    assert found.barrier == pytest.approx(1, abs=0.01)  # at the saddle (0, 0)
    assert found.straight_barrier == pytest.approx(2, abs=1e-2)
    assert found.values.max() == found.values[0] + found.barrier
    assert found.gradient_norm[np.argmax(found.values)] < 0.1
    assert "a lower way may exist" in str(found)


def test_branches_of_a_hyperbola_are_not_said_to_be_connected():
    found = connect(plane(lambda x: (x[0] * x[1] - 1) ** 2 / 2), jnp.array([1.0, 1.0]), jnp.array([-1.0, -1.0]))
    assert not found.is_connected
    assert found.barrier + found.barrier_error >= 0.5
    assert found.barrier <= found.straight_barrier


def test_no_sweeps_leave_the_straight_line():
    found = connect(WELLS, jnp.array([1.0, 1.0]), jnp.array([-1.0, 1.0]), max_sweeps=0)
    assert found.way == "straight"
    assert found.barrier == found.straight_barrier == found.unmatched_barrier


def network_landscape(is_transposed=False):
    inputs = jax.random.normal(jax.random.key(5), (20, 3))
    turned = (lambda matrix: matrix.T) if is_transposed else (lambda matrix: matrix)

    def network(params):
        hidden = jnp.tanh(inputs @ turned(params["first"]["w"]) + params["first"]["b"][None])
        return hidden @ turned(params["second"]["w"])

    def sample(key):
        keys = jax.random.split(key, 3)
        first, bias, second = (jax.random.normal(k, s) for k, s in zip(keys, [(3, 5), (5,), (5, 1)], strict=True))
        return {"first": {"w": turned(first), "b": bias}, "second": {"w": turned(second)}}

    one = sample(jax.random.key(0))
    target = network(one)
    return Landscape(value=lambda params: jnp.mean((network(params) - target) ** 2), sample=sample), one


@pytest.mark.parametrize("is_transposed", [False, True])
def test_hidden_units_are_matched_by_order_and_sign(is_transposed):
    landscape, one = network_landscape(is_transposed)
    order, sign = jnp.array([3, 1, 0, 4, 2]), jnp.array([1.0, -1, 1, 1, -1])
    turned = jnp.transpose if is_transposed else (lambda matrix: matrix)
    other = {
        "first": {"w": turned(turned(one["first"]["w"])[:, order] * sign[None]), "b": one["first"]["b"][order] * sign},
        "second": {"w": turned(turned(one["second"]["w"])[order] * sign[:, None])},
    }
    assert float(landscape.value(other)) < 1e-25
    found = connect(landscape, one, other, match=("first", "second"))
    assert found.unmatched_barrier > 1e-3
    assert found.straight_barrier < 1e-20
    jax.tree.map(lambda path, leaf: np.testing.assert_allclose(path[-1], leaf), found.params, one)
    assert "after matching units" in str(found)


def test_units_that_cannot_be_matched_are_refused():
    landscape, one = network_landscape()
    with pytest.raises(InputValueError, match="at least two layers"):
        connect(landscape, one, one, match=("first",))
    with pytest.raises(InputValueError, match="must hold one matrix of weights but holds 0"):
        connect(landscape, one, one, match=("first", "third"))
    with pytest.raises(InputValueError, match="changes the value"):
        connect(landscape, one, one, match=("second", "first"))


def test_places_are_spread_along_a_path_evenly():
    path = spread_out(jnp.array([[0.0, 0.0], [0.1, 0.0], [1.0, 0.0], [1.0, 1.0]]))
    np.testing.assert_allclose(path, [[0, 0], [2 / 3, 0], [1, 1 / 3], [1, 1]], atol=1e-12)
