"""What the readers of published datasets share."""

from functools import partial
from importlib import import_module
from typing import ClassVar

import pytest

from datamodules.markup import WFLW_98
from datamodules.preparation.published import PUBLISHED
from datamodules.published_data import PublishedData
from tests.drawn_bbc import write_bbc
from tests.drawn_cats import write_cats
from tests.drawn_celeba import write_celeba
from tests.drawn_faces import write_csv, write_wflw, write_wflw_cropped
from tests.drawn_matlab import write_aflw, write_cofw
from tests.drawn_pts import write_menpo2d, write_w300
from tests.drawn_videos import write_w300vw
from tests.one_sentence import one_sentence

READERS = {reader: name for name, published in PUBLISHED.items() for reader in published.readers}  # MAFL by its own
VARIANTS = {"datamodules.aflw.AFLWFrontal": "aflw", "datamodules.w300vw.W300VWAllFrames": "w300vw"}


def reader_at(path):
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


@pytest.mark.parametrize(("path", "name"), [*READERS.items(), *VARIANTS.items()])
def test_a_missing_root_is_a_sentence_that_leads_to_the_dataset(path, name, tmp_path):
    data = reader_at(path)(root=tmp_path / "nowhere")
    where = f"set data.init_args.root to the folder that holds {data.holds} (root is a path, or a folder below the one"
    for split in data.published:
        with one_sentence(f"{tmp_path}/nowhere", f"not found; {where}", f"; python cli.py prepare {name} says where"):
            data.load(split)


WRITERS = {
    "aflw.AFLW": write_aflw,
    "bbc_pose.BBCPose": write_bbc,
    "cat_head.CatHead": write_cats,
    "celeba.CelebA": write_celeba,
    "cofw.COFW": write_cofw,
    "csv_landmarks.CSVLandmarks": write_csv,
    "menpo2d.Menpo2DProfile": partial(write_menpo2d, lists=False),
    "menpo2d.Menpo2DSemifrontal": write_menpo2d,
    "w300.W300": write_w300,
    "w300vw.W300VW": partial(write_w300vw, lengths={"001": 2, "002": 2}),
    "wflw.WFLW": write_wflw,
    "wflw_cropped.WFLWCropped": write_wflw_cropped,
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_folder_of_the_data_does_not_change_which_faces_validate(name, tmp_path, monkeypatch):
    monkeypatch.setattr("datamodules.aflw.TRAINING_FACES", 12)  # of the 20 drawn faces
    WRITERS[name](tmp_path / "here")
    options = {"markup": "wflw-98"} if name == "csv_landmarks.CSVLandmarks" else {}
    here = reader_at(f"datamodules.{name}")(root=tmp_path / "here", **options).load("train")
    (tmp_path / "here").rename(tmp_path / "elsewhere")
    elsewhere = reader_at(f"datamodules.{name}")(root=tmp_path / "elsewhere", **options).load("train")
    assert here.photograph.tolist() == elsewhere.photograph.tolist()


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_sentence_names_what_prepare_makes(name):
    """Every folder and file of the root that `prepare` asks for, but for those that another one stands for."""
    holds = reader_at(PUBLISHED[name].readers[0]).holds
    stands_for = {"cat_head": ("CAT_00", "CAT_06"), "bbc_pose": ("1", "20", "code"), "w300vw": ()}
    tops = stands_for.get(name, {path.split("/")[0] for path in PUBLISHED[name].needs})
    assert [top for top in tops if top not in holds] == []


def test_folders_of_300w_that_are_tested_on_are_named():
    holds = reader_at("datamodules.w300.W300").holds
    assert [folder for folder in ("helen/testset", "lfpw/testset", "ibug") if folder not in holds] == []


class Own(PublishedData):
    annotated = WFLW_98
    holds = "faces.txt"
    published: ClassVar = {"train": 3, "test": None}

    def load(self, split):
        raise FileNotFoundError(self.remedy)


def test_a_dataset_that_prepare_does_not_know(tmp_path):
    assert Own(root=tmp_path).remedy.startswith("set data.init_args.root to the folder that holds faces.txt (root is")
    assert "prepare" not in Own(root=tmp_path).remedy


def test_counts_are_those_published(tmp_path):
    assert Own(root=tmp_path).published_counts("train") == {3: "as published"}
    assert Own(root=tmp_path).published_counts("test") == {}
