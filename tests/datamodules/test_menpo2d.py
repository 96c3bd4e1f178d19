"""Menpo2D on drawn faces: the benchmark's lists, and the challenge's `.pts` files."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from callbacks.arguments import CONFIGS
from datamodules.crop import transform
from datamodules.markup import IBUG_68, MENPO_39
from datamodules.menpo2d import Menpo2DProfile, Menpo2DSemifrontal
from datamodules.transforms import Augmentation
from tests.drawn_faces import ibug_face
from tests.drawn_pts import profile_face, write_menpo2d, write_pts
from tests.experiment import run
from tests.one_sentence import one_sentence

KINDS = {"semifrontal": Menpo2DSemifrontal, "profile": Menpo2DProfile}
# Landmarks 16 to 38 of a profile face among those of a frontal one, for a face whose left half is seen in the image
# and for one whose right half is: nose, eye, outer and inner lips, as in the tables of OpenFace's training code.
OF_LEFT_HALF = (27, 28, 29, 30, 33, 31, 38, 37, 36, 41, 40, 51, 50, 49, 48, 59, 58, 57, 62, 61, 60, 67, 66)
OF_RIGHT_HALF = (27, 28, 29, 30, 33, 35, 43, 44, 45, 46, 47, 51, 52, 53, 54, 55, 56, 57, 62, 63, 64, 65, 66)


@pytest.mark.parametrize("lists", [True, False], ids=["lists", "pts"])
@pytest.mark.parametrize("pose", KINDS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_faces_are_those_written(tmp_path, lists, pose, split):
    points = write_menpo2d(tmp_path, lists=lists)
    faces = KINDS[pose](tmp_path).load(split)
    assert len(faces) == {"train": 12, "test": 4}[split]
    for row, image in enumerate(faces.image):
        face = points[str(Path(image).relative_to(tmp_path))]
        np.testing.assert_allclose(faces.landmarks[row], face, rtol=0, atol=1e-9)
        box = [*face.min(axis=0) - 3, *face.max(axis=0) + 3] if lists else np.full(4, np.nan)
        np.testing.assert_allclose(faces.box[row], box, rtol=0, atol=1e-5)
        expected = f"Menpo2D_{pose}_{split}.txt: line {row + 1}" if lists else f"{39800 + row}.jpg"
        assert faces.where(row).endswith(expected)
    assert faces.visible.all()
    assert len(set(faces.photograph)) == len(faces)


@pytest.mark.parametrize("pose", KINDS)
def test_error_is_divided_by_the_diagonal_of_the_box(tmp_path, pose):
    points = write_menpo2d(tmp_path)
    data = KINDS[pose](tmp_path, size=64, num_workers=0)
    data.setup("test")
    assert data.normalizer == "box-diagonal"
    dataset = data.test_dataloader().dataset
    for row in range(4):
        face = points[str(Path(dataset.faces.image[row]).relative_to(tmp_path))]
        width, height = np.ptp(face, axis=0)
        pixel = 1.25 * max(width, height) / 64
        assert float(dataset[row]["norm"]) == pytest.approx(np.hypot(width, height) / pixel, rel=1e-5)


def test_published_counts_and_names():
    assert Menpo2DSemifrontal.published == {"train": 6653, "test": 5335}
    assert Menpo2DProfile.published == {"train": 2290, "test": 1946}
    assert list(Menpo2DSemifrontal("nowhere").published_counts("train")) == [6653, 5658]
    assert list(Menpo2DProfile("nowhere").published_counts("train")) == [2290, 1906]
    assert list(Menpo2DProfile("nowhere").published_counts("test")) == [1946]
    assert (Menpo2DSemifrontal("").title, Menpo2DProfile("").title) == ("Menpo2D semifrontal", "Menpo2D profile")


def test_mirror_images_of_profile_landmarks_keep_their_order():
    """The landmarks of a left half are, mirrored, those of the right half in the same places of the list."""
    assert len(OF_LEFT_HALF) == len(OF_RIGHT_HALF) == 39 - 16
    assert [IBUG_68.flip[i] for i in OF_LEFT_HALF] == list(OF_RIGHT_HALF)
    assert MENPO_39.flip == tuple(range(39))
    left, right = ibug_face()[list(OF_LEFT_HALF)], ibug_face()[list(OF_RIGHT_HALF)]
    np.testing.assert_allclose(left * (-1, 1), right, atol=1e-12)


def test_parts_of_a_profile_face_lie_where_their_names_say():
    """On the drawn face with its nose at the right: brow above eye above lips; the tip of the nose is foremost."""
    face = profile_face()
    middle = {name: face[list(part)].mean(axis=0) for name, part in MENPO_39.parts.items()}
    assert middle["brows"][1] < middle["eyes"][1] < middle["mouth"][1]
    assert face[:, 0].argmax() == 19
    assert face[:, 1].argmax() in MENPO_39.parts["jaw"]


def test_training_flips_profiles_of_one_side_to_the_other(tmp_path):
    write_menpo2d(tmp_path)
    still = Augmentation(rotation_p=0, translation_p=0, occluder_p=0, blur_p=0)
    data = Menpo2DProfile(tmp_path, size=64, batch_size=4, num_workers=0, augmentation=still, validation_fraction=0.2)
    data.setup("fit")
    dataset = data.train_dataloader().dataset
    seen = set()
    for row in range(len(dataset)):
        clean = dataset[row]["landmarks"].numpy()
        for epoch in range(6):
            changed = dataset[epoch, row]["landmarks"].numpy()
            mirrored = np.sign(changed[19, 0] - changed[0, 0]) != np.sign(clean[19, 0] - clean[0, 0])
            np.testing.assert_allclose(changed, clean * (-1, 1) + (63, 0) if mirrored else clean, atol=1e-3)
            seen.add(bool(mirrored))
    assert seen == {False, True}


def test_detector_boxes_of_the_list(tmp_path):
    write_menpo2d(tmp_path)
    data = Menpo2DProfile(tmp_path, box="provided-1.2", size=64, num_workers=0)
    data.setup("test")
    dataset = data.test_dataloader().dataset
    corners = transform(dataset[1]["crop"].double().numpy(), np.array([(-0.5, -0.5), (63.5, 63.5)]))
    box = dataset.faces.box[1]
    np.testing.assert_allclose(corners.mean(axis=0), (box[:2] + box[2:]) / 2, atol=1e-4)
    np.testing.assert_allclose(corners[1] - corners[0], 1.2 * (box[2:] - box[:2]).max(), rtol=1e-5)


def test_pts_files_bring_no_boxes(tmp_path):
    write_menpo2d(tmp_path, lists=False)
    data = Menpo2DProfile(tmp_path, box="provided-1.2")
    with pytest.raises(ValueError, match=r"39800\.jpg has no box; set data\.init_args\.box to landmarks-1\.2 or image"):
        data.setup("test")


LIST = "Test/Menpo2D_profile_test.txt"
IMAGE = "Test/image/profile/aflw__face_39801.jpg"
ROOT = "set data.init_args.root to the folder that holds Train and Test"


def listed(line, column, value):
    """Replace a cell of the list."""

    def spoil(root):
        lines = [text.split() for text in (root / LIST).read_text().splitlines()]
        lines[line - 1][column] = value
        (root / LIST).write_text("\n".join(map(" ".join, lines)) + "\n")

    return spoil


def pts(change):
    """As the challenge gives it, one `.pts` file spoilt."""

    def spoil(root):
        shutil.rmtree(root)
        write_menpo2d(root, lists=False)
        change(root)

    return spoil


def cut(root):
    (root / LIST).write_text((root / LIST).read_text().rsplit(maxsplit=28)[0])


BAD_SETS = {
    "root missing": (shutil.rmtree, f"Test/image/profile not found; {ROOT}"),
    "list missing": (
        lambda root: (root / LIST).unlink(),
        "39800.jpg has no .pts file of the same name beside it (4 of 4 faces are incomplete); "
        f"{ROOT}, and in each Menpo2D_profile_train.txt or Menpo2D_profile_test.txt (",
    ),
    "list empty": (lambda root: (root / LIST).write_text(""), "profile_test.txt: no faces found, expected one a line"),
    "list not text": (lambda root: (root / LIST).write_bytes(b"\xff\xfe"), "line 1 is not UTF-8 text"),
    "list of the other markup": (
        lambda root: shutil.copy(root / "Test/Menpo2D_semifrontal_test.txt", root / LIST),
        "line 1 has 151 columns, expected 93 (image, left, ..., y38)",
    ),
    "list cut off": (cut, "profile_test.txt: line 4 has 65 columns, expected 93"),
    "not a number": (listed(2, 15, "x"), "line 2, column x0 is 'x', expected a finite number"),
    "NaN": (listed(3, 92, "nan"), "line 3, column y38 is 'nan', expected a finite number"),
    "absurd": (listed(1, 20, "1e7"), "line 1: landmark 2 is at ("),
    "box without area": (listed(2, 3, "-900"), "line 2: box is ("),
    "box not a number": (listed(2, 4, "-"), "line 2, column bottom is '-', expected a finite number"),
    "image missing": (lambda root: (root / IMAGE).unlink(), "line 2 names image "),
    "no .pts file": (
        pts(lambda root: (root / IMAGE).with_suffix(".pts").unlink()),
        "39801.jpg has no .pts file of the same name beside it (1 of 4",
    ),
    ".pts of a frontal face": (
        pts(lambda root: write_pts((root / IMAGE).with_suffix(".pts"), ibug_face())),
        "39801.pts: has 68 landmarks, expected 39",
    ),
    ".pts at one point": (
        pts(lambda root: write_pts((root / IMAGE).with_suffix(".pts"), np.ones((39, 2)))),
        "39801.jpg: all landmarks are at one point",
    ),
    "image among them missing": (pts(lambda root: (root / IMAGE).unlink()), "39801.pts has no image of the same name"),
}


@pytest.mark.parametrize(("spoil", "sentence"), BAD_SETS.values(), ids=BAD_SETS)
def test_bad_files_are_a_sentence_at_start(tmp_path, spoil, sentence):
    root = tmp_path / "Menpo2D"
    write_menpo2d(root)
    spoil(root)
    with one_sentence(sentence, root):
        Menpo2DProfile(root).setup("test")


@pytest.mark.parametrize("pose", KINDS)
def test_runs_from_its_config(pose, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_menpo2d(tmp_path / "Menpo2D")
    model = {"class_path": "tests.tiny.Tiny", "init_args": {"num_landmarks": KINDS[pose].annotated.num_landmarks}}
    trainer = {"max_epochs": 1, "accelerator": "cpu", "limit_train_batches": 1}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({"model": model, "trainer": trainer}))
    small = {"size": 32, "batch_size": 4, "num_workers": 0, "validation_fraction": 0.3}
    options = [f"--data.init_args.{key}={value}" for key, value in small.items()]
    config = str(CONFIGS / f"data/menpo2d_{pose}.yaml")
    run("fit", "--config", "tiny.yaml", "--config", config, *options)
    tested = run("test", "--name", "tiny", "--config", config, *options)
    assert 0 < tested.trainer.callback_metrics["test/nme"] < 1000
    assert list(Path("runs/tiny/test").glob(f"menpo2d_{pose}_landmarks-1.25*.csv"))
