"""Trainings as jobs of a real Slurm on this machine: two nodes, signals, queued again, killed, arrays, a full disk."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, redirect_stderr, suppress
from io import StringIO
from pathlib import Path

import pytest
import torch
from lightning import Callback

from callbacks.arguments import UsageError
from callbacks.slurm.command import main as submit
from tests.experiment import ROOT, weights, write_experiment
from tests.slurm_cluster import Cluster, why_not

CPU = ("--gpus", "0", "--cpus", "1", "--sbatch", "open-mode=append")
BESIDE = ("--config", "tiny.yaml", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")


class Slow(Callback):
    """Takes its time over each batch; says by a file that it is training or has ended, and waits there for `waits`."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        time.sleep(float(os.environ.get("SLOW", "0")))
        if trainer.current_epoch == 1 and batch_idx == 0:
            self.is_at(trainer, "training")

    def on_fit_end(self, trainer, pl_module):
        self.is_at(trainer, "ended")

    @staticmethod
    def is_at(trainer, place):
        Path(trainer.default_root_dir, f"{place}-{trainer.global_rank}").write_text(str(os.getpid()))
        while Path(f"wait-{place}").exists():
            time.sleep(0.05)


@contextmanager
def waits(place):
    """A training that comes to this place waits there for the end of this."""
    Path(f"wait-{place}").touch()
    try:
        yield
    finally:
        Path(f"wait-{place}").unlink()


class FillDisk(Callback):
    """Leaves no place for another checkpoint after the first epoch."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            subprocess.run(
                ["dd", "if=/dev/zero", f"of={trainer.default_root_dir}/filler"], capture_output=True, check=False
            )


@pytest.fixture(scope="module")
def slurm():
    """The cluster."""
    if reason := why_not():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="slurm"))  # not pytest's, whose names are too long for a socket
    cluster = Cluster(folder / "c")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def enter(folder, slurm, patch):
    """Go to a folder with the experiment, in which jobs are submitted."""
    patch.chdir(folder)
    for name, value in {
        "SLURM_CONF": str(slurm.conf),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",  # the nodes' names are known to nobody else
        "GLOO_SOCKET_IFNAME": "lo",
    }.items():
        patch.setenv(name, value)
    write_experiment(folder, max_epochs=3, callbacks=[{"class_path": f"{__name__}.Slow"}])


@pytest.fixture(scope="module")
def long_job(slurm, tmp_path_factory):
    """A job whose training takes longer than the job may, running beside those of all tests, and its folder.

    Slurm sends the signal up to a minute early, so within the first 30 of 60 seconds; the training takes 36.
    """
    folder = tmp_path_factory.mktemp("long")
    with pytest.MonkeyPatch.context() as patch:
        enter(folder, slurm, patch)
        patch.setenv("SLOW", "3")
        return submitted("--time", "1", "--sbatch", "signal=USR1@30"), folder


@pytest.fixture
def folder(slurm, long_job, tmp_path, monkeypatch):
    """A folder with the experiment, in which jobs are submitted."""
    enter(tmp_path, slurm, monkeypatch)
    return tmp_path


def submitted(*words):
    """The number of a job."""
    with redirect_stderr(StringIO()) as told:
        submit([*BESIDE, *CPU, *words])
    return re.search(r"job (\d+) trains", told.getvalue())[1]


def appears(path, seconds=120):
    deadline = time.monotonic() + seconds
    while not Path(path).exists():
        assert time.monotonic() < deadline, [log.read_text() for log in Path("runs").glob("*/slurm-*.out")]
        time.sleep(0.05)
    return Path(path)


def said(name="tiny"):
    return "".join(log.read_text() for log in sorted(Path("runs", name).glob("slurm-*.out")))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def whole(slurm, tmp_path_factory):
    """The run of two processes without Slurm."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        enter(folder, slurm, patch)
        words = ("--name", "local", "--trainer.devices=2", "--trainer.strategy=ddp")
        done = subprocess.run(
            [sys.executable, str(ROOT / "cli.py"), "fit", *BESIDE, *words], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    return folder / "runs/local"


def test_two_nodes_train_as_two_processes_do(slurm, whole, folder):
    job = submitted("--nodes", "2")
    assert slurm.wait(job) == "COMPLETED", said()
    assert slurm.state(job)["NumNodes"] == "2"
    assert same(weights("runs/tiny"), weights(str(whole)))
    names = {path.name for path in Path("runs/tiny").glob("**/*.ckpt")}
    assert names == {"best.ckpt", "last.ckpt", "previous.ckpt"}  # of rank 0 alone
    assert "num_nodes: 1" in Path("runs/tiny/config.yaml").read_text()  # a test on a laptop does not wait for nodes
    assert said().count("epoch 2: val/nme") == 1


def test_a_job_that_is_asked_saves_is_queued_again_and_ends_as_an_uninterrupted_one(slurm, whole, folder, monkeypatch):
    """On two nodes, with all that may make one process end later than the other."""
    monkeypatch.setenv("SLOW", "0.5")
    monkeypatch.setenv("WANDB_MODE", "offline")
    with waits("training"):
        job = submitted("--wandb", "tests", "--nodes", "2", "--data.init_args.num_workers=1")
        appears("runs/tiny/training-0")
        slurm.run("scancel", "--signal=USR1", job)
    assert slurm.wait(job) == "COMPLETED", said()
    assert slurm.state(job)["Restarts"] == "1"
    assert re.search(r"stopped by SIGUSR1; run tiny keeps what it has done of epoch \d; continue it with: ", said())
    assert same(weights("runs/tiny"), weights(str(whole)))
    parts = [path.name.rpartition("-")[2] for path in Path("runs/tiny/wandb").glob("offline-run-*")]
    assert len(parts) == 2  # of one run of W&B
    assert len(set(parts)) == 1


def test_a_signal_while_it_starts_only_queues_it_again(slurm, folder):
    job = submitted()
    deadline = time.monotonic() + 60
    while f"{job}.0" not in slurm.run("squeue", "--steps", "-h", "-o", "%i") and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)  # Python is starting, or imports
    slurm.run("scancel", "--signal=USR1", job)
    assert slurm.wait(job) == "COMPLETED", said()
    assert slurm.state(job)["Restarts"] == "1", said()
    assert torch.load("runs/tiny/checkpoints/last.ckpt", weights_only=True)["epoch"] == 2


def test_a_signal_after_the_end_does_nothing(slurm, folder):
    with waits("ended"):
        job = submitted()
        appears("runs/tiny/ended-0")
        slurm.run("scancel", "--signal=USR1", job)
        time.sleep(1)  # it comes
    assert slurm.wait(job) == "COMPLETED", said()
    assert slurm.state(job)["Restarts"] == "0"


def test_a_preempted_job_goes_on(slurm, folder, monkeypatch):
    monkeypatch.setenv("SLOW", "0.5")
    with waits("training"):
        job = submitted()
        appears("runs/tiny/training-0")
        slurm.run("scontrol", "requeue", job)  # SIGTERM, and SIGKILL after KillWait
    assert slurm.wait(job) == "COMPLETED", said()
    assert "Restored all states from the checkpoint" in said()
    assert torch.load("runs/tiny/checkpoints/last.ckpt", weights_only=True)["global_step"] == 3 * (17 // 4)


def test_a_killed_process_ends_the_job_which_is_continued(slurm, folder):
    with waits("training"):
        job = submitted("--nodes", "2")
        os.kill(int(appears("runs/tiny/training-1").read_text()), signal.SIGKILL)
    assert slurm.wait(job, seconds=60) == "FAILED", said()  # the other process does not wait for ever
    with pytest.raises(UsageError, match=r"run runs/tiny exists; add --resume to go on with it"):
        submitted()
    assert slurm.wait(submitted("--nodes", "2", "--resume")) == "COMPLETED", said()
    assert torch.load("runs/tiny/checkpoints/last.ckpt", weights_only=True)["epoch"] == 2


def test_of_two_jobs_with_one_name_one_trains(slurm, folder):
    with waits("training"):
        first = submitted()
        appears("runs/tiny/training-0")
        assert slurm.wait(submitted("--resume")) == "FAILED", said()
    assert "another process is training run tiny; wait for its end or choose another --name" in said()
    assert slurm.wait(first) == "COMPLETED", said()
    with Path("runs/tiny/metrics.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file) if row["val/nme"]] == ["0", "1", "2"]


def test_seeds_are_an_array_of_jobs(slurm, folder):
    job = submitted("--seeds", "3,5")
    for seed in (3, 5):
        assert slurm.wait(f"{job}_{seed}") == "COMPLETED", said(f"tiny-seed{seed}")
        assert f"seed_everything: {seed}\n" in Path(f"runs/tiny-seed{seed}/config.yaml").read_text()
    assert not same(weights("runs/tiny-seed3"), weights("runs/tiny-seed5"))


def test_a_disk_that_is_full_keeps_the_last_good_checkpoint(slurm, folder):
    small = folder / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(small)], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        write_experiment(folder, max_epochs=3, callbacks=[{"class_path": f"{__name__}.FillDisk"}])
        job = submitted("--runs", str(small))
        assert slurm.wait(job) == "FAILED"
        told = Path(small, f"tiny/slurm-{job}.out").read_text()
        assert ".ckpt: No space left on device; the one before is kept. Make room" in told
        assert torch.load(small / "tiny/checkpoints/last.ckpt", weights_only=True)["epoch"] == 0
        assert not list(small.glob("tiny/checkpoints/*.partial"))
    finally:
        subprocess.run(["umount", str(small)], check=False)


def test_a_training_longer_than_its_jobs_time_ends(slurm, long_job, monkeypatch):
    job, folder = long_job
    monkeypatch.chdir(folder)
    assert slurm.wait(job, seconds=400) == "COMPLETED", said()
    assert int(slurm.state(job)["Restarts"]) >= 1
    assert torch.load("runs/tiny/checkpoints/last.ckpt", weights_only=True)["global_step"] == 12


def test_descendants_are_gone(slurm):
    """No process of a job outlives it."""
    left = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended in the meantime
            ours = f"SLURM_CONF={slurm.conf}".encode() in (process / "environ").read_bytes()
            if ours and b"cli.py" in (process / "cmdline").read_bytes():
                left.append(process.name)
    assert left == []
