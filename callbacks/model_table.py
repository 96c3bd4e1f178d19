"""The parts of a model, printed at the beginning of a training."""

from typing import Any

from lightning.pytorch.callbacks import ModelSummary
from lightning.pytorch.utilities.model_summary.model_summary import get_human_readable_count
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


class ModelTable(ModelSummary):
    """Lightning's summary in a table that fits 80 columns: name, type and number of parameters of what has some."""

    @staticmethod
    def summarize(
        summary_data: list[tuple[str, list[str]]], total_parameters: int, trainable_parameters: int, *_: Any, **__: Any
    ) -> None:
        """Print it."""
        columns = dict(summary_data)
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for heading in ("part", "type"):
            table.add_column(heading)
        table.add_column("parameters", justify="right")
        for name, kind, count in zip(columns["Name"], columns["Type"], columns["Params"], strict=True):
            if count.strip() != "0":  # metrics and the like
                table.add_row(name, kind, count.strip())
        fixed = total_parameters - trainable_parameters
        table.add_section()
        table.add_row("all", f"{_count(fixed)} of them are not trained" if fixed else "", _count(total_parameters))
        Console().print(table)


def _count(number: int) -> str:
    return str(get_human_readable_count(number)).strip()
