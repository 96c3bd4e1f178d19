"""Images of faces without annotation: to find landmarks in, and for methods that learn without labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, default_collate

from datamodules.annotation_table import BOX_COLUMNS, read_csv
from datamodules.crop import box_convention
from datamodules.face_dataset import FaceDataset
from datamodules.faces import Faces
from datamodules.file_index import list_files
from datamodules.landmark_data import ROOT, LandmarkDataModule, data_root
from datamodules.markup import Markup

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
NO_MARKUP = Markup("none", 0, ())
KEYS = ("image", "index", "crop")  # of an `UnlabeledBatch`


class UnlabeledFaces(LandmarkDataModule):
    """The images in a folder and in those below it, or the faces that a CSV lists.

    Batches are of `UnlabeledBatch`. All faces serve training, and all serve prediction, each once and as it is; there
    is nothing to validate or test.

    Args:
        root: folder of the images.
        boxes: CSV below ``root`` with the columns ``file`` (a path from ``root`` on), ``left``, ``top``, ``right`` and
            ``bottom`` in pixels, a line for each face. Without it each image is one face, as wide as its longer side.
        box: None is ``provided-1.2`` where there are boxes and ``image`` where there are not. A model finds landmarks
            best in crops like those it was trained on.
        options: see `LandmarkDataModule`; those of landmarks, validation and test are none of them.
    """

    def __init__(self, root: Path, boxes: str | None = None, box: str | None = None, **options: Any) -> None:
        super().__init__(
            NO_MARKUP,
            box=box or ("provided-1.2" if boxes else "image"),
            normalizer="crop-size",
            validation_fraction=0.5,  # never used
            convert_to=None,
            perturbation=None,
            **options,
        )
        source = box_convention(self.box).source
        if source != ("provided" if boxes else "image"):
            raise ValueError(
                f"data.init_args.box is '{self.box}', but these faces have "
                + ("the boxes of data.init_args.boxes, not landmarks; " if boxes else "neither boxes nor landmarks; ")
                + ("set it to provided-1.2" if boxes else "set it to image, or data.init_args.boxes to a CSV of boxes")
            )
        self.root, self.boxes = data_root(root), boxes

    @property
    def title(self) -> str:
        """The folder."""
        return self.root.resolve().name

    def load(self, split: str) -> Faces:
        """All faces, whatever the split."""
        if self.boxes:
            return read_boxes(self.root / self.boxes, self.root)
        remedy = f"set data.init_args.root to a folder of images {ROOT}"
        files = list_files(self.root, IMAGES, remedy)
        return _faces(self.root, files.path, np.zeros(len(files), int), np.full((len(files), 4), np.nan))

    def dataset(self, faces: Faces) -> FaceDataset:
        """Crops of these faces, whose files have just been listed where there is no CSV."""
        if self.boxes:
            faces.check_images()
        return self.crops(faces)

    def setup(self, stage: str) -> None:
        """Find the faces.

        Raises:
            ValueError: they are to be tested on.
        """
        if stage in ("validate", "test"):
            raise ValueError(
                f"the faces in {self.root} have no landmarks to compare with; use: python cli.py predict, or annotated "
                "data"
            )
        split = "train" if stage == "fit" else "test"
        if split not in self._datasets:
            dataset = self.dataset(self.load(split))
            self.cached([dataset], augmented=stage == "fit")
            self._datasets[split] = dataset

    def val_dataloader(self) -> Any:
        """None: no face has landmarks to compare with."""
        return []

    def _loader(self, dataset: Any, **options: Any) -> DataLoader[Any]:
        return super()._loader(dataset, collate_fn=_without_labels, **options)


def read_boxes(path: Path, root: Path) -> Faces:
    """The faces of a CSV of files and boxes.

    Raises:
        FileNotFoundError, ValueError: a column is missing, or as in `annotation_table` and `Faces`.
    """
    table = read_csv(path, f"set data.init_args.boxes to a CSV in {root}, or leave it out {ROOT}")
    for name in ("file", *BOX_COLUMNS):
        if name not in table.columns:
            raise ValueError(f"{path}: line 1 has no column '{name}', expected file, {', '.join(BOX_COLUMNS)}")
    images = np.array([str(root / file) for file in table.text("file")])
    return _faces(path, images, np.array(table.line), table.numbers(BOX_COLUMNS))


def _faces(source: Path, images: Any, line: Any, box: Any) -> Faces:
    count = len(images)
    nothing = np.zeros((count, 0), bool)
    return Faces(source, line, images, np.zeros((count, 0, 2)), nothing, box, subsets=nothing, photograph=images)


def _without_labels(samples: Sequence[dict[str, Any]]) -> Any:
    return default_collate([{key: sample[key] for key in KEYS} for sample in samples])
