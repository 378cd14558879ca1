"""What differs between CPUs and accelerators: where programs run, and how exactly matrices are multiplied there."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")


def platform() -> str:
    """Returns the platform that programs are compiled for: "cpu", "gpu" or "tpu".

    It is that of `jax.default_device`, where this is set.
    """
    settings: Any = jax.config  # not every jax version declares these settings
    chosen = settings.jax_default_device
    return jax.default_backend() if chosen is None else getattr(chosen, "platform", str(chosen))


def in_full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Returns the function, within which matrices of float32 are multiplied in float32.

    Unless told otherwise, a GPU rounds their entries to ten bits and a TPU to seven. Gradients then have relative
    errors near 3e-4, and neither a stop rule nor a verdict can rely on them. A user's own setting
    (`jax_default_matmul_precision`) is left alone, as are programs for CPUs, which round nothing.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        settings: Any = jax.config
        is_right = platform() == "cpu" or settings.jax_default_matmul_precision is not None
        with contextlib.nullcontext() if is_right else jax.default_matmul_precision("highest"):
            return function(*args, **kwargs)

    return call
