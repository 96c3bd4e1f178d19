"""Every config trains and tests on drawn or generated faces, through the command line; one of each method resumes."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from callbacks.arguments import CONFIGS
from tests.drawn_bbc import write_bbc
from tests.drawn_cats import write_cats
from tests.drawn_celeba import write_celeba
from tests.drawn_faces import draw, random_face, save, write_csv, write_wflw
from tests.drawn_matlab import write_aflw, write_cofw
from tests.drawn_pts import write_menpo2d, write_w300
from tests.drawn_videos import write_w300vw
from tests.experiment import run

TRAINER = {"accelerator": "cpu", "limit_train_batches": 2, "limit_val_batches": 1, "limit_test_batches": 2}
TRAINER |= {"check_val_every_n_epoch": 1, "callbacks+": "tests.experiment.StopAfterEpoch"}
LOADING = {"batch_size": 2, "num_workers": 0}
NARROW = {"injection_width": 8, "width": 8, "width_step": 4, "early_epochs": 1}  # LDEQ
SMALL = {"backbone": "test_resnet", "pretrained": "false"}  # PIPNet and its baselines
SMALL_DISCOVERY = {"widths": "[8, 16, 16]", "width": 8, "blocks": 1, "contrastive_epochs": 1}
SMALL_HRNET = {"backbone": "hrnet_w18_small", "pretrained": "false"}
RESUMED = ("ldeq_wflw.yaml", "pipnet_gssl_stc.yaml", "hrnet_300w.yaml", "discovery_cat_head.yaml")  # all methods


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """All data of the configs, in the folders that they name."""
    root = tmp_path_factory.mktemp("data")
    write_csv(root / "300w", train=12, landmarks=68)
    write_wflw(root / "WFLW")
    write_w300(root / "300W")
    write_cofw(root / "COFW")
    write_aflw(root / "AFLW")
    write_menpo2d(root / "Menpo2D")
    write_w300vw(root / "300VW", {"001": 30, "002": 31, "009": 29, "114": 4, "203": 3, "410": 3})  # a fifth trains
    write_celeba(root / "CelebA")
    write_cats(root / "CAT")
    write_bbc(root / "BBCPose")
    write_celeba_in_the_wild(root / "CelebA/Img/img_celeba")
    write_celeba_in_the_wild(root / "faces")
    return root


def write_celeba_in_the_wild(folder, count=4):
    """Photographs and the CSV that is made of PIPNet's list of boxes."""
    rng = np.random.default_rng(0)
    lines = ["file,left,top,right,bottom"]
    for index in range(count):
        save(draw([random_face(rng, (80, 70), 30)], 170, 150), folder / f"{index + 1:06}.jpg")
        lines.append(f"{index + 1:06}.jpg,45,35,115,108")
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n")


def small(config):
    """The options that make a config small, and its epochs, one a round."""
    content = yaml.safe_load((CONFIGS / config).read_text())
    model, data = content["model"], content["data"]
    given = (yaml.safe_load((CONFIGS / data).read_text()) if isinstance(data, str) else data)["init_args"]
    tasks = model["init_args"].get("tasks", [1])
    mixed = "labelled" in given
    data = {**LOADING} if mixed else {**LOADING, "size": 64}
    data |= {"num_train": 60, "num_test": 4} if "num_train" in given else {"validation_fraction": 0.4}
    networks = {"LDEQ": NARROW, "HRNet": SMALL_HRNET, "Discovery": SMALL_DISCOVERY}
    network = networks.get(model["class_path"].rpartition(".")[2], SMALL)
    network = {**network, "size": 64} if model["class_path"].endswith("CoordNet") else network
    of_data = "data.init_args.labelled.init_args" if mixed else "data.init_args"
    settings = {f"model.init_args.{key}": value for key, value in network.items()}
    settings |= {f"{of_data}.{key}": value for key, value in data.items()}
    settings |= {f"trainer.{key}": value for key, value in {**TRAINER, "max_epochs": 1 + len(tasks)}.items()}
    return [f"--{key}={value}" for key, value in settings.items()], 1 + len(tasks)


@pytest.mark.parametrize("config", sorted(path.name for path in CONFIGS.glob("*.yaml")))
def test_config_trains_and_tests(config, drawn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANDMARK_DATA", str(drawn))
    monkeypatch.setattr("datamodules.aflw.TRAINING_FACES", 12)  # of the 20 drawn faces
    options, epochs = small(config)
    resuming = ()
    if config in RESUMED:
        monkeypatch.setenv("STOP_AFTER_EPOCH", "0")
        assert run("fit", "--config", config, *options).trainer.global_step == 2
        monkeypatch.delenv("STOP_AFTER_EPOCH")
        resuming = ("--resume",)
    trained = run("fit", "--config", config, *options, *resuming)  # past LDEQ's early gradient, through all rounds
    assert trained.trainer.global_step == 2 * epochs
    name = Path(config).stem
    assert torch.load(f"runs/{name}/checkpoints/last.ckpt", weights_only=True)["global_step"] == 2 * epochs
    tested = run("test", "--config", config, *options)
    assert 0 < tested.trainer.callback_metrics["test/nme"] < 1000
    assert {path.suffix for path in Path(f"runs/{name}/test").iterdir()} == {".csv", ".json", ".png"}
    if f"--name {name} --config data/300w_to_wflw68.yaml" in (CONFIGS / config).read_text():
        elsewhere = run("test", "--name", name, "--config", "data/300w_to_wflw68.yaml")
        assert (elsewhere.datamodule.title, elsewhere.datamodule.markup.name) == ("WFLW", "ibug-68")
        assert 0 < elsewhere.trainer.callback_metrics["test/nme"] < 1000
