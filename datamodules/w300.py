"""300-W (Sagonas et al. 2013 and 2016): faces of AFW, HELEN, LFPW and iBUG marked again with 68 landmarks."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from datamodules.crop import Floats
from datamodules.faces import Faces
from datamodules.markup import IBUG_68
from datamodules.matlab_files import read_matlab
from datamodules.pts_files import annotated_images, read_pts
from datamodules.published_data import PublishedData

TRAIN = ("afw", "helen/trainset", "lfpw/trainset")


class W300(PublishedData):
    """300-W with the public test faces: 3,148 to train, 554 "common" and 135 "challenge" to test; all 689 are "full".

    Every landmark is annotated, so ``visible`` is False only outside the crop. Faces of one photograph have one name
    but for the number at its end (AFW holds the photograph once for each of its faces).

    Args:
        root: folder that holds ``afw``, ``helen/trainset``, ``helen/testset``, ``lfpw/trainset``, ``lfpw/testset`` and
            ``ibug``; in each, images and a ``.pts`` file beside each. ``Bounding Boxes/bounding_boxes_*.mat`` are read
            where they are there.
        box: ``landmarks-1.25`` is HRNet's, ``landmarks-1.1`` PIPNet's: the test then knows the tight box of the true
            landmarks. ``provided-1.2`` and the like need the organisers' detector boxes in ``Bounding Boxes``.
        and the rest: see `PublishedData`.
    """

    annotated = IBUG_68
    usual_box = "landmarks-1.25"
    subset_names = ("common", "challenge")
    published: ClassVar[Mapping[str, int]] = {"train": 3148, "test": 689}
    holds = "afw, helen/trainset, helen/testset, lfpw/trainset, lfpw/testset and ibug"
    prepared_as = "w300"
    test_folders: ClassVar[Mapping[str, str]] = {  # and the subset that each is
        "helen/testset": "common",
        "lfpw/testset": "common",
        "ibug": "challenge",
    }

    @property
    def title(self) -> str:
        """As the papers write it."""
        return "300-W"

    def load(self, split: str) -> Faces:
        """Read the folders of a split; see `Faces` and `pts_files` for what is refused."""
        folders = self.test_folders if split == "test" else dict.fromkeys(TRAIN, "")
        images, points, boxes, subsets, photographs = [], [], [], [], []
        for folder, subset in folders.items():
            faces = annotated_images(self.root / folder, self.remedy)
            names = [Path(face.image).stem for face in faces]
            images += [face.image for face in faces]
            points += [read_pts(face.pts, IBUG_68.num_landmarks) for face in faces]
            boxes.append(_boxes(self.root / f"Bounding Boxes/bounding_boxes_{folder.replace('/', '_')}.mat", names))
            subsets += [[subset == name for name in self.subset_names]] * len(faces)
            photographs += [f"{folder}/{_photograph(name)}" for name in names]
        return Faces(
            source=self.root,
            line=np.zeros(len(images), np.int64),
            image=np.array(images),
            landmarks=np.stack(points),
            visible=np.ones((len(images), IBUG_68.num_landmarks), bool),
            box=np.concatenate(boxes),
            subsets=np.array(subsets),
            photograph=np.array(photographs),
        )


class W300Private(W300):
    """300-W tested on the 600 faces that its organisers first kept to themselves; trained on the same faces.

    Args:
        root: as for `W300`, and ``Test/01_Indoor`` and ``Test/02_Outdoor`` in it; the other test folders are not read.
        and the rest: see `W300`. There are no detector boxes of these faces.
    """

    subset_names = ("indoor", "outdoor")
    published: ClassVar[Mapping[str, int]] = {"train": 3148, "test": 600}
    holds = "afw, helen/trainset, lfpw/trainset, Test/01_Indoor and Test/02_Outdoor"
    prepared_as = "w300_private"
    test_folders: ClassVar[Mapping[str, str]] = {"Test/01_Indoor": "indoor", "Test/02_Outdoor": "outdoor"}

    @property
    def title(self) -> str:
        """As the papers write it."""
        return "300-W private"


def _photograph(name: str) -> str:
    """``134212_2``, ``2908549_1`` and ``image_092 _01`` without the number of the face; ``image_0001`` as it is."""
    return re.sub(r"(?<=\d)\s*_\d+$", "", name)


def _boxes(path: Path, names: Sequence[str]) -> Floats:
    """The detector's boxes (M, 4) of these images, four NaN where the file has none of an image or is not there.

    Whether a face needs a box, its crop decides: `FaceDataset` refuses those that do and have none.

    Raises:
        ValueError: the file is not one of boxes; or as in `matlab_files`.
    """
    if not path.exists():
        return np.full((len(names), 4), np.nan)
    structs = read_matlab(path, ["bounding_boxes"], "get it again").variables["bounding_boxes"].ravel()
    try:
        images = [Path(struct["imgName"].item().item()).stem for struct in structs]
        boxes = [np.reshape(struct["bb_detector"].item(), 4).astype(float) for struct in structs]
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(
            f"{path}: bounding_boxes has no imgName with four numbers of bb_detector in each cell ({error}); get the "
            "file again or remove it"
        ) from error
    found = dict(zip(images, boxes, strict=True))
    return np.stack([found.get(name, np.full(4, np.nan)) for name in names]) - 1  # MATLAB counts pixels from 1
