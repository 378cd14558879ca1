"""The manifest: the question that the blocks of a run directory answer, so that any process can compute one.

    DIR/manifest.json                       the question; never changes
    DIR/starts-NNNN.json                    number of starts: at first, and after each extension
    DIR/block-FFFFFFFFFF-SSSSSSSSSS.npz     starts F to S - 1: their ends and what those are
    DIR/catalogue-NNNNNNNNNN.npz            the distinct points of the first N starts
    DIR/result-NNNNNNNNNN.json              the survey of the first N starts
    DIR/*.claim, DIR/.*                     of processes in progress

Every file is created once, completely, and never changed. The checksum of the manifest identifies the question, and
every other file names the question it belongs to. File names are derived from numbers and never read from a file.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import jax

from jaxgd.base import LAYOUTS, InputTypeError, InputValueError, Stop
from jaxgd.blocks import Question
from jaxgd.fingerprint import JUDGING_VERSION, descent_fingerprint, landscape_fingerprint
from jaxgd.runs.files import checksum, read_sealed, write_sealed
from jaxgd.versions import versions

SCHEMA = 2
MANIFEST = "manifest.json"
MAX_STARTS = 2**31 - 2

_FLAGS = ("jax_default_prng_impl", "jax_threefry_partitionable", "jax_default_matmul_precision")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The question of a run, in plain values.

    Attributes:
      landscape: name of the landscape.
      optimizer: name of the optimizer.
      written: the words from which the command line rebuilds landscape, optimizer and key: `landscape`, `params`,
        `optimizer`, `seed`; None for a run that was begun with objects.
      stop: when a lane stops.
      key: implementation and words of the key.
      dtype: "float64" or "float32".
      is_noisy: whether gradients are noisy draws.
      layout: how lanes are laid out in memory.
      num_lanes: lanes that step together on a device.
      block_size: starts in a block.
      fingerprint: of the traced descent, see `jaxgd.fingerprint`.
      landscape_fingerprint: of the landscape only; runs that share it can be compared.
      judging: version of the rules that judge ends.
      setting: versions, platform and flags, which must not change.
      began_on: environment of the process that began the run, which may change.
    """

    landscape: str
    optimizer: str
    written: dict[str, Any] | None
    stop: Stop
    key: dict[str, Any]
    dtype: str
    is_noisy: bool
    layout: str
    num_lanes: int
    block_size: int
    fingerprint: str
    landscape_fingerprint: str
    judging: int
    setting: dict[str, str]
    began_on: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Returns the manifest as a JSON object."""
        return {"schema": SCHEMA, **asdict(self)}

    @property
    def digest(self) -> str:
        """The checksum that identifies the question."""
        return checksum(self.to_json())


def manifest_of(question: Question, written: Mapping[str, Any] | None) -> Manifest:
    """Returns the manifest of a run of this question in this process."""
    found = versions()

    return Manifest(
        landscape=question.landscape.name,
        optimizer=question.optimizer_name,
        written=None if written is None else dict(written),
        stop=question.stop,
        key={
            "impl": str(jax.random.key_impl(question.key)),
            "words": jax.random.key_data(question.key).ravel().tolist(),
        },
        dtype="float64" if jax.config.jax_enable_x64 else "float32",  # type: ignore[attr-defined]
        is_noisy=question.is_noisy,
        layout=str(question.engine.layout),
        num_lanes=int(question.engine.num_lanes or 1),
        block_size=question.block_size,
        fingerprint=descent_fingerprint(question.landscape, question.optimizer, question.is_noisy),
        landscape_fingerprint=landscape_fingerprint(question.landscape),
        judging=JUDGING_VERSION,
        setting={
            **{name: found[name] for name in ("jaxgd", "jax", "jaxlib", "optax")},
            "platform": jax.default_backend(),
            **{name: str(getattr(jax.config, name)) for name in _FLAGS},
        },
        began_on={
            **{name: found[name] for name in ("python", "numpy", "scipy")},
            "machine": found["platform"],
            "devices": f"{jax.local_device_count()} x {jax.local_devices()[0].device_kind}",
        },
    )


def differences(there: Manifest, here: Manifest) -> list[str]:
    """Returns the differences that would make this process compute something else, each as "name: there, here".

    Names of landscapes and optimizers may differ if they compute the same; they are listed only as an explanation.
    """
    kept = ("dtype", "is_noisy", "judging")
    of_question = lambda run: {
        "seed": (run.written or {}).get("seed", run.key["words"]) if there.key != here.key else None,
        **{name: getattr(run, name) for name in kept},
        **asdict(run.stop),
        **run.setting,
    }
    of_names = lambda run: {
        "landscape": run.landscape,
        "optimizer": run.optimizer,
        **{f"param {name}": text for name, text in (run.written or {}).get("params", {}).items()},
    }
    unlike = _unlike(of_question(there), of_question(here))
    if there.fingerprint != here.fingerprint and not unlike:
        unlike = _unlike(of_names(there), of_names(here))
        unlike = unlike or ["the landscape or the optimizer no longer computes what it did when the run began"]
    return unlike


def _unlike(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    keys = [key for key in {**there, **here} if there.get(key) != here.get(key)]
    return [f"{key}: {there.get(key)!r} there, {here.get(key)!r} here" for key in keys]


def write_manifest(directory: Path, manifest: Manifest) -> bool:
    """Writes the manifest of a new run, and returns False if another process was faster."""
    return write_sealed(directory / MANIFEST, manifest.to_json())


def read_manifest(directory: Path) -> Manifest:
    """Returns the manifest of a run.

    Raises:
      InputValueError: there is none, or it is damaged, malicious, or of another schema.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise InputValueError(f"`{directory}` holds no run.")
    tree = read_sealed(path)
    try:
        schema = tree["schema"]
        if type(schema) is not int or schema < 1:
            raise ValueError("its schema is not a number")
        if schema != SCHEMA:
            age = "a newer" if schema > SCHEMA else "an older"
            raise ValueError(f"it was written by {age} jaxgd (schema {schema}; this one reads {SCHEMA})")
        return _manifest(tree)
    except KeyError as error:
        raise InputValueError(f"`{path}` is not a valid manifest: it has no {str(error)[:80]}.") from error
    except (ValueError, TypeError, InputValueError, InputTypeError, OverflowError) as error:
        raise InputValueError(f"`{path}` is not a valid manifest: {str(error)[:200].rstrip('.')}.") from error


# ------------------------------------------------------------------------- nothing in a manifest is trusted


def _manifest(tree: dict[str, Any]) -> Manifest:
    stop = _is(tree["stop"], dict)
    if set(stop) != {item.name for item in fields(Stop)} or stop["at_event"] is not None:
        raise ValueError("`stop` is not a stop rule")

    if any(isinstance(value, (bool, list, dict)) for value in stop.values()):
        raise TypeError("`stop` holds something that is not a number")
    if tree["dtype"] not in ("float64", "float32"):
        raise ValueError("`dtype` is neither float64 nor float32")
    if tree["layout"] not in LAYOUTS:
        raise ValueError(f"`layout` is not one of {', '.join(LAYOUTS)}")

    return Manifest(
        landscape=_text(tree["landscape"]),
        optimizer=_text(tree["optimizer"]),
        written=None if tree["written"] is None else _written(_is(tree["written"], dict)),
        stop=Stop(**stop),
        key={
            "impl": _text(_is(tree["key"], dict)["impl"]),
            "words": [_count(word, 0, 2**32 - 1) for word in _is(tree["key"]["words"], list)[:8]],
        },
        dtype=tree["dtype"],
        is_noisy=_is(tree["is_noisy"], bool),
        layout=tree["layout"],
        num_lanes=_count(tree["num_lanes"], 1, 2**20),
        block_size=_count(tree["block_size"], 1, MAX_STARTS),
        fingerprint=_text(tree["fingerprint"]),
        landscape_fingerprint=_text(tree["landscape_fingerprint"]),
        judging=_count(tree["judging"], 0, 2**31),
        setting=_texts(tree["setting"]),
        began_on=_texts(tree["began_on"]),
    )


def _written(tree: dict[str, Any]) -> dict[str, Any]:
    return {
        "landscape": _text(tree["landscape"]),
        "params": _texts(tree["params"]),
        "optimizer": _text(tree["optimizer"]),
        "seed": _count(tree["seed"], 0, 2**63 - 1),
    }


def _texts(tree: Any) -> dict[str, str]:
    return {_text(key): _text(text) for key, text in _is(tree, dict).items()}


def _is(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"it has a {type(value).__name__} instead of a {kind.__name__}")
    return value


def _count(value: Any, low: int, high: int) -> int:
    if not low <= _is(value, int) <= high:
        raise ValueError(f"a number does not lie in [{low}, {high}]")
    return int(value)


def _text(value: Any) -> str:
    """Returns a one-line string without terminal control codes."""
    if not _is(value, str).isprintable() or len(value) > 1000:
        raise ValueError("a text is not printable or too long")
    return str(value)
