"""Archives from the internet, read without trusting them: tar (also gz, bz2, xz), zip, and files that are not packed.

Only regular files come out, one after the other, none of them kept in memory. Nothing here writes.
"""

import bz2
import gzip
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

MOST_FILES = 3_000_000  # BBC Pose, the set with most of them, has about a third
MOST_BYTES = 2**39  # 550 GB: more than any set here
MOST_RATIO = 100  # unpacked to packed bytes; photographs and videos stay below 2, lists of numbers below 20
SMALL = 2**25  # bytes that may be packed as tightly as they like
AT_ONCE = 2**26  # bytes that a tar header may ask to be read into memory

PACKERS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
UNKNOWN = {  # how files begin that are no archives for this program
    b"Rar!": "is a RAR archive; unpack it and pack it again as zip or tar",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive; unpack it and pack it again as zip or tar",
    b"<": "is a web page, not the archive: the site wanted a click or a log-in first; get it again in a browser",
}
SUFFIXES = re.compile(r"(\.tar)?(\.(gz|bz2|xz|zip|tar|tgz|tbz2?|txz))?$", re.IGNORECASE)
PART = re.compile(r"\.(zip|tar|gz|tgz|7z|rar)?\.?\d{2,3}$|\.z\d\d$|\.part\d+(\.\w+)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """A file in an archive.

    Args:
        name: its path there, with ``/`` between folders.
        size: in bytes.
        done: share of the archive in front of it, in bytes of the archive.
        open: gives its content; valid until the next entry is asked for.
    """

    name: str
    size: int
    done: int
    open: Callable[[], IO[bytes]]


def plain_name(archive: Path) -> str:
    """``WFLW_images`` of ``WFLW_images (1).tar.gz``."""
    return re.sub(r"\s*\(\d+\)$", "", SUFFIXES.sub("", archive.name))


@contextmanager
def reading(archive: Path) -> Iterator[None]:
    """Turn what the libraries raise of a broken archive into one sentence.

    Raises:
        FileNotFoundError: of `entries`.
        ValueError: it breaks off, or its content does not fit its checksums.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, RuntimeError) as error:
        raise ValueError(f"{archive} breaks off or is damaged ({_text(error)}); get it again") from error
    except OSError as error:
        if error.errno is not None:  # a file could not be opened or written
            raise
        raise ValueError(f"{archive} breaks off or is damaged ({_text(error)}); get it again") from error


def entries(archive: Path) -> Iterator[Entry]:
    """The files of an archive, or the file itself where it is packed in none.

    Raises:
        FileNotFoundError, ValueError: one sentence for an archive that is missing, empty, of another kind, one part of
            several, encrypted, or that holds what no dataset needs: names that lead out of its folder, links, devices,
            more files or bytes than any set has, or bytes packed as tightly as only traps are.
    """
    if archive.is_dir():
        raise ValueError(
            f"{archive} is a folder, expected an archive; if the dataset is unpacked there, it is data.init_args.root"
        )
    if not archive.is_file():
        raise FileNotFoundError(f"{archive} not found, expected an archive")
    if not (packed := archive.stat().st_size):
        raise ValueError(f"{archive} is empty; get it again")
    files, total = 0, 0
    for entry in _entries(archive):
        _check_name(archive, entry.name)
        files, total = files + 1, total + entry.size
        if files > MOST_FILES:
            raise ValueError(f"{archive} holds more than {MOST_FILES:,} files, expected a dataset")
        if total > MOST_BYTES or total > max(SMALL, MOST_RATIO * packed):
            raise ValueError(
                f"{archive} has {packed:,} bytes and would unpack to {total:,} or more, expected a dataset; get it "
                "from its authors"
            )
        yield entry


def _entries(archive: Path) -> Iterator[Entry]:
    with archive.open("rb") as file:
        start = file.read(512)
    packer = next((packer for magic, packer in PACKERS.items() if start.startswith(magic)), None)
    if packer or _is_tar(start):  # before zip, which is told by its end: the last file of a tar may be one
        yield from _tar_entries(archive, packer)
    elif zipfile.is_zipfile(archive):
        yield from _zip_entries(archive)
    else:
        for magic, sentence in UNKNOWN.items():
            if start.lstrip().startswith(magic):
                raise ValueError(f"{archive} {sentence}")
        if PART.search(archive.name):
            raise ValueError(f"{archive} is one part of a split archive; join its parts first, as with cat")
        yield Entry(archive.name, archive.stat().st_size, 0, lambda: archive.open("rb"))


def _is_tar(start: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _zip_entries(archive: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as content:
        for info in content.infolist():
            mode = info.external_attr >> 16
            if info.is_dir():
                _check_name(archive, info.filename)
                continue
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                _refuse(archive, info.filename, "a link" if stat.S_ISLNK(mode) else "a device")
            if info.flag_bits & 1:
                raise ValueError(
                    f"{archive}: '{info.filename}' is encrypted; unpack it with the password its authors gave you and "
                    "pack it again without"
                )
            yield Entry(info.filename.replace("\\", "/"), info.file_size, info.header_offset, _opener(content, info))


def _opener(content: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], IO[bytes]]:
    return lambda: content.open(info)


def _tar_entries(archive: Path, packer: Callable[[IO[bytes]], Any] | None) -> Iterator[Entry]:
    with archive.open("rb") as file:
        unpacked = _Unpacked(packer(file) if packer else file)
        with tarfile.open(fileobj=unpacked, mode="r:") as content:  # type: ignore[call-overload]  # reads, seeks, tells
            while (info := content.next()) is not None:
                content.members.clear()  # or a million of them stay in memory
                if info.isdir():
                    _check_name(archive, info.name)
                elif info.isreg():
                    yield Entry(info.name, info.size, file.tell(), _tar_opener(content, info))
                else:
                    _refuse(archive, info.name, "a link" if info.issym() or info.islnk() else "a device")
        if unpacked.last != bytes(tarfile.BLOCKSIZE):  # tarfile takes a damaged header for the end
            raise tarfile.ReadError("no end mark")
        if len(unpacked.file.read(SMALL)) == SMALL:  # the checksum is behind the padding
            raise tarfile.ReadError("more after its end")


def _tar_opener(content: tarfile.TarFile, info: tarfile.TarInfo) -> Callable[[], IO[bytes]]:
    return lambda: content.extractfile(info) or content.fileobj  # type: ignore[return-value]  # regular: never None


class _Unpacked:
    """The bytes of a tar file; refuses headers that ask for more memory than any header needs."""

    def __init__(self, file: Any) -> None:
        self.file, self.seek, self.tell = file, file.seek, file.tell
        self.last: bytes = b""

    def read(self, size: int) -> bytes:
        if size > AT_ONCE:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        self.last = self.file.read(size)
        return self.last


def _check_name(archive: Path, name: str) -> None:
    name = name.replace("\\", "/")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        raise ValueError(f"{archive} holds '{_show(name)}', an absolute path; do not trust it, get it from its authors")
    if ".." in name.split("/"):
        raise ValueError(
            f"{archive} holds '{_show(name)}', which leads out of its folder; do not trust it, get it from its authors"
        )
    if not name.isprintable():
        raise ValueError(f"{archive} holds a file called '{_show(name)}', which is not a name in readable letters")


def _refuse(archive: Path, name: str, kind: str) -> None:
    raise ValueError(
        f"{archive} holds {kind}, '{_show(name)}', expected files and folders only; get it from its authors"
    )


def _show(name: str) -> str:
    return name.encode("unicode_escape", "backslashreplace").decode()


def _text(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
