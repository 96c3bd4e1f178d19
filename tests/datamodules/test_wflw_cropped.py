import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from callbacks.arguments import CONFIGS
from datamodules.wflw_cropped import WFLWCropped, photograph
from tests.drawn_faces import SUBSETS, write_wflw_cropped
from tests.experiment import run, write_experiment
from tests.one_sentence import one_sentence


@pytest.fixture
def root(tmp_path):
    return write_wflw_cropped(tmp_path / "crops", train=12, test=8)


def test_share_of_the_crop_becomes_pixel(root):
    faces = WFLWCropped(root).load("test")
    line = (root / "test.txt").read_text().splitlines()[4].split()
    np.testing.assert_allclose(faces.landmarks[4].ravel(), 256 * np.array(line[1:], float))
    assert faces.image[4] == str(root / "test" / line[0])


def test_crop_is_the_file_as_it_is(root):
    data = WFLWCropped(root, num_workers=0)
    data.setup("test")
    faces = data.test_dataloader().dataset
    for row in (0, 5):
        sample = faces[row]
        pixels = np.asarray(Image.open(faces.faces.image[row]))
        np.testing.assert_array_equal(sample["image"].permute(1, 2, 0), pixels)
        assert sample["crop"].tolist() == [[1, 0, 0], [0, 1, 0]]
    assert data.box == "image"


def test_smaller_input_is_the_resized_crop(root):
    data = WFLWCropped(root, size=128)
    data.setup("test")
    sample = data.test_dataloader().dataset[1]
    expected = (data.load("test").landmarks[1] + 0.5) / 2 - 0.5
    np.testing.assert_allclose(sample["landmarks"], expected, atol=1e-4)
    assert sample["image"].shape == (3, 128, 128)


def test_subsets_are_found_by_their_landmarks(root):
    """Face i was written into list i % 6, under another file name."""
    subsets = WFLWCropped(root).load("test").subsets
    assert subsets.argmax(axis=1).tolist() == [0, 1, 2, 3, 4, 5, 0, 1]
    assert subsets.sum() == 8


def test_a_face_listed_twice_is_in_its_subsets_twice(root):
    """Rows 1 and 3 have the same landmarks; list `expression` names the face once."""
    path = root / "test.txt"
    lines = path.read_text().splitlines()
    lines[3] = " ".join([lines[3].split()[0], *lines[1].split()[1:]])
    path.write_text("\n".join(lines) + "\n")
    (root / "test_makeup.txt").write_text(lines[3] + "\n")
    subsets = WFLWCropped(root).load("test").subsets
    assert subsets[1].tolist() == subsets[3].tolist() == [False, True, False, True, False, False]
    assert subsets.sum() == 7 + 3


def test_crops_of_a_photograph_stay_together(root):
    data = WFLWCropped(root, validation_fraction=0.4)
    data.setup("fit")
    train, val = data.train_dataloader().dataset.faces, data.val_dataloader().dataset.faces
    assert not set(train.photograph) & set(val.photograph)
    assert len(val) == 2 * len(set(val.photograph))


def test_photograph_of_a_prepared_name():
    assert photograph("12_37_Soccer_soccer_ball_37_45_0.png") == "37_Soccer_soccer_ball_37_45"
    assert photograph("13_37_Soccer_soccer_ball_37_45_3.png") == "37_Soccer_soccer_ball_37_45"
    assert photograph("face.png") == "face"


def test_landmark_outside_the_crop_stays_there_and_is_not_visible(root):
    path = root / "test.txt"
    lines = [line.split() for line in path.read_text().splitlines()]
    lines[2][1] = "-0.25"  # x0
    for subset in ("illumination",):
        (root / f"test_{subset}.txt").write_text(" ".join(lines[2]) + "\n")
    path.write_text("\n".join(map(" ".join, lines)))
    data = WFLWCropped(root)
    data.setup("test")
    sample = data.test_dataloader().dataset[2]
    assert sample["landmarks"][0, 0].item() == -64
    assert not sample["visible"][0]
    assert torch.equal(sample["image"], data.test_dataloader().dataset[2]["image"])


def cell(name, line, column, value):
    """Replace a cell of a list."""

    def spoil(root):
        lines = [text.split() for text in (root / f"{name}.txt").read_text().splitlines()]
        lines[line - 1][column] = value
        (root / f"{name}.txt").write_text("\n".join(map(" ".join, lines)) + "\n")

    return spoil


def shorten(root):
    lines = (root / "test.txt").read_text().splitlines()
    lines[1] = lines[1].rsplit(" ", 2)[0]
    (root / "test.txt").write_text("\n".join(lines))


def rename(root):
    (root / "test").rename(root / "elsewhere")


def small_image(root):
    (root / "test" / "3_0_Parade_test_1_0.png").unlink()
    Image.new("RGB", (200, 180)).save(root / "test" / "3_0_Parade_test_1_0.png")


BAD = {
    "list missing": (lambda root: (root / "test.txt").unlink(), "test.txt not found; set data.init_args.root to the"),
    "subset list missing": (lambda root: (root / "test_blur.txt").unlink(), "test_blur.txt not found; set data.init"),
    "list empty": (lambda root: (root / "test.txt").write_text(""), "test.txt: no faces found, expected one a line"),
    "subset list empty": (lambda root: (root / "test_blur.txt").write_text(""), "test_blur.txt: no faces found"),
    "short line": (shorten, "test.txt: line 2 has 195 columns, expected 197 (image, x0, ..., y97)"),
    "not a number": (cell("test", 3, 5, "x"), "test.txt: line 3, column x2 is 'x', expected a finite number"),
    "NaN": (cell("test", 1, 196, "NaN"), "test.txt: line 1, column y97 is 'NaN', expected a finite number"),
    "pixels instead of shares": (
        cell("test", 1, 2, "124.6"),
        "test.txt: line 1, column y0 is 124.6, expected a share of the crop's side, about 0 to 1",
    ),
    "subset of other faces": (
        cell("test_makeup", 1, 7, "0.123"),
        "test_makeup.txt: line 1 has landmarks that no line of",
    ),
    "images missing": (rename, "0_0_Parade_test_0_0.png, which is not there (8 of 8 images are missing)"),
    "image of another size": (
        small_image,
        "test.txt: line 4: image",
    ),
    "image is text": (
        lambda root: (root / "test" / "3_0_Parade_test_1_0.png").write_text("gone"),
        "3_0_Parade_test_1_0.png: not an image",
    ),
    "image empty": (
        lambda root: (root / "test" / "3_0_Parade_test_1_0.png").write_bytes(b""),
        "3_0_Parade_test_1_0.png: not an image",
    ),
}


@pytest.mark.parametrize(("spoil", "sentence"), BAD.values(), ids=BAD)
def test_bad_files_are_a_sentence_at_start(root, spoil, sentence):
    data = WFLWCropped(root)
    spoil(root)
    with one_sentence(sentence, root):
        data.setup("test")


def test_image_of_another_size_names_both_sizes(root):
    small_image(root)
    with pytest.raises(ValueError, match=r"has 200 x 180 pixels, expected 256 x 256; use datamodules\.wflw\.WFLW"):
        WFLWCropped(root).setup("test")


def test_truncated_image_is_a_sentence_when_it_is_read(root):
    path = root / "test" / "3_0_Parade_test_1_0.png"
    path.write_bytes(path.read_bytes()[:-200])
    data = WFLWCropped(root, num_workers=0)
    data.setup("test")
    with pytest.raises(ValueError, match=r"3_0_Parade_test_1_0\.png: image is damaged or truncated"):
        list(data.test_dataloader())


def test_crops_are_trained_on_tested_and_predicted(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {"root": root, "size": 32, "batch_size": 4, "num_workers": 0, "validation_fraction": 0.4}
    config = str(CONFIGS / "data/wflw_cropped.yaml")
    words = ["--config", str(write_experiment(tmp_path)), "--config", config, "--name=cropped"]
    words += [f"--data.init_args.{key}={value}" for key, value in options.items()]
    run("fit", *words)
    tested = run("test", *words)
    assert type(tested.datamodule) is WFLWCropped
    for subset in ("pose", *SUBSETS[1:]):
        assert 0 < tested.trainer.callback_metrics[f"test/nme/{subset}"] < 1000
    run("predict", *words)
    (path,) = Path("runs/cropped/predictions").glob("*.csv")
    rows, lines = list(csv.DictReader(path.open())), (root / "test.txt").read_text().splitlines()
    assert [row["file"] for row in rows] == [f"test/{line.split()[0]}" for line in lines]
