"""The cores that this process may use, and threads for them."""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax


def own_cores() -> list[int]:
    """Returns the numbers of the cores that this process may use, ascending; at least one."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


class Threads(ThreadPoolExecutor):
    """Threads that run each call under the jax settings of the thread that submitted it.

    A setting made by a context (`with jax.enable_x64(True):`) is local to its thread.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Runs a call in one of the threads."""
        config: Any = jax.config  # not every jax version declares these settings
        x64, dtypes, ranks = config.jax_enable_x64, config.jax_numpy_dtype_promotion, config.jax_numpy_rank_promotion
        device, precision = config.jax_default_device, config.jax_default_matmul_precision

        def call() -> Any:
            with (
                jax.enable_x64(x64),
                jax.numpy_dtype_promotion(dtypes),
                jax.numpy_rank_promotion(ranks),
                jax.default_device(device),
                jax.default_matmul_precision(precision),
            ):
                return fn(*args, **kwargs)

        return super().submit(call)
