"""W&B: offline without an account or a network, and what an offline run holds."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import wandb

from callbacks import weights_and_biases
from callbacks.weights_and_biases import wandb_mode
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


def test_an_offline_run_holds_config_and_metrics(no_account, tmp_path):
    no_account.chdir(tmp_path)
    no_account.setenv("WANDB_SILENT", "true")
    write_experiment(tmp_path)
    try:
        run("fit", "--config", "tiny.yaml", "--config", "wandb")
    finally:
        wandb.finish()
    (folder,) = Path("runs/tiny/wandb").glob("offline-run-*-tiny")
    tool = Path(sys.executable).with_name("wandb")
    records = subprocess.run(
        [tool, "leet", "inspect", "--json", folder / "run-tiny.wandb"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    text = "\n".join(records)
    first = next(record["run"] for record in map(json.loads, records) if record["type"] == "run")
    assert first["config"]["update"]["model"]["init_args"]["num_landmarks"] == 98
    assert first["run_id"] == "tiny"
    assert "val/nme" in text
    assert "train/loss_step" in text
    assert Path("runs/tiny/metrics.csv").is_file()


def test_workers_train_beside_it(tmp_path):
    """In a process of its own: W&B's import hook refuses what a forked worker imports first."""
    write_experiment(tmp_path)
    options = ("--runs", str(tmp_path / "runs"), "--data.init_args.num_workers=1", "--trainer.max_epochs=1", *QUIET)
    process = start("fit", "--config", str(tmp_path / "tiny.yaml"), "--config", "wandb", *options, WANDB_MODE="offline")
    output = output_of(process)
    assert process.returncode == 0, output
