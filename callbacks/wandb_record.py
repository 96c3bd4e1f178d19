"""What a training tells Weights & Biases beside its metrics: which is best, the code's version, its checkpoints."""

from pathlib import Path
from typing import Any

import wandb
from lightning import Callback, LightningModule
from lightning.pytorch.loggers import WandbLogger

from callbacks.checkpoints import BEST, LAST, MONITOR
from callbacks.report.environment import ROOT, code_version
from callbacks.run_folder import RunFolder

LOWER = (MONITOR, "val/fr10", "val/residual")
HIGHER = ("val/auc10",)


class WandbRecord(Callback):
    """Names the best of each metric in the run's summary, notes the code's version, and uploads checkpoints if asked.

    Args:
        run: the run's folder.
        checkpoints: whether best.ckpt and last.ckpt become an artifact at the end, with the aliases best and last.
    """

    def __init__(self, run: RunFolder, checkpoints: bool) -> None:
        self.run, self.checkpoints = run, checkpoints

    def on_train_start(self, trainer: Any, pl_module: LightningModule) -> None:
        """Define the summary and note the version."""
        for run in _runs(trainer):
            for names, best in ((LOWER, "min"), (HIGHER, "max")):
                for name in names:
                    run.define_metric(name, step_metric="trainer/global_step", summary=best)
            run.config.update({"code": code_version(ROOT)}, allow_val_change=True)

    def on_fit_end(self, trainer: Any, pl_module: LightningModule) -> None:
        """Upload the checkpoints."""
        files = [path for name in (BEST, LAST) if (path := self.run.checkpoint(name)).is_file()]
        for run in _runs(trainer) if self.checkpoints else []:
            for path in files:
                run.log_artifact(_artifact(self.run.name, path), aliases=[path.stem])


def _artifact(name: str, path: Path) -> Any:
    artifact = wandb.Artifact(f"{name}-{path.stem}", type="checkpoint")
    artifact.add_file(str(path))
    return artifact


def _runs(trainer: Any) -> list[Any]:
    """W&B's runs, on the process that has them."""
    if not trainer.is_global_zero:
        return []
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, WandbLogger)]
