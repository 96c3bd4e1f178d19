"""The sections of the workspace: what every run has, what each method alone logs, and each test."""

from collections.abc import Iterator, Sequence
from typing import Any

import wandb_workspaces.workspaces as ws
from wandb_workspaces.reports.v2 import RunComparer

from callbacks.dashboard.panels import (
    STEP,
    bars,
    dots,
    drawn,
    matching_over_steps,
    over_steps,
    pictures,
    table,
)
from callbacks.dashboard.tested import Drawn, Tested
from callbacks.wandb_charts import ced_curves, chart
from callbacks.wandb_names import folder_of_test, method_numbers, subset_number

BEST = {"NME, %": "best/nme", "FR10, %": "best/fr10", "AUC10": "best/auc10"}  # of `WandbRecord`


def make_workspace(project: str, entity: str, tests: Sequence[Tested]) -> Any:
    """The workspace of a project.

    Args:
        project: of W&B.
        entity: whose it is; may be empty until it is saved.
        tests: that its runs have had.
    """
    return ws.Workspace(
        entity=entity,
        project=project,
        name="Landmarks",
        sections=[overview(), training(), *of_methods(), *map(of_test, tests)],
        settings=ws.WorkspaceSettings(x_axis=STEP),
        runset_settings=ws.RunsetSettings(pinned_columns=[f"summary:{metric}" for metric in BEST.values()]),
    )


def overview() -> Any:
    """Validation, and how runs differ."""
    return ws.Section(
        name="Validation",
        is_open=True,
        panels=[
            over_steps("NME of validation faces, %", "val/nme"),
            over_steps("FR10 of validation faces, %", "val/fr10"),
            over_steps("AUC10 of validation faces", "val/auc10"),
            *(bars(f"{title} of the best validation", metric) for title, metric in BEST.items()),
            RunComparer(diff_only="split"),
        ],
    )


def training() -> Any:
    """What every method logs of its training."""
    return ws.Section(
        name="Training",
        is_open=True,
        panels=[over_steps("Loss", "train/loss", log=True), matching_over_steps("Learning rate", "^lr-")],
    )


def of_methods() -> Iterator[Any]:
    """What each method alone logs; a heatmap network and the baselines of PIPNet's heads have their loss alone."""
    yield ws.Section(
        name="LDEQ: solver",
        panels=[
            over_steps("Relative residual", "val/residual", "train/residual", "train/backward_residual", log=True),
            over_steps("Worst relative residual", "val/worst_residual", "train/worst_residual", log=True),
            over_steps("Iterations", "val/iterations", "train/iterations"),
            over_steps("Share above the tolerance", "val/unconverged", "train/unconverged"),
            bars("Relative residual of the last test", "test/residual", "test/worst_residual"),
            bars("Iterations of the last test", "test/iterations"),
        ],
    )
    yield ws.Section(
        name="PIPNet: parts of the loss",
        panels=[
            over_steps("Scores", "train/score", log=True),
            over_steps("Offsets", "train/offset", log=True),
            over_steps("Neighbours' offsets", "train/neighbour", log=True),
        ],
    )
    yield ws.Section(
        name="PIPNet: self-training",
        panels=[
            over_steps("Round", "train/round"),
            over_steps("Task: stride of the pseudo-labels, pixels", "train/task"),
            over_steps(
                "Confidence of pseudo-labels: mean, least sure tenth", "pseudo/confidence", "pseudo/confidence_low"
            ),
            over_steps("Pseudo-labels moved since the last round, % of the crop's side", "pseudo/moved"),
        ],
    )
    yield ws.Section(
        name="PIPNet: DANN",
        panels=[
            over_steps("Loss of telling domains apart", "train/domain"),
            over_steps("Share of domains told", "train/domain_accuracy"),
            over_steps("Factor of the reversed gradient", "train/reversal"),
        ],
    )
    yield ws.Section(
        name="Two-step discovery",
        panels=[
            over_steps("Step 1: contrastive loss", "train/contrastive"),
            over_steps("Step 2: equivariance loss", "train/equivariance", log=True),
            over_steps("Step 2: diversity loss", "train/diversity"),
            over_steps("Step 2: variance loss", "train/variance"),
            over_steps("Landmarks collapsed", "train/coincident", "train/stuck"),
        ],
    )


def of_test(tested: Tested) -> Any:
    """A test of one or more runs, side by side."""
    at, first = folder_of_test(tested.stem), tested.tests[0]
    panels = [
        bars(title, *(subset_number(tested.stem, subset, column) for subset in tested.subsets))
        for title, column in ((f"NME {first.like.normalizer}, %", "nme"), ("FR10, %", "fr10"), ("AUC10", "auc10"))
    ]
    if first.ced:
        shares = [column for column in first.ced[0] if column != "threshold_percent"]
        panels.append(drawn(f"{at}/ced", chart(first.ced[:1], ced_curves(shares), "CED")))
    panels += [pictures("The worst faces", f"{at}/worst", 4), pictures("Overlays", f"{at}/overlays", 1)]
    panels += [table(f"{at}/subsets"), table(f"{at}/faces")]
    for name, each in tested.tables.items():
        panels += of_table(tested.stem, name, each)
    panels += [pictures(name.replace("_", " "), f"{at}/{name}", 1) for name in tested.pictures]
    return ws.Section(name=f"Test: {tested.stem.replace('_', ' ')}", panels=panels)


def of_table(stem: str, name: str, each: Drawn) -> Iterator[Any]:
    """A table that a method alone has: its chart, its numbers by run where a row is a method, and the table."""
    at, curves, words = f"{folder_of_test(stem)}/{name}", each.curves, name.replace("_", " ")
    drawn_over = f"{curves.unit} over {curves.axis}"
    yield drawn(f"{at}_chart", chart(each.rows, curves, f"{words}: {drawn_over}"))
    if numbers := [key for key, _ in method_numbers(stem, name, curves, each.rows)]:
        yield dots(f"{words}, {each.rows[0][str(curves.by)]}: {drawn_over}, by run", *numbers[:2])
        for column in (curves.across, *curves.columns):
            yield bars(f"{words}: {column}", *(key for key in numbers if key.endswith(f"/{column}")))
    if each.listed:
        yield table(at)
