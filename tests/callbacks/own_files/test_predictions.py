"""``predict --data.path``: images, videos and folders, with boxes, whole or detected; interrupted and continued."""

import csv
import json
import tracemalloc
from fractions import Fraction
from pathlib import Path
from weakref import WeakSet

import av
import numpy as np
import pytest
import yaml
from PIL import Image

from callbacks.own_files.predictions import FilePredictions
from datamodules import own_files
from datamodules.face_detector import Detections
from lightning_modules.video.following import Follower
from tests.drawn_videos import write_video
from tests.experiment import run
from tests.lightning_modules.video.squares import picture

WHERE = [(20 + 3 * t, 40, 60 + 3 * t, 80) for t in range(30)]


class BrightBoxes:
    """In place of a detector: the box of what is bright."""

    def __init__(self, threshold=0.5, long_side=640):
        self.threshold, self.long_side, self.calls = threshold, long_side, 0

    def __call__(self, image):
        self.calls += 1
        y, x = np.nonzero(image.mean(axis=2) > 127)
        if not len(x):
            return Detections(np.empty((0, 4)), np.empty(0))
        return Detections(np.array([[x.min() - 5.0, y.min() - 3, x.max() + 5, y.max() + 4]]), np.array([0.9]))


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


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def corners(row):
    return np.array([[float(row[f"{axis}{i}"]) for axis in "xy"] for i in range(4)])


def found_at(box):
    x0, y0, x1, y1 = box
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def test_a_folder_of_everything(predict, capsys):
    predict("--data.path", "mine")
    said = capsys.readouterr().err
    out = Path("runs/squares/predictions").glob("*")
    (folder,) = out
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {
        "about.json", "clip.mp4.csv", "clip.mp4_overlay.mp4", "images.csv", "one.png_overlay.jpg",
        "none.jpg_overlay.jpg",
    }  # fmt: skip
    video = rows_of(folder / "clip.mp4.csv")
    assert [int(row["frame"]) for row in video] == list(range(30))
    assert {row["face"] for row in video} == {"0"}
    assert float(video[10]["seconds"]) == pytest.approx(0.4, abs=1e-3)
    for row, box in zip(video, WHERE, strict=True):
        np.testing.assert_allclose(corners(row), found_at(box), atol=2.5)  # the codec blurs edges
    images = rows_of(folder / "images.csv")
    assert [(row["file"], row["face"]) for row in images] == [("one.png", "0"), ("sub/none.jpg", "")]
    np.testing.assert_allclose(corners(images[0]), found_at((50, 40, 90, 80)), atol=1.0)
    with av.open(str(folder / "clip.mp4_overlay.mp4")) as container:
        assert len(list(container.decode(video=0))) == 30
    assert "notes.txt is neither an image nor a video and is left out" in said
    assert "landmarks of 31 faces in 32 frames are in" in said


def test_what_is_done_is_not_done_again(predict, capsys):
    predict("--data.path", "mine")
    table = next(Path("runs/squares/predictions").glob("*/clip.mp4.csv"))
    before = table.stat().st_mtime_ns
    Image.fromarray(picture((30, 30, 80, 80))).save("mine/later.png")
    predict("--data.path", "mine")
    assert table.stat().st_mtime_ns == before
    assert "2 of 4 files were predicted before" in capsys.readouterr().err  # a table's last frame is made again
    names = [row["file"] for row in rows_of(table.with_name("images.csv"))]
    assert sorted(names) == ["later.png", "one.png", "sub/none.jpg"]


def test_predictions_are_not_continued_with_other_detections(predict, monkeypatch, capsys):
    asked = []

    class Noted(BrightBoxes):
        def __init__(self, threshold, long_side):
            asked.append((threshold, long_side))
            super().__init__(threshold, long_side)

    monkeypatch.setattr(own_files, "FaceDetector", Noted)
    predict("--data.path", "mine/clip.mp4", "--data.out", "made", "--data.long_side=320", "--data.threshold=0.4")
    assert set(asked) == {(0.4, 320)}
    with pytest.raises(SystemExit):
        predict("--data.path", "mine/clip.mp4", "--data.out", "made", "--data.threshold=0.4")
    assert "made holds predictions with another long_side (320, now 640)" in capsys.readouterr().err


def test_predictions_are_not_continued_with_edited_boxes(predict, capsys):
    words = ("--data.path", "mine/clip.mp4", "--data.out", "made", "--data.boxes", "boxes.csv")
    Path("boxes.csv").write_text("file,left,top,right,bottom\nclip.mp4,10,30,70,90\n")
    predict(*words)
    predict(*words)
    Path("boxes.csv").write_text("file,left,top,right,bottom\nclip.mp4,10,30,70,95\n")
    with pytest.raises(SystemExit):
        predict(*words)
    assert "made holds predictions with another content of boxes (" in capsys.readouterr().err


def test_predictions_with_boxes_are_continued_when_a_file_is_done(predict, capsys):
    boxes = ["clip.mp4,15,35,65,85", "one.png,45,35,95,85", "later.png,25,25,85,85"]
    Path("boxes.csv").write_text("\n".join(["file,left,top,right,bottom", *boxes]))
    Image.fromarray(picture((30, 30, 80, 80))).save("mine/later.png")
    words = ("--data.path", "mine", "--data.boxes", "boxes.csv", "--data.out", "made", "--data.overlays=false")
    predict(*words)
    Path("made/images.csv").unlink()
    predict(*words)
    assert "1 of 4 files were predicted before" in capsys.readouterr().err
    names = [row["file"] for row in rows_of(Path("made/images.csv")) if row["face"]]
    assert names == ["later.png", "one.png"]


def test_boxes_are_of_all_files_whoever_takes_some_away(files):
    Path("boxes.csv").write_text("file,left,top,right,bottom\nclip.mp4,15,35,65,85\n")
    data = own_files.OwnFiles("mine", boxes=Path("boxes.csv"), num_workers=0)
    data.setup("predict")
    data.sources = [source for source in data.sources if source.still]
    assert [item.source.name for item in data.predict_dataloader() if item.last] == ["one.png", "sub/none.jpg"]


def test_what_was_written_among_the_files_is_not_predicted(predict, capsys):
    for out in ("mine/found", "mine", "."):
        words = ("--data.path", "mine" if out != "." else ".", "--data.out", out)
        predict(*words)
        Path(out, "clip.mp4.csv" if out != "." else "mine/clip.mp4.csv").unlink()
        predict(*words)
        assert not [path for path in Path().rglob("*_overlay*_overlay*") if path.is_file()]
        names = {row["file"].removeprefix("mine/") for row in rows_of(Path(out, "images.csv"))}
        assert names == {"one.png", "sub/none.jpg"}
    assert "overlay" not in capsys.readouterr().err


def test_an_interrupted_video_is_continued(predict, monkeypatch):
    predict("--data.path", "mine/clip.mp4", "--data.out", "whole")
    from callbacks.own_files import predictions

    calls = []

    def stop(self, batch, image):
        calls.append(batch.number)
        if batch.number == 17 and len(calls) == 18:
            raise KeyboardInterrupt
        return original(self, batch, image)

    original = predictions.FilePredictions._found
    monkeypatch.setattr(predictions.FilePredictions, "_found", stop)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        predict("--data.path", "mine/clip.mp4", "--data.out", "parts")
    assert not Path("parts/clip.mp4.csv").exists()
    predict("--data.path", "mine/clip.mp4", "--data.out", "parts")
    assert calls[18] in (16, 17)  # from the frame that it broke off at
    whole, parts = (rows_of(Path(name, "clip.mp4.csv")) for name in ("whole", "parts"))
    assert [row["frame"] for row in whole] == [row["frame"] for row in parts]
    assert {row["face"] for row in parts} == {"0"}
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(corners(one), corners(other), atol=1.0)
    with av.open("parts/clip.mp4_overlay.mp4") as container:
        assert len(list(container.decode(video=0))) == 30


def test_boxes_may_be_given(predict):
    lines = ["file,frame,face,left,top,right,bottom"]
    lines += [
        f"clip.mp4,{t},7,{x0 - 5},{y0 - 5},{x1 + 5},{y1 + 5}" for t, (x0, y0, x1, y1) in enumerate(WHERE) if t % 2
    ]
    Path("boxes.csv").write_text("\n".join(lines))
    predict(
        "--data.path", "mine/clip.mp4", "--data.boxes", "boxes.csv", "--data.table", "jsonl", "--data.overlays=false"
    )
    (table,) = Path("runs/squares/predictions").glob("*/clip.mp4.jsonl")
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    assert [row["face"] for row in rows] == [None, 7] * 15
    np.testing.assert_allclose(rows[5]["landmarks"], found_at(WHERE[5]), atol=2.5)
    assert len(rows[5]["confidence"]) == 4
    assert {path.name for path in table.parent.iterdir()} == {"about.json", "clip.mp4.jsonl"}


def test_whole_images_are_one_face_each(predict):
    predict("--data.path", "mine/one.png", "--data.box", "image")
    (table,) = Path("runs/squares/predictions").glob("*/images.csv")
    (row,) = rows_of(table)
    np.testing.assert_allclose(corners(row), found_at((50, 40, 90, 80)), atol=3.0)


def test_landmarks_of_videos_may_be_smoothed(predict):
    smooth = ("--smooth=lightning_modules.video.filters.MovingAverage", "--smooth.weight=0.8")
    predict("--data.path", "mine/clip.mp4", *smooth)
    (table,) = Path("runs/squares/predictions").glob("*/clip.mp4.csv")
    last = corners(rows_of(table)[-1])
    assert np.abs(last - found_at(WHERE[-1]))[:, 0].mean() > 8  # a steady 3 pixels a frame lag by 12
    with pytest.raises(SystemExit):
        predict("--data.path", "mine/clip.mp4")  # would continue with another filter


@pytest.mark.parametrize(
    "words",
    [
        ("fit",),
        ("validate", "--ckpt_path", "none.ckpt"),
        ("test", "--ckpt_path", "none.ckpt"),
        ("predict", "--ckpt_path", "none.ckpt"),
    ],
)
def test_nothing_else_is_smoothed(files, capsys, monkeypatch, words):
    from callbacks import run_folder

    monkeypatch.setattr(run_folder.RunFolder, "weights", lambda self, wanted: None)
    with pytest.raises(SystemExit):
        run(words[0], "--config", "squares.yaml", "--smooth=lightning_modules.video.filters.OneEuro", *words[1:])
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: --smooth (One Euro ")
    assert f" does nothing in {words[0]} here" in said
    assert not Path("runs/squares/config.yaml").exists()


def test_the_follower_is_told_the_rate_of_each_frame(predict, monkeypatch):
    ticks, told = [0, 1, 2, 12, 13, 14], []
    with av.open("mine/uneven.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 200, 160, "yuv420p"
        for tick in ticks:
            frame = av.VideoFrame.from_ndarray(picture(WHERE[tick]), "rgb24")
            frame.pts = tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    original = Follower.__call__

    def noted(self, *given):
        told.append(self.rate)
        return original(self, *given)

    monkeypatch.setattr(Follower, "__call__", noted)
    predict("--data.path", "mine/uneven.mp4")
    assert told[1:] == pytest.approx([25, 25, 2.5, 25, 25], rel=1e-3)


@pytest.mark.parametrize(
    ("before", "seconds", "rate"), [(None, 0.3, 30.0), (1.0, 1.0, 30.0), (1.0, 1.25, 4.0), (0.0, 1e6, 0.1)]
)
def test_rates_are_by_the_times_of_frames(before, seconds, rate):
    assert own_files.rate_since(before, seconds, 30.0) == rate
    assert own_files.rate_since(1.0, 1.0 + 1e-7, 30.0) == own_files.rate_since(None, 0.0, 90_000.0) == 1000


def test_landmarks_are_where_a_player_shows_them(predict):
    """Of a video whose pixels are twice as wide as they are high."""
    with av.open("mine/wide.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 200, 160, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        for box in WHERE[:5]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(box), "rgb24")))
        container.mux(stream.encode())
    predict("--data.path", "mine/wide.mp4", "--data.out", "made")
    (last,) = rows_of(Path("made/wide.mp4.csv"))[4:]
    x0, y0, x1, y1 = WHERE[4]
    np.testing.assert_allclose(corners(last), found_at((2 * x0, y0, 2 * x1 + 1, y1)), atol=4)
    with av.open("made/wide.mp4_overlay.mp4") as container:
        assert {(frame.width, frame.height) for frame in container.decode(video=0)} == {(400, 160)}
        assert container.streams.video[0].sample_aspect_ratio in (None, 1)


def test_memory_does_not_grow_with_the_length_of_a_video(predict, monkeypatch):
    """Frames that are alive at any time, and bytes: 350 further frames are of 96,000 each."""
    frames_alive, most, peaks = WeakSet(), 0, []
    original, made = FilePredictions._found, own_files.FileFrame.__init__

    def noted(self, *given, **named):
        frames_alive.add(self)
        made(self, *given, **named)

    def found(self, batch, image):
        nonlocal most
        most = max(most, len(frames_alive))
        if batch.number == 10:
            tracemalloc.start()
        return original(self, batch, image)

    monkeypatch.setattr(own_files.FileFrame, "__init__", noted)
    monkeypatch.setattr(FilePredictions, "_found", found)
    for count in (50, 400):
        frames = [picture((20 + t % 60, 40, 60 + t % 60, 80)) for t in range(count)]
        write_video(Path(f"mine/{count}.mp4"), frames, "libx264")
        del frames
        predict("--data.path", f"mine/{count}.mp4")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert 1 <= most <= 3
    assert peaks[1] < peaks[0] + 1_000_000


def test_a_camera_is_recorded_until_it_is_stopped(predict, monkeypatch):
    class Lens:
        def __init__(self, number):
            self.shown = 0

        def read(self):
            self.shown += 1
            if self.shown == 8:
                raise KeyboardInterrupt
            return True, picture(WHERE[self.shown])

        def release(self):
            pass

    monkeypatch.setattr("cv2.VideoCapture", Lens)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        predict("--data.path", "camera:0")
    (table,) = Path("runs/squares/predictions").glob("camera0*/camera0-*.csv")
    frames = [int(row["frame"]) for row in rows_of(table)]
    assert frames == list(range(6))  # the seventh was waiting for its turn
    with av.open(str(next(table.parent.glob("*_overlay.mp4")))) as container:
        assert len(list(container.decode(video=0))) == 6


def test_a_broken_file_keeps_the_others(predict, capsys):
    Path("mine/broken.mp4").write_text("no video")
    Path("mine/broken.png").write_text("no image")
    Path("mine/sub/z.png").write_text("no image")  # after all others
    with pytest.raises(SystemExit):
        predict("--data.path", "mine")
    said = capsys.readouterr().err
    assert "3 files could not be read; the first: " in said
    (folder,) = Path("runs/squares/predictions").glob("*")
    assert len(rows_of(folder / "clip.mp4.csv")) == 30
    assert [row["file"] for row in rows_of(folder / "images.csv")] == ["one.png", "sub/none.jpg"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--data.path", "nowhere"), "nowhere not found; set --data.path to an image, a video"),
        (("--data.path", "mine/notes.txt"), "notes.txt is neither an image nor a video by its name"),
        (("--data.path", "mine", "--data.every=0"), "data.init_args.every is 0, expected at least 1"),
        (("--data.path", "mine", "--data.pth=x"), "pth"),
        (("--data.path", "mine", "--data.boxes", "none.csv"), "none.csv not found; set --data.boxes to a CSV"),
    ],
)
def test_mistakes_are_one_sentence(predict, capsys, words, sentence):
    with pytest.raises(SystemExit):
        predict(*words)
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ")
    assert sentence in said


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["file,left,top,right", "clip.mp4,1,2,3"], "line 1 has no column 'bottom'"),
        (["file,left,top,right,bottom", "other.mp4,1,2,3,4"], "line 2 names other.mp4, which is not among the files"),
        (["file,left,top,right,bottom", "clip.mp4,5,2,3,4"], "line 2: the box [5.0, 2.0, 3.0, 4.0] has no area"),
        (["file,frame,left,top,right,bottom", "clip.mp4,1.5,1,2,3,4"], "column frame is 1.5, expected a whole number"),
        (
            ["file,face,left,top,right,bottom", *["clip.mp4,1,1,2,3,4"] * 2],
            "face 1 of clip.mp4, frame 0, is there twice",
        ),
    ],
)
def test_mistakes_in_boxes_name_their_line(predict, capsys, lines, sentence):
    Path("boxes.csv").write_text("\n".join(lines))
    with pytest.raises(SystemExit):
        predict("--data.path", "mine", "--data.boxes", "boxes.csv")
    assert sentence in capsys.readouterr().err
