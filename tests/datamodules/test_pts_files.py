import os
import re
import shutil

import numpy as np
import pytest

from datamodules.pts_files import AnnotatedImage, annotated_images, read_pts
from tests.drawn_pts import write_pts
from tests.one_sentence import one_sentence

POINTS = np.random.default_rng(0).uniform(1, 400, (68, 2)).round(6)
REMEDY = "set the root"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "face one.pts"
    write_pts(path, POINTS)
    return path


def test_the_first_pixel_is_1_in_the_file_and_0_here(tmp_path):
    path = tmp_path / "a.pts"
    path.write_text("version: 1\nn_points:  2\n{\n1 1\n115.167660 220.807529\n}\n")
    np.testing.assert_allclose(read_pts(path, 2), [(0, 0), (114.167660, 219.807529)], rtol=0, atol=1e-12)


def test_points_written_are_read(path):
    points = read_pts(path, 68)
    assert points.dtype == np.float64
    np.testing.assert_allclose(points, POINTS, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n", "\r\n"),
        ("n_points:  68", "n_points: 68 "),
        ("version: 1", "version:1"),
        ("{\n", "{\n\n"),
        ("}\n", "}"),
        ("}\n", "}\n\n \n"),
        ("\n}", "}"),
        (" ", "\t"),
    ],
)
def test_spaces_and_line_ends_do_not_matter(path, old, new):
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new).encode())
    np.testing.assert_allclose(read_pts(path, 68), POINTS, rtol=0, atol=1e-9)


def content(text):
    return lambda path: path.write_bytes(text if isinstance(text, bytes) else text.encode())


def replaced(pattern, new, count=1):
    def spoil(path):
        text, number = re.subn(pattern, new, path.read_text(), count=count)
        assert number
        path.write_text(text)

    return spoil


def line_as(number, text):
    def spoil(path):
        lines = path.read_text().split("\n")
        lines[number - 1] = text
        path.write_text("\n".join(lines))

    return spoil


def without(number):
    def spoil(path):
        lines = path.read_text().split("\n")
        del lines[number - 1]
        path.write_text("\n".join(lines))

    return spoil


def folder(path):
    path.unlink()
    path.mkdir()


def short_and_long(path):
    """The count of lines and of numbers is right."""
    line_as(9, "1.5")(path)
    line_as(10, "1.5 2.5 3.5")(path)


BAD_FILES = {
    "missing": (os.unlink, "not found, expected the landmarks of a face"),
    "a folder": (folder, "is a folder, expected a file of landmarks"),
    "empty": (content(""), "is empty, expected 68 landmarks"),
    "blank": (content(" \n\n"), "is empty, expected 68 landmarks"),
    "an image": (content(b"\x89PNG\r\n\x1a\n"), "is not text (byte 0 is not ASCII)"),
    "one byte": (lambda p: p.write_bytes(p.read_bytes()[:100] + b"\xff"), "is not text (byte 100 is not ASCII)"),
    "another text": (content("<html>404</html>"), "begins with '<html>404</html>', expected 'version: 1'"),
    "no version": (without(1), "begins with 'n_points:  68', expected 'version: 1'"),
    "another version": (line_as(1, "version: 2"), "begins with 'version: 2', expected 'version: 1'"),
    "no n_points": (without(2), "has 'nothing' after the version, expected 'n_points: 68'"),
    "n_points a word": (line_as(2, "n_points: many"), "has 'n_points: many' after the version, expected"),
    "no opening": (without(3), "has no '{' after n_points"),
    "a line too many before": (line_as(3, "spare\n{"), "has no '{' after n_points"),
    "no closing": (replaced(r"\}\n", ""), "breaks off after 68 of 68 landmarks, expected '}' at the end"),
    "cut off": (lambda p: p.write_text(p.read_text()[:300]), "breaks off after 13 of 68 landmarks"),
    "a line lost": (without(20), "n_points is 68, but 67 lines follow"),
    "a line twice": (line_as(20, "1 2\n1 2"), "n_points is 68, but 69 lines follow"),
    "n_points disagrees": (line_as(2, "n_points: 66"), "n_points is 66, but 68 lines follow"),
    "39 landmarks": (lambda p: write_pts(p, POINTS[:39]), "has 39 landmarks, expected 68; the file belongs to another"),
    "short line": (line_as(7, "12.5"), "line 7 has 1 numbers, expected 2 (x and y)"),
    "long line": (line_as(7, "12.5 13.5 0"), "line 7 has 3 numbers, expected 2 (x and y)"),
    "short and long": (short_and_long, "line 9 has 1 numbers, expected 2"),
    "commas": (line_as(4, "12,5 13,5"), "line 4 has '12,5', expected a finite number"),
    "NaN": (line_as(71, "12 nan"), "line 71 has 'nan', expected a finite number"),
    "infinite": (line_as(5, "-inf 3"), "line 5 has '-inf', expected a finite number"),
    "overflow": (line_as(5, "1e999 3"), "line 5 has '1e999', expected a finite number"),
    "a second face": (lambda p: p.write_text(2 * p.read_text()), "'version:' follows the '}', expected the end of the"),
}


@pytest.mark.parametrize(("spoil", "sentence"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files_are_a_sentence(path, spoil, sentence):
    spoil(path)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        read_pts(path, 68)
    assert sentence in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "afw"
    for name in ("b_1.jpg", "a.png", "image_092 _01.JPG", "c.d.jpeg"):
        write_pts((folder / name).with_suffix(".pts"), POINTS)
        (folder / name).write_bytes(b"")
    return folder


def test_images_are_sorted_by_name_with_the_file_beside_each(images):
    (images / "Thumbs.db").write_bytes(b"")
    (images / "._a.png").write_bytes(b"")
    names = ["a", "b_1", "c.d", "image_092 _01"]
    suffixes = [".png", ".jpg", ".jpeg", ".JPG"]
    assert annotated_images(images, REMEDY) == [
        AnnotatedImage(str(images / (name + suffix)), images / f"{name}.pts")
        for name, suffix in zip(names, suffixes, strict=True)
    ]


BAD_FOLDERS = {
    "missing": (shutil.rmtree, "afw not found; set the root"),
    "empty": (lambda f: [file.unlink() for file in f.iterdir()], "afw has no file that ends in .jpg or"),
    "no .pts file": (
        lambda f: (f / "b_1.pts").unlink(),
        "b_1.jpg has no .pts file of the same name beside it (1 of 4 faces are incomplete); set the root",
    ),
    "no image": (lambda f: (f / "c.d.jpeg").unlink(), "c.d.pts has no image of the same name beside it (1 of 4"),
    "no .pts files": (
        lambda f: [file.unlink() for file in f.glob("*.pts")],
        "a.png has no .pts file of the same name beside it (4 of 4 faces are incomplete)",
    ),
    "two images": (lambda f: shutil.copy(f / "a.png", f / "a.jpg"), "a.png are one face by their names; remove one"),
}


@pytest.mark.parametrize(("spoil", "sentence"), BAD_FOLDERS.values(), ids=BAD_FOLDERS)
def test_bad_folders_are_a_sentence(images, spoil, sentence):
    spoil(images)
    with one_sentence(sentence, images):
        annotated_images(images, REMEDY)
