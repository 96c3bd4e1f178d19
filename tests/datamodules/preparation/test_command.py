"""``python cli.py prepare``: drawn datasets packed as their authors do or otherwise, and every mistake a sentence."""

import fcntl
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from datamodules.preparation.published import PUBLISHED
from datamodules.wflw import WFLW
from tests.datamodules.preparation.packing import pack, pack_bytes, tree
from tests.datamodules.preparation.preparing import prepare
from tests.drawn_bbc import write_bbc
from tests.drawn_cats import write_cats
from tests.drawn_celeba import write_celeba
from tests.drawn_faces import write_wflw, write_wflw_cropped
from tests.drawn_matlab import write_aflw, write_cofw, write_cofw68
from tests.drawn_pts import write_menpo2d, write_w300, write_w300_boxes
from tests.drawn_videos import write_w300vw, write_wflw_v
from tests.experiment import ROOT


def write_w300_with_boxes(root):
    write_w300_boxes(root, write_w300(root))


def write_bbc_alone(root):
    write_bbc(root)
    for extended in ("21", "22"):
        assert not (root / extended).exists()


def write_cats_with_known_error(root):
    write_cats(root)
    first = next((root / "CAT_00").glob("*.jpg"))
    for end in ("", ".cat"):
        Path(f"{first}{end}").rename(root / f"CAT_00/00000003_015.jpg{end}")


WRITERS = {
    "wflw": write_wflw,
    "wflw_cropped": write_wflw_cropped,
    "w300": write_w300_with_boxes,
    "w300_private": write_w300_with_boxes,
    "cofw": write_cofw,
    "cofw68": write_cofw68,
    "aflw": write_aflw,
    "menpo2d": write_menpo2d,
    "w300vw": write_w300vw,
    "wflw_v": write_wflw_v,
    "celeba": write_celeba,
    "mafl": write_celeba,
    "cat_head": write_cats_with_known_error,
    "bbc_pose": write_bbc_alone,
}


SPLITS = {  # that are opened, where they are not training and test
    "cofw68": ["test"],
    "wflw_v": ["test"],
    "celeba": ["train", "val", "test", "train", "test"],  # and MAFL
    "bbc_pose": ["train", "val", "test"],
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_drawn_dataset_comes_out_of_its_archives_as_it_was(name, tmp_path, monkeypatch, capsys):
    for reader in PUBLISHED[name].readers:
        module, _, name_of = reader.rpartition(".")
        cls = getattr(import_module(module), name_of)
        monkeypatch.setattr(cls, "published_counts", lambda data, split: {})  # fewer faces are drawn
    if name == "aflw":
        monkeypatch.setattr("datamodules.aflw.TRAINING_FACES", 14)
    WRITERS[name](tmp_path / "source")
    archive = pack(tmp_path / "source", tmp_path / "archive.tar.gz", "somewhere/else/")
    assert prepare(name, "--archives", archive, "--root", tmp_path / "root") == 0
    source = tree(tmp_path / "source")
    found = tree(tmp_path / "root")
    needless = {path for path in source if path not in found}
    assert found == {path: source[path] for path in source if path not in needless}
    assert all(PUBLISHED[name].place(path) is None for path in needless)
    assert len(needless) <= 2, needless  # of what the reader tests draw, nothing that a reader reads
    out = capsys.readouterr().out
    assert f"data.class_path: {PUBLISHED[name].readers[0]}" in out
    opened = [line.split(": ")[0].split(", ")[-1] for line in out.splitlines() if line.endswith((" faces", " videos"))]
    assert opened == SPLITS.get(name, ["train", "test"] * len(PUBLISHED[name].readers))


LEFT_OUT = {
    ("celeba", "train"): ("Img/img_align_celeba/000013.jpg", "list_landmarks_align_celeba.txt: line 15 names image"),
    ("celeba", "val"): ("Img/img_align_celeba/000027.jpg", "list_landmarks_align_celeba.txt: line 29 names image"),
    ("bbc_pose", "train"): ("3/7.jpg", "root/3/7.jpg, which is not there (1 of 30 images are missing)"),
    ("bbc_pose", "val"): ("11/100.jpg", "root/11/100.jpg, which is not there (1 of 10 images are missing)"),
    ("wflw_v", "test"): ("videos/Zz0.mp4", "root/videos/Zz0.mp4"),
}


@pytest.mark.parametrize(("name", "split"), LEFT_OUT)
def test_a_set_is_not_ready_while_an_image_of_any_split_is_missing(name, split, tmp_path, monkeypatch, capsys):
    gone, sentence = LEFT_OUT[name, split]
    module, _, name_of = PUBLISHED[name].readers[0].rpartition(".")
    cls = getattr(import_module(module), name_of)
    monkeypatch.setattr(cls, "published_counts", lambda data, split: {})
    WRITERS[name](tmp_path / "source")
    (tmp_path / "source" / gone).unlink()
    archive = pack(tmp_path / "source", tmp_path / "archive.tar.gz")
    assert prepare(name, "--archives", archive, "--root", tmp_path / "root") == 1
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert "is not there" in printed.err
    assert "ready: " not in printed.out


@pytest.mark.parametrize("again", [b"hello", b"other", b"longer"])
def test_a_file_in_two_archives_has_to_be_the_same(again, tmp_path, capsys):
    image = "WFLW_images/a/b.jpg"
    one = pack_bytes(tmp_path / "one.zip", {image: b"hello", "WFLW_images/a/c.jpg": b"c"})
    two = pack_bytes(tmp_path / "two.tar", {"WFLW_images/a/d.jpg": b"d", f"other/{image}": again})
    assert prepare("wflw", "--archives", one, two, "--root", tmp_path / "root") == 1
    error, found = capsys.readouterr().err, tree(tmp_path / "root")
    if again == b"hello":
        assert "still lacks WFLW_annotations" in error
        assert len(found) == 3
        return
    assert error == (
        f"error: {two}: 'other/{image}' differs from another file in {one}, and both belong at {image}; give archives "
        "of one release only\n"
    )
    assert found == {}


def test_every_published_set_is_drawn_and_has_a_reader():
    assert WRITERS.keys() == PUBLISHED.keys()


PLACES = {
    ("wflw", "WFLW_images/0--Parade/0_Parade_1.jpg"): "WFLW_images/0--Parade/0_Parade_1.jpg",
    ("wflw", "list_98pt_test/list_98pt_test_blur.txt"): "WFLW_annotations/list_98pt_test/list_98pt_test_blur.txt",
    ("wflw", "WFLW_annotations/README"): None,
    ("w300", "helen/helen/trainset/1_1.pts"): "helen/trainset/1_1.pts",
    ("w300", "ibug/image_092 _01.jpg"): "ibug/image_092 _01.jpg",
    ("w300", "afw/afw/134212_1.jpg"): "afw/134212_1.jpg",
    ("w300_private", "300W/01_Indoor/indoor_001.png"): "Test/01_Indoor/indoor_001.png",
    ("cofw68", "cofw68-benchmark-master/COFW68_Data/test_annotations/1_points.mat"): (
        "cofw68_test_annotations/1_points.mat"
    ),
    ("aflw", "aflw/data/flickr/3/image1.jpg"): "data/flickr/3/image1.jpg",
    ("aflw", "flickr/4/image1.jpg"): None,
    ("w300vw", "300VW_Dataset_2015_12_14/001/annot/000001.pts"): "001/annot/000001.pts",
    ("wflw_v", "WFLW_V/videos/-3rDiJYQ6CQ.mp4"): "videos/-3rDiJYQ6CQ.mp4",
    ("celeba", "img_align_celeba/img_align_celeba/000001.jpg"): "Img/img_align_celeba/000001.jpg",
    ("mafl", "TCDCN-face-alignment-master/MAFL/testing.txt"): "MAFL/testing.txt",
    ("cat_head", "cats/CAT_00/00000001_000.jpg.cat"): "CAT_00/00000001_000.jpg.cat",
    ("cat_head", "00000003_015.jpg.cat"): "CAT_00/00000003_015.jpg.cat",
    ("cat_head", "CAT_00/00000003_019.jpg.cat"): None,
    ("bbc_pose", "bbcpose/17/1234.jpg"): "17/1234.jpg",
    ("bbc_pose", "bbcpose/21/1234.jpg"): None,
    ("bbc_pose", "bbcpose_extbbcpose_code_1.0/bbcpose.mat"): "code/bbcpose.mat",
}


@pytest.mark.parametrize(("name", "path"), PLACES)
def test_files_are_found_below_whatever_folders(name, path):
    assert PUBLISHED[name].place(path) == PLACES[name, path]


def test_a_folder_may_be_the_name_of_the_archive(tmp_path, capsys):
    archive = pack_bytes(tmp_path / "ibug (1).zip", {"image_003_1.pts": b"version: 1", "image_003_1.jpg": b"jpeg"})
    assert prepare("w300", "--archives", archive, "--root", tmp_path / "root") == 1
    assert tree(tmp_path / "root").keys() == {"ibug/image_003_1.pts", "ibug/image_003_1.jpg"}
    assert "root still lacks afw/*.pts, which is in afw.zip (and 4 more: helen/" in capsys.readouterr().err


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """WFLW in two archives, and as many faces published as are drawn."""
    monkeypatch.setattr(WFLW, "published", {"train": 8, "test": 6})
    source = write_wflw(tmp_path / "source")
    images = pack(source / "WFLW_images", tmp_path / "WFLW_images.tar.gz", "WFLW_images/")
    return source, images, pack(source / "WFLW_annotations", tmp_path / "WFLW_annotations.zip", "WFLW_annotations/")


def test_archives_may_come_one_after_the_other(parts, tmp_path, capsys):
    source, images, annotations = parts
    root = tmp_path / "root"
    assert prepare("wflw", "--archives", images, "--root", root) == 1
    error = capsys.readouterr().err
    assert "still lacks WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_train.txt" in error
    assert "which is in WFLW_annotations.tar.gz" in error
    assert prepare("wflw", "--archives", annotations, "--root", root) == 0
    assert tree(root) == tree(source)
    out = capsys.readouterr().out
    assert "WFLW, train: 8 faces, as published" in out
    assert f"ready: data.class_path: datamodules.wflw.WFLW, data.init_args.root: {root}" in out


def test_other_numbers_of_faces_are_told(parts, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(WFLW, "published", {"train": 8, "test": 2500})
    assert prepare("wflw", "--archives", *parts[1:], "--root", tmp_path / "root") == 1
    assert "root has 6 test faces of WFLW, expected 2,500 as published" in capsys.readouterr().err


def test_again_changes_nothing_and_a_changed_file_is_not_overwritten(parts, tmp_path, capsys):
    root = tmp_path / "root"
    assert prepare("wflw", "--archives", *parts[1:], "--root", root) == 0
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    capsys.readouterr()
    assert prepare("wflw", "--archives", *parts[1:], "--root", root) == 0
    assert "WFLW_images.tar.gz: 0 files to unpack, 7 there already" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == times
    mine = next(root.rglob("*_0.jpg"))
    mine.write_bytes(bytes(len(mine.read_bytes())))  # of the same size
    assert prepare("wflw", "--archives", *parts[1:], "--root", root) == 1
    assert f"{mine} exists and differs from 'WFLW_images/0--Parade/" in capsys.readouterr().err
    assert set(mine.read_bytes()) == {0}


@pytest.mark.parametrize("chunks", [0, 3, 8])
def test_killed_at_any_point_it_goes_on(chunks, parts, tmp_path):
    source, images, annotations = parts
    root = tmp_path / "root"
    script = f"""
import os, shutil
from datamodules.preparation import command
left = {chunks}
class Dying:
    def __init__(self, file): self.file = file
    def write(self, content):
        global left
        self.file.write(content[:len(content) // 2]); self.file.flush()
        if not left: os.kill(os.getpid(), 9)
        left -= 1
        return len(content) // 2 + self.file.write(content[len(content) // 2:])
copy = shutil.copyfileobj
shutil.copyfileobj = lambda content, file, length: copy(content, Dying(file), length)
command.main(["wflw", "--archives", {str(images)!r}, {str(annotations)!r}, "--root", {str(root)!r}])
"""
    died = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True)
    assert died.returncode == -9
    found = tree(root)
    assert found.pop(".prepare.partial")
    assert len(found) == chunks
    assert found.items() <= tree(source).items()
    assert prepare("wflw", "--archives", images, annotations, "--root", root) == 0
    assert tree(root) == tree(source)


def test_two_at_a_time_are_refused(parts, tmp_path, capsys):
    root = tmp_path / "root"
    root.mkdir()
    folder = os.open(root, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        assert prepare("wflw", "--archives", *parts[1:], "--root", root) == 1
    finally:
        os.close(folder)
    assert "another process is preparing" in capsys.readouterr().err
    assert tree(root) == {}


MEANT = {
    "300w": "w300",
    "300-W": "w300",
    "W300": "w300",
    "300vw": "w300vw",
    "300-VW": "w300vw",
    "300W-private": "w300_private",
    "COFW-68": "cofw68",
    "WFLW-V": "wflw_v",
    "wlfw": "wflw",
    "AFLW19": "aflw",
    "Menpo": "menpo2d",
    "CelebA": "celeba",
    "Cat Head": "cat_head",
    "BBC": "bbc_pose",
}


@pytest.mark.parametrize("name", MEANT)
def test_the_dataset_that_was_meant_is_suggested(name, capsys):
    assert prepare(name) == 2
    expected = f"error: '{name}' is no dataset that can be prepared; did you mean {MEANT[name]}?\n"
    assert capsys.readouterr().err == expected


MISTAKES = {
    "wlfw": (2, ["'wlfw' is no dataset that can be prepared", "did you mean wflw?"]),
    "imagenet": (2, ["expected one of: wflw, "]),
    "wflw --archive images.zip": (2, ["no option '--archive'", "did you mean --archives?"]),
    "wflw --archives images.zip": (2, ["--root is missing"]),
    "wflw --archives": (2, ["--archives", "expected at least one argument"]),
    "wflw --archives nothing.zip --root root": (1, ["error: nothing.zip not found, expected an archive\n"]),
    "wflw --archives images.zip other.zip --root root": (1, ["other.zip holds nothing of wflw", "it looks like cofw"]),
    "wflw --root root": (1, ["--root root is no folder, expected that of wflw"]),
    "wflw --root notes.txt": (1, ["--root notes.txt is no folder"]),
    "wflw --archives notes.txt --root root": (1, ["notes.txt holds nothing of wflw, but notes.txt"]),
    "wflw --archives images.zip --root notes.txt": (1, ["--root notes.txt is a file"]),
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_sentence_and_unpacks_nothing(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pack_bytes(tmp_path / "images.zip", {"WFLW_images/a/a.jpg": b"jpeg"})
    pack_bytes(tmp_path / "other.zip", {"COFW_train_color.mat": b"HDF"})
    (tmp_path / "notes.txt").write_text("hello")
    code, expected = MISTAKES[words]
    assert prepare(*words.split()) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert [part for part in expected if part not in error] == [], error
    assert not (tmp_path / "root").is_dir() or tree(tmp_path / "root") == {}


@pytest.mark.parametrize("name", PUBLISHED)
def test_without_archives_it_says_where_the_set_is_published(name, capsys):
    assert prepare(name) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("published  ", "files      ", "licence    ", "size       ", "then: python cli"))
    assert PUBLISHED[name].readers[0] in out


def test_help_needs_no_slow_import():
    script = "import sys; sys.argv = ['cli.py', 'prepare', '--help']; import runpy\n"
    script += f"try: runpy.run_path({str(ROOT / 'cli.py')!r}, run_name='__main__')\n"
    script += "except SystemExit: print(sorted({'torch', 'lightning', 'numpy'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "usage: python cli.py prepare NAME" in result.stdout
    assert "With --root alone it unpacks nothing, but checks the folder" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"
