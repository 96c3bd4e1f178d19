"""Annotated faces as columns: what a dataset's own file has to read, and how validation faces are taken out of it."""

import os
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.crop import Floats

FARTHEST = 1e5  # pixels; a coordinate beyond it is a broken file, not a landmark


@dataclass(frozen=True)
class Faces:
    """The annotations of one split, as columns: row i is the sample whose ``index`` is i.

    Arrays rather than objects, so that hundreds of thousands of rows cost workers no memory of their own.

    Args:
        source: the annotation file, for error sentences.
        line: (M,) the line of ``source`` that holds each face, counted from 1; 0 where each face has an annotation
            file of its own beside its image, and sentences name the image.
        image: (M,) path of each face's image.
        landmarks: (M, N, 2) in pixels of the original image, centre of the top-left pixel at (0, 0).
        visible: (M, N) annotated as visible.
        box: (M, 4) the dataset's own rectangle x0, y0, x1, y1; four NaN where it has none.
        subsets: (M, S) which of the dataset's test subsets a face is in.
        photograph: (M,) faces of one photograph (or person) share a value and are never split by validation. It does
            not tell where the data lie: the split is drawn from it, and is the same on every machine.

    Raises:
        ValueError: one sentence naming file and line, for no faces, a coordinate that is not finite or absurd, all
            landmarks at one point, a box without area.
    """

    source: Path
    line: NDArray[np.int64]
    image: NDArray[np.str_]
    landmarks: Floats
    visible: NDArray[np.bool_]
    box: Floats
    subsets: NDArray[np.bool_]
    photograph: NDArray[np.str_]

    def __post_init__(self) -> None:
        if not len(self):
            raise ValueError(f"{self.source}: no faces found, expected at least one")
        for row in np.flatnonzero(~np.isfinite(self.landmarks).all(axis=(1, 2))):
            landmark = int(np.flatnonzero(~np.isfinite(self.landmarks[row]).all(axis=1))[0])
            raise ValueError(
                f"{self.where(row)}: landmark {landmark} is {tuple(self.landmarks[row, landmark].tolist())}, "
                "expected two finite numbers"
            )
        for row, landmark, _ in np.argwhere(np.abs(self.landmarks) > FARTHEST):
            x, y = self.landmarks[row, landmark]
            raise ValueError(
                f"{self.where(row)}: landmark {landmark} is at ({x:g}, {y:g}), expected pixels of an image, at most "
                f"{FARTHEST:g} from its corner"
            )
        if self.landmarks.shape[1] > 1:
            for row in np.flatnonzero((self.landmarks == self.landmarks[:, :1]).all(axis=(1, 2))):
                raise ValueError(f"{self.where(row)}: all landmarks are at one point, expected a face")
        has_box = ~np.isnan(self.box).all(axis=1)
        area = (self.box[:, 2:] > self.box[:, :2]).all(axis=1) & (np.abs(self.box) <= FARTHEST).all(axis=1)
        for row in np.flatnonzero(has_box & ~area):
            raise ValueError(
                f"{self.where(row)}: box is {tuple(self.box[row].tolist())}, expected left < right and top < bottom, "
                f"in pixels, at most {FARTHEST:g} from the image's corner"
            )

    def __len__(self) -> int:
        return len(self.image)

    def where(self, row: int | np.integer[Any]) -> str:
        """The place of a face, for error sentences."""
        return f"{self.source}: line {self.line[row]}" if self.line[row] else str(self.image[row])

    def identity(self, row: int) -> int:
        """A number for a face, by its image's path as seen from ``source`` and its landmarks.

        It stays the same in any selection or order of the faces, and wherever the dataset's folder lies.
        """
        image = os.path.relpath(str(self.image[row]), self.source)
        digest = blake2b(image.encode(errors="surrogateescape"), digest_size=8)
        digest.update(self.landmarks[row].astype(np.float64).tobytes())  # an image may show several faces
        return int.from_bytes(digest.digest())

    def select(self, rows: NDArray[np.bool_]) -> "Faces":
        """The faces at these rows."""
        columns = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "source"}
        return replace(self, **columns)

    def check_images(self) -> None:
        """Refuse missing images now rather than in the middle of an epoch.

        Raises:
            FileNotFoundError: one sentence naming the first line and how many images there are without a file.
        """
        first: dict[str, int] = {}
        for row, image in enumerate(self.image.tolist()):
            first.setdefault(image, row)
        listed = _files_in({image.rpartition("/")[0] for image in first})  # asking for each takes 7 times as long
        missing = sorted(first[image] for image in first.keys() - listed if not Path(image).is_file())
        if missing:
            path = Path(self.image[missing[0]])
            raise FileNotFoundError(
                f"{self.where(missing[0])} names image {path}, which is {'a folder' if path.is_dir() else 'not there'} "
                f"({len(missing)} of {len(first)} images are missing); correct the line or get the images again"
            )


def _files_in(folders: set[str]) -> set[str]:
    """Paths of the files in these folders; folders that cannot be listed have none."""
    found: set[str] = set()
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                found.update(f"{folder}/{entry.name}" for entry in entries if entry.is_file())
        except OSError:  # each of its images is then asked for
            continue
    return found


def split_validation(faces: Faces, fraction: float, seed: int) -> tuple[Faces, Faces]:
    """Training and validation faces; a photograph falls on one side with all its faces.

    The side is a hash of seed and photograph, so adding or removing faces leaves the others where they were.

    Raises:
        ValueError: if one side would be empty.
    """
    photographs, of_face = np.unique(faces.photograph, return_inverse=True)
    draws = [int.from_bytes(blake2b(f"{seed}:{p}".encode(), digest_size=8).digest()) / 2**64 for p in photographs]
    held_out = (np.array(draws) < fraction)[of_face]
    if held_out.all() or not held_out.any():
        raise ValueError(
            f"{faces.source}: {len(photographs)} photographs are too few to hold out "
            f"{fraction:.0%} for validation; add photographs or change data.init_args.validation_fraction"
        )
    return faces.select(~held_out), faces.select(held_out)
