"""The user's own images with landmarks in a CSV file."""

from pathlib import Path
from typing import Any

import numpy as np

from datamodules.annotation_table import BOX_COLUMNS, AnnotationTable, landmark_columns, read_csv
from datamodules.faces import Faces
from datamodules.landmark_data import ROOT, LandmarkDataModule, data_root
from datamodules.markup_file import load_markup


class CSVLandmarks(LandmarkDataModule):
    """Images and one CSV a split, with a header line and one face a line.

    Columns: ``file``, then ``x0, y0, x1, y1, ...`` in pixels (the centre of the top-left pixel is (0, 0)). Optional:
    ``identity`` (faces that share one are never split between training and validation; without it each file is its
    own), ``left, top, right, bottom`` (a box, for ``box: provided-1.2``) and ``v0, v1, ...`` (1 visible, 0 not).
    Other columns are ignored. A file is looked up beside its CSV and in the folder there that has the CSV's name.

    Args:
        root: folder of the CSV files.
        markup: name or YAML file of the landmark scheme.
        train: CSV of training faces, below ``root``.
        test: CSV of test faces, below ``root``.
        options: see `LandmarkDataModule`.
    """

    def __init__(
        self, root: Path, markup: str, train: str = "train.csv", test: str = "test.csv", **options: Any
    ) -> None:
        super().__init__(load_markup(markup), **options)
        self.root = data_root(root)
        self.files = {"train": train, "test": test}

    @property
    def title(self) -> str:
        """Folder and file tested on."""
        return f"{self.root.resolve().name} {Path(self.files['test']).stem}"

    @property
    def train_title(self) -> str:
        """Folder and file trained on."""
        return f"{self.root.resolve().name} {Path(self.files['train']).stem}"

    def load(self, split: str) -> Faces:
        """Read a CSV; see the class for its columns, and `Faces` and `annotation_table` for what is refused."""
        return read_faces(
            self.root / self.files[split],
            self.annotated.num_landmarks,
            f"set data.init_args.root to the folder of the CSV files, and data.init_args.{split} to a file in it "
            f"{ROOT}",
        )


def read_faces(path: Path, num_landmarks: int, remedy: str) -> Faces:
    """The faces of a CSV file.

    Raises:
        FileNotFoundError, ValueError: a column is missing or one too many, or as in `annotation_table` and `Faces`.
    """
    table = read_csv(path, remedy)
    points = landmark_columns(num_landmarks)
    seen = [f"v{i}" for i in range(num_landmarks)]
    _check_columns(table, points, seen)
    files = table.text("file")
    return Faces(
        source=path,
        line=np.array(table.line),
        image=np.array([str(_image_path(path, file)) for file in files]),
        landmarks=table.numbers(points).reshape(-1, num_landmarks, 2),
        visible=table.flags(seen) if seen[0] in table.columns else np.ones((len(table), num_landmarks), bool),
        box=table.numbers(BOX_COLUMNS) if BOX_COLUMNS[0] in table.columns else np.full((len(table), 4), np.nan),
        subsets=np.zeros((len(table), 0), bool),
        photograph=np.array(table.text("identity") if "identity" in table.columns else files),
    )


def _check_columns(table: AnnotationTable, points: list[str], seen: list[str]) -> None:
    where, count = f"{table.path}: line 1", len(seen)
    if "file" not in table.columns:
        raise ValueError(f"{where} has no column 'file', expected names of columns with commas between them")
    for name in points:
        if name not in table.columns:
            raise ValueError(
                f"{where} has no column '{name}', but the markup has {count} landmarks (x0, y0 to x{count - 1}, "
                f"y{count - 1}); set data.init_args.markup to the scheme of this file"
            )
    for name in (f"x{count}", f"y{count}", f"v{count}"):
        if name in table.columns:
            raise ValueError(
                f"{where} has a column '{name}', but the markup has {count} landmarks, numbered from 0; "
                "set data.init_args.markup to the scheme of this file"
            )
    for group in (seen, BOX_COLUMNS):
        missing = [name for name in group if name not in table.columns]
        if 0 < len(missing) < len(group):
            raise ValueError(f"{where} has no column '{missing[0]}', expected all of {group[0]} to {group[-1]} or none")


def _image_path(path: Path, file: str) -> Path:
    """Beside the CSV, or in the folder there that has the CSV's name."""
    beside, folder = path.parent / file, path.with_suffix("")
    return beside if beside.is_file() or not folder.is_dir() else folder / file
