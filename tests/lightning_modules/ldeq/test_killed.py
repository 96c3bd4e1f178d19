"""A run of LDEQ killed with -9 in the middle of an epoch of its implicit gradient."""

import csv
import signal
import time
from pathlib import Path

import torch
import yaml

from tests.experiment import output_of, run, start, weights, write_experiment

WIDTHS = {"injection_width": 8, "width": 8, "width_step": 4, "depth": 1}


def test_a_run_killed_in_its_implicit_phase_and_resumed_ends_as_an_uninterrupted_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path, max_epochs=4, callbacks=[{"class_path": "tests.experiment.WaitToBeKilled"}])
    options = {"num_landmarks": 98, **WIDTHS, "early_epochs": 1}
    model = {"class_path": "lightning_modules.ldeq.LDEQ", "init_args": options}
    Path("ldeq.yaml").write_text(yaml.safe_dump({"model": model}))
    words = ("fit", "--config", "tiny.yaml", "--config", "ldeq.yaml")
    killed = start(*words, "--name", "killed", STOP_FILE=str(tmp_path / "now"), OMP_NUM_THREADS="1")
    run(*words, "--name", "whole")
    deadline = time.monotonic() + 240
    while not (tmp_path / "now").exists() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    output = output_of(killed)
    assert (tmp_path / "now").exists(), output
    last = torch.load("runs/killed/checkpoints/last.ckpt", weights_only=True)
    assert (last["epoch"], last["global_step"]) == (1, 8)  # two steps of epoch 2 are lost
    run("fit", "--name", "killed", "--resume")
    assert Path("runs/killed/metrics.csv").read_text() == Path("runs/whole/metrics.csv").read_text()
    with Path("runs/whole/metrics.csv").open(newline="") as file:
        solved = {row["epoch"] for row in csv.DictReader(file) if row["train/backward_residual"]}
    assert solved == {"1", "2", "3"}  # it was killed where equilibria are differentiated implicitly
    for file in ("last.ckpt", "best.ckpt"):
        whole, resumed = weights("runs/whole", file), weights("runs/killed", file)
        assert all(torch.equal(whole[key], resumed[key]) for key in whole)
