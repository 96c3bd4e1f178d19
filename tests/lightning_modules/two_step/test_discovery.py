"""Both steps through the command line: what each trains, resuming, features of another run, and mistakes."""

import csv
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from lightning_modules.drawing import SIDE
from lightning_modules.processes import Draws
from lightning_modules.two_step import Discovery
from lightning_modules.two_step.measured import DEFORMATION
from lightning_modules.two_step.probe import Ridge
from tests.drawn_faces import write_csv
from tests.experiment import run, weights
from tests.mixed_experiment import infrared, synthetic

SMALL = {"num_landmarks": 98, "discovered": 6, "channels": 8, "widths": [8, 8, 16], "width": 8, "blocks": 1}
SMALL |= {"contrastive_epochs": 2, "points": 20, "probe_faces": 10, "lr": 1e-3}
DATA = {"size": 64, "num_train": 20, "num_test": 4, "validation_fraction": 0.2}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes ``small.yaml``: two epochs of each step on generated faces of 64 pixels."""
    monkeypatch.chdir(tmp_path)

    def written(data=None, **options):
        config = {
            "model": {"class_path": "lightning_modules.two_step.Discovery", "init_args": {**SMALL, **options}},
            "data": data or synthetic(**DATA),
            "trainer": {"max_epochs": 4, "accelerator": "cpu", "callbacks": "tests.experiment.StopAfterEpoch"},
        }
        config["trainer"]["callbacks"] = [{"class_path": config["trainer"]["callbacks"]}]
        Path("small.yaml").write_text(yaml.safe_dump(config))
        return "small.yaml"

    return written


def changed(one, other, part):
    keys = [key for key in one if key.startswith(part)]
    assert len(keys) > 3
    return [key for key in keys if not torch.equal(one[key], other[key])]


def stop_after(epoch, monkeypatch, *words):
    with monkeypatch.context() as patch:
        patch.setenv("STOP_AFTER_EPOCH", str(epoch))
        return run("fit", *words)


def test_each_step_trains_its_part_and_a_resumed_run_ends_as_a_whole_one(write, monkeypatch, capsys):
    config = write()
    run("fit", "--config", config, "--name", "whole")
    said = capsys.readouterr().out
    assert "step 1, epochs 0 to 1: features by contrast" in said
    assert "step 2 from epoch 2: landmarks by equivariance, the features stay as they are" in said
    stop_after(0, monkeypatch, "--config", config, "--name", "parts")
    begun = weights("runs/parts")
    stop_after(1, monkeypatch, "--name", "parts", "--resume")
    after_first = weights("runs/parts")
    assert len(changed(begun, after_first, "feature_network.")) > 10
    assert changed(begun, after_first, "head.") == []
    run("fit", "--name", "parts", "--resume")
    after_second, whole = weights("runs/parts"), weights("runs/whole")
    assert changed(after_first, after_second, "feature_network.") == []
    assert len(changed(after_first, after_second, "head.")) > 3
    assert all(torch.equal(whole[key], after_second[key]) for key in whole)
    assert Path("runs/parts/metrics.csv").read_text() == Path("runs/whole/metrics.csv").read_text()
    stop_after(2, monkeypatch, "--config", config, "--name", "late")  # inside of step 2
    assert changed(weights("runs/late"), whole, "head.")
    run("fit", "--name", "late", "--resume")
    assert all(torch.equal(whole[key], value) for key, value in weights("runs/late").items())
    assert Path("runs/late/metrics.csv").read_text() == Path("runs/whole/metrics.csv").read_text()
    tested = run("test", "--name", "whole")
    assert 0 < tested.trainer.callback_metrics["test/nme"] < 300


def test_the_features_of_a_run_serve_another(write, monkeypatch, capsys):
    """Step 2 alone is what follows step 1 in one run, but for the random numbers."""
    run("fit", "--config", write(), "--name", "first", "--trainer.max_epochs=2")
    path = "runs/first/checkpoints/last.ckpt"
    config = write(contrastive_epochs=0, features=path)
    capsys.readouterr()
    run("fit", "--config", config, "--name", "second", "--trainer.max_epochs=2")
    assert f"features of {path}, after epoch 1" in capsys.readouterr().out
    assert changed(weights("runs/first"), weights("runs/second"), "feature_network.") == []
    assert torch.load("runs/second/checkpoints/last.ckpt", weights_only=True)["hyper_parameters"]["features"] == path
    last = torch.load("runs/second/checkpoints/last.ckpt", weights_only=True)
    assert last["features_used"] == f"features of {path}, after epoch 1 (step 6)"
    Path(path).unlink()
    run("fit", "--name", "second", "--resume", "--trainer.max_epochs=3")  # the checkpoint holds them


@pytest.mark.parametrize("contrastive_epochs", [0, 2])
def test_features_that_are_not_frozen_go_on_learning(write, monkeypatch, contrastive_epochs):
    """End to end, or fine-tuned after step 1."""
    config = write(contrastive_epochs=contrastive_epochs, freeze_features=False)
    stop_after(2, monkeypatch, "--config", config, "--name", "run")
    before = weights("runs/run")
    run("fit", "--name", "run", "--resume")
    assert len(changed(before, weights("runs/run"), "feature_network.")) > 10


def test_the_regression_is_that_of_clean_training_faces(write):
    trained = run("fit", "--config", write(), "--trainer.max_epochs=1")
    module, data = trained.model.eval(), trained.datamodule
    faces = data._datasets["train"]
    rows = torch.linspace(0, len(faces) - 1, 10).round().int().tolist()
    samples = [faces[row] for row in rows]
    with torch.no_grad():
        found = torch.cat([module.discover(sample["image"].unsqueeze(0)).landmarks for sample in samples])
        truth = torch.stack([sample["landmarks"] for sample in samples])
        expected = Ridge().fit(found, truth, 64)
        torch.testing.assert_close(module.probe_weights, expected, rtol=0.05, atol=1e-3)
        predicted = module(samples[0]["image"].unsqueeze(0)).landmarks
        torch.testing.assert_close(predicted, Ridge().predict(found[:1], expected, 64), rtol=1e-3, atol=1e-2)


def test_a_test_tells_what_few_labels_and_deformed_images_show(write):
    config = write(probe_faces=None)
    run("fit", "--config", config)
    tested = run("test", "--config", config)
    count, folder = str(tested.datamodule.fit_counts()[0]), Path("runs/small/test")
    few, curves = (read(next(folder.glob(f"*_{name}.csv"))) for name in ("few_labels", "equivariance"))
    assert [(row["origin"], row["samples"], row["repeats"]) for row in few if row["origin"] == "corner"] == [
        ("corner", "1", "10"),
        ("corner", "5", "10"),
        ("corner", "10", "10"),
        ("corner", count, "1"),
    ]
    (everything,) = [row for row in few if (row["origin"], row["samples"]) == ("corner", count)]
    assert float(everything["nme"]) == pytest.approx(float(tested.trainer.callback_metrics["test/nme"]), rel=1e-3)
    assert list(curves[0]) == ["distance", "layer1", "layer2", "chance"]
    assert [row["distance"] for row in curves] == [str(d) for d in range(41)]
    for key in ("layer1", "layer2", "chance"):
        shares = [float(row[key]) for row in curves]
        assert shares == sorted(shares)
        assert 0 <= shares[0] < shares[-1] <= 100
    following = read(next(folder.glob("*_following.csv")))
    assert [row["landmark"] for row in following] == [str(i) for i in range(6)]
    assert all(float(row["error"]) >= 0 < float(row["moved"]) < 20 for row in following)
    for name in ("discovered", "heatmaps", "similarity"):
        with Image.open(next(folder.glob(f"*_{name}.png"))) as image:
            assert image.width == 4 * SIDE
    page = Path("runs/small/report.html").read_text()
    for title in ("Error with few labels", "Equivariance of the features", "Discovered landmarks", "Their heatmaps"):
        assert page.count(f"<h4>{title}</h4>") == 1


def test_the_regression_can_be_fitted_on_validation_faces(write, capsys):
    """As of BBC Pose in the paper: then the few labels are theirs too."""
    run("fit", "--config", write(probe_faces=None, probe_split="validation", contrastive_epochs=0))
    tested = run("test", "--name", "small", "--ckpt_path", "last")
    count = str(tested.datamodule.fit_counts()[1])
    few = read(next(Path("runs/small/test").glob("*_few_labels.csv")))
    assert [row["samples"] for row in few if row["origin"] == "corner"] == ["1", "5", count]
    (everything,) = [row for row in few if (row["origin"], row["samples"]) == ("corner", count)]
    assert float(everything["nme"]) == pytest.approx(float(tested.trainer.callback_metrics["test/nme"]), rel=1e-3)


def test_how_landmarks_follow_is_what_a_loop_says(write):
    """By the deformation of each face's index."""
    run("fit", "--config", write(), "--trainer.max_epochs=1")
    tested = run("test", "--name", "small", "--ckpt_path", "last")
    module, faces = tested.model.eval(), tested.datamodule._datasets["test"]
    errors = []
    for sample in (faces[i] for i in range(4)):
        image = sample["image"].unsqueeze(0).float()
        drawn = DEFORMATION.draw(Draws(1, torch.Generator().manual_seed(int(sample["index"]))), 64, 64)
        with torch.no_grad():
            here, there = (module.discover(each).landmarks for each in (image, drawn.warp(image)[0]))
        moved = drawn.forward(here)
        errors.append((there - moved).norm(dim=-1).where(drawn.inside(moved), torch.nan)[0])
    expected = torch.stack(errors).nanmean(dim=0)
    following = read(next(Path("runs/small/test").glob("*_following.csv")))
    torch.testing.assert_close(torch.tensor([float(row["error"]) for row in following]), expected, rtol=1e-3, atol=1e-3)


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_faces_without_labels_are_learnt_from(write):
    mixture = {"labelled": synthetic(**DATA), "unlabelled": [infrared(size=64)], "ratio": 1.0}
    config = write(data={"class_path": "datamodules.mixture.Mixture", "init_args": mixture})
    trained = run("fit", "--config", config)
    labelled = len(trained.datamodule.mixed.parts[0])
    assert trained.trainer.global_step == 4 * (2 * labelled // 4)


@pytest.mark.parametrize("epoch", [0, 2])
def test_batches_of_one_image_teach(epoch, monkeypatch):
    torch.manual_seed(0)
    module = Discovery(**SMALL)
    module.log = module.log_dict = lambda *args, **options: None
    monkeypatch.setattr(type(module), "current_epoch", epoch)
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    loss = module.training_step({"image": image}, 0)
    loss.backward()
    assert loss.isfinite()
    trained = module.head if epoch else module.feature_network
    assert all(p.grad.isfinite().all() for p in trained.parameters())
    assert any(p.grad.any() for p in trained.parameters())


def test_images_smaller_than_the_crop_are_enlarged(write, tmp_path):
    write_csv(tmp_path / "faces", train=12)  # of 120 x 100 pixels
    data = {"root": str(tmp_path / "faces"), "markup": "wflw-98", "size": 160, "box": "image"}
    data |= {"batch_size": 4, "num_workers": 0, "validation_fraction": 0.3}
    trained = run(
        "fit",
        "--config",
        write(data={"class_path": "datamodules.csv_landmarks.CSVLandmarks", "init_args": data}),
        "--trainer.max_epochs=3",
    )
    assert trained.trainer.global_step > 3


def test_collapse_is_said_in_the_log(write, capsys):
    """Without diversity and with a network that says the same for all, landmarks are all in one place."""
    config = write(contrastive_epochs=0, freeze_features=False, lr=0.0, diversity=0.0)
    run("fit", "--config", config, "--trainer.max_epochs=3")
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("collapse: ")]
    assert len(said) >= 1
    assert "landmarks (" in said[0]
    assert "model.init_args." in said[0]
    assert len(said) == len(set(said))  # once, not each epoch
    logged = read(Path("runs/small/metrics.csv"))
    counts = [float(row["train/coincident"]) for row in logged if row["train/coincident"]]
    assert len(counts) == 3
    assert counts[0] >= 2


def test_no_label_is_looked_at_but_by_the_regression():
    """The loss of a batch whose labels are all wrong is the same."""
    torch.manual_seed(0)
    module = Discovery(**{**SMALL, "widths": (8, 8, 16)})
    module.log = module.log_dict = lambda *args, **options: None
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    for epoch in (0, 2):
        type(module).current_epoch = property(lambda self, epoch=epoch: epoch)
        losses = []
        for landmarks in (torch.zeros(2, 98, 2), torch.full((2, 98, 2), torch.nan)):
            torch.manual_seed(1)
            losses.append(module.training_step({"image": image, "landmarks": landmarks}, 0).item())
        assert losses[0] == losses[1]
    del type(module).current_epoch


@pytest.mark.parametrize(
    ("options", "words", "sentence"),
    [
        ({"discovered": 65}, (), "discovered is 65, but images of 64 pixels have 64 patches of 8"),
        ({"discovered": 0}, (), "model.init_args.discovered is 0, expected at least 1"),
        ({"contrastive_epochs": -1}, (), "model.init_args.contrastive_epochs is -1, expected at least 0"),
        ({"probe_faces": 0}, (), "model.init_args.probe_faces is 0, expected at least 1"),
        ({"temperature": 0.0}, (), "model.init_args.temperature is 0.0, expected a number above 0, at most 1"),
        ({"decay": -1.0}, (), "model.init_args.decay is -1.0, expected a number above 0, at most 1"),
        ({"diversity": -1.0}, (), "model.init_args.diversity is -1.0, expected a number of at least 0"),
        ({"features": "nowhere.ckpt"}, (), "model.init_args.features is nowhere.ckpt, which is not there"),
        ({"widths": [8] * 8}, (), "images are 64 x 64 pixels, expected at least 128 for 7 halvings"),
        ({"probe_split": "test"}, (), "probe_split is 'test', expected 'training', 'validation'"),
        ({}, ("--model.init_args.num_landmarks=68",), "num_landmarks is 68 but SyntheticFaces has 98"),
    ],
)
def test_mistakes_are_one_sentence(write, capsys, options, words, sentence):
    with pytest.raises(SystemExit):
        run("fit", "--config", write(**options), *words)
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ")
    assert sentence in said


def test_features_of_another_width_are_refused(write, capsys):
    run("fit", "--config", write(), "--name", "first", "--trainer.max_epochs=1")
    with pytest.raises(SystemExit):
        run("fit", "--config", write(features="runs/first/checkpoints/last.ckpt", channels=16), "--name", "second")
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "has other features: last.weight is (8, 8, 1, 1) in it but (16, 8, 1, 1) in this model" in said
    Path("broken.ckpt").write_bytes(b"none")
    with pytest.raises(SystemExit):
        run("fit", "--config", write(features="broken.ckpt"), "--name", "second")
    assert "broken.ckpt: not a readable checkpoint" in capsys.readouterr().err
