"""Boxes about boxes: margins, the mean face as detectors and markups see it, and what training records."""

import numpy as np
import pytest
import torch
import yaml

from datamodules.box_margins import margins, mean_face, widened
from datamodules.crop import landmark_box
from datamodules.csv_landmarks import CSVLandmarks
from datamodules.markup import Markup
from datamodules.markup_maps import MAPS
from datamodules.synthetic import LOOSE, SyntheticFaces
from tests.drawn_faces import write_csv
from tests.experiment import run, write_experiment


def test_margins_are_shares_of_the_longer_side():
    inner, outer = np.array([10.0, 20, 30, 60]), np.array([6.0, 12, 38, 60])
    np.testing.assert_allclose(margins(inner, outer), [0.1, 0.2, 0.2, 0])
    rng = np.random.default_rng(0)
    some = np.sort(rng.normal(size=(2, 7, 2, 2)), axis=2).reshape(2, 7, 4)
    np.testing.assert_allclose(widened(some[0], margins(*some)), some[1])


def test_landmarks_on_a_line_have_finite_margins():
    eyes, face = np.array([20.0, 30, 60, 30]), np.array([0.0, 10, 80, 90])
    np.testing.assert_allclose(margins(eyes, face), [0.5, 0.5, 0.5, 1.5])
    assert np.isfinite(margins(np.zeros(4), face)).all()


@pytest.mark.parametrize("markup", ["celeba-5", "aflw-19", "aflw-17", "common-18", "wflw-98", "ibug-68"])
def test_the_mean_face_is_like_others(markup):
    """Of generated faces, which turn and speak, the median box of the markup lies where the mean face says."""
    points = SyntheticFaces(num_train=2, num_test=500).load("test").landmarks
    target = points if markup == "wflw-98" else MAPS["wflw-98", markup].points(points)
    mean, detected, tight = mean_face(markup), landmark_box(points), landmark_box(target)
    told = widened(detected, margins(mean.detected, mean.tight))
    side = (tight[:, 2:] - tight[:, :2]).max(axis=1)
    growth = (told[:, 2:] - told[:, :2]).max(axis=1) / side
    assert np.median(growth) == pytest.approx(1, abs=0.05)
    assert np.abs(np.median((told - tight) / side[:, None], axis=0)).max() < 0.2  # heads turn


def test_a_markup_that_nobody_knows_has_no_mean_face():
    assert mean_face("mine") is mean_face(None) is mean_face("cat-9") is None
    np.testing.assert_array_equal(mean_face("cofw-29").tight, mean_face("aflw-19").tight)


def data_of(tmp_path, **options):
    data = CSVLandmarks(write_csv(tmp_path, train=12), "wflw-98", size=64, **options)
    data.setup("fit")
    return data


@pytest.mark.parametrize("box", ["landmarks-1.2", "image"])
def test_crops_of_landmarks_or_images_have_no_margins(tmp_path, box):
    assert data_of(tmp_path, box=box).box_margins() is None


def test_converted_landmarks_have_those_of_the_annotated_box(tmp_path):
    data = data_of(tmp_path, convert_to="celeba-5", box="landmarks-1.2")
    faces = data.train_dataloader().dataset
    found = widened(landmark_box(faces.landmarks), np.array(data.box_margins()))
    side = np.ptp(faces.faces.landmarks, axis=1).max(axis=1)
    assert (np.abs(found - landmark_box(faces.faces.landmarks)).max(axis=1) < 0.15 * side).all()


def test_the_dataset_s_own_boxes_have_their_median():
    data = SyntheticFaces(num_train=1400, num_test=2, size=64)  # more than are measured
    data.setup("fit")
    np.testing.assert_allclose(data.box_margins(), np.full(4, LOOSE / 2), atol=0.01)


def test_one_landmark_has_no_size_to_compare_with():
    data = SyntheticFaces(num_train=10, num_test=2, size=64)
    data.setup("fit")
    data.markup = Markup("nose", 1, (0,))
    assert data.box_margins() is None


@pytest.mark.parametrize("own_boxes", [True, False])
def test_checkpoints_have_the_margins(tmp_path, monkeypatch, own_boxes):
    monkeypatch.chdir(tmp_path)
    config = yaml.safe_load(write_experiment(tmp_path).read_text())
    if own_boxes:
        init_args = {"num_train": 20, "num_test": 2, "size": 32, "batch_size": 4, "num_workers": 0}
        config["data"] = {"class_path": "datamodules.synthetic.SyntheticFaces", "init_args": init_args}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    trained = run("fit", "--config", "tiny.yaml", "--trainer.max_epochs=1")
    stored = torch.load("runs/tiny/checkpoints/last.ckpt", weights_only=True)
    assert stored["box_margins"] == trained.datamodule.box_margins() == trained.model.box_margins
    assert (stored["box_margins"] is not None) == own_boxes
    other = type(trained.model)(98)
    assert other.box_margins is None
    other.on_load_checkpoint(stored)
    assert other.box_margins == stored["box_margins"]
    assert other.trained_box == stored["box"] == ("provided-1.2" if own_boxes else "landmarks-1.2")
    del stored["box_margins"]  # as before they were recorded
    before = type(trained.model)(98)
    before.on_load_checkpoint(stored)
    assert before.box_margins is None
