"""Heatmap modules through the command line: fit, resume, test and predict, and mistakes."""

import csv
from pathlib import Path

import pytest
import torch

from lightning_modules.backbones.timm_pyramid import TimmPyramid
from tests.experiment import run, weights, write_method

PACKAGE = "lightning_modules.wasserstein_hrnet"
METHODS = {
    "HRNet": {"backbone": "hrnet_w18_small"},
    "SimpleBaselines": {"backbone": "test_resnet", "pretrained": False},
    "CPN": {"backbone": "resnet10t", "pretrained": False, "coordconv": True},
    "StackedHourglass": {"stacks": 1, "width": 16},
}
L2 = {"loss": {"class_path": f"{PACKAGE}.HeatmapL2", "init_args": {"sigma": 1.5}}}
L2 |= {"decoding": {"class_path": f"{PACKAGE}.QuarterOffset"}}
LOSSES = {"HRNet": {}, "SimpleBaselines": L2, "CPN": {}, "StackedHourglass": {}}


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """Writes an experiment of a method on drawn faces of 64 pixels."""
    monkeypatch.chdir(tmp_path)

    def write(method, **options):
        model = {"num_landmarks": 98, **METHODS[method], **LOSSES[method], **options}
        return write_method(tmp_path, f"{PACKAGE}.{method}", model)

    return write


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "method",
    ["HRNet", "SimpleBaselines", *(pytest.param(m, marks=pytest.mark.thorough) for m in ("CPN", "StackedHourglass"))],
)
def test_it_trains_resumes_tests_and_predicts(experiment, monkeypatch, method):
    fetched = []
    monkeypatch.setattr(TimmPyramid, "load_imagenet", lambda self: fetched.append(self.name))
    config, folder = experiment(method), Path("runs", method)
    first = run("fit", "--config", config, "--trainer.max_epochs=1")
    begun = weights(folder)
    assert fetched == (["hrnet_w18_small"] if method == "HRNet" else [])
    monkeypatch.setattr(TimmPyramid, "load_imagenet", None)  # from here on a checkpoint holds everything
    again = run("fit", "--config", config, "--trainer.max_epochs=2", "--resume")
    assert again.trainer.global_step == 2 * first.trainer.global_step == 8
    assert any((weights(folder)[key] != begun[key]).any() for key in begun if key.endswith("weight"))
    assert (again.model.loss, again.model.decoding) == (first.model.loss, first.model.decoding)
    alone = type(first.model).load_from_checkpoint(folder / "checkpoints/last.ckpt", weights_only=True)
    assert (alone.loss, alone.decoding, alone.coordconv) == (again.model.loss, again.model.decoding, method == "CPN")
    assert all(torch.equal(value, alone.state_dict()[key]) for key, value in weights(folder).items())
    tested = run("test", "--config", config)
    (row,) = read(folder / "test/faces_test_landmarks-1.2.csv")
    values = {key: float(value) for key, value in tested.trainer.callback_metrics.items()}
    for key in ("nme", "fr08", "fr05_landmarks", "fr20_landmarks"):
        assert float(row[key]) == pytest.approx(values[f"test/{key}"], abs=1e-3)
    run("predict", "--config", config)
    (file,) = (folder / "predictions").iterdir()
    confidence = [float(row["confidence"]) for row in read(file)]
    assert len(confidence) == 6
    assert all(0 <= value <= 1 for value in confidence)


@pytest.mark.parametrize(
    ("method", "words", "sentence"),
    [
        ("HRNet", ["--model.init_args.backbone=resnet18"], "model.init_args.backbone is 'resnet18', expected an HRNet"),
        ("HRNet", ["--data.init_args.size=72"], "images are 72 x 72 pixels, expected sides divisible by 32; set the"),
        ("HRNet", ["--model.init_args.num_landmarks=68"], "num_landmarks is 68 but CSVLandmarks has 98"),
        (
            "HRNet",
            ["--model.init_args.loss.init_args.sigma=0"],
            "model.init_args.loss.init_args.sigma is 0.0, expected",
        ),
        (
            "HRNet",
            ["--model.init_args.loss.init_args.epsilon=0.01"],
            "model.init_args.loss.init_args.epsilon is 0.01 cells, expected at least 0.083 with sigma 1",
        ),
        ("StackedHourglass", ["--data.init_args.size=96"], "expected sides divisible by 64"),
        ("StackedHourglass", ["--model.init_args.stacks=0"], "model.init_args.stacks is 0, expected at least 1"),
    ],
)
def test_mistakes_are_one_sentence(experiment, capfd, method, words, sentence):
    options = {} if method == "StackedHourglass" else {"pretrained": False}
    if "loss" in words[0]:
        options["loss"] = {"class_path": f"{PACKAGE}.Wasserstein", "init_args": {"sigma": 1.0}}
    with pytest.raises(SystemExit) as stopped:
        run("fit", "--config", experiment(method, **options), *words)
    assert stopped.value.code in (1, 2)
    said = capfd.readouterr().err
    assert sentence in said
    assert "Traceback" not in said
    assert not Path("runs", method).exists()
