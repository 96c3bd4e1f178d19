"""Tables and pictures that one method alone has, as `lightning_modules.further` describes them."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from callbacks.report.charts import TONES, Axis, Chart, Line, axis_of, draw
from callbacks.report.data_uri import data_uri
from callbacks.report.files import Row, read_rows
from lightning_modules.further import Curves


@dataclass(frozen=True)
class FurtherFiles:
    """What there is of them, by name."""

    tables: dict[str, list[Row]] = field(default_factory=dict)
    pictures: dict[str, Path] = field(default_factory=dict)


def check_further(path: Path, about: dict[str, Any]) -> None:
    """Refuse a test's ``.json`` whose tables or pictures are not as test writes them."""
    for key, words in (("tables", ("title", "note", "listed", "curves")), ("pictures", ("title", "note"))):
        for name, one in about[key].items():
            if not isinstance(one, dict) or any(word not in one for word in words):
                raise ValueError(f"{path}: {key}: {name} is {one!r:.40}, expected {', '.join(words)}")
    for name, table in about["tables"].items():
        try:
            _curves(table)
        except TypeError:
            raise ValueError(f"{path}: tables: {name}: curves is {table['curves']!r:.40}, run test again") from None


def read_further(table: Path, about: dict[str, Any]) -> tuple[FurtherFiles, list[str]]:
    """The files beside a test's table, and sentences on those that cannot be shown."""
    found, missing = FurtherFiles(), []
    for name, one in about.get("tables", {}).items():
        curves = _curves(one)
        needed, text = (curves.across, *curves.columns), tuple(one.get("text", [curves.by] if curves.by else []))
        try:
            found.tables[name] = read_rows(table.with_name(f"{table.stem}_{name}.csv"), needed, text)
        except ValueError as error:
            missing.append(f"{one['title']} is missing: {' '.join(str(error).split())}.")
    for name, one in about.get("pictures", {}).items():
        file = table.with_name(f"{table.stem}_{name}.png")
        try:
            with Image.open(file) as image:
                image.verify()
            found.pictures[name] = file
        except (OSError, SyntaxError, UnidentifiedImageError):
            missing.append(f"{one['title']} is missing: {file.name} is not there, or not readable as an image.")
    return found, missing


@dataclass(frozen=True)
class ShownTable:
    """A table on the page; without columns the chart alone."""

    title: str
    note: str
    chart: Chart
    columns: list[str]
    cells: list[list[str]]


@dataclass(frozen=True)
class ShownPicture:
    """A picture on the page."""

    title: str
    note: str
    source: str  # a data URI


def further_table(about: dict[str, Any], rows: list[Row]) -> ShownTable:
    """What the page shows of a table: with ``x ±``, ``x low`` and ``x high`` in the cells of column ``x``."""
    columns = table_columns(rows[0]) if about["listed"] else []
    cells = [[table_cell(row, column) for column in columns] for row in rows]
    return ShownTable(about["title"], about["note"], _chart(_curves(about), rows), columns, cells)


def further_picture(about: dict[str, Any], file: Path) -> ShownPicture:
    """What the page shows of a picture."""
    with Image.open(file) as image:
        return ShownPicture(about["title"], about["note"], data_uri(image.convert("RGB")))


def _curves(about: dict[str, Any]) -> Curves:
    return Curves(**about["curves"])


def table_columns(row: Row) -> list[str]:
    """The columns of a table, less those that are told in the cells of another one."""
    told = {f"{column} {word}" for column in row for word in ("±", "low", "high")}
    return [column for column in row if column not in told]


def table_cell(row: Row, column: str) -> str:
    """A cell's text, with the spread or the interval of its number."""
    value = row[column]
    if isinstance(value, str) or not math.isfinite(value):
        return str(value)
    interval = (f"{column} low", f"{column} high")
    if all(end in row for end in interval):
        ends = [number_text(row[end]) for end in interval]
        return number_text(value) + (f" ({' to '.join(ends)})" if len({*ends, number_text(value)}) > 1 else "")
    spread = row.get(f"{column} ±", 0)
    whole = value == int(value) and f"{column} ±" not in row
    return f"{value:.0f}" if whole else number_text(value) + (f" ± {spread:.2f}" if spread else "")


def number_text(value: float) -> str:
    """Two places, none of large numbers, two digits of small ones."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2g}" if 0 < abs(value) < 0.1 else f"{value:.2f}"


def _chart(curves: Curves, rows: list[Row]) -> Chart:
    groups = dict.fromkeys(str(row[curves.by]) for row in rows) if curves.by else {"": None}
    lines: list[Line] = []
    for group in groups:
        members = [row for row in rows if not curves.by or row[curves.by] == group]
        for column in curves.columns:
            points = [(row[curves.across], row[column]) for row in members]
            label = " ".join(part for part in (group, column if len(curves.columns) > 1 else "") if part)
            lines.append(Line(label, points, f"run{len(lines) % TONES}"))
    across = [row[curves.across] for row in rows]
    dots = [(x, y, "", line.tone) for line in lines for x, y in line.points] if curves.dots else []
    single = min(across) == max(across)  # as of one video, or of a video of one frame
    whole = Axis(curves.axis, min(across), max(across), log=curves.log and min(across) > 0)
    x = _about(curves.axis, across) if curves.dots or single else whole
    y = _about(curves.unit, _heights(lines)) if curves.dots or curves.level else axis_of(curves.unit, lines)
    return draw("", lines, x, y, height=400, marks=dots)


def _heights(lines: list[Line]) -> list[float]:
    return [y for line in lines for _, y in line.points]


def _about(title: str, values: list[float]) -> Axis:
    """An axis that holds these values and some more."""
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    room = 0.12 * (max(finite) - min(finite)) or 0.1 * abs(finite[0]) or 1.0
    return Axis(title, min(finite) - room, max(finite) + room)
