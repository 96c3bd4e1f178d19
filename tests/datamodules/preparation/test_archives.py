"""What an archive may not hold, and how it may be broken: each has its sentence, and nothing is written."""

import errno
import gzip
import random
import stat
import struct
import tarfile
import zipfile

import pytest

from datamodules.preparation import archives, unpack
from datamodules.preparation.places import Places
from datamodules.preparation.published import PUBLISHED
from tests.datamodules.preparation.packing import MODES, add, pack_bytes, tree

PLACE = PUBLISHED["wflw"].place
GOOD = {"WFLW_images/0--Parade/a.jpg": b"jpeg a", "WFLW_images/0--Parade/b.jpg": b"jpeg b" * 1000}
EVIL = "WFLW_images/0--Parade/evil.jpg"
FIRST = next(iter(GOOD))
LONG = f"WFLW_images/a/{'n' * 301}.jpg"


def survey_and_unpack(archive, root):
    places = Places(PLACE)
    with unpack.filling(root):
        unpack.survey(archive, places, root, lambda done: None)
        unpack.compare(archive, places, lambda done: None)
        unpack.unpack(archive, places, root, lambda done: None)


def tar_with(**member):
    def write(archive):
        with tarfile.open(archive, "w:gz") as file:
            for name, content in GOOD.items():
                add(file, name, content)
            add(file, **member)

    return write


def zip_with(name, content=b"evil", mode=0, again=False):
    def write(archive):
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for good, text in GOOD.items():
                file.writestr(good, text)
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            file.writestr(info, content, zipfile.ZIP_DEFLATED)

    return write


def changed(change, suffix=".tar.gz"):
    """A good archive whose bytes are changed."""

    def write(archive):
        whole = pack_bytes(archive.with_name("whole" + suffix), GOOD)
        archive.write_bytes(change(bytearray(whole.read_bytes())))
        whole.unlink()

    return write


def encrypted(content):
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = -1
        while (start := content.find(signature, start + 1)) >= 0:
            content[start + offset] |= 1
    return content


def inner_changed(content):
    """A gzip file that is whole, of a tar file that is not: its second header is damaged."""
    plain = bytearray(gzip.decompress(content))
    plain[1024:1030] = b"\xff" * 6
    return gzip.compress(plain)


def huge_header(archive):
    """A long name of a gigabyte, which tarfile would read into memory."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**30
    archive.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(2**20)))


def above_a_file(archive):
    pack_bytes(archive, {**GOOD, "WFLW_images/a/c.jpg/d.jpg": b"d", "WFLW_images/a/c.jpg": b"c"})


WRONG = {
    "dots": ("x.tar.gz", tar_with(name="WFLW_images/../../evil.jpg", content=b"evil"), ["leads out of its folder"]),
    "dots in zip": ("x.zip", zip_with("../evil.jpg"), ["'../evil.jpg'", "leads out of its folder"]),
    "dots with backslashes": ("x.zip", zip_with("..\\..\\evil.jpg"), ["leads out of its folder"]),
    "absolute": ("x.tar.gz", tar_with(name="/tmp/evil.jpg", content=b"evil"), ["'/tmp/evil.jpg', an absolute path"]),
    "absolute in zip": ("x.zip", zip_with("/tmp/evil.jpg"), ["an absolute path"]),
    "drive": ("x.zip", zip_with("C:\\evil.jpg"), ["an absolute path"]),
    "a folder that leads out": ("x.tar.gz", tar_with(name="../evil", kind=tarfile.DIRTYPE), ["leads out"]),
    "symbolic link": ("x.tar.gz", tar_with(name=EVIL, kind=tarfile.SYMTYPE, link="/etc/passwd"), ["a link"]),
    "symbolic link within": ("x.tar.gz", tar_with(name=EVIL, kind=tarfile.SYMTYPE, link="a.jpg"), ["a link"]),
    "hard link": ("x.tar.gz", tar_with(name=EVIL, kind=tarfile.LNKTYPE, link="/etc/passwd"), ["a link"]),
    "symbolic link in zip": ("x.zip", zip_with(EVIL, b"/etc/passwd", stat.S_IFLNK | 0o777), ["a link"]),
    "character device": ("x.tar.gz", tar_with(name=EVIL, kind=tarfile.CHRTYPE), ["a device"]),
    "named pipe": ("x.tar.gz", tar_with(name=EVIL, kind=tarfile.FIFOTYPE), ["a device"]),
    "device in zip": ("x.zip", zip_with(EVIL, b"", stat.S_IFBLK | 0o666), ["a device"]),
    "control characters": ("x.tar.gz", tar_with(name="WFLW_images/\x1b[2J.jpg", content=b"e"), ["readable letters"]),
    "bomb": ("x.tar.gz", tar_with(name=EVIL, content=bytes(2**26)), ["would unpack to", "expected a dataset"]),
    "bomb in zip": ("x.zip", zip_with(EVIL, bytes(2**26)), ["would unpack to 67,1"]),
    "huge header": ("x.tar.gz", huge_header, ["breaks off or is damaged (a header of 1,073,741,824 bytes)"]),
    "case": ("x.tar.gz", tar_with(name="WFLW_images/0--parade/A.jpg", content=b"evil"), ["take for one", "A.jpg'"]),
    "twice, other size": ("x.tar.gz", tar_with(name=FIRST, content=b"evil"), [f"'{FIRST}' differs from another file"]),
    "twice, same size": ("x.tar.gz", tar_with(name=FIRST, content=b"evil!!"), [f"'{FIRST}' differs from another file"]),
    "twice in zip": ("x.zip", zip_with("again/" + FIRST, b"evil!!"), [f"'again/{FIRST}' differs", f"at {FIRST}; give"]),
    "below a file": ("x.tar.gz", tar_with(name=f"{FIRST}/b.jpg"), [f"{FIRST} would be both a file and a folder"]),
    "above a file": ("x.tar.gz", above_a_file, ["WFLW_images/a/c.jpg would be both a file and a folder"]),
    "a long name": ("x.tar.gz", tar_with(name=LONG), [f"'{LONG[:60]}...', a name of 319 letters, which is too long"]),
    "a long name in zip": ("x.zip", zip_with(LONG), ["a name of 319 letters, which is too long for this disk"]),
    "a long way": ("x.tar.gz", tar_with(name="WFLW_images/" + "a/" * 2500 + "a.jpg"), ["5,017 letters, which is too"]),
    "missing": ("x.tar.gz", lambda archive: None, ["x.tar.gz not found, expected an archive"]),
    "a folder": ("x.tar.gz", lambda archive: archive.mkdir(), ["is a folder, expected an archive"]),
    "empty": ("x.tar.gz", lambda archive: archive.touch(), ["x.tar.gz is empty"]),
    "a web page": ("x.zip", lambda archive: archive.write_text("\n<!DOCTYPE html><html>"), ["is a web page"]),
    "RAR": ("x.zip", lambda archive: archive.write_bytes(b"Rar!\x1a\x07\x01\x00"), ["is a RAR archive"]),
    "7z": ("x.7z", lambda archive: archive.write_bytes(b"7z\xbc\xaf\x27\x1c\x00\x04"), ["is a 7z archive"]),
    "one part": ("x.zip.003", lambda archive: archive.write_bytes(b"middle of it"), ["one part of a split archive"]),
    "truncated": ("x.tar.gz", changed(lambda content: content[: len(content) // 2]), ["breaks off or is damaged"]),
    "truncated bz2": ("x.tar.bz2", changed(lambda c: c[: len(c) // 2], ".tar.bz2"), ["breaks off or is damaged"]),
    "truncated xz": ("x.tar.xz", changed(lambda c: c[: len(c) // 2], ".tar.xz"), ["breaks off or is damaged"]),
    "truncated tar": ("x.tar", changed(lambda content: content[:2500], ".tar"), ["breaks off or is damaged"]),
    "tar without its end": ("x.tar", changed(lambda c: c[:1024], ".tar"), ["breaks off or is damaged"]),
    "damaged header in tar": ("x.tar.gz", changed(inner_changed), ["breaks off or is damaged"]),
    "wrong checksum": ("x.tar.gz", changed(lambda c: c[:-8] + b"\0\0\0\0" + c[-4:]), ["breaks off or is damaged"]),
    "encrypted": ("x.zip", changed(encrypted, ".zip"), ["is encrypted"]),
    "damaged zip": ("x.zip", changed(lambda c: c[:60] + b"\xff\xff" + c[62:], ".zip"), ["breaks off or is damaged"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_archive_is_one_sentence_and_nothing_leaves_the_root(case, tmp_path):
    name, write, expected = WRONG[case]
    write(tmp_path / name)
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        survey_and_unpack(tmp_path / name, tmp_path / "root")
    sentence = str(error.value)
    assert [words for words in [name, *expected] if words not in sentence] == [], sentence
    assert "\n" not in sentence
    assert "\x1b" not in sentence
    assert {path.name for path in tmp_path.iterdir()} == {*before, "root"}
    found = tree(tmp_path / "root")
    assert found.items() <= GOOD.items()
    if case != "damaged zip":  # shows only while it is unpacked
        assert found == {}


def test_a_missing_archive_is_not_called_damaged(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        survey_and_unpack(tmp_path / "x.tar.gz", tmp_path / "root")
    assert str(error.value) == f"{tmp_path}/x.tar.gz not found, expected an archive"


@pytest.mark.parametrize("suffix", MODES)
def test_a_tar_whose_last_file_is_a_zip_is_a_tar(suffix, tmp_path):
    inner = pack_bytes(tmp_path / "inner.zip", {EVIL: b"evil"}).read_bytes()
    archive = pack_bytes(tmp_path / f"x{suffix}", {**GOOD, "lists.zip": inner})
    assert [entry.name for entry in archives.entries(archive)] == [*GOOD, "lists.zip"]


def test_a_file_in_the_place_of_a_folder_is_told_before(tmp_path):
    archive = pack_bytes(tmp_path / "x.tar.gz", {"WFLW_images/a/c.jpg": b"c", **GOOD})
    (tmp_path / "root/WFLW_images").mkdir(parents=True)
    (tmp_path / "root/WFLW_images/0--Parade").write_text("mine")
    with pytest.raises(ValueError, match=r"0--Parade/a\.jpg cannot be written \(Not a directory\); move away"):
        survey_and_unpack(archive, tmp_path / "root")
    assert tree(tmp_path / "root") == {"WFLW_images/0--Parade": b"mine"}


@pytest.mark.parametrize("suffix", [*MODES, ".zip"])
def test_each_kind_of_archive_gives_its_files(suffix, tmp_path):
    archive = pack_bytes(tmp_path / f"images{suffix}", {f"top/{name}": content for name, content in GOOD.items()})
    survey_and_unpack(archive, tmp_path / "root")
    assert tree(tmp_path / "root") == GOOD


def test_names_of_windows_are_paths(tmp_path):
    archive = pack_bytes(tmp_path / "x.zip", {name.replace("/", "\\"): content for name, content in GOOD.items()})
    survey_and_unpack(archive, tmp_path / "root")
    assert tree(tmp_path / "root") == GOOD


def test_what_is_there_twice_and_equal_is_one_file(tmp_path):
    archive = pack_bytes(tmp_path / "x.tar.gz", [*GOOD.items(), *((f"again/{n}", c) for n, c in GOOD.items())])
    survey_and_unpack(archive, tmp_path / "root")
    assert tree(tmp_path / "root") == GOOD


def test_what_finder_and_explorer_leave_behind_is_not_unpacked(tmp_path):
    junk = {"__MACOSX/WFLW_images/0--Parade/c.jpg": b"?", "WFLW_images/0--Parade/._a.jpg": b"?"}
    archive = pack_bytes(tmp_path / "x.zip", {**junk, **GOOD})
    with unpack.filling(tmp_path / "root"):
        found = unpack.survey(archive, Places(PLACE), tmp_path / "root", lambda done: None)
    assert (found.needed, found.new, found.others) == (2, 2, 2)


def test_limits_count_over_the_whole_archive(tmp_path, monkeypatch):
    archive = pack_bytes(tmp_path / "x.tar.gz", GOOD)
    monkeypatch.setattr(archives, "MOST_FILES", 1)
    with pytest.raises(ValueError, match="holds more than 1 files"):
        list(archives.entries(archive))
    monkeypatch.setattr(archives, "MOST_FILES", 2)
    monkeypatch.setattr(archives, "MOST_BYTES", 6000)
    with pytest.raises(ValueError, match=r"would unpack to 6,006 or more"):
        list(archives.entries(archive))


def test_photographs_are_far_from_the_limit_of_bombs(tmp_path):
    noise = random.Random(0).randbytes(2**19)
    archive = pack_bytes(tmp_path / "x.zip", {f"WFLW_images/a/{i}.jpg": noise for i in range(80)})
    assert sum(entry.size for entry in archives.entries(archive)) == 80 * 2**19


def test_a_size_that_a_zip_lies_about_does_not_unpack_more(tmp_path):
    archive = pack_bytes(tmp_path / "x.zip", {EVIL: bytes(1000)})
    content = archive.read_bytes()
    size = struct.pack("<I", 1000)
    archive.write_bytes(content.replace(size, struct.pack("<I", 10)))
    with pytest.raises(ValueError, match="breaks off or is damaged"):
        survey_and_unpack(archive, tmp_path / "root")
    assert tree(tmp_path / "root") == {}


def test_a_link_in_the_root_is_not_followed(tmp_path):
    archive = pack_bytes(tmp_path / "x.tar.gz", GOOD)
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "root"
    elsewhere.mkdir()
    root.mkdir()
    (root / "WFLW_images").symlink_to(elsewhere)
    with pytest.raises(ValueError, match="WFLW_images is a link, which may lead out of --root"):
        survey_and_unpack(archive, root)
    assert tree(elsewhere) == {}


def test_a_link_in_the_place_of_a_file_is_not_written_through(tmp_path):
    archive = pack_bytes(tmp_path / "x.tar.gz", GOOD)
    victim, root = tmp_path / "victim", tmp_path / "root"
    victim.write_text("mine")
    (root / "WFLW_images/0--Parade").mkdir(parents=True)
    (root / "WFLW_images/0--Parade/a.jpg").symlink_to(victim)
    with pytest.raises(ValueError, match=r"a\.jpg exists and differs"):
        survey_and_unpack(archive, root)
    assert victim.read_text() == "mine"


def test_a_disk_that_runs_full_is_one_sentence(tmp_path, monkeypatch):
    archive = pack_bytes(tmp_path / "x.tar.gz", GOOD)

    def no_space(content, file, length):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(unpack.shutil, "copyfileobj", no_space)
    with pytest.raises(ValueError, match=r"a\.jpg cannot be written \(No space left on device\)"):
        survey_and_unpack(archive, tmp_path / "root")
    assert tree(tmp_path / "root") == {}


def test_too_small_a_disk_is_told_before(tmp_path, monkeypatch):
    archive = pack_bytes(tmp_path / "x.tar.gz", GOOD)
    usage = unpack.shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(unpack.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ValueError, match=r"needs 6,006 bytes in .* which has 100; make room"):
        survey_and_unpack(archive, tmp_path / "root")
    assert tree(tmp_path / "root") == {}
