"""A question in written form and as the objects that it names, and what must not change while it is answered.

Two processes that answer one question must compute the same bits. So a run remembers the versions and flags that decide
them, and a fingerprint of the program itself: the descent as jax traced it with the data inside it, and the source of
the rooms that judge its ends.
"""

import ast
import functools
import hashlib
import inspect
import re
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import jaxgd.curvature
import jaxgd.points
from jaxgd import names
from jaxgd.base import InputValueError, Landscape, Stop
from jaxgd.descend import _descent
from jaxgd.lanes.traced import constants
from jaxgd.runs.manifest import Arm, Manifest
from jaxgd.survey import versions

_FLAGS = ("jax_default_prng_impl", "jax_threefry_partitionable", "jax_default_matmul_precision")


@dataclass(frozen=True, kw_only=True)
class Question:
    """What one arm of a run asks.

    Attributes:
      landscape_name: as `jaxgd.names` reads it.
      params: arguments of the landscape as they were written.
      optimizer_name: as `jaxgd.names` reads it.
      stop: when a lane stops.
      seed: of all random numbers.
      dtype: "float64" or "float32"; set before jax computes anything.
      is_noisy: whether gradients are noisy draws.
    """

    landscape_name: str
    params: dict[str, str]
    optimizer_name: str
    stop: Stop
    seed: int
    dtype: str
    is_noisy: bool

    @cached_property
    def landscape(self) -> Landscape:
        """The landscape that is named."""
        return names.find_landscape(
            self.landscape_name, {name: names.parse_value(text) for name, text in self.params.items()}
        )

    @cached_property
    def optimizer(self) -> optax.GradientTransformation:
        """The optimizer that is named."""
        return names.find_optimizer(self.optimizer_name)

    def with_optimizer(self, name: str, stop: Stop) -> "Question":
        """Returns the same question of another optimizer; the landscape stays the same object."""
        other = replace(self, optimizer_name=name, stop=stop)
        if "landscape" in self.__dict__:
            other.__dict__["landscape"] = self.landscape
        return other

    @classmethod
    def of(cls, manifest: Manifest, arm: Arm, *, is_trusted: bool) -> "Question":
        """Returns what an arm of a run asks.

        Raises:
          InputValueError: it names code outside jaxgd and optax, and nobody said that it may be run.
        """
        for name in (manifest.landscape, arm.optimizer):
            if not is_trusted and ":" in names._split(name)[0]:
                raise InputValueError(
                    f"this run names code of its own, `{name}`, which would be run: if you trust it, say `--trust`, or"
                    " repeat the command that began the run."
                )
        return cls(
            landscape_name=manifest.landscape, params=manifest.params, optimizer_name=arm.optimizer, stop=arm.stop,
            seed=manifest.seed, dtype=manifest.dtype, is_noisy=manifest.is_noisy,
        )  # fmt: skip


def setting() -> dict[str, dict[str, str]]:
    """Returns versions, platform and flags of this process, which decide bits, and its devices, which do not."""
    found = versions()
    compared = {name: found[name] for name in ("jaxgd", "jax", "jaxlib", "optax")}
    return {
        "versions": {**compared, "platform": jax.default_backend()},
        "flags": {name: str(getattr(jax.config, name)) for name in _FLAGS},
        "began_on": {
            "python": found["python"],
            "numpy": found["numpy"],
            "scipy": found["scipy"],
            "machine": found["platform"],
            "devices": f"{jax.local_device_count()} x {jax.local_devices()[0].device_kind}",
        },
    }


def differences(question: Question, manifest: Manifest) -> list[str]:
    """Returns what of the landscape and the setting is not as in the manifest, each as "name: there, here"."""
    there = {"landscape": manifest.landscape, "params": manifest.params, "seed": manifest.seed,
             "dtype": manifest.dtype, "is_noisy": manifest.is_noisy}  # fmt: skip
    here = {"landscape": question.landscape_name, "params": question.params, "seed": question.seed,
            "dtype": question.dtype, "is_noisy": question.is_noisy}  # fmt: skip
    now = setting()
    for kind in ("versions", "flags"):
        there |= manifest.setting.get(kind, {})
        here |= now[kind]
    return _unlike(there, here)


def arm_differences(question: Question, arm: Arm) -> list[str]:
    """Returns what of the optimizer, its stop rule and the code is not as in the manifest."""
    there = {"optimizer": arm.optimizer, **asdict(arm.stop)}
    here = {"optimizer": question.optimizer_name, **asdict(question.stop)}
    unlike = _unlike(there, here)
    if not unlike and fingerprint(question) != arm.code:
        unlike = ["code: the landscape, the optimizer or jaxgd computes something else than when the run began"]
    return unlike


def _unlike(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    keys = [key for key in {**there, **here} if there.get(key) != here.get(key)]
    return [f"{key}: {there.get(key)!r} there, {here.get(key)!r} here" for key in keys]


def fingerprint(question: Question) -> str:
    """Returns a hash of the traced descent with all its data, and of the source of the rooms that judge ends."""
    descent = _descent(
        question.landscape, question.optimizer, False, question.stop, None, (), question.is_noisy, False
    )  # fmt: skip

    def life(number: jax.Array, tick: jax.Array, key: jax.Array) -> Any:
        return descent.tick(descent.begin(number, jax.numpy.zeros_like(number), key, None), tick, key)

    count = jax.ShapeDtypeStruct((), np.int32)
    traced = jax.make_jaxpr(life)(count, count, jax.eval_shape(lambda: jax.random.key(0)))
    found = hashlib.sha256(re.sub(r" at 0x[0-9a-f]+|0x[0-9a-f]+", "", str(traced)).encode())
    for constant in constants(traced):
        found.update(_bytes(constant))
    found.update(_judging())
    return found.hexdigest()


@functools.cache
def _judging() -> bytes:
    """Returns the source of the rooms that judge ends, but for comments and layout."""
    rooms = (jaxgd.curvature, jaxgd.points)
    paths = [path for room in rooms for path in sorted(Path(inspect.getfile(room)).parent.glob("*.py"))]
    return "".join(ast.dump(ast.parse(path.read_bytes())) for path in paths).encode()


def _bytes(constant: Any) -> bytes:
    if isinstance(constant, jax.Array) and jax.numpy.issubdtype(constant.dtype, jax.dtypes.prng_key):
        constant = jax.random.key_data(constant)
    array = np.asarray(constant)
    return f"{array.dtype}{array.shape}".encode() + (array.tobytes() if not array.dtype.hasobject else b"")
