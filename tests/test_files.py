"""Files are complete or absent, and a disk that does not take them has its sentence."""

import ast
import errno
import os
import tempfile
from pathlib import Path

import pytest

from jaxgan.core import files
from jaxgan.core.errors import DiskError, find_disk_error, find_memory_error, find_refusal
from tests.helpers import can_mount, mount_small_disk

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EDQUOT, "Free some space"),
        (errno.EROFS, "Make it writable"),
        (errno.EACCES, "Make it writable"),
        (errno.EIO, "Make it writable"),
    ],
)
def test_a_file_that_can_not_be_written_stays_as_it_was(tmp_path, monkeypatch, number, remedy):
    path = tmp_path / "table.csv"
    files.write_text(path, "old")

    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DiskError) as caught:
        files.write_text(path, "new")
    assert f"table.csv can not be written: {os.strerror(number)}" in str(caught.value)
    assert remedy in str(caught.value)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_a_file_that_is_there_is_replaced_whole_and_reached_the_disk_first(tmp_path, monkeypatch):
    path, synced = tmp_path / "new" / "a.json", []
    sync = files.sync
    monkeypatch.setattr(files, "sync", lambda p: (synced.append((p, path.exists())), sync(p)))
    files.write_json(path, {"a": 1})
    assert path.read_text() == '{\n  "a": 1\n}\n'
    (first, before), (second, after) = synced
    assert (first.name.endswith(".beside"), before) == (True, False)
    assert (second, after) == (path.parent, True)


def test_a_file_in_the_place_of_a_folder_has_its_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match=r"file can not be written: File exists|Not a directory"):
        files.write_text(tmp_path / "file" / "table.csv", "new")


def test_names_that_are_not_utf8_can_be_written(tmp_path):
    """As a page that shows the command has them, which the system hands over as surrogates."""
    files.write_text(tmp_path / "page.html", "Größe --workdir=a\udcff")
    assert (tmp_path / "page.html").read_text("utf-8") == r"Größe --workdir=a\udcff"


@pytest.mark.parametrize("text", [None, "", "{", "[]", "1", "[" * 100_000, b"\xff"])
def test_a_json_file_without_an_object_is_none(tmp_path, text):
    path = tmp_path / "x.json"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert files.read_object(path) is None
    path.write_text('{"a": 1}')
    assert files.read_object(path) == {"a": 1}


def test_a_block_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), files.written_beside(tmp_path / "x") as beside:
        beside.write_text("half")
        raise KeyError
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="root, to become somebody without rights")
def test_a_folder_without_rights_has_its_sentence():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        os.seteuid(65534)
        try:
            with pytest.raises(
                DiskError, match=r"run can not be written: Permission denied\. Make"
            ):
                files.make_folder(folder / "run")
            with pytest.raises(DiskError, match="Permission denied"), files.hold_folder(folder):
                pass
        finally:
            os.seteuid(0)


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount a small file system")
def test_a_memory_map_on_a_full_disk_is_an_error_and_no_signal(tmp_path):
    with mount_small_disk(tmp_path / "disk", kibibytes=100) as disk:
        path = disk / "pixels.npy"
        with (
            pytest.raises(DiskError, match="No space left"),
            files.written_beside(path) as beside,
        ):
            files.reserve(beside, 2**20)
        assert not list(disk.iterdir())


@pytest.mark.parametrize("refusal", [None, errno.EOPNOTSUPP, errno.EINVAL])
def test_space_is_taken_where_the_system_can_not_do_it_for_us(tmp_path, monkeypatch, refusal):
    """Of a file with a beginning and a hole, as a memory map makes it; macOS has no such call."""
    monkeypatch.setattr(files, "_FILL_BYTES", 10_000)

    def refuse(*_):
        raise OSError(refusal, "not here")

    if refusal is None:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    else:
        monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    path = tmp_path / "pixels"
    path.write_bytes(b"head")
    os.truncate(path, 2**20)
    files.reserve(path, 2**20 + 5)
    assert path.read_bytes() == b"head" + bytes(2**20 + 1)
    assert path.stat().st_blocks * 512 >= 2**20


def test_a_disk_that_is_full_is_no_reason_to_try_another_way(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    with pytest.raises(OSError, match="No space left"):
        files.reserve(tmp_path / "pixels", 100)


def test_a_save_that_a_sleeping_machine_has_interrupted_is_told_as_one():
    found = find_disk_error("runs/a", TimeoutError("timed out after 3572.68 seconds"))
    assert "timed out after 3572.68 seconds" in str(found)
    assert "The disk is very slow, or the machine was asleep; the same command" in str(found)


def test_memory_and_disk_are_told_apart_from_other_errors():
    told = str(find_memory_error(MemoryError("7 GiB")))
    assert "config.batch_size" in told
    assert "in a study, config.gan_batch_size and config.batch_size" in told
    assert find_memory_error(ValueError("Out of memory")) is None
    assert find_disk_error("x", ValueError("a shape")) is None
    assert "Free some space" in str(find_disk_error("x", ValueError("... No space left on device")))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "A file can not be written: No space"),
        (
            PermissionError(errno.EACCES, "Permission denied", "c/xla"),
            "c/xla can not be written: P",
        ),
        (OSError(errno.EACCES, "Permission denied", "a\nb"), r"a\nb can not be written"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "x"), "x can not be written: Not a"),
        (OSError("Failed to write. [Errno 28] No space left on device"), "Free some space"),
        (RuntimeError("RESOURCE_EXHAUSTED: x; No space left on device"), "Free some space"),
    ],
)
def test_what_a_disk_refuses_anywhere_has_its_sentence(error, sentence):
    assert sentence in str(find_refusal(error))


def test_what_is_not_the_disks_keeps_its_traceback():
    assert find_refusal(FileNotFoundError(errno.ENOENT, "No such file", "x")) is None
    assert find_refusal(BrokenPipeError(errno.EPIPE, "Broken pipe")) is None
    assert find_refusal(KeyError("x")) is None


WRITERS = ("write_text", "write_bytes", "savez", "savez_compressed", "savefig")
ALLOWED = {"files.py", "tensorflow_free.py"}


def list_sources():
    files = [*(ROOT / "jaxgan").rglob("*.py"), *(ROOT / "launch").glob("*.py")]
    assert {"files.py", "cli.py"} <= {path.name for path in files}
    return files


def test_nothing_else_in_the_library_writes_files():
    """But for growing logs, opened to append."""
    for path in list_sources():
        inside = {
            inner
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.With) and "written_beside" in ast.unparse(node.items[0])
            for inner in map(ast.unparse, ast.walk(node))
        }
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            text = ast.unparse(node)
            is_open = node.func.attr == "open" and any(f"'{m}" in text for m in "wx")
            is_writer = node.func.attr in WRITERS
            if (is_open or is_writer) and path.name not in ALLOWED and "devnull" not in text:
                assert text in inside, f"{path.name}: {text}"


def test_no_clock_but_the_monotonic_one_is_read():
    """A clock that jumps can change neither a duration nor a cadence."""
    for path in list_sources():
        if path.name == "cache.py":
            continue  # when a file was last used is told by the wall's clock, and no other
        text = path.read_text()
        for name in ("time.time(", "datetime.now", "time.localtime", "utcnow"):
            assert name not in text, f"{path.name}: {name}"
