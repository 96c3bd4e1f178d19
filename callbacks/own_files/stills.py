"""One table of all photographs, however many processes write it, and with however many it is continued."""

import re
from collections.abc import Iterable
from pathlib import Path

from callbacks.own_files.tables import LandmarkTable


class StillsTable:
    """``images.csv``; while several processes write, each has a part of its own, ``images-0.csv`` and so on.

    Args:
        folder: where they are.
        suffix: csv or jsonl.
        num_landmarks: N.
    """

    def __init__(self, folder: Path, suffix: str, num_landmarks: int) -> None:
        self.folder, self.suffix, self.num_landmarks = folder, suffix, num_landmarks
        self.whole = self._table(f"images.{suffix}")

    def part(self, rank: int, ranks: int) -> LandmarkTable:
        """The table that a process writes to."""
        return self.whole if ranks == 1 else self._table(f"images-{rank}.{self.suffix}")

    def found(self) -> set[str]:
        """The photographs that are in the joined table."""
        return _names(self.whole)

    def join(self, wanted: set[str]) -> None:
        """Move what any process wrote, now or before an interruption, into the one table; only one process may call it.

        Args:
            wanted: the photographs with which the table is finished; none at the end, when all have been tried.
        """
        parts = self._parts()
        self.whole.reopen(wanted.union(*map(_names, parts)))
        there = self.found()
        for part in parts:
            for name, _, lines in part.frames():
                if name not in there:  # some are there already where this was interrupted
                    self.whole.open()
                    self.whole.copy(lines)
                    there.add(name)
        self.whole.close(finished=wanted <= there)
        for part in parts:
            part.path.unlink(missing_ok=True)
            part.partial.unlink(missing_ok=True)

    def _parts(self) -> list[LandmarkTable]:
        paths: Iterable[Path] = self.folder.glob(f"images-*.{self.suffix}*")
        known = re.compile(rf"(images-\d+\.{self.suffix})(\.partial)?")
        names = {match[1] for path in paths if (match := known.fullmatch(path.name))}
        return [self._table(name) for name in sorted(names)]

    def _table(self, name: str) -> LandmarkTable:
        return LandmarkTable(self.folder / name, self.num_landmarks)


def _names(table: LandmarkTable) -> set[str]:
    return {name for name, _, _ in table.frames()}
