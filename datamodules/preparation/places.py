"""Where the files of a dataset's archives belong below its root: no two of them at one place."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from datamodules.preparation.archives import Entry, plain_name

JUNK = ("__MACOSX/", "._", ".DS_Store", "Thumbs.db", "desktop.ini")

Place = Callable[[str], str | None]  # the path below the root for a path in an archive, None for what is not needed


class Taken(NamedTuple):
    """A place, and the first archive that has a file for it."""

    target: str
    archive: Path


class Places:
    """The places of the files of all archives, as far as they are read.

    Args:
        place: gives the place of a path in an archive.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.files: dict[str, Taken] = {}  # by place, as a disk sees it for which case does not count
        self.folders: set[str] = set()  # above those
        self.again: set[str] = set()  # places of more than one file
        self.content: dict[str, bytes] = {}  # a hash of the first of these files

    def target(self, archive: Path, entry: Entry) -> str | None:
        """The place of a file, by its path in the archive, else with the archive's name for the folder it is in."""
        if entry.name.startswith(JUNK[0]) or Path(entry.name).name.startswith(JUNK[1:]):
            return None
        name = "/".join(part for part in entry.name.split("/") if part not in ("", "."))
        return self.place(name) or self.place(f"{plain_name(archive)}/{name}")

    def take(self, archive: Path, entry: Entry, target: str) -> None:
        """Note the place of a file.

        Raises:
            ValueError: a file has it whose name differs by case alone; it would be a file and a folder.
        """
        key = target.casefold()
        if first := self.files.get(key):
            if first.target != target:
                raise ValueError(
                    f"{archive} holds '{target}' and {_in(first.archive, archive)} holds '{first.target}', which some "
                    "disks take for one file; get them from their authors"
                )
            self.again.add(target)
            return
        if key in self.folders:
            raise _file_and_folder(archive, entry, target)
        folder = key.rpartition("/")[0]
        while folder and folder not in self.folders:
            if folder in self.files:
                raise _file_and_folder(archive, entry, self.files[folder].target)
            self.folders.add(folder)
            folder = folder.rpartition("/")[0]
        self.files[key] = Taken(target, archive)


def differing(archive: Path, entry: Entry, first: Taken) -> ValueError:
    """The sentence for two files of one place with different content."""
    return ValueError(
        f"{archive}: '{entry.name}' differs from another file in {_in(first.archive, archive)}, and both belong at "
        f"{first.target}; give archives of one release only"
    )


def _file_and_folder(archive: Path, entry: Entry, target: str) -> ValueError:
    return ValueError(
        f"{archive}: with '{entry.name}', {target} would be both a file and a folder; get the archives from their "
        "authors"
    )


def _in(first: Path, archive: Path) -> str:
    return "it" if first == archive else str(first)
