"""A small training of each method on generated faces, through the real command line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.mixed_experiment import infrared, synthetic

FACES = {"size": 64, "num_train": 24, "num_test": 5, "batch_size": 4, "validation_fraction": 0.25}
TINY = {"backbone": "test_resnet", "pretrained": False}
HEATMAPS = {"backbone": "hrnet_w18_small", "pretrained": False}
L2 = {"loss": {"class_path": "lightning_modules.wasserstein_hrnet.HeatmapL2", "init_args": {"sigma": 1.5}}}
DISCOVERY = {"discovered": 6, "channels": 8, "widths": [8, 8, 16], "width": 8, "blocks": 1, "contrastive_epochs": 1}

METHODS: dict[str, dict[str, Any]] = {
    "ldeq.LDEQ": {"injection_width": 8, "width": 8, "width_step": 4, "depth": 1, "early_epochs": 1},
    "pipnet.PIPNet": TINY,
    "pipnet.SelfTraining": {**TINY, "tasks": [64, 32]},
    "pipnet.DANN": {**TINY, "domain_width": 8},
    "pipnet.CoordNet": {**TINY, "size": 64},
    "pipnet.MapNet": {**TINY, "stride": 16},
    "wasserstein_hrnet.HRNet": {**HEATMAPS, **L2},
    "wasserstein_hrnet.SimpleBaselines": TINY,
    "two_step.Discovery": {**DISCOVERY, "points": 20, "probe_faces": 10},
}
THOROUGH = (  # train as others do, or slowly
    "pipnet.CoordNet",
    "pipnet.DANN",
    "pipnet.MapNet",
    "wasserstein_hrnet.HRNet",
    "wasserstein_hrnet.SimpleBaselines",
)
NEEDS_OTHERS = ("pipnet.SelfTraining", "pipnet.DANN")


def write_training(folder: Path, method: str, faces: Mapping[str, Any] = FACES, **trainer: Any) -> Path:
    """``every.yaml`` in ``folder``: a method of `METHODS`, three epochs of at least four batches, 64 pixels."""
    mixed = {"labelled": synthetic(**faces), "unlabelled": [infrared(size=64)], "ratio": 0.5}
    mixture = {"class_path": "datamodules.mixture.Mixture", "init_args": mixed}
    config = {
        "model": {
            "class_path": f"lightning_modules.{method}",
            "init_args": {"num_landmarks": 98, **METHODS[method]},
        },
        "data": mixture if method in NEEDS_OTHERS else synthetic(**faces),
        "trainer": {"max_epochs": 3, "accelerator": "cpu", "log_every_n_steps": 1, **trainer},
    }
    path = folder / "every.yaml"
    path.write_text(yaml.safe_dump(config))
    return path
