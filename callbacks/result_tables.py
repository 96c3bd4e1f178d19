"""The CSV files of ``test``: what is a row of each."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_modules.metrics import FAILURE_RATES, LANDMARK_THRESHOLDS, failures

MODEL, MEAN_SHAPE = "model", "mean_shape"
NUMBERS = {  # by predictor
    MODEL: ("nme", "fr10", "fr10_landmarks", "auc10", "point_var", *FAILURE_RATES),
    MEAN_SHAPE: ("nme", "fr10", "auc10"),
}
Values = Mapping[str, Mapping[str, Tensor]]  # predictor -> name of a metric -> its value
Row = dict[str, Any]


def members_of(subsets: Tensor) -> list[tuple[int, ...]]:
    """Of each face of a batch, the numbers of the subsets (B, S) that it is in."""
    return [tuple(row.nonzero().flatten().tolist()) for row in subsets]


def subset_row(subset: str, size: int, values: Values) -> Row:
    """The numbers of a subset; ``full`` is all faces."""
    suffix = "" if subset == "full" else f"/{subset}"
    row: Row = {"subset": subset, "faces": size}
    for predictor, metrics in values.items():
        keys = [key for key in NUMBERS[predictor] if key + suffix in metrics]  # validation has no other failure rates
        row |= {_column(predictor, key): round(float(metrics[key + suffix]), 4) for key in keys}
    return row


def curve_rows(tables: Values) -> list[Row]:
    """A row for each threshold, which all curves (P, 2) have in common: shares of faces and of single landmarks."""
    first = next(iter(tables.values()))["ced"]
    columns = {"threshold_percent": [round(at, 4) for at in (100 * first[:, 0]).tolist()]}
    for predictor, values in tables.items():
        for column, key in ((predictor, "ced"), (f"{predictor}_landmarks", "ced_landmarks")):
            columns[column] = [round(share, 6) for share in values[key][:, 1].tolist()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def landmark_rows(tables: Values, mean_face: Tensor | None) -> list[Row]:
    """A row for each landmark: its error and failure rate, and its place (N, 2) on the mean face, in crop sides."""
    values = {predictor: table["landmarks"].tolist() for predictor, table in tables.items()}
    rows: list[Row] = [{"landmark": i} for i in range(len(next(iter(values.values()))))]
    for i, row in enumerate(rows):
        for predictor, table in values.items():
            row |= {_column(predictor, key): round(table[i][k], 4) for k, key in enumerate(("nme", "fr10"))}
        if mean_face is not None:
            row |= {axis: round(share, 5) for axis, share in zip("xy", mean_face[i].tolist(), strict=True)}
    return rows


def face_numbers(errors: Tensor) -> list[dict[str, float]]:
    """Of faces with point errors (B, N) the NME and the shares of landmarks above thresholds, all in percent.

    Means over faces are NME and landmark-wise failure rates of the whole; so one can tell how sure these are.
    """
    columns = {"nme": errors.mean(dim=1)}
    columns |= {name: failures(errors, threshold) for name, threshold in sorted(LANDMARK_THRESHOLDS.items())}
    return [dict(zip(columns, row, strict=True)) for row in torch.stack(list(columns.values()), dim=1).tolist()]


def face_rows(faces: Any, numbers: Mapping[int, Mapping[str, float]]) -> list[Row]:
    """A row for each face (index to its `face_numbers`), the worst first."""
    order = sorted(numbers, key=lambda index: -numbers[index]["nme"])
    found = {index: {key: round(value, 4) for key, value in numbers[index].items()} for index in order}
    return [{"index": i, **found[i], "image": faces.image[i], "annotation": faces.where(i)} for i in order]


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write a table whose columns are those of its first row."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _column(predictor: str, key: str) -> str:
    return key if predictor == MODEL else f"{predictor}_{key}"
