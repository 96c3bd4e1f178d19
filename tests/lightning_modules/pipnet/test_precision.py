"""Trainings in bf16-mixed: backbones work in bfloat16 all along, landmarks are float32 and not rounded to it."""

import numpy as np
import pytest
import torch

from lightning_modules.backbones.timm_backbone import TimmBackbone
from lightning_modules.pipnet import CoordNet, MapNet, PIPNet
from tests.experiment import run
from tests.mixed_experiment import synthetic, write_mixed

METHODS = {"PIPNet": {}, "CoordNet": {"size": 128}, "MapNet": {"stride": 8}}


@pytest.mark.parametrize(
    "method",
    ["PIPNet", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("CoordNet", "MapNet", "SelfTraining"))],
)
def test_bfloat16_is_for_the_backbone(tmp_path, monkeypatch, method):
    monkeypatch.chdir(tmp_path)
    features, numbers = watch(monkeypatch)
    trainer = {"precision": "bf16-mixed", "max_epochs": 2, "limit_train_batches": 2}
    if method == "SelfTraining":
        config = write_mixed(tmp_path, tasks=[32], trainer=trainer)
    else:
        config = write_mixed(tmp_path, method, synthetic(validation_fraction=0.25), trainer, **METHODS[method])
    run("fit", "--config", config.name, "--name", "run")
    if method == "SelfTraining":
        with np.load("runs/run/pseudo_labels/round_1.npz") as labels:
            numbers.append(torch.from_numpy(labels["landmarks"]))
    run("test", "--name", "run")
    run("predict", "--name", "run")
    assert len(features) > 4
    assert set(features) == {torch.bfloat16}
    assert {found.dtype for found in numbers} == {torch.float32}
    for found in numbers:
        assert (found == found.bfloat16()).float().mean() < 0.1  # chance is 1 / 2^16


def watch(monkeypatch):
    """Lists that get the type of all features of faces, and all landmarks, or MapNet's heatmaps (it finds quarters)."""
    features, numbers = [], []

    def watched(method, note):
        def wrapped(self, image):
            found = method(self, image)
            if image.any():  # else networks are being looked at
                note(found)
            return found

        return wrapped

    forward = watched(TimmBackbone.forward, lambda found: features.append(found.dtype))
    monkeypatch.setattr(TimmBackbone, "forward", forward)
    for method in (PIPNet, CoordNet):
        forward = watched(method.forward, lambda found: numbers.append(found.landmarks))
        monkeypatch.setattr(method, "forward", forward)
    forward = watched(MapNet.forward, lambda found: numbers.append(found.heatmaps))
    monkeypatch.setattr(MapNet, "forward", forward)
    return features, numbers
