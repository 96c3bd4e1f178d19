"""Runs: what a folder holds, resuming, changed options, checkpoints that do not fit, a process killed."""

import csv
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr
from pathlib import Path

import pytest
import torch
import yaml

from callbacks.arguments import recorded_options
from lightning_modules.ldeq import LDEQ
from lightning_modules.ldeq.solvers import Anderson
from tests.experiment import descendants, output_of, run, start, weights, write_experiment


def rows(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def rates(path):
    return {int(row["step"]): float(row["lr-AdamW"]) for row in rows(path) if row["lr-AdamW"]}


def refused(*words):
    """Run, expect the process to end, and give its exit code and last line."""
    stream = io.StringIO()
    with pytest.raises(SystemExit) as end, redirect_stderr(stream):
        run(*words)
    return end.value.code, stream.getvalue().splitlines()[-1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the experiment and a run of two epochs, ``runs/tiny``."""
    folder = tmp_path_factory.mktemp("trained")
    write_experiment(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("fit", "--config", "tiny.yaml", "--model.init_args.width=6")
    return folder


@pytest.fixture
def folder(trained, tmp_path, monkeypatch):
    """A copy of it to work in."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_has_one_folder(folder):
    files = {str(path.relative_to("runs/tiny")) for path in Path("runs/tiny").rglob("*") if path.is_file()}
    checkpoints = {f"checkpoints/{name}.ckpt" for name in ("best", "last", "previous")}
    assert files == {".lock", "config.yaml", "metrics.csv", "fit.json", "report.html", *checkpoints}
    settings = yaml.safe_load(Path("runs/tiny/config.yaml").read_text())
    assert settings["name"] == "tiny"
    assert settings["model"]["init_args"]["width"] == 6
    assert "resume" not in settings
    table = rows("runs/tiny/metrics.csv")
    assert len(rates("runs/tiny/metrics.csv")) == 8  # two epochs of four steps
    assert [float(row["val/nme"]) > 0 for row in table if row["val/nme"]] == [True, True]


def test_the_config_of_a_run_is_a_config(folder):
    again = run("fit", "--config", "runs/tiny/config.yaml", "--name", "again")
    assert again.run.path == Path("runs/again")
    assert Path("runs/again/metrics.csv").read_text() == Path("runs/tiny/metrics.csv").read_text()


def test_a_second_start_is_refused_and_changes_nothing(folder):
    before = {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()}
    code, error = refused("fit", "--config", "tiny.yaml")
    assert code == 2
    assert error == (
        "error: run tiny exists (2 epochs done, runs/tiny); add --resume to continue it, or choose another --name"
    )
    assert before == {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()}


@pytest.mark.parametrize("schedule", ["none", "lambda"])
def test_a_resumed_run_ends_as_an_uninterrupted_one(folder, schedule):
    words = ("fit", "--config", "tiny.yaml", f"--model.init_args.schedule={schedule}")
    run(*words, "--name", "whole", "--trainer.max_epochs=3")
    run(*words, "--name", "halves", "--trainer.max_epochs=1")
    run(*words, "--name", "halves", "--trainer.max_epochs=3", "--resume")
    assert Path("runs/whole/metrics.csv").read_text() == Path("runs/halves/metrics.csv").read_text()
    whole, halves = weights("runs/whole"), weights("runs/halves")
    assert all(torch.equal(whole[key], halves[key]) for key in whole)


def test_ldeq_stopped_where_its_gradient_changes_and_resumed_ends_as_an_uninterrupted_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path, callbacks=[{"class_path": "tests.experiment.StopAfterEpoch"}])
    widths = {"injection_width": 8, "width": 8, "width_step": 4, "depth": 1, "early_epochs": 1}
    model = {"class_path": "lightning_modules.ldeq.LDEQ", "init_args": {"num_landmarks": 98, **widths}}
    Path("ldeq.yaml").write_text(yaml.safe_dump({"model": model}))
    words = ("fit", "--config", "tiny.yaml", "--config", "ldeq.yaml")
    run(*words, "--name", "whole")
    with monkeypatch.context() as patch:
        patch.setenv("STOP_AFTER_EPOCH", "0")
        run(*words, "--name", "halves")
    assert torch.load("runs/halves/checkpoints/last.ckpt", weights_only=True)["epoch"] == 0
    run("fit", "--name", "halves", "--resume")
    assert Path("runs/whole/metrics.csv").read_text() == Path("runs/halves/metrics.csv").read_text()
    solved = [row for row in rows("runs/whole/metrics.csv") if row["train/backward_residual"]]
    assert {row["epoch"] for row in solved} == {"1"}  # the early gradient has no backward solve
    whole, halves = weights("runs/whole"), weights("runs/halves")
    assert all(torch.equal(whole[key], halves[key]) for key in whole)


def test_a_run_killed_in_an_epoch_and_resumed_ends_as_an_uninterrupted_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    callback = {"class_path": "tests.experiment.WaitToBeKilled"}
    write_experiment(tmp_path, max_epochs=4, callbacks=[callback])
    words = ("fit", "--config", "tiny.yaml", "--data.init_args.num_workers=1")
    killed = start(*words, "--name", "killed", STOP_FILE=str(tmp_path / "now"))
    run(*words, "--name", "whole")
    wait_for(lambda: (tmp_path / "now").exists() or killed.poll() is not None)
    killed.send_signal(signal.SIGKILL)
    output = output_of(killed)
    assert (tmp_path / "now").exists(), output
    steps = [int(row["step"]) for row in rows("runs/killed/metrics.csv")]
    assert max(steps) == 9  # two epochs of four steps, and two steps that will be made again
    assert torch.load("runs/killed/checkpoints/last.ckpt", weights_only=True)["epoch"] == 1
    run(*words, "--name", "killed", "--resume")
    assert Path("runs/killed/metrics.csv").read_text() == Path("runs/whole/metrics.csv").read_text()
    for file in ("last.ckpt", "best.ckpt"):
        whole, resumed = weights("runs/whole", file), weights("runs/killed", file)
        assert all(torch.equal(whole[key], resumed[key]) for key in whole)


@pytest.mark.parametrize(
    ("signum", "whom"),
    [
        (signal.SIGTERM, "all"),
        (signal.SIGINT, "all"),
        pytest.param(signal.SIGTERM, "one", marks=pytest.mark.thorough),
    ],
)
def test_a_signal_ends_a_run_with_one_sentence(signum, whom, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path, max_epochs=4, callbacks=[{"class_path": "tests.experiment.WaitToBeKilled"}])
    words = ("--config", "tiny.yaml", "--data.init_args.num_workers=2")
    process = start("fit", *words, STOP_FILE=str(tmp_path / "now"), OMP_NUM_THREADS="1")
    wait_for(lambda: (tmp_path / "now").exists() or process.poll() is not None)
    loaders = descendants(process.pid)
    for pid in [*(loaders if whom == "all" else []), process.pid]:  # as scancel and docker stop do
        os.kill(pid, signum)
    output = output_of(process)
    assert process.returncode == 128 + signum
    assert output.splitlines()[-1] == (
        f"stopped by {signum.name}; run tiny keeps its last finished epoch; continue it with: "
        "python cli.py fit --name tiny --resume"
    )
    assert [words for words in ("Traceback", "Error", "Received", "DataLoader") if words in output] == []
    assert len(loaders) >= 2
    assert wait_for(lambda: not any(Path("/proc", str(pid)).exists() for pid in loaders))
    assert torch.load("runs/tiny/checkpoints/last.ckpt", weights_only=True)["epoch"] == 1


def wait_for(condition):
    deadline = time.monotonic() + 240
    while not (fulfilled := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return fulfilled


def test_predictions_name_files_below_the_data_root(folder, monkeypatch):
    for root in ("faces", str(folder / "faces")):
        run("predict", "--name", "tiny", "--data.init_args.root", root)
        table = rows("runs/tiny/predictions/faces_test_landmarks-1.2.csv")
        assert [row["file"] for row in table] == [f"test/{i}.png" for i in range(6)]


def test_resuming_keeps_the_options_of_the_first_start_and_names_new_ones(folder, capsys):
    resumed = run("fit", "--config", "tiny.yaml", "--resume", "--trainer.max_epochs=3")
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert notes == ["note: changed since this run's last start: trainer.max_epochs: 2 -> 3"]
    assert dict(resumed.model.hparams)["width"] == 6
    options = recorded_options(Path("runs/tiny/config.yaml"))
    assert {("--model.init_args.width=6",), ("--trainer.max_epochs=3",)} <= set(options)


def test_resuming_needs_no_config(folder):
    assert run("fit", "--name", "tiny", "--resume", "--trainer.max_epochs=3").trainer.global_step == 12


def test_what_an_edited_config_changes_is_named(folder, capsys):
    text = Path("tiny.yaml").read_text()
    Path("tiny.yaml").write_text(text.replace("max_epochs: 2", "max_epochs: 3"))
    assert run("fit", "--config", "tiny.yaml", "--resume").trainer.global_step == 12
    assert "trainer.max_epochs: 2 -> 3" in capsys.readouterr().err


@pytest.mark.parametrize("schedule", ["none", "lambda", "one-cycle"])
def test_a_new_learning_rate_is_used(folder, schedule, capsys):
    words = ("fit", "--config", "tiny.yaml", "--name", schedule, f"--model.init_args.schedule={schedule}")
    run(*words)
    reference = (*words[:4], f"{schedule}-whole", words[5], "--trainer.max_epochs=4")
    run(*reference, "--model.init_args.lr=0.002")
    run(*words, "--resume", "--model.init_args.lr=0.002", "--trainer.max_epochs=4")
    errors = capsys.readouterr().err
    assert "model.init_args.lr: 0.01 -> 0.002" in errors
    assert "learning rate" in errors
    old, new = rates(f"runs/{schedule}/metrics.csv"), rates(f"runs/{schedule}-whole/metrics.csv")
    assert sorted(old) == list(range(16))
    # The rate before the first step of the resumed run may still lie on the shorter schedule.
    assert [old[step] for step in range(9, 16)] == pytest.approx([new[step] for step in range(9, 16)])
    assert old[8] < 0.0021
    optimizer = torch.load(f"runs/{schedule}/checkpoints/last.ckpt", weights_only=True)["optimizer_states"][0]
    assert optimizer["param_groups"][0].get("initial_lr", 0.002) <= 0.002


def test_one_command_starts_a_run_and_continues_it(folder, capsys):
    words = ("fit", "--config", "tiny.yaml", "--name", "new", "--resume")
    assert refused(*words)[0] == 2
    assert not Path("runs/new").exists()
    run(*words, "auto", "--trainer.max_epochs=1")
    assert "note: there is no run new in runs yet; starting it" in capsys.readouterr().err
    assert len(rates("runs/new/metrics.csv")) == 4
    assert run(*words, "auto", "--trainer.max_epochs=2").trainer.global_step == 8
    assert "resume" not in yaml.safe_load(Path("runs/new/config.yaml").read_text())
    assert "--resume" not in Path("runs/new/config.yaml").read_text().splitlines()[0]


def test_a_run_killed_before_its_first_checkpoint_starts_again(folder, capsys):
    shutil.rmtree("runs/tiny/checkpoints")
    code, error = refused("fit", "--config", "tiny.yaml")
    assert (code, "no epoch done yet" in error) == (2, True)
    run("fit", "--config", "tiny.yaml", "--resume")
    assert "run tiny has no checkpoint yet; starting it from the beginning" in capsys.readouterr().err
    assert len([row for row in rows("runs/tiny/metrics.csv") if row["val/nme"]]) == 2  # none of the earlier start's


@pytest.mark.parametrize("logged", [(), ("--wandb", "landmarks")])
def test_a_run_in_training_is_not_resumed_beside_itself(folder, logged, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    before = Path("runs/tiny/metrics.csv").read_text()
    script = (
        "import fcntl, sys; f = open('runs/tiny/.lock', 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        code, error = refused("fit", "--name", "tiny", "--resume", "--trainer.max_epochs=3", *logged)
        other.kill()
    assert (code, error) == (
        2,
        "error: another process is training run tiny; wait for its end or choose another --name",
    )
    assert Path("runs/tiny/metrics.csv").read_text() == before
    assert not Path("runs/tiny/wandb").exists()  # nor are two trainings mixed there
    run("fit", "--name", "tiny", "--resume", "--trainer.max_epochs=3")


def test_evaluation_takes_the_best_checkpoint_and_leaves_the_run_alone(folder, capsys):
    names = ("runs/tiny/config.yaml", "runs/tiny/metrics.csv", "runs/tiny/checkpoints/last.ckpt")
    before = [Path(name).read_bytes() for name in names]
    tested = run("test", "--config", "tiny.yaml")  # of width 6, which its first start was given
    assert tested.trainer.ckpt_path == "runs/tiny/checkpoints/best.ckpt"
    run("validate", "--name", "tiny")
    run("predict", "--name", "tiny", "--ckpt_path", "last")
    assert before == [Path(name).read_bytes() for name in names]
    assert "differs" not in capsys.readouterr().err


def test_a_run_without_validation_says_what_it_lacks(folder, capsys):
    run("fit", "--config", "tiny.yaml", "--name", "blind", "--trainer.limit_val_batches=0")
    note = "note: no validation was done, so run blind has no best.ckpt; test and predict need --ckpt_path last\n"
    assert note in capsys.readouterr().err
    code, error = refused("test", "--name", "blind")
    assert code == 2
    assert error == (
        "error: run blind has no runs/blind/checkpoints/best.ckpt, because no validation was done; add --ckpt_path "
        "last to use its last epoch"
    )
    run("predict", "--name", "blind", "--ckpt_path", "last")
    assert list(Path("runs/blind/predictions").iterdir())


def test_a_run_of_no_epoch_says_so(folder, capsys):
    run("fit", "--config", "tiny.yaml", "--name", "none", "--trainer.max_epochs=0")
    assert "so run none has no best.ckpt; there is no last.ckpt either" in capsys.readouterr().err


def test_options_win_over_the_checkpoint_and_are_named(folder, capsys):
    run("test", "--name", "tiny", "--model.init_args.lr=0.5")
    assert "model.init_args.lr: 0.01 -> 0.5" in capsys.readouterr().err


def test_a_checkpoint_of_another_network_is_one_sentence(folder):
    code, error = refused("test", "--name", "tiny", "--model.init_args.width=7")
    assert code == 1
    assert "runs/tiny/checkpoints/best.ckpt is of another network: net.2.weight is (6, 48) in it but (7, 48)" in error
    code, error = refused("fit", "--name", "tiny", "--resume", "--model.init_args.width=7", "--trainer.max_epochs=3")
    assert "last.ckpt is of another network" in error
    code, error = refused("test", "--name", "tiny", "--model=lightning_modules.ldeq.LDEQ", "--model.num_landmarks=98")
    assert code == 2
    assert "holds a tests.tiny.Tiny but model.class_path is lightning_modules.ldeq.LDEQ" in error


def broken_checkpoints():
    whole = io.BytesIO()
    torch.save({"state_dict": {}, "epoch": 0, "trick": Path("x")}, whole)
    other = io.BytesIO()
    torch.save([1, 2], other)
    return {"object": whole.getvalue(), "list": other.getvalue(), "text": b"hello", "empty": b""}


@pytest.mark.parametrize("kind", ["cut", *broken_checkpoints()])
def test_a_damaged_checkpoint_is_one_sentence(folder, kind):
    path = Path("runs/tiny/checkpoints/last.ckpt")
    path.write_bytes(path.read_bytes()[:-2000] if kind == "cut" else broken_checkpoints()[kind])
    expected = {"list": "not a checkpoint", "object": "objects of Python"}.get(kind, "is cut off or no checkpoint")
    for words in (("test", "--name", "tiny", "--ckpt_path", "last"), ("fit", "--name", "tiny", "--resume")):
        code, error = refused(*words)
        assert code == 1
        assert error.startswith("error: runs/tiny/checkpoints/last.ckpt: ")
        assert expected in error


def test_a_diverging_run_stops_before_it_saves(folder, capsys):
    code, error = refused("fit", "--config", "tiny.yaml", "--name", "wild", "--model.init_args.explode_at=5")
    assert code == 1
    assert (
        "training diverged: the loss of epoch 1, batch 1 is nan (runs/wild/diverged.pt has the batch); lower" in error
    )
    assert "--trainer.gradient_clip_val (now None)" in error
    assert torch.load("runs/wild/checkpoints/last.ckpt", weights_only=True)["epoch"] == 0


def test_checkpoints_are_plain_values_and_nested_settings_come_back(folder):
    model = "model: {class_path: lightning_modules.ldeq.LDEQ, init_args: {num_landmarks: 98, width: 8, width_step: 4"
    solver = "solver: {class_path: lightning_modules.ldeq.solvers.Anderson, init_args: {max_iterations: 2, memory: 3}}"
    Path("ldeq.yaml").write_text(f"{model}, injection_width: 8, depth: 1, {solver}}}}}\n")
    run("fit", "--config", "tiny.yaml", "--config", "ldeq.yaml", "--name", "ldeq", "--trainer.max_epochs=1")
    file = "runs/ldeq/checkpoints/last.ckpt"
    stored = torch.load(file, weights_only=True)  # refuses everything but plain values and tensors
    assert stored["hyper_parameters"]["solver"]["init_args"]["max_iterations"] == 2
    assert LDEQ.load_from_checkpoint(file).solver == Anderson(max_iterations=2, memory=3)
    resumed = run("fit", "--name", "ldeq", "--resume", "--trainer.max_epochs=2")
    assert resumed.trainer.global_step == 8
    assert resumed.model.solver == Anderson(max_iterations=2, memory=3)
