"""What is damaged, foreign, hostile or unwritable costs one sentence and itself, nothing else."""

import errno
import io
import json
import os
import resource
import threading
import zipfile

import numpy as np
import pytest

import jaxgd
from jaxgd.runs.files import read_arrays, read_json, write_arrays, write_atomically
from jaxgd.runs.manifest import part_name, read_manifest
from jaxgd.runs.parts import read_part
from jaxgd.runs.question import Question

FIRST, SECOND = part_name(0, range(0, 40)), part_name(0, range(40, 80))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    content = bytearray(path.read_bytes())
    content[content.index(np.load(path)["ends.value"].tobytes())] ^= 1
    path.write_bytes(bytes(content))


def empty(path):
    path.write_bytes(b"")


def misname(path):
    path.write_bytes((path.parent / SECOND).read_bytes())


def from_another_run(path):
    arrays = read_arrays(path)
    record = json.loads(str(arrays["record"]))
    arrays["record"] = np.asarray(json.dumps({**record, "run": "0" * 32}))
    path.write_bytes(write_arrays(arrays))


def change_a_number(path):
    arrays = dict(read_arrays(path))
    arrays["ends.value"] = arrays["ends.value"] + 1e-9
    path.write_bytes(write_arrays(arrays))


def directory(path):
    path.unlink()
    path.mkdir()


DAMAGES = {
    truncate: "cannot be read",
    flip: "cannot be read",
    empty: "cannot be read",
    misname: "under a false name",
    from_another_run: "a part of another run",
    change_a_number: "checksum does not agree",
    directory: "is no file",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_part_is_named_left_out_and_done_again_but_kept(damage, whole, copy, runs, capsys):
    damage(copy / FIRST)
    run = jaxgd.open_run(copy)
    assert len(run.ends) == len(run.points) == 80
    assert run.ends.num_starts == 120
    (problem,) = run.problems
    assert FIRST in problem
    assert DAMAGES[damage] in problem
    assert problem.isprintable()
    damaged = (copy / FIRST).read_bytes() if (copy / FIRST).is_file() else None
    runs.finish(copy)
    assert DAMAGES[damage] in capsys.readouterr().err
    runs.same(jaxgd.open_run(copy), jaxgd.open_run(whole))
    (kept,) = copy.glob("*.damaged-*")
    assert damaged is None or kept.read_bytes() == damaged


def test_a_full_disk_is_one_sentence_and_what_was_written_stays(whole, copy, runs):
    (copy / FIRST).unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        with pytest.raises(jaxgd.InputValueError, match=r"cannot write `.*part.*npz`: File too large; files written"):
            runs.finish(copy)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(jaxgd.open_run(copy).ends) == 80
    assert not [path for path in copy.iterdir() if path.name.startswith(".") or ".claim-" in path.name]
    runs.finish(copy)
    runs.same(jaxgd.open_run(copy), jaxgd.open_run(whole))


def test_a_directory_that_cannot_be_written_to_is_one_sentence_and_can_be_read(copy, runs, monkeypatch):
    (copy / FIRST).unlink()

    def refuse_new(path, mode):
        if "x" in mode:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return open(path, mode)

    with monkeypatch.context() as patch:
        patch.setattr("jaxgd.runs.files.open", refuse_new, raising=False)
        with pytest.raises(jaxgd.InputValueError, match="Read-only file system"):
            runs.finish(copy)
        assert len(jaxgd.open_run(copy).ends) == 80


def test_a_file_that_is_there_is_never_replaced_unless_that_is_meant(tmp_path):
    path = tmp_path / "file"
    won = []
    writers = [
        threading.Thread(target=lambda n=n: won.append(write_atomically(path, bytes([n]), replace=False)))
        for n in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(won) == [False] * 7 + [True]
    assert len(list(tmp_path.iterdir())) == 1
    assert write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


# ---------------------------------------------------------------------------------------- hostile manifests


def changed(tree, path, value):
    *way, last = path
    for step in way:
        tree = tree[step]
    tree[last] = value


HOSTILE = {
    "newer jaxgd .schema 2; this one reads 1.": (("schema",), 2),
    "its schema is not 1": (("schema",), "1"),
    "number does not lie in": (("arms", 0, "num_starts"), [10**30]),
    "does not grow": (("arms", 0, "num_starts"), [100, 50]),
    "too many arms or units": (("arms", 0), {"num_starts": [2**31 - 2], "block_size": 1}),
    "a str in place of a int": (("arms", 0, "block_size"), "40"),
    "a bool in place of a int": (("seed",), True),
    "not printable": (("landscape",), "\x1b]0;owned\x07"),
    "too long": (("landscape",), "x" * 10**5),
    "`layout` is neither": (("arms", 0, "layout"), "../../etc"),
    "`run` is no random name": (("run",), "../../../../tmp/evil"),
    "`stop` is no stop rule": (("arms", 0, "stop"), {}),
    "`gradient_norm` must be positive": (("arms", 0, "stop", "gradient_norm"), -1.0),
    "no arms": (("arms",), []),
    "a list in place of a dict": (("params",), [["dim", "1"]]),
}


@pytest.mark.parametrize("message", HOSTILE)
def test_a_hostile_manifest_is_refused_and_nothing_changes(message, copy, runs):
    tree = json.loads((copy / "manifest.json").read_text())
    path, value = HOSTILE[message]
    if path == ("arms", 0):
        value = {**tree["arms"][0], **value}
    changed(tree, path, value)
    (copy / "manifest.json").write_text(json.dumps(tree))
    before = {entry.name: entry.read_bytes() for entry in copy.iterdir()}
    for use in (jaxgd.open_run, lambda directory: runs.ask(directory, 120), runs.finish):
        with pytest.raises(jaxgd.InputValueError, match=message) as refused:
            use(copy)
        assert str(refused.value).isprintable()
    assert {entry.name: entry.read_bytes() for entry in copy.iterdir()} == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 10**6 + "]" * 10**6, "nested too deeply"),
        ('{"a":' * 10**5 + "1" + "}" * 10**5, "nested too deeply"),
        ('{"schema": NaN}', "NaN is no JSON"),
        ('{"schema": ' + "9" * 10**5 + "}", "integer string conversion"),
        ("[]", "a list in place of a dict"),
        ("{}", "it has no 'schema'"),
        ("", "cannot be read"),
        (" " * (2**24 + 1), "longer than"),
    ],
    ids=["deep lists", "deep objects", "NaN", "huge number", "list", "no schema", "empty", "long"],
)
def test_a_manifest_that_is_none_is_refused(text, message, tmp_path):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(jaxgd.InputValueError, match=message):
        jaxgd.open_run(tmp_path)


def test_no_manifest_or_no_file_in_its_place_is_no_run(tmp_path):
    with pytest.raises(jaxgd.InputValueError, match="holds no run"):
        jaxgd.open_run(tmp_path)
    os.mkfifo(tmp_path / "manifest.json")  # reading it would wait for ever
    with pytest.raises(jaxgd.InputValueError, match="holds no run"):
        jaxgd.open_run(tmp_path)
    with pytest.raises(jaxgd.InputValueError, match="is no file"):
        read_json(tmp_path / "manifest.json")


def test_code_that_a_manifest_names_is_not_run_unless_it_is_trusted(copy, tmp_path):
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'owned')!r}, 'w')\nmine = None\n")
    tree = json.loads((copy / "manifest.json").read_text())
    for name in (f"{evil}:mine", f"{evil}:mine:a=1", f"{evil}:a=b:mine"):
        for key, place in (("landscape", tree), ("optimizer", tree["arms"][0])):
            before, place[key] = place[key], name
            (copy / "manifest.json").write_text(json.dumps(tree))
            manifest = read_manifest(copy)
            with pytest.raises(jaxgd.InputValueError, match="if you trust it, say `--trust`"):
                Question.of(manifest, manifest.arms[0], is_trusted=False)
            assert len(jaxgd.open_run(copy).ends) == 120
            place[key] = before
    assert not (tmp_path / "owned").exists()


# -------------------------------------------------------------------------------------------- hostile parts


def npz(**members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", members.pop("compression", zipfile.ZIP_STORED)) as archive:
        for name, member in members.items():
            archive.writestr(name + ".npy", member)
    return content.getvalue()


def npy(shape, descr="<f8", data=b""):
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": descr, "fortran_order": False, "shape": shape})
    return content.getvalue() + data


def pickled():
    content = io.BytesIO()
    np.save(content, np.array([{"evil": 1}], dtype=object), allow_pickle=True)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npz(a=npy((10**15,))), "shape of an array does not fit"),
        (npz(a=npy((0, 10**15))), None),
        (npz(a=npy((10**15,), "<U0")), "array of type"),
        (npz(a=pickled()), "array of type object"),
        (npz(a=npy((2**20,), data=bytes(2**23)), compression=zipfile.ZIP_DEFLATED), "larger than the file"),
        (
            npz(a=npy((8,), data=bytes(64)), compression=zipfile.ZIP_DEFLATED),
            "larger than the file|not of plain arrays",
        ),
        (npz(a=b"no array"), "cannot be read"),
        (b"PK\x03\x04 no archive", "cannot be read"),
    ],
    ids=["huge", "huge and empty", "no width", "pickle", "bomb", "compressed", "no array", "no archive"],
)
def test_a_hostile_archive_is_refused_before_it_takes_memory(content, message, tmp_path):
    path = tmp_path / "part.npz"
    path.write_bytes(content)
    if message is None:
        assert read_arrays(path)["a"].nbytes == 0
        return
    with pytest.raises(jaxgd.InputValueError, match=message):
        read_arrays(path)


def test_a_part_with_false_arrays_and_a_right_checksum_is_refused(copy):
    from jaxgd.runs import parts

    manifest = read_manifest(copy)
    arrays = dict(read_arrays(copy / FIRST))
    record = json.loads(str(arrays.pop("record")))
    falses = {
        "wrong shape or type": {"ends.value": np.zeros(3)},
        "unknown codes": {"ends.status": np.full(40, 99, np.int8)},
        "start numbers": {"ends.start_number": np.arange(1, 41)},
        "none of a part": {"../../etc/passwd": np.zeros(40)},
        "none of a part ": {"ends.params\x1b[2J": np.zeros(40)},
    }
    for message, false in falses.items():
        spoilt = {**arrays, **false}
        false_record = {key: value for key, value in record.items() if key != "sha256"}
        false_record["sha256"] = parts._checksum(spoilt, false_record)
        (copy / FIRST).write_bytes(write_arrays({**spoilt, "record": np.asarray(json.dumps(false_record))}))
        with pytest.raises(jaxgd.InputValueError, match=message.strip()):
            read_part(copy, manifest, 0, range(0, 40))


@pytest.mark.parametrize("num_rounds", [150, pytest.param(3_000, marks=pytest.mark.slow)])
def test_whatever_bytes_change_a_reading_is_right_or_one_sentence(num_rounds, whole, copy, runs):
    rng = np.random.default_rng(0)
    good = read_part(copy, read_manifest(copy), 0, range(0, 40))
    files = {name: (whole / name).read_bytes() for name in (FIRST, "manifest.json", "catalogue-000.npz")}
    refused, accepted = dict.fromkeys(files, 0), 0
    for number in range(num_rounds):
        name = list(files)[number % 3]
        (copy / name).write_bytes(mutated(files[name], rng))
        try:
            if name == FIRST:
                part = read_part(copy, read_manifest(copy), 0, range(0, 40))
                runs.same(part, good)  # what was changed is nothing that counts, such as a date
            elif name == "manifest.json":
                assert len(json.dumps(read_manifest(copy).to_json())) < 10**5
            else:
                assert len(jaxgd.open_run(copy).catalogue) == 2
        except jaxgd.InputValueError as error:
            refused[name] += str(error).isprintable()
        else:
            accepted += 1
        (copy / name).write_bytes(files[name])
    assert sum(refused.values()) + accepted == num_rounds  # every refusal was one printable sentence
    assert refused[FIRST] > num_rounds / 6
    assert refused["manifest.json"] > num_rounds / 30


def mutated(content, rng):
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
