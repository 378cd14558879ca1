"""The Lennard-Jones gradient alone, on one core: jaxgd's at several tiles, and a C loop with SIMD over lanes.

The C loop is the practical limit of a core; it is compiled where there is gcc. A part of `lennard_jones`.
"""

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxgd
from jaxgd.experiment import Missing, System, WorkDone
from jaxgd.lanes_last.mapping import lanes_last

LANDSCAPE = jaxgd.landscapes.lennard_jones()


def gradient_systems(quick: bool) -> list[System]:
    """Returns jaxgd's gradient at several tiles and the C loop's, each on one core, near the icosahedron."""
    step, num_repeats, tiles = (1e-6, 200, (64,)) if quick else (1e-6, 20_000, (32, 64, 128, 256))
    shake = np.random.default_rng(0).normal(size=(max(tiles), 13, 3))
    clusters = _icosahedron() + 0.02 * shake

    def jaxgd_gradient(tile: int) -> Callable[[], Any]:
        evaluate = lanes_last(LANDSCAPE.evaluate)
        move = lambda _, x: x - step * evaluate(x)[1]
        advance = jax.jit(lambda x: jax.lax.fori_loop(0, num_repeats, move, x))
        start = jnp.asarray(np.moveaxis(clusters[:tile], 0, -1))
        return lambda: advance(start)

    def c_gradient() -> Callable[[], Any]:
        library = _compiled(Path(__file__).with_suffix(".c"))
        width = library.width()
        blocks = np.ascontiguousarray(clusters[:64].reshape(64 // width, width, -1).transpose(0, 2, 1))
        value = np.zeros(64)
        pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (blocks, value)]
        return lambda: library.repeat(*pointers, 64 // width, num_repeats, ctypes.c_double(step)) or value

    work_done = lambda lanes: lambda result: WorkDone(amount=lanes * num_repeats)
    unit = "gradients/s"
    return [
        *(
            System(
                name=f"gradient alone, jaxgd, {tile} lanes",
                build=lambda t=tile: jaxgd_gradient(t),
                work_done=work_done(tile),
                unit=unit,
            )
            for tile in tiles
        ),
        System(name="gradient alone, C with SIMD", build=c_gradient, work_done=work_done(64), unit=unit),
    ]


def _icosahedron() -> np.ndarray:
    golden = (1 + 5**0.5) / 2
    corners = [np.roll([0, a, b * golden], shift) for shift in range(3) for a in (-1, 1) for b in (-1, 1)]
    return 1.08 * np.array([np.zeros(3), *corners]) / (1 + golden**2) ** 0.5


def _compiled(source: Path) -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library.so"
        flags = ("-O3", "-march=native", "-ffast-math", "-shared", "-fPIC")
        try:
            subprocess.run(["gcc", *flags, str(source), "-o", str(library)], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Missing("there is no gcc that compiles the C loop") from error
        return ctypes.CDLL(str(library))
