"""Archives into a folder: each file appears whole under its name or not at all, and none is ever overwritten."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from datamodules.preparation.archives import Entry, entries, reading
from datamodules.preparation.places import Places, differing

CHUNK = 2**20
PARTIAL = ".prepare.partial"  # in the root, while it is being filled
NAMED = 20  # of the files without a place, these many by name
SHOWN = 60  # letters of a name that is too long

Advance = Callable[[int], None]  # told how many bytes of the archive are done


@dataclass
class Contents:
    """Of an archive: files that the dataset needs, how many of those are new, others, and the names of the first."""

    needed: int = 0
    new: int = 0
    others: int = 0
    names: list[str] = field(default_factory=list)

    def add_other(self, name: str) -> None:
        """Count a file that has no place."""
        self.others += 1
        if self.others <= NAMED:
            self.names.append(name)


@contextmanager
def filling(root: Path) -> Iterator[None]:
    """Have a root for one process alone; what a killed one left half written is gone afterwards.

    Raises:
        ValueError: another process has it, or it is a file.
    """
    if root.exists() and not root.is_dir():
        raise ValueError(f"--root {root} is a file, expected a folder")
    root.mkdir(parents=True, exist_ok=True)
    folder = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(folder)
        raise ValueError(f"another process is preparing {root}; wait for its end") from None
    try:
        (root / PARTIAL).unlink(missing_ok=True)
        yield
    finally:
        (root / PARTIAL).unlink(missing_ok=True)
        os.close(folder)


def survey(archive: Path, places: Places, root: Path, advance: Advance) -> Contents:
    """Read an archive through, note the places of its files, and write nothing.

    Raises:
        ValueError: as `entries` and `Places.take`; the disk has no room, or cannot have a file of that name.
    """
    found, size = Contents(), 0
    with reading(archive):
        for entry in entries(archive):
            advance(entry.done)
            if (target := places.target(archive, entry)) is None:
                found.add_other(entry.name)
                continue
            found.needed += 1
            places.take(archive, entry, target)
            _check_length(archive, entry, root, target)
            if not _is_there(root / target):
                found.new += 1
                size += entry.size
    if size > (free := shutil.disk_usage(root).free):
        raise ValueError(f"{archive} needs {size:,} bytes in {root}, which has {free:,}; make room")
    return found


def compare(archive: Path, places: Places, advance: Advance) -> None:
    """Read those files of an archive again whose places others have too, and write nothing.

    Raises:
        ValueError: two of them differ.
    """
    with reading(archive):
        for entry in entries(archive):
            advance(entry.done)
            if (target := places.target(archive, entry)) in places.again:
                content = _hash(entry)
                if places.content.setdefault(target, content) != content:
                    raise differing(archive, entry, places.files[target.casefold()])


def unpack(archive: Path, places: Places, root: Path, advance: Advance) -> None:
    """Put an archive's files where they belong below ``root``; those that are there already stay as they are.

    Raises:
        ValueError: as `entries`; a file is there with other content; a folder on its way is a link.
    """
    with reading(archive):
        for entry in entries(archive):
            advance(entry.done)
            if (target := places.target(archive, entry)) is not None:
                _put(archive, entry, root, root / target)


def _check_length(archive: Path, entry: Entry, root: Path, target: str) -> None:
    longest = max(len(os.fsencode(part)) for part in target.split("/"))
    whole = len(os.fsencode(root / target))
    if longest > os.pathconf(root, "PC_NAME_MAX") or whole >= os.pathconf(root, "PC_PATH_MAX"):
        raise ValueError(
            f"{archive} holds '{entry.name[:SHOWN]}...', a name of {len(entry.name):,} letters, which is too long for "
            "this disk; get the archive from its authors, or choose a shorter --root"
        )


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except NotADirectoryError as error:
        raise ValueError(
            f"{path} cannot be written ({error.strerror}); move away what is there, or choose another --root"
        ) from error
    return True


def _hash(entry: Entry) -> bytes:
    digest = blake2b(digest_size=16)
    with entry.open() as content:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
    return digest.digest()


def _put(archive: Path, entry: Entry, root: Path, path: Path) -> None:
    for above in path.relative_to(root).parents:
        if (root / above).is_symlink() and above != Path():
            raise ValueError(f"{root / above} is a link, which may lead out of --root {root}; replace it by a folder")
    if path.is_symlink() or path.exists():
        if path.is_symlink() or not path.is_file() or not _same(entry, path):
            raise ValueError(
                f"{path} exists and differs from '{entry.name}' in {archive}; move it away, or choose another --root"
            )
        return
    partial = root / PARTIAL
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with entry.open() as content, partial.open("wb") as file:
            shutil.copyfileobj(content, file, CHUNK)
    except OSError as error:
        if error.errno is None:  # the archive's fault, not the disk's
            raise
        raise ValueError(f"{path} cannot be written ({error.strerror}); what is unpacked stays, start again") from error
    partial.rename(path)


def _same(entry: Entry, path: Path) -> bool:
    if path.stat().st_size != entry.size:
        return False
    with entry.open() as content, path.open("rb") as file:
        while chunk := content.read(CHUNK):
            if chunk != file.read(len(chunk)):
                return False
    return True
