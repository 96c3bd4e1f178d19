"""The user's own images with landmarks in a CSV file: the smallest datamodule, and the one to copy for a new dataset."""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.faces import Faces, LandmarkDataModule
from datamodules.markup import load_markup
from datamodules.transforms import Augmentation

BOX_COLUMNS = ("left", "top", "right", "bottom")


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
        size, box, normalizer, batch_size, num_workers, validation_fraction, augmentation, seed: see
            `LandmarkDataModule`.
    """

    def __init__(
        self,
        root: Path,
        markup: str,
        train: str = "train.csv",
        test: str = "test.csv",
        size: int = 256,
        box: str = "landmarks-1.2",
        normalizer: str | None = None,
        batch_size: int = 16,
        num_workers: int = 2,
        validation_fraction: float = 0.1,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        scheme = load_markup(markup)
        super().__init__(
            scheme, size, box, normalizer, batch_size, num_workers, validation_fraction, augmentation, seed
        )
        self.root = Path(root)
        self.files = {"train": train, "test": test}

    @property
    def title(self) -> str:
        """Folder and file tested on."""
        return f"{self.root.resolve().name} {Path(self.files['test']).stem}"

    def load(self, split: str) -> Faces:
        """Read a CSV; see the class for its columns, and `Faces` for what is refused."""
        path = self.root / self.files[split]
        if not self.root.is_dir():
            raise FileNotFoundError(
                f"folder {self.root} not found; set data.init_args.root to the folder of {path.name}"
            )
        if not path.is_file():
            raise FileNotFoundError(f"{path} not found; set data.init_args.{split} to a CSV file below {self.root}")
        return read_faces(path, self.markup.num_landmarks)


def read_faces(path: Path, num_landmarks: int) -> Faces:
    """The faces of a CSV file.

    Raises:
        ValueError: a column is missing, a line is short or long, a cell is not a number, or as in `Faces`.
    """
    columns: dict[str, list[Any]] = {key: [] for key in ("line", "image", "landmarks", "visible", "box", "photograph")}
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        header = [name.strip() for name in next(reader, [])]
        points = [f"{axis}{i}" for i in range(num_landmarks) for axis in "xy"]
        for name in ("file", *points):
            if name not in header:
                raise ValueError(
                    f"{path}: line 1 has no column '{name}', expected 'file' and x0, y0 to "
                    f"x{num_landmarks - 1}, y{num_landmarks - 1}"
                )
        if f"x{num_landmarks}" in header:
            raise ValueError(
                f"{path}: line 1 has a column 'x{num_landmarks}', but the markup has {num_landmarks} landmarks; "
                "set data.init_args.markup to the scheme of this file"
            )
        place = {name: i for i, name in enumerate(header)}
        seen = [f"v{i}" for i in range(num_landmarks)]
        for cells in reader:
            where = f"{path}: line {reader.line_num}"
            if not cells:
                continue
            if len(cells) != len(header):
                raise ValueError(f"{where} has {len(cells)} cells, expected {len(header)} as in the header")

            def numbers(names: Any, cells: list[str] = cells, where: str = where) -> list[float]:
                return [_number(cells[place[name]], where, name) for name in names]

            image = path.parent / cells[place["file"]]
            if not image.is_file():
                image = path.with_suffix("") / cells[place["file"]]
            columns["line"].append(reader.line_num)
            columns["image"].append(str(image))
            columns["landmarks"].append(np.array(numbers(points)).reshape(-1, 2))
            columns["visible"].append(
                np.array(numbers(seen)) != 0 if seen[0] in place else np.ones(num_landmarks, bool)
            )
            columns["box"].append(numbers(BOX_COLUMNS) if set(BOX_COLUMNS) <= place.keys() else [math.nan] * 4)
            columns["photograph"].append(cells[place["identity"]] if "identity" in place else str(image))
    if not columns["line"]:
        raise ValueError(f"{path}: no faces found, expected at least one line below the header")
    arrays = {key: np.array(values) for key, values in columns.items()}
    return Faces(source=path, subsets=np.zeros((len(arrays["line"]), 0), bool), **arrays)


def _number(cell: str, where: str, column: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"{where}, column {column}: '{cell}' is not a number") from None
