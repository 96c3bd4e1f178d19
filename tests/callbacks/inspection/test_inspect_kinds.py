"""``python cli.py inspect`` on faces in other files, videos, mixtures and images that nobody annotated."""

import shutil
from pathlib import Path

import yaml
from PIL import Image

from callbacks.inspection.findings import FAILED, LOOK
from datamodules.aflw import AFLW
from datamodules.cofw import COFW, COFW68
from datamodules.w300vw import W300VW
from tests.callbacks.inspection.inspecting import change, findings, images, inspect, renumbered
from tests.drawn_faces import write_csv
from tests.drawn_matlab import write_aflw, write_cofw, write_cofw68
from tests.drawn_videos import write_w300vw, write_wflw_v


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
    assert "look: test: 3 videos: videos that are gone from YouTube are taken off the lists" in out
    assert [line.split()[-3:] for line in out.splitlines() if line.startswith(" videos ")] == [["3", "1,000", "look"]]
    assert "look: train: WFLWV: WFLW-V has test videos only; train on WFLW" in out
    checks = {finding["check"] for finding in findings(Path("found"))}
    assert checks <= {"faces", "videos", "faces listed twice"}  # its videos are drawn alike
    assert Path("found/test.png").is_file()


def test_photographs_on_both_sides_of_a_split_that_knows_none_are_no_fault(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datamodules.aflw.TRAINING_FACES", 12)
    monkeypatch.setattr(AFLW, "published", {"train": 12, "test": 8})
    order = write_aflw(tmp_path / "aflw")["ra"][0].astype(int) - 1  # rows 2 i and 2 i + 1 are faces of one photograph
    options = {"root": "aflw", "num_workers": 0, "size": 64, "validation_fraction": 0.4}
    Path("data.yaml").write_text(yaml.safe_dump({"class_path": "datamodules.aflw.AFLW", "init_args": options}))
    assert inspect("--config", "data.yaml", "--out", "found") == 0
    both = set(order[:12] // 2) & set(order[12:] // 2)
    found = findings(Path("found"))
    assert {(f["check"].split(" in ")[0], f["verdict"], f["split"]) for f in found} == {
        ("images that are also", LOOK, "test")
    }
    assert {f["image"] for f in found} == {f"aflw/data/flickr/{(0, 2, 3)[i % 3]}/image{i:05d}.jpg" for i in both}
    assert "of train: the published split of AFLW knows no photographs" in capsys.readouterr().out


def test_frames_that_nobody_scores_are_not_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_w300vw(tmp_path / "300vw", {"001": 12, "002": 7, "009": 9, "410": 6})
    monkeypatch.setattr(W300VW, "published", {"train": 28, "test": 4})
    monkeypatch.setattr(W300VW, "unscored", {"410": "2-3"})
    options = {"root": "300vw", "num_workers": 0, "size": 64, "validation_fraction": 0.5}
    Path("data.yaml").write_text(yaml.safe_dump({"class_path": "datamodules.w300vw.W300VW", "init_args": options}))
    inspect("--config", "data.yaml", "--out", "found")
    row = next(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith(" faces "))
    assert row[-7:] == ["4", "28", "/", "-", "/", "4", "ok"]


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


def mixture_of(labelled, *more):
    others = {"class_path": "datamodules.unlabeled.UnlabeledFaces", "init_args": {"root": "photos", "size": 64}}
    init = {"labelled": labelled, "unlabelled": [others, *more]}
    Path("mixed.yaml").write_text(yaml.safe_dump({"class_path": "datamodules.mixture.Mixture", "init_args": init}))


def test_the_annotated_faces_of_a_mixture_are_inspected(photos, root, capsys):
    mixture_of(yaml.safe_load(Path("wflw.yaml").read_text()))
    assert inspect("--config", "mixed.yaml", "--out", "found") == 0
    printed = capsys.readouterr()
    assert "24 / - / 12 / -" in printed.out  # as published; nobody published the photos
    change(root, 7, renumbered)
    images(root, "test")[0].unlink()
    assert inspect("--config", "mixed.yaml", "--out", "found") == 1
    checks = [(f["check"], f["annotation"].rpartition("_")[2]) for f in findings(Path("found"))]
    assert sorted(checks) == [
        ("faces with left and right exchanged", "train.txt: line 7"),
        ("missing images", "test.txt: line 1"),
    ]


def test_the_others_of_a_mixture_are_inspected(photos, root, tmp_path, monkeypatch, capsys):
    """By what does not need landmarks, which are not drawn either."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(COFW, "published", {"train": 5, "test": 3})
    write_cofw(tmp_path / "cofw", train=5, test=3)
    cofw = {"root": "cofw", "size": 64, "box": "provided-1.3"}
    labelled = yaml.safe_load(Path("wflw.yaml").read_text())
    mixture_of(labelled, {"class_path": "datamodules.cofw.COFW", "init_args": cofw})
    assert inspect("--config", "mixed.yaml", "--out", "found") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    (counts,) = [line[4:] for line in lines if line[:1] == ["faces"] and line[1].isdigit() and "24" in line]
    assert counts == ["6", "5", "24", "/", "-", "/", "12", "/", "-", "/", "5", "ok"]
    widths = {Image.open(f"found/others-{i}.png").width for i in range(2)}
    assert widths == {4 * 560 + 3 * 6}  # no close-up of landmarks


def test_faults_of_the_others_of_a_mixture_are_found(photos, root, tmp_path):
    others = yaml.safe_load(Path("wflw.yaml").read_text())
    others["init_args"] |= {"root": "others", "box": "provided-1.2"}
    shutil.copytree(root, tmp_path / "others")
    change(tmp_path / "others", 7, renumbered)  # which nobody looks at
    gone, broken, first = images(tmp_path / "others", "train")[3], photos / "2.png", images(root, "test")[0]
    gone.unlink()
    broken.write_bytes(broken.read_bytes()[:300])
    shutil.copy(photos / "1.png", photos / "4.png")
    shutil.copy(first, photos / "5.png")
    mixture_of(yaml.safe_load(Path("wflw.yaml").read_text()), others)
    assert inspect("--config", "mixed.yaml", "--out", "found") == 1
    found = findings(Path("found"))
    assert {(f["check"], f["split"], f["image"]) for f in found if f["verdict"] == FAILED} == {
        ("unreadable images", "others-0", "photos/2.png"),
        ("faces listed twice", "others-0", "photos/4.png"),
        ("missing images", "others-1", str(gone.relative_to(tmp_path))),
    }
    (seen,) = [f for f in found if f["check"] == "images that are also in test"]
    assert (seen["verdict"], seen["split"], seen["image"]) == (LOOK, "others-0", "photos/5.png")
    assert "of test: it is trained on, though without its landmarks" in seen["finding"]
    (also,) = {f["check"].split(" in ")[0] for f in found if f["split"] == "others-1"} - {"missing images"}
    assert also == "images that are also"  # and no left and right


def test_a_mixture_inspects_videos_in_their_own_markup(photos, tmp_path, monkeypatch):
    write_w300vw(tmp_path / "300vw")
    monkeypatch.setattr(W300VW, "published", dict.fromkeys(W300VW.published))
    options = {"root": "300vw", "num_workers": 0, "size": 64, "validation_fraction": 0.5, "convert_to": "aflw-17"}
    mixture_of({"class_path": "datamodules.w300vw.W300VW", "init_args": options})
    inspect("--config", "mixed.yaml", "--out", "found")
    checks = {f["check"] for f in findings(Path("found"))}
    assert checks == {"images that are also in train", "images that are also in val"}  # they are drawn alike
    assert Path("found/train.png").is_file()
