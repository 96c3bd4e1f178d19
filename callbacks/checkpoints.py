"""Checkpoint files: what is kept of a run, written so that a killed process leaves no half of one."""

import errno
import math
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

MONITOR = "val/nme"  # the best checkpoint is the one where this is lowest
BEST, LAST, PREVIOUS = "best.ckpt", "last.ckpt", "previous.ckpt"


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
        raise ValueError(f"{path}: not a readable checkpoint, it {reason}; {_instead(path)}") from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ValueError(f"{path}: not a checkpoint, it has no state_dict; {_instead(path)}")
    if not mmap and (record := _damaged_record(path)):
        raise ValueError(f"{path}: damaged, the checksum of {record} is another; {_instead(path)}")
    return content


def _damaged_record(path: Path) -> str | None:
    """The first record whose content is not as it was written: torch does not look at its checksums."""
    if not zipfile.is_zipfile(path):  # torch's format of before 2020
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


def _instead(path: Path) -> str:
    """What to do where a checkpoint cannot be read."""
    previous = path.with_name(PREVIOUS)
    if path.name != LAST or not previous.is_file():
        return "give another --ckpt_path"
    try:
        done = epochs_done(_load(previous, mmap=False))
    except (ValueError, OSError, KeyError):
        return f"nor is {previous} beside it; begin the run again under another --name"
    return f"delete it, and --resume goes on from {previous.name} beside it, which is whole ({done} epochs done)"


class CheckpointFiles(CheckpointIO):
    """Writes beside the file and renames, so that a file is whole or not there.

    Lightning's own goes through the system's temporary folder, and moving from there to another disk is a copy that
    can break off.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint; of last.ckpt the one before stays beside it as previous.ckpt.

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
        except Exception as error:
            partial.unlink(missing_ok=True)
            if not (reason := _write_error(path.parent, error)):
                raise
            kept = "the one before is kept" if path.is_file() else "there is none yet"
            raise OSError(
                f"{path}: {reason}; {kept}. Make room or mend the disk, and continue with --resume"
            ) from error
        if path.name == LAST and path.is_file():
            _keep(path, path.with_name(PREVIOUS))
        partial.replace(path)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint, on the CPU and of plain values whatever is asked."""
        return _load(Path(path), mmap=False)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


def _write_error(folder: Path, error: Exception) -> str:
    """Why a file could not be written to a folder; nothing where it is not the file system's fault."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, RuntimeError) and "write" in str(error) and shutil.disk_usage(folder).free < 2**20:
        return os.strerror(errno.ENOSPC)  # torch's writer does not say it
    return ""


def _keep(path: Path, name: Path) -> None:
    """Give a file that is about to be replaced another name too; there is no moment at which either is missing."""
    link = name.with_suffix(".partial")
    link.unlink(missing_ok=True)
    try:
        link.hardlink_to(path)
    except OSError:  # some file systems have no links
        shutil.copyfile(path, link)
    link.replace(name)


class BestAndLast(Checkpoint):
    """Keeps the checkpoint of the lowest validation error, that of the last finished epoch and the one before it.

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
