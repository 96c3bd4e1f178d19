"""Maps between markups, against the rules written out; converted data; a model tested on another markup."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from datamodules.csv_landmarks import CSVLandmarks
from datamodules.markup import COFW_29, IBUG_68, WFLW_98
from datamodules.markup_maps import MAPS, MarkupMap, find_map
from tests.drawn_faces import ibug_face, wflw_face, write_csv
from tests.experiment import run, write_experiment

SAMPLES = Path(os.environ.get("LANDMARK_DATA", ""), "tiny_samples")
DRAWN = {"wflw-98": wflw_face(), "ibug-68": ibug_face()}  # the same face, marked twice
DRAWN["wflw-98"][85, 1] = DRAWN["ibug-68"][57, 1] = 0.9  # of a thick lower lip, whose outer line is not to count


def test_every_map_fits_its_markups_and_keeps_mirror_images():
    for (source, _), markup_map in MAPS.items():
        assert markup_map.source.name == source
        points = np.random.default_rng(0).normal(size=(markup_map.source.num_landmarks, 2))
        mirrored = (points * [-1, 1] - [1, 0])[list(markup_map.source.flip)]  # about the corner, where weights apply
        there = (markup_map.points(points) * [-1, 1] - [1, 0])[list(markup_map.target.flip)]
        np.testing.assert_allclose(markup_map.points(mirrored), there, atol=1e-12)


def test_wflw_to_ibug_is_pipnets_rule():
    points = np.random.default_rng(1).uniform(0, 256, (98, 2))
    corner = points + 0.5  # PIPNet counts from the corner
    expected = np.zeros((68, 2))
    expected[:17] = corner[:33:2]
    expected[17], expected[26] = corner[33], corner[46]
    for upper, lower, target in ((34, 41, 18), (35, 40, 19), (36, 39, 20), (37, 38, 21)):
        expected[target] = corner[upper, 0], (corner[upper, 1] + corner[lower, 1]) / 2
    for upper, lower, target in ((42, 50, 22), (43, 49, 23), (44, 48, 24), (45, 47, 25)):
        expected[target] = corner[upper, 0], (corner[upper, 1] + corner[lower, 1]) / 2
    expected[27:36] = corner[51:60]
    for first, target in ((60, 36), (68, 42)):
        eye = corner[first : first + 8]
        expected[target], expected[target + 3] = eye[0], eye[4]
        expected[target + 1] = (2 * eye[1] + eye[2]) / 3
        expected[target + 2] = (2 * eye[3] + eye[2]) / 3
        expected[target + 4] = (2 * eye[5] + eye[6]) / 3
        expected[target + 5] = (2 * eye[7] + eye[6]) / 3
    expected[48:] = corner[76:96]
    np.testing.assert_allclose(find_map("wflw-98", "ibug-68").points(points), expected - 0.5)
    literal = find_map("wflw-98", "ibug-68-pipnet").points(points) + 0.5
    np.testing.assert_allclose(literal[37], 0.666 * corner[61] + 0.333 * corner[62])
    difference = np.abs(literal - expected).max(axis=1)
    assert set(np.flatnonzero(difference > 1e-9)) == {37, 38, 40, 41, 43, 44, 46, 47}
    assert difference.max() <= 0.26  # pixels of 256


def test_the_face_drawn_in_two_markups_has_the_same_common_points():
    wflw, ibug = (find_map(name, "common-18").points(face) for name, face in DRAWN.items())
    np.testing.assert_allclose(wflw, ibug, atol=1e-12)
    assert len(np.unique(wflw, axis=0)) == 18
    chin, tip, left_corner, right_corner = wflw[17], wflw[11], wflw[13], wflw[15]
    np.testing.assert_allclose([chin, tip], [(0, 1), (0, 0.15)], atol=1e-12)
    np.testing.assert_allclose([left_corner, right_corner], [(-0.4, 0.55), (0.4, 0.55)], atol=1e-12)
    for markup_map in (find_map("wflw-98", "common-18"), find_map("ibug-68", "common-18")):
        assert all(list(entry.values()) == [1.0] for entry in markup_map.weights)  # none is computed


def test_the_17_points_of_a_drawn_face_lie_where_their_names_say():
    left = [(-0.8, -0.6), (-0.5, -0.6), (-0.2, -0.6), (-0.65, -0.3), (-0.25, -0.3)]  # brow, outer and inner corner
    right = [(-x, y) for x, y in reversed(left)]
    rest = [(-0.2, 0.25), (0, 0.15), (0.2, 0.25), (-0.4, 0.55), (0, 0.55), (0.4, 0.55), (0, 1)]  # nose, mouth, chin
    expected = np.array([*left[:3], *right[2:], *left[3:], *right[:2], *rest])
    np.testing.assert_allclose(find_map("ibug-68", "aflw-17").points(DRAWN["ibug-68"]), expected, atol=1e-12)
    expected[1:5, 1] = (-0.6 - 0.5) / 2  # between WFLW's two lines; the lower one has four points from 0.2 to 0.6
    expected[[1, 4], 0] = np.array((-1, 1)) * (0.5 + 1.4 / 3) / 2
    wflw = DRAWN["wflw-98"]
    np.testing.assert_allclose(find_map("wflw-98", "aflw-17").points(wflw), expected, atol=1e-12)
    with_centres = np.insert(expected, [7, 9], [(-0.45, -0.3), (0.45, -0.3)], axis=0)
    np.testing.assert_allclose(find_map("wflw-98", "aflw-19").points(wflw), with_centres, atol=1e-12)


# What the landmarks of COFW are, of a face seen from the front: half of it, the other is its mirror image.
COFW_LEFT = {
    "brow outside": 0,
    "brow inside": 2,
    "brow above": 4,
    "brow below": 5,
    "eye outside": 8,
    "eye inside": 10,
    "eye above": 12,
    "eye below": 13,
    "pupil": 16,
    "nostril": 18,
    "mouth corner": 22,
}
COFW_MIDDLE = {"tip": 20, "base": 21, "lip 1": 24, "lip 2": 25, "lip 3": 26, "lip 4": 27, "chin": 28}


def test_cofw_to_aflw_by_name():
    rng = np.random.default_rng(3)
    left = {name: rng.uniform((-1, -1), (-0.1, 1)) for name in COFW_LEFT}
    middle = {name: np.array([0, y]) for name, y in zip(COFW_MIDDLE, rng.uniform(-1, 1, 7), strict=True)}
    face = np.full((29, 2), np.nan)
    for name, index in COFW_LEFT.items():
        face[index], face[COFW_29.flip[index]] = left[name], left[name] * (-1, 1)
    for name, index in COFW_MIDDLE.items():
        face[index] = middle[name]
    brow = [left["brow outside"], (left["brow above"] + left["brow below"]) / 2, left["brow inside"]]
    eye = [left["eye outside"], left["pupil"], left["eye inside"]]
    mouth = (middle["lip 2"] + middle["lip 3"]) / 2  # between the inner lines of the lips

    def both(points):
        return [*points, *(p * (-1, 1) for p in reversed(points))]

    nose = [left["nostril"], middle["tip"], left["nostril"] * (-1, 1)]
    corners = [left["mouth corner"], mouth, left["mouth corner"] * (-1, 1)]
    expected = np.array([*both(brow), *both(eye), *nose, *corners, middle["chin"]])
    np.testing.assert_allclose(find_map("cofw-29", "aflw-19").points(face), expected, atol=1e-12)
    without_pupils = np.delete(expected, [7, 10], axis=0)
    np.testing.assert_allclose(find_map("cofw-29", "aflw-17").points(face), without_pupils, atol=1e-12)
    np.testing.assert_allclose(find_map("aflw-19", "aflw-17").points(expected), without_pupils, atol=1e-12)


def test_the_five_points_of_mafl_are_the_same_of_both_markups():
    """Eyes, nose and corners of the mouth of the face drawn."""
    expected = [(-0.45, -0.3), (0.45, -0.3), (0, 0.15), (-0.4, 0.55), (0.4, 0.55)]
    for name, face in DRAWN.items():
        np.testing.assert_allclose(find_map(name, "celeba-5").points(face), expected, atol=1e-12)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="LANDMARK_DATA names no folder with tiny_samples")
def test_the_17_points_of_real_faces_are_those_of_aflw():
    faces = []
    for sample in json.loads((SAMPLES / "annotations.json").read_text()):
        if sample["dataset"] in ("wflw", "300w", "300vw", "cofw", "aflw"):
            markup = {98: "wflw-98", 68: "ibug-68", 29: "cofw-29", 19: "aflw-19"}[sample["scheme"]]
            points = find_map(markup, "aflw-17").points(np.array(sample["landmarks"]))
            faces.append((sample["dataset"], (points - points.mean(axis=0)) @ (1, 1j)))
    references = [face for dataset, face in faces if dataset == "aflw"]
    assert len(faces) == 14
    for _, face in faces:
        for reference in references:
            laid = (face.conj() @ reference) / (face.conj() @ face) * face  # turned and scaled to fit
            distance = np.abs(laid[:, None] - reference) / np.abs(reference[6] - reference[9])
            assert linear_sum_assignment(distance)[1].tolist() == list(range(17))  # each is nearest to its namesake
            assert np.diag(distance).mean() < 0.15


def test_a_mapped_landmark_is_visible_where_all_it_comes_from_are():
    visible = np.ones((2, 98), bool)
    visible[1, [62, 41]] = False
    seen = find_map("wflw-98", "ibug-68").visible(visible)
    assert seen[0].all()
    assert set(np.flatnonzero(~seen[1])) == {37, 38, 18}


def test_what_is_refused():
    with pytest.raises(ValueError, match="no map from wflw-98 to 'ibug' is known, expected one of: ibug-68"):
        find_map("wflw-98", "ibug")
    with pytest.raises(ValueError, match="has 1 entries, expected 68"):
        MarkupMap(WFLW_98, IBUG_68, ({0: 1.0},))
    with pytest.raises(ValueError, match="names landmark 98, expected 0 to 97"):
        MarkupMap(WFLW_98, IBUG_68, ({98: 1.0},) * 68)


def test_converted_data_has_the_targets_landmarks_and_normaliser(tmp_path):
    root = write_csv(tmp_path / "faces", train=24, test=2)
    samples = []
    for name in ("wflw-98", "ibug-68", "ibug-68-pipnet"):
        data = CSVLandmarks(root, "wflw-98", size=64, num_workers=0, convert_to=name, validation_fraction=0.3)
        data.setup("test")
        samples.append(data.test_dataloader().dataset[1])
    plain, mapped, literal = samples
    assert torch.equal(plain["image"], mapped["image"])  # the box is that of the annotated landmarks
    expected = find_map("wflw-98", "ibug-68").points(plain["landmarks"].numpy().astype(float))
    np.testing.assert_allclose(mapped["landmarks"].numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(mapped["norm"], np.linalg.norm(expected[36] - expected[45]), rtol=1e-5)
    drawn = (literal["landmarks"][37] + 0.5) / (mapped["landmarks"][37] + 0.5)
    np.testing.assert_allclose(drawn, 0.999, atol=1e-4)  # to the corner of the crop, not of the image
    assert (data.num_landmarks, data.measured_on) == (68, "faces test, ibug-68-pipnet")  # not the target's name


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run trained on faces in the markup wflw-98."""
    folder = tmp_path_factory.mktemp("trained")
    write_experiment(folder, limit_train_batches=1, limit_val_batches=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("fit", "--config", "tiny.yaml")
    return folder


def test_a_model_is_tested_on_a_markup_it_can_be_mapped_to(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    cli = run("test", "--name", "tiny", "--data.init_args.convert_to=ibug-68")
    assert "landmarks are converted from wflw-98 to ibug-68" in capsys.readouterr().out
    dataset, module = cli.datamodule.test_faces, cli.model.eval()
    errors = []
    for sample in (dataset[i] for i in range(len(dataset))):
        with torch.inference_mode():
            points = module(sample["image"][None]).landmarks[0].double().numpy()
        distance = np.hypot(*(find_map("wflw-98", "ibug-68").points(points) - sample["landmarks"].numpy()).T)
        errors.append(100 * distance.mean() / float(sample["norm"]))
    assert float(cli.trainer.callback_metrics["test/nme"]) == pytest.approx(np.mean(errors), rel=1e-4)


def test_predictions_and_truth_are_converted_by_the_same_map(tmp_path):
    root = write_csv(tmp_path / "faces", train=24, test=2)
    for name in ("ibug-68", "ibug-68-pipnet"):
        data = CSVLandmarks(root, "wflw-98", convert_to=name)
        assert data.map_from("wflw-98") is find_map("wflw-98", name)


def test_a_markup_without_a_map_is_refused(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    other = write_csv(tmp_path / "others", train=24, test=4, landmarks=9)
    with pytest.raises(SystemExit):
        run("test", "--name", "tiny", "--data.init_args.markup=cat-9", f"--data.init_args.root={other}")
    said = capsys.readouterr()
    assert "the model was trained on wflw-98 but CSVLandmarks is in cat-9" in said.err
    assert "landmarks are converted" not in said.out
    with pytest.raises(ValueError, match=r"set data\.init_args\.convert_to to celeba-5$"):
        CSVLandmarks(other, "wflw-98").map_from("celeba-5")
