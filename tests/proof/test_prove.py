import functools
import json
import math
import signal

import hypothesis
import hypothesis.strategies as some
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from jaxgd import InputTypeError, InputValueError, landscapes
from jaxgd.proof import intervals
from jaxgd.proof.intervals import Bounds
from jaxgd.proof.rules import Program


def camel(x):
    return (4 - 2.1 * x[0] ** 2 + x[0] ** 4 / 3) * x[0] ** 2 + x[0] * x[1] + (-4 + 4 * x[1] ** 2) * x[1] ** 2


def himmelblau(x):
    return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2


@pytest.mark.parametrize(
    ("function", "low", "high", "by_index"),
    [
        (landscapes.mueller_brown(), [-1.5, -0.5], [1.2, 2.0], [3, 2]),
        (camel, np.array([-3.0, -2.0]), np.array([3.0, 2.0]), [6, 7, 2]),
        (himmelblau, np.array([-5.0, -5.0]), np.array([5.0, 5.0]), [4, 4, 1]),
        (landscapes.styblinski_tang(dim=3), -5, 5, [8, 12, 6, 1]),
        (landscapes.product_double_well(dim=2), -2, 2, [4, 4, 1]),
    ],
)
def test_known_counts_are_proven(function, low, high, by_index):
    found = jaxgd.prove(function, low, high)
    assert found.is_complete
    assert np.bincount(found.index).tolist() == by_index
    assert found.covered == 1
    assert np.all(found.radius < 1e-9)
    assert found.degree in (0, 1)
    if found.degree:
        assert np.sum((-1.0) ** found.index) == found.degree
    assert f"exactly {len(found)} critical points" in str(found)


def test_the_sign_sum_of_a_bowl_is_proven_on_its_boundary():
    both = [jaxgd.prove(lambda x, s=s: s * (x[0] ** 2 - x[1] ** 2), -np.ones(2), np.ones(2)) for s in (1.0, -1.0)]
    assert [found.degree for found in both] == [-1, -1]
    assert [found.index.tolist() for found in both] == [[1], [1]]


@pytest.mark.parametrize("power", [3, 4])
def test_a_degenerate_point_is_undecided_and_never_missed(power):
    found = jaxgd.prove(lambda x: jnp.sum(x**power), np.array([-1.0, -1.0]), np.array([1.0, 1.0]))
    assert len(found) == 0
    assert not found.is_complete
    assert np.any(np.all((found.undecided_low <= 0) & (found.undecided_high >= 0), axis=1))


@pytest.mark.parametrize("kink", [jnp.abs, jax.nn.relu, lambda x: jnp.where(x > 0, 2 * x, -x)])
def test_a_kink_is_undecided(kink):
    found = jaxgd.prove(lambda x: jnp.sum(kink(x)), np.array([-1.0]), np.array([1.0]))
    assert len(found) == 0
    assert np.any((found.undecided_low <= 0) & (found.undecided_high >= 0))


def test_a_point_on_the_edge_is_said_to_be_there():
    found = jaxgd.prove(lambda x: jnp.sum(x**2), np.array([0.0, -1.0]), np.array([1.0, 1.0]))
    assert found.is_at_edge.tolist() == [True]
    assert "edge of the box" in str(found)


def test_a_thin_box_keeps_its_point():
    found = jaxgd.prove(lambda x: jnp.sum((x - 0.5) ** 2), np.array([0.5, 0.0]), np.array([0.5, 1.0]))
    np.testing.assert_allclose(found.points, [[0.5, 0.5]])


def test_cost_is_bounded_and_what_is_left_is_said():
    found = jaxgd.prove(lambda x: 0 * jnp.sum(x), np.array([0.0, 0.0]), np.array([1.0, 1.0]), max_boxes=100)
    assert (found.is_exhausted, found.num_boxes, found.covered) == (True, 100, 0)
    assert "Out of boxes" in str(found)


def test_what_is_not_a_number_is_undecided():
    found = jaxgd.prove(lambda x: jnp.log(jnp.sum(x)) * jnp.nan, np.array([-1.0]), np.array([1.0]), max_boxes=50)
    assert len(found) == 0
    assert found.covered < 1


def test_where_a_function_is_not_defined_nothing_is_proven_to_be_there():
    found = jaxgd.prove(lambda x: jnp.tanh(jnp.log(x[0])) + x[0] ** 2, np.array([-2.0]), np.array([-1e-3]))
    assert len(found) == 0


def test_single_precision_is_said():
    single = jaxgd.Landscape(value=himmelblau, sample=lambda key: jax.random.normal(key, (2,), jnp.float32))
    found = jaxgd.prove(single, -5, 5)
    assert (len(found), found.dtype) == (9, "float32")
    assert "traced in float32" in str(found)


def test_interruption_keeps_what_is_proven():
    stop = lambda phase, done, total: signal.raise_signal(signal.SIGINT)
    found = jaxgd.prove(landscapes.styblinski_tang(dim=3), -5, 5, progress=stop)
    assert found.is_interrupted
    assert len(found.undecided_low) > 0


@hypothesis.settings(max_examples=25, deadline=None, derandomize=True)
@hypothesis.given(some.lists(some.integers(-8, 8), min_size=1, max_size=4, unique=True), some.booleans())
def test_no_critical_point_of_a_polynomial_is_lost(roots, has_double):
    """The derivative is a product of (x - root / 8), some on splits or on the edge; one may be squared."""
    factors = [*roots, roots[0]] if has_double else roots
    slope = np.poly1d([root / 8 for root in factors], r=True)
    value = np.polyint(slope).coefficients
    horner = lambda x: functools.reduce(lambda total, one: total * x[0] + one, map(float, value))
    found = jaxgd.prove(horner, np.array([-1.0]), np.array([1.0]))
    for root in roots:
        near = np.abs(found.points[:, 0] - root / 8) <= found.radius[:, 0] + 1e-12
        held = (found.undecided_low[:, 0] <= root / 8 + 1e-7) & (found.undecided_high[:, 0] >= root / 8 - 1e-7)
        assert np.sum(near) == 1 or np.any(held)
    assert len(found) <= len(roots)


FUNCTIONS = {
    "exp": jnp.exp, "log": lambda x: jnp.log(1.1 + x), "sin": lambda x: jnp.sin(9 * x), "cos": lambda x: jnp.cos(9 * x),
    "tanh": jnp.tanh, "power": lambda x: (1.5 + x) ** 2.5, "quotient": lambda x: (x + 3) / (x**2 + 0.1),
    "cube": lambda x: x**3 - x, "erf": jax.scipy.special.erf, "root": lambda x: jnp.sqrt(1.5 + x), "cosh": jnp.cosh,
    "abs": jnp.abs, "product": lambda x: jnp.ones((3, 1)) @ x[None] @ jnp.ones((1, 3)), "sums": jnp.cumsum,
    "least": lambda x: jnp.minimum(x, 0.1 - x), "places": lambda x: jnp.zeros(4).at[jnp.array([1, 1])].add(x[0]),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bounds_hold_all_values(name):
    function = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    ends = np.sort(rng.uniform(-1, 1, (40, 1, 2)), axis=2)
    box = Bounds(ends[..., 0], ends[..., 1])
    (found,), _ = Program(jax.make_jaxpr(function)(jnp.zeros(1)))(box)
    for share in np.linspace(0, 1, 9):
        values = np.asarray(jax.vmap(function)(jnp.asarray(box.low + share * (box.high - box.low))))
        assert np.all((found.low <= values + 1e-15) & (values - 1e-15 <= found.high))


def test_sums_are_rounded_outward():
    third = intervals.divide(intervals.thin(1.0), intervals.thin(3.0))
    assert third.low < third.high
    assert math.nextafter(float(third.low), 1) <= 1 / 3 <= math.nextafter(float(third.high), 0)


@pytest.mark.parametrize(
    ("error", "message", "function", "low", "high", "options"),
    [
        (InputValueError, "`low` must not be larger", himmelblau, np.ones(2), np.zeros(2), {}),
        (InputValueError, "`high` must be finite", himmelblau, np.zeros(2), np.full(2, np.inf), {}),
        (InputValueError, "`low` must be finite", himmelblau, np.full(2, np.nan), np.zeros(2), {}),
        (InputValueError, "`high` must have the shapes", himmelblau, np.zeros(2), np.zeros(3), {}),
        (InputTypeError, "`low` must be a number or params", himmelblau, "a", np.zeros(2), {}),
        (InputTypeError, "`landscape` must be", 3, np.zeros(2), np.ones(2), {}),
        (InputValueError, "`resolution` must lie", himmelblau, np.zeros(2), np.ones(2), {"resolution": 0.0}),
        (InputValueError, "`max_boxes` must be at least 1", himmelblau, np.zeros(2), np.ones(2), {"max_boxes": 0}),
        (InputValueError, "`tan` has no interval rule", lambda x: jnp.tan(x[0]), np.zeros(1), np.ones(1), {}),
    ],
)
def test_what_cannot_be_meant_is_refused(error, message, function, low, high, options):
    with pytest.raises(error, match=message):
        jaxgd.prove(function, low, high, **options)


def test_whole_numbers_are_taken_for_corners():
    assert len(jaxgd.prove(himmelblau, np.array([-5, -5]), np.array([5, 5]))) == 9


def test_the_command_line_proves():
    from click.testing import CliRunner

    from jaxgd.cli import main

    words = "--no-cache prove styblinski_tang --param dim=2 --low -5 --high 5 --json".split()
    told = CliRunner().invoke(main, words)
    assert told.exit_code == 0, told.output
    assert sorted(json.loads(told.stdout)["index"]) == [0, 0, 0, 0, 1, 1, 1, 1, 2]
