"""What one method measures beside what is measured of all: tables and pictures of a test, for files and the report."""

from dataclasses import dataclass, field
from typing import Any

from PIL import Image


@dataclass(frozen=True)
class Curves:
    """How a report draws a table: columns over a column.

    Args:
        across: the column that the others are drawn over.
        columns: those that are drawn.
        axis: what ``across`` is, with its unit.
        unit: of the columns.
        by: a column of text; each value of it has curves of its own.
        log: whether ``across`` has a logarithmic axis.
        dots: whether each row is a dot, and neither axis begins at zero.
        level: whether the axis of the columns need not begin at zero.
    """

    across: str
    columns: tuple[str, ...]
    axis: str
    unit: str
    by: str | None = None
    log: bool = False
    dots: bool = False
    level: bool = False


@dataclass(frozen=True)
class Table:
    """A table of a test.

    Args:
        title: heading in the report.
        note: what its numbers mean, in a sentence or two.
        rows: by column, text or numbers; all have the same columns. ``x ±`` is the spread of a column ``x``, ``x low``
            and ``x high`` are the ends of its interval.
        curves: how it is drawn.
        listed: whether the report shows the numbers too.
        printed: columns that the command line prints.
    """

    title: str
    note: str
    rows: list[dict[str, Any]]
    curves: Curves
    listed: bool = True
    printed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A picture of a test.

    Args:
        title: heading in the report.
        note: what is to be seen.
        image: the picture.
    """

    title: str
    note: str
    image: Image.Image


@dataclass(frozen=True)
class Further:
    """Tables and pictures by the names that their files end in."""

    tables: dict[str, Table] = field(default_factory=dict)
    pictures: dict[str, Picture] = field(default_factory=dict)
