"""CoordNet and MapNet through the command line: fit, resume, test and predict, and mistakes."""

import csv
from pathlib import Path

import pytest
import torch

from lightning_modules.backbones.timm_backbone import TimmBackbone
from lightning_modules.metrics import point_variance
from tests.experiment import run, weights, write_method

METHODS = {"CoordNet": {"size": 64}, "MapNet": {"stride": 8}}


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """Writes an experiment of a method on drawn faces of 64 pixels."""
    monkeypatch.chdir(tmp_path)

    def write(method, **options):
        model = {"num_landmarks": 98, "backbone": "test_resnet", **METHODS[method], **options}
        return write_method(tmp_path, f"lightning_modules.pipnet.{method}", model)

    return write


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("method", ["CoordNet", pytest.param("MapNet", marks=pytest.mark.thorough)])
def test_it_trains_resumes_tests_and_predicts(experiment, monkeypatch, method):
    fetched = []
    monkeypatch.setattr(TimmBackbone, "load_imagenet", lambda self: fetched.append(self.name))
    config, folder = experiment(method), Path("runs", method)
    first = run("fit", "--config", config, "--trainer.max_epochs=1")
    begun = weights(folder)
    assert fetched == ["test_resnet"]
    again = run("fit", "--config", config, "--trainer.max_epochs=2", "--resume")
    assert again.trainer.global_step == 2 * first.trainer.global_step == 8
    assert fetched == ["test_resnet"]  # a checkpoint holds everything
    assert any((weights(folder)[key] != begun[key]).any() for key in begun if key.endswith("weight"))
    rates = [float(row["lr-Adam"]) for row in read(folder / "metrics.csv") if row["lr-Adam"]]
    assert sorted(set(rates)) == pytest.approx([1e-5, 1e-4])  # the first epoch's, and a tenth in the second half
    tested = run("test", "--config", config)
    values = {key: float(value) for key, value in tested.trainer.callback_metrics.items()}
    (row,) = read(folder / "test/faces_test_landmarks-1.2.csv")
    assert float(row["nme"]) == pytest.approx(values["test/nme"], abs=1e-3)
    assert float(row["point_var"]) == pytest.approx(values["test/point_var"], rel=1e-3)
    with torch.no_grad():
        of_faces = [
            point_variance(tested.model.eval()(batch["image"]).landmarks, batch["landmarks"], batch["norm"])
            for batch in tested.datamodule.test_dataloader()
        ]
    assert values["test/point_var"] == pytest.approx(float(torch.cat(of_faces).mean()), rel=1e-3)
    run("predict", "--config", config)
    (file,) = (folder / "predictions").iterdir()
    confidence = [float(row["confidence"]) for row in read(file)]
    assert len(confidence) == 6
    assert confidence == [1] * 6 if method == "CoordNet" else all(0 <= value <= 1 for value in confidence)
    assert fetched == ["test_resnet"]
    run("fit", "--config", config, "--trainer.max_epochs=2", "--name", "whole")
    whole, resumed = weights("runs/whole"), weights(folder)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


@pytest.mark.parametrize(
    ("method", "words", "sentence"),
    [
        ("CoordNet", ["--data.init_args.size=96"], "images are 96 x 96 pixels, but model.init_args.size is 64"),
        ("CoordNet", ["--model.init_args.size=70"], "model.init_args.size is 70, expected a multiple of test_resnet's"),
        ("CoordNet", ["--model.init_args.num_landmarks=68"], "num_landmarks is 68 but CSVLandmarks has 98"),
        ("MapNet", ["--data.init_args.size=72"], "images are 72 x 72 pixels, expected sides divisible by 32"),
        ("MapNet", ["--model.init_args.stride=5"], "model.init_args.stride is 5, expected test_resnet's 32, halved"),
        ("MapNet", ["--model.init_args.sigma=0"], "model.init_args.sigma is 0.0, expected more than 0 pixels"),
    ],
)
def test_mistakes_are_one_sentence(experiment, capfd, method, words, sentence):
    with pytest.raises(SystemExit) as stopped:
        run("fit", "--config", experiment(method, pretrained=False), *words)
    assert stopped.value.code == 1
    said = capfd.readouterr().err
    assert sentence in said
    assert "Traceback" not in said
    assert not Path("runs", method).exists()


def test_weights_that_cannot_be_had_leave_no_run_behind(experiment, monkeypatch, capfd):
    def fail(self):
        raise ValueError("the ImageNet weights could not be fetched")

    monkeypatch.setattr(TimmBackbone, "load_imagenet", fail)
    with pytest.raises(SystemExit):
        run("fit", "--config", experiment("MapNet"))
    assert "error: the ImageNet weights could not be fetched" in capfd.readouterr().err
    assert not Path("runs/MapNet").exists()


def test_another_size_than_the_trained_one_is_refused_in_a_test_too(experiment, capfd):
    config = experiment("CoordNet", pretrained=False)
    run("fit", "--config", config, "--trainer.max_epochs=1", "--trainer.limit_train_batches=1")
    with pytest.raises(SystemExit):
        run("test", "--config", config, "--data.init_args.size=96")
    assert "images are 96 x 96 pixels, but model.init_args.size is 64" in capfd.readouterr().err
