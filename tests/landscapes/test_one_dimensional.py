import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd import landscapes
from jaxgd.landscapes.one_dimensional import sign_changes


@pytest.mark.parametrize(
    ("learning_rate", "num_steps", "end"), [(1.0, 20, -3.03786), (1.0, 100, -3.1218), (0.1, 10_000, None)]
)
def test_x_plus_sin_x_creeps_towards_minus_pi_and_never_passes(descend, learning_rate, num_steps, end):
    x = descend(landscapes.x_plus_sin_x(), jnp.array([2.5]), learning_rate, num_steps)[0]
    left = float(x) + np.pi
    assert left > 0
    assert left == pytest.approx(2 / (learning_rate * num_steps), rel=0.1)
    if end is not None:
        assert round(float(x), len(str(end).partition(".")[2])) == end


def test_x_plus_sin_x_has_gradient_one_millionth_at_distance_0_0014():
    landscape = landscapes.x_plus_sin_x()
    assert landscape.gradient(jnp.asarray(-np.pi + 0.001414)) == pytest.approx(1e-6, rel=1e-3)


def test_sine_parabola_from_minus_two_misses_the_global_minimum(descend):
    landscape = landscapes.sine_parabola()
    x = descend(landscape, jnp.array([-2.0]), 0.01, 2000)[0]
    assert float(x) == pytest.approx(-4.35641, abs=5e-6)
    assert float(landscape.value(x)) == pytest.approx(-4.45434, abs=5e-6)
    best = min(landscape.facts.points, key=lambda point: point.value)
    assert float(best.params) == pytest.approx(1.45420, abs=5e-6)
    assert best.value == pytest.approx(-22.7156, abs=5e-5)
    assert 2 / (2 + 25 * np.sin(-4.35641)) == pytest.approx(0.0786, abs=5e-5)


def test_quartic_two_wells_ends_at_three_from_four(descend):
    landscape = landscapes.quartic_two_wells()
    x = descend(landscape, jnp.array([4.0]), 0.01, 2500)[0]
    assert float(x) == pytest.approx(3.0, abs=1e-9)
    assert landscape.value(x) == pytest.approx(1.62276)
    deepest = landscape.facts.points[0]
    assert float(deepest.params) == pytest.approx((9 - np.sqrt(33)) / 8, abs=1e-14)
    assert deepest.value == pytest.approx(0, abs=5e-6)


def test_double_well_has_barrier_one_quarter():
    left, top, right = landscapes.double_well_1d().facts.points
    np.testing.assert_allclose([left.params, top.params, right.params], [-1, 0, 1], atol=1e-15)
    assert (left.index, top.index, right.index) == (0, 1, 0)
    assert top.value - left.value == 0.25


def test_starts_lie_within_spread_of_start(key):
    assert landscapes.quartic(start=4.0, spread=0.0).sample(key) == 4.0
    assert abs(landscapes.quartic(start=4.0, spread=0.5).sample(key) - 4.0) <= 0.5


def test_sign_changes_finds_roots_on_and_off_the_grid():
    np.testing.assert_allclose(sign_changes(np.sin, (-10.0, 10.0)), np.pi * np.arange(-3, 4), atol=1e-14)
    assert sign_changes(lambda x: x - 0.5, (0.0, 1.0)) == [0.5]
