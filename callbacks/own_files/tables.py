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
    stays with a face; ``left``, ``top``, ``right``, ``bottom``, the box that it was found in; ``confidence``, the mean
    of its landmarks'; ``x0``, ``y0``, ... in pixels of the image as viewers show it, whose first pixel's centre is
    (0, 0). A JSON line has the same, with ``landmarks`` as pairs and a ``confidence`` for each.

    Args:
        path: the file, .csv or .jsonl; while it grows, ``.partial`` is behind its name.
        num_landmarks: N.
    """

    def __init__(self, path: Path, num_landmarks: int) -> None:
        self.path, self.num_landmarks = path, num_landmarks
        self.partial = path.with_name(f"{path.name}.partial")
        self._file: Any = None
        self._lines = 0

    def reopen(self, names: set[str]) -> None:
        """Go on with a finished table where files have been added."""
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            lines = itertools.islice(file, 1 if self.path.suffix == ".csv" else 0, None)
            there = {self._frame_of(line)[0] for line in lines}
        if names - there:
            self.path.replace(self.partial)

    def begun(self) -> dict[str, int]:
        """How many frames of each file there are already; the last frame is cut off a table that broke off.

        Its last line may have been written in part, or some of that frame's faces not at all.
        """
        if self.path.is_file() or not self.partial.is_file():
            return {}
        counts: dict[str, int] = {}
        keep = at = 0
        last: tuple[str, int] | None = None
        with self.partial.open("rb") as file:
            for number, line in enumerate(file):
                if not line.endswith(b"\n"):
                    break
                if number or self.path.suffix != ".csv":
                    here = self._frame_of(line)
                    if here != last:  # what stands before is whole
                        keep = at
                        if last:
                            counts[last[0]] = last[1] + 1
                        last = here
                at += len(line)
        os.truncate(self.partial, keep)
        return counts

    def _frame_of(self, line: bytes) -> tuple[str, int]:
        if self.path.suffix == ".csv":
            cells = next(csv.reader([line.decode()]))
            return cells[0], int(cells[1])
        row = json.loads(line)
        return str(row["file"]), int(row["frame"])

    def open(self) -> None:
        """Begin, or go on after what is there."""
        if self._file:
            return
        self.partial.parent.mkdir(parents=True, exist_ok=True)
        fresh = not self.partial.is_file() or not self.partial.stat().st_size
        self._file = self.partial.open("a", newline="")
        if fresh and self.path.suffix == ".csv":
            points = [f"{axis}{i}" for i in range(self.num_landmarks) for axis in "xy"]
            head = ["file", "frame", "seconds", "face", "left", "top", "right", "bottom", "confidence", *points]
            csv.writer(self._file).writerow(head)

    def write(self, name: str, frame: int, seconds: float, faces: Sequence[Face]) -> None:
        """Add a frame."""
        for line in self._csv(name, frame, seconds, faces) if self.path.suffix == ".csv" else ():
            csv.writer(self._file).writerow(line)
        for row in self._json(name, frame, seconds, faces) if self.path.suffix == ".jsonl" else ():
            self._file.write(json.dumps(row) + "\n")
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

    def faces(self, name: str) -> Iterator[tuple[int, list[Face]]]:
        """The frames of a file that were written before, in order, to be drawn."""
        if not self.partial.is_file():
            return
        with self.partial.open(newline="") as file:
            rows = csv.DictReader(file) if self.path.suffix == ".csv" else map(json.loads, file)
            own = (row for row in rows if row["file"] == name)
            for frame, group in itertools.groupby(own, key=lambda row: int(row["frame"])):
                yield frame, [self._face(row) for row in group if row["face"] not in ("", None)]

    def _face(self, row: dict[str, Any]) -> Face:
        if self.path.suffix == ".jsonl":
            return Face(row["face"], *(np.array(row[key]) for key in ("box", "landmarks", "confidence")))
        box = np.array([float(row[key]) for key in ("left", "top", "right", "bottom")])
        points = [[float(row[f"{axis}{i}"]) for axis in "xy"] for i in range(self.num_landmarks)]
        return Face(int(row["face"]), box, np.array(points), np.full(self.num_landmarks, float(row["confidence"])))

    def close(self, finished: bool) -> None:
        """Close the file, under its own name where nothing is missing."""
        if self._file:
            self._file.close()
            self._file = None
            if finished:
                self.partial.replace(self.path)
