"""Menpo2D (Deng et al. 2018, doi:10.1007/s11263-018-1134-y): faces in full range of pose, in two markups.

Published counts differ: the benchmark's page lists 6,653 semi-frontal and 2,290 profile training faces, PIPNet's paper
(and an older state of the page) 5,658 and 1,906. Test faces are 5,335 and 1,946 in both. OpenFace's training code names
34 training faces, of both kinds, that are marked in the wrong order along a run of landmarks, and turns them round;
here they are as they are published.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from datamodules.annotation_table import BOX_COLUMNS, landmark_columns, read_list
from datamodules.faces import Faces
from datamodules.markup import IBUG_68, MENPO_39
from datamodules.pts_files import annotated_images, read_pts
from datamodules.published_data import PublishedData

DETECTED = [f"{axis} of {part}" for part in ("eye 1", "eye 2", "nose", "mouth 1", "mouth 2") for axis in "xy"]


class Menpo2DSemifrontal(PublishedData):
    """Menpo2D's semi-frontal faces in 300-W's markup; NME is divided by the diagonal of the landmarks' box.

    Landmarks come from the benchmark's list of a split, ``Menpo2D_semifrontal_train.txt``: on each line an image, the
    box and five points that a detector found, and the landmarks. The lists do not say where their pixels begin and
    are used as they are. Where there is no list, landmarks come from the challenge's ``.pts`` files beside the
    images, which count pixels from 1 and bring no boxes. Every landmark is annotated.

    Args:
        root: folder that holds ``Train`` and ``Test``, and in each ``image/semifrontal`` and the list.
        box: ``provided-1.2`` and the like are the detector's rectangles of the lists.
        and the rest: see `PublishedData`.
    """

    annotated = IBUG_68
    usual_box = "landmarks-1.25"
    usual_normalizer = "box-diagonal"
    published: ClassVar[Mapping[str, int]] = {"train": 6653, "test": 5335}
    older: ClassVar[int] = 5658  # training faces
    holds = "Train and Test, and in each Menpo2D_semifrontal_train.txt or Menpo2D_semifrontal_test.txt"
    prepared_as = "menpo2d"
    pose: ClassVar[str] = "semifrontal"

    @property
    def title(self) -> str:
        """With the pose, as the papers write it."""
        return f"Menpo2D {self.pose}"

    def load(self, split: str) -> Faces:
        """Read a list, or the `.pts` files; see `Faces`, `annotation_table` and `pts_files` for what is refused."""
        folder = self.root / split.title()
        path = folder / f"Menpo2D_{self.pose}_{split}.txt"
        return self._listed(path) if path.exists() else self._beside_images(folder / "image" / self.pose)

    def published_counts(self, split: str) -> Mapping[int, str]:
        """Two counts of training faces go round."""
        counts = super().published_counts(split)
        if split != "train":
            return counts
        return {**dict.fromkeys(counts, "as the benchmark's page lists"), self.older: "as PIPNet's paper has"}

    def _listed(self, path: Path) -> Faces:
        landmarks = landmark_columns(self.annotated.num_landmarks)
        table = read_list(path, ["image", *BOX_COLUMNS, *DETECTED, *landmarks], "get it again")
        names = table.text("image")
        return Faces(
            source=path,
            line=np.array(table.line),
            image=np.array([str(path.parent / name) for name in names]),
            landmarks=table.numbers(landmarks).reshape(len(table), -1, 2),
            visible=np.ones((len(table), self.annotated.num_landmarks), bool),
            box=table.numbers(BOX_COLUMNS),
            subsets=np.zeros((len(table), 0), bool),
            photograph=np.array(names),
        )

    def _beside_images(self, folder: Path) -> Faces:
        faces = annotated_images(folder, self.remedy)
        images = np.array([face.image for face in faces])
        return Faces(
            source=folder,
            line=np.zeros(len(faces), np.int64),
            image=images,
            landmarks=np.stack([read_pts(face.pts, self.annotated.num_landmarks) for face in faces]),
            visible=np.ones((len(faces), self.annotated.num_landmarks), bool),
            box=np.full((len(faces), 4), np.nan),
            subsets=np.zeros((len(faces), 0), bool),
            photograph=np.array([Path(face.image).name for face in faces]),
        )


class Menpo2DProfile(Menpo2DSemifrontal):
    """Menpo2D's profile faces in their own markup: the 39 landmarks of the half of the face that is seen.

    Args:
        root: folder that holds ``Train`` and ``Test``, and in each ``image/profile`` and the list
            ``Menpo2D_profile_train.txt`` or ``Menpo2D_profile_test.txt``.
        box: as for `Menpo2DSemifrontal`.
        and the rest: see `PublishedData`.
    """

    annotated = MENPO_39
    published: ClassVar[Mapping[str, int]] = {"train": 2290, "test": 1946}
    older: ClassVar[int] = 1906
    holds = "Train and Test, and in each Menpo2D_profile_train.txt or Menpo2D_profile_test.txt"
    pose: ClassVar[str] = "profile"
