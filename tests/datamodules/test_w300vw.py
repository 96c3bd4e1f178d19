import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from datamodules.pts_files import read_pts
from datamodules.w300vw import SCENARIO, SCENARIOS, TRAIN, UNSCORED, W300VW, W300VWAllFrames, frames
from tests.drawn_faces import ibug_face
from tests.drawn_pts import write_pts
from tests.drawn_videos import VIDEOS_300VW, moving_face, write_w300vw
from tests.one_sentence import one_sentence


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LANDMARK_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "300VW"
    return folder, write_w300vw(folder)


@pytest.fixture
def root(drawn, tmp_path):
    return shutil.copytree(drawn[0], tmp_path / "300VW")


# The published lists


def test_videos_are_as_many_as_published():
    assert [len(videos.split()) for videos in SCENARIOS.values()] == [31, 19, 14]
    assert len(TRAIN.split()) == 50
    assert len({*TRAIN.split(), *SCENARIO}) == 114


def test_frames_that_count_are_as_many_as_published():
    """The set has 218,597 frames; the papers count 95,192 to train and 62,135, 32,805 and 26,338 to test."""
    unscored = {video: len(frames(ranges)) for video, ranges in UNSCORED.items()}
    assert set(unscored) <= set(SCENARIO)
    assert 218_597 - sum(unscored.values()) == 95_192 + 62_135 + 32_805 + 26_338 == sum(W300VW.published.values())
    assert sum(W300VWAllFrames.published.values()) == 218_597


def test_ranges_of_frames():
    assert frames("22 32-34 7") == {22, 32, 33, 34, 7}
    assert all(min(frames(ranges)) >= 1 for ranges in UNSCORED.values())


# Reading


@pytest.mark.parametrize(
    ("split", "videos"), [("train", ["001", "002", "009"]), ("test", ["114", "203", "410", "411"])]
)
def test_faces_are_those_of_the_files(drawn, split, videos):
    folder, points = drawn
    faces = W300VWAllFrames(folder).load(split)
    np.testing.assert_allclose(faces.landmarks, np.concatenate([points[video] for video in videos]), atol=1e-6)
    assert faces.photograph.tolist() == [video for video in videos for _ in range(VIDEOS_300VW[video])]
    assert faces.frame.tolist() == [frame for video in videos for frame in range(VIDEOS_300VW[video])]
    assert faces.length.tolist() == [VIDEOS_300VW[video] for video in videos for _ in range(VIDEOS_300VW[video])]
    assert faces.image[-1] == f"{folder}/{videos[-1]}/vid.avi#{VIDEOS_300VW[videos[-1]]}"
    assert faces.where(1) == f"{folder}/{videos[0]}/vid.avi#2"
    assert faces.visible.all()
    assert faces.scored.all()


def test_subsets_are_the_scenarios(drawn):
    data = W300VW(drawn[0])
    faces = data.load("test")
    assert data.subset_names == ("scenario 1", "scenario 2", "scenario 3")
    assert faces.subsets[[0, 8, 13, 19]].astype(int).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]]
    assert not data.load("train").subsets.any()


def test_frames_that_do_not_count(tmp_path):
    """411 leaves out frames 19 and 20, counted from 1."""
    for frame, face in enumerate(moving_face(ibug_face(), 22)):
        write_pts(tmp_path / "411/annot" / f"{frame + 1:06}.pts", face)
    faces = W300VW(tmp_path).load("test")
    assert np.flatnonzero(~faces.scored).tolist() == [18, 19]
    assert W300VWAllFrames(tmp_path).load("test").scored.all()
    assert W300VWAllFrames(tmp_path).title == "300VW, all frames"


def test_a_changed_label_is_read_again(root):
    before = W300VW(root).load("test").landmarks
    write_pts(root / "114/annot/000003.pts", before[2] + 1.5)
    after = W300VW(root).load("test").landmarks
    np.testing.assert_allclose(after[2], before[2] + 1.5, atol=1e-6)
    np.testing.assert_array_equal(np.delete(after, 2, axis=0), np.delete(before, 2, axis=0))


def test_nose_is_its_base():
    """Between the nostrils, on the face's middle line, below the tip."""
    face = ibug_face()
    np.testing.assert_allclose(face[W300VW.nose], (face[31] + face[35]) / 2, atol=1e-9)


# Bad files


def pts(edit, name="114/annot/000003.pts"):
    return lambda root: (root / name).write_text(edit((root / name).read_text()))


def without(*names):
    return lambda root: [(root / name).unlink() for name in names]


def add(name):
    def spoil(root):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / "114/annot/000001.pts", root / name)

    return spoil


def only(*videos):
    return lambda root: [shutil.rmtree(path) for path in root.iterdir() if path.name not in videos]


def body(lines):
    """A label file with these lines between its braces."""
    return pts(lambda text: text.split("{")[0] + "{\n" + "\n".join(lines) + "\n}\n")


def of_39_points(text):
    return "\n".join(text.replace("68", "39").split("\n")[:42]) + "\n}"


def deeper(root):
    root.rename(root.parent / "x")
    root.mkdir()
    (root.parent / "x").rename(root / "x")


def no_labels(root):
    for path in root.iterdir():
        shutil.rmtree(path / "annot")


VIDEOS = [f"{video}/vid.avi" for video in ("114", "203", "410", "411")]
ROOT = "set data.init_args.root to the folder that holds 001, 002 and so on"
NAME = "is not a label of 300VW, expected names as"
BAD = {
    "root missing": (shutil.rmtree, f"300VW not found; {ROOT}"),
    "no labels": (no_labels, f"no file that ends in .pts; {ROOT}"),
    "training videos only": (only("001", "002"), f"300VW has none of the test videos of 300VW; {ROOT}"),
    "one folder too deep": (deeper, f"annot/000001.pts {NAME}"),
    "unknown video": (add("999/annot/000001.pts"), f"999/annot/000001.pts {NAME}"),
    "name too short": (add("114/annot/00009.pts"), f"114/annot/00009.pts {NAME}"),
    "name not a number": (add("114/annot/frame1.pts"), f"114/annot/frame1.pts {NAME}"),
    "label beside the video": (add("114/000001.pts"), f"114/000001.pts {NAME}"),
    "counted from 0": (add("114/annot/000000.pts"), "114/annot has no 000001.pts, which should be before 000000.pts"),
    "first label missing": (without("203/annot/000001.pts"), "203/annot has no 000001.pts, which should be before"),
    "a label missing": (
        without("114/annot/000004.pts", "114/annot/000005.pts"),
        "114/annot has no 000004.pts, which should be before 000006.pts, expected a label for every frame",
    ),
    "last label missing": (without("114/annot/000008.pts"), "114/vid.avi: has 8 frames, but labels for 7"),
    "a label too many": (add("114/annot/000009.pts"), "114/vid.avi: has 8 frames, but labels for 9"),
    "label empty": (pts(lambda text: ""), "114/annot/000003.pts: is empty, expected 68 landmarks"),
    "label cut off": (pts(lambda text: text[:300]), "114/annot/000003.pts: breaks off after"),
    "label of 39 points": (pts(of_39_points), "114/annot/000003.pts: has 39 landmarks, expected 68"),
    "label not a number": (body(["nan 5.0", *["7.0 8.0"] * 67]), "000003.pts: line 4 has 'nan', expected a finite"),
    "label of a training video": (pts(lambda text: "", "001/annot/000002.pts"), "001/annot/000002.pts: is empty"),
    "video missing": (without("410/vid.avi"), "410/vid.avi is not there (1 of 4 videos are missing)"),
    "all videos missing": (without(*VIDEOS), "114/vid.avi is not there (4 of 4 videos are missing)"),
    "video is text": (lambda root: (root / VIDEOS[2]).write_text("404"), "410/vid.avi: not a video, or it breaks"),
    "another video": (
        lambda root: shutil.copy(root / VIDEOS[3], root / VIDEOS[2]),
        "410/vid.avi: has 3 frames, but labels for 6",
    ),
    "face at one point": (body(["5.0 5.0"] * 68), "114/vid.avi#3: all landmarks are at one point"),
    "face of another video": (
        body([f"{900 + i}.0 {800 + i}.0" for i in range(68)]),
        "114/vid.avi#3: no landmark lies within the image of",
    ),
}


@pytest.mark.parametrize(("spoil", "sentence"), BAD.values(), ids=BAD)
def test_bad_files_are_a_sentence(root, spoil, sentence):
    spoil(root)
    data = W300VW(root, num_workers=0, size=64)
    with one_sentence(sentence, root):
        _ = data.setup("test"), list(data.predict_dataloader())


def test_a_part_of_the_set_can_be_used(root):
    only("410", "411")(root)
    data = W300VW(root)
    data.setup("test")
    assert len(data.predict_dataloader().dataset) == 9


def test_other_boxes_are_refused_as_there_are_none(root):
    data = W300VW(root, box="provided-1.2")
    with pytest.raises(ValueError, match=r"114/vid\.avi#1 has no box; set data\.init_args\.box to landmarks-1\.2"):
        data.setup("test")


# Real samples


SAMPLES = Path(os.environ.get("LANDMARK_DATA", "-"), "tiny_samples")


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="LANDMARK_DATA names no folder with tiny_samples")
def test_real_frames_have_these_points_and_normalisers(tmp_path):
    """Frames of 300VW whose label files are written again: the annotations there are the files' own numbers."""
    samples = [s for s in json.loads((SAMPLES / "annotations.json").read_text()) if s["dataset"] == "300vw"]
    assert len(samples) == 4
    for number, sample in enumerate(samples, start=1):
        points = np.array(sample["landmarks"])
        path = tmp_path / f"{'114' if number < 3 else '410'}/annot/{(number - 1) % 2 + 1:06}.pts"
        write_pts(path, points - 1)
        np.testing.assert_allclose(read_pts(path, 68), points - 1, atol=1e-5)
    faces = W300VWAllFrames(tmp_path).load("test")
    norms = W300VW.annotated.norm(faces.landmarks, "inter-ocular", 256.0)
    for row, sample in enumerate(samples):
        corners = np.array(sample["landmarks"])[[36, 45]]
        assert norms[row] == pytest.approx(np.hypot(*(corners[0] - corners[1])), rel=1e-6)
        assert (faces.landmarks[row] >= 0).all()
        assert (faces.landmarks[row] < (sample["w"], sample["h"])).all()
        assert str(faces.photograph[row]) in SCENARIO
        assert sample["video"] in {*TRAIN.split(), *SCENARIO}
