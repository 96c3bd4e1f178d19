"""Small trainings on generated faces with labels and infrared ones without, run through the real command line."""

import os
import shutil
import signal
from pathlib import Path

import torch
import yaml
from lightning import Callback
from lightning.pytorch.callbacks import Checkpoint

from datamodules.synthetic import SyntheticFaces

TASKS = [128, 64, 32]  # four rounds


def synthetic(**options):
    """Config of generated faces."""
    init = {"num_train": 16, "num_test": 2, "size": 128, "batch_size": 4, "num_workers": 0, **options}
    return {"class_path": "datamodules.synthetic.SyntheticFaces", "init_args": init}


def infrared(**options):
    """Config of the others."""
    return synthetic(domain="infrared", **{"num_train": 7, **options})


def make(config):
    """The datamodule of such a config."""
    return SyntheticFaces(**config["init_args"])


def write_mixed(folder: Path, model="SelfTraining", data=None, trainer=None, **options) -> Path:
    """``mixed.yaml`` in ``folder``: a method of PIPNet's folder, eight epochs, which are four rounds of two."""
    init = {"num_landmarks": 98, "backbone": "test_resnet", "pretrained": False, "lr": 1e-3, **options}
    if model == "SelfTraining":
        init.setdefault("tasks", TASKS)
    mixture = {"labelled": synthetic(validation_fraction=0.25), "unlabelled": [infrared()], "ratio": 0.5}
    config = {
        "model": {"class_path": f"lightning_modules.pipnet.{model}", "init_args": init},
        "data": data or {"class_path": "datamodules.mixture.Mixture", "init_args": mixture},
        "trainer": {"max_epochs": 8, "accelerator": "cpu", "log_every_n_steps": 1, **(trainer or {})},
    }
    path = folder / "mixed.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


class Died(BaseException):
    """What a process that is killed does not get to see."""


class Die(Callback):
    """Ends the training where the environment says, ``DIE_AT=<epoch> <moment>``; by SIGKILL in a process of its own."""

    def die(self, trainer, moment):
        if os.environ.get("DIE_AT") == f"{trainer.current_epoch} {moment}":
            if "KILL" in os.environ:
                os.kill(os.getpid(), signal.SIGKILL)
            raise Died

    def on_train_epoch_start(self, trainer, pl_module):
        self.die(trainer, "start")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == 1:
            self.die(trainer, "middle")


class DieBeforeLast(Die, Checkpoint):
    """Called after the module's own hook, as `BestAndLast` is, and before it."""

    def on_train_epoch_end(self, trainer, pl_module):
        self.die(trainer, "end")


class Witness(Checkpoint):
    """Keeps what each rank has at the first batch and at the end of each epoch, and who wrote pseudo-labels.

    Further the checkpoint of the epoch before, and of each batch how many faces are others and how many of these have
    pseudo-labels.
    """

    def on_fit_start(self, trainer, pl_module):
        data, write = trainer.datamodule, trainer.datamodule.write_pseudo_labels

        def witnessed(path, *labels):
            with Path("written").open("a") as file:
                file.write(f"rank {trainer.global_rank} {path.name}\n")
            write(path, *labels)

        data.write_pseudo_labels = witnessed

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 0:
            self.keep(trainer, pl_module, "start")
            last = Path(trainer.default_root_dir, "checkpoints/last.ckpt")
            if trainer.is_global_zero and last.exists():
                shutil.copy(last, f"start_{trainer.current_epoch}.ckpt")
        taught = batch["landmarks"][~batch["labelled"]].isfinite().all(dim=(1, 2))
        with Path(f"taught_{trainer.global_rank}").open("a") as file:
            file.write(f"{trainer.current_epoch} {len(taught)} {int(taught.sum())}\n")

    def on_train_epoch_end(self, trainer, pl_module):
        self.keep(trainer, pl_module, "end")

    def keep(self, trainer, pl_module, moment):
        torch.save(pl_module.state_dict(), f"{moment}_{trainer.current_epoch}_{trainer.global_rank}.pt")
