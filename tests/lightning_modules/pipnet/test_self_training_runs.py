"""Self-training that is killed and resumed, on one process and on two."""

import csv
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_modules.pipnet import SelfTraining
from tests.experiment import QUIET, output_of, run, start, weights
from tests.mixed_experiment import Died, infrared, make, write_mixed

CALLBACKS = {"callbacks": [{"class_path": f"tests.mixed_experiment.{name}"} for name in ("Die", "DieBeforeLast")]}
# Each is where the run dies that the one before resumed: "end" is with the next round's labels written and the
# checkpoint not, "start" with both.
DEATHS = ("1 middle", "1 end", "2 start", "3 middle", "5 middle", "7 middle")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with an uninterrupted run of four rounds, ``runs/whole``."""
    folder = tmp_path_factory.mktemp("whole")
    write_mixed(folder, trainer=CALLBACKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("fit", "--config", "mixed.yaml", "--name", "whole")
    return folder


@pytest.fixture
def folder(whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check_same(one, two):
    assert Path("runs", one, "metrics.csv").read_text() == Path("runs", two, "metrics.csv").read_text()
    check_same_labels_and_weights(one, two)


def check_same_labels_and_weights(one, two):
    files = [sorted(Path("runs", name, "pseudo_labels").glob("*")) for name in (one, two)]
    assert [file.name for file in files[0]] == [file.name for file in files[1]]
    assert len(files[0]) > 1
    for a, b in zip(*([np.load(file) for file in each] for each in files), strict=True):
        assert all(np.array_equal(a[key], b[key]) for key in ("images", "landmarks", "confidence"))
    for file in Path("runs", one, "checkpoints").glob("*"):
        a, b = weights(f"runs/{one}", file.name), weights(f"runs/{two}", file.name)
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_run_that_dies_in_each_round_ends_as_an_uninterrupted_one(folder, monkeypatch):
    for death in DEATHS:
        monkeypatch.setenv("DIE_AT", death)
        with pytest.raises(Died):
            run("fit", "--config", "mixed.yaml", "--name", "killed", "--resume", "auto")
    monkeypatch.delenv("DIE_AT")
    run("fit", "--config", "mixed.yaml", "--name", "killed", "--resume")
    check_same("whole", "killed")


@pytest.mark.thorough
def test_a_run_killed_between_two_rounds_and_resumed_with_workers(folder):
    """The kill comes when the labels of round 2 are written and the checkpoint of their epoch is not."""
    words = ("fit", "--config", "mixed.yaml", "--name", "killed", "--data.init_args.labelled.init_args.num_workers=1")
    killed = start(*words, *QUIET, DIE_AT="3 end", KILL="yes", OMP_NUM_THREADS="1", PYTHONPATH=".")
    output = output_of(killed)
    assert killed.returncode == -signal.SIGKILL, output
    assert Path("runs/killed/pseudo_labels/round_2.npz").is_file()
    assert torch.load("runs/killed/checkpoints/last.ckpt", weights_only=True)["epoch"] == 2
    run(*words, "--resume")
    check_same("whole", "killed")


@pytest.mark.thorough
def test_rounds_that_continue_resume_too(folder, monkeypatch):
    write_mixed(folder, tasks=[64, 32], from_scratch=False, trainer={"max_epochs": 6, **CALLBACKS})
    run("fit", "--config", "mixed.yaml", "--name", "continued")
    monkeypatch.setenv("DIE_AT", "5 middle")
    with pytest.raises(Died):
        run("fit", "--config", "mixed.yaml", "--name", "killed")
    monkeypatch.delenv("DIE_AT")
    run("fit", "--config", "mixed.yaml", "--name", "killed", "--resume")
    check_same("continued", "killed")
    assert learnt("continued") == {2 * 2 + 4 * 3}  # all: weights go on, and what Adam remembers
    assert learnt("whole") == {2 * 3}  # those of the last round


def learnt(name):
    """How many batches the batch norms and the optimiser of a run's last checkpoint have seen."""
    checkpoint = torch.load(f"runs/{name}/checkpoints/last.ckpt", weights_only=True)
    counts = {int(value) for key, value in checkpoint["state_dict"].items() if key.endswith("num_batches_tracked")}
    return counts | {int(state["step"]) for state in checkpoint["optimizer_states"][0]["state"].values()}


@pytest.mark.thorough
@pytest.mark.parametrize("from_scratch", [True, False])
def test_a_run_that_is_given_another_task(tmp_path, monkeypatch, from_scratch):
    monkeypatch.chdir(tmp_path)
    write_mixed(tmp_path, tasks=[32, 32], from_scratch=from_scratch, trainer={"max_epochs": 3, **CALLBACKS})
    run("fit", "--config", "mixed.yaml", "--name", "whole")
    write_mixed(tmp_path, tasks=[32], from_scratch=from_scratch, trainer={"max_epochs": 2, **CALLBACKS})
    run("fit", "--config", "mixed.yaml", "--name", "finished")
    monkeypatch.setenv("DIE_AT", "1 middle")
    with pytest.raises(Died):
        run("fit", "--config", "mixed.yaml", "--name", "unfinished")
    monkeypatch.delenv("DIE_AT")
    for name in ("finished", "unfinished"):
        more = ("--model.init_args.tasks=[32,32]", "--trainer.max_epochs=3")
        run("fit", "--name", name, "--resume", *more)
        check_same_labels_and_weights("whole", name)
        assert logged("whole") == logged(name)


def logged(name):
    """What a run logged, whenever: its metrics of labels come an epoch later where a task was added."""
    with Path("runs", name, "metrics.csv").open(newline="") as file:
        rows = [row.items() for row in csv.DictReader(file)]
    return sorted((key, value) for row in rows for key, value in row if value and key not in ("epoch", "step"))


def test_labels_that_are_not_the_runs(folder, monkeypatch, capsys):
    monkeypatch.setenv("DIE_AT", "3 middle")
    with pytest.raises(Died):
        run("fit", "--config", "mixed.yaml", "--name", "killed")
    monkeypatch.delenv("DIE_AT")
    file, config = Path("runs/killed/pseudo_labels/round_1.npz"), Path("runs/killed/config.yaml")
    good, settings = file.read_bytes(), config.read_text()
    others = "--data.init_args.unlabelled=" + str([infrared(num_train=9)])
    broken = {
        "are not there; get back the file and the images that the run had, or start a new run": (file.unlink, ()),
        "not a readable file of pseudo-labels, or cut off": (lambda: file.write_bytes(good[:-200]), ()),
        "has the pseudo-labels of 7 faces, but there are 9": (lambda: file.write_bytes(good), (others,)),
        "those of this run have 2; set it to 8": (lambda: file.write_bytes(good), ("--trainer.max_epochs=12",)),
        "rounds of this run had the tasks [128]; only": (lambda: None, ("--model.init_args.tasks=[64,64,32]",)),
    }
    for sentence, (breaking, words) in broken.items():
        breaking()
        with pytest.raises(SystemExit):
            run("fit", "--config", "mixed.yaml", "--name", "killed", "--resume", *words)
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert said.startswith("error: "), said
        assert sentence in said
        assert "max_epochs" in said or "tasks" in said or str(file) in said
        assert torch.load("runs/killed/checkpoints/last.ckpt", weights_only=True)["epoch"] == 2
        assert config.read_text() == settings
    run("fit", "--name", "killed", "--resume")  # as if nothing had been tried
    check_same("whole", "killed")


def two_processes(*words):
    process = start("fit", *words, *QUIET, OMP_NUM_THREADS="1", PYTHONPATH=".")
    output = output_of(process)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A folder with a run of two rounds of one epoch on two processes, and what it told."""
    folder = tmp_path_factory.mktemp("two")
    callbacks = [{"class_path": "tests.mixed_experiment.Witness"}]
    # No validation, which would give all ranks the running means of rank 0.
    trainer = {"max_epochs": 2, "callbacks": callbacks, "limit_val_batches": 0, "devices": 2, "strategy": "ddp"}
    write_mixed(folder, tasks=[32], trainer=trainer)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder, two_processes("--config", "mixed.yaml", "--name", "two")


def check_taught():
    """Each rank was taught by its part of the others in round 1, and by none in round 0."""
    for rank in range(2):
        for line in Path(f"taught_{rank}").read_text().splitlines():
            epoch, others, taught = map(int, line.split())
            assert others == taught
            assert bool(others) == bool(epoch)


@pytest.mark.thorough
def test_two_processes_share_the_faces_out_and_begin_rounds_alike(two, monkeypatch):
    folder, output = two
    monkeypatch.chdir(folder)
    check_taught()
    assert output.count("round 1 of 1, epoch 1:") == 1
    assert Path("written").read_text() == "rank 0 round_1.npz\n"
    moments = ("start_0", "end_0", "start_1", "end_1")
    kept = {m: [torch.load(f"{m}_{rank}.pt", weights_only=True) for rank in range(2)] for m in moments}
    module = SelfTraining(98, tasks=(32,), backbone="test_resnet", pretrained=False)
    for moment in moments:
        parameters = dict(module.named_parameters())
        assert all(torch.equal(kept[moment][0][key], kept[moment][1][key]) for key in parameters), moment
    assert all(torch.equal(value, kept["end_0"][1][key]) for key, value in kept["end_0"][0].items())
    assert not torch.equal(kept["start_1"][0]["network.score.weight"], kept["end_0"][0]["network.score.weight"])
    module.load_state_dict(kept["end_0"][0])
    module.eval()
    others = make(infrared())
    faces = others.dataset(others.load("train"))
    labels = np.load("runs/two/pseudo_labels/round_1.npz")
    assert len(faces) == len(labels["landmarks"]) == 7
    with torch.no_grad():
        for row, sample in enumerate(faces[i] for i in range(7)):
            expected = module.predict_step({key: value.unsqueeze(0) for key, value in sample.items()}, 0)
            np.testing.assert_allclose(labels["landmarks"][row], expected["landmarks"][0], atol=1e-2)
            np.testing.assert_allclose(labels["confidence"][row], expected["confidence"][0], atol=1e-5)


@pytest.mark.thorough
def test_two_processes_that_are_killed_in_a_round_of_pseudo_labels(two, tmp_path, monkeypatch):
    """What is left on disk of a run that is killed in round 1 is that of the whole run, with the checkpoint before."""
    shutil.copytree(two[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    shutil.copytree("runs/two", "runs/killed")
    shutil.copy("start_1.ckpt", "runs/killed/checkpoints/last.ckpt")
    output = two_processes("--name", "killed", "--resume")
    assert output.count("round 1 of 1 goes on with the pseudo-labels in") == 1
    check_taught()
    assert Path("runs/two/metrics.csv").read_text() == Path("runs/killed/metrics.csv").read_text()
    a, b = weights("runs/two"), weights("runs/killed")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(
        torch.equal(a[key], value) for key, value in torch.load("start_1.ckpt", weights_only=True)["state_dict"].items()
    )
