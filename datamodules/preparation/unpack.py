"""Archives into a folder: each file appears whole under its name or not at all, and none is ever overwritten."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from datamodules.preparation.archives import Entry, entries, plain_name, reading

CHUNK = 2**20
PARTIAL = ".prepare.partial"  # in the root, while it is being filled
JUNK = ("__MACOSX/", "._", ".DS_Store", "Thumbs.db", "desktop.ini")

NAMED = 20  # of the files without a place, these many by name

Place = Callable[[str], str | None]  # the path below the root for a path in an archive, None for what is not needed
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


def survey(archive: Path, place: Place, root: Path, advance: Advance) -> Contents:
    """Read an archive through and write nothing.

    Raises:
        ValueError: as `entries`; two of its files would be one where case does not count; the disk has no room.
    """
    found, size = Contents(), 0
    places: dict[str, str] = {}
    with reading(archive):
        for entry in entries(archive):
            advance(entry.done)
            if (target := _target(archive, entry, place)) is None:
                found.add_other(entry.name)
                continue
            found.needed += 1
            if (other := places.setdefault(target.casefold(), target)) != target:
                raise ValueError(
                    f"{archive} holds both '{other}' and '{target}', which some disks take for one file; get it from "
                    "its authors"
                )
            if not (root / target).exists():
                found.new += 1
                size += entry.size
    if size > (free := shutil.disk_usage(root).free):
        raise ValueError(f"{archive} needs {size:,} bytes in {root}, which has {free:,}; make room")
    return found


def unpack(archive: Path, place: Place, root: Path, advance: Advance) -> None:
    """Put an archive's files where they belong below ``root``; those that are there already stay as they are.

    Raises:
        ValueError: as `entries`; a file is there with other content; a folder on its way is a link.
    """
    with reading(archive):
        for entry in entries(archive):
            advance(entry.done)
            if (target := _target(archive, entry, place)) is not None:
                _put(archive, entry, root, root / target)


def _target(archive: Path, entry: Entry, place: Place) -> str | None:
    """The place of a file, by its path in the archive, else with the archive's name for the folder it is in."""
    if entry.name.startswith(JUNK[0]) or Path(entry.name).name.startswith(JUNK[1:]):
        return None
    name = "/".join(part for part in entry.name.split("/") if part not in ("", "."))
    return place(name) or place(f"{plain_name(archive)}/{name}")


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
