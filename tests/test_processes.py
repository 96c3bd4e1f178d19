"""Training on two processes through the command line."""

import csv
import re
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml

from tests.drawn_faces import write_csv
from tests.experiment import QUIET, output_of, start, weights, write_experiment

TWO = ("--trainer.devices=2", "--trainer.strategy=ddp", *QUIET)


def told_by(*words):
    process = start(*words, OMP_NUM_THREADS="1", PYTHONPATH=str(Path.cwd()))
    output = output_of(process)
    assert process.returncode == 0, output
    return output


def fit(name, *words):
    return told_by("fit", "--config", "tiny.yaml", "--name", name, *TWO, *words)


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


def test_two_processes_test_ldeq_as_one_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path)
    write_csv(tmp_path / "faces", train=24, test=7)  # odd: one face is tested by both processes, and counts once
    options = {"num_landmarks": 98, "injection_width": 8, "width": 8, "width_step": 4, "depth": 1, "early_epochs": 1}
    model = {"class_path": "lightning_modules.ldeq.LDEQ", "init_args": options}
    Path("ldeq.yaml").write_text(yaml.safe_dump({"model": model}))
    told = fit("ldeq", "--config", "ldeq.yaml")
    tables, numbers = [], []
    for devices in (TWO, QUIET):
        output = told_by("test", "--name", "ldeq", *devices)
        told += output
        tables.append(re.search(r"^ full .*$", output, re.MULTILINE)[0])
        numbers.append({file.name: file.read_text() for file in Path("runs/ldeq/test").glob("*.csv")})
    assert tables[0].split()[:2] == ["full", "7"]
    assert tables[0] == tables[1]
    assert set(numbers[0]) == set(numbers[1])
    for name in numbers[0]:
        assert as_numbers(numbers[0][name]) == pytest.approx(as_numbers(numbers[1][name]), rel=1e-4, abs=1e-4)
    with Path("runs/ldeq/metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(0 < float(row["val/residual"]) < 1 for row in rows if row["val/nme"])
    assert {row["epoch"] for row in rows if row["train/backward_residual"]} == {"1"}
    assert "sync_dist" not in told  # no advice that is wrong here


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


def as_numbers(table):
    """The numbers in a CSV file, in order."""
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?", table)]


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
