"""Does a run directory that was damaged ever say something false, or raise anything but one sentence?

A small run is spoilt in three ways. Every bit of each of its files is flipped in turn, and some bytes of a file are
deleted, repeated, overwritten or swapped: the file must be refused, or say what it said. Then whole directories are
spoilt (files damaged, cut off, removed, exchanged, renamed, replaced by directories, or claimed by a machine whose
clock runs ahead): a survey that continues the run must refuse it, or end with the bits of the undisturbed run.
"""

import contextlib
import functools
import io
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import jax
import numpy as np

import jaxgd
from experiments.cluster.commands import num_unlike
from jaxgd import experiment
from jaxgd.runs.directory import Directory
from jaxgd.runs.manifest import read_manifest
from jaxgd.runs.parts import read_catalogue

LANDSCAPE = jaxgd.landscapes.styblinski_tang(dim=1)
NUM_STARTS, BLOCK = 120, 40
FILES = ("manifest.json", "starts-0001.json", "block-0000000000-0000000040.npz", "catalogue-0000000120.npz")


def measure(options: experiment.Options) -> experiment.Claim:
    """Spoils a run in every way, and counts what comes of it."""
    bit_step, num_byte_rounds, num_rounds = (499, 100, 30) if options.quick else (1, 3_000, 3_000)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        whole, copy = Path(place) / "whole", Path(place) / "copy"
        survey(whole)

        shutil.copytree(whole, copy)
        bits: Counter[str] = Counter()
        for name in FILES:
            found = flip_bits(copy, name, whole, bit_step)
            experiment.note(f"{name}: {found}")
            bits += found
        changed: Counter[str] = Counter(
            reading_of(copy, name, whole, mutated((whole / name).read_bytes(), rng))
            for name in (FILES[number % len(FILES)] for number in range(num_byte_rounds))
        )
        experiment.note(f"bytes: {dict(changed)}")

        spoilt: Counter[str] = Counter()
        for number in range(num_rounds):
            shutil.rmtree(copy)
            shutil.copytree(whole, copy)
            done = [spoil(copy, rng) for _ in range(rng.integers(1, 4))]
            outcome = continuation_of(copy, whole)
            spoilt[outcome] += 1
            if outcome not in ("the same", "refused"):
                experiment.note(f"round {number}: {outcome} after {done}")
        experiment.note(f"directories: {dict(spoilt)}")

    rows = []
    for what, found in (("flipped bits", bits), ("changed bytes", changed), ("spoilt directories", spoilt)):
        num_bad = sum(found.values()) - found["the same"] - found["refused"]
        rows += [
            experiment.exactly(f"{what}: false or a traceback", num_bad, expected=0, source="refused or the same"),
            experiment.exactly(f"{what}: refused", found["refused"]),
            experiment.exactly(f"{what}: the same all the same", found["the same"]),
        ]
    return experiment.Claim(
        name="damage",
        claim="A damaged run directory is refused with one sentence, or ends with the bits of an undisturbed one.",
        rows=rows,
    )


def survey(out: Path) -> jaxgd.Survey:
    """Runs or continues the small survey."""
    return jaxgd.survey(
        LANDSCAPE,
        "sgd:learning_rate=0.02",
        NUM_STARTS,
        key=jax.random.key(7),
        out=out,
        block_size=BLOCK,
        stop=jaxgd.Stop(gradient_norm=1e-8, max_steps=5000),
        engine=jaxgd.Engine(layout="lanes_last", num_lanes=32),
    )


# --------------------------------------------------------------------------------------------- one file


def flip_bits(copy: Path, name: str, whole: Path, step: int) -> Counter[str]:
    """Flips every `step`-th bit of a file in turn, and counts how it then reads."""
    good = (whole / name).read_bytes()
    found: Counter[str] = Counter()
    for bit in range(0, 8 * len(good), step):
        content = bytearray(good)
        content[bit // 8] ^= 1 << bit % 8
        found[reading_of(copy, name, whole, bytes(content))] += 1
    return found


def reading_of(copy: Path, name: str, whole: Path, content: bytes) -> str:
    """Returns how a file of a run reads with other content: "refused", "the same", or what is wrong with that."""
    (copy / name).write_bytes(content)
    try:
        return "the same" if _said(copy, name) == _said_at_first(whole, name) else "false"
    except jaxgd.InputValueError as error:
        return "refused" if str(error).isprintable() else "an unprintable sentence"
    except Exception as error:
        return f"a traceback of {type(error).__name__}: {error}"
    finally:
        (copy / name).write_bytes((whole / name).read_bytes())


def _said(directory: Path, name: str) -> object:
    """Returns what a file of a run says, as something that can be compared bit by bit."""
    manifest = read_manifest(directory)
    if name == "manifest.json":
        return manifest
    store = Directory(directory, manifest)
    if name.startswith("starts"):
        return store.ends_of_extents

    is_block = name.startswith("block")
    found = store.look_at(range(BLOCK)) if is_block else (read_catalogue(directory / name, manifest.digest, dict),)
    plain = lambda leaf: leaf.tobytes() if isinstance(leaf, np.ndarray) else repr(leaf)
    return [jax.tree.map(plain, vars(record)) for record in found]


_said_at_first = functools.cache(_said)


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Flips, deletes, repeats, overwrites or swaps some bytes."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        first, length = rng.integers(len(data)), int(rng.integers(1, 64))
        match rng.integers(5):
            case 0:
                data[first] ^= 1 << int(rng.integers(8))
            case 1:
                del data[first : first + length]
            case 2:
                data[first:first] = data[first : first + length]
            case 3:
                data[first : first + length] = rng.bytes(len(data[first : first + length]))
            case 4:
                data[first : first + 1] = rng.choice([b"-", b"9", b"\x00", b'"', b"[", b"e99", b"\xff"])
        if not data:
            data = bytearray(b"x")
    return bytes(data)


# ---------------------------------------------------------------------------------------- a whole directory


def spoil(directory: Path, rng: np.random.Generator) -> str:
    """Does one random thing to a run directory, and says what."""
    files = sorted(path for path in directory.iterdir() if path.is_file() and path.stat().st_size)
    path, other = (files[number] for number in rng.integers(len(files), size=2))
    match rng.integers(8):
        case 0:
            path.write_bytes(mutated(path.read_bytes(), rng))
            return f"bytes of {path.name} changed"
        case 1:
            path.write_bytes(path.read_bytes()[: rng.integers(path.stat().st_size)])
            return f"{path.name} cut off"
        case 2:
            path.unlink()
            return f"{path.name} removed"
        case 3:
            path.write_bytes(other.read_bytes())
            return f"{other.name} copied over {path.name}"
        case 4:
            path.rename(other)
            return f"{path.name} renamed to {other.name}"
        case 5:
            path.unlink()
            path.mkdir()
            return f"{path.name} replaced by a directory"
        case 6:
            (directory / f".{path.name}.17-abcd").write_bytes(path.read_bytes()[:50])
            return f"{path.name} half written by a process that died"
        case _:
            path.unlink()
            claim = directory / f"{path.name}.claim"
            claim.write_text("a machine whose clock runs ahead")
            os.utime(claim, (time.time() + 10**6,) * 2)
            return f"{path.name} removed and claimed from the future"


def continuation_of(directory: Path, whole: Path) -> str:
    """Returns what becomes of a run that is continued: "refused", "the same", or what is wrong with that."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            survey(directory)
        return "the same" if not num_unlike(directory, whole, landscape=LANDSCAPE) else "false"
    except jaxgd.InputValueError as error:
        return "refused" if str(error).isprintable() else "an unprintable sentence"
    except Exception as error:
        return f"a traceback of {type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__))
