"""WFLW (Wu et al. 2018, arXiv:1805.10483): 7,500 training and 2,500 test faces with 98 landmarks and six attributes."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from datamodules.annotation_table import BOX_COLUMNS, landmark_columns, read_list
from datamodules.faces import Faces
from datamodules.markup import WFLW_98
from datamodules.published_data import PublishedData

ATTRIBUTES = ("pose", "expression", "illumination", "makeup", "occlusion", "blur")  # in the order of paper and lists
COLUMNS = (*landmark_columns(WFLW_98.num_landmarks), *BOX_COLUMNS, *ATTRIBUTES, "image")  # 207


class WFLW(PublishedData):
    """WFLW as it is published: ``WFLW_images`` and ``WFLW_annotations``, several faces an image.

    The lists do not say where their pixels begin; coordinates are used as they are, so (0, 0) is the centre of the
    top-left pixel. Every landmark is annotated, so ``visible`` is False only outside the crop. The subsets are the
    six attributes in the lists.

    Args:
        root: folder that holds ``WFLW_images`` and ``WFLW_annotations``.
        box: ``provided-1.2`` is the rectangle of the lists, as a detector might give it; ``landmarks-1.2`` is LDEQ's,
            HIH's and PFLD's: the test then knows the tight box of the true landmarks, and scores better for it.
        and the rest: see `PublishedData`.
    """

    subset_names = ATTRIBUTES
    annotated = WFLW_98
    published: ClassVar[Mapping[str, int]] = {"train": 7500, "test": 2500}
    holds, prepared_as = "WFLW_images and WFLW_annotations", "wflw"

    def load(self, split: str) -> Faces:
        """Read one of the two lists; see `Faces` and `annotation_table` for what is refused."""
        path = self.root / f"WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{split}.txt"
        table = read_list(path, COLUMNS, self.remedy)
        names = table.text("image")
        return Faces(
            source=path,
            line=np.array(table.line),
            image=np.array([str(self.root / "WFLW_images" / name) for name in names]),
            landmarks=table.numbers(COLUMNS[:196]).reshape(-1, WFLW_98.num_landmarks, 2),
            visible=np.ones((len(table), WFLW_98.num_landmarks), bool),
            box=table.numbers(BOX_COLUMNS),
            subsets=table.flags(ATTRIBUTES),
            photograph=np.array(names),
        )
