"""What is damaged, foreign, hostile or unwritable costs one sentence and itself, nothing else.

Random damage, and every bit flipped in turn, are `experiments.cluster.damage`.
"""

import errno
import io
import json
import os
import resource
import threading
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner

import jaxgd
from jaxgd import cli
from jaxgd.runs.files import checksum, read_arrays, read_sealed, write_arrays, write_once, write_sealed
from jaxgd.runs.manifest import read_manifest

FIRST, SECOND = "block-0000000000-0000000040.npz", "block-0000000040-0000000080.npz"


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


def sealed(arrays, record):
    """Returns the content of a file with a right checksum."""
    return write_arrays({**arrays, "record": np.asarray(json.dumps({**record, "sha256": checksum(record, arrays)}))})


def opened(path):
    """Returns the arrays of a file and its record."""
    arrays = dict(read_arrays(path))
    record = json.loads(str(arrays.pop("record")))
    del record["sha256"]
    return arrays, record


def of_another_question(path):
    arrays, record = opened(path)
    path.write_bytes(sealed(arrays, {**record, "question": "0" * 64}))


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
    misname: "under a wrong name",
    of_another_question: "belongs to a different question",
    change_a_number: "checksum does not match",
    directory: "is not a file",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_block_is_named_left_out_and_done_again_but_kept(damage, whole, copy, runs, capsys):
    damage(copy / FIRST)
    run = jaxgd.open_run(copy)
    assert len(run.ends) == len(run.points) == 80
    assert run.ends.num_starts == 120
    (problem,) = run.problems
    assert FIRST in problem
    assert DAMAGES[damage] in problem
    assert problem.isprintable()
    damaged = (copy / FIRST).read_bytes() if (copy / FIRST).is_file() else None
    runs.survey(copy)
    assert DAMAGES[damage] in capsys.readouterr().err
    runs.same(jaxgd.open_run(copy), jaxgd.open_run(whole))
    (kept,) = copy.glob("*.damaged-*")
    assert damaged is None or kept.read_bytes() == damaged


def test_a_full_disk_is_one_sentence_and_what_was_written_stays(whole, copy, runs):
    (copy / FIRST).unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        with pytest.raises(jaxgd.InputValueError, match=r"cannot write `.*block.*npz`: File too large; files written"):
            runs.survey(copy)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(jaxgd.open_run(copy).ends) == 80
    assert runs.litter(copy) == []
    runs.survey(copy)
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
            runs.survey(copy)
        assert len(jaxgd.open_run(copy).ends) == 80


def test_a_finished_run_on_a_disk_that_cannot_be_written_to_is_still_reported(copy, runs, monkeypatch):
    def refuse_new(path, mode):
        if "x" in mode:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return open(path, mode)

    monkeypatch.setattr("jaxgd.runs.files.open", refuse_new, raising=False)
    assert runs.survey(copy).catalogue.num_descents == 120


def test_a_directory_of_something_else_is_refused_and_left_alone(tmp_path, runs):
    (tmp_path / "thesis.tex").write_text("chapter 1")
    with pytest.raises(jaxgd.InputValueError, match=r"holds files that are not of a run, for example `thesis\.tex`"):
        runs.survey(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_that_is_there_is_never_replaced(tmp_path):
    path = tmp_path / "file"
    won = []
    writers = [threading.Thread(target=lambda n=n: won.append(write_once(path, bytes([n])))) for n in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(won) == [False] * 7 + [True]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("moment", ["before the link", "after it has failed"])
def test_a_writer_whose_half_written_file_others_clear_away_has_lost_to_them_and_nothing_else(
    tmp_path, monkeypatch, moment
):
    path, link = tmp_path / "file", os.link

    def link_late(temporary, name):
        name.write_bytes(b"theirs")
        if moment == "before the link":
            temporary.unlink()
        try:
            link(temporary, name)
        finally:
            temporary.unlink(missing_ok=True)

    monkeypatch.setattr(os, "link", link_late)
    assert not write_once(path, b"ours")
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


# ---------------------------------------------------------------------------------------- hostile manifests


def rewritten(path, change):
    """Changes a sealed file, and seals it again."""
    tree = read_sealed(path)
    del tree["sha256"]
    change(tree)
    path.unlink()
    write_sealed(path, tree)


HOSTILE = {
    "a newer jaxgd .schema 3; this one reads 2.": {"schema": 3},
    "an older jaxgd .schema 1; this one reads 2.": {"schema": 1},
    "its schema is not a number": {"schema": "2"},
    "a str instead of a int": {"block_size": "40"},
    "a number does not lie in": {"num_lanes": 10**30},
    "a int instead of a bool": {"is_noisy": 1},
    "not printable": {"landscape": "\x1b]0;owned\x07"},
    "too long": {"landscape": "x" * 10**5},
    "`layout` is not one of": {"layout": "../../etc"},
    "`dtype` is neither": {"dtype": "float8"},
    "`stop` is not a stop rule": {"stop": {}},
    "a list instead of a dict": {"setting": [["dim", "1"]]},
    "a str instead of a list": {"key": {"impl": "threefry2x32", "words": "07"}},
    "it has no 'seed'": {"written": {"landscape": "quartic", "params": {}, "optimizer": "sgd"}},
}


@pytest.mark.parametrize("message", HOSTILE)
def test_a_hostile_manifest_with_a_right_checksum_is_refused_and_nothing_changes(message, copy, runs):
    rewritten(copy / "manifest.json", lambda tree: tree.update(HOSTILE[message]))
    before = {entry.name: entry.read_bytes() for entry in copy.iterdir()}
    for use in (jaxgd.open_run, runs.survey):
        with pytest.raises(jaxgd.InputValueError, match=message) as refused:
            use(copy)
        assert str(refused.value).isprintable()
    assert {entry.name: entry.read_bytes() for entry in copy.iterdir()} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_starts": 2**31 - 2}, "too many blocks"),
        ({"num_starts": 2**40}, "is not larger than the previous one"),
        ({"num_starts": "120"}, "is not larger than the previous one"),
        ({"question": "0" * 64}, "belongs to a different question"),
    ],
)
def test_a_hostile_number_of_starts_is_refused(change, message, copy, runs):
    rewritten(copy / "starts-0001.json", lambda tree: tree.update(change))
    for use in (lambda path: jaxgd.open_run(path).ends, runs.survey):
        with pytest.raises(jaxgd.InputValueError, match=message):
            use(copy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 10**6 + "]" * 10**6, "nested too deeply"),
        ('{"a":' * 10**5 + "1" + "}" * 10**5, "nested too deeply"),
        ('{"schema": NaN}', "NaN is not JSON"),
        ('{"schema": ' + "9" * 10**5 + "}", "integer string conversion"),
        ("[]", "checksum does not match"),
        ("{}", "checksum does not match"),
        ('{"schema": 1, "run": "0123"}', "written by an older jaxgd"),
        ("", "cannot be read"),
        (" " * (2**24 + 1), "longer than"),
    ],
    ids=["deep lists", "deep objects", "NaN", "huge number", "list", "empty object", "older", "empty", "long"],
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
    with pytest.raises(jaxgd.InputValueError, match="is not a file"):
        read_sealed(tmp_path / "manifest.json")


def test_code_that_a_manifest_names_is_not_run_unless_it_is_trusted(copy, tmp_path):
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'owned')!r}, 'w')\nmine = None\n")
    written = read_manifest(copy).written
    for name in (f"{evil}:mine", f"{evil}:mine:a=1", f"{evil}:a=b:mine"):
        for kind in ("landscape", "optimizer"):
            rewritten(copy / "manifest.json", lambda tree, kind=kind, name=name: tree["written"].update({kind: name}))
            digest = read_manifest(copy).digest
            rewritten(copy / "starts-0001.json", lambda tree, digest=digest: tree.update(question=digest))
            for words in (["resume"], ["extend", "--starts", "200"], ["merge"]):
                result = CliRunner().invoke(cli.main, [*words, str(copy)])
                assert (result.exit_code, "add `--trust`" in result.stderr) == (2, True)
            assert jaxgd.open_run(copy).num_starts == 120
            rewritten(copy / "manifest.json", lambda tree: tree.update(written=written))
    assert not (tmp_path / "owned").exists()


def test_a_run_that_was_begun_with_objects_is_continued_from_python_alone(copy):
    rewritten(copy / "manifest.json", lambda tree: tree.update(written=None))
    result = CliRunner().invoke(cli.main, ["resume", str(copy)])
    assert (result.exit_code, "call jaxgd.survey(..., out=" in result.stderr) == (2, True)


# -------------------------------------------------------------------------------------------- hostile blocks


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
        (npz(a=npy((10**15,))), "shape of an array does not match"),
        (npz(a=npy((0, 10**15))), None),
        (npz(a=npy((10**15,), "<U0")), "array of type"),
        (npz(a=pickled()), "array of type object"),
        (npz(a=npy((2**20,), data=bytes(2**23)), compression=zipfile.ZIP_DEFLATED), "larger than the file"),
        (
            npz(a=npy((8,), data=bytes(64)), compression=zipfile.ZIP_DEFLATED),
            "larger than the file|does not hold plain arrays",
        ),
        (npz(a=b"no array"), "cannot be read"),
        (b"PK\x03\x04 no archive", "cannot be read"),
    ],
    ids=["huge", "huge and empty", "no width", "pickle", "bomb", "compressed", "no array", "no archive"],
)
def test_a_hostile_archive_is_refused_before_it_takes_memory(content, message, tmp_path):
    path = tmp_path / "block.npz"
    path.write_bytes(content)
    if message is None:
        assert read_arrays(path)["a"].nbytes == 0
        return
    with pytest.raises(jaxgd.InputValueError, match=message):
        read_arrays(path)


def test_a_block_with_false_arrays_and_a_right_checksum_is_refused(copy, runs):
    good = (copy / FIRST).read_bytes()
    falses = {
        "wrong shape": {"ends.value": np.zeros(3)},
        "wrong shape ": {"points.value": np.zeros((40, 2))},
        "unknown codes": {"ends.status": np.full(40, 99, np.int8)},
        "start numbers": {"ends.start_number": np.arange(1, 41)},
        "do not belong to a block": {"../../etc/passwd": np.zeros(40)},
        "wrong shape  ": {"ends.params[\x1b[2J": np.zeros(40)},
        "missing 1 required keyword-only argument": {"ends.value": None},
    }
    for message, false in falses.items():
        arrays, record = opened(copy / FIRST)
        arrays = {name: array for name, array in {**arrays, **false}.items() if array is not None}
        (copy / FIRST).write_bytes(sealed(arrays, record))
        (problem,) = jaxgd.open_run(copy).problems
        assert message.strip() in problem
        assert problem.isprintable()
        (copy / FIRST).write_bytes(good)
