"""WFLW as LDEQ and HIH used it: faces cut out beforehand, after PFLD's preparation."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from datamodules.annotation_table import AnnotationTable, landmark_columns, read_list
from datamodules.crop import Floats
from datamodules.face_dataset import FaceDataset
from datamodules.faces import Faces
from datamodules.image_files import image_size
from datamodules.markup import WFLW_98
from datamodules.published_data import PublishedData
from datamodules.wflw import ATTRIBUTES

COORDINATES = landmark_columns(WFLW_98.num_landmarks)
SIDE = 256  # of every crop, in pixels
BEYOND = 1.0  # a landmark may lie this far outside, in sides of the crop; farther out, the file is not in shares


class WFLWCropped(PublishedData):
    """WFLW in face crops of 256 x 256 pixels, around the true landmarks (so the test knows where the face is).

    ``train.txt`` and ``test.txt`` name an image in ``train/`` or ``test/`` a line, then 196 shares of the crop's side;
    ``test_largepose.txt`` and so on list the faces of the six subsets again. Those are found in ``test.txt`` by their
    landmarks, because the preparation puts a running number into file names.

    A share v becomes pixel 256 v, as in LDEQ's evaluation. The preparation divided whole pixels by the side B of the
    crop before it was resized, which puts the landmark at 256 v + 128 / B - 0.5 in our convention; B is lost. The two
    agree at B = 256 and are less than half a pixel apart for every B above 128.

    Where a landmark lies outside its crop, LDEQ's and HIH's loaders pad the crop until all true landmarks fit and
    squeeze it back to 256 x 256, not keeping its aspect, test faces included (``pad_crop``). That lets a test face's
    truth alter its image, so it is not done here: such a landmark keeps its place outside and is not visible. Figures
    may differ a little from LDEQ's for it.

    Args:
        root: folder that holds the lists and the folders of images.
        and the rest: see `PublishedData`.
    """

    subset_names = ATTRIBUTES
    annotated = WFLW_98
    published: ClassVar[Mapping[str, int]] = {"train": 7500, "test": 2500}
    holds, prepared_as = "train, test and the lists train.txt and test.txt to test_blur.txt", "wflw_cropped"
    usual_box = "image"

    def load(self, split: str) -> Faces:
        """Read a list, and for the test faces those of the subsets; see `Faces` for what else is refused."""
        table, shares = self._read(split)
        names = table.text("image")
        return Faces(
            source=table.path,
            line=np.array(table.line),
            image=np.array([str(self.root / split / name) for name in names]),
            landmarks=SIDE * shares,
            visible=np.ones(shares.shape[:2], bool),
            box=np.full((len(table), 4), np.nan),
            subsets=self._subsets(table, shares) if split == "test" else np.zeros((len(table), len(ATTRIBUTES)), bool),
            photograph=np.array([photograph(name) for name in names]),
        )

    def dataset(self, faces: Faces) -> FaceDataset:
        """These crops, which must have the one size that the shares refer to."""
        dataset = super().dataset(faces)
        for row in range(len(faces)):
            if (found := image_size(str(faces.image[row]))) != (SIDE, SIDE):
                raise ValueError(
                    f"{faces.where(row)}: image {faces.image[row]} has {found[0]} x {found[1]} pixels, expected "
                    f"{SIDE} x {SIDE}; use datamodules.wflw.WFLW for images that are not cropped"
                )
        return dataset

    def _read(self, split: str) -> tuple[AnnotationTable, Floats]:
        path = self.root / f"{split}.txt"
        table = read_list(path, ["image", *COORDINATES], self.remedy)
        shares = table.numbers(COORDINATES)
        for row, column in np.argwhere((shares < -BEYOND) | (shares > 1 + BEYOND)):
            raise ValueError(
                f"{path}: line {table.line[row]}, column {COORDINATES[column]} is {shares[row, column]:g}, expected a "
                "share of the crop's side, about 0 to 1"
            )
        return table, shares.reshape(-1, WFLW_98.num_landmarks, 2)

    def _subsets(self, test: AnnotationTable, shares: Floats) -> NDArray[np.bool_]:
        """Which subsets (M, 6) each test face is in."""
        member = np.zeros((len(test), len(ATTRIBUTES)), bool)
        rows: dict[bytes, list[int]] = {}  # a face may be listed twice
        for row, face in enumerate(shares):
            rows.setdefault(face.tobytes(), []).append(row)
        for subset, attribute in enumerate(ATTRIBUTES):
            table, faces = self._read("test_largepose" if attribute == "pose" else f"test_{attribute}")
            for line, face in zip(table.line, faces, strict=True):
                if (same := rows.get(face.tobytes())) is None:
                    raise ValueError(f"{table.path}: line {line} has landmarks that no line of {test.path} has")
                member[same, subset] = True
        return member


def photograph(name: str) -> str:
    """The original image of a crop: the preparation's names are <running number>_<image>_<repeat>.png.

    A name of another kind may lose more than that, which groups too many faces rather than too few.
    """
    stem = Path(name).stem
    numbered = re.fullmatch(r"\d+_(.+)_\d+", stem)
    return numbered[1] if numbered else stem
