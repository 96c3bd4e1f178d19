"""Parts of configs, laid over a config, train."""

import pytest

from tests.drawn_faces import write_wflw
from tests.experiment import run

STEP = ("--trainer.fast_dev_run=1", "--trainer.accelerator=cpu", "--trainer.precision=32-true")
BATCH = ("--data.init_args.batch_size=2", "--data.init_args.num_workers=0")
NARROW = ("--model.init_args.injection_width=8", "--model.init_args.width=8", "--model.init_args.width_step=4")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_small_network_trains_a_step_on_wflw(tmp_path):
    root = write_wflw(tmp_path / "faces", train=8)
    words = ("--config", "ldeq_wflw.yaml", "--config", "ldeq_small.yaml", f"--data.init_args.root={root}")
    cli = run("fit", *words, *STEP, *BATCH, "--data.init_args.validation_fraction=0.4")
    assert cli.trainer.global_step == 1
    assert (type(cli.datamodule).__name__, cli.datamodule.size) == ("WFLW", 128)
    assert 1.9e6 < sum(p.numel() for p in cli.model.parameters()) < 2.1e6  # README's 2.0 M


def test_generated_faces_take_the_place_of_wflw():
    words = ("--config", "ldeq_wflw.yaml", "--config", "data/synthetic.yaml", "--data.init_args.num_train=20")
    cli = run("fit", *words, *STEP, *BATCH, *NARROW)
    assert cli.trainer.global_step == 1
    assert (type(cli.datamodule).__name__, cli.datamodule.box) == ("SyntheticFaces", "provided-1.2")
