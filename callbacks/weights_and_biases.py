"""Weights & Biases beside metrics.csv: online for who is logged in, offline for everyone else, never a prompt."""

import os
import re
import secrets
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from callbacks.run_folder import RunFolder, note
from callbacks.wandb_account import has_key, out_of_reach


def wandb_logger(run: RunFolder, project: str, settings: Mapping[str, Any]) -> WandbLogger:
    """A logger that continues this run in W&B; its files are in the run's folder.

    Args:
        run: the run's folder.
        project: W&B's project.
        settings: the resolved config of a training; nothing of what only measures it.

    Raises:
        UsageError: another process is training the run, whose metrics these would be mixed with.
    """
    if settings and _first():
        run.lock()
    run.path.mkdir(parents=True, exist_ok=True)  # W&B would write to the temporary folder otherwise
    return WandbLogger(
        project=project,
        name=run.name,
        id=os.environ.get("WANDB_RUN_ID") or _identity(run),  # a sweep has chosen one
        save_dir=run.path.absolute(),  # W&B's own process may have begun in another folder
        resume="allow",
        mode=wandb_mode(),
        config=dict(settings),
        allow_val_change=True,
    )


def _identity(run: RunFolder) -> str | None:
    """The run's id in W&B: its name and letters drawn once, so that another run of this name is another there too."""
    if not _first():
        return None
    file = run.path / ".wandb_id"
    if not file.is_file():
        file.write_text(f"{re.sub('[^A-Za-z0-9_.-]', '-', run.name)}-{secrets.token_hex(3)}")
    return file.read_text()


def _first() -> bool:
    """Whether this is the process that logs; it is asked before there is a trainer."""
    return not getattr(rank_zero_only, "rank", 0)


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
