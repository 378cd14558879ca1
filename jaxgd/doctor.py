"""Checks this machine: versions, devices, threads, and whether its jax computes correctly."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.caches import kept_programs
from jaxgd.versions import versions


def doctor() -> dict[str, Any]:
    """Returns the facts that a bug report needs, and whether a known miscompilation occurs.

    Returns:
      `versions`, `devices`, `num_threads`, `x64`; `computes_rightly`: whether batched matrix-vector products under jit
      agree with exact values (jax#39103: jax 0.10.2 on CPU does not); and `programs`: where compiled programs are kept,
      how many and how large, or None.
    """
    kept = kept_programs()
    return {
        "versions": versions(),
        "devices": [f"{device.platform} {device.device_kind}" for device in jax.devices()],
        "num_threads": os.cpu_count(),
        "x64": _is_x64(),
        "computes_rightly": computes_rightly(),
        "programs": None if kept is None else {**kept._asdict(), "directory": str(kept.directory)},
    }


def as_text(report: dict[str, Any]) -> str:
    """Returns the report of `doctor` as lines of text."""
    kept = report["programs"]
    size = kept and f"{kept['num_programs']:,}, {kept['num_bytes'] / 2**20:.0f} MiB, in {kept['directory']}"
    lines = {
        **report["versions"],
        "devices": ", ".join(report["devices"]),
        "threads": report["num_threads"],
        "arithmetic": (
            "agrees with exact values" if report["computes_rightly"] else "WRONG: this jax miscompiles (jax#39103)"
        ),
        "programs": size or "none",
    }
    return "\n".join(f"{name:<12} {found}" for name, found in lines.items())


def computes_rightly() -> bool:
    """Returns whether a jitted, mapped matrix-vector product with a reduction is exact at many sizes.

    With integer inputs below 2^12 every intermediate is exact in float32 and float64, whatever the order of the sum.
    """
    dtypes = (jnp.float32, jnp.float64) if _is_x64() else (jnp.float32,)

    def agrees(num_rows: int, dtype: Any) -> bool:
        rows = np.stack([np.arange(num_rows) % 2**11, np.ones(num_rows), np.zeros(num_rows)], axis=1)
        matrix = jnp.eye(3, dtype=dtype)
        squares = jax.jit(jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2)))(jnp.asarray(rows, dtype))
        return bool(np.array_equal(np.asarray(squares), (rows**2).sum(axis=1)))

    return all(agrees(n, dtype) for n in (7, 1_000, 16_385, 32_769) for dtype in dtypes)


def _is_x64() -> bool:
    return jnp.zeros(()).dtype == jnp.float64
