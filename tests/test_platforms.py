"""What accelerators need that CPUs do not, tried without one."""

import jax
import jax.numpy as jnp

from jaxgd import platforms
from jaxgd.cores import Threads


@platforms.in_full_precision
def precision():
    return jax.config.jax_default_matmul_precision


def test_on_accelerators_matrices_are_multiplied_in_their_own_precision(monkeypatch):
    monkeypatch.setattr(platforms, "platform", lambda: "cpu")
    assert precision() is None  # a CPU does so anyway
    monkeypatch.setattr(platforms, "platform", lambda: "gpu")
    assert precision() == "highest"
    assert jax.config.jax_default_matmul_precision is None


def test_a_user_who_asks_for_less_precision_gets_it(monkeypatch):
    monkeypatch.setattr(platforms, "platform", lambda: "gpu")
    with jax.default_matmul_precision("tensorfloat32"):
        assert precision() == "tensorfloat32"


def test_programs_run_where_the_caller_has_said():
    assert platforms.platform() == jax.default_backend()
    with jax.default_device(jax.devices("cpu")[0]):
        assert platforms.platform() == "cpu"


def test_threads_work_on_the_device_and_in_the_precision_of_their_caller():
    cpu = jax.devices("cpu")[0]
    look = lambda: (jax.config.jax_default_matmul_precision, jnp.zeros(()).devices())
    with Threads(1) as pool, jax.default_device(cpu), jax.default_matmul_precision("float32"):
        assert pool.submit(look).result() == ("float32", {cpu})
