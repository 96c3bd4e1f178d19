import shutil

import numpy as np
import pytest

from datamodules.cofw import COFW68
from tests.drawn_matlab import write_cofw68, write_matlab5, write_matlab73
from tests.one_sentence import one_sentence


@pytest.fixture
def root(tmp_path):
    write_cofw68(tmp_path)
    return tmp_path


def test_cofw68_is_the_test_faces_with_68_points(root):
    drawn = write_cofw68(root)
    data = COFW68(root, size=96)
    faces = data.load("test")
    np.testing.assert_allclose(faces.landmarks, drawn, atol=1e-9)
    np.testing.assert_allclose(faces.box, np.hstack([drawn.min(axis=1), drawn.max(axis=1)]), atol=1e-9)
    assert [np.flatnonzero(~row).tolist() for row in faces.visible] == [[5]] * 4
    assert (data.title, data.box, data.markup.name, data.normalizer) == (
        *("COFW-68", "provided-1.3", "ibug-68", "inter-ocular"),
    )
    data.setup("test")
    for sample in data.test_dataloader().dataset:
        x, y = sample["landmarks"].round().long().T
        assert sample["image"].float().mean(dim=0)[y, x].mean() < 80


def test_annotations_are_in_the_order_of_their_numbers(root):
    """File 10 is the tenth face, not the second."""
    drawn = write_cofw68(root, test=11)
    np.testing.assert_allclose(COFW68(root).load("test").landmarks, drawn, atol=1e-9)


def test_annotations_may_be_of_version_73_and_their_flags_may_lie(root):
    path = root / "cofw68_test_annotations/2_points.mat"
    expected = COFW68(root).load("test")
    write_matlab73(path, {"Points": expected.landmarks[1] + 1, "Occ": (np.arange(68) == 5)[None].astype(np.uint8)})
    faces = COFW68(root).load("test")
    np.testing.assert_array_equal(faces.landmarks, expected.landmarks)
    np.testing.assert_array_equal(faces.visible, expected.visible)


def test_cofw68_has_no_training_faces(root):
    with pytest.raises(ValueError, match=r"COFW-68 has no training faces; train on 300-W \(datamodules\.w300\.W300\)"):
        COFW68(root).setup("fit")


POINTS = "cofw68_test_annotations/3_points.mat"


def points_as(**changed):
    def spoil(root):
        content = {"Points": ibug_points(), "Occ": np.zeros((68, 1))}
        content |= {name: value for name, value in changed.items() if value is not None}
        write_matlab5(root / POINTS, {k: v for k, v in content.items() if k not in changed or changed[k] is not None})

    return spoil


def ibug_points():
    return np.random.default_rng(0).uniform(20, 80, (68, 2))


BAD68 = {
    "no annotations": (
        lambda root: shutil.rmtree(root / "cofw68_test_annotations"),
        "1_points.mat not found; set",
    ),
    "one missing": (
        lambda root: (root / POINTS).unlink(),
        "3_points.mat not found; set data.init_args.root",
    ),
    "no boxes": (
        lambda root: (root / "cofw68_test_bboxes.mat").unlink(),
        "bboxes.mat not found; set data.",
    ),
    "empty": (lambda root: (root / POINTS).write_bytes(b""), "3_points.mat: not a MATLAB file or damaged ("),
    "a web page": (
        lambda root: (root / POINTS).write_bytes(b"<html>" * 99),
        "3_points.mat: not a MATLAB file or damaged",
    ),
    "cut off": (
        lambda root: (root / POINTS).write_bytes((root / POINTS).read_bytes()[:-100]),
        "3_points.mat: not a MATLAB file or damaged",
    ),
    "no points": (points_as(Points=None), "3_points.mat has no variable Points, only Occ; get it again"),
    "no flags": (points_as(Occ=None), "3_points.mat has no variable Occ, only Points; get it again"),
    "29 points": (points_as(Points=np.ones((29, 2))), "Points has 29 x 2 numbers, expected numbers in 68 rows and 2"),
    "points lie": (points_as(Points=np.ones((2, 68))), "Points has 2 x 68 numbers, expected numbers in 68 rows and 2"),
    "a text": (
        points_as(Points="face"),
        "3_points.mat: Points does not hold real numbers, expected",
    ),
    "complex": (points_as(Points=ibug_points() + 1j), "3_points.mat: Points does not hold real numbers"),
    "a struct": (points_as(Points={"x": 1.0}), "3_points.mat: Points does not hold real numbers"),
    "NaN": (points_as(Points=np.full((68, 2), np.nan)), "COFW_test_color.mat: IsT{3}: landmark 0 is (nan, nan)"),
    "67 flags": (points_as(Occ=np.zeros((67, 1))), "Occ has 67 x 1 numbers, expected numbers in 68 rows and 1 columns"),
    "a flag of two": (
        points_as(Occ=np.full((68, 1), 2)),
        "3_points.mat: Occ has a flag of 2 in row 1, expected",
    ),
    "a box too few": (
        lambda root: write_matlab5(root / "cofw68_test_bboxes.mat", {"bboxes": np.ones((3, 4))}),
        "cofw68_test_bboxes.mat: bboxes has 3 x 4 numbers, expected numbers in 4 rows and 4 columns",
    ),
}


@pytest.mark.parametrize(("spoil", "sentence"), BAD68.values(), ids=BAD68)
def test_bad_files_of_cofw68_are_a_sentence_at_start(root, spoil, sentence):
    spoil(root)
    with one_sentence(sentence, root):
        COFW68(root).setup("test")
