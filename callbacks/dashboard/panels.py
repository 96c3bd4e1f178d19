"""Panels of a workspace of Weights & Biases, as this suite needs them."""

from typing import Any

import wandb_workspaces.reports.v2 as wr

STEP = "trainer/global_step"  # Lightning's, and not how often W&B was called


def over_steps(title: str, *metrics: str, log: bool = False) -> Any:
    """Lines of metrics over the training's steps."""
    return wr.LinePlot(title=title, x=STEP, y=list(metrics), log_y=log or None)


def matching_over_steps(title: str, pattern: str) -> Any:
    """Lines of the metrics whose names match a regular expression."""
    return wr.LinePlot(title=title, x=STEP, metric_regex=pattern)


def bars(title: str, *metrics: str) -> Any:
    """A bar for each run and metric."""
    return wr.BarPlot(title=title, metrics=list(metrics))


def dots(title: str, across: str, up: str) -> Any:
    """A dot for each run."""
    return wr.ScatterPlot(title=title, x=across, y=up)


def pictures(title: str, key: str, columns: int) -> Any:
    """Pictures of each run."""
    return wr.MediaBrowser(title=title, media_keys=[key], num_columns=columns)


def table(key: str) -> Any:
    """A table of each run."""
    return wr.WeavePanelSummaryTable(table_name=key)


def drawn(key: str, chart: Any) -> Any:
    """A chart that runs have logged.

    Args:
        key: what it was logged as.
        chart: such a chart, of `callbacks.wandb_charts.chart`.
    """
    of_run = dict.fromkeys(("id", "name", "_defaultColorIndex"))  # as W&B itself asks for it
    return wr.CustomChart(
        query={**of_run, "summaryTable": {"tableKey": f"{key}_table"}},
        chart_name=chart.spec.spec_name,
        chart_fields=chart.spec.fields,
        chart_strings=chart.spec.string_fields,
    )
