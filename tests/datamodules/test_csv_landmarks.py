import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.csv_landmarks import CSVLandmarks
from tests.drawn_faces import write_csv
from tests.one_sentence import one_sentence


@pytest.fixture
def root(tmp_path):
    return write_csv(tmp_path / "own", train=12)


def table(root, split="test"):
    return [line.split(",") for line in (root / f"{split}.csv").read_text().splitlines()]


def write(root, rows, split="test"):
    (root / f"{split}.csv").write_text("\n".join(map(",".join, rows)) + "\n")


def with_columns(root, columns):
    """Append columns: name to the cells of the faces."""
    rows = table(root)
    for name, values in columns.items():
        for row, value in zip(rows, [name, *values], strict=True):
            row.append(str(value))
    write(root, rows)


def test_faces_are_those_of_the_file(root):
    faces = CSVLandmarks(root, "wflw-98").load("test")
    rows = table(root)
    assert len(faces) == 4
    for i in range(4):
        assert faces.landmarks[i].ravel().tolist() == [float(v) for v in rows[i + 1][1:]]
        assert faces.image[i] == str(root / "test" / f"{i}.png")
        assert faces.where(i) == f"{root / 'test.csv'}: line {i + 2}"
    assert faces.visible.all()
    assert np.isnan(faces.box).all()


def test_optional_columns(root):
    seen = {f"v{i}": [int(i != row) for row in range(4)] for i in range(98)}
    box = {"left": [1, 2, 3, 4], "top": [5] * 4, "right": [60.5] * 4, "bottom": [70] * 4}
    with_columns(root, {"identity": ["ann", "bob", "ann", "cyd"], "note": [""] * 4, **seen, **box})
    faces = CSVLandmarks(root, "wflw-98").load("test")
    assert faces.photograph.tolist() == ["ann", "bob", "ann", "cyd"]
    assert faces.box[1].tolist() == [2, 5, 60.5, 70]
    assert [np.flatnonzero(~row).tolist() for row in faces.visible] == [[0], [1], [2], [3]]


def test_order_of_columns_does_not_matter(root):
    expected = CSVLandmarks(root, "wflw-98").load("test").landmarks
    order = np.random.default_rng(0).permutation(len(table(root)[0]))
    write(root, [[row[i] for i in order] for row in table(root)])
    np.testing.assert_array_equal(CSVLandmarks(root, "wflw-98").load("test").landmarks, expected)


def test_files_beside_the_csv_come_first(root):
    shutil.copy(root / "test/0.png", root / "0.png")
    faces = CSVLandmarks(root, "wflw-98").load("test")
    assert faces.image[0] == str(root / "0.png")
    assert faces.image[1] == str(root / "test" / "1.png")


def test_spreadsheets_and_quotes(root):
    """A byte-order mark, Windows line ends, quoted cells, blanks after commas and empty lines."""
    text = (root / "test.csv").read_text().replace("0.png,", '"0.png", ', 1).replace("\n", "\r\n\r\n")
    (root / "test.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    faces = CSVLandmarks(root, "wflw-98").load("test")
    assert faces.image[0] == str(root / "test" / "0.png")
    assert faces.line.tolist() == [3, 5, 7, 9]


def test_own_markup_end_to_end(tmp_path):
    root = write_csv(tmp_path)
    (tmp_path / "three.yaml").write_text("name: three\nnum_landmarks: 3\nflip_pairs: [[0, 2]]\n")
    for split in ("train", "test"):
        write(root, [row[:7] for row in table(root, split)], split)
    data = CSVLandmarks(root, str(tmp_path / "three.yaml"), size=32, num_workers=0, batch_size=2)
    data.setup("fit")
    assert data.num_landmarks == 3
    assert data.normalizer == "box-size"
    assert next(iter(data.train_dataloader()))["landmarks"].shape == (2, 3, 2)


def test_title_names_folder_and_file(root):
    assert CSVLandmarks(root, "wflw-98").title == "own test"


def header(edit):
    """Replace the header by ``edit`` of its names."""

    def spoil(root):
        rows = table(root)
        write(root, [edit(rows[0]), *rows[1:]])

    return spoil


def cell(line, column, value):
    """Replace a cell."""

    def spoil(root):
        rows = table(root)
        rows[line - 1][rows[0].index(column)] = value
        write(root, rows)

    return spoil


def same_corners(root):
    for column in ("x60", "y60", "x72", "y72"):
        cell(4, column, "50")(root)


def one_point(root):
    rows = table(root)
    write(root, [*rows[:2], [rows[2][0], *["30"] * 196], *rows[3:]])


def content(data):
    return lambda root: (root / "test.csv").write_bytes(data)


def append(text):
    return lambda root: (root / "test.csv").write_text((root / "test.csv").read_text() + text)


def folder(root):
    (root / "test.csv").unlink()
    (root / "test.csv").mkdir()


def latin(root):
    (root / "test.csv").write_bytes((root / "test.csv").read_bytes().replace(b"\n1.png", b"\n\xe9t\xe9.png"))


def semicolons(root):
    (root / "test.csv").write_text((root / "test.csv").read_text().replace(",", ";"))


BOX = {"left": [1] * 4, "top": [2] * 4, "right": [50] * 4, "bottom": [60, 60, 2, 60]}
REMEDY = (
    "set data.init_args.root to the folder of the CSV files, and data.init_args.test to a file in it (root is a path, "
    "or a folder below the one that the environment variable LANDMARK_DATA names)"
)
SCHEME = "set data.init_args.markup to the scheme of this file"
BAD = {
    "root missing": (shutil.rmtree, f"test.csv not found; {REMEDY}"),
    "file missing": (lambda root: (root / "test.csv").unlink(), f"test.csv not found; {REMEDY}"),
    "file is a folder": (folder, f"test.csv is a folder, expected a text file; {REMEDY}"),
    "empty": (content(b""), "test.csv: no faces found, expected one a line"),
    "header only": (lambda root: write(root, table(root)[:1]), "test.csv: no faces found, expected one a line"),
    "UTF-16": (content("file,x0\n".encode("utf-16")), "test.csv: line 1 is not UTF-8 text; save the file in UTF-8"),
    "Latin-1": (latin, "test.csv: line 3 is not UTF-8 text; save the file in UTF-8"),
    "semicolons": (semicolons, "test.csv: line 1 has no column 'file', expected names of columns with commas between"),
    "no file column": (header(lambda names: ["image", *names[1:]]), "test.csv: line 1 has no column 'file'"),
    "landmark missing": (
        header(lambda names: [*names[:-1], "z"]),
        "test.csv: line 1 has no column 'y97', but the markup has 98 landmarks (x0, y0 to x97, y97); " + SCHEME,
    ),
    "landmark too many": (
        lambda root: with_columns(root, {"x98": [1] * 4, "y98": [1] * 4}),
        "test.csv: line 1 has a column 'x98', but the markup has 98 landmarks, numbered from 0; " + SCHEME,
    ),
    "visibility too many": (
        lambda root: with_columns(root, {f"v{i}": [1] * 4 for i in range(99)}),
        "test.csv: line 1 has a column 'v98', but the markup has 98 landmarks, numbered from 0; " + SCHEME,
    ),
    "visibility incomplete": (
        lambda root: with_columns(root, {f"v{i}": [1] * 4 for i in range(97)}),
        "test.csv: line 1 has no column 'v97', expected all of v0 to v97 or none",
    ),
    "box incomplete": (
        lambda root: with_columns(root, {"left": [1] * 4, "right": [9] * 4}),
        "test.csv: line 1 has no column 'top', expected all of left to bottom or none",
    ),
    "column twice": (
        lambda root: with_columns(root, {"x5": [1] * 4}),
        "test.csv: line 1 names column 'x5' twice, expected each name once",
    ),
    "short line": (
        lambda root: write(root, [row[: 197 - (i == 3)] for i, row in enumerate(table(root))]),
        "test.csv: line 4 has 196 cells, expected 197 as in the header",
    ),
    "long line": (append("a.png" + ",1" * 197), "test.csv: line 6 has 198 cells, expected 197 as in the header"),
    "quote left open": (append('"a.png,3,4\n'), "is not CSV (unexpected end of data); look for a lost quotation mark"),
    "not a number": (cell(3, "y7", "left"), "test.csv: line 3, column y7 is 'left', expected a finite number"),
    "empty cell": (cell(3, "y7", ""), "test.csv: line 3, column y7 is '', expected a finite number"),
    "NaN": (cell(5, "x0", "NaN"), "test.csv: line 5, column x0 is 'NaN', expected a finite number"),
    "infinite": (cell(5, "x0", "inf"), "test.csv: line 5, column x0 is 'inf', expected a finite number"),
    "absurd": (cell(2, "x0", "-123456789"), "test.csv: line 2: landmark 0 is at (-1.23457e+08, "),
    "one point": (one_point, "test.csv: line 3: all landmarks are at one point, expected a face"),
    "eye corners coincide": (same_corners, "test.csv: line 4: the inter-ocular distance is 0 pixels"),
    "no file name": (cell(4, "file", " "), "test.csv: line 4, column file is empty, expected text"),
    "no identity": (
        lambda root: with_columns(root, {"identity": ["a", "", "b", "c"]}),
        "test.csv: line 3, column identity is empty, expected text",
    ),
    "visibility of two": (
        lambda root: with_columns(root, {f"v{i}": [1, 1, 1, 2 if i == 8 else 0] for i in range(98)}),
        "test.csv: line 5, column v8 is 2, expected 0 or 1",
    ),
    "box without area": (
        lambda root: with_columns(root, BOX),
        "test.csv: line 4: box is (1.0, 2.0, 50.0, 2.0), expected",
    ),
    "box empty": (
        lambda root: with_columns(root, BOX | {"bottom": [60, 60, "", 60]}),
        "test.csv: line 4, column bottom is '', expected a finite number",
    ),
    "image missing": (
        lambda root: (root / "test/2.png").unlink(),
        "test.csv: line 4 names image",
    ),
}


@pytest.mark.parametrize(("spoil", "sentence"), BAD.values(), ids=BAD)
def test_bad_files_are_a_sentence_at_start(root, spoil, sentence):
    data = CSVLandmarks(root, "wflw-98")
    spoil(root)
    with one_sentence(sentence, root):
        data.setup("test")


def test_markup_of_another_count(root):
    with pytest.raises(
        ValueError, match=r"line 1 has a column 'x68', but the markup has 68 landmarks, numbered from 0"
    ):
        CSVLandmarks(root, "ibug-68").setup("test")


def test_no_box_for_a_convention_that_needs_one(root):
    with pytest.raises(ValueError, match=r"test\.csv: line 2 has no box; set data\.init_args\.box to landmarks-1\.2"):
        CSVLandmarks(root, "wflw-98", box="provided-1.2").setup("test")


def test_landmarks_in_the_pixels_of_a_larger_image(root):
    rows = table(root)
    write(root, [rows[0], *([row[0], *(str(float(v) * 9) for v in row[1:])] for row in rows[1:])])
    data = CSVLandmarks(root, "wflw-98", num_workers=0)
    data.setup("test")
    with pytest.raises(
        ValueError, match=r"test\.csv: line \d: no landmark lies within the image of .* \(120 x 100 pix"
    ):
        list(data.test_dataloader())


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_each_split_names_its_own_key(root, stage):
    split = {"fit": "train", "test": "test"}[stage]
    (root / f"{split}.csv").unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"{split}\.csv not found; .* data\.init_args\.{split} to a file in it"
    ):
        CSVLandmarks(root, "wflw-98").setup(stage)


def test_csv_predictions_lead_back_to_the_file(root):
    data = CSVLandmarks(root, "wflw-98", num_workers=0)
    data.setup("test")
    batch = next(iter(data.test_dataloader()))
    original = batch["landmarks"] @ batch["crop"][..., :2].mT + batch["crop"][..., 2].unsqueeze(1)
    expected = torch.tensor([[float(v) for v in row[1:]] for row in table(root)[1:]]).reshape(4, 98, 2)
    torch.testing.assert_close(original, expected, atol=1e-3, rtol=0)


def test_a_root_is_also_sought_below_the_data_folder(root, tmp_path, monkeypatch):
    monkeypatch.setenv("LANDMARK_DATA", str(tmp_path))
    monkeypatch.chdir("/")
    assert len(CSVLandmarks(Path("own"), "wflw-98").load("test")) == 4
    assert CSVLandmarks(root, "wflw-98").root == root
    monkeypatch.delenv("LANDMARK_DATA")
    with pytest.raises(FileNotFoundError, match=r"own.test\.csv not found; set data\.init_args\.root"):
        CSVLandmarks(Path("own"), "wflw-98").load("test")
