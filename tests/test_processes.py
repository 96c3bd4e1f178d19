"""Training on two processes through the command line."""

import csv
import os
import re
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml
from lightning import Callback

from tests.experiment import QUIET, ROOT, output_of, start, weights, write_experiment
from tests.tiny import Tiny

TWO = ("--trainer.devices=2", "--trainer.strategy=ddp", *QUIET)


def told_by(*words):
    process = start(*words, OMP_NUM_THREADS="1", PYTHONPATH=str(Path.cwd()))
    output = output_of(process)
    assert process.returncode == 0, output
    return output


def fit(name, *words):
    return told_by("fit", "--config", "tiny.yaml", "--name", name, *TWO, *words)


@pytest.mark.thorough
def test_two_processes_train_and_resume(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path)
    fit("whole", "--trainer.max_epochs=2")
    fit("halves", "--trainer.max_epochs=1")
    output = fit("halves", "--trainer.max_epochs=2", "--resume")
    assert output.count("trainer.max_epochs: 1 -> 2") == 1  # told once
    assert Path("runs/whole/metrics.csv").read_text() == Path("runs/halves/metrics.csv").read_text()
    whole, halves = weights("runs/whole"), weights("runs/halves")
    assert all(torch.equal(whole[key], halves[key]) for key in whole)
    last = torch.load("runs/halves/checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 2 * (17 // 2 // 4)  # of 24 faces 17 train; each process has batches of 4


@pytest.mark.thorough
def test_a_progress_bar_does_not_keep_the_other_process_waiting(tmp_path, monkeypatch):
    """Rank 0 alone has one, and PIPNet logs means of an epoch over the ranks, which a bar asks for."""
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path)
    model = {"num_landmarks": 98, "backbone": "test_resnet", "pretrained": False}
    class_path = "lightning_modules.pipnet.PIPNet"
    Path("pip.yaml").write_text(yaml.safe_dump({"model": {"class_path": class_path, "init_args": model}}))
    bar = ("--trainer.enable_progress_bar=true", "--data.init_args.size=64")
    output = fit("bar", "--config", "pip.yaml", *bar)
    assert "train/loss" in output  # a bar that shows it
    with Path("runs/bar/metrics.csv").open(newline="") as file:
        assert any(row["train/neighbour"] for row in csv.DictReader(file))


def test_sigterm_to_the_first_process_ends_all_of_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path, max_epochs=10_000)
    words = ("fit", "--config", "tiny.yaml", "--data.init_args.num_workers=1", *TWO)
    process = start(*words, OMP_NUM_THREADS="1", PYTHONPATH=str(Path.cwd()))
    last, deadline = Path("runs/tiny/checkpoints/last.ckpt"), time.monotonic() + 240
    while not last.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    if not last.exists():
        raise AssertionError(output_of(process, timeout=0))
    process.send_signal(signal.SIGTERM)
    output = output_of(process)
    assert process.returncode == 143, output
    assert output.count("stopped by SIGTERM; run tiny keeps its last finished epoch; continue it with: ") == 1
    assert "Traceback" not in output
    assert torch.load(last, weights_only=True)["global_step"] > 0


class Diverge(Callback):
    """Spoils the loss of a batch of the second process, the fifth."""

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        pl_module.spoilt = trainer.global_rank == 1 and trainer.global_step == 3


class Spoilt(Tiny):
    """A loss that is NaN where `Diverge` says so."""

    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) * (float("nan") if getattr(self, "spoilt", False) else 1)


@pytest.mark.thorough
def test_a_loss_that_is_nan_in_one_process_is_told_by_the_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path, callbacks=[{"class_path": f"{__name__}.Diverge"}], max_epochs=3, log_every_n_steps=50)
    words = ("--config", "tiny.yaml", "--model", f"{__name__}.Spoilt", "--model.init_args.num_landmarks=98")
    process = start("fit", *words, *TWO, OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))
    output = output_of(process)
    assert process.returncode == 1, output
    assert set(re.findall(r"the loss of epoch (\d), batch (\d) is nan", output)) == {("2", "0")}
    assert "runs/tiny/diverged-1.pt has the batch" in output
    kept = torch.load("runs/tiny/diverged-1.pt", weights_only=True)
    assert (kept["epoch"], kept["batch_idx"]) == (2, 0)
    assert not Path("runs/tiny/diverged-0.pt").exists()


class Fail(Callback):
    """Fails in one of the processes, ``FAIL=<rank>``."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.current_epoch == 1 and os.environ["FAIL"] == str(trainer.global_rank):
            raise ValueError("the drawer is empty; fill it")


@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=pytest.mark.thorough)])
def test_a_process_that_fails_ends_all_of_them_with_its_own_message(tmp_path, monkeypatch, rank):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path, max_epochs=10_000, callbacks=[{"class_path": f"{__name__}.Fail"}])
    process = start("fit", "--config", "tiny.yaml", *TWO, OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT), FAIL=str(rank))
    output = output_of(process)  # which waits for both
    assert process.returncode == 1
    assert output.count("error: the drawer is empty; fill it") == 1
    assert "Traceback" not in output
    if rank:
        assert "error: another process of this run has failed, and its own message says why" in output
