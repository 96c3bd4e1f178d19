"""PIPNet through the command line: fit, resume, test, predict, what its checkpoints hold, and mistakes."""

import csv
import io
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from torch import nn

from lightning_modules.backbones.timm_backbone import TimmBackbone
from lightning_modules.pipnet import PIPNet
from lightning_modules.pipnet.neighbours import RepeatedListMean
from lightning_modules.pipnet.network import PIPNetwork
from lightning_modules.schedules import Cosine
from tests.experiment import run, weights, write_experiment

MODEL = {"num_landmarks": 98, "backbone": "test_resnet", "lr": 1e-3}
MERGE = "lightning_modules.pipnet.neighbours.RepeatedListMean"
SCHEDULE = {"class_path": "lightning_modules.schedules.Cosine", "init_args": {"warmup": 0.25}}


def write(folder):
    """``tiny.yaml`` in a folder: PIPNet on drawn faces of 64 pixels."""
    path = write_experiment(folder)
    config = yaml.safe_load(path.read_text())
    options = {**MODEL, "merge": {"class_path": MERGE}, "schedule": SCHEDULE}
    config["model"] = {"class_path": "lightning_modules.pipnet.PIPNet", "init_args": options}
    config["data"]["init_args"]["size"] = 64
    path.write_text(yaml.safe_dump(config))


def refused(*words):
    """Run, expect the process to end, and give its exit code and last line."""
    stream = io.StringIO()
    with pytest.raises(SystemExit) as end, redirect_stderr(stream):
        run(*words)
    return end.value.code, stream.getvalue().splitlines()[-1]


def test_it_trains_resumes_tests_and_predicts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    fetched = []
    monkeypatch.setattr(TimmBackbone, "load_imagenet", lambda self: fetched.append(self.name))
    folded = watch(monkeypatch)
    words = ("fit", "--config", "tiny.yaml", "--trainer.max_epochs=2")
    run(*words, "--name", "whole")
    assert fetched == ["test_resnet"]
    run("fit", "--config", "tiny.yaml", "--trainer.max_epochs=1", "--name", "halves")
    assert fetched == ["test_resnet"] * 2
    monkeypatch.setattr(TimmBackbone, "load_imagenet", None)  # from here on a checkpoint holds everything
    resumed = run(*words, "--name", "halves", "--resume")
    assert resumed.trainer.global_step == 8
    last = [row for row in rows("runs/whole/metrics.csv") if row["epoch"] == "1"]
    assert last == [row for row in rows("runs/halves/metrics.csv") if row["epoch"] == "1"]
    ours, others = weights("runs/whole"), weights("runs/halves")
    assert ours.keys() == others.keys()
    assert all(torch.equal(ours[key], others[key]) for key in ours)

    assert folded
    assert not any(folded)  # what is validated is what is trained
    for subcommand in ("test", "predict"):
        folded.clear()
        tested = run(subcommand, "--name", "halves", "--ckpt_path", "last")
        assert len(folded) >= 2
        assert all(folded)
    assert tested.model.detector is tested.model.network  # unfolded again
    module = PIPNet.load_from_checkpoint("runs/halves/checkpoints/last.ckpt", weights_only=True).eval()
    assert (module.merge, module.schedule) == (RepeatedListMean(), Cosine(0.25))
    check_predictions(module, tested.datamodule, Path("runs/halves"))
    check_neighbours(module, resumed.datamodule.mean_shape())


def watch(monkeypatch):
    """A list that gets, of each batch that landmarks are found in, whether a network without batch norms does it."""
    folded, forward = [], PIPNetwork.forward

    def watched(self, image):
        if not torch.is_grad_enabled():  # else it is being folded
            folded.append(not any(isinstance(module, nn.BatchNorm2d) for module in self.modules()))
        return forward(self, image)

    monkeypatch.setattr(PIPNetwork, "forward", watched)
    return folded


def rows(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def check_predictions(module, data, folder):
    """Those of the folded detector are the network's own."""
    batches = [*data.test_dataloader()]
    batch = {key: torch.cat([each[key] for each in batches]) for key in ("image", "landmarks", "norm", "crop")}
    with torch.no_grad():
        found = module(batch["image"]).landmarks
        error = (found - batch["landmarks"]).norm(dim=-1).mean(dim=-1) / batch["norm"]
        original = torch.einsum("bij,bnj->bni", batch["crop"][..., :2], found) + batch["crop"][:, None, :, 2]
    (file,) = (folder / "test").glob("*_faces.csv")  # the worst first
    worst_first = (100 * error).sort(descending=True).values.tolist()
    assert [float(row["nme"]) for row in rows(file)] == pytest.approx(worst_first, abs=1e-2)
    (file,) = (folder / "predictions").glob("*.csv")
    written = [[[float(row[f"{axis}{i}"]) for axis in "xy"] for i in range(98)] for row in rows(file)]
    np.testing.assert_allclose(written, original, atol=0.01)


def check_neighbours(module, mean_shape):
    """The ten nearest on the training faces' mean shape, and not those it was made with."""
    distance = torch.cdist(mean_shape, mean_shape).fill_diagonal_(torch.inf)
    furthest = distance.gather(1, module.neighbours).amax(dim=1)
    assert torch.allclose(furthest, distance.sort(dim=1).values[:, 9])
    assert not torch.equal(module.neighbours, PIPNet(**MODEL, pretrained=False).neighbours)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("--data.init_args.size=48",),
            "images are 48 x 48 pixels, expected sides divisible by 32; set the data's size",
        ),
        (("--model.init_args.stride=128",), "images are 64 x 64 pixels, expected sides divisible by 128"),
        (
            ("--model.init_args.stride=40",),
            "model.init_args.stride is 40, expected test_resnet's 32, halved or doubled",
        ),
        (("--model.init_args.num_neighbours=98",), "model.init_args.num_neighbours is 98, but of 98 landmarks"),
        (("--model.init_args.num_landmarks=5",), "model.init_args.num_neighbours is 10, but of 5 landmarks"),
        (("--model.init_args.num_landmarks=1",), "of 1 landmarks each has 0 others; set it to 0, which is"),
        (("--model.init_args.num_landmarks=68",), "num_landmarks is 68 but CSVLandmarks has 98 landmarks a face"),
        (("--model.init_args.backbone=resnet_18",), "backbone is 'resnet_18', which timm"),
        (("--model.init_args.backbone=vit_tiny_patch16_224",), "expected a convolutional network such as resnet18"),
        (("--model.init_args.lr=-1",), "model.init_args.lr is -1.0, expected a number of at least 0"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    code, line = refused("fit", "--config", "tiny.yaml", "--model.init_args.pretrained=false", *words)
    assert code in (1, 2)
    assert line.startswith("error: ")
    assert sentence in line


def test_weights_that_cannot_be_fetched_are_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    create = timm.create_model

    def offline(name, pretrained=False, **options):
        if pretrained:
            raise OSError("Name or service not known")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    code, line = refused("fit", "--config", "tiny.yaml", "--model.init_args.backbone=resnet18")
    assert code == 1
    assert "ImageNet weights of resnet18: from timm's cache, or fetched\n" in capsys.readouterr().out
    assert line.startswith("error: the ImageNet weights of resnet18 could not be fetched (OSError: Name or service")
    assert line.endswith("tf_efficientnet_lite0, whose weights come with a package")
