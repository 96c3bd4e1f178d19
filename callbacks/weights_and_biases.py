"""Weights & Biases beside metrics.csv: online for who is logged in, offline for everyone else, never a prompt."""

import os
import re
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import WandbLogger

from callbacks.run_folder import RunFolder, note
from callbacks.wandb_account import has_key, out_of_reach


def wandb_logger(run: RunFolder, project: str, settings: Mapping[str, Any]) -> WandbLogger:
    """A logger that continues the W&B run of this name; its files are in the run's folder.

    Args:
        run: the run's folder.
        project: W&B's project.
        settings: the resolved config.
    """
    run.path.mkdir(parents=True, exist_ok=True)  # W&B would write to the temporary folder otherwise
    return WandbLogger(
        project=project,
        name=run.name,
        id=os.environ.get("WANDB_RUN_ID") or re.sub(r"[^\w.-]", "-", run.name),  # a sweep has chosen one
        save_dir=run.path.absolute(),  # W&B's own process may have begun in another folder
        resume="allow",
        mode=wandb_mode(),
        config=dict(settings),
        allow_val_change=True,
    )


def wandb_runs(trainer: Any) -> list[Any]:
    """W&B's runs, on the process that has them."""
    if not trainer.is_global_zero:
        return []
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, WandbLogger)]


def wandb_mode() -> str:
    """``WANDB_MODE`` if set; else online where a key and the server are found, else offline."""
    if mode := os.environ.get("WANDB_MODE"):
        return mode
    why = out_of_reach()
    if why and has_key():
        note(f"W&B: {why}; logging offline, upload later with wandb sync")
    return "offline" if why else "online"
