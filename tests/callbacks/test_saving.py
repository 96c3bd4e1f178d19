"""Trainings that are asked to save and end in the middle of an epoch, and go on later."""

import csv
import os
import signal
from pathlib import Path

import pytest
import torch
from lightning import Callback

from callbacks import signals
from callbacks.signals import Stopped
from tests.every_method import METHODS, THOROUGH, write_training
from tests.experiment import QUIET, output_of, run, start, weights, write_experiment


class Ask(Callback):
    """Asks where the environment says, ``ASK=<epoch> <batch> <rank>``; a batch of -1 is before the training."""

    def ask(self, trainer, batch):
        if os.environ.get("ASK") == f"{trainer.current_epoch} {batch} {trainer.global_rank}":
            if "BY_SIGNAL" in os.environ:
                os.kill(os.getpid(), int(os.environ["BY_SIGNAL"]))
            else:
                signals.REQUEST.signum = signal.SIGUSR1

    def setup(self, trainer, pl_module, stage):
        self.ask(trainer, -1)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.ask(trainer, batch_idx)


ASKING = [{"class_path": f"{__name__}.Ask"}]


@pytest.fixture(autouse=True)
def forgotten(monkeypatch, tmp_path):
    """Work in a folder of its own, without a request."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signals.REQUEST, "signum", 0)
    monkeypatch.setattr(signals.REQUEST, "possible", False)


def asked(monkeypatch, at, *words):
    """Train, be asked, and forget it again; the exit status."""
    with monkeypatch.context() as patch:
        patch.setenv("ASK", f"{at} 0")
        patch.setattr(signals.REQUEST, "signum", 0)
        with pytest.raises(Stopped) as end:
            run("fit", *words)
    return end.value.code


def rows(name):
    """The rows of a run's metrics, without what is a mean over an epoch's batches."""
    with Path("runs", name, "metrics.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if not is_mean(key)} for row in csv.DictReader(file)]


def is_mean(key):
    return key.startswith("train/")


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=pytest.mark.thorough) if name in THOROUGH else name for name in METHODS]
)
def test_a_training_saved_in_an_epoch_ends_as_an_uninterrupted_one(tmp_path, monkeypatch, capsys, method):
    write_training(tmp_path, method, callbacks=ASKING)
    run("fit", "--config", "every.yaml", "--name", "whole")
    first = "1 1" if method.endswith("SelfTraining") else "0 2"
    assert asked(monkeypatch, first, "--config", "every.yaml", "--name", "parts") == signals.AGAIN
    assert f"run parts keeps what it has done of epoch {first[0]}; continue it" in capsys.readouterr().err
    assert asked(monkeypatch, "2 0", "--name", "parts", "--resume") == signals.AGAIN
    run("fit", "--name", "parts", "--resume")
    assert same(weights("runs/whole"), weights("runs/parts"))
    assert same(weights("runs/whole", "best.ckpt"), weights("runs/parts", "best.ckpt"))
    assert rows("whole") == rows("parts")


def test_every_row_of_the_metrics_is_there_but_for_means_of_the_epoch(tmp_path, monkeypatch):
    write_experiment(tmp_path, max_epochs=2, callbacks=ASKING)
    run("fit", "--config", "tiny.yaml", "--name", "whole")
    asked(monkeypatch, "1 1", "--config", "tiny.yaml", "--name", "parts")
    run("fit", "--name", "parts", "--resume")
    whole, parts = (Path("runs", name, "metrics.csv").read_text().splitlines() for name in ("whole", "parts"))
    assert len(whole) == len(parts)
    assert sum(one != other for one, other in zip(whole, parts, strict=True)) == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_the_optimiser_finishes_its_step_first(tmp_path, monkeypatch, workers):
    write_experiment(tmp_path, max_epochs=2, callbacks=ASKING, accumulate_grad_batches=2)
    words = ("--config", "tiny.yaml", f"--data.init_args.num_workers={workers}")
    run("fit", *words, "--name", "whole")
    asked(monkeypatch, "1 0", *words, "--name", "parts")
    saved = torch.load("runs/parts/checkpoints/last.ckpt", weights_only=True)
    assert saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["processed"] == 2
    run("fit", "--name", "parts", "--resume")
    assert same(weights("runs/whole"), weights("runs/parts"))


def test_after_the_last_batch_the_epoch_ends_first(tmp_path, monkeypatch):
    write_experiment(tmp_path, max_epochs=2, callbacks=ASKING)
    with monkeypatch.context() as patch:
        patch.setenv("ASK", "1 3 0")
        run("fit", "--config", "tiny.yaml")  # the end of the epoch is that of the training
    assert torch.load("runs/tiny/checkpoints/last.ckpt", weights_only=True)["global_step"] == 8


def test_asked_before_it_begins_it_ends_at_once_and_begins_later(tmp_path, monkeypatch, capsys):
    write_experiment(tmp_path, max_epochs=1, callbacks=ASKING)
    words = ("--config", "tiny.yaml", "--resume", "auto")
    assert asked(monkeypatch, "0 -1", *words) == signals.AGAIN
    assert "run tiny keeps no epoch yet; continue it" in capsys.readouterr().err
    assert not Path("runs/tiny/checkpoints").exists()
    assert run("fit", *words).trainer.global_step == 4


def test_diverged_weights_are_not_saved(tmp_path, monkeypatch, capsys):
    write_experiment(tmp_path, max_epochs=2, callbacks=ASKING, log_every_n_steps=50)
    run("fit", "--config", "tiny.yaml", "--trainer.max_epochs=1")
    before = weights("runs/tiny")

    def diverged(self, batch, batch_idx):
        return sum(parameter.sum() for parameter in self.parameters()) * float("nan")

    monkeypatch.setattr("tests.tiny.Tiny.training_step", diverged)
    monkeypatch.setenv("ASK", "1 1 0")
    with pytest.raises(SystemExit) as end:
        run("fit", "--name", "tiny", "--resume", "--trainer.max_epochs=2")
    assert end.value.code == 1
    assert "training diverged" in capsys.readouterr().err
    assert same(before, weights("runs/tiny"))


@pytest.mark.parametrize(
    ("signum", "job", "status"),
    [
        (signal.SIGUSR1, False, signals.AGAIN),
        pytest.param(signal.SIGTERM, True, 128 + signal.SIGTERM, marks=pytest.mark.thorough),
    ],
)
def test_a_signal_asks(tmp_path, signum, job, status):
    write_experiment(tmp_path, max_epochs=2, callbacks=ASKING)
    environment = {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1", "ASK": "1 1 0", "BY_SIGNAL": str(int(signum))}
    if job:
        environment |= {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "bash"}  # an interactive one: Lightning starts processes
    process = start("fit", "--config", "tiny.yaml", *QUIET, **environment)
    output = output_of(process)
    assert process.returncode == status, output
    assert f"stopped by {signum.name}; run tiny keeps what it has done of epoch 1; continue it with: " in output
    assert torch.load("runs/tiny/checkpoints/last.ckpt", weights_only=True)["global_step"] == 6


@pytest.mark.thorough
def test_processes_end_after_the_same_batch(tmp_path):
    write_experiment(tmp_path, max_epochs=3, callbacks=ASKING)
    words = ("--config", "tiny.yaml", "--data.init_args.batch_size=1", "--trainer.devices=2", *QUIET)
    environment = {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def fit(*more, **asked):
        process = start("fit", *words, *more, **environment, **asked)
        return process, output_of(process)

    whole, told = fit("--name", "whole")
    assert whole.returncode == 0, told
    parts, told = fit("--name", "parts", ASK="1 3 1", BY_SIGNAL=str(int(signal.SIGUSR1)))  # the second process alone
    assert parts.returncode == signals.AGAIN, told
    assert told.count("run parts keeps what it has done of epoch") == 1
    assert "Traceback" not in told
    again, told = fit("--name", "parts", "--resume")
    assert again.returncode == 0, told
    assert same(weights("runs/whole"), weights("runs/parts"))
    assert rows("whole") == rows("parts")
