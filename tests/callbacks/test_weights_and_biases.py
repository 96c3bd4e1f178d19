"""W&B: offline without an account or a network, and what an offline run holds."""

import csv
import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import wandb
from PIL import Image

from callbacks import weights_and_biases
from callbacks.weights_and_biases import wandb_mode
from lightning_modules.drawing import SIDE
from tests.experiment import QUIET, output_of, run, start, write_experiment


@pytest.fixture
def no_account(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return monkeypatch


@pytest.fixture
def server():
    """A port that answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_without_an_account_offline(no_account):
    assert wandb_mode() == "offline"


def test_the_environment_decides(no_account):
    no_account.setenv("WANDB_MODE", "disabled")
    assert wandb_mode() == "disabled"


def test_with_an_account_online_where_the_server_answers(no_account, tmp_path, server):
    no_account.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server}")
    assert wandb_mode() == "offline"
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password secret\n")
    assert wandb_mode() == "online"
    (tmp_path / "netrc").unlink()
    no_account.setenv("WANDB_API_KEY", "x" * 40)
    assert wandb_mode() == "online"


def test_with_an_account_and_no_network_offline_and_said(no_account, server, capsys):
    no_account.setenv("WANDB_API_KEY", "x" * 40)
    no_account.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")
    no_account.setattr(weights_and_biases, "SECONDS", 0.5)
    assert wandb_mode() == "offline"
    assert "127.0.0.1 does not answer; logging offline" in capsys.readouterr().err


def records(folder):
    """What an offline run holds, by kind."""
    tool = Path(sys.executable).with_name("wandb")
    (file,) = folder.glob("run-*.wandb")
    read = subprocess.run([tool, "leet", "inspect", "--json", file], capture_output=True, text=True, check=True)
    found = {}
    for line in read.stdout.splitlines():
        record = json.loads(line)
        found.setdefault(record["type"], []).append(record[record["type"]])
    return found


def wandb_summary(folder):
    """The last value of each key of the summary."""
    summary = {}
    for record in records(folder)["summary"]:
        summary |= record["update"]
    return summary


@pytest.fixture
def experiment(no_account, tmp_path):
    """An experiment to log."""
    no_account.chdir(tmp_path)
    no_account.setenv("WANDB_SILENT", "true")
    write_experiment(tmp_path)
    yield tmp_path
    wandb.finish()


def test_an_offline_run_holds_config_metrics_and_which_is_best(experiment):
    run("fit", "--config", "tiny.yaml", "--config", "wandb", "--wandb_checkpoints=true")
    wandb.finish()
    (folder,) = Path("runs/tiny/wandb").glob("offline-run-*-tiny")
    found = records(folder)
    first = found["run"][0]
    assert first["config"]["update"]["model"]["init_args"]["num_landmarks"] == 98
    assert first["run_id"] == "tiny"
    text = json.dumps(found)
    for name in ("val/nme", "train/loss_step", '"code"', "tiny-best", "tiny-last"):
        assert name in text
    with Path("runs/tiny/metrics.csv").open(newline="") as file:
        lowest = min(float(row["val/nme"]) for row in csv.DictReader(file) if row["val/nme"])
    assert wandb_summary(folder)["val/nme"]["min"] == pytest.approx(lowest)


def test_a_test_shows_faces_curves_and_numbers(experiment):
    run("fit", "--config", "tiny.yaml")
    run("test", "--name", "tiny", "--wandb=landmarks")
    wandb.finish()
    (folder,) = Path("runs/tiny/wandb").glob("offline-run-*-tiny")
    at = "test/" + next(Path("runs/tiny/test").glob("*_ced.csv")).name.removesuffix("_ced.csv")
    summary = wandb_summary(folder)
    with next(Path("runs/tiny/test").glob("*_faces.csv")).open(newline="") as file:
        faces = list(csv.DictReader(file))
    table = json.loads(Path(folder, "files", summary[f"{at}/faces.path"]).read_text())
    assert table["columns"][:4] == ["drawing", "index", "group", "nme"]
    assert len(table["data"]) == len(faces) == 6
    worst = next(row for row in table["data"] if row[1] == int(faces[0]["index"]))
    assert worst[2:4] == ["worst", float(faces[0]["nme"])]
    drawings = list(Path(folder, "files/media/images", at).glob("worst_*.png"))
    assert len(drawings) == sum(row[2] == "worst" for row in table["data"]) == 4
    with Image.open(drawings[0]) as drawing:
        assert drawing.size == (SIDE, SIDE)
    curves = json.loads(Path(folder, "files", summary[f"{at}/ced_table.path"]).read_text())
    assert len(curves["data"]) == 4 * len(Path(f"runs/tiny/{at}_ced.csv").read_text().splitlines()[1::10])
    assert summary[f"{at}/full/nme"] == pytest.approx(np.mean([float(row["nme"]) for row in faces]), abs=1e-3)
    assert {f"{at}/overlays.path", f"{at}/subsets.path"} <= summary.keys()


def test_workers_train_beside_it(tmp_path):
    """In a process of its own: W&B's import hook refuses what a forked worker imports first."""
    write_experiment(tmp_path)
    options = ("--runs", str(tmp_path / "runs"), "--data.init_args.num_workers=1", "--trainer.max_epochs=1", *QUIET)
    process = start("fit", "--config", str(tmp_path / "tiny.yaml"), "--config", "wandb", *options, WANDB_MODE="offline")
    output = output_of(process)
    assert process.returncode == 0, output
