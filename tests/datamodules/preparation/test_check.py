"""``python cli.py prepare NAME --root FOLDER`` checks what is there, and every published count is right."""

import shutil

import pytest

from datamodules.cat_head import CatHead
from datamodules.celeba import MAFL, CelebA
from datamodules.menpo2d import Menpo2DProfile, Menpo2DSemifrontal
from datamodules.preparation.command import check_counts
from datamodules.preparation.published import PUBLISHED
from tests.datamodules.preparation.packing import tree
from tests.datamodules.preparation.preparing import prepare
from tests.drawn_cats import write_cats
from tests.drawn_celeba import write_celeba
from tests.drawn_pts import write_menpo2d
from tests.drawn_videos import write_wflw_v


@pytest.fixture
def whole(tmp_path, monkeypatch):
    """A drawn CelebA, and as many faces published as are drawn: 24, 6 and 6, of which 12, 2 and 1 are of MAFL."""
    monkeypatch.setattr(CelebA, "published", {"train": 24, "val": 6, "test": 6})
    monkeypatch.setattr(MAFL, "published", {"train": 11, "test": 4})
    write_celeba(tmp_path / "root")
    return tmp_path / "root"


def test_a_root_alone_is_checked_and_not_changed(whole, capsys):
    before = tree(whole)
    assert prepare("celeba", "--root", whole) == 0
    assert capsys.readouterr().out.splitlines() == [
        "CelebA, train: 12 faces, as published, without 12 of MAFL",
        "CelebA, val: 4 faces, as published, without 2 of MAFL",
        "CelebA, test: 6 faces, as published",
        f"ready: data.class_path: datamodules.celeba.CelebA, data.init_args.root: {whole}",
        "MAFL, train: 11 faces, as published",
        "MAFL, test: 4 faces, as published",
        f"ready: data.class_path: datamodules.celeba.MAFL, data.init_args.root: {whole}",
    ]
    assert tree(whole) == before


def moved_to_validation(root):
    path = root / "Eval/list_eval_partition.txt"
    path.write_text(path.read_text().replace("000020.jpg 0", "000020.jpg 1"))


def one_less_of_mafl(root):
    path = root / "MAFL/testing.txt"
    path.write_text("\n".join(path.read_text().splitlines()[1:]) + "\n")


LACKING = {
    "no folder": (
        shutil.rmtree,
        "root is no folder, expected that of celeba; unpack it there with: python cli.py prep",
    ),
    "no list": (
        lambda root: (root / "MAFL/testing.txt").unlink(),
        "root still lacks MAFL/testing.txt, which is in testing.txt of MAFL; give the missing archives with",
    ),
    "no images and no list": (
        lambda root: [shutil.rmtree(root / "Img"), shutil.rmtree(root / "Eval")],
        "which is in img_align_celeba.zip (and 1 more: Eval/list_eval_partition.txt); give the missing",
    ),
    "an image": (lambda root: (root / "Img/img_align_celeba/000013.jpg").unlink(), "(1 of 12 images are missing)"),
    "a face": (moved_to_validation, "has 11 train faces of CelebA, expected 12 as published, without 12 of MAFL; an"),
    "a face of MAFL": (one_less_of_mafl, "has 3 test faces of MAFL, expected 4 as published; an archive is incomplete"),
}


@pytest.mark.parametrize("case", LACKING)
def test_what_a_root_lacks_is_one_sentence(case, whole, capsys):
    spoil, sentence = LACKING[case]
    spoil(whole)
    assert prepare("celeba", "--root", whole) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("page", "paper", "told"), [(12, 9, "as the benchmark's page lists"), (15, 12, "as PIPNet's paper has")]
)
def test_either_count_of_menpo2d_is_right_and_named(page, paper, told, tmp_path, monkeypatch, capsys):
    for reader in (Menpo2DSemifrontal, Menpo2DProfile):
        monkeypatch.setattr(reader, "published", {"train": page, "test": 4})
        monkeypatch.setattr(reader, "older", paper)
    write_menpo2d(tmp_path)
    assert prepare("menpo2d", "--root", tmp_path) == 0
    out = capsys.readouterr().out
    for pose in ("semifrontal", "profile"):
        assert f"Menpo2D {pose}, train: 12 faces, {told}\n" in out
        assert f"Menpo2D {pose}, test: 4 faces, as published\n" in out


def test_another_count_of_menpo2d_names_both(tmp_path, capsys):
    write_menpo2d(tmp_path)
    assert prepare("menpo2d", "--root", tmp_path) == 1
    sentence = "expected 6,653 as the benchmark's page lists or 5,658 as PIPNet's paper has; an archive is incomplete"
    assert f"12 train faces of Menpo2D semifrontal, {sentence}" in capsys.readouterr().err


def test_videos_are_counted_where_the_number_of_frames_is_not_published(tmp_path, monkeypatch, capsys):
    write_wflw_v(tmp_path)
    assert prepare("wflw_v", "--root", tmp_path) == 0
    gone = "but videos that are gone from YouTube are taken off the lists"
    assert f"WFLW-V, test: 3 videos, expected 1,000 as published, {gone}\n" in capsys.readouterr().out
    monkeypatch.setattr("datamodules.wflw_v.WFLWV.published", {"test": 3})
    assert prepare("wflw_v", "--root", tmp_path) == 0
    assert "WFLW-V, test: 3 videos, as published\n" in capsys.readouterr().out


def test_cats_are_counted_whole_or_as_lmdis_lists_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LANDMARK_CACHE", str(tmp_path / "cache"))
    images = list(write_cats(tmp_path / "CAT"))
    tested = len(CatHead(tmp_path / "CAT").load("test"))
    doubt = "but 10,000 is the authors' number, and that of the archives' files is not published"
    check_counts(PUBLISHED["cat_head"], tmp_path / "CAT")
    told = f"train: {24 - tested} faces, expected {10_000 - tested:,} as published, with {tested} for testing, {doubt}"
    assert f"Cat Head, own split, {told}\n" in capsys.readouterr().out
    monkeypatch.setattr("datamodules.cat_head.PUBLISHED", 24)
    check_counts(PUBLISHED["cat_head"], tmp_path / "CAT")
    assert f"train: {24 - tested} faces, as published, with {tested} for testing\n" in capsys.readouterr().out
    for split, part in (("train", images[:7]), ("test", images[7:])):
        names = "".join(f"{name.rpartition('/')[2]}\n" for name in part)
        (tmp_path / f"CAT/cat_{split}_images.txt").write_text(names)
    check_counts(PUBLISHED["cat_head"], tmp_path / "CAT")
    assert f"Cat Head, train: 7 faces, expected 7,747 as lmdis has, {doubt}\n" in capsys.readouterr().out
