"""What the numbers, tables and pictures of a test are called in Weights & Biases."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lightning_modules.further import Curves


def wandb_name(text: str) -> str:
    """``provided-1.2`` is ``provided_1_2``: W&B cannot sort by other names, and a dot leads into a mapping there."""
    return re.sub(r"\W", "_", text, flags=re.ASCII)


def folder_of_test(stem: str) -> str:
    """Where a test stands whose files have this stem: ``test/wflw_provided_1_2``."""
    return f"test/{wandb_name(stem)}"


def subset_number(stem: str, subset: str, column: str) -> str:
    """A number of a row of a test's table, such as ``test/wflw_provided_1_2/large_pose/nme``."""
    return f"{folder_of_test(stem)}/{wandb_name(subset)}/{column}"


def method_numbers(
    stem: str, table: str, curves: Curves, rows: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, float]]:
    """What is drawn of a table with a row for each method, such as ``test/.../videos/EMA_0_3/nmf``; none of others."""
    if not (curves.dots and curves.by):
        return
    for row in rows:
        for column in (curves.across, *curves.columns):
            yield (
                f"{folder_of_test(stem)}/{table}/{wandb_name(row[curves.by])}/{wandb_name(column)}",
                float(row[column]),
            )
