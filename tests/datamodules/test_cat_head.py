"""Cat Head on drawn cats, and on real ones where they are."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from callbacks.arguments import CONFIGS
from datamodules.cat_head import CatHead, read_cat
from datamodules.crop import transform
from datamodules.file_index import list_files
from tests.drawn_cats import write_cat, write_cats
from tests.experiment import run, write_experiment
from tests.image_pixels import landmarks_in_image
from tests.one_sentence import one_sentence

SAMPLES = Path(os.environ.get("LANDMARK_DATA", ""), "tiny_samples")
CAT = "CAT_00/00000001_007.jpg"  # the second in order


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LANDMARK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path):
    write_cats(tmp_path / "CAT")
    return tmp_path / "CAT"


def names(faces, root):
    return [str(Path(image).relative_to(root)) for image in faces.image]


def group(name):
    return Path(name).name.partition("_")[0]


def write_lists(root, train, test):
    """lmdis' lists, with the names alone."""
    for split, images in (("train", train), ("test", test)):
        (root / f"cat_{split}_images.txt").write_text("".join(f"{Path(image).name}\n" for image in images))


def test_faces_are_those_of_the_files(tmp_path):
    points = write_cats(tmp_path)
    seen = []
    for split in ("train", "test"):
        faces = CatHead(tmp_path).load(split)
        seen += names(faces, tmp_path)
        for row, name in enumerate(names(faces, tmp_path)):
            assert faces.landmarks[row].tolist() == points[name].tolist()
            assert faces.where(row) == str(tmp_path / name)
        assert faces.visible.all()
    assert sorted(seen) == sorted(points)
    assert {Path(name).parts[0] for name in seen} == {f"CAT_0{i}" for i in range(7)}


def test_own_split_keeps_groups_together_and_says_so(root):
    data = CatHead(root, validation_fraction=0.4)
    data.setup("fit")
    sides = [data.train_dataloader().dataset.faces, data.val_dataloader().dataset.faces, data.load("test")]
    groups = [{group(name) for name in names(faces, root)} for faces in sides]
    assert all(groups)
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    assert sum(len(faces) for faces in sides) == 24
    assert data.title == "Cat Head, own split"


def test_own_split_holds_out_about_three_tenths_whatever_the_seed(tmp_path):
    write_cats(tmp_path, groups=60)
    tests = [names(CatHead(tmp_path, seed=seed).load("test"), tmp_path) for seed in (0, 1)]
    assert tests[0] == tests[1]
    assert 0.15 * 120 < len(tests[0]) < 0.45 * 120


def test_lists_of_lmdis_make_the_split(tmp_path):
    images = list(write_cats(tmp_path))
    write_lists(tmp_path, images[9:3:-1], [images[12], images[2]])
    (tmp_path / "cat_test_images.txt").write_text(f"{images[12]}\ncats/{Path(images[2]).name}\n")  # with folders
    data = CatHead(tmp_path)
    assert names(data.load("train"), tmp_path) == images[4:10]
    assert names(data.load("test"), tmp_path) == [images[2], images[12]]
    assert data.title == "Cat Head"


def test_seven_points_leave_out_the_tips_of_the_ears(tmp_path):
    points = write_cats(tmp_path)
    nine, seven = (CatHead(tmp_path, size=64, convert_to=name, num_workers=0) for name in (None, "cat-7"))
    for data in (nine, seven):
        data.setup("test")
    assert (nine.num_landmarks, seven.num_landmarks) == (9, 7)
    assert seven.normalizer == "inter-ocular"
    for sample, other in zip(seven.test_dataloader().dataset, nine.test_dataloader().dataset, strict=True):
        np.testing.assert_allclose(sample["landmarks"], other["landmarks"][[0, 1, 2, 3, 5, 6, 8]], atol=1e-4)
        np.testing.assert_array_equal(sample["crop"], other["crop"])  # of the box of all nine
        assert float(sample["norm"]) == pytest.approx(float(other["norm"]), rel=1e-6)
    row = nine.test_dataloader().dataset
    face = points[names(row.faces, tmp_path)[0]]
    width, height = np.ptp(face, axis=0)
    eyes = np.hypot(*(face[0] - face[1]))
    assert float(row[0]["norm"]) == pytest.approx(eyes * 64 / (1.5 * max(width, height)), rel=1e-5)
    corners = transform(row[0]["crop"].double().numpy(), np.array([(-0.5, -0.5), (63.5, 63.5)]))
    np.testing.assert_allclose(corners.mean(axis=0), (face.min(axis=0) + face.max(axis=0)) / 2, atol=1e-4)


def test_points_outside_the_photograph_stay_there(root):
    path = root / f"{CAT}.cat"
    points = read_cat(path)
    points[4] = (30, -17)
    write_cat(path, points.astype(int))
    faces = [CatHead(root).load(split) for split in ("train", "test")]
    landmarks = {name: face for side in faces for name, face in zip(names(side, root), side.landmarks, strict=True)}
    assert landmarks[CAT][4].tolist() == [30, -17]


def test_landmarks_are_drawn_where_the_batch_says(root):
    data = CatHead(root, size=96, num_workers=0)
    data.setup("test")
    for sample in data.test_dataloader().dataset:
        x, y = sample["landmarks"].round().long().T
        assert sample["image"].float().mean(dim=0)[y, x].mean() < 70


def test_a_changed_file_is_read_again(root):
    CatHead(root).load("train")
    points = np.arange(18).reshape(9, 2)
    for file in root.glob("CAT_0*/*.cat"):
        write_cat(file, points)
    assert (CatHead(root).load("train").landmarks == points).all()


def cat_as(text):
    return lambda root: (root / f"{CAT}.cat").write_text(text)


def known_error(root):
    """As in the published archives."""
    (root / CAT).rename(root / "CAT_00/00000003_015.jpg")
    (root / f"{CAT}.cat").rename(root / "CAT_00/00000003_019.jpg.cat")


def known_error_half_mended(root):
    (root / CAT).rename(root / "CAT_00/00000003_015.jpg")
    (root / f"{CAT}.cat").unlink()


def one_name_twice(root):
    for file in (CAT, f"{CAT}.cat"):
        shutil.copy(root / file, root / "CAT_06" / Path(file).name)
    write_lists(root, [CAT], [CAT])


def lists(train, test):
    return lambda root: write_lists(root, train, test)


def one_list(root):
    write_lists(root, [CAT], [CAT])
    (root / "cat_test_images.txt").unlink()


def no_photographs(root):
    for path in root.glob("CAT_0*/*.jpg"):
        path.unlink()


NINE = "9 10 10 30 10 20 20 5 5 8 1 12 4 28 4 32 1 35 5"
EXPECTED = "expected 9 and then x and y of nine points"
BAD_FILES = {
    "root missing": (shutil.rmtree, "not found; set data.init_args.root to the folder that holds CAT_00 to CAT_06"),
    "root empty": (
        lambda root: [shutil.rmtree(folder) for folder in root.iterdir()],
        "has no file that ends in .cat; set data.init_args.root to the folder that holds CAT_00 to CAT_06",
    ),
    "no images": (no_photographs, "has no file that ends in .jpg; set data.init_args.root to the folder"),
    "known error": (
        known_error,
        "CAT_00/00000003_019.jpg.cat has no image 00000003_019.jpg beside it; the archives have "
        "CAT_00/00000003_019.jpg.cat, to which there is no image, and lack CAT_00/00000003_015.jpg.cat, which is "
        "published beside them: delete the one and put the other in its place",
    ),
    "known error half mended": (
        known_error_half_mended,
        "CAT_00/00000003_015.jpg has no annotation 00000003_015.jpg.cat beside it; the archives have CAT_00/00000003_0",
    ),
    "image missing": (lambda root: (root / CAT).unlink(), "00000001_007.jpg.cat has no image 00000001_007.jpg beside"),
    "annotation missing": (
        lambda root: (root / f"{CAT}.cat").unlink(),
        "00000001_007.jpg has no annotation 00000001_007.jpg.cat beside it; get its .cat file again",
    ),
    "empty": (cat_as(""), f"00000001_007.jpg.cat: is empty, {EXPECTED}; get the file again"),
    "eight points": (cat_as("8" + NINE[1:-5]), f"007.jpg.cat: begins with 8, {EXPECTED}; correct the file or get it"),
    "cut off": (cat_as(NINE[:-3]), f"007.jpg.cat: has 17 numbers after the first, {EXPECTED}; correct the file"),
    "too long": (cat_as(NINE + " 4"), f"007.jpg.cat: has 19 numbers after the first, {EXPECTED}; correct the file"),
    "not a number": (cat_as(NINE.replace("20 20", "20 x")), "could not convert string to float: 'x', expected 9 and"),
    "not finite": (cat_as(NINE.replace("20 20", "20 nan")), "007.jpg.cat: has a number that is not finite, expected"),
    "not text": (
        lambda root: (root / f"{CAT}.cat").write_bytes(b"9 \xff\xd8"),
        f"007.jpg.cat: byte 2 is not ASCII text, {EXPECTED}; get the file again",
    ),
    "one point": (cat_as("9" + " 40" * 18), "00000001_007.jpg: all landmarks are at one point, expected a face"),
    "absurd": (cat_as(NINE.replace("20 20", "20 2000000")), "00000001_007.jpg: landmark 2 is at (20, 2e+06), expected"),
    "one list": (one_list, "cat_test_images.txt not found; put both lists of lmdis into "),
    "list empty": (lists([CAT], []), "cat_test_images.txt: no faces found, expected one a line"),
    "list of other images": (
        lists([CAT], ["00000001_000.jpg", "00000099_000.jpg"]),
        "cat_test_images.txt: line 2 names 00000099_000.jpg, which is not in ",
    ),
    "list with points": (
        lambda root: (root / "cat_test_images.txt").write_text("00000001_000.jpg 3 4\n"),
        "cat_test_images.txt: line 1 has 3 columns, expected 1 (image)",
    ),
    "one name twice": (one_name_twice, "have one name, so "),
}


@pytest.mark.parametrize(("spoil", "sentence"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files_are_a_sentence_at_start(root, spoil, sentence):
    spoil(root)
    with one_sentence(sentence, root):
        CatHead(root).setup("test")


def test_eyes_at_one_place_have_no_normaliser(root):
    for file in root.glob("CAT_0*/*.cat"):
        file.write_text("9 30 30 30 30 20 20 5 5 8 1 12 4 28 4 32 1 35 5")
    with pytest.raises(ValueError, match=r"\.jpg: the inter-ocular distance is 0 pixels, so NME is not defined"):
        CatHead(root).setup("test")


def test_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cats(tmp_path / "CAT")
    write_experiment(tmp_path)
    options = {"size": 32, "batch_size": 2, "num_workers": 0, "validation_fraction": 0.3}
    words = ["--config", "tiny.yaml", "--config", str(CONFIGS / "data/cat_head.yaml"), "--name=cats"]
    words += [f"--data.init_args.{key}={value}" for key, value in options.items()]
    run("fit", *words, "--model.init_args.num_landmarks=7")
    tested = run("test", *words, "--model.init_args.num_landmarks=7")
    assert 0 < tested.trainer.callback_metrics["test/nme"] < 1000
    assert Path("runs/cats/test/cat_head_own_split_cat-7_landmarks-1.5.csv").is_file()


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="LANDMARK_DATA names no folder with tiny_samples")
def test_real_samples(tmp_path):
    """Real cats with annotation files as published: points and eye distance are those of the samples' own list."""
    cats = [cat for cat in json.loads((SAMPLES / "annotations.json").read_text()) if cat["dataset"] == "cat_head"]
    for cat in cats:
        path = tmp_path / "CAT_00" / Path(cat["file"]).name
        write_cat(path.with_name(f"{path.name}.cat"), np.array(cat["landmarks"], int))
        shutil.copy(SAMPLES / cat["file"], path)
    write_lists(tmp_path, [cats[0]["file"]], [cat["file"] for cat in cats])
    data = CatHead(tmp_path, size=128, num_workers=0)
    data.setup("test")
    dataset = data.test_dataloader().dataset
    assert len(dataset) == len(cats) == len(list_files(tmp_path, (".cat",), "")) > 0
    for row, cat in enumerate(sorted(cats, key=lambda cat: cat["file"])):
        points, sample = np.array(cat["landmarks"]), dataset[row]
        found = landmarks_in_image(sample)
        np.testing.assert_allclose(found, points, atol=0.01)
        pixel = 1.5 * np.ptp(points, axis=0).max() / 128
        assert float(sample["norm"]) * pixel == pytest.approx(np.hypot(*(points[0] - points[1])), rel=1e-4)
        inside = (points > -0.5).all(axis=1) & (points < (cat["w"] - 0.5, cat["h"] - 0.5)).all(axis=1)
        assert sample["visible"].all()  # also where the photograph ends: the crop is black there
        assert inside.sum() >= 3
