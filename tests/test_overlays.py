"""Parts of configs, laid over a config, train."""

import pytest

from tests.drawn_faces import write_wflw
from tests.drawn_pts import write_w300
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


@pytest.mark.parametrize(
    ("overlay", "millions"),  # of Table 9, which are those of 68 landmarks
    [
        ("resnet50", 26.7),
        ("resnet101", 45.7),
        ("mobilenetv2", 4.2),
        ("mobilenetv3", 4.5),
        ("efficientnet_lite0", None),
    ],
)
def test_pipnet_trains_a_step_with_another_backbone(overlay, millions, tmp_path):
    write_w300(tmp_path)
    words = ("--config", "pipnet_300w.yaml", "--config", f"pipnet_{overlay}.yaml", f"--data.init_args.root={tmp_path}")
    options = (*BATCH, "--data.init_args.validation_fraction=0.4", "--data.init_args.size=64")
    cli = run("fit", *words, *STEP, *options, "--model.init_args.pretrained=false")
    assert cli.trainer.global_step == 1
    assert overlay.replace("_", "") in cli.model.network.backbone.name.replace("_", "")
    if millions:
        assert sum(p.numel() for p in cli.model.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
