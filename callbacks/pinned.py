"""What every run has, whatever ``callbacks:`` in a config says."""

from typing import Any

from lightning import Callback
from lightning.pytorch.callbacks import LearningRateMonitor

from callbacks.arguments import Arguments
from callbacks.changed_options import ChangedOptions
from callbacks.checkpoints import BestAndLast
from callbacks.device import Device
from callbacks.divergence import StopOnDivergence
from callbacks.metrics_csv import MetricsCSV
from callbacks.predictions import Predictions
from callbacks.results import Results
from callbacks.run_folder import RunFolder, RunRecord
from callbacks.run_report import RunReport
from callbacks.step_seed import StepSeed
from callbacks.stopping import Stopping


def pinned_callbacks(
    run: RunFolder, arguments: Arguments, settings: dict[str, Any], metrics: MetricsCSV
) -> list[Callback]:
    """The callbacks of a subcommand, in the order they are called."""
    always = [Stopping(run), Device()]
    if arguments.subcommand == "test":
        return [*always, Results(run), RunReport(run)]
    if arguments.subcommand == "predict":
        return [*always, Predictions(run)]
    if arguments.subcommand != "fit":
        return always
    seed = settings["seed_everything"]
    return [
        RunRecord(run, arguments, settings, metrics),
        *always,
        *([] if seed is False else [StepSeed(seed)]),
        StopOnDivergence(),
        ChangedOptions(),
        LearningRateMonitor(logging_interval="step"),
        BestAndLast(run.path / "checkpoints"),
        RunReport(run),
    ]
