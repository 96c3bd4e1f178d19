"""``predict --data.path``: images, videos, folders and a camera, with boxes, whole or detected; what is refused."""

import json
import tracemalloc
from fractions import Fraction
from pathlib import Path
from weakref import WeakSet

import av
import numpy as np
import pytest

from callbacks.own_files.predictions import FilePredictions
from datamodules import own_files
from tests.callbacks.own_files.bright import WHERE, corners, found_at, rows_of
from tests.drawn_videos import write_video
from tests.experiment import run
from tests.lightning_modules.video.casiez import one_euro
from tests.lightning_modules.video.squares import picture


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


def test_whole_images_are_one_face_each(predict, capsys):
    predict("--data.path", "mine/one.png", "--data.box", "image")
    assert "note: landmarks of 1 face in 1 frame are in" in capsys.readouterr().err
    (table,) = Path("runs/squares/predictions").glob("*/images.csv")
    (row,) = rows_of(table)
    np.testing.assert_allclose(corners(row), found_at((50, 40, 90, 80)), atol=3.0)


@pytest.mark.parametrize("box", ["provided-1.0", "landmarks-1.2"])
def test_another_box_than_the_training_s_is_told(predict, capsys, box):
    predict("--data.path", "mine/one.png", "--model=tests.lightning_modules.video.squares.Loose", f"--data.box={box}")
    told = "crops are drawn about landmarks, as box landmarks-1.2 says, without the margins of the training's boxes"
    assert (told in capsys.readouterr().err) == (box == "landmarks-1.2")


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


def test_smoothing_takes_the_time_of_each_frame(predict):
    """A video at an uneven rate, beside the formula on what is found without a filter."""
    ticks = [0, 1, 2, 12, 13, 14, 15, 45]
    write_video(Path("mine/uneven.mp4"), [picture(WHERE[tick % 30]) for tick in ticks], "libx264", ticks=ticks)
    predict("--data.path", "mine/uneven.mp4", "--data.out", "found")
    smooth = ("--smooth=lightning_modules.video.filters.OneEuro", "--smooth.minimum=0.5", "--smooth.beta=2")
    predict("--data.path", "mine/uneven.mp4", "--data.out", "smooth", *smooth)
    found, said = (np.array([*map(corners, rows_of(Path(name, "uneven.mp4.csv")))]) for name in ("found", "smooth"))
    expected = one_euro(found, np.array(ticks) / 25, 0.5, 2.0)
    np.testing.assert_allclose(said, expected, atol=0.01)
    assert np.abs(said - one_euro(found, np.arange(8) / 25, 0.5, 2.0)).max() > 1  # by the frames' number alone


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


def test_files_without_a_face_and_files_without_a_frame_are_told_apart(predict, capsys):
    write_video(Path("mine/wall.mp4"), [picture()] * 4, "libx264")
    predict("--data.path", "mine/wall.mp4")
    said = capsys.readouterr().err
    assert "note: no face is found in 4 frames (--data.long_side 1280 finds smaller ones); what there is is in" in said
    Path("mine/empty.mp4").touch()
    with pytest.raises(SystemExit):
        predict("--data.path", "mine/empty.mp4")
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("error: 1 file could not be read: mine/empty.mp4: is empty (0 bytes); get")
    assert "faces in" not in said
    assert "no face" not in said


def test_a_broken_file_keeps_the_others(predict, capsys):
    Path("mine/broken.mp4").write_text("no video")
    Path("mine/broken.png").write_text("no image")
    Path("mine/sub/z.png").write_text("no image")  # after all others
    with pytest.raises(SystemExit):
        predict("--data.path", "mine")
    said = capsys.readouterr().err
    assert "3 files could not be read; the first: " in said
    assert "note: landmarks of 31 faces in 32 frames are in" in said
    assert "the same command continues" not in said  # nothing is left to be done
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
            ["file,frame,face,left,top,right,bottom", *["clip.mp4,0,1,1,2,3,4"] * 2],
            "face 1 of clip.mp4, frame 0, is there twice",
        ),
        (
            ["file,left,top,right,bottom", "clip.mp4,1,2,3,4"],
            "boxes.csv: line 2 is of the video clip.mp4, and there is no column 'frame' (counted from 0); add it",
        ),
        (["file,frame,left,top,right,bottom", "one.png,1,1,2,3,4"], "frame is 1, but one.png is a photograph"),
    ],
)
def test_mistakes_in_boxes_name_their_line(predict, capsys, lines, sentence):
    Path("boxes.csv").write_text("\n".join(lines))
    with pytest.raises(SystemExit):
        predict("--data.path", "mine", "--data.boxes", "boxes.csv")
    assert sentence in capsys.readouterr().err


def test_boxes_beyond_the_end_of_a_video_are_told(predict, capsys):
    lines = [f"clip.mp4,{frame},10,30,70,90" for frame in range(1, 33)]
    Path("boxes.csv").write_text("\n".join(["file,frame,left,top,right,bottom", *lines]))
    predict("--data.path", "mine/clip.mp4", "--data.boxes", "boxes.csv")
    assert (
        "note: mine/clip.mp4: boxes are given for 3 frames that it has not, the first is 30, and its last frame is 29 "
        "(both counted from 0)"
    ) in capsys.readouterr().err
