"""300-W on drawn faces in the layout, file names and formats of the real one."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.io import savemat

from callbacks.arguments import CONFIGS
from datamodules.crop import transform
from datamodules.w300 import W300, W300Private
from tests.drawn_pts import W300_FILES, write_pts, write_w300, write_w300_boxes
from tests.experiment import run
from tests.image_pixels import landmarks_in_image
from tests.one_sentence import one_sentence

TRAIN = ("afw", "helen/trainset", "lfpw/trainset")
SAMPLES = Path(os.environ.get("LANDMARK_DATA", ""), "tiny_samples")


@pytest.fixture
def root(tmp_path):
    write_w300(tmp_path / "300W")
    return tmp_path / "300W"


def named(faces, root):
    return [str(Path(image).relative_to(root)) for image in faces.image]


@pytest.mark.parametrize(
    ("kind", "split", "folders", "subsets"),
    [
        (W300, "train", TRAIN, ()),
        (W300, "test", ("helen/testset", "lfpw/testset", "ibug"), ("common", "common", "challenge")),
        (W300Private, "train", TRAIN, ()),
        (W300Private, "test", ("Test/01_Indoor", "Test/02_Outdoor"), ("indoor", "outdoor")),
    ],
)
def test_splits_are_the_published_folders(tmp_path, kind, split, folders, subsets):
    points, data = write_w300(tmp_path), kind(tmp_path)
    faces = data.load(split)
    assert named(faces, tmp_path) == [f"{folder}/{name}" for folder in folders for name in sorted(W300_FILES[folder])]
    for row, name in enumerate(named(faces, tmp_path)):
        np.testing.assert_allclose(faces.landmarks[row], points[name], rtol=0, atol=1e-9)
        subset = dict(zip(folders, subsets, strict=False)).get(name.rpartition("/")[0])
        assert faces.subsets[row].tolist() == [subset == known for known in data.subset_names]
    assert faces.visible.all()
    assert np.isnan(faces.box).all()


def test_published_counts_and_names():
    assert W300.published == {"train": 337 + 2000 + 811, "test": 330 + 224 + 135}
    assert W300Private.published == {"train": 3148, "test": 600}
    assert (W300("").title, W300Private("").title) == ("300-W", "300-W private")
    assert W300("").normalizer == "inter-ocular"


def test_faces_of_one_photograph_share_it_and_no_others(root):
    faces = W300(root).load("train")
    photographs = dict(zip(named(faces, root), faces.photograph, strict=True))
    assert photographs["afw/134212_1.jpg"] == photographs["afw/134212_2.jpg"]
    assert photographs["helen/trainset/2908549_1.jpg"] == photographs["helen/trainset/2908549_2.jpg"]
    assert len(set(faces.photograph)) == len(faces) - 2
    photographs = dict(zip(named(W300(root).load("test"), root), W300(root).load("test").photograph, strict=True))
    assert photographs["ibug/image_092 _01.jpg"] == "ibug/image_092"
    assert photographs["ibug/image_003_1.jpg"] == "ibug/image_003"


def test_landmarks_are_drawn_where_the_batch_says(root):
    """Lips, lids and jaw are dark lines in the drawings; one pixel beside them they are not."""
    data = W300(root, size=192, num_workers=0)
    data.setup("test")
    on, beside = [], []
    for sample in data.test_dataloader().dataset:
        grey = sample["image"].float().mean(dim=0)
        x, y = sample["landmarks"][27:68].round().long().T
        on.append(grey[y, x].mean())
        beside.append(grey[y + 6, x + 6].mean())
    assert np.mean(on) < 70
    assert np.mean(beside) > 110


def test_detector_boxes_are_read_by_name(tmp_path):
    expected = write_w300_boxes(tmp_path, write_w300(tmp_path))
    for split in ("train", "test"):
        faces = W300(tmp_path).load(split)
        for name, box in zip(named(faces, tmp_path), faces.box, strict=True):
            np.testing.assert_allclose(box, expected[name], rtol=0, atol=1e-9)
    data = W300(tmp_path, box="provided-1.2", size=64, num_workers=0)
    data.setup("test")
    sample = data.test_dataloader().dataset[0]
    corners = transform(sample["crop"].double().numpy(), np.array([(-0.5, -0.5), (63.5, 63.5)]))
    box = expected[named(data.load("test"), tmp_path)[0]]
    np.testing.assert_allclose(corners.mean(axis=0), (box[:2] + box[2:]) / 2, atol=1e-4)
    np.testing.assert_allclose(corners[1] - corners[0], 1.2 * (box[2:] - box[:2]).max(), rtol=1e-5)


def pts(name, change):
    """Change the points of a file."""
    return lambda root: write_pts(root / name, change(np.arange(136.0).reshape(68, 2)))


def truncated(name):
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:200])


def at(points, index, value):
    points[index] = value
    return points


def boxes(content):
    def spoil(root):
        write_w300_boxes(root, write_w300(root))
        path = root / "Bounding Boxes/bounding_boxes_ibug.mat"
        path.write_bytes(content) if isinstance(content, bytes) else savemat(path, content)

    return spoil


FACE = "ibug/image_003_1"
SQUARE = {"imgName": "image_003_1.jpg", "bb_detector": np.array([[1.0, 1.0, 90.0, 90.0]])}
ROOT = (
    "set data.init_args.root to the folder that holds afw, helen/trainset, helen/testset, lfpw/trainset, lfpw/testset "
    "and ibug"
)
BAD_SETS = {
    "root missing": (shutil.rmtree, f"300W/helen/testset not found; {ROOT}"),
    "a folder missing": (lambda root: shutil.rmtree(root / "ibug"), f"ibug not found; {ROOT}"),
    "a folder empty": (lambda root: [f.unlink() for f in (root / "ibug").iterdir()], "ibug has no file that ends in"),
    "image missing": (lambda root: (root / f"{FACE}.jpg").unlink(), f"{FACE}.pts has no image of the same name"),
    "points missing": (lambda root: (root / f"{FACE}.pts").unlink(), f"{FACE}.jpg has no .pts file of the same name"),
    "two images": (lambda root: shutil.copy(root / f"{FACE}.jpg", root / f"{FACE}.png"), "are one face by their names"),
    "points cut off": (truncated(f"{FACE}.pts"), f"{FACE}.pts: breaks off after 9 of 68 landmarks"),
    "39 points": (pts(f"{FACE}.pts", lambda p: p[:39]), f"{FACE}.pts: has 39 landmarks, expected 68"),
    "one point": (pts(f"{FACE}.pts", np.zeros_like), f"{FACE}.jpg: all landmarks are at one point, expected a face"),
    "absurd": (pts(f"{FACE}.pts", lambda p: 1e6 * p), f"{FACE}.jpg: landmark 0 is at (0, 1e+06)"),
    "eye corners coincide": (
        pts(f"{FACE}.pts", lambda p: at(p, 45, p[36])),
        f"{FACE}.jpg: the inter-ocular distance is 0 pixels",
    ),
    "boxes cut off": (boxes(b"MATLAB 5.0 MAT-file"), "bounding_boxes_ibug.mat: not a MATLAB file or damaged"),
    "boxes text": (boxes(b"1 2 3 4\n" * 40), "bounding_boxes_ibug.mat: not a MATLAB file or damaged"),
    "boxes of another name": (boxes({"boxes": np.eye(4)}), "bounding_boxes_ibug.mat has no variable bounding_boxes"),
    "boxes of three numbers": (
        boxes({"bounding_boxes": [{**SQUARE, "bb_detector": np.ones((1, 3))}]}),
        "bounding_boxes has no imgName with four numbers of bb_detector in each cell (cannot reshape",
    ),
    "boxes that are numbers": (boxes({"bounding_boxes": np.eye(4)}), "in each cell (invalid index to scalar variable"),
}


@pytest.mark.parametrize(("spoil", "sentence"), BAD_SETS.values(), ids=BAD_SETS)
def test_bad_files_are_a_sentence_at_start(root, spoil, sentence):
    data = W300(root)
    spoil(root)
    with one_sentence(sentence, root):
        data.setup("test")


def test_a_face_without_a_detector_box_is_refused_where_it_needs_one(root):
    boxes({"bounding_boxes": [SQUARE]})(root)
    faces = W300(root).load("test")
    rows = [named(faces, root).index(f"ibug/{name}.jpg") for name in ("image_003_1", "image_092 _01")]
    assert faces.box[rows[0]].tolist() == [0, 0, 89, 89]
    assert np.isnan(faces.box[rows[1]]).all()
    W300(root, box="landmarks-1.25").setup("test")
    W300(root).dataset(faces.select(np.arange(len(faces)) == rows[0]))
    with pytest.raises(ValueError, match=r"has no box; set data\.init_args\.box to landmarks-1\.2 or image"):
        W300(root, box="provided-1.2").setup("test")
    some = faces.select(np.isin(np.arange(len(faces)), rows))
    with pytest.raises(ValueError, match=r"image_092 _01\.jpg has no box; set data\.init_args\.box to landmarks-1"):
        W300(root, box="provided-1.2").dataset(some)


def test_provided_boxes_that_are_not_there_are_a_sentence(root):
    data = W300Private(root, box="provided-1.2")
    with pytest.raises(ValueError, match=r"indoor_001\.png has no box; set data\.init_args\.box to landmarks-1\.2"):
        data.setup("test")


def test_bad_image_is_a_sentence_when_it_is_read(root):
    truncated("ibug/image_092 _01.jpg")(root)
    data = W300(root, num_workers=0)
    data.setup("test")
    with pytest.raises(ValueError, match=r"image_092 _01\.jpg: image is damaged or truncated"):
        list(data.test_dataloader())


@pytest.mark.parametrize("config", ["w300.yaml", "w300_private.yaml"])
def test_runs_from_its_config(root, config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = {"class_path": "tests.tiny.Tiny", "init_args": {"num_landmarks": 68}}
    trainer = {"max_epochs": 1, "accelerator": "cpu", "limit_train_batches": 1}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({"model": model, "trainer": trainer}))
    small = {"root": root, "size": 32, "batch_size": 4, "num_workers": 0, "validation_fraction": 0.3}
    options = [f"--data.init_args.{key}={value}" for key, value in small.items()]
    run("fit", "--config", "tiny.yaml", "--config", str(CONFIGS / "data" / config), *options)
    run("test", "--name", "tiny", "--config", str(CONFIGS / "data" / config), *options)
    table = next(Path("runs/tiny/test").glob("*landmarks-1.25.csv")).read_text()
    subsets = (W300 if config == "w300.yaml" else W300Private).subset_names
    assert [line.split(",")[0] for line in table.splitlines()[2:4]] == list(subsets)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="LANDMARK_DATA names no folder with tiny_samples")
def test_real_samples(tmp_path):
    """Two private faces laid out as published: points and eye distance are those of the samples' own list."""
    faces = [face for face in json.loads((SAMPLES / "annotations.json").read_text()) if face["dataset"] == "300w"]
    for face in faces:
        for folder in ("Test/01_Indoor", "Test/02_Outdoor"):
            path = tmp_path / folder / Path(face["file"]).name
            write_pts(path.with_suffix(".pts"), np.array(face["landmarks"]))
            shutil.copy(SAMPLES / face["file"], path)
    data = W300Private(tmp_path, size=256, num_workers=0)
    data.setup("test")
    dataset = data.test_dataloader().dataset
    assert len(dataset) == 2 * len(faces) > 0
    for row, face in enumerate(sorted(faces, key=lambda face: face["file"])):
        points, sample = np.array(face["landmarks"]), dataset[row]
        found = landmarks_in_image(sample)
        np.testing.assert_allclose(found, points, atol=1e-3)
        pixel = np.linalg.norm(sample["crop"][:, 0])
        np.testing.assert_allclose(sample["norm"] * pixel, np.linalg.norm(points[36] - points[45]), rtol=1e-5)
        assert sample["visible"].all()
