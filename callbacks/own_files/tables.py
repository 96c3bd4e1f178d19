"""The table of landmarks of the user's own files: written frame after frame, and continued where it broke off."""

import csv
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lightning_modules.video.following import Face

FORMATS = ("csv", "jsonl")
FLUSHED = 200  # lines that an interruption may cost


class LandmarkTable:
    """A line for each face of each frame, and one without a face for a frame in which none was found.

    The columns of a CSV: ``file``; ``frame``, counted from 0; ``seconds`` since the first one; ``face``, a number that
    stays with a face; ``left``, ``top``, ``right``, ``bottom``, the box around its landmarks as they were found, before
    any smoothing, but in photographs and where boxes are given the box that they were found in; ``confidence``, the
    mean of its landmarks'; ``x0``, ``y0``, ... in pixels of the image as viewers show it, whose first pixel's centre is
    (0, 0). A JSON line has the same, with ``landmarks`` as pairs and a ``confidence`` for each.

    Of a table that broke off, the last line may have been written in part, or some of the last frame's faces not at
    all: that frame is left out, and cut off where the table goes on.

    Args:
        path: the file, .csv or .jsonl; while it grows, ``.partial`` is behind its name.
        num_landmarks: N.
    """

    def __init__(self, path: Path, num_landmarks: int) -> None:
        self.path, self.num_landmarks = path, num_landmarks
        self.partial = path.with_name(f"{path.name}.partial")
        self._csv_file = path.suffix == ".csv"
        self._file: Any = None
        self._lines = 0

    def reopen(self, names: set[str]) -> None:
        """Go on with a finished table where files have been added."""
        if self.path.is_file() and names - {name for name, _, _ in self.frames()}:
            self.path.replace(self.partial)

    def begun(self) -> dict[str, int]:
        """How many frames of each file there are already; none once the table is finished."""
        return {} if self.path.is_file() else {name: number + 1 for name, number, _ in self.frames()}

    def frames(self) -> Iterator[tuple[str, int, list[bytes]]]:
        """File, number and lines of each frame that was written whole, in order."""
        yield from self._frames(self.path if self.path.is_file() else self.partial)

    def _frames(self, path: Path) -> Iterator[tuple[str, int, list[bytes]]]:
        if not path.is_file():
            return
        before, lines = ("", -1), list[bytes]()
        with path.open("rb") as file:
            for line in itertools.islice(file, 1 if self._csv_file else 0, None):
                if not line.endswith(b"\n"):
                    return
                here = self._frame_of(line)
                if lines and here != before:
                    yield *before, lines
                    lines = []
                before = here
                lines.append(line)
        if lines and path == self.path:
            yield *before, lines

    def _frame_of(self, line: bytes) -> tuple[str, int]:
        if not self._csv_file:
            row = json.loads(line)
            return str(row["file"]), int(row["frame"])
        text = line.decode()
        quoted = text.startswith('"')  # else the cells after the first two need not be taken apart
        name, frame, *_ = next(csv.reader([text])) if quoted else text.split(",", 2)
        return name, int(frame)

    def open(self) -> None:
        """Begin, or go on after what is there."""
        if self._file:
            return
        head = self._head()
        self.partial.parent.mkdir(parents=True, exist_ok=True)
        whole = sum(len(line) for _, _, lines in self._frames(self.partial) for line in lines)
        if whole:
            os.truncate(self.partial, len(head.encode()) + whole)
        self._file = self.partial.open("a" if whole else "w", newline="")
        if not whole:
            self._file.write(head)

    def _head(self) -> str:
        points = [f"{axis}{i}" for i in range(self.num_landmarks) for axis in "xy"]
        names = ["file", "frame", "seconds", "face", "left", "top", "right", "bottom", "confidence", *points]
        return ",".join(names) + "\r\n" if self._csv_file else ""

    def write(self, name: str, frame: int, seconds: float, faces: Sequence[Face]) -> None:
        """Add a frame."""
        if self._csv_file:
            csv.writer(self._file).writerows(self._csv(name, frame, seconds, faces))
        else:
            self._file.writelines(f"{json.dumps(row)}\n" for row in self._json(name, frame, seconds, faces))
        self._lines += max(1, len(faces))
        if self._lines >= FLUSHED:
            self._file.flush()
            self._lines = 0

    def _csv(self, name: str, frame: int, seconds: float, faces: Sequence[Face]) -> Iterator[list[Any]]:
        where = [name, frame, f"{seconds:.4f}"]
        if not faces:
            yield [*where, *[""] * (6 + 2 * self.num_landmarks)]
        for face in faces:
            numbers = [*face.box, face.confidence.mean(), *face.landmarks.flatten()]
            yield [*where, face.identity, *(f"{value:.3f}" for value in numbers)]

    @staticmethod
    def _json(name: str, frame: int, seconds: float, faces: Sequence[Face]) -> Iterator[dict[str, Any]]:
        where = {"file": name, "frame": frame, "seconds": round(seconds, 4)}
        if not faces:
            yield {**where, "face": None}
        for face in faces:
            columns = {"box": face.box, "confidence": face.confidence, "landmarks": face.landmarks}
            yield {**where, "face": face.identity, **{k: np.round(v, 3).tolist() for k, v in columns.items()}}

    def copy(self, lines: Sequence[bytes]) -> None:
        """Add a frame of another table."""
        self._file.write(b"".join(lines).decode())

    def faces(self, name: str) -> Iterator[tuple[int, list[Face]]]:
        """The frames of a file that were written before, in order, to be drawn."""
        for file, frame, lines in self.frames():
            if file == name:
                yield frame, [face for line in lines if (face := self._face(line.decode()))]

    def _face(self, line: str) -> Face | None:
        if not self._csv_file:
            row = json.loads(line)
            if row["face"] is None:
                return None
            return Face(row["face"], *(np.array(row[key]) for key in ("box", "landmarks", "confidence")))
        face, *cells = next(csv.reader([line]))[3:]
        if not face:
            return None
        numbers = np.array(cells, float)
        points = numbers[5:].reshape(self.num_landmarks, 2)
        return Face(int(face), numbers[:4], points, np.full(self.num_landmarks, numbers[4]))

    def close(self, finished: bool) -> None:
        """Close the file, under its own name where nothing is missing."""
        if finished and self.partial.is_file():
            self.open()  # or a frame that was written in part would stay
        if self._file:
            self._file.close()
            self._file = None
            if finished:
                self.partial.replace(self.path)
