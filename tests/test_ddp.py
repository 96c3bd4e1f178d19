"""Every method on two processes: it learns what one process with the whole batch learns, and measures the same.

Run as a module this is one of the two processes, which do all trainings one after the other: imports take seconds.
"""

import csv
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch

from tests.every_method import FACES, METHODS, write_training
from tests.experiment import ROOT, run, weights

# In double precision rounding stays rounding: Adam's steps are as long where a gradient is zero but for it.
WORDS = ("--config", "every.yaml", "--trainer.precision=64-true")
TWO = ("--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.sync_batchnorm=true")
BATCH = 8  # of both processes together
TRAINED = {**FACES, "num_train": 84, "num_test": 7}  # 63 to train, 21 to validate: 21 steps
QUICK = ("ldeq.LDEQ", "pipnet.PIPNet", "two_step.Discovery")
VARIED = "pipnet.PIPNet"  # which is also trained in these ways
VARIANTS = {"accumulated": "--trainer.accumulate_grad_batches=2", "bf16": "--trainer.precision=bf16-mixed"}
ONE_EPOCH = "--trainer.max_epochs=1"
SECONDS = 400  # for all trainings


def learn(folder: Path, *words: str) -> None:
    """Train each method that there is a folder of, and one method in other ways."""
    for path in sorted(folder.glob("*/every.yaml")):
        os.chdir(path.parent)
        run("fit", *WORDS, *words)
        for name, option in VARIANTS.items() if path.parent.name == VARIED else ():
            run("fit", *WORDS, *words, "--name", name, option, ONE_EPOCH)


def measure(folder: Path, *words: str) -> None:
    """Test what two processes have learnt of each method; what is printed goes to its ``told.txt``."""
    for path in sorted(folder.glob("*/every.yaml")):
        os.chdir(path.parent)
        weights_of_two = folder.parent / "two" / path.parent.name / "runs/every/checkpoints/best.ckpt"
        with Path(f"told-{os.environ.get('LOCAL_RANK', '0')}.txt").open("w") as file, redirect_stdout(file):
            run("test", *WORDS, "--ckpt_path", str(weights_of_two), "--name", "tested", *words)


def write_all(folder: Path, methods: Iterable[str], batch_size: int) -> None:
    """A folder for each method."""
    for method in methods:
        (folder / method).mkdir(parents=True)
        write_training(folder / method, method, {**TRAINED, "batch_size": batch_size})


def tell_of_writing(folder: Path) -> None:
    """Print each file below the folder that this process opens to write, renames or deletes."""

    def hook(event, arguments):
        path = str(arguments[0]) if arguments else ""
        writes = event in ("os.rename", "os.remove", "os.mkdir") or (event == "open" and arguments[2] & 3)
        if writes and str(Path(path).absolute()).startswith(str(folder)):
            print(f"wrote: {event} {path}", file=sys.__stdout__, flush=True)

    sys.addaudithook(hook)


def learn_in_two_processes(folder: Path) -> None:
    """As `learn` and `measure`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONPATH": str(ROOT)}
    told = [folder / f"{rank}.txt" for rank in range(2)]
    both = [
        subprocess.Popen(
            [sys.executable, __file__, str(folder)],
            env={**environment, "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=file.open("w"),
            stderr=subprocess.STDOUT,
        )
        for rank, file in enumerate(told)
    ]
    try:
        assert [process.wait(timeout=SECONDS) for process in both] == [0, 0], told[0].read_text() + told[1].read_text()
    finally:
        for process in both:
            process.kill()


@pytest.fixture(
    scope="module",
    params=[QUICK, pytest.param(sorted(METHODS.keys() - {*QUICK}), marks=pytest.mark.thorough)],
    ids=["methods", "others"],
)
def learnt(request, tmp_path_factory):
    """A folder with the runs of some methods, ``one`` and ``two``, and the methods."""
    folder, back = tmp_path_factory.mktemp("ddp"), Path.cwd()
    write_all(folder / "two", request.param, BATCH // 2)
    write_all(folder / "one", request.param, BATCH)
    learn_in_two_processes(folder / "two")
    learn(folder / "one")
    measure(folder / "one")
    os.chdir(back)
    return folder, request.param


@pytest.fixture
def varied(learnt):
    """The folders with the runs of a method in several ways, by one process and by two."""
    folder, methods = learnt
    if VARIED not in methods:
        pytest.skip(f"{VARIED} is with the other methods")
    return [folder / name / VARIED for name in ("one", "two")]


def test_two_processes_learn_what_one_learns(learnt):
    for method in learnt[1]:
        one, two = (learnt[0] / name / method / "runs/every" for name in ("one", "two"))
        same_weights(one, two, method)
        assert torch.load(two / "checkpoints/last.ckpt", weights_only=True)["global_step"] >= 20


def same_weights(one, two, name):
    expected, found = weights(str(one)), weights(str(two))
    assert found.keys() == expected.keys()
    # Solved at each validation, and ill-conditioned where landmarks coincide, as in so short a training: validations
    # compare what it predicts.
    expected.pop("probe_weights", None)
    for key, value in expected.items():
        said = f"{name}, {key}: "
        torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-6, msg=lambda text, said=said: said + text)


def test_two_processes_validate_as_one_does(learnt):
    for method in learnt[1]:
        one, two = (validations(learnt[0] / name / method / "runs/every") for name in ("one", "two"))
        assert len(one) == 3
        for row, other in zip(one, two, strict=True):
            assert row.keys() == other.keys() >= {"val/nme", "val/fr10", "val/auc10", "val/point_var"}
            assert other == pytest.approx(row, rel=1e-5, nan_ok=True), method


def validations(run_folder):
    """The rows of validations, of what they measured."""
    with (run_folder / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["val/nme"]]
    return [{key: float(value) for key, value in row.items() if key.startswith("val/") and value} for row in rows]


def test_two_processes_test_as_one_does_to_the_last_digit(learnt):
    for method in learnt[1]:
        one, two = (learnt[0] / name / method for name in ("one", "two"))
        lines = r"^ (?:full|pose|blur) .*$"
        told = [re.findall(lines, (run / "told-0.txt").read_text(), re.MULTILINE) for run in (one, two)]
        assert told[0] == told[1]
        assert told[0][0].split()[:2] == ["full", "7"]
        assert (two / "told-1.txt").read_text() == ""
        tables = [{path.name: path.read_text() for path in (f / "runs/tested/test").glob("*.csv")} for f in (one, two)]
        assert tables[0].keys() == tables[1].keys()
        assert len(tables[0]) >= 4
        for name, text in tables[0].items():
            assert text == tables[1][name], f"{method}: {name}"


def test_accumulated_gradients_are_those_of_one_process(varied):
    one, two = (folder / "runs/accumulated" for folder in varied)
    same_weights(one, two, VARIED)
    # Of 7 batches, the last of which is a step of its own
    assert torch.load(two / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 4


def test_bfloat16_learns_about_the_same(varied):
    (one,), (two,) = (validations(folder / "runs/bf16") for folder in varied)
    in_double = validations(varied[0] / "runs/every")[0]
    assert two["val/nme"] != one["val/nme"]
    assert two["val/nme"] == pytest.approx(one["val/nme"], rel=0.03)
    assert two["val/nme"] == pytest.approx(in_double["val/nme"], rel=0.03)


def test_the_first_process_alone_tells_and_writes(learnt):
    told = [(learnt[0] / f"two/{rank}.txt").read_text() for rank in range(2)]
    trainings = len(learnt[1]) + len(VARIANTS) * (VARIED in learnt[1])
    for line in ("report: ", "epoch 0: val/nme"):
        assert [text.count(line) for text in told] == [trainings, 0]
    wrote = [re.findall("^wrote: .*", text, re.MULTILINE) for text in told]
    assert any(line.endswith("metrics.csv") for line in wrote[0])
    assert [line for line in wrote[1] if not line.endswith("told-1.txt")] == []


if __name__ == "__main__":
    tell_of_writing(Path(sys.argv[1]))
    learn(Path(sys.argv[1]), *TWO)
    measure(Path(sys.argv[1]), *TWO)
