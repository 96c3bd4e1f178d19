"""Checkpoint files: what is kept of a run, written so that a killed process leaves no half of one."""

import errno
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

MONITOR = "val/nme"  # the best checkpoint is the one where this is lowest
BEST, LAST = "best.ckpt", "last.ckpt"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint on the CPU, its tensors read when they are looked at.

    Raises:
        ValueError: it is damaged, or no checkpoint of this suite.
    """
    return _load(path, mmap=True)


def epochs_done(checkpoint: Mapping[str, Any]) -> int:
    """How many epochs had ended when a checkpoint was written; one may have been under way."""
    return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])


def _load(path: Path, mmap: bool) -> dict[str, Any]:
    try:
        # Plain numbers, strings and tensors only: a checkpoint from elsewhere cannot run code.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:
        if isinstance(error, OSError) and error.filename:
            raise  # the file cannot be opened at all
        reason = "is cut off or no checkpoint at all"
        if "Unsupported global" in str(error):
            reason = "holds objects of Python, not just plain values and tensors"
        raise ValueError(f"{path}: not a readable checkpoint, it {reason}; give another --ckpt_path") from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ValueError(f"{path}: not a checkpoint, it has no state_dict; give another --ckpt_path")
    return content


class CheckpointFiles(CheckpointIO):
    """Writes beside the file and renames, so that a file is whole or not there.

    Lightning's own goes through the system's temporary folder, and moving from there to another disk is a copy that
    can break off.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            OSError: it cannot be written, mostly for want of space; the one before is left as it was.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())  # or else a machine that goes down may keep the new name and no content
            partial.replace(path)
        except (OSError, RuntimeError) as error:  # torch's writer names neither file nor reason
            reason = _write_error(path.parent, error)
            partial.unlink(missing_ok=True)
            kept = "the one before is kept" if path.is_file() else "there is none yet"
            raise OSError(
                f"{path}: {reason}; {kept}. Make room, or mend the disk, and continue with --resume"
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint, on the CPU and of plain values whatever is asked."""
        return _load(Path(path), mmap=False)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


def _write_error(folder: Path, error: Exception) -> str:
    """Why a file could not be written to a folder."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return os.strerror(errno.ENOSPC) if shutil.disk_usage(folder).free < 2**20 else str(error).splitlines()[0]


class BestAndLast(Checkpoint):
    """Keeps the checkpoint of the lowest validation error and that of the last finished epoch.

    Lightning's ModelCheckpoint keeps its last file only of epochs that improve, and forgets the best one when a run's
    folder has moved.

    Args:
        folder: of the two files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.lowest = folder, math.inf

    def on_validation_end(self, trainer: Any, pl_module: LightningModule) -> None:
        """Keep the best."""
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking or trainer.fast_dev_run:
            return
        if MONITOR not in trainer.callback_metrics:
            raise ValueError(
                f"validation logged no {MONITOR}, which decides on the best checkpoint; it logged: "
                f"{', '.join(trainer.callback_metrics) or 'nothing'}"
            )
        score = float(trainer.callback_metrics[MONITOR])
        best = ", the lowest so far" if score < self.lowest else ""
        pl_module.print(f"epoch {trainer.current_epoch}: {MONITOR} {score:.3f}{best}")
        if best:
            self.lowest = score
            trainer.save_checkpoint(self.folder / BEST)

    def on_train_epoch_end(self, trainer: Any, pl_module: LightningModule) -> None:
        """Keep the last, which a run resumes from."""
        if not trainer.fast_dev_run:
            trainer.save_checkpoint(self.folder / LAST)

    def state_dict(self) -> dict[str, Any]:
        """The lowest error so far."""
        return {"lowest": self.lowest}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on comparing with it."""
        self.lowest = state_dict["lowest"]
