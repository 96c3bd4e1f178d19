"""W&B: offline without an account or a network, and what an offline run holds."""

import csv
import json
import re
import socket
from pathlib import Path

import numpy as np
import pytest
import wandb
from PIL import Image

from callbacks import wandb_account
from callbacks.weights_and_biases import wandb_mode
from lightning_modules.drawing import SIDE
from tests.experiment import QUIET, output_of, run, start, write_experiment
from tests.wandb_offline import history, parts, records, summary, table


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
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1:{server} login user password secret\n")
    assert wandb_mode() == "online"
    (tmp_path / "netrc").unlink()
    no_account.setenv("WANDB_API_KEY", "x" * 40)
    assert wandb_mode() == "online"


def test_a_key_of_its_own_server_is_one_by_either_name(no_account, tmp_path):
    no_account.setattr(wandb_account, "_reachable", lambda host, port: True)
    for name in ("api.wandb.ai", "api.forge.coreweave.com"):
        (tmp_path / "netrc").write_text(f"machine {name} login user password secret\n")
        assert wandb_mode() == "online"
        no_account.setenv("WANDB_BASE_URL", "https://api.wandb.ai")
        assert wandb_mode() == "online"
        no_account.delenv("WANDB_BASE_URL")
    assert wandb.Settings().base_url in [f"https://{name}" for name in wandb_account.CLOUD]


def test_with_an_account_and_no_network_offline_and_said(no_account, server, capsys):
    no_account.setenv("WANDB_API_KEY", "x" * 40)
    no_account.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")
    no_account.setattr(wandb_account, "SECONDS", 0.5)
    assert wandb_mode() == "offline"
    assert "127.0.0.1 does not answer; logging offline" in capsys.readouterr().err


@pytest.fixture
def experiment(no_account, tmp_path):
    """An experiment to log."""
    no_account.chdir(tmp_path)
    no_account.setenv("WANDB_SILENT", "true")
    write_experiment(tmp_path)
    yield tmp_path
    wandb.finish()


def lowest(run):
    """The best validation error in metrics.csv."""
    with Path("runs", run, "metrics.csv").open(newline="") as file:
        return min(float(row["val/nme"]) for row in csv.DictReader(file) if row["val/nme"])


def test_an_offline_run_holds_config_metrics_and_which_is_best(experiment):
    run("fit", "--config", "tiny.yaml", "--config", "wandb", "--wandb_checkpoints=true", "--name", "my tiny")
    wandb.finish()
    (folder,) = parts("runs/my tiny")
    found = records(folder)
    first = found["run"][0]
    assert first["config"]["update"]["model"]["init_args"]["num_landmarks"] == 98
    assert first["display_name"] == "my tiny"
    assert re.fullmatch("my-tiny-[0-9a-f]{6}", first["run_id"])
    text = json.dumps(found)
    for name in ("val/nme", "train/loss_step", '"code"', "my-tiny-best", "my-tiny-last"):
        assert name in text
    assert summary(folder)["best/nme"] == pytest.approx(lowest("my tiny"))


def test_a_training_that_is_gone_on_with_stays_one_run_and_keeps_its_best(experiment):
    run("fit", "--config", "tiny.yaml", "--wandb", "landmarks")
    wandb.finish()
    best = lowest("tiny")
    run("fit", "--name", "tiny", "--resume", "--trainer.max_epochs=3", "--model.init_args.lr=0.5")
    wandb.finish()
    first, second = parts("runs/tiny")
    runs = [records(part)["run"][0] for part in (first, second)]
    assert [(run["run_id"], run["resume"], run["project"]) for run in runs] == [
        (Path("runs/tiny/.wandb_id").read_text(), True, "landmarks")
    ] * 2
    steps = [step for part in (first, second) for _, step in history(part, "train/loss_step", "trainer/global_step")]
    assert steps == list(range(12))  # three epochs of four, none twice
    assert min(error for (error,) in history(second, "val/nme")) > best  # at that learning rate
    assert history(second, "best/nme", "trainer/global_step") == [(pytest.approx(best), 7)]
    assert lowest("tiny") == best


def test_a_test_shows_faces_curves_and_numbers(experiment):
    run("fit", "--config", "tiny.yaml")
    run("test", "--name", "tiny", "--wandb=landmarks", "--data.init_args.batch_size=3")
    wandb.finish()
    (folder,) = parts("runs/tiny")
    assert "data" not in json.dumps(records(folder)["run"][0].get("config", {}))  # the training's is left alone
    stem = next(Path("runs/tiny/test").glob("*_ced.csv")).name.removesuffix("_ced.csv")
    at = f"test/{stem.replace('.', '_').replace('-', '_')}"
    logged = summary(folder)
    with Path(f"runs/tiny/test/{stem}_faces.csv").open(newline="") as file:
        faces = list(csv.DictReader(file))
    columns, rows = table(folder, f"{at}/faces")
    assert columns[:4] == ["drawing", "index", "group", "nme"]
    assert len(rows) == len(faces) == 6
    worst = next(row for row in rows if row[1] == int(faces[0]["index"]))
    assert worst[2:4] == ["worst", float(faces[0]["nme"])]
    drawings = list(Path(folder, "files/media/images", at).glob("worst_*.png"))
    assert len(drawings) == sum(row[2] == "worst" for row in rows) == 4
    with Image.open(drawings[0]) as drawing:
        assert drawing.size == (SIDE, SIDE)
    _, curves = table(folder, f"{at}/ced_table")
    assert len(curves) == 4 * len(Path(f"runs/tiny/test/{stem}_ced.csv").read_text().splitlines()[1::10])
    assert logged[f"{at}/full/nme"] == pytest.approx(np.mean([float(row["nme"]) for row in faces]), abs=1e-3)
    assert {f"{at}/overlays.path", f"{at}/subsets.path"} <= logged.keys()
    moment = json.loads(Path(f"runs/tiny/test/{stem}.json").read_text())["moment"]
    assert (logged["epoch"], logged["trainer/global_step"]) == (moment["epoch"], moment["step"])
    assert moment["step"] > 0


def test_workers_train_beside_it(tmp_path):
    """In a process of its own: W&B's import hook refuses what a forked worker imports first."""
    write_experiment(tmp_path)
    options = ("--runs", str(tmp_path / "runs"), "--data.init_args.num_workers=1", "--trainer.max_epochs=1", *QUIET)
    process = start("fit", "--config", str(tmp_path / "tiny.yaml"), "--config", "wandb", *options, WANDB_MODE="offline")
    output = output_of(process)
    assert process.returncode == 0, output
