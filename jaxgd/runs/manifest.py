"""The manifest: what a run asks, so that any process can do any block of it, and refuse one that it would do otherwise.

    DIR/manifest.json                              what is asked: this file
    DIR/part-AAA-FFFFFFFFFF-SSSSSSSSSS.npz         arm A, starts F to S - 1: their ends and what those are
    DIR/catalogue-AAA.npz, DIR/result-AAA.json     what arm A comes to; written anew whenever its parts are merged
    DIR/*.claim-N, DIR/.*                          of processes at work

An *arm* is one optimizer with its stop rule; all arms begin at the same starts with the same keys. The starts of an arm
are cut into *units*: at every multiple of its block size, and wherever the run once ended before it was extended. Names
of files follow from the manifest's numbers and are never read from it.
"""

import json
import secrets
import time
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from jaxgd.base import InputTypeError, InputValueError, Stop
from jaxgd.runs.claims import claim
from jaxgd.runs.files import read_json, write_atomically

SCHEMA = 1
MANIFEST = "manifest.json"
MAX_ARMS = 1000
MAX_UNITS = 10**6
MAX_STARTS = 2**31 - 2

_TRIES, _WAIT_SECONDS = 300, 0.1  # for a manifest that another process is changing


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One optimizer on the starts of a run.

    Attributes:
      optimizer: its written name.
      stop: when a lane stops.
      num_starts: starts asked for at first and after each extension, growing.
      block_size: starts in a unit.
      layout: how lanes lie in memory.
      num_lanes: lanes that step together on a device.
      code: fingerprint of the traced descent, see `jaxgd.runs.question.fingerprint`.
    """

    optimizer: str
    stop: Stop
    num_starts: tuple[int, ...]
    block_size: int
    layout: str
    num_lanes: int
    code: str

    @property
    def units(self) -> list[range]:
        """The starts in pieces, each done by one process and kept in one part."""
        ends = self.num_starts
        cuts = sorted({*range(0, ends[-1], self.block_size), *ends})
        return [range(first, stop) for first, stop in pairwise(cuts)]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a run asks.

    Attributes:
      run: a random name, so that parts of different runs are told apart.
      landscape: its written name.
      params: its arguments as they were written.
      seed: of all random numbers.
      dtype: "float64" or "float32".
      is_noisy: whether gradients are noisy draws.
      arms: the optimizers, in the order in which they were added.
      setting: versions, platform and flags, which must not change; and what the process that began ran on, which may.
    """

    landscape: str
    params: dict[str, str]
    seed: int
    dtype: str
    is_noisy: bool
    arms: tuple[Arm, ...]
    setting: dict[str, dict[str, str]]
    run: str = field(default_factory=lambda: secrets.token_hex(16))

    def to_json(self) -> dict[str, Any]:
        """Returns the manifest as a JSON object."""
        return {"schema": SCHEMA, **asdict(self)}


def part_name(arm: int, unit: range) -> str:
    """Returns the name of the part that holds a unit."""
    return f"part-{arm:03d}-{unit.start:010d}-{unit.stop:010d}.npz"


def read_manifest(directory: Path) -> Manifest:
    """Returns the manifest of a run.

    Raises:
      InputValueError: there is none, or it is damaged, hostile, or of a newer schema.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise InputValueError(f"`{directory}` holds no run.")
    tree = read_json(path)
    try:
        schema = _is(tree, dict)["schema"]
        if isinstance(schema, int) and schema > SCHEMA:
            raise InputValueError(f"`{path}` was written by a newer jaxgd (schema {schema}; this one reads {SCHEMA}).")
        if schema != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
        return _manifest(tree)
    except InputValueError as error:
        raise error if "newer jaxgd" in str(error) else InputValueError(f"`{path}` is no manifest: {error}") from error
    except KeyError as error:
        raise InputValueError(f"`{path}` is no manifest: it has no {str(error)[:80]}.") from error
    except (ValueError, TypeError, InputTypeError, OverflowError) as error:
        raise InputValueError(f"`{path}` is no manifest: {str(error)[:200]}.") from error


def write_manifest(directory: Path, manifest: Manifest) -> bool:
    """Writes the first manifest of a run, and returns False where another process has been faster."""
    return write_atomically(directory / MANIFEST, _content(manifest), replace=False)


def add_starts(directory: Path, arm: int | None, num_starts: int) -> Manifest:
    """Returns the manifest after one arm, or every arm if None, was extended to `num_starts` where it had fewer."""

    def extended(manifest: Manifest) -> Manifest:
        return replace(
            manifest,
            arms=tuple(
                replace(old, num_starts=(*old.num_starts, num_starts))
                if arm in (None, place) and old.num_starts[-1] < num_starts
                else old
                for place, old in enumerate(manifest.arms)
            ),
        )

    return _change(directory, extended)


def add_arm(directory: Path, arm: Arm) -> Manifest:
    """Returns the manifest after an arm was added to it, unless it has one of this optimizer and stop rule."""

    def with_arm(manifest: Manifest) -> Manifest:
        return manifest if find_arm(manifest, arm) is not None else replace(manifest, arms=(*manifest.arms, arm))

    return _change(directory, with_arm)


def find_arm(manifest: Manifest, arm: Arm) -> int | None:
    """Returns the number of the arm with the same optimizer and stop rule."""
    kinds = [(known.optimizer, known.stop) for known in manifest.arms]
    return kinds.index((arm.optimizer, arm.stop)) if (arm.optimizer, arm.stop) in kinds else None


def _change(directory: Path, change: Any) -> Manifest:
    for _ in range(_TRIES):
        held = claim(directory, MANIFEST)
        if held is not None:
            break
        time.sleep(_WAIT_SECONDS)
    else:
        raise InputValueError(f"another process is changing `{directory / MANIFEST}` just now; try again.")
    with held:
        manifest = change(read_manifest(directory))
        write_atomically(directory / MANIFEST, _content(manifest))
    return manifest


def _content(manifest: Manifest) -> bytes:
    return json.dumps(manifest.to_json(), indent=1, allow_nan=False).encode()


# ------------------------------------------------------------------------- nothing in a manifest is believed


def _manifest(tree: dict[str, Any]) -> Manifest:
    arms = tuple(_arm(arm) for arm in _is(tree["arms"], list)[: MAX_ARMS + 1])
    if not 1 <= len(arms) <= MAX_ARMS or sum(len(arm.num_starts) + _num_blocks(arm) for arm in arms) > MAX_UNITS:
        raise ValueError("it has no arms, or too many arms or units")
    run = _name(tree["run"])
    if len(run) != 32 or set(run) - set("0123456789abcdef"):
        raise ValueError("`run` is no random name")
    setting = {
        _name(kind): {_name(key): _name(text) for key, text in _is(texts, dict).items()}
        for kind, texts in _is(tree["setting"], dict).items()
    }
    if tree["dtype"] not in ("float64", "float32"):
        raise ValueError("`dtype` is neither float64 nor float32")
    return Manifest(
        run=run,
        landscape=_name(tree["landscape"]),
        params={_name(key): _name(text) for key, text in _is(tree["params"], dict).items()},
        seed=_count(tree["seed"], 0, 2**63 - 1),
        dtype=tree["dtype"],
        is_noisy=_is(tree["is_noisy"], bool),
        arms=arms,
        setting=setting,
    )


def _arm(tree: Any) -> Arm:
    stop = _is(_is(tree, dict)["stop"], dict)
    if set(stop) != {item.name for item in fields(Stop)} or stop["at_event"] is not None:
        raise ValueError("`stop` is no stop rule")
    for name in ("gradient_norm", "improvement"):
        is_word = name == "gradient_norm" and stop[name] in (None, "auto")
        if not is_word and (isinstance(stop[name], bool) or not isinstance(stop[name], (int, float))):
            raise TypeError(f"`{name}` is no number")
    ends = tuple(_count(count, 1, MAX_STARTS) for count in _is(tree["num_starts"], list))
    if not ends or any(later <= earlier for earlier, later in pairwise(ends)):
        raise ValueError("`num_starts` does not grow")
    if tree["layout"] not in ("lanes_first", "lanes_last"):
        raise ValueError("`layout` is neither lanes_first nor lanes_last")
    return Arm(
        optimizer=_name(tree["optimizer"]),
        stop=Stop(**stop),
        num_starts=ends,
        block_size=_count(tree["block_size"], 1, MAX_STARTS),
        layout=tree["layout"],
        num_lanes=_count(tree["num_lanes"], 1, 2**20),
        code=_name(tree["code"]),
    )


def _num_blocks(arm: Arm) -> int:
    return -(-arm.num_starts[-1] // arm.block_size)


def _is(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"it has a {type(value).__name__} in place of a {kind.__name__}")
    return value


def _count(value: Any, low: int, high: int) -> int:
    if not low <= _is(value, int) <= high:
        raise ValueError(f"a number does not lie in [{low}, {high}]")
    return int(value)


def _name(value: Any) -> str:
    """Returns a text of one line that cannot steer a terminal."""
    if not _is(value, str).isprintable() or len(value) > 1000:
        raise ValueError("a text is not printable or too long")
    return str(value)
