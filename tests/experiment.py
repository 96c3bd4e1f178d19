"""A small experiment on drawn faces, run through the real command line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning import Callback

from cli import LandmarkCLI, main
from tests.drawn_faces import write_csv

ROOT = Path(__file__).parents[1]
QUIET = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")


def write_experiment(folder: Path, **trainer) -> Path:
    """``tiny.yaml`` in ``folder``: `tests.tiny.Tiny` on 24 drawn faces, two epochs of four steps."""
    data = {"root": str(write_csv(folder / "faces", train=24, test=6)), "markup": "wflw-98", "size": 32}
    config = {
        "model": {"class_path": "tests.tiny.Tiny", "init_args": {"num_landmarks": 98}},
        "data": {
            "class_path": "datamodules.csv_landmarks.CSVLandmarks",
            "init_args": {**data, "batch_size": 4, "num_workers": 0, "validation_fraction": 0.3},
        },
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "log_every_n_steps": 1, **trainer},
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def write_method(folder: Path, class_path: str, options: dict[str, Any]) -> str:
    """Another method's ``tiny.yaml``, on images of 64 pixels and named after its class; the file's name."""
    path = write_experiment(folder)
    config = yaml.safe_load(path.read_text())
    config |= {"name": class_path.rpartition(".")[2], "model": {"class_path": class_path, "init_args": options}}
    config["data"]["init_args"]["size"] = 64
    path.write_text(yaml.safe_dump(config))
    return path.name


def run(subcommand: str, *words: str) -> LandmarkCLI:
    """The command line in this process, from the current directory."""
    return main([subcommand, *words, *QUIET])


def start(*words: str, **environment: str) -> "subprocess.Popen[str]":
    """The command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), *words],
        env={**os.environ, "PYTHONFAULTHANDLER": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def output_of(process: "subprocess.Popen[str]", timeout: float = 240) -> str:
    """What a process of `start` and those that it has started tell, once none of them holds the pipe any more.

    Raises:
        AssertionError: they do not end in time, with what they told and where each of them stands.
    """
    try:
        return process.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired:
        for pid in [*descendants(process.pid), process.pid]:
            os.kill(pid, signal.SIGABRT)  # the handler of faults tells the lines that its threads are at
        raise AssertionError(process.communicate(timeout=20)[0]) from None


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    children = [int(pid) for file in Path(f"/proc/{pid}/task").glob("*/children") for pid in file.read_text().split()]
    return [*children, *(grandchild for child in children for grandchild in descendants(child))]


def weights(run_folder: str, file: str = "last.ckpt") -> dict[str, torch.Tensor]:
    """The weights in a checkpoint of a run."""
    return torch.load(Path(run_folder, "checkpoints", file), weights_only=True)["state_dict"]


class WaitToBeKilled(Callback):
    """Stops in the middle of epoch 2 where the environment asks for it, and says so by making a file."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if "STOP_FILE" in os.environ and trainer.current_epoch == 2 and batch_idx == 1:
            Path(os.environ["STOP_FILE"]).touch()
            time.sleep(120)


class StopAfterEpoch(Callback):
    """Ends the training after the epoch that the environment names, as if no more time were left."""

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        if os.environ.get("STOP_AFTER_EPOCH") == str(trainer.current_epoch):
            trainer.should_stop = True


class KeepWeights(Callback):
    """Writes the weights that each rank ends a training with."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_fit_end(self, trainer, pl_module) -> None:
        self.folder.mkdir(exist_ok=True)
        torch.save(pl_module.state_dict(), self.folder / f"{trainer.global_rank}.pt")
