"""metrics.csv: everything a run logs. Unlike Lightning's CSVLogger it neither deletes nor mixes what is there."""

import csv
from collections.abc import Mapping
from math import isnan
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers.logger import Logger

FIRST = ("epoch", "step")


class MetricsCSV(Logger):
    """One row each time something is logged; a column for every metric, empty where a row has none of it or it is NaN.

    A row is on disk once it is logged, so a killed process loses none.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.columns: list[str] = []

    @property
    def name(self) -> str:
        """Of the run."""
        return self.path.parent.name

    @property
    def version(self) -> str:
        """Runs have no versions: each has a folder of its own."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.path.parent)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a row."""
        row = {"step": step, **{key: value for key, value in metrics.items() if not isnan(value)}}
        if not self.columns and self.path.is_file():
            self.columns = self._read()[0]
        if new := set(row).difference(self.columns):
            rows = self._read()[1] if self.path.is_file() else []
            self.columns = [*FIRST, *sorted((new | set(self.columns)).difference(FIRST))]
            self._write(rows)
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.columns).writerow(row)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: config.yaml beside it has them."""

    @rank_zero_only
    def keep_before(self, step: int) -> None:
        """Drop the rows of this step and later ones, and a row that a killed process left unfinished."""
        if self.path.is_file():
            self.columns, rows = self._read()
            self._write([row for row in rows if None not in row.values() and int(row["step"]) < step])

    def _read(self) -> tuple[list[str], list[dict[str, Any]]]:
        with self.path.open(newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            return list(reader.fieldnames or []), rows

    def _write(self, rows: list[dict[str, Any]]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(rows)
        partial.replace(self.path)
