from pathlib import Path

import pytest
import yaml
from PIL import Image

from datamodules import own_files
from tests.callbacks.own_files.bright import WHERE, BrightBoxes
from tests.drawn_videos import write_video
from tests.experiment import run
from tests.lightning_modules.video.squares import picture


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with a video, photographs and a text, and ``squares.yaml``, whose network needs no training."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(own_files, "FaceDetector", BrightBoxes)
    folder = tmp_path / "mine"
    write_video(folder / "clip.mp4", [picture(box) for box in WHERE], "libx264")
    for name, boxes in (("one.png", [(50, 40, 90, 80)]), ("sub/none.jpg", [])):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(picture(*boxes)).save(folder / name)
    (folder / "notes.txt").write_text("of mine")
    config = {
        "model": {"class_path": "tests.lightning_modules.video.squares.Corners"},
        "data": {
            "class_path": "datamodules.synthetic.SyntheticFaces",
            "init_args": {"size": 64, "num_train": 20, "num_test": 2, "num_workers": 0},
        },
        "trainer": {"accelerator": "cpu", "max_epochs": 1},
    }
    Path("squares.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture
def predict(files):
    """Predicts; the network's landmarks are corners of squares, so that no checkpoint is needed."""
    from callbacks import run_folder

    original = run_folder.RunFolder.weights

    def weights(self, wanted):
        return None if wanted is None else original(self, wanted)

    def called(*words):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run_folder.RunFolder, "weights", weights)
            return run("predict", "--config", "squares.yaml", "--data.num_workers=0", *words)

    return called
