import multiprocessing
import os
from functools import partial

import numpy as np
import pytest

from datamodules import cache_files
from datamodules.cache_files import cache_folder, locked, written_whole
from datamodules.file_index import list_files, parsed

CALLS = []  # files parsed, in this process


def read_numbers(path, scale=1.0):
    """The numbers of a file, (N,)."""
    CALLS.append(path.name)
    try:
        return np.array(path.read_text().split(), float) * scale
    except ValueError:
        raise ValueError(f"{path}: not numbers") from None


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LANDMARK_CACHE", str(tmp_path / "cache"))
    cache_files.tell_once.cache_clear()
    CALLS.clear()
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path):
    """Seven files in three folders: file i holds i and 10 i."""
    folder = tmp_path / "data"
    for i, name in enumerate(("b/1.pts", "a/2.PTS", "a/10.pts", "3.pts", "a/c/4.pts", "a/c/5.pts", "b/6.pts")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{i} {10 * i}")
    (folder / "a/2.txt").write_text("no")
    (folder / "a/._10.pts").write_text("no")
    (folder / ".trash").mkdir()
    (folder / ".trash/9.pts").write_text("no")
    return folder


NAMES = ["3.pts", "a/10.pts", "a/2.PTS", "a/c/4.pts", "a/c/5.pts", "b/1.pts", "b/6.pts"]
VALUES = [[3, 30], [2, 20], [1, 10], [4, 40], [5, 50], [0, 0], [6, 60]]


def opened(root, parse=read_numbers):
    CALLS.clear()
    return parsed(list_files(root, (".pts",), "get the files"), parse).tolist()


def test_files_are_listed_below_the_folder_in_order(root):
    files = list_files(root, (".pts",), "get the files")
    assert files.name.tolist() == NAMES
    assert files.path.tolist() == [str(root / name) for name in NAMES]
    assert files.size.tolist() == [(root / name).stat().st_size for name in NAMES]
    assert files.modified.tolist() == [(root / name).stat().st_mtime_ns for name in NAMES]
    assert list_files(root, (".txt", ".pts"), "").name.tolist() == [*NAMES[:3], "a/2.txt", *NAMES[3:]]


def test_files_are_parsed_once(root):
    assert opened(root) == VALUES
    assert sorted(CALLS) == sorted(name.rpartition("/")[2] for name in NAMES)
    assert opened(root) == VALUES
    assert CALLS == []


def test_only_what_is_new_or_changed_is_parsed_again(root):
    opened(root)
    (root / "a/c/4.pts").write_text("7 8")
    (root / "a/0.pts").write_text("9 9")
    (root / "b/6.pts").unlink()
    expected = [VALUES[0], [9, 9], *VALUES[1:3], [7, 8], *VALUES[4:6]]
    assert opened(root) == expected
    assert sorted(CALLS) == ["0.pts", "4.pts"]
    assert opened(root) == expected
    assert CALLS == []


def test_a_change_that_keeps_the_size_is_seen_by_its_time(root):
    opened(root)
    (root / "3.pts").write_text("9 90")
    os.utime(root / "3.pts", ns=(1, 1))
    assert opened(root)[0] == [9, 90]
    assert CALLS == ["3.pts"]


def test_a_removed_file_alone_is_forgotten(root):
    opened(root)
    (root / "3.pts").unlink()
    assert opened(root) == VALUES[1:]
    assert CALLS == []


def test_other_arguments_and_other_folders_are_not_mixed(root, tmp_path):
    opened(root)
    assert opened(root, partial(read_numbers, scale=2.0)) == (2 * np.array(VALUES)).tolist()
    assert opened(root) == VALUES
    assert CALLS == []
    root.rename(tmp_path / "moved")
    assert opened(tmp_path / "moved") == VALUES
    assert len(CALLS) == 7


def test_what_was_parsed_before_an_error_is_kept(root):
    (root / "a/c/4.pts").write_text("four")
    with pytest.raises(ValueError, match=r"a/c/4\.pts: not numbers"):
        opened(root)
    assert CALLS == ["3.pts", "10.pts", "2.PTS", "4.pts"]
    (root / "a/c/4.pts").write_text("4 40")
    assert opened(root) == VALUES
    assert CALLS == ["4.pts", "5.pts", "1.pts", "6.pts"]


def test_files_of_two_shapes_are_refused(root):
    (root / "b/6.pts").write_text("1 2 3")
    with pytest.raises(ValueError, match=r"b/6\.pts holds an array \(3,\) of float64, expected \(2,\) of float64"):
        opened(root)


def cached(cache):
    (path,) = cache.glob("*.npz")
    return path


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"not an archive" * 100])
def test_a_damaged_index_is_made_again(root, cache, capsys, content):
    opened(root)
    cached(cache).write_bytes(content)
    assert opened(root) == VALUES
    assert len(CALLS) == 7
    assert "cannot be read and is made again" in capsys.readouterr().err
    assert opened(root) == VALUES
    assert CALLS == []


def test_no_damage_of_a_byte_gives_wrong_values(root, cache):
    opened(root)
    whole = cached(cache).read_bytes()
    rng = np.random.default_rng(0)
    for place in [*range(0, len(whole), 7), *rng.integers(0, len(whole), 100)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        cached(cache).write_bytes(damaged)
        assert opened(root) == VALUES
    for length in range(0, len(whole), 50):
        cached(cache).write_bytes(whole[:length])
        assert opened(root) == VALUES


def test_an_index_of_python_objects_is_not_loaded(root, cache):
    opened(root)
    objects = np.array([{}] * 7, object)
    np.savez(cached(cache), name=objects, size=objects, modified=objects, values=objects)
    assert opened(root) == VALUES
    assert len(CALLS) == 7


def test_without_a_writable_cache_it_works_and_says_so_once(root, cache, capsys):
    cache.write_text("a file where the folder should be")
    for _ in range(2):
        assert opened(root) == VALUES
        assert len(CALLS) == 7
    told = capsys.readouterr().err
    assert told.count("note: the index of annotation files cannot be kept in") == 1
    assert "set LANDMARK_CACHE to a folder that can be written" in told


def test_a_full_disk_is_told(root, monkeypatch, capsys):
    def full(file, **arrays):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert opened(root) == VALUES
    assert "cannot be kept" in (told := capsys.readouterr().err)
    assert "No space left on device" in told
    assert not list(cache_folder().glob("*.partial"))


def empty(root):
    for path in list(root.rglob("*.[pP][tT][sS]")):
        path.unlink()


def replaced_by_file(root):
    root.rename(root.with_name("elsewhere"))
    root.write_text("")


BAD_FOLDERS = {
    "missing": (lambda root: root.rename(root.with_name("else")), FileNotFoundError, "data not found; get the files"),
    "a file": (replaced_by_file, ValueError, "data is a file, expected a folder; get the files"),
    "empty": (empty, FileNotFoundError, "data has no file that ends in .pts; get the files"),
    "circle": (
        lambda root: (root / "a/c/up").symlink_to(root),
        ValueError,
        "data/a/c/up/ is a link to a folder that holds it; remove the link",
    ),
    "dead link": (
        lambda root: (root / "a/dead.pts").symlink_to(root / "nothing"),
        FileNotFoundError,
        "data/a/dead.pts cannot be read (No such file or directory); correct or remove it",
    ),
}


@pytest.mark.parametrize(("spoil", "error", "sentence"), BAD_FOLDERS.values(), ids=BAD_FOLDERS)
def test_bad_folders_are_one_sentence(root, spoil, error, sentence):
    spoil(root)
    with pytest.raises(error) as caught:
        opened(root)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_may_not_be_read(root, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("/a/c/"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match=r"data/a/c/ cannot be read \(Permission denied\); correct or remove it"):
        opened(root)


def test_links_to_files_and_folders_are_followed(root, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more/7.pts").write_text("7 70")
    (root / "linked").symlink_to(tmp_path / "more")
    (root / "z.pts").symlink_to(tmp_path / "more/7.pts")
    assert opened(root) == [*VALUES, [7, 70], [7, 70]]


def test_names_that_are_not_utf_8(root):
    (root / os.fsdecode(b"\xff.pts")).write_text("8 80")
    for calls in (8, 0):
        assert opened(root) == [*VALUES, [8, 80]]
        assert len(CALLS) == calls


def open_in_process(root, queue):
    queue.put((opened(root), len(CALLS)))


def test_several_processes_parse_once(root):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=open_in_process, args=(root, queue)) for _ in range(4)]
    for process in processes:
        process.start()
    found = [queue.get(timeout=20) for _ in processes]
    for process in processes:
        process.join()
    assert [values for values, _ in found] == [VALUES] * 4
    assert sorted(calls for _, calls in found) == [0, 0, 0, 7]


def test_the_cache_folder(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("LANDMARK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg/landmark-suite"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the specification: to be ignored
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home/.cache/landmark-suite"


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new/file"

    def break_off():
        with locked(path), written_whole(path) as partial_path:
            partial_path.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        break_off()
    assert [file.name for file in path.parent.iterdir()] == ["file.lock"]
    with locked(path), written_whole(path) as partial_path:
        partial_path.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
