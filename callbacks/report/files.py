"""The files of a run, read with a sentence for whatever is wrong with them."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Points = list[tuple[float, float]]

TEXT = ("subset", "normalizer", "box", "image", "annotation")  # columns that hold no numbers


def read_metrics(path: Path) -> tuple[dict[str, Points], int, list[str]]:
    """The series in metrics.csv, the number of epochs begun, and sentences on lines that are left out.

    Raises:
        ValueError: it is not there, or has no column ``step``.
    """
    text = read_text(path, "fit writes it")
    rows = csv.reader(text.splitlines())
    columns = next(rows, [])
    if "step" not in columns:
        raise ValueError(f"{path} has the columns {', '.join(columns) or 'none'}, expected one called step")
    series: dict[str, Points] = {name: [] for name in columns if name not in ("epoch", "step")}
    epochs, complaints, lines = 0, [], text.count("\n")
    for number, cells in enumerate(rows, 2):
        if number > lines or len(cells) != len(columns):
            torn = "is cut off, as a killed process leaves it; --resume mends the file"
            found = f"has {len(cells)} values, expected {len(columns)}"
            complaints.append(f"{path.name}: line {number} {torn if number >= lines else found}. It is left out.")
            continue
        try:
            values = {name: float(cell) for name, cell in zip(columns, cells, strict=True) if cell}
            step = values.pop("step")
            epochs = max(epochs, int(values.pop("epoch", -1)) + 1)
        except (ValueError, KeyError, OverflowError):
            complaints.append(f"{path.name}: line {number} holds something that is no number. It is left out.")
            continue
        for name, value in values.items():
            series[name].append((step, value))
    return {name: points for name, points in series.items() if points}, epochs, complaints


def read_rows(path: Path, needed: Sequence[str], text: Sequence[str] = TEXT) -> list[Row]:
    """A table of numbers, and of text in some columns.

    Raises:
        ValueError: names the line and the column.
    """
    reader = csv.DictReader(read_text(path, "test writes it").splitlines())
    if lacking := [column for column in needed if column not in (reader.fieldnames or [])]:
        raise ValueError(f"{path} has no column {lacking[0]}")
    rows: list[Row] = []
    for row in reader:
        for column, value in row.items():
            if column in text and value:
                continue
            try:
                row[column] = float(value)  # None where a line is too short
            except (TypeError, ValueError):
                where = f"{path}: line {reader.line_num}: {column}"
                raise ValueError(f"{where} is {value!r}, expected a number; run test again") from None
        rows.append(dict(row))
    if not rows:
        raise ValueError(f"{path} holds no rows")
    return rows


def read_json(path: Path) -> dict[str, Any]:
    """A mapping in JSON.

    Raises:
        ValueError: it is none.
    """
    try:
        return mapping(path, json.loads(read_text(path, "test writes it")))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: line {error.lineno}: not readable as JSON") from None


def mapping(path: Path, content: Any) -> dict[str, Any]:
    """The content of a file, which has to be a mapping."""
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {content!r:.40}, expected a mapping")
    return content


def read_text(path: Path, how: str) -> str:
    """The text of a file; ``how`` says how one gets it.

    Raises:
        ValueError: it is not there, or no text.
    """
    if not path.is_file():
        raise ValueError(f"{path.name} is not there ({how})")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is not readable as text") from None
