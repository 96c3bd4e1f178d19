"""``python cli.py inspect`` on drawn data, clean and broken."""

import csv
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from callbacks.inspection.checks import Split, annotation_checks
from callbacks.inspection.findings import FAILED, LOOK, Check, Finding
from callbacks.inspection.pictures import look_at
from cli import main
from datamodules.cofw import COFW, COFW68
from datamodules.csv_landmarks import CSVLandmarks
from datamodules.markup import WFLW_98
from datamodules.w300vw import W300VW
from datamodules.wflw import WFLW
from tests.drawn_faces import WFLW_LISTS, save, write_csv, write_wflw
from tests.drawn_matlab import write_cofw, write_cofw68
from tests.drawn_videos import write_w300vw, write_wflw_v

LISTS = {split: WFLW_LISTS / f"list_98pt_rect_attr_{split}.txt" for split in ("train", "test")}
OUT = Path("runs/inspect/wflw")


def inspect(*words):
    """The command line in this process; the code it ends with."""
    with pytest.raises(SystemExit) as end:
        main(["inspect", *words])
    return end.value.code


@pytest.fixture(autouse=True)
def one_drawing(monkeypatch):
    monkeypatch.setattr("callbacks.inspection.inspect_data.DRAWN", 1)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A clean drawn WFLW of as many faces as are published, and a config of it, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(WFLW, "published", {"train": 24, "test": 12})
    config = {"class_path": "datamodules.wflw.WFLW", "init_args": {"root": "data", "num_workers": 0, "size": 64}}
    Path("wflw.yaml").write_text(yaml.safe_dump(config))
    return write_wflw(tmp_path / "data", train=24, test=12)


def findings(out=OUT):
    with (out / "findings.csv").open() as file:
        return list(csv.DictReader(file))


def images(root, split):
    """The images of a split in the order of its list, two lines each."""
    paths = (root / "WFLW_images").rglob(f"*_{split}_*.jpg")
    return sorted(paths, key=lambda path: int(path.stem.split("_")[-1]))


def change(root, line, how, split="train"):
    """Change the cells of a line, counted from 1."""
    lines = (root / LISTS[split]).read_text().splitlines()
    lines[line - 1] = " ".join(how(lines[line - 1].split()))
    (root / LISTS[split]).write_text("\n".join(lines) + "\n")


def renumbered(cells):
    points = np.array(cells[:196]).reshape(98, 2)[list(WFLW_98.flip)]
    return [*points.ravel(), *cells[196:]]


def moved(cells, by):
    return [*(str(float(cell) + by) for cell in cells[:196]), *cells[196:]]


def add_line(root, line, split="train"):
    lines = (root / LISTS[split]).read_text().splitlines()
    (root / LISTS[split]).write_text("\n".join([*lines, lines[line - 1]]) + "\n")


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
    assert sheet.shape[1] == 3 * 560 + 2 * 6
    assert len(colours) > 50  # drawn over, not blank
    third = sheet[26:586, 2 * 566 : 2 * 566 + 560].astype(int)
    assert np.abs(third - sheet[26:586, :560]).mean() > 5  # the third picture is another view than the first


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


def test_faces_in_files_of_other_kinds(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_cofw(tmp_path / "cofw")
    write_cofw68(tmp_path / "cofw68")
    write_w300vw(tmp_path / "300vw")
    for reader in (COFW, COFW68, W300VW):
        monkeypatch.setattr(reader, "published", dict.fromkeys(reader.published))
    for name, class_path in (
        ("cofw", "datamodules.cofw.COFW"),
        ("cofw68", "datamodules.cofw.COFW68"),
        ("300vw", "datamodules.w300vw.W300VW"),
    ):
        options = {"root": name, "num_workers": 0, "size": 64, "validation_fraction": 0.5}
        Path("data.yaml").write_text(yaml.safe_dump({"class_path": class_path, "init_args": options}))
        same = name == "300vw"  # its videos are drawn alike
        assert inspect("--config", "data.yaml", "--out", name + "_found") == int(same)
        checks = {finding["check"] for finding in findings(Path(name + "_found"))}
        others = {"images that are also in train", "images that are also in val"} if same else {"faces"}
        assert checks <= others
        assert Path(name + "_found", "test.png").is_file()
        assert Path(name + "_found", "train.png").is_file() == (name != "cofw68")
    assert "COFW-68 has no training faces" in capsys.readouterr().out


def test_videos_to_test_on_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_wflw_v(tmp_path / "wflw_v")
    options = {"root": "wflw_v", "num_workers": 0, "size": 64}
    Path("data.yaml").write_text(yaml.safe_dump({"class_path": "datamodules.wflw_v.WFLWV", "init_args": options}))
    inspect("--config", "data.yaml", "--out", "found")
    out = capsys.readouterr().out
    assert "look: train: WFLWV: WFLW-V has test videos only; train on WFLW" in out
    checks = {finding["check"] for finding in findings(Path("found"))}
    assert checks <= {"faces", "faces listed twice"}  # its videos are drawn alike
    assert Path("found/test.png").is_file()


def test_missing_videos_are_listed_once_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_w300vw(tmp_path / "300vw")
    monkeypatch.setattr(W300VW, "published", dict.fromkeys(W300VW.published))
    gone = next(path for path in sorted(Path("300vw").iterdir()) if path.name >= "114")
    (gone / "vid.avi").unlink()
    options = {"root": "300vw", "num_workers": 0, "size": 64, "validation_fraction": 0.5}
    Path("data.yaml").write_text(yaml.safe_dump({"class_path": "datamodules.w300vw.W300VW", "init_args": options}))
    assert inspect("--config", "data.yaml", "--out", "found") == 1
    missing = [finding for finding in findings(Path("found")) if finding["check"] == "missing images"]
    assert [finding["finding"] for finding in missing] == [f"300vw/{gone.name}/vid.avi is not there"]


def test_frames_that_repeat_within_one_identity_are_not_faults(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    root = write_csv(tmp_path / "faces", train=12, test=3)
    lines = (root / "train.csv").read_text().splitlines()
    lines = ["identity," + lines[0], *(f"p{i // 2},{line}" for i, line in enumerate(lines[1:]))]
    shutil.copy(root / "train" / "0.png", root / "train" / "1.png")
    lines[2] = "p0,1.png," + lines[1].split(",", 2)[2]
    (root / "train.csv").write_text("\n".join(lines) + "\n")
    options = {"root": str(root), "markup": "wflw-98", "num_workers": 0, "validation_fraction": 0.4}
    config = {"class_path": "datamodules.csv_landmarks.CSVLandmarks", "init_args": options}
    Path("data.yaml").write_text(yaml.safe_dump(config))
    assert inspect("--config", "data.yaml", "--out", "found") == 0
    (finding,) = findings(Path("found"))
    assert (finding["check"], finding["verdict"]) == ("faces repeated in a photograph or video", LOOK)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Six images that nobody annotated, in the working directory, with a config of them."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for i in range(6):
        save(rng.integers(0, 256, (40 + i, 60, 3), np.uint8), tmp_path / f"photos/{i}.png")
    options = {"root": "photos", "num_workers": 0, "size": 32}
    config = {"class_path": "datamodules.unlabeled.UnlabeledFaces", "init_args": options}
    Path("photos.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "photos"


def test_images_without_annotation_are_looked_at(photos, capsys):
    assert inspect("--config", "photos.yaml", "--out", "found") == 0
    table = capsys.readouterr().out
    assert "unreadable images" in table
    assert "landmarks" not in table
    assert "left and right" not in table
    assert findings(Path("found")) == []
    assert Image.open("found/images.png").width == 2 * 560 + 6  # no close-up of landmarks


def test_faults_of_images_without_annotation_are_found(photos):
    shutil.copy(photos / "1.png", photos / "4.png")
    (photos / "2.png").write_bytes((photos / "2.png").read_bytes()[:300])
    assert inspect("--config", "photos.yaml", "--out", "found") == 1
    found = {f["check"]: f for f in findings(Path("found"))}
    assert found.keys() == {"unreadable images", "faces listed twice"}
    assert {f["split"] for f in found.values()} == {"images"}
    assert found["unreadable images"]["image"] == "photos/2.png"
    assert found["faces listed twice"]["image"] == "photos/4.png"
    assert found["faces listed twice"]["finding"] == "the same face as photos/1.png"


def test_faults_of_boxes_without_landmarks_are_found(photos):
    boxes = ["0.png,0,0,20,30", "0.png,30,0,50,30", "0.png,1,0,20,30", "1.png,-9,-9,30,30", "2.png,60,2,90,30"]
    (photos / "boxes.csv").write_text("\n".join(["file,left,top,right,bottom", *boxes, "x.png,0,0,9,9"]) + "\n")
    assert inspect("--config", "photos.yaml", "--data.init_args.boxes", "boxes.csv", "--out", "found") == 1
    found = {(f["check"], f["annotation"], f["finding"]) for f in findings(Path("found"))}
    line = "photos/boxes.csv: line "
    assert found == {
        ("faces listed twice", line + "4", f"the same face as {line}2"),
        ("boxes outside their image", line + "6", "the box lies outside the image"),
        ("missing images", line + "7", "photos/x.png is not there"),
    }


def mixture_of(labelled):
    others = {"class_path": "datamodules.unlabeled.UnlabeledFaces", "init_args": {"root": "photos", "size": 64}}
    init = {"labelled": labelled, "unlabelled": [others]}
    Path("mixed.yaml").write_text(yaml.safe_dump({"class_path": "datamodules.mixture.Mixture", "init_args": init}))


def test_the_annotated_faces_of_a_mixture_are_inspected(photos, root, capsys):
    mixture_of(yaml.safe_load(Path("wflw.yaml").read_text()))
    assert inspect("--config", "mixed.yaml", "--out", "found") == 0
    printed = capsys.readouterr()
    assert "24 / - / 12" in printed.out  # as published
    assert "inspect looks at data.init_args.labelled alone" in printed.err
    change(root, 7, renumbered)
    images(root, "test")[0].unlink()
    assert inspect("--config", "mixed.yaml", "--out", "found") == 1
    checks = [(f["check"], f["annotation"].rpartition("_")[2]) for f in findings(Path("found"))]
    assert sorted(checks) == [
        ("faces with left and right exchanged", "train.txt: line 7"),
        ("missing images", "test.txt: line 1"),
    ]


def test_a_mixture_inspects_videos_in_their_own_markup(photos, tmp_path, monkeypatch):
    write_w300vw(tmp_path / "300vw")
    monkeypatch.setattr(W300VW, "published", dict.fromkeys(W300VW.published))
    options = {"root": "300vw", "num_workers": 0, "size": 64, "validation_fraction": 0.5, "convert_to": "aflw-17"}
    mixture_of({"class_path": "datamodules.w300vw.W300VW", "init_args": options})
    inspect("--config", "mixed.yaml", "--out", "found")
    checks = {f["check"] for f in findings(Path("found"))}
    assert checks == {"images that are also in train", "images that are also in val"}  # they are drawn alike
    assert Path("found/train.png").is_file()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_each_image_is_decoded_once_whatever_the_processes(num_workers, root):
    data = WFLW(root=root)
    dataset = data.dataset(data.load("train"))
    images(root, "train")[4].write_bytes(b"no image")
    steps = []
    pictures = look_at(dataset, num_workers, steps.append)
    assert steps[-1] == 12  # two faces each
    assert list(pictures.problem) == [8]
    assert np.flatnonzero(~pictures.readable).tolist() == [8, 9]
    assert set(zip(pictures.width[:8], pictures.height[:8], strict=True)) == {(170, 110)}
    assert (pictures.content[0::2] == pictures.content[1::2]).all()
    assert len(np.unique(pictures.content)) == 12


def test_memory_does_not_grow_with_the_images(tmp_path):
    data = CSVLandmarks(root=write_csv(tmp_path, train=40, test=1), markup="wflw-98")
    dataset = data.dataset(data.load("train"))
    large = np.random.default_rng(0).integers(0, 256, (500, 500, 3), np.uint8)
    dataset.read = lambda row: large + np.uint8(row)
    tracemalloc.start()
    look_at(dataset, 0, lambda done: None)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 6 * large.nbytes  # of 40 images


def test_faces_without_a_box_are_not_outside_of_it(root):
    faces = WFLW(root=root).load("train")
    faces.box[3] = np.nan
    faces.box[5] = (0, 0, 1, 1)
    named = {check.name: check.findings for check in annotation_checks(Split("train", faces, None), WFLW_98)}
    assert [finding.row for finding in named["faces mostly outside their box"]] == [5]
    assert named["faces partly outside their box"] == []


def test_a_check_knows_its_verdict():
    assert Check("faces", "train", 3, None).verdict == "ok"
    assert Check("faces", "train", 3, 3).verdict == "ok"
    assert Check("faces", "train", 2, 3).verdict == FAILED
    assert Check("some", "test", 1, 0, LOOK, [Finding("test", 0, "a", "b", "c")]).verdict == LOOK
