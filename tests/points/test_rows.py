"""A function of one point run for many: any number of rows, on any number of cores, under the caller's settings."""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import threadpoolctl

from jaxgd.points import rows
from jaxgd.points.rows import ForRows


def centred(tree, scale):
    return {"sum": jnp.sum(tree["a"]) * scale, "rest": tree["a"][:, None] - tree["b"][None, :] * scale}


@pytest.fixture(params=["one by one", "at once"])
def layout(request, monkeypatch):
    if request.param == "at once":
        monkeypatch.setattr(rows, "_in_a_loop", rows._at_once)


@pytest.mark.parametrize("num_rows", [1, 2, 5, 300, 1000])
def test_every_row_is_mapped_whatever_their_number(layout, num_rows):
    draw = np.random.default_rng(0).normal
    tree, scale = {"a": draw(size=(num_rows, 3)), "b": draw(size=(num_rows, 2))}, np.float64(2.0)
    found = ForRows(centred, num_shared=1)(tree, scale)
    expected = jax.vmap(centred, in_axes=(0, None))(tree, scale)
    jax.tree.map(np.testing.assert_array_equal, found, jax.tree.map(np.asarray, expected))


@pytest.mark.parametrize("num_rows", [1, 300])
def test_steps_in_turn_make_what_they_make_at_once(layout, num_rows):
    rows = np.random.default_rng(0).normal(size=(num_rows, 3))
    square = lambda x, scale: jnp.outer(x, x) * scale
    factor = lambda x, matrix, scale: jnp.linalg.cholesky(matrix + jnp.eye(3))
    last = lambda x, matrix, factor, scale: {"log": jnp.sum(jnp.log(jnp.diagonal(factor))), "same": x}
    found = ForRows(square, factor, last, num_shared=1)(rows, np.float64(2.0))
    np.testing.assert_array_equal(found["same"], rows)
    np.testing.assert_allclose(2 * found["log"], np.log1p(2 * np.sum(rows**2, axis=1)), rtol=1e-12)


def test_one_program_serves_all_numbers_of_rows_and_another_every_kind_of_them():
    traces = []

    def square(x):
        traces.append(x.dtype)
        return x * x

    squares = ForRows(square)
    for num_rows in (7, 1, 400):
        assert squares(np.arange(float(num_rows))).shape == (num_rows,)
    once = len(traces)
    assert squares(np.arange(3, dtype=np.float32)).dtype == np.float32
    assert len(traces) == 2 * once


def test_rows_wider_than_a_batch_are_taken_alone(monkeypatch):
    monkeypatch.setattr(rows, "_BYTES_TOGETHER", 64)
    wide = np.random.default_rng(0).normal(size=(6, 40))
    np.testing.assert_allclose(ForRows(lambda x: jnp.outer(x, x))(wide), wide[:, :, None] * wide[:, None, :])


def test_the_callers_precision_counts_on_every_core():
    halve = ForRows(lambda x: jnp.asarray(x, float) / 3)
    ones = np.ones(200, np.float32)
    assert halve(ones).dtype == np.float64
    with jax.enable_x64(False):
        assert halve(ones).dtype == np.float32


def test_callers_from_several_threads_leave_linear_algebra_as_it_was():
    products = ForRows(lambda x: x @ x)
    matrices = np.random.default_rng(0).normal(size=(64, 40, 40))
    products(matrices)
    threads_before = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
    with ThreadPoolExecutor(4) as callers:
        for found in callers.map(lambda _: products(matrices), range(16)):
            np.testing.assert_allclose(found, matrices @ matrices)
    assert [pool["num_threads"] for pool in threadpoolctl.threadpool_info()] == threads_before


def test_what_a_function_raises_reaches_the_caller():
    def refuse(x):
        raise RuntimeError("not this one")

    with pytest.raises(RuntimeError, match="not this one"):
        ForRows(refuse)(np.ones((5, 2)))
