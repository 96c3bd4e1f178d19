from pathlib import Path

import numpy as np
import pytest
import yaml

from datamodules.wflw import WFLW
from tests.drawn_faces import save, write_wflw


@pytest.fixture(autouse=True)
def one_drawing(monkeypatch):
    monkeypatch.setattr("callbacks.inspection.inspect_data.DRAWN", 1)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A clean drawn WFLW of as many faces as are published, and a config of it, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(WFLW, "published", {"train": 24, "test": 12})
    config = {"class_path": "datamodules.wflw.WFLW", "init_args": {"root": "data", "num_workers": 0, "size": 64}}
    Path("wflw.yaml").write_text(yaml.safe_dump(config))
    return write_wflw(tmp_path / "data", train=24, test=12)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Six images that nobody annotated, in the working directory, with a config of them."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for i in range(6):
        save(rng.integers(0, 256, (40 + i, 60, 3), np.uint8), tmp_path / f"photos/{i}.png")
    options = {"root": "photos", "num_workers": 0, "size": 32}
    config = {"class_path": "datamodules.unlabeled.UnlabeledFaces", "init_args": options}
    Path("photos.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "photos"
