"""Annotation files as a table of named columns, one face a row; every error names the file, the line and the column."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datamodules.crop import Floats

BOX_COLUMNS = ("left", "top", "right", "bottom")


def landmark_columns(num_landmarks: int) -> list[str]:
    """``x0, y0, x1, y1, ...``."""
    return [f"{axis}{i}" for i in range(num_landmarks) for axis in "xy"]


@dataclass(frozen=True)
class AnnotationTable:
    """The cells of an annotation file.

    Args:
        path: the file, for error sentences.
        columns: their names.
        line: of each row, counted from 1.
        rows: cells of each row, as many as there are columns.
    """

    path: Path
    columns: Sequence[str]
    line: Sequence[int]
    rows: Sequence[Sequence[str]]

    def __len__(self) -> int:
        return len(self.rows)

    def text(self, column: str) -> list[str]:
        """The cells (M) of a column.

        Raises:
            ValueError: a cell is empty.
        """
        place = self.columns.index(column)
        values = [cells[place].strip() for cells in self.rows]
        if "" in values:
            raise ValueError(
                f"{self.path}: line {self.line[values.index('')]}, column {column} is empty, expected text"
            )
        return values

    def numbers(self, columns: Sequence[str]) -> Floats:
        """The cells (M, C) of these columns.

        Raises:
            ValueError: a cell is not a finite number.
        """
        places = [self.columns.index(column) for column in columns]
        values = np.empty((len(self), len(columns)))
        for row, cells in enumerate(self.rows):
            try:
                values[row] = [float(cells[place]) for place in places]
            except ValueError:
                values[row] = [_number_or_nan(cells[place]) for place in places]
        for row, column in np.argwhere(~np.isfinite(values)):
            raise ValueError(
                f"{self.path}: line {self.line[row]}, column {columns[column]} is "
                f"'{self.rows[row][places[column]]}', expected a finite number"
            )
        return values

    def flags(self, columns: Sequence[str]) -> NDArray[np.bool_]:
        """The cells (M, C) of these columns.

        Raises:
            ValueError: a cell is neither 0 nor 1.
        """
        values = self.numbers(columns)
        for row, column in np.argwhere((values != 0) & (values != 1)):
            raise ValueError(
                f"{self.path}: line {self.line[row]}, column {columns[column]} is {values[row, column]:g}, "
                "expected 0 or 1"
            )
        return values == 1


def _number_or_nan(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def read_list(path: Path, columns: Sequence[str], remedy: str, header: int = 0) -> AnnotationTable:
    """A file of cells between spaces; its first ``header`` lines are left out. Blank lines are allowed.

    Raises:
        FileNotFoundError: with ``remedy``, which says what to do.
        ValueError: not text, a short or long line, or no line at all.
    """
    line, rows = [], []
    for number, text in enumerate(_read_text(path, remedy).split("\n"), start=1):
        if number <= header or not (cells := text.split()):
            continue
        if len(cells) != len(columns):
            names = [*columns[:2], "...", columns[-1]] if len(columns) > 3 else columns
            raise ValueError(
                f"{path}: line {number} has {len(cells)} columns, expected {len(columns)} ({', '.join(names)})"
            )
        line.append(number)
        rows.append(cells)
    return _not_empty(AnnotationTable(path, columns, line, rows))


def read_csv(path: Path, remedy: str) -> AnnotationTable:
    """A file of cells between commas, with column names in its first line. Blank lines are allowed.

    Raises:
        FileNotFoundError: with ``remedy``, which says what to do.
        ValueError: not text, a column named twice, a short or long line, a quote that does not end, or no line at all.
    """
    reader = csv.reader(StringIO(_read_text(path, remedy)), strict=True)
    line, rows = [], []
    try:
        columns = [name.strip() for name in next(reader, [])]
        for name in columns:
            if name and columns.count(name) > 1:
                raise ValueError(f"{path}: line 1 names column '{name}' twice, expected each name once")
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(columns):
                raise ValueError(
                    f"{path}: line {reader.line_num} has {len(cells)} cells, expected {len(columns)} as in the header"
                )
            line.append(reader.line_num)
            rows.append(cells)
    except csv.Error as error:
        raise ValueError(
            f"{path}: line {reader.line_num} is not CSV ({error}); look for a lost quotation mark"
        ) from error
    return _not_empty(AnnotationTable(path, columns, line, rows))


def _not_empty(table: AnnotationTable) -> AnnotationTable:
    if not len(table):
        raise ValueError(f"{table.path}: no faces found, expected one a line")
    return table


def _read_text(path: Path, remedy: str) -> str:
    if path.is_dir():
        raise ValueError(f"{path} is a folder, expected a text file; {remedy}")
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found; {remedy}")
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets write a byte-order mark
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}: line {line} is not UTF-8 text; save the file in UTF-8") from error
