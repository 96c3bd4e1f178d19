import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from datamodules.crop import transform
from datamodules.wflw import COLUMNS, WFLW
from lightning_modules.base import LandmarkModule
from tests.drawn_faces import WFLW_LISTS, write_wflw
from tests.image_pixels import landmarks_in_image
from tests.one_sentence import one_sentence

SAMPLES = Path(os.environ.get("LANDMARK_DATA", ""), "tiny_samples")
TEST_LIST = WFLW_LISTS / "list_98pt_rect_attr_test.txt"


@pytest.fixture
def root(tmp_path):
    return write_wflw(tmp_path / "WFLW", train=24, test=6)


def columns(root, line):
    return (root / TEST_LIST).read_text().splitlines()[line - 1].split()


def test_columns_are_those_of_the_lists():
    assert len(COLUMNS) == 207
    assert COLUMNS[:3] == ("x0", "y0", "x1")
    assert COLUMNS[195:] == (
        "y97",
        "left",
        "top",
        "right",
        "bottom",
        "pose",
        "expression",
        "illumination",
        "makeup",
        "occlusion",
        "blur",
        "image",
    )


def test_faces_are_those_of_the_list(root):
    faces = WFLW(root).load("test")
    assert len(faces) == 6
    for row in range(6):
        cells = columns(root, row + 1)
        assert faces.landmarks[row].ravel().tolist() == [float(v) for v in cells[:196]]
        assert faces.box[row].tolist() == [float(v) for v in cells[196:200]]
        assert faces.subsets[row].tolist() == [v == "1" for v in cells[200:206]]
        assert faces.image[row] == str(root / "WFLW_images" / cells[206])
        assert faces.where(row).endswith(f"list_98pt_rect_attr_test.txt: line {row + 1}")
    assert faces.visible.all()


def test_two_faces_of_an_image_share_a_photograph(root):
    data = WFLW(root, validation_fraction=0.4)
    data.setup("fit")
    train, val = data.train_dataloader().dataset.faces, data.val_dataloader().dataset.faces
    assert len(train) + len(val) == 24
    assert not set(train.photograph) & set(val.photograph)
    assert len(val) == 2 * len(set(val.photograph))


def test_subsets_reach_the_batch_in_the_papers_order(root):
    data = WFLW(root, size=64, batch_size=6, num_workers=0)
    data.setup("test")
    batch = next(iter(data.test_dataloader()))
    assert data.subset_names == ("pose", "expression", "illumination", "makeup", "occlusion", "blur")
    assert torch.equal(batch["subsets"], torch.eye(6, dtype=torch.bool))


@pytest.mark.parametrize(("box", "numbers"), [("provided-1.2", slice(196, 200)), ("landmarks-1.2", slice(196))])
def test_boxes_of_both_conventions(root, box, numbers):
    data = WFLW(root, size=64, box=box)
    data.setup("test")
    values = np.array([float(v) for v in columns(root, 3)[numbers]]).reshape(-1, 2)
    first, last = values.min(axis=0), values.max(axis=0)
    sample = data.test_dataloader().dataset[2]
    corners = transform(sample["crop"].double().numpy(), np.array([(-0.5, -0.5), (63.5, 63.5)]))
    np.testing.assert_allclose(corners.mean(axis=0), (first + last) / 2, atol=1e-4)
    np.testing.assert_allclose(corners[1] - corners[0], 1.2 * (last - first).max(), rtol=1e-5)


def test_landmarks_are_drawn_where_the_batch_says(root):
    """Lips, lids and jaw are dark lines in the drawings: the crop must be dark at the landmarks."""
    data = WFLW(root, size=96)
    data.setup("test")
    for sample in data.test_dataloader().dataset:
        x, y = sample["landmarks"][:96].round().long().T
        assert sample["image"].float().mean(dim=0)[y, x].mean() < 80
        assert sample["image"].float().mean() > 100


def test_blank_lines_are_allowed(root):
    path = root / TEST_LIST
    path.write_text("\n" + path.read_text().replace("\n", "\n\n") + "\n \n")
    faces = WFLW(root).load("test")
    assert len(faces) == 6
    assert faces.line.tolist() == [2, 4, 6, 8, 10, 12]


def cell(line, column, value):
    """Replace a cell."""

    def spoil(root):
        lines = [text.split() for text in (root / TEST_LIST).read_text().splitlines()]
        lines[line - 1][COLUMNS.index(column)] = value
        (root / TEST_LIST).write_text("\n".join(map(" ".join, lines)) + "\n")

    return spoil


def cells(line, values):
    """Replace several cells."""

    def spoil(root):
        for column, value in values.items():
            cell(line, column, value)(root)

    return spoil


def line_as(line, edit):
    """Replace a line by ``edit`` of its cells."""

    def spoil(root):
        lines = (root / TEST_LIST).read_text().splitlines()
        lines[line - 1] = " ".join(edit(lines[line - 1].split()))
        (root / TEST_LIST).write_text("\n".join(lines) + "\n")

    return spoil


def list_as(content):
    return lambda root: (root / TEST_LIST).write_bytes(content)


def list_folder(root):
    (root / TEST_LIST).unlink()
    (root / TEST_LIST).mkdir()


def latin(root):
    (root / TEST_LIST).write_bytes((root / TEST_LIST).read_bytes().replace(b"0_Parade_test_1", b"0_\xe9t\xe9"))


def image_folder(root):
    path = root / "WFLW_images/0--Parade/0_Parade_test_1.jpg"
    path.unlink()
    path.mkdir()


ROOT = "set data.init_args.root to the folder that holds WFLW_images and WFLW_annotations"
ONE_POINT = dict.fromkeys(COLUMNS[:196], "50")
BAD_LISTS = {
    "root missing": (shutil.rmtree, f"attr_test.txt not found; {ROOT}"),
    "list missing": (lambda root: (root / TEST_LIST).unlink(), f"attr_test.txt not found; {ROOT}"),
    "list is a folder": (list_folder, f"attr_test.txt is a folder, expected a text file; {ROOT}"),
    "list empty": (list_as(b""), "attr_test.txt: no faces found, expected one a line"),
    "list blank": (list_as(b" \n\n"), "attr_test.txt: no faces found, expected one a line"),
    "not UTF-8": (latin, "attr_test.txt: line 3 is not UTF-8 text; save the file in UTF-8"),
    "list is an image": (list_as(b"\xff\xd8\xff\xe0"), "attr_test.txt: line 1 is not UTF-8 text"),
    "short line": (line_as(4, lambda c: c[:5] + c[6:]), "attr_test.txt: line 4 has 206 columns, expected 207 (x0, y0,"),
    "long line": (line_as(2, lambda c: [*c, "1"]), "attr_test.txt: line 2 has 208 columns, expected 207 (x0, y0, ..."),
    "name with a space": (cell(5, "image", "my face.jpg"), "attr_test.txt: line 5 has 208 columns, expected 207"),
    "cut off": (line_as(6, lambda c: c[:90]), "attr_test.txt: line 6 has 90 columns, expected 207"),
    "not a number": (cell(3, "y7", "12,5"), "attr_test.txt: line 3, column y7 is '12,5', expected a finite number"),
    "NaN": (cell(3, "x0", "nan"), "attr_test.txt: line 3, column x0 is 'nan', expected a finite number"),
    "infinite": (cell(6, "y97", "-inf"), "attr_test.txt: line 6, column y97 is '-inf', expected a finite number"),
    "overflow": (cell(6, "y97", "1e999"), "attr_test.txt: line 6, column y97 is '1e999', expected a finite number"),
    "absurd": (cell(1, "x9", "1e7"), "attr_test.txt: line 1: landmark 9 is at (1e+07, "),
    "one point": (cells(2, ONE_POINT), "attr_test.txt: line 2: all landmarks are at one point, expected a face"),
    "box without area": (
        cells(5, {"left": "40", "right": "40"}),
        "attr_test.txt: line 5: box is (40.0, ",
    ),
    "box upside down": (cells(5, {"top": "90", "bottom": "20"}), "expected left < right and top < bottom"),
    "box not a number": (cell(5, "bottom", "-"), "attr_test.txt: line 5, column bottom is '-', expected a finite"),
    "flag of two": (cell(4, "makeup", "2"), "attr_test.txt: line 4, column makeup is 2, expected 0 or 1"),
    "flag of a half": (cell(4, "pose", "0.5"), "attr_test.txt: line 4, column pose is 0.5, expected 0 or 1"),
    "flag of a word": (cell(4, "blur", "yes"), "attr_test.txt: line 4, column blur is 'yes', expected a finite number"),
    "eye corners coincide": (
        cells(6, {"x60": "50", "y60": "50", "x72": "50", "y72": "50"}),
        "attr_test.txt: line 6: the inter-ocular distance is 0 pixels, so NME is not defined",
    ),
    "images missing": (
        lambda root: shutil.rmtree(root / "WFLW_images"),
        "attr_test.txt: line 1 names image ",
    ),
    "an image missing": (
        lambda root: (root / "WFLW_images/0--Parade/0_Parade_test_1.jpg").unlink(),
        "0_Parade_test_1.jpg, which is not there (1 of 3 images are missing)",
    ),
    "image is a folder": (image_folder, "0_Parade_test_1.jpg, which is a folder (1 of 3 images are missing)"),
}


@pytest.mark.parametrize(("spoil", "sentence"), BAD_LISTS.values(), ids=BAD_LISTS)
def test_bad_files_are_a_sentence_at_start(root, spoil, sentence):
    data = WFLW(root)
    spoil(root)
    with one_sentence(sentence, root):
        data.setup("test")


BAD_IMAGES = {
    "empty": (b"", "not an image"),
    "text": (b"404 not found", "not an image"),
    "truncated": (None, "image is damaged or truncated"),
}


@pytest.mark.parametrize(("content", "sentence"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_bad_image_is_a_sentence_when_it_is_read(root, content, sentence):
    path = root / "WFLW_images/0--Parade/0_Parade_test_1.jpg"
    path.write_bytes(path.read_bytes()[:-1000] if content is None else content)
    data = WFLW(root, num_workers=0)
    data.setup("test")
    with pytest.raises(ValueError, match=f"0_Parade_test_1.jpg: {sentence}"):
        list(data.test_dataloader())


def test_lists_of_another_image_are_noticed(root):
    cells(3, dict.fromkeys(COLUMNS[:196:2], "4000"))(root)
    data = WFLW(root, num_workers=0)
    data.setup("test")
    with pytest.raises(ValueError, match=r"line 3: no landmark lies within the image of .*test_1\.jpg \(170 x 110"):
        list(data.test_dataloader())


def test_model_of_another_landmark_count(root):
    model = LandmarkModule(68)
    model.trainer = SimpleNamespace(datamodule=WFLW(root))
    with pytest.raises(
        ValueError, match=r"num_landmarks is 68 but WFLW has 98 landmarks a face; set model\.init_args\."
    ):
        model.setup("fit")


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="LANDMARK_DATA names no folder with tiny_samples")
def test_real_samples(tmp_path):
    """Real faces in a list of the published layout: points, boxes and inter-ocular distances as annotated."""
    samples = [s for s in json.loads((SAMPLES / "annotations.json").read_text()) if s["dataset"] == "wflw"]
    lines = []
    for sample in samples:
        name = f"36--Football/{Path(sample['file']).name}"
        path = tmp_path / "WFLW_images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SAMPLES / sample["file"], path)
        left, top, width, height = sample["bbox"]
        numbers = [*np.ravel(sample["landmarks"]).tolist(), left, top, left + width, top + height]
        lines.append(" ".join([*map(repr, numbers), *"000000", name]))
    (tmp_path / TEST_LIST).parent.mkdir(parents=True)
    (tmp_path / TEST_LIST).write_text("\n".join(lines) + "\n")
    data = WFLW(tmp_path, size=128, num_workers=0)
    data.setup("test")
    dataset = data.test_dataloader().dataset
    assert len(dataset) == len(samples) == 4
    boxes = np.array([sample["bbox"] for sample in samples])  # left, top, width, height
    np.testing.assert_allclose(dataset.faces.box, np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]), atol=1e-6)
    for sample, found in zip(samples, dataset, strict=True):
        points = np.array(sample["landmarks"])
        np.testing.assert_allclose(landmarks_in_image(found), points, atol=1e-3)
        pixel = 1.2 * np.ptp(points, axis=0).max() / 128  # of the crop, in pixels of the image
        outer_corners = np.linalg.norm(points[60] - points[72])
        assert found["norm"].item() * pixel == pytest.approx(outer_corners, rel=1e-4)
        # The order of the points: a mirror image by Markup.flip is nearly the face itself, other pairs are far off.
        centred = points - points.mean(axis=0)
        mirrored = (centred * (-1, 1))[list(data.markup.flip)]
        assert np.linalg.norm(centred - mirrored, axis=1).mean() < 0.3 * np.ptp(points, axis=0).max()
