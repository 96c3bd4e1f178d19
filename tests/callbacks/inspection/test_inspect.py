"""``python cli.py inspect`` on a drawn WFLW, clean and broken."""

import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from callbacks.inspection.findings import FAILED, LOOK
from datamodules.wflw import WFLW
from tests.callbacks.inspection.inspecting import (
    LISTS,
    OUT,
    add_line,
    change,
    findings,
    images,
    inspect,
    moved,
    renumbered,
)


def test_clean_data_passes_and_is_drawn(root, capsys):
    assert inspect("--config", "wflw.yaml") == 0
    table = capsys.readouterr().out
    assert FAILED not in table
    assert LOOK not in table
    assert "24 / - / 12" in table
    assert findings() == []
    assert {path.name for path in OUT.iterdir()} == {"findings.csv", "train.png", "val.png", "test.png"}
    sheet = np.asarray(Image.open(OUT / "train.png"))
    colours = np.unique(sheet[::4, ::4].reshape(-1, 3), axis=0)
    assert sheet.shape[:2] == (26 + 586, 5 * 560 + 4 * 6)
    assert len(colours) > 50  # drawn over, not blank
    pictures = [sheet[46:606, left : left + 560].astype(int) for left in range(0, sheet.shape[1], 566)]
    for one, other in combinations(pictures, 2):  # photograph, close-up, clean crop and two augmentations
        assert np.abs(one - other).mean() > 5
    assert Image.open(OUT / "test.png").width == 3 * 560 + 2 * 6


BLANK = Image.new("RGB", (1, 1))
BROKEN = {
    "missing image": (
        lambda root: images(root, "train")[2].unlink(),
        {("missing images", "failed"): ["line 5", "train_2.jpg is not there"]},
    ),
    "truncated image": (
        lambda root: images(root, "train")[2].write_bytes(images(root, "train")[2].read_bytes()[:400]),
        {("unreadable images", "failed"): ["line 5", "damaged or truncated"]},
    ),
    "text for an image": (
        lambda root: images(root, "test")[0].write_text("hello"),
        {("unreadable images", "failed"): ["attr_test.txt: line 1", "not an image"]},
    ),
    "left and right exchanged": (
        lambda root: change(root, 7, renumbered),
        {("faces with left and right exchanged", "failed"): ["attr_train.txt: line 7", "exchanged"]},
    ),
    "every face exchanged": (
        lambda root: [change(root, line, renumbered) for line in range(1, 25)],
        {("most faces exchanged", "failed"): ["left is the image's left in wflw-98"]},
    ),
    "landmarks beside the image": (
        lambda root: change(
            root, 7, lambda cells: [*moved(cells, 500)[:196], "490", "490", "700", "700", *cells[200:]]
        ),
        {("faces mostly outside their image", "failed"): ["line 7: 100% of the landmarks lie outside the image"]},
    ),
    "one landmark beside the image": (
        lambda root: change(root, 7, lambda cells: ["-1", *cells[1:196], "-2", "0", "169", "109", *cells[200:]]),
        {("faces partly outside their image", "look"): ["line 7: 1% of the landmarks lie outside the image"]},
    ),
    "the box of another face": (
        lambda root: change(root, 7, lambda cells: [*cells[:196], "0", "0", "9", "9", *cells[200:]]),
        {("faces mostly outside their box", "failed"): ["line 7: 100% of the landmarks lie outside the box"]},
    ),
    "a narrow box": (
        lambda root: change(root, 7, lambda c: [*c[:198], str(int(c[198]) - 8), *c[199:]]),
        {("faces partly outside their box", "look"): ["line 7", "lie outside the box"]},
    ),
    "a face twice": (
        lambda root: [add_line(root, 7), change(root, 25, lambda cells: moved(cells, 1e-4))],
        {("faces listed twice", "failed"): ["attr_train.txt: line 25", "the same face as", "attr_train.txt: line 7"]},
    ),
    "a test image trained on": (
        lambda root: shutil.copy(images(root, "train")[0], images(root, "test")[1]),
        {("images that are also in train", "failed"): ["attr_test.txt: line 3", "the same picture as", "train_0.jpg"]},
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_found_and_nothing_else(case, root, monkeypatch, capsys):
    breaking, expected = BROKEN[case]
    breaking(root)
    lines = len((root / LISTS["train"]).read_text().split("\n")) - 1
    monkeypatch.setattr(WFLW, "published", {"train": lines, "test": 12})
    assert inspect("--config", "wflw.yaml") == int(FAILED in {verdict for _, verdict in expected})
    printed, found = capsys.readouterr().out, findings()
    assert {(finding["check"], finding["verdict"]) for finding in found} == expected.keys()
    for finding in found:
        text = f"{finding['annotation']}: {finding['finding']}"
        words = expected[finding["check"], finding["verdict"]]
        assert [word for word in words if word not in text] == [], text
        assert text in printed


def test_a_face_too_few_is_told(root, capsys):
    change(root, 24, lambda cells: [])
    assert inspect("--config", "wflw.yaml") == 1
    row = next(line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("faces "))
    assert row.split()[-6:] == ["24", "/", "-", "/", "12", "failed"]
    assert "23" in row.split()
    assert findings() == []


def test_offenders_are_drawn_where_they_can_be(root):
    change(root, 7, renumbered)
    images(root, "train")[9].write_bytes(b"no image")
    assert inspect("--config", "wflw.yaml") == 1
    height = Image.open(OUT / "train_findings.png").height if (OUT / "train_findings.png").exists() else 0
    assert height in (0, 26 + 586)  # one face, unless it fell to the validation split
    assert (OUT / "train_findings.png").exists() or (OUT / "val_findings.png").exists()


def test_a_split_without_any_image_is_told(root, capsys):
    for image in images(root, "test"):
        image.unlink()
    assert inspect("--config", "wflw.yaml") == 1
    assert len([f for f in findings() if f["check"] == "missing images" and f["split"] == "test"]) == 6
    assert "and 3 more missing images (test)" in capsys.readouterr().out


def test_broken_annotations_are_the_readers_sentence(root, capsys):
    change(root, 7, lambda cells: ["nan", *cells[1:]])
    assert inspect("--config", "wflw.yaml") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "line 7, column x0 is 'nan', expected a finite number" in error
    assert not OUT.exists()


def test_a_whole_config_serves_and_options_of_fit_are_left_aside(root, capsys):
    model = {"class_path": "no.such.Model", "init_args": {"lr": 1}}
    config = {"model": model, "data": yaml.safe_load(Path("wflw.yaml").read_text()), "trainer": {"max_epochs": 3}}
    Path("whole.yaml").write_text(yaml.safe_dump(config))
    words = ["--trainer.max_epochs", "9", "--data.init_args.box", "provided-1.2", "--out", "here"]
    assert inspect("--config", "whole.yaml", *words) == 0
    printed = capsys.readouterr()
    assert "note: inspect looks at data alone, --trainer.max_epochs is left aside" in printed.err
    assert "box provided-1.2" in printed.out
    assert {"findings.csv", "train.png"} <= {path.name for path in Path("here").iterdir()}


def test_the_data_of_a_run_can_be_inspected_by_its_name(root):
    own = Path("runs/mine/config.yaml")
    own.parent.mkdir(parents=True)
    own.write_text(yaml.safe_dump({"data": yaml.safe_load(Path("wflw.yaml").read_text())}))
    assert inspect("--name", "mine", "--out", "here") == 0


MISTAKES = {
    "": "usage: python cli.py inspect",
    "--config wflv.yaml": "--config wflv.yaml: no such file",
    "--config wflw.yaml --data.init_args.sice 3": "WFLW has no option 'sice'; did you mean --data.init_args.size?",
    "--config wflw.yaml --outt here": "no option 'outt'; did you mean --out?",
    "--config wflw.yaml --data.init_args.root nowhere": "nowhere",
    "--config part.yaml": "part.yaml sets options of data, but no data.class_path is known yet",
    "--config model.yaml": "data is missing",
    "--config other.yaml": "DataModule, which has no faces to inspect",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_sentence(words, root, capsys):
    Path("part.yaml").write_text("data: {init_args: {size: 16}}\n")
    Path("model.yaml").write_text("model: {class_path: tests.tiny.Tiny}\n")
    Path("other.yaml").write_text("class_path: lightning.pytorch.demos.boring_classes.BoringDataModule\n")
    assert inspect(*words.split()) == (0 if not words else 1 if "nowhere" in words else 2)
    printed = capsys.readouterr()
    assert MISTAKES[words] in (printed.out if not words else printed.err)
    assert not words or printed.err.count("\n") == 1, printed.err
    assert not OUT.exists()


def test_failures_are_drawn_before_what_is_to_be_looked_at(root, monkeypatch):
    """One face of a split is drawn: not the first, of which one landmark is outside, but the one exchanged."""
    change(root, 1, lambda cells: ["-1", *cells[1:196], "-2", "0", "169", "109", *cells[200:]], split="test")
    change(root, 9, renumbered, split="test")
    drawn = []
    monkeypatch.setattr("callbacks.inspection.inspect_data.contact_sheet", lambda *given: drawn.append(given) or BLANK)
    assert inspect("--config", "wflw.yaml") == 1
    assert [rows for _, _, rows, _, title in drawn if title == "WFLW, test"] == [[0], [8]]
