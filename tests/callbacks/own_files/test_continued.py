"""``predict --data.path`` again: what is done is not done again, what broke off goes on, and nothing is mixed."""

import json
from hashlib import blake2b
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import own_files
from tests.callbacks.own_files.bright import BrightBoxes, corners, rows_of
from tests.drawn_videos import write_video
from tests.experiment import run, write_experiment
from tests.lightning_modules.video.squares import picture


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


def test_overlays_that_are_asked_for_later_are_not_passed_over_in_silence(predict, capsys):
    predict("--data.path", "mine/clip.mp4", "--data.overlays=false")
    predict("--data.path", "mine/clip.mp4", "--data.overlays=false")
    assert "overlays" not in capsys.readouterr().err
    predict("--data.path", "mine/clip.mp4")
    said = capsys.readouterr().err
    assert "1 of 1 files were predicted before and are in runs/squares/predictions/" in said
    assert ", 1 without overlays (drawn where another folder is --data.out)\n" in said


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
    assert "made was made with another long_side (320, now 640)" in capsys.readouterr().err


def test_predictions_are_not_continued_with_edited_boxes(predict, capsys):
    words = ("--data.path", "mine/clip.mp4", "--data.out", "made", "--data.boxes", "boxes.csv")
    Path("boxes.csv").write_text("file,frame,left,top,right,bottom\nclip.mp4,0,10,30,70,90\n")
    predict(*words)
    predict(*words)
    Path("boxes.csv").write_text("file,frame,left,top,right,bottom\nclip.mp4,0,10,30,70,95\n")
    with pytest.raises(SystemExit):
        predict(*words)
    assert "made was made with another content of boxes (" in capsys.readouterr().err


def broken_off(predict, frames, *words):
    predict(*words, "--data.out", "made", f"--trainer.limit_predict_batches={frames}")


def test_a_limit_on_batches_breaks_off_and_without_it_the_same_command_continues(predict, capsys):
    words = ("--data.path", "mine/clip.mp4")
    broken_off(predict, 20, *words)
    said = capsys.readouterr().err
    assert "20 frames are in made; without the limit on batches the same command continues" in said
    with av.open("made/clip.mp4_overlay.partial.mp4") as container:
        assert len(list(container.decode(video=0))) == 20
    assert not Path("made/clip.mp4.csv").exists()
    predict(*words, "--data.out", "made")
    assert [int(row["frame"]) for row in rows_of(Path("made/clip.mp4.csv"))] == list(range(30))


def test_a_video_that_was_replaced_is_not_continued(predict, capsys):
    """Touched it is; nor does it matter that a file without results is another now."""
    words = ("--data.path", "mine")
    broken_off(predict, 20, *words)
    Path("mine/clip.mp4").touch()
    Image.fromarray(picture((30, 30, 80, 80))).save("mine/one.png")
    broken_off(predict, 3, *words)
    write_video(Path("mine/clip.mp4"), [picture((50, 40, 90, 80))] * 30, "libx264")
    table = Path("made/clip.mp4.csv.partial").read_bytes()
    with pytest.raises(SystemExit):
        predict(*words, "--data.out", "made")
    assert (
        "error: mine/clip.mp4 is another file than the one that made has results of; delete it, or give another folder "
        "as --data.out"
    ) in capsys.readouterr().err
    assert Path("made/clip.mp4.csv.partial").read_bytes() == table


def test_a_photograph_that_was_replaced_is_not_kept(predict, capsys):
    predict("--data.path", "mine/one.png", "--data.out", "made")
    Image.fromarray(picture((30, 30, 80, 80))).save("mine/one.png")
    with pytest.raises(SystemExit):
        predict("--data.path", "mine/one.png", "--data.out", "made")
    assert "error: mine/one.png is another file than the one that made has results of" in capsys.readouterr().err


def test_a_folder_without_results_may_be_asked_for_otherwise(predict):
    broken_off(predict, 0, "--data.path", "mine/clip.mp4", "--data.threshold=0.4")
    assert [path.name for path in Path("made").iterdir()] == ["about.json"]
    predict("--data.path", "mine/clip.mp4", "--data.out", "made")
    assert len(rows_of(Path("made/clip.mp4.csv"))) == 30


def test_predictions_are_of_the_weights_that_they_are_named_after(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path, max_epochs=1)
    run("fit", "--config", "tiny.yaml")
    Path("mine").mkdir()
    Image.fromarray(picture((50, 40, 90, 80))).save("mine/one.png")
    words = ("predict", "--name", "tiny", "--data.path", "mine", "--data.box=image", "--data.num_workers=0")
    run(*words)
    run(*words, "--ckpt_path=last")
    run(*words, "--data.size=48")
    folders = {path.name for path in Path("runs/tiny/predictions").iterdir()}
    assert folders == {"mine_image", "mine_image_last", "mine_image_48_pixels"}
    best = Path("runs/tiny/checkpoints/best.ckpt")
    about = json.loads(Path("runs/tiny/predictions/mine_image/about.json").read_text())
    assert about["weights"] == blake2b(best.read_bytes()).hexdigest()[:32]
    capsys.readouterr()
    run(*words)  # nothing is left to do
    stored = torch.load(best, weights_only=True)
    torch.save({**stored, "global_step": 1}, best)
    with pytest.raises(SystemExit):
        run(*words)
    assert "error: runs/tiny/predictions/mine_image was made with other weights (" in capsys.readouterr().err


def test_predictions_with_boxes_are_continued_when_a_file_is_done(predict, capsys):
    boxes = ["clip.mp4,0,15,35,65,85", "one.png,0,45,35,95,85", "later.png,0,25,25,85,85"]
    Path("boxes.csv").write_text("\n".join(["file,frame,left,top,right,bottom", *boxes]))
    Image.fromarray(picture((30, 30, 80, 80))).save("mine/later.png")
    words = ("--data.path", "mine", "--data.boxes", "boxes.csv", "--data.out", "made", "--data.overlays=false")
    predict(*words)
    Path("made/images.csv").unlink()
    predict(*words)
    assert "1 of 4 files were predicted before" in capsys.readouterr().err
    names = [row["file"] for row in rows_of(Path("made/images.csv")) if row["face"]]
    assert names == ["later.png", "one.png"]


def test_boxes_are_of_all_files_whoever_takes_some_away(files):
    Path("boxes.csv").write_text("file,frame,left,top,right,bottom\nclip.mp4,0,15,35,65,85\n")
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
