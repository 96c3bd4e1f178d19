"""Every method killed with -9 at three random points, one of them in a checkpoint: it ends as if nothing had been.

Run as a module this is a process that has imported what trainings need, and forks one after the other: importing takes
longer than they do. Points are drawn anew each time, by ``KILLED_SEED`` where it is set, and told where the test fails.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tests.every_method import METHODS, write_training
from tests.experiment import ROOT, run, weights

STEPS = {"first": (4, 9), "last": (1, 4)}  # of the optimiser since the process began, of at least 12; from and to
DELAY = 0.2  # seconds after such a step at most: in it, or where the epoch ends
QUICK = ("ldeq.LDEQ", "pipnet.SelfTraining")
SECONDS = 400


def train(log: Path, name: str, how: str = "", share: float = 0.0) -> int:
    """The exit code of a training in a process of its own, which kills itself if it is told to."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if how in STEPS:
        die_training(how, share)
    elif how == "writing":
        die_writing(share)
    elif how == "renaming":
        die_renaming(share)
    try:
        run("fit", "--config", "every.yaml", "--name", name, "--resume", "auto")
    except SystemExit as end:
        os._exit(int(end.code or 0))
    os._exit(0)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_training(how: str, share: float) -> None:
    """Train on for some time after some step."""
    place = STEPS[how][0] + share * (STEPS[how][1] - STEPS[how][0])
    steps = []

    def count(*_):
        steps.append(None)
        if len(steps) == int(place):
            threading.Timer(DELAY * (place % 1), die).start()

    register_optimizer_step_pre_hook(count)


def die_writing(share: float) -> None:
    """Write a part of the first checkpoint or the second."""
    calls, save, at = [], torch.save, 1 if share < 0.5 else 2

    def part(content, file):
        calls.append(file)
        if len(calls) < at:
            return save(content, file)
        whole = BytesIO()
        save(content, whole)
        file.write(whole.getvalue()[: int(share * len(whole.getvalue()))])
        file.flush()
        return die()

    torch.save = part


def die_renaming(share: float) -> None:
    """Give one of the first four files that are written beside their place no name."""
    calls, at = [], 1 + int(4 * share)

    def hook(event, arguments):
        if event == "os.rename" and str(arguments[0]).endswith(".partial"):
            calls.append(event)
            if len(calls) == at:
                die()

    sys.addaudithook(hook)


def kill_all(folder: Path, seed: str, methods: Iterable[str]) -> None:
    """Train each method in one piece and in pieces, and write what became of them to ``killed.json``."""
    draws, told = random.Random(seed), []
    for number, method in enumerate(methods):
        path = folder / method
        path.mkdir()
        write_training(path, method)
        os.chdir(path)
        log = path / "log.txt"
        told.append({"method": method, "how": "", "code": train(log, "whole")})
        for how in ("first", ("writing", "renaming")[number % 2], "last"):
            share = draws.random()
            code = train(log, "pieces", how, share)
            last = Path("runs/pieces/checkpoints/last.ckpt")
            told.append({"method": method, "how": how, "share": share, "code": code, "checkpoint": last.exists()})
        told.append({"method": method, "how": "", "code": train(log, "pieces")})
    (folder / "killed.json").write_text(json.dumps(told))


@pytest.fixture(
    scope="module",
    params=[QUICK, pytest.param(sorted(METHODS.keys() - {*QUICK}), marks=pytest.mark.thorough)],
    ids=["methods", "others"],
)
def killed(request, tmp_path_factory):
    """The folder with all runs, and what became of each start."""
    folder = tmp_path_factory.mktemp("killed")
    seed = os.environ.get("KILLED_SEED") or str(time.time_ns())
    words = [sys.executable, "-m", "tests.test_killed", str(folder), seed, *request.param]
    subprocess.run(words, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, timeout=SECONDS)
    return folder, json.loads((folder / "killed.json").read_text()), seed


def test_killed_at_random_they_end_as_uninterrupted_ones(killed):
    folder, told, seed = killed
    for method in dict.fromkeys(start["method"] for start in told):
        starts = [start for start in told if start["method"] == method]
        history = f"KILLED_SEED={seed}, {starts}, {(folder / method / 'log.txt').read_text()[-3000:]}"
        assert starts[0]["code"] == starts[-1]["code"] == 0, history
        whole, pieces = (folder / method / "runs" / name for name in ("whole", "pieces"))
        assert (pieces / "metrics.csv").read_text() == (whole / "metrics.csv").read_text(), history
        for file in ("last.ckpt", "best.ckpt", "previous.ckpt"):
            one, other = weights(str(whole), file), weights(str(pieces), file)
            assert one.keys() == other.keys()
            assert all(torch.equal(one[key], other[key]) for key in one), f"{file}: {history}"
        assert not list(pieces.glob("**/*.partial")), history


def test_most_of_them_were_killed(killed):
    """One that was killed late may have too little left to do to be killed again."""
    _, told, seed = killed
    points = [start for start in told if start["how"]]
    died = [start for start in points if start["code"] == -signal.SIGKILL]
    assert len(died) >= 0.75 * len(points), (seed, told)
    assert sum(start["how"] not in STEPS for start in died) >= 0.2 * len(points), (seed, told)
    assert sum(start["checkpoint"] for start in died) >= 0.3 * len(points), (seed, told)


if __name__ == "__main__":
    kill_all(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
