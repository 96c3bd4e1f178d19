import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from scipy.io import savemat

from datamodules.aflw import AFLW, AFLWFrontal
from datamodules.perturbations import EllipseOcclusion, MotionBlur
from tests.drawn_faces import save
from tests.drawn_matlab import write_aflw, write_matlab5, write_matlab73
from tests.experiment import run
from tests.image_pixels import landmarks_in_image
from tests.one_sentence import one_sentence

INFO = "AFLWinfo_release.mat"


@pytest.fixture(autouse=True)
def small_split(monkeypatch):
    """12 of the 20 drawn faces are for training, as the first 20,000 of AFLW's are."""
    monkeypatch.setattr("datamodules.aflw.TRAINING_FACES", 12)


@pytest.fixture
def root(tmp_path):
    write_aflw(tmp_path)
    return tmp_path


@pytest.mark.parametrize("write", [write_matlab5, write_matlab73])
def test_numbers_by_hand(tmp_path, write):
    """The columns of one face, in both kinds of file."""
    variables = write_aflw(tmp_path)
    variables["data"][6] = [*range(100, 119), *range(200, 219)]
    variables["bbox"][6] = (10, 70, 30, 80)  # left, right, top, bottom
    variables["mask_new"][6] = [1] * 18 + [0]
    variables["nameList"][6] = "3/image00815.jpg"
    variables["ra"] = np.roll(np.arange(1.0, 21)[None], 8)  # 13, 14, ..., 20, 1, 2, 3, 4 | 5, 6, 7, ..., 12
    write(tmp_path / INFO, variables)
    faces = AFLW(tmp_path).load("test")
    assert faces.line.tolist() == [5, 6, 7, 8, 9, 10, 11, 12]
    assert AFLW(tmp_path).load("train").line.tolist() == [*range(13, 21), 1, 2, 3, 4]
    assert faces.landmarks[2, 0].tolist() == [100, 200]
    assert faces.landmarks[2, 18].tolist() == [118, 218]
    assert faces.box[2].tolist() == [10, 30, 70, 80]
    assert np.flatnonzero(~faces.visible[2]).tolist() == [18]
    assert faces.image[2] == str(tmp_path / "data/flickr/3/image00815.jpg")
    assert faces.where(2) == f"{tmp_path / INFO}: line 7"


def test_both_splits_are_the_faces_drawn(root):
    variables = write_aflw(root)
    order = variables["ra"][0].astype(int) - 1
    for split, rows in (("train", order[:12]), ("test", order[12:])):
        faces = AFLW(root).load(split)
        np.testing.assert_array_equal(faces.landmarks[..., 0], variables["data"][rows, :19])
        np.testing.assert_array_equal(faces.landmarks[..., 1], variables["data"][rows, 19:])
        np.testing.assert_array_equal(faces.visible, variables["mask_new"][rows] == 1)
        assert faces.subsets[:, 0].tolist() == (rows % 2 == 0).tolist()  # odd faces have a hidden landmark
        assert faces.photograph.tolist() == [variables["nameList"][row] for row in rows]


def test_landmarks_are_drawn_where_the_batch_says(root):
    data = AFLW(root, size=96)
    data.setup("test")
    for sample in data.test_dataloader().dataset:
        x, y = np.delete(sample["landmarks"].numpy(), [7, 10], axis=0).round().astype(int).T  # pupils are not drawn
        assert sample["image"].float().mean(dim=0).numpy()[y, x].mean() < 80


def test_two_faces_of_an_image_share_a_photograph(root):
    data = AFLW(root, validation_fraction=0.4)
    data.setup("fit")
    train, val = data.train_dataloader().dataset.faces, data.val_dataloader().dataset.faces
    assert len(train) + len(val) == 12
    assert not set(train.photograph) & set(val.photograph)


def test_frontal_faces_alone(root):
    every, frontal = AFLW(root), AFLWFrontal(root)
    assert (every.title, frontal.title) == ("AFLW", "AFLW frontal")
    assert (every.subset_names, frontal.subset_names) == (("frontal",), ())
    faces = every.load("test")
    some = frontal.load("test")
    assert 0 < len(some) < len(faces)
    assert some.line.tolist() == faces.line[faces.subsets[:, 0]].tolist()
    assert some.visible.all()
    assert some.subsets.shape == (len(some), 0)
    assert frontal.load("train").line.tolist() == every.load("train").line.tolist()


@pytest.mark.parametrize("perturbation", [EllipseOcclusion("large"), MotionBlur()])
def test_frontal_faces_are_perturbed_as_among_all(root, perturbation):
    whole, frontal = (kind(root, size=64, perturbation=perturbation) for kind in (AFLW, AFLWFrontal))
    every, some = [{}, {}], [{}, {}]
    for data, found in ((whole, every), (frontal, some)):
        data.setup("test")
        dataset = data.test_dataloader().dataset
        for line, sample in zip(dataset.faces.line.tolist(), dataset, strict=True):
            found[0][line], found[1][line] = sample["image"], sample["visible"]
    assert 0 < len(some[0]) < len(every[0])
    assert [*some[0]] != [*every[0]][: len(some[0])]  # so they have other rows
    assert all(
        torch.equal(column[line], all_of[line]) for column, all_of in zip(some, every, strict=True) for line in column
    )


@pytest.mark.parametrize(("normalizer", "expected"), [(None, 60), ("provided-box", 60), ("crop-size", None)])
def test_norm_is_the_longer_side_of_the_rectangle(root, normalizer, expected):
    """Drawn rectangles are 60 wide and 50 high; the tight crop's side is 60 too, so there it is the crop's size."""
    tight = AFLW(root, size=96, normalizer=normalizer)
    tight.setup("test")
    assert tight.box == "provided-1.0"
    assert tight.test_dataloader().dataset[0]["norm"].item() == pytest.approx(96)
    loose = AFLW(root, size=96, normalizer=normalizer, box="landmarks-1.25")
    loose.setup("test")
    for sample in loose.test_dataloader().dataset:
        pixel = sample["crop"][0, 0].item()  # image pixels a crop pixel
        assert sample["norm"].item() * pixel == pytest.approx(expected or 96 * pixel, rel=1e-5)


def test_experiment_from_the_command_line(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = {
        "model": {"class_path": "tests.tiny.Tiny", "init_args": {"num_landmarks": 19}},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    }
    Path("aflw.yaml").write_text(yaml.safe_dump(config))
    options = (f"root={root}", "size=32", "batch_size=4", "num_workers=0", "validation_fraction=0.4")
    words = ["--config", "aflw.yaml", *(f"--data.init_args.{o}" for o in options)]
    run("fit", *words[:2], "--config", "data/aflw.yaml", *words[2:])
    whole = run("test", *words[:2], "--config", "data/aflw.yaml", *words[2:]).trainer.callback_metrics
    frontal = run("test", *words[:2], "--config", "data/aflw_frontal.yaml", *words[2:]).trainer.callback_metrics
    assert frontal["test/nme"] == pytest.approx(whole["test/nme/frontal"].item(), rel=1e-5)
    assert whole["test/nme"] != whole["test/nme/frontal"]


def variables_as(**changed):
    """Write the file with these variables; one that is None is left out."""

    def spoil(root, write=write_matlab5):
        variables = write_aflw(root)
        variables |= {name: value(variables[name]) for name, value in changed.items()}
        write(root / INFO, {k: v for k, v in variables.items() if v is not None})

    return spoil


def put(row, column, value):
    """A number in the place of another."""

    def change(array):
        array[row, column] = value
        return array

    return change


def content(edit):
    return lambda root: (root / INFO).write_bytes(edit((root / INFO).read_bytes()))


def flat_folder(root):
    shutil.move(root / "data/flickr", root / "flickr")


REMEDY = "set data.init_args.root to the folder that holds AFLWinfo_release.mat and data/flickr"
ROW = 3  # a test face as `write_aflw` draws them, counted from 1
BAD = {
    "root missing": (shutil.rmtree, f"{INFO} not found; {REMEDY}"),
    "file missing": (lambda root: (root / INFO).unlink(), f"{INFO} not found; {REMEDY}"),
    "empty": (content(lambda b: b""), f"{INFO}: not a MATLAB file or damaged ("),
    "a web page": (content(lambda b: b"<html>404 not found</html>" * 9), f"{INFO}: not a MATLAB file or damaged ("),
    "cut off": (content(lambda b: b[:-100]), f"{INFO}: not a MATLAB file or damaged ("),
    "cut in its header": (content(lambda b: b[:100]), f"{INFO}: not a MATLAB file or damaged ("),
    "bytes changed": (content(lambda b: b[:300] + bytes(40) + b[340:]), f"{INFO}: not a MATLAB file or damaged ("),
    "another file": (
        lambda root: savemat(root / INFO, {"images": np.ones(3)}),
        f"{INFO} has no variable bbox, only images; get it again",
    ),
    "no names": (variables_as(nameList=lambda _: None), "has no variable nameList, only bbox, data, mask_new, ra; get"),
    "21 points": (
        variables_as(data=lambda _: np.ones((20, 42))),
        "data has 20 x 42 numbers, expected numbers in one or",
    ),
    "no faces": (variables_as(data=lambda _: np.ones((0, 38))), "data has 0 x 38 numbers, expected numbers in one or"),
    "axes swapped": (variables_as(data=np.transpose), "data has 38 x 20 numbers, expected numbers in one or more rows"),
    "boxes too few": (
        variables_as(bbox=lambda b: b[:19]),
        "bbox has 19 x 4 numbers, expected numbers in 20 rows and 4",
    ),
    "boxes of five": (variables_as(bbox=lambda b: np.c_[b, b]), "bbox has 20 x 8 numbers, expected numbers in 20 rows"),
    "names too few": (
        variables_as(nameList=lambda n: n[:19]),
        "nameList has 19 texts, expected a cell array of 20 texts",
    ),
    "numbers as names": (
        variables_as(nameList=lambda _: np.ones((20, 1))),
        "nameList has something else, expected a cell",
    ),
    "an empty name": (variables_as(nameList=lambda n: ["", *n[1:]]), "nameList is empty in row 1, expected text"),
    "a name of two lines": (
        variables_as(nameList=lambda n: [np.array(["a", "b"]), *n[1:]]),
        "nameList has something else, expected a cell array of 20 texts",
    ),
    "text as points": (variables_as(data=lambda _: "face"), "data does not hold real numbers, expected numbers in one"),
    "a mask of two": (
        variables_as(mask_new=put(4, 3, 2)),
        f"{INFO}: mask_new has a flag of 2 in row 5, expected 0 or 1",
    ),
    "a face twice": (
        variables_as(ra=put(0, 3, 1)),
        f"{INFO}: ra is not a permutation of 1 to 20, as the published one",
    ),
    "counted from 0": (variables_as(ra=lambda ra: ra - 1), f"{INFO}: ra is not a permutation of 1 to 20, as the"),
    "ra too short": (
        variables_as(ra=lambda ra: ra[:, :19]),
        "ra has 19 x 1 numbers, expected numbers in 20 rows and 1",
    ),
    "no test faces": (
        lambda root: write_aflw(root, faces=12),
        f"{INFO} has 12 faces, expected 12 for training and more; get it again",
    ),
    "NaN": (variables_as(data=put(ROW - 1, 5, np.nan)), f"{INFO}: line {ROW}: landmark 5 is (nan, "),
    "absurd": (variables_as(data=put(ROW - 1, 19, -1e6)), f"{INFO}: line {ROW}: landmark 0 is at ("),
    "one point": (variables_as(data=put(ROW - 1, slice(None), 40)), f"line {ROW}: all landmarks are at one point"),
    "a box without width": (variables_as(bbox=put(ROW - 1, slice(0, 2), 9)), f"line {ROW}: box is (9.0, "),
    "left, top, right, bottom": (
        variables_as(bbox=lambda b: b[:, [0, 2, 1, 3]]),
        "expected left < right and top < bottom, in pixels",
    ),
    "a box missing": (variables_as(bbox=put(ROW - 1, slice(None), np.nan)), f"line {ROW} has no box; set data."),
    "images elsewhere": (flat_folder, "which is not there (7 of 7 images are missing); correct the line or get the"),
    "an image missing": (lambda root: (root / "data/flickr/0/image00003.jpg").unlink(), "(1 of 7 images are missing)"),
}


@pytest.mark.parametrize(("spoil", "sentence"), BAD.values(), ids=BAD)
def test_bad_files_are_a_sentence_at_start(root, spoil, sentence):
    spoil(root)
    with one_sentence(sentence, root):
        AFLW(root).setup("test")


@pytest.mark.parametrize("case", ["an empty name", "numbers as names", "boxes too few", "no faces", "no names"])
def test_bad_variables_of_version_73_are_the_same_sentence(root, case):
    spoil, sentence = BAD[case]
    spoil(root, write_matlab73)
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the sentence is compared below
        AFLW(root).setup("test")
    assert sentence in str(error.value)


def test_norm_without_a_rectangle_is_a_sentence(root):
    variables = write_aflw(root)
    variables["bbox"][ROW - 1] = np.nan
    write_matlab5(root / INFO, variables)
    with pytest.raises(
        ValueError, match=rf"line {ROW}: the provided-box distance is nan pixels, so NME is not defined"
    ):
        AFLW(root, box="landmarks-1.25").setup("test")


@pytest.mark.skipif(
    not Path(os.environ.get("LANDMARK_DATA", ""), "tiny_samples").is_dir(),
    reason="LANDMARK_DATA names no folder that has tiny_samples",
)
def test_real_samples(tmp_path, monkeypatch):
    """Real faces in a file of the published layout: points, visibility and face size as annotated."""
    folder = Path(os.environ["LANDMARK_DATA"], "tiny_samples")
    samples = [s for s in json.loads((folder / "annotations.json").read_text()) if s["dataset"] == "aflw"]
    landmarks = np.array([s["landmarks"] for s in samples])
    x, y, width, height = np.array([s["bbox"] for s in samples]).T
    names = [f"2/{Path(s['file']).name}" for s in samples]
    for sample, name in zip(samples, names, strict=True):
        save(np.asarray(Image.open(folder / sample["file"]).convert("RGB")), tmp_path / "data/flickr" / name)
    count = len(samples)
    monkeypatch.setattr("datamodules.aflw.TRAINING_FACES", 1)
    write_matlab5(
        tmp_path / INFO,
        {
            "bbox": np.stack([x, x + width, y, y + height], axis=1),
            "data": np.hstack([landmarks[..., 0], landmarks[..., 1]]),
            "mask_new": np.array([s["visibility"] for s in samples]),
            "nameList": names,
            "ra": np.arange(count, 0, -1.0)[None],
        },
    )
    data = AFLW(tmp_path, size=128)
    data.setup("test")
    dataset = data.test_dataloader().dataset
    assert len(dataset) == count - 1
    for row, sample in zip(range(count - 2, -1, -1), dataset, strict=True):
        crop = sample["crop"].double().numpy()
        np.testing.assert_allclose(landmarks_in_image(sample), landmarks[row], atol=1e-3)
        assert sample["visible"].all()
        assert sample["norm"].item() * crop[0, 0] == pytest.approx(max(width[row], height[row]), rel=1e-5)
        # The order of the points: a mirror image by Markup.flip is nearly the face itself, other pairs are far off.
        centred = landmarks[row] - landmarks[row].mean(axis=0)
        mirrored = (centred * (-1, 1))[list(data.markup.flip)]
        assert np.linalg.norm(centred - mirrored, axis=1).mean() < 0.25 * max(width[row], height[row])
