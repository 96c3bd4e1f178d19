"""The last epoch is validated whatever the interval of validation is."""

import csv
from pathlib import Path

from tests.experiment import run, write_experiment


def validated_epochs():
    with Path("runs/tiny/metrics.csv").open(newline="") as file:
        return [int(row["epoch"]) for row in csv.DictReader(file) if row.get("val/nme")]


def test_a_run_ends_with_a_best_checkpoint_and_goes_on_with_its_interval(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path, check_val_every_n_epoch=2)
    run("fit", "--config", "tiny.yaml", "--trainer.max_epochs=1")
    assert validated_epochs() == [0]
    run("test", "--name", "tiny")
    run("fit", "--name", "tiny", "--resume", "--trainer.max_epochs=5")
    assert validated_epochs() == [0, 1, 3, 4]
    assert "check_val_every_n_epoch: 2" in Path("runs/tiny/config.yaml").read_text()
