"""What every run has, whatever ``callbacks:`` in a config says."""

from pathlib import Path
from typing import Any

from lightning import Callback
from lightning.pytorch.callbacks import LearningRateMonitor

from callbacks.arguments import Arguments, UsageError
from callbacks.changed_options import ChangedOptions
from callbacks.checkpoints import BestAndLast, CheckpointFiles
from callbacks.device import Device
from callbacks.divergence import StopOnDivergence
from callbacks.epoch_metrics import GatherEpochMetrics
from callbacks.last_validation import LastValidation
from callbacks.log_each_epoch import LogEachEpoch
from callbacks.metrics_csv import MetricsCSV
from callbacks.model_table import ModelTable
from callbacks.own_files.predictions import FilePredictions
from callbacks.predictions import Predictions
from callbacks.results import Results
from callbacks.run_folder import RunFolder, RunRecord
from callbacks.run_report import RunReport
from callbacks.saving import SaveOnSignal
from callbacks.slurm.job import job_plugins
from callbacks.step_seed import StepSeed
from callbacks.stopping import Stopping
from callbacks.trained_settings import OtherCrops, result_changes
from callbacks.training_faces import TrainingFaces
from callbacks.validation_table import ValidationTable
from lightning_modules.video.filters import Filter


def pinned_callbacks(
    run: RunFolder,
    arguments: Arguments,
    settings: dict[str, Any],
    metrics: MetricsCSV,
    checkpoint: str | None,
    smoothing: Filter | None,
) -> list[Callback]:
    """The callbacks of a subcommand, in the order they are called; it begins with the weights of ``checkpoint``.

    Raises:
        UsageError: landmarks are to be smoothed where there are no videos of the user's own.
    """
    if smoothing and not (arguments.subcommand == "predict" and arguments.own_files):
        raise UsageError(
            f"--smooth ({smoothing.title}) does nothing in {arguments.subcommand} here: it smooths videos in predict "
            "--data.path FILE; leave it out"
        )
    always: list[Callback] = [Stopping(run), Device(), *([] if arguments.resume else [OtherCrops()])]
    changed = result_changes(Path(checkpoint), settings) if checkpoint and arguments.subcommand != "fit" else {}
    if arguments.subcommand == "test":
        return [*always, Results(run, changed), RunReport(run)]
    if arguments.subcommand == "predict" and arguments.own_files:
        return [*always, FilePredictions(run, changed, smoothing, checkpoint)]
    if arguments.subcommand == "predict":
        return [*always, Predictions(run, changed)]
    if arguments.subcommand == "validate":
        return [*always, ValidationTable(run)]
    if settings["wandb"]:
        from callbacks.wandb_record import WandbRecord  # W&B takes a second to import

        always.append(WandbRecord(run, settings["wandb_checkpoints"]))
    seed, trainer, divergence = settings["seed_everything"], settings["trainer"], StopOnDivergence()
    return [
        GatherEpochMetrics(),
        RunRecord(run, arguments, settings, metrics),
        *always,
        TrainingFaces(),
        *([] if trainer["enable_model_summary"] is False else [ModelTable()]),
        *([] if trainer["log_every_n_steps"] is not None else [LogEachEpoch()]),
        *([] if seed is False else [StepSeed(seed)]),
        divergence,
        LastValidation(),
        ChangedOptions(),
        LearningRateMonitor(logging_interval="step"),
        SaveOnSignal(run, divergence),
        BestAndLast(run.path / "checkpoints"),
        RunReport(run),
    ]


def plugins(trainer: Any) -> list[Any]:
    """How a trainer of these options writes checkpoints, finds its other processes and normalises over them."""
    found = [CheckpointFiles(), *job_plugins()]
    if trainer.sync_batchnorm:
        from callbacks.sync_batchnorm import SyncBatchNorm  # timm takes a second to import

        found.append(SyncBatchNorm(trainer.accelerator))
    return found
