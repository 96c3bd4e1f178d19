"""What a training tells Weights & Biases beside its metrics: the best validation, the code's version, checkpoints."""

import math
import re
from pathlib import Path
from typing import Any

import wandb
from lightning import Callback, LightningModule

from callbacks.checkpoints import BEST, LAST
from callbacks.report.environment import ROOT, code_version
from callbacks.report.files import read_metrics
from callbacks.run_folder import RunFolder
from callbacks.weights_and_biases import wandb_runs

OF_BEST = ("nme", "fr10", "auc10")  # the first is what `MONITOR` means


class WandbRecord(Callback):
    """Logs what the best validation of the whole run found, notes the code's version, and uploads checkpoints if asked.

    W&B's own minimum of a metric begins anew where a run is resumed; this one is that of best.ckpt.

    Args:
        run: the run's folder.
        checkpoints: whether best.ckpt and last.ckpt become an artifact at the end, with the aliases best and last.
    """

    def __init__(self, run: RunFolder, checkpoints: bool) -> None:
        self.run, self.checkpoints = run, checkpoints
        self.lowest = math.inf

    def on_train_start(self, trainer: Any, pl_module: LightningModule) -> None:
        """Note the version, and what was best before the run was resumed."""
        before = self._best_before()
        self.lowest = before.get("best/nme", math.inf)
        for run in wandb_runs(trainer):
            run.config.update({"code": code_version(ROOT)}, allow_val_change=True)
            if before:
                run.log(before)

    def _best_before(self) -> dict[str, float]:
        logged = read_metrics(self.run.metrics)[0] if self.run.metrics.is_file() else {}
        series = {name: dict(logged.get(f"val/{name}", [])) for name in OF_BEST}
        errors = series[OF_BEST[0]]
        if not errors:
            return {}
        step = min(errors, key=lambda step: errors[step])
        found = {f"best/{name}": values[step] for name, values in series.items() if step in values}
        return {"trainer/global_step": step, **found}

    def on_validation_end(self, trainer: Any, pl_module: LightningModule) -> None:
        """Log a validation that is the best so far."""
        found = {name: trainer.callback_metrics.get(f"val/{name}") for name in OF_BEST}
        error = found[OF_BEST[0]]
        if trainer.sanity_checking or error is None or not error < self.lowest:
            return
        self.lowest = float(error)
        for run in wandb_runs(trainer):
            run.log({f"best/{name}": float(value) for name, value in found.items() if value is not None})

    def on_fit_end(self, trainer: Any, pl_module: LightningModule) -> None:
        """Upload the checkpoints."""
        files = [path for name in (BEST, LAST) if (path := self.run.checkpoint(name)).is_file()]
        for run in wandb_runs(trainer) if self.checkpoints else []:
            for path in files:
                run.log_artifact(_artifact(self.run.name, path), aliases=[path.stem])


def _artifact(name: str, path: Path) -> Any:
    artifact = wandb.Artifact(f"{re.sub('[^A-Za-z0-9_.-]', '-', name)}-{path.stem}", type="checkpoint")
    artifact.add_file(str(path))
    return artifact
