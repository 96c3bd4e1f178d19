"""Parts of configs, laid over a config, train."""

import csv
from pathlib import Path

import pytest
import yaml

from callbacks.arguments import CONFIGS
from lightning_modules.wasserstein_hrnet import (
    CPN,
    Barycentre,
    HeatmapL2,
    HRNet,
    JensenShannon,
    QuarterOffset,
    SimpleBaselines,
    SoftArgmax,
    StackedHourglass,
    Wasserstein,
)
from tests.drawn_cats import write_cats
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


def test_recurrences_are_tested_side_by_side():
    small = (*NARROW, "--data.init_args.size=64", "--data.init_args.num_workers=0")
    run(
        "fit",
        "--config",
        "ldeq_synthetic.yaml",
        *small,
        *STEP[1:],
        "--trainer.max_epochs=1",
        "--data.init_args.num_train=40",
    )
    videos = ("--config", "data/synthetic_videos.yaml", "--config", "ldeq_recurrences.yaml")
    run(
        "test",
        "--name",
        "ldeq_synthetic",
        *videos,
        *small[3:],
        "--data.init_args.num_test=2",
        "--data.init_args.frames=3",
    )
    with next(Path("runs/ldeq_synthetic/test").glob("*_videos.csv")).open(newline="") as file:
        methods = [row["method"] for row in csv.DictReader(file)]
    others = ["RwR, 1 iteration", "RwR, not moved", "RwR, 1 iteration, not moved"]
    others += [f"Eq. 8, alpha {alpha}" for alpha in ("0.1", "1", "10")]
    assert methods == ["each frame alone", "RwR", *others, "EMA 0.15", "EMA 0.3", "EMA 0.5"]


def test_generated_faces_take_the_place_of_wflw():
    words = ("--config", "ldeq_wflw.yaml", "--config", "data/synthetic.yaml", "--data.init_args.num_train=20")
    cli = run("fit", *words, *STEP, *BATCH, *NARROW)
    assert cli.trainer.global_step == 1
    assert (type(cli.datamodule).__name__, cli.datamodule.box) == ("SyntheticFaces", "provided-1.2")


NETWORKS = {"hrnet_cpn.yaml": CPN, "hrnet_simple_baselines.yaml": SimpleBaselines}
NETWORKS |= {"hrnet_stacked_hourglass.yaml": StackedHourglass}
RESNET = "--model.init_args.backbone=resnet10t"


@pytest.mark.parametrize("overlay", sorted(path.name for path in (CONFIGS / "overlays").glob("hrnet_*.yaml")))
def test_hrnet_trains_a_step_with_what_its_paper_compares(overlay, tmp_path):
    write_w300(tmp_path)
    words = ("--config", "hrnet_300w.yaml", "--config", overlay, f"--data.init_args.root={tmp_path}")
    options = (*BATCH, "--data.init_args.validation_fraction=0.4", "--data.init_args.size=64")
    small = ("--model.init_args.backbone=hrnet_w18_small", "--model.init_args.pretrained=false")
    network = NETWORKS.get(overlay, HRNet)
    if network is not HRNet:
        small = ("--model.init_args.width=16",) if network is StackedHourglass else (*small[1:], RESNET)
    cli = run("fit", *words, *STEP, *options, *small)
    assert cli.trainer.global_step == 1
    found, words = cli.model, overlay.removesuffix(".yaml").split("_")[1:]
    assert type(found) is network
    if "backbone" in found.hparams and network is not HRNet:
        given = yaml.safe_load((CONFIGS / "overlays" / overlay).read_text())["model"]["init_args"]
        assert given["backbone"] == "resnet50"  # over configs whose backbone is HRNet's
    named = {"l2": HeatmapL2, "js": JensenShannon, "soft": SoftArgmax}
    assert type(found.loss) is named.get(words[0], Wasserstein)
    if words[-1].startswith("sigma"):
        assert found.loss.sigma == {"sigma1": 1, "sigma15": 1.5, "sigma3": 3}[words[-1]]
    assert type(found.decoding) is (QuarterOffset if words[0] == "l2" else Barycentre)
    assert found.coordconv == ("coordconv" in words)


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


def test_discovery_trains_a_step_end_to_end(tmp_path):
    write_cats(tmp_path)
    words = ("--config", "discovery_cat_head.yaml", "--config", "discovery_end_to_end.yaml")
    options = (*BATCH, "--data.init_args.validation_fraction=0.4", "--data.init_args.size=64")
    small = ("--model.init_args.widths=[8,8]", "--model.init_args.width=8", f"--data.init_args.root={tmp_path}")
    cli = run("fit", *words, *STEP, *options, *small)
    assert cli.trainer.global_step == 1
    assert (cli.model.contrastive_epochs, cli.model.freeze_features) == (0, False)
