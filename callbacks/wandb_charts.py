"""Tables as Weights & Biases has them, and charts of these such as the report draws."""

from collections.abc import Mapping, Sequence
from typing import Any

import wandb

from lightning_modules.further import Curves

Row = Mapping[str, Any]


def as_table(rows: Sequence[Row]) -> wandb.Table:
    """W&B's table of rows that have the same columns."""
    return wandb.Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])


def ced_curves(columns: Sequence[str]) -> Curves:
    """How a cumulative error distribution is drawn, of the model and of the mean shape, of faces and of landmarks."""
    return Curves("threshold_percent", tuple(columns), "NME, %", "share")


def chart(rows: Sequence[Row], curves: Curves, title: str) -> Any:
    """W&B's chart of a table, such as the report draws."""
    if curves.dots and curves.by:
        return wandb.plot.scatter(as_table(rows), curves.across, curves.columns[0], title=title)
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row[curves.by]) if curves.by else "", []).append(row)
    xs, ys, keys = [], [], []
    for group, own in groups.items():
        for column in curves.columns:
            kept = [(row[curves.across], row[column]) for row in own if row[column] is not None]
            xs.append([x for x, _ in kept])
            ys.append([y for _, y in kept])
            keys.append(" ".join(filter(None, (group, column if len(curves.columns) > 1 or not group else ""))))
    return wandb.plot.line_series(xs, ys, keys=keys, title=title, xname=curves.axis)
