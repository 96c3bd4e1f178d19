"""COFW: 1,345 training and 507 test faces with 29 landmarks and their occlusion; COFW-68 marks the test faces anew."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from datamodules.crop import Floats
from datamodules.face_dataset import FaceDataset
from datamodules.faces import Faces
from datamodules.markup import COFW_29, IBUG_68
from datamodules.matlab_files import MatlabImages, read_matlab
from datamodules.published_data import PublishedData
from datamodules.transforms import Image

FILES = {"train": ("COFW_train_color.mat", "Tr"), "test": ("COFW_test_color.mat", "T")}  # its variables end so


class COFW(PublishedData):
    """COFW in colour (Burgos-Artizzu et al. 2013): images and annotations in two MATLAB 7.3 files.

    ``IsTr`` holds the images, some of them grey; ``phisTr`` 29 x, 29 y and 29 flags of occlusion a face; ``bboxesTr``
    x, y, width and height; the test file the same with ``T``. All count pixels from 1. The first 845 training faces
    are LFPW's and hardly occluded. ``visible`` is False for occluded landmarks, whose places are annotated all the
    same and count in the error. NME is inter-ocular (PIPNet, HRNet); STAR and ADNet report ``inter-pupil``, by which
    the same predictions have about 1.4 times the error.

    Args:
        root: folder that holds ``COFW_train_color.mat`` and ``COFW_test_color.mat``.
        box: ``provided-1.0`` is PIPNet's, ``landmarks-1.25`` HRNet's.
        and the rest: see `PublishedData`.
    """

    annotated = COFW_29
    usual_box = "provided-1.0"
    published: ClassVar[Mapping[str, int]] = {"train": 1345, "test": 507}
    holds, prepared_as = "COFW_train_color.mat and COFW_test_color.mat", "cofw"

    def load(self, split: str) -> Faces:
        """Read one of the two files but for its pixels; see `Faces` and `matlab_files` for what is refused."""
        images, ending = self.images(split), FILES[split][1]
        table = read_matlab(images.path, (f"phis{ending}", f"bboxes{ending}"), self.remedy)
        phis = table.numbers(f"phis{ending}", 87, len(images))
        return self._faces(
            images,
            landmarks=phis[:, :58].reshape(-1, 2, 29).swapaxes(1, 2) - 1,
            visible=~table.as_flags(f"phis{ending}", phis[:, 58:]),
            box=corners(table.numbers(f"bboxes{ending}", 4, len(images))),
        )

    def images(self, split: str) -> MatlabImages:
        """The images of a split."""
        name, ending = FILES[split]
        return MatlabImages(self.root / name, f"Is{ending}", self.remedy)

    def dataset(self, faces: Faces) -> FaceDataset:
        """Crops of faces whose images are read out of the file when they are asked for."""
        images = self.images("train" if faces.source.name == FILES["train"][0] else "test")
        index = {place: i for i, place in enumerate(images.places)}
        return self.crops(faces, partial(_image, images, np.array([index[place] for place in faces.image])))

    def _faces(self, images: MatlabImages, landmarks: Floats, visible: NDArray[np.bool_], box: Floats) -> Faces:
        return Faces(
            source=images.path,
            line=np.zeros(len(images), int),
            image=np.array(images.places),
            landmarks=landmarks,
            visible=visible,
            box=box,
            subsets=np.zeros((len(images), 0), bool),
            photograph=np.arange(1, len(images) + 1).astype(str),
        )


class COFW68(COFW):
    """COFW's test faces with the 68 landmarks of 300-W (Ghiasi and Fowlkes 2015, arXiv:1506.08347), for testing only.

    ``cofw68_test_annotations/<i>_points.mat`` has ``Points`` (68 x 2, pixels counted from 1) and ``Occ`` (1: occluded)
    of the i-th test face, and ``cofw68_test_bboxes.mat`` has ``bboxes`` (x, y, width, height): these are as tight as
    the boxes of 300-W, by whose organisers' method they were made, so a model of ``landmarks-1.3`` crops of 300-W meets
    faces of the same cut in ``provided-1.3`` (PIPNet's protocol).

    Args:
        root: folder that holds ``COFW_test_color.mat``, ``cofw68_test_annotations`` and ``cofw68_test_bboxes.mat``.
        and the rest: see `PublishedData`.
    """

    annotated = IBUG_68
    usual_box = "provided-1.3"
    published: ClassVar[Mapping[str, int]] = {"test": 507}
    holds = "COFW_test_color.mat, cofw68_test_annotations and cofw68_test_bboxes.mat"
    prepared_as = "cofw68"

    @property
    def title(self) -> str:
        """Name of the test faces."""
        return "COFW-68"

    def load(self, split: str) -> Faces:
        """Read the annotation of each test face; see `Faces` and `matlab_files` for what is refused.

        Raises:
            ValueError: also for the training faces, which COFW-68 does not have.
        """
        if split == "train":
            raise ValueError(
                "COFW-68 has no training faces; train on 300-W (datamodules.w300.W300), and test that run with "
                "python cli.py test --config <its config> --config data/cofw68.yaml"
            )
        images = self.images("test")
        boxes = read_matlab(self.root / "cofw68_test_bboxes.mat", ("bboxes",), self.remedy)
        points, occluded = zip(*(self._annotation(i + 1) for i in range(len(images))), strict=True)
        return self._faces(
            images,
            landmarks=np.array(points) - 1,
            visible=~np.array(occluded),
            box=corners(boxes.numbers("bboxes", 4, len(images))),
        )

    def _annotation(self, number: int) -> tuple[Floats, NDArray[np.bool_]]:
        """Points (68, 2) and whether they are occluded (68,) of a face, counted from 1."""
        path: Path = self.root / f"cofw68_test_annotations/{number}_points.mat"
        table = read_matlab(path, ("Points", "Occ"), self.remedy)
        return table.numbers("Points", 2, 68), table.flags("Occ", 1, 68)[:, 0]


def corners(boxes: Floats) -> Floats:
    """Corners (M, 4), counted from 0, of boxes (M, 4) of x, y, width and height counted from 1."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1) - 1


def _image(images: MatlabImages, index: NDArray[np.int64], row: int) -> Image:
    return images[int(index[row])]
