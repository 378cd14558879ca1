"""Strict numerics for every test: float64 on, no silent change of dtype, no silent broadcast of rank.

Nearly all the time of the fast tests is compilation. They compile without optimisation, which saves a quarter of it;
with the slow ones, or where XLA_FLAGS is set, everything is compiled as users have it. Programs are not kept on disk,
neither by the tests nor by the commands that they run.
"""

import os

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_enable_compilation_cache", False)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure(config: pytest.Config) -> None:
    """Sets the compiler's options before anything is compiled, here and in the processes that tests begin."""
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    if config.option.markexpr == "not slow":
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)
