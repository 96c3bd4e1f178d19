"""``oracle``: videos annotated as WFLW-V's reader expects them, and generated videos ranked."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from callbacks.oracle.command import main
from datamodules import own_files
from datamodules.synthetic_videos import SyntheticVideos
from datamodules.wflw_v import WFLWV
from lightning_modules.video.ensemble import Ensemble
from tests.callbacks.own_files.test_predictions import WHERE, BrightBoxes
from tests.drawn_videos import write_video
from tests.experiment import run
from tests.lightning_modules.video.squares import picture
from tests.tiny import Tiny


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs of `Tiny` on generated faces."""
    folder = tmp_path_factory.mktemp("oracle")
    data = {"size": 32, "num_train": 16, "num_test": 2, "num_workers": 0, "batch_size": 4, "validation_fraction": 0.3}
    config = {
        "model": {"class_path": "tests.tiny.Tiny", "init_args": {"num_landmarks": 98, "lr": 0.05}},
        "data": {"class_path": "datamodules.synthetic.SyntheticFaces", "init_args": data},
        "trainer": {"max_epochs": 2, "accelerator": "cpu"},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("tiny.yaml").write_text(yaml.safe_dump(config))
        for seed in ("0", "1"):
            run("fit", "--config", "tiny.yaml", "--name", f"member{seed}", "--seed_everything", seed)
    return folder


@pytest.fixture
def members(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(own_files, "FaceDetector", BrightBoxes)
    return ("--members", str(trained / "runs/member0"), str(trained / "runs/member1"))


def test_videos_are_annotated_as_wflw_v_is(members, tmp_path):
    for name, shift in (("first", 0), ("second", 20), ("third", 7)):
        frames = [picture((x0 + shift, y0, x1 + shift, y1)) for x0, y0, x1, y1 in WHERE[:6]]
        write_video(tmp_path / f"mine/{name}.mp4", frames, "libx264")
    main([*members, "--data.path", "mine", "--data.num_workers=0", "--out", "made"])
    data = WFLWV(Path("made"), size=32, num_workers=0)
    data.setup("test")
    assert len(data.test_faces) == 18
    assert {Path(f"made/{kind}_video_IDs.txt").read_text().count("\n") for kind in ("easy", "hard")} == {1, 2}
    faces = data.load("test")
    assert (faces.landmarks.reshape(18, -1).std(axis=1) > 1).all()
    with Path("made/ranking.csv").open() as file:
        ranking = {row["video"]: float(row["variance"]) for row in csv.DictReader(file)}
    assert set(ranking) == {"first", "second", "third"}
    assert max(ranking, key=ranking.get) in Path("made/hard_video_IDs.txt").read_text()
    before = Path("made/landmarks/first.npy").stat().st_mtime_ns
    main([*members, "--data.path", "mine", "--data.num_workers=0", "--out", "made"])  # nothing is left to do
    assert Path("made/landmarks/first.npy").stat().st_mtime_ns == before


def test_generated_videos_are_ranked_by_the_members_variance(members, trained):
    options = {"num_train": 2, "num_test": 5, "frames": 3, "num_workers": 0}
    words = [f"--data.init_args.{key}={value}" for key, value in options.items()]
    main([*members, "--config", "data/synthetic_videos.yaml", *words, "--out", "ranking.csv"])
    data = SyntheticVideos(**options, size=32, ranking=Path("ranking.csv"))
    data.setup("test")
    subsets = data.load("test").subsets[::3]
    with Path("ranking.csv").open() as file:
        ranking = {row["video"]: float(row["variance"]) for row in csv.DictReader(file)}
    found = np.array(list(ranking.values()))
    assert list(ranking) == [f"photo/test/{i}" for i in range(5)]
    assert subsets[found.argmax()].tolist() == [False, True]
    assert subsets[found.argmin()].tolist() == [True, False]
    models = [
        Tiny.load_from_checkpoint(trained / f"runs/member{i}/checkpoints/best.ckpt", map_location="cpu").eval()
        for i in range(2)
    ]
    images = torch.stack([data.test_faces[row]["image"] for row in range(3)])
    with torch.inference_mode():
        expected = Ensemble(models).opinions(images).variance.mean()
    assert found[0] == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--members", "one", "--out", "x"], "--members names 1 runs, expected two or more"),
        (["--members", "one", "two"], "oracle needs --out"),
        (["--members", "one", "two", "--data.path", "mine", "--out", "x"], "--members: there is no run one"),
    ],
)
def test_mistakes_are_one_sentence(words, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=sentence):
        main(words)


def test_a_video_without_a_face_and_other_files_are_refused(members, tmp_path):
    write_video(tmp_path / "dark/none.mp4", [picture()] * 3, "libx264")
    with pytest.raises(ValueError, match=r"none.mp4: no face is found in 3 of its frames"):
        main([*members, "--data.path", "dark", "--data.num_workers=0", "--out", "made"])
    write_video(tmp_path / "avi/a.avi", [picture(WHERE[0])] * 3)
    with pytest.raises(ValueError, match=r"a.avi is no .mp4"):
        main([*members, "--data.path", "avi", "--data.num_workers=0", "--out", "made"])
    with pytest.raises(ValueError, match="SyntheticFaces, which has no videos to rank"):
        main([*members, "--config", "data/synthetic.yaml", "--out", "ranking.csv"])
