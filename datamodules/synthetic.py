"""Generated faces: a dataset that needs no files, with exact landmarks."""

from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from datamodules.crop import landmark_box
from datamodules.face_dataset import FaceDataset
from datamodules.face_generator.landmarks import landmarks
from datamodules.face_generator.parameters import SUBSETS, Domain, FaceParameters, subsets
from datamodules.face_generator.render import render
from datamodules.face_generator.sampling import sample_parameters
from datamodules.faces import Faces
from datamodules.landmark_data import LandmarkDataModule
from datamodules.markup import WFLW_98
from datamodules.transforms import Image

PICTURE = 1.25  # its side in sides of the crop, which shows two thirds of it: the crop enlarges a pixel to 1.2
LOOSE = 0.12  # the provided box leaves up to this share of its side free at each edge, as a detector's does


class GeneratedFaces(Faces):
    """Faces each of which has a picture of its own, whose pixels are as many as the size of the crop asks for."""

    def identity(self, row: int) -> int:
        """The face's place in its split, which is the same at any size."""
        return int(self.line[row]) - 1


class SyntheticFaces(LandmarkDataModule):
    """Faces drawn from a 3-D model in the WFLW-98 markup, with WFLW's six subsets and true visibility.

    A face is a function of ``faces_seed``, split and index alone, so a smaller dataset is the beginning of a larger
    one. Every face is another person. As in WFLW, the jaw's far side follows the visible outline of a turned face.

    Args:
        num_train: faces for training and validation.
        num_test: faces for testing.
        domain: ``photo``, or ``infrared``: a grey wide-angle camera close to the face and lit from beside the lens.
        faces_seed: of the faces; another one is another dataset.
        size: side of the crop; pictures are 1.25 times as large.
        box: ``provided-1.2`` is a loose rectangle round the landmarks, ``landmarks-1.2`` the tight one.
        options: see `LandmarkDataModule`.
    """

    subset_names = SUBSETS

    def __init__(
        self,
        num_train: int = 10_000,
        num_test: int = 1_000,
        domain: Domain = "photo",
        faces_seed: int = 0,
        size: int = 128,
        box: str = "provided-1.2",
        **options: Any,
    ) -> None:
        super().__init__(WFLW_98, size=size, box=box, **options)
        for key, value in (("num_train", num_train), ("num_test", num_test)):
            if value < 1:
                raise ValueError(f"data.init_args.{key} is {value}, expected at least 1")
        if domain not in get_args(Domain):
            raise ValueError(f"data.init_args.domain is '{domain}', expected one of: {', '.join(get_args(Domain))}")
        self.count = {"train": num_train, "test": num_test}
        self.domain, self.faces_seed = domain, faces_seed

    @property
    def title(self) -> str:
        """What a test result was measured on."""
        return f"generated faces ({self.domain})"

    def parameters(self, split: str, index: np.ndarray) -> FaceParameters:
        """What the faces at these places of a split look like."""
        return sample_parameters((self.faces_seed, ("train", "test").index(split)), index, self.domain)

    def load(self, split: str) -> Faces:
        """Landmarks, boxes and subsets of a split; no face is drawn."""
        index = np.arange(self.count[split])
        parameters = self.parameters(split, index)
        places, visible = landmarks(parameters)
        points = places * self.canvas - 0.5
        names = np.array([f"{self.domain}/{split}/{i}" for i in index])
        return GeneratedFaces(
            source=Path(f"generated faces, {self.domain}, {split}"),
            line=index + 1,
            image=names,
            landmarks=points,
            visible=visible,
            box=loose_boxes(landmark_box(points), parameters.box),
            subsets=subsets(parameters),
            photograph=names,
        )

    def dataset(self, faces: Faces) -> FaceDataset:
        """Crops of faces that are drawn when they are asked for."""
        parameters = self.parameters(str(faces.image[0]).split("/")[1], faces.line - 1)
        return self.crops(faces, partial(_draw, parameters, self.canvas))  # not a closure: workers may be sent it

    @property
    def canvas(self) -> int:
        """Side of a picture in pixels."""
        return round(PICTURE * self.size)


def _draw(parameters: FaceParameters, size: int, row: int) -> Image:
    return render(parameters[row], size)


def loose_boxes(tight: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Boxes (M, 4) with up to `LOOSE` of the longer side to spare at each edge, by ``draws`` (M, 4) from 0 to 1."""
    side = (tight[:, 2:] - tight[:, :2]).max(axis=1, keepdims=True)
    return tight + draws * LOOSE * side * [-1, -1, 1, 1]
