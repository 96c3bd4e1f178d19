"""AFLW with 19 landmarks (Zhu et al. 2016, "Unconstrained face alignment via cascaded compositional learning")."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np

from datamodules.faces import Faces
from datamodules.markup import AFLW_19
from datamodules.matlab_files import read_matlab
from datamodules.published_data import PublishedData

TRAINING_FACES = 20_000


class AFLW(PublishedData):
    """AFLW's 24,386 faces as annotated anew by Zhu et al.: 20,000 for training, 4,386 for testing.

    ``AFLWinfo_release.mat`` has a row a face in ``data`` (19 x, then 19 y), ``mask_new`` (1: visible), ``bbox`` (left,
    right, top, bottom: in this order) and ``nameList``; ``ra`` is a permutation of the rows, counted from 1, and begins
    with the training faces. Hidden landmarks have places too, and as in PIPNet and HRNet they count in the error. The
    file does not say where its pixels begin; coordinates are used as they are, so (0, 0) is the centre of the top-left
    pixel. Sentences count its rows as lines.

    The test subset ``frontal`` has the faces whose landmarks are all visible. The published split knows no photographs:
    faces of one photograph may be on both sides of it.

    NME is divided by ``provided-box``, the longer side of the dataset's own rectangle: HRNet's ``box_size``, which the
    Wasserstein paper calls the width of the face box. PIPNet divides by its crop (``crop-size``), which is that
    rectangle squeezed to a square; FaRL by the rectangle's diagonal. The three numbers are not comparable.

    Args:
        root: folder that holds ``AFLWinfo_release.mat`` and ``data/flickr`` with the folders 0, 2 and 3 of images.
        box: ``provided-1.0`` is PIPNet's, ``landmarks-1.25`` that of HRNet and the Wasserstein loss.
        and the rest: see `PublishedData`.
    """

    subset_names: tuple[str, ...] = ("frontal",)
    annotated = AFLW_19
    usual_box = "provided-1.0"
    usual_normalizer = "provided-box"
    published: ClassVar[Mapping[str, int]] = {"train": TRAINING_FACES, "test": 4386}
    may_share_photographs = "the published split of AFLW knows no photographs"
    holds, prepared_as = "AFLWinfo_release.mat and data/flickr", "aflw"

    def load(self, split: str) -> Faces:
        """Read the rows of one split; see `Faces` and `matlab_files` for what is refused."""
        path = self.root / "AFLWinfo_release.mat"
        table = read_matlab(path, ("bbox", "data", "mask_new", "nameList", "ra"), self.remedy)
        data = table.numbers("data", 38)
        count = len(data)
        box = table.numbers("bbox", 4, count)[:, [0, 2, 1, 3]]
        visible = table.flags("mask_new", 19, count)
        names = np.array(table.text("nameList", count))
        order = table.numbers("ra", 1, count)[:, 0]
        if not np.array_equal(np.sort(order), np.arange(1, count + 1)):
            raise ValueError(f"{path}: ra is not a permutation of 1 to {count}, as the published one is; get it again")
        if count <= TRAINING_FACES:
            raise ValueError(f"{path} has {count} faces, expected {TRAINING_FACES} for training and more; get it again")
        part = slice(TRAINING_FACES) if split == "train" else slice(TRAINING_FACES, None)
        rows = order[part].astype(int) - 1
        return Faces(
            source=path,
            line=rows + 1,
            image=np.array([str(self.root / "data/flickr" / name) for name in names[rows]]),
            landmarks=data[rows].reshape(-1, 2, 19).swapaxes(1, 2),
            visible=visible[rows],
            box=box[rows],
            subsets=visible[rows].all(axis=1, keepdims=True),
            photograph=names[rows],
        )


class AFLWFrontal(AFLW):
    """The same training faces, but of the test faces only the ``frontal`` ones: for CED curves of them alone."""

    subset_names = ()
    published: ClassVar[Mapping[str, int]] = {"train": TRAINING_FACES, "test": 1314}

    @property
    def title(self) -> str:
        """Name of the test faces."""
        return "AFLW frontal"

    def load(self, split: str) -> Faces:
        """Read the rows of one split; see `AFLW`."""
        faces = super().load(split)
        shown = faces if split == "train" else faces.select(faces.subsets[:, 0])
        return replace(shown, subsets=np.zeros((len(shown), 0), bool))
