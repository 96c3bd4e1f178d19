import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from callbacks.arguments import CONFIGS
from datamodules.crop import transform
from datamodules.wflw_v import WFLWV
from tests.drawn_faces import wflw_face
from tests.drawn_videos import VIDEOS_WFLW_V, number, numbered, write_video, write_wflw_v
from tests.experiment import run, write_experiment
from tests.one_sentence import one_sentence

LENGTHS = {"-a_B3": 6, "Zz0": 7, "k9-Q": 8}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "WFLW_V"
    return folder, write_wflw_v(folder)


@pytest.fixture
def root(drawn, tmp_path):
    return shutil.copytree(drawn[0], tmp_path / "WFLW_V")


def test_faces_are_those_of_the_arrays(drawn):
    folder, points = drawn
    faces = WFLWV(folder).load("test")
    np.testing.assert_array_equal(faces.landmarks, np.concatenate([points[video] for video in VIDEOS_WFLW_V]))
    boxes = np.concatenate([np.load(folder / f"bboxes/{video}.npy")[:, :4] for video in VIDEOS_WFLW_V])
    np.testing.assert_array_equal(faces.box, boxes)
    assert faces.photograph.tolist() == [video for video, count in LENGTHS.items() for _ in range(count)]
    assert faces.frame.tolist() == [frame for count in LENGTHS.values() for frame in range(count)]
    assert faces.image[0] == f"{folder}/videos/-a_B3.mp4#1"
    assert faces.image[-1] == f"{folder}/videos/k9-Q.mp4#8"
    assert faces.visible.all()
    assert faces.scored.all()


def test_subsets_are_the_lists(drawn):
    data = WFLWV(drawn[0])
    assert data.subset_names == ("easy", "hard")
    assert data.load("test").subsets[[0, 6, 13]].tolist() == [[True, False], [False, True], [False, True]]
    assert data.title == "WFLW-V"


def test_frames_and_labels_go_together(drawn):
    data = WFLWV(drawn[0], num_workers=0, size=64)
    data.setup("test")
    dataset = data.predict_dataloader().dataset
    assert [number(dataset.read(row)) for row in range(21)] == dataset.faces.frame.tolist()


def test_batches_have_the_times_of_the_file(root):
    """A video at an uneven rate, in chunks beside a longer one."""
    ticks = [0, 3, 4, 10, 11, 30]
    write_video(root / "videos/-a_B3.mp4", numbered(6), "libx264", ticks=ticks)
    data = WFLWV(root, num_workers=0, size=64)
    data.setup("test")
    seconds = {0: [], 1: [], 2: []}
    for batch in data.video_dataloader(videos_per_batch=2, frames=4):
        for video, times, shown in zip(batch["video"].tolist(), batch["seconds"], batch["shown"], strict=True):
            seconds[video] += times[shown].tolist()
    assert seconds[0] == pytest.approx([tick / 25 for tick in ticks], abs=1e-3)
    assert seconds[2] == pytest.approx([frame / 25 for frame in range(8)], abs=1e-3)


def test_crop_is_that_of_ldeq_but_for_its_rounding(drawn):
    """LDEQ's: corners rounded to whole pixels, centre x1 + (x2 - x1 + 1) // 2, side 1.2 max(x2 - x1, y2 - y1)."""
    data = WFLWV(drawn[0], num_workers=0, size=64)
    data.setup("test")
    dataset = data.predict_dataloader().dataset
    for row in range(len(dataset)):
        x1, y1, x2, y2 = (dataset.faces.box[row] + 0.5).astype(int)
        centre = np.array([x1 + (x2 - x1 + 1) // 2, y1 + (y2 - y1 + 1) // 2])
        side = 1.2 * max(x2 - x1, y2 - y1)
        corners = transform(dataset[row]["crop"].double().numpy(), np.array([(-0.5, -0.5), (63.5, 63.5)]))
        assert np.abs(corners.mean(axis=0) - centre).max() <= 1
        assert abs(corners[1] - corners[0] - side).max() <= 1.2


def test_nose_is_its_base():
    face = wflw_face()
    np.testing.assert_allclose(face[WFLWV.nose], (face[55] + face[59]) / 2, atol=1e-9)


def test_a_shorter_list_is_a_part_of_the_set(root):
    (root / "hard_video_IDs.txt").write_text("k9-Q\n\n")
    faces = WFLWV(root).load("test")
    assert sorted(set(faces.photograph.tolist())) == ["-a_B3", "k9-Q"]


@pytest.mark.parametrize("stage", ["fit", "validate"])
def test_there_is_nothing_to_train_on(drawn, stage):
    with pytest.raises(ValueError, match="WFLW-V has test videos only; train on WFLW"):
        WFLWV(drawn[0]).setup(stage)


def test_a_model_of_wflw_is_tested_and_predicts(drawn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("fit", "--config", str(write_experiment(tmp_path)), "--name=stills")
    words = ["--name=stills", "--config", str(CONFIGS / "data/wflw_v.yaml"), "--data.init_args.batch_size=4"]
    words += [f"--data.init_args.root={drawn[0]}", "--data.init_args.size=32", "--data.init_args.num_workers=0"]
    tested = run("test", *words)
    assert type(tested.datamodule) is WFLWV
    assert 0 < tested.trainer.callback_metrics["test/nme/easy"] < 1000
    assert 0 < tested.trainer.callback_metrics["test/nme/hard"] < 1000
    run("predict", *words)
    (path,) = Path("runs/stills/predictions").glob("*.csv")
    rows = list(csv.DictReader(path.open()))
    assert len(rows) == sum(LENGTHS.values())
    assert [row["file"] for row in rows[:2]] == ["videos/-a_B3.mp4#1", "videos/-a_B3.mp4#2"]
    assert int(rows[-1]["index"]) == len(rows) - 1


# Bad files


def array(name, edit):
    def spoil(root):
        np.save(root / name, edit(np.load(root / name)))

    return spoil


def change(index, value):
    def edit(values):
        values[index] = value
        return values

    return edit


def content(name, value):
    return lambda root: (root / name).write_bytes(value)


def cut(name, size):
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:size])


def objects(root):
    np.save(root / "landmarks/Zz0.npy", np.array([{"a": 1}], object), allow_pickle=True)


def archive(root):
    np.savez(root / "landmarks/x.npz", np.zeros((7, 98, 2)))
    (root / "landmarks/x.npz").rename(root / "landmarks/Zz0.npy")


def both(edit):
    return lambda root: [array(name, edit)(root) for name in (POINTS, BOXES)]


POINTS, BOXES, VIDEO = "landmarks/Zz0.npy", "bboxes/Zz0.npy", "videos/Zz0.mp4"
ROOT = "set data.init_args.root to the folder that holds videos, landmarks, bboxes, easy_video_IDs.txt and hard"
BAD = {
    "root missing": (shutil.rmtree, f"easy_video_IDs.txt not found; {ROOT}"),
    "list missing": (lambda root: (root / "hard_video_IDs.txt").unlink(), f"hard_video_IDs.txt not found; {ROOT}"),
    "list empty": (content("hard_video_IDs.txt", b"\n"), "hard_video_IDs.txt: no faces found, expected one a line"),
    "list with two columns": (content("easy_video_IDs.txt", b"a 1\n"), "easy_video_IDs.txt: line 1 has 2 col"),
    "listed twice": (content("hard_video_IDs.txt", b"Zz0\nk9-Q\nZz0\n"), "hard_video_IDs.txt: line 3 lists Zz0 again"),
    "in both lists": (content("hard_video_IDs.txt", b"-a_B3\n"), "hard_video_IDs.txt: line 1 lists -a_B3 again"),
    "labels missing": (lambda root: (root / POINTS).unlink(), f"{POINTS} not found, expected labels of a listed video"),
    "boxes missing": (lambda root: (root / BOXES).unlink(), f"{BOXES} not found, expected labels of a listed video"),
    "labels are text": (content(POINTS, b"404 not found"), f"{POINTS}: not a whole .npy file of numbers"),
    "labels empty": (content(POINTS, b""), f"{POINTS}: not a whole .npy file of numbers"),
    "labels truncated": (cut(POINTS, 3000), f"{POINTS}: not a whole .npy file of numbers"),
    "labels' header truncated": (cut(POINTS, 20), f"{POINTS}: not a whole .npy file of numbers"),
    "labels are pickled": (objects, f"{POINTS}: not a whole .npy file of numbers (Object arrays cannot be loaded"),
    "labels are an archive": (archive, f"{POINTS}: holds no numbers, expected a .npy file of them"),
    "labels of words": (array(POINTS, lambda v: v.astype(str)), f"{POINTS}: holds no numbers"),
    "68 landmarks": (array(POINTS, lambda v: v[:, :68]), f"{POINTS}: holds an array (7, 68, 2), expected (fr"),
    "flat landmarks": (array(POINTS, lambda v: v.reshape(7, 196)), f"{POINTS}: holds an array (7, 196), expected"),
    "no frames": (array(POINTS, lambda v: v[:0]), f"{POINTS}: holds an array (0, 98, 2), expected"),
    "boxes of three numbers": (array(BOXES, lambda v: v[:, :3]), f"{BOXES}: holds an array (7, 3), expected"),
    "boxes of fewer frames": (array(BOXES, lambda v: v[:-1]), "landmarks/Zz0.npy: has 7 frames, but "),
    "landmark not a number": (array(POINTS, change((2, 5, 0), np.nan)), "Zz0.mp4#3: landmark 5 is (nan, "),
    "landmark far away": (array(POINTS, change((2, 5, 0), 1e9)), "Zz0.mp4#3: landmark 5 is at (1e+09, "),
    "box upside down": (array(BOXES, lambda v: v[:, [2, 3, 0, 1, 4]]), "Zz0.mp4#1: box is ("),
    "box not a number": (array(BOXES, change((4, slice(4)), np.nan)), "Zz0.mp4#5 has no box; set data."),
    "box as width and height": (array(BOXES, change((3, slice(2, 4)), (9, 9))), "Zz0.mp4#4: box is ("),
    "video missing": (lambda root: (root / VIDEO).unlink(), f"{VIDEO} is not there (1 of 3 videos are missing)"),
    "video truncated": (cut(VIDEO, 2000), f"{VIDEO}: not a video, or it breaks off"),
    "labels of fewer frames": (both(lambda v: v[:-1]), f"{VIDEO}: has 7 frames, but labels for 6"),
    "labels of more frames": (both(lambda v: v.repeat(2, axis=0)), f"{VIDEO}: has 7 frames, but labels for 14"),
}


@pytest.mark.parametrize(("spoil", "sentence"), BAD.values(), ids=BAD)
def test_bad_files_are_a_sentence(root, spoil, sentence):
    spoil(root)
    data = WFLWV(root, num_workers=0, size=64)
    with one_sentence(sentence, root):
        _ = data.setup("test"), list(data.predict_dataloader())
