"""``oracle``: videos annotated as WFLW-V's reader expects them, and generated videos ranked."""

import csv
import re
from fractions import Fraction
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from callbacks.arguments import UsageError
from callbacks.oracle.command import main
from callbacks.oracle.members import read_device, read_ensemble
from datamodules import own_files
from datamodules.synthetic_videos import SyntheticVideos
from datamodules.wflw_v import WFLWV
from lightning_modules.video.ensemble import Ensemble
from tests.callbacks.own_files.bright import WHERE, BrightBoxes
from tests.drawn_videos import write_video
from tests.experiment import run
from tests.lightning_modules.video.squares import picture
from tests.one_sentence import one_sentence
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
    faces = data.load("test")
    assert (faces.landmarks.reshape(18, -1).std(axis=1) > 1).all()
    with Path("made/ranking.csv").open() as file:
        ranking = {row["video"]: float(row["variance"]) for row in csv.DictReader(file)}
    assert set(ranking) == {"first", "second", "third"}
    assert {kind: Path(f"made/{kind}_video_IDs.txt").read_text().split() for kind in ("easy", "hard")} == {
        "easy": sorted(sorted(ranking, key=ranking.get)[:2]),  # the middle one of an odd number, as in generated videos
        "hard": [max(ranking, key=ranking.get)],
    }
    before = Path("made/landmarks/first.npy").stat().st_mtime_ns
    main([*members, "--data.path", "mine", "--data.num_workers=0", "--out", "made"])  # nothing is left to do
    assert Path("made/landmarks/first.npy").stat().st_mtime_ns == before


def test_annotation_by_other_members_or_of_other_videos_is_not_continued(members, trained, tmp_path):
    frames = [picture(box) for box in WHERE[:4]]
    for name in ("a", "b"):
        write_video(tmp_path / f"mine/{name}.mp4", frames, "libx264")
    words = ["--data.path", "mine", "--data.num_workers=0", "--out", "mine/made"]
    main([*members, *words])
    again = ["--members", *reversed(members[1:])]
    main([*again, *words])  # nothing is left to do, nor are its copies videos to annotate
    assert len(Path("mine/made/ranking.csv").read_text().splitlines()) == 3
    with one_sentence("mine/made was made with other members ("):
        main(["--members", *members[1:2] * 2, *words])
    with one_sentence("mine/made was made with another every (10, now 5)"):
        main([*members, *words, "--data.every=5"])
    write_video(tmp_path / "mine/b.mp4", frames[::-1], "libx264")
    with one_sentence("mine/b.mp4 is another file than the one that mine/made has results of"):
        main([*members, *words])
    ranking = Path("mine/made/ranking.csv")
    ranking.write_text(ranking.read_text()[:-12])
    with one_sentence("mine/made/ranking.csv"):
        main([*members, *words])


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
        (["--members", "one", "two", "--out", "x", "--device"], "--device takes one value"),
        (["--members", "one", "two", "--data.path", "mine", "--out", "x"], "--members: there is no run one"),
        (["--members", "one", "two", "--out", "x"], "oracle needs videos: --data.path FOLDER, or --config data/synth"),
        (
            ["--members", "trained", "trainde", "--data.path", "mine", "--out", "x"],
            r"there is no run trainde; did you mean trained\?$",
        ),
    ],
)
def test_mistakes_are_one_sentence(words, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run("trained", "tests.tiny.Tiny", {"num_landmarks": 98})
    with pytest.raises(ValueError, match=sentence):
        main(words)


def test_videos_that_are_not_whole_are_left_out_and_the_others_done(members, tmp_path, capsys):
    frames = [picture(box) for box in WHERE[:6]]
    for name, images in {
        "dark": [picture()] * 3,
        "late": [picture()] * 2 + frames,
        "left": frames[:2] + [picture()] * 4,
        "one": frames,
        "two": frames[::-1],
    }.items():
        write_video(tmp_path / f"mine/{name}.mp4", images, "libx264")
    (tmp_path / "mine/text.mp4").write_text("no video")
    words = [*members, "--data.path", "mine", "--data.num_workers=0", "--data.every=1", "--out", "made"]
    for _ in range(2):  # again: what is done is not done again, the others are asked for again
        with pytest.raises(ValueError, match=r"^4 of 6 videos left out; the first: mine/dark.mp4: no face is") as end:
            main(words)
        assert not isinstance(end.value, UsageError)  # the status is 1
        said = capsys.readouterr().err
        assert (
            "dark.mp4: no face is found in 3 of its 3 frames, first in frame 0 (counted from 0); the video is" in said
        )
        assert "late.mp4: no face is found in 2 of its 8 frames, first in frame 0" in said
        assert "left.mp4: no face is found in 4 of its 6 frames, first in frame 2" in said
        assert re.search(r"text.mp4.*; the video is left out, as annotation has to be whole: cut it", said)
        assert "note: annotation of 2 videos, as WFLW-V's, is in made" in said
    data = WFLWV(Path("made"), size=32, num_workers=0)
    data.setup("test")
    assert len(data.test_faces) == 12
    assert {path.stem for path in Path("made").glob("*/*")} == {"one", "two"}


def test_boxes_that_are_given_serve_again_when_some_videos_are_done(members, tmp_path):
    rows = ["file,frame,left,top,right,bottom"]
    for name in ("one", "two"):
        write_video(tmp_path / f"mine/{name}.mp4", [picture(box) for box in WHERE[:3]], "libx264")
        rows += [f"{name}.mp4,{number},{','.join(map(str, box))}" for number, box in enumerate(WHERE[:3])]
    Path("boxes.csv").write_text("\n".join(rows))
    words = ["--data.path", "mine", "--data.boxes", "boxes.csv", "--data.num_workers=0", "--out", "made"]
    main([*members, *words])
    lines = Path("made/ranking.csv").read_text().splitlines()
    Path("made/ranking.csv").write_text("\n".join(lines[:2]))  # as if it had been interrupted after the first video
    main([*members, *words])
    assert Path("made/ranking.csv").read_text().splitlines() == lines


def write_run(name, path, options, precision=torch.float32, markup="wflw-98", **stored):
    """The folder of a run with these weights, as if they had been trained."""
    torch.manual_seed(len(name))
    folder = Path("runs", name)
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": {"class_path": path, "init_args": options}}))
    module, _, kind = path.rpartition(".")
    model = getattr(import_module(module), kind)(**options)
    weights = {
        key: value.to(precision) if value.is_floating_point() else value for key, value in model.state_dict().items()
    }
    stored = {"state_dict": weights, "markup": markup, "input_size": 64, "box": "landmarks-1.2", **stored}
    torch.save(stored, folder / "checkpoints/best.ckpt")


METHODS = {
    "ldeq": ("ldeq.LDEQ", {"injection_width": 8, "width": 8, "width_step": 4, "depth": 1}),
    "pipnet": ("pipnet.PIPNet", {"num_neighbours": 2, "pretrained": False}),
    "hrnet": ("wasserstein_hrnet.HRNet", {"backbone": "hrnet_w18_small", "pretrained": False}),
}


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_members_of_different_methods_speak_in_float32(precision, tmp_path, monkeypatch):
    """Also those whose weights were stored in 16 bits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(own_files, "FaceDetector", BrightBoxes)
    for name, (path, options) in METHODS.items():
        write_run(name, f"lightning_modules.{path}", {"num_landmarks": 98, **options}, precision)
    ensemble, _ = read_ensemble(list(METHODS), Path("runs"), last=False)
    assert {weights.dtype for weights in ensemble.parameters()} == {torch.float32}
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert {member(image).heatmaps.dtype for member in ensemble.members} == {torch.float32}
    write_video(tmp_path / "mine/one.mp4", [picture(WHERE[0])] * 2, "libx264")
    main(["--members", *METHODS, "--data.path", "mine", "--data.num_workers=0", "--out", "made"])
    assert np.isfinite(np.load("made/landmarks/one.npy")).all()


def test_members_of_another_markup_cannot_write_the_format_of_wflw_v(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "other"):
        write_run(name, "tests.tiny.Tiny", {"num_landmarks": 68}, markup="ibug-68")
    write_video(tmp_path / "mine/one.mp4", [picture(WHERE[0])] * 2, "libx264")
    sentence = r"--members find 68 landmarks \(ibug-68\), but WFLW-V's format has 98 \(wflw-98\); name runs"
    with pytest.raises(UsageError, match=sentence):
        main(["--members", "one", "other", "--data.path", "mine", "--data.num_workers=0", "--out", "made"])
    options = {"num_train": 2, "num_test": 2, "frames": 2, "num_workers": 0}  # a ranking says nothing of landmarks
    words = [f"--data.init_args.{key}={value}" for key, value in options.items()]
    main(["--members", "one", "other", "--config", "data/synthetic_videos.yaml", *words, "--out", "ranking.csv"])
    assert Path("ranking.csv").read_text().count("photo/test/") == 2


def test_a_gpu_is_used_where_there_is_one(monkeypatch):
    for there, device in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert read_device(None) == torch.device(device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for device in ("cpu", "cuda", "cuda:1"):
        assert read_device(device) == torch.device(device)
    with pytest.raises(UsageError, match="--device is 'cuda:2', but 2 GPUs can be used here"):
        read_device("cuda:2")
    with pytest.raises(UsageError, match="--device is 'gpu', expected cpu, cuda or"):
        read_device("gpu")


def test_members_are_on_the_device_that_is_asked_for(members, monkeypatch):
    asked = []
    monkeypatch.setattr(Ensemble, "to", lambda self, device: asked.append(str(device)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for words in ([], ["--device", "cpu"], ["--device=cuda:0"]):
        with pytest.raises(UsageError, match="no videos to rank"):
            main([*members, "--config", "data/synthetic.yaml", *words, "--out", "ranking.csv"])
    assert asked == ["cuda", "cpu", "cuda:0"]


def test_videos_whose_pixels_are_not_square_are_left_out(members, tmp_path, capsys):
    """`WFLWV` reads files as they are, so that landmarks in what is shown would lie elsewhere."""
    frames = [picture(box) for box in WHERE[:3]]
    write_video(tmp_path / "mine/usual.mp4", frames, "libx264")
    write_video(tmp_path / "mine/wide.mp4", frames, "libx264", aspect=Fraction(64, 45))
    with pytest.raises(ValueError, match=r"^1 of 2 videos left out: mine/wide.mp4: its pixels are not"):
        main([*members, "--data.path", "mine", "--data.num_workers=0", "--out", "made"])
    assert "the video is left out: convert it (ffmpeg -i" in capsys.readouterr().err
    assert {path.stem for path in Path("made").glob("*/*")} == {"usual"}


def test_the_members_checkpoints_tell_their_boxes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, top in (("one", 0.4), ("two", 0.42)):
        write_run(name, "tests.tiny.Tiny", {"num_landmarks": 98}, box="provided-1.2", box_margins=[0.2, top, 0.2, 0.0])
    ensemble, box = read_ensemble(["one", "two"], Path("runs"), last=False)
    assert box == ensemble.trained_box == "provided-1.2"
    assert ensemble.box_margins == pytest.approx([0.2, 0.41, 0.2, 0.0])


def test_other_files_and_data_without_videos_are_refused(members, tmp_path):
    write_video(tmp_path / "avi/a.avi", [picture(WHERE[0])] * 3)
    with pytest.raises(ValueError, match=r"a.avi is no .mp4"):
        main([*members, "--data.path", "avi", "--data.num_workers=0", "--out", "made"])
    with pytest.raises(ValueError, match="SyntheticFaces, which has no videos to rank"):
        main([*members, "--config", "data/synthetic.yaml", "--out", "ranking.csv"])
