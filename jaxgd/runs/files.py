"""Files that are complete or absent, and a reader that trusts nothing.

A file is written under a temporary name, flushed to disk and then linked or renamed to its final name, so that a file
of that name is complete even if the process is killed. A file that is read may come from anyone: no object in it is
built or executed (no pickle), its arrays are never larger than the file itself, and every defect is one
`InputValueError`. Every file carries a checksum of its content.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import secrets
import socket
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgd.base import InputValueError

MAX_JSON_BYTES = 2**24
_KINDS = "fiubU"  # floats, integers, bools, texts


def write_once(path: Path, content: bytes) -> bool:
    """Writes a file atomically; returns False, and changes nothing, if the name is taken.

    Raises:
      InputValueError: it cannot be written, for example because the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        try:
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if not _link(temporary, path):
                return False
            _sync_directory(path.parent)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputValueError(
            f"cannot write `{path}`: {error.strerror or error}; files written before it are complete."
        ) from error
    return True


def claim(path: Path) -> bool:
    """Creates a file whose existence is the message; returns False if it exists already.

    Raises:
      InputValueError: it cannot be created.
    """
    try:
        with open(path, "xb") as file:
            file.write(f"{socket.gethostname()} {os.getpid()}\n".encode())
    except FileExistsError:
        return False
    except OSError as error:
        raise InputValueError(f"cannot write `{path}`: {error.strerror or error}.") from error
    return True


def write_sealed(path: Path, tree: dict[str, Any]) -> bool:
    """Writes a JSON object with its checksum under `sha256`; returns False if the name is taken.

    Raises:
      InputValueError: it cannot be written.
    """
    return write_once(path, json.dumps({**tree, "sha256": checksum(tree)}, indent=1, allow_nan=False).encode())


def read_sealed(path: Path) -> dict[str, Any]:
    """Returns a JSON object that `write_sealed` wrote, its checksum included.

    Raises:
      InputValueError: it cannot be read, is too large, nested too deeply, not JSON, or not what was written.
    """
    try:
        tree = _read_json(path)
        seal = tree.pop("sha256", None) if isinstance(tree, dict) else None
        if tree and isinstance(tree, dict) and isinstance(tree.get("schema"), int) and seal is None:
            raise ValueError(
                f"it was written by an older jaxgd (schema {tree['schema']}) and can only be read by that version"
            )
        if not isinstance(tree, dict) or seal != checksum(tree):
            raise ValueError("its checksum does not match its content")
    except (OSError, ValueError, RecursionError) as error:
        raise InputValueError(f"`{path}` cannot be read: {_sentence(error)}.") from error
    return {**tree, "sha256": seal}


def checksum(tree: Any, arrays: Mapping[str, np.ndarray] | None = None) -> str:
    """Returns the SHA-256 of a JSON tree and some arrays by name."""
    found = hashlib.sha256(json.dumps(tree, sort_keys=True).encode())
    for name, array in sorted((arrays or {}).items()):
        array = np.ascontiguousarray(array)
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        found.update(array.view(np.uint8).data if array.size and array.ndim else array.tobytes())
    return found.hexdigest()


def _read_json(path: Path) -> Any:
    _check_is_file(path)
    with open(path, "rb") as file:
        content = file.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise ValueError(f"it is longer than {MAX_JSON_BYTES:,} bytes")
    return json.loads(content.decode(), parse_constant=_refuse_constant)


def write_arrays(arrays: dict[str, np.ndarray]) -> bytes:
    """Returns the content of an `.npz` file, not compressed."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)  # type: ignore[arg-type]
    return content.getvalue()


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of an `.npz` file by name, checked against its checksums.

    Raises:
      InputValueError: it is damaged, or was not written by `write_arrays`.
    """
    try:
        _check_is_file(path)
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len({member.filename for member in members}) < len(members):
                raise ValueError("a name occurs twice")
            if sum(member.file_size for member in members) > os.path.getsize(path):
                raise ValueError("its arrays are larger than the file")
            return {member.filename.removesuffix(".npy"): _read_array(archive, member) for member in members}
    except Exception as error:  # zipfile and NumPy raise some ten kinds of errors on bad files
        raise InputValueError(f"`{path}` cannot be read: {_sentence(error)}.") from error


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Returns one array, without allocating memory on the basis of its header."""
    if member.compress_type != zipfile.ZIP_STORED or not member.filename.endswith(".npy"):
        raise ValueError("it does not hold plain arrays")
    content = archive.read(member)  # raises if the checksum does not match
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read_header(file)
    if dtype.kind not in _KINDS or not dtype.itemsize:
        raise ValueError(f"it holds an array of type {dtype}")
    if math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError("the shape of an array does not match its length")
    return np.ndarray(shape, dtype, buffer=content, offset=file.tell(), order="F" if is_fortran else "C")


def _link(temporary: Path, path: Path) -> bool:
    """Gives a file its final name unless that is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        # A network file system may have linked the file and lost the reply. If the temporary file is gone, another
        # process has removed it, which it does only if a file of the final name exists.
        with contextlib.suppress(FileNotFoundError):
            return temporary.stat().st_nlink > 1
        return False
    except OSError:  # a file system without hard links
        if path.exists():
            return False
        os.replace(temporary, path)
    return True


def _sync_directory(path: Path) -> None:
    with contextlib.suppress(OSError):  # not supported by some file systems
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check_is_file(path: Path) -> None:
    """Rejects what would block when it is read, such as a pipe."""
    if path.exists() and not path.is_file():
        raise ValueError("it is not a file")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _sentence(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    first = (str(error).splitlines() or [""])[0].rstrip(".")
    return first if first.isprintable() and first else type(error).__name__
