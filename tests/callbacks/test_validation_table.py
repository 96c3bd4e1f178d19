"""What ``validate`` prints: the table of ``test``, of the validation faces; and what validation logs of no face."""

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml

from datamodules.wflw import WFLW
from tests.drawn_faces import write_wflw
from tests.experiment import run, write_experiment


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on WFLW's format, of whose two validation faces each is in one of the six subsets."""
    folder = tmp_path_factory.mktemp("validated")
    data = {"root": str(write_wflw(folder / "faces", train=24, test=2)), "size": 32, "batch_size": 4, "num_workers": 0}
    config = {
        "name": "run",
        "model": {"class_path": "tests.tiny.Tiny", "init_args": {"num_landmarks": 98}},
        "data": {"class_path": "datamodules.wflw.WFLW", "init_args": data},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    }
    (folder / "wflw.yaml").write_text(yaml.safe_dump(config))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("fit", "--config", "wflw.yaml")
    return folder


def logged():
    """The last validation in metrics.csv."""
    with Path("runs/run/metrics.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["val/nme"]][-1]


def test_the_table_is_of_the_validation_faces_by_subset(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    capsys.readouterr()
    before = sorted(Path("runs").rglob("*"))
    data = run("validate", "--name", "run").datamodule
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == "run, validation faces of WFLW: NME inter-ocular, box landmarks-1.2, 2 faces"
    held_out = WFLW(root=folder / "faces").fit_faces()[1].subsets
    sizes = dict(zip(data.subset_names, held_out.sum(axis=0).tolist(), strict=True))
    assert sorted(sizes.values()) == [0, 0, 0, 0, 1, 1]
    table = {line.split()[0]: line.split()[1:] for line in lines if line.strip().startswith(("full", *sizes))}
    there = {name: size for name, size in sizes.items() if size}
    assert {name: int(cells[0]) for name, cells in table.items()} == {"full": 2, **there}
    row = logged()
    assert {name: float(cells[1]) for name, cells in table.items()} == pytest.approx(
        {"full": float(row["val/nme"]), **{name: float(row[f"val/nme/{name}"]) for name in there}}, abs=0.006
    )
    mean_shape = [float(table[name][5]) for name in ("full", *there)]
    assert mean_shape[0] == pytest.approx(np.mean(mean_shape[1:]), abs=0.011)
    assert "val/" not in "".join(lines)
    assert sorted(Path("runs").rglob("*")) == before


def test_metrics_have_no_cell_that_is_no_number(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert "nan" not in Path("runs/run/metrics.csv").read_text()
    assert sum(key.startswith("val/nme/") for key in logged()) == 2


def test_the_training_file_is_named_where_it_has_a_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path)
    run("fit", "--config", "tiny.yaml", "--trainer.max_epochs=1")
    run("validate", "--name", "tiny")
    title = "tiny, validation faces of faces train: NME inter-ocular, box landmarks-1.2, 7 faces"
    assert title in capsys.readouterr().out.splitlines()
