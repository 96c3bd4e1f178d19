import json
import os
from pathlib import Path

import numpy as np
import pytest

from callbacks.inspection.geometry import image_box, left_is_right, overlap, share_outside, swapped, tight_box
from datamodules.markup import AFLW_19, CAT_9, CELEBA_5, COFW_29, IBUG_68, WFLW_98, Markup
from datamodules.synthetic import SyntheticFaces
from tests.drawn_faces import ibug_face, random_face

SAMPLES = Path(os.environ.get("LANDMARK_DATA", ""), "tiny_samples", "annotations.json")


def faces(count=200, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([random_face(rng, (50, 50), 22) for _ in range(count)])


def test_the_share_outside_by_hand():
    box = np.array([[0.0, 0.0, 10.0, 4.0]])
    points = np.array([[[0.0, 0.0], [10.0, 4.0], [5.0, 4.1], [-0.1, 2.0]]])
    assert share_outside(points, box) == pytest.approx([0.5])


def test_an_image_ends_half_a_pixel_beyond_the_centres_of_its_outer_pixels():
    assert image_box(np.array([640]), np.array([480])).tolist() == [[-0.5, -0.5, 639.5, 479.5]]


@pytest.mark.parametrize(
    ("other", "expected"),
    [((0, 0, 2, 2), 1.0), ((1, 0, 3, 2), 1 / 3), ((2, 0, 4, 2), 0.0), ((5, 5, 6, 6), 0.0), ((0, 0, 1, 1), 0.25)],
)
def test_overlap_by_hand(other, expected):
    assert overlap(np.array([0.0, 0.0, 2.0, 2.0]), np.array(other, float)) == pytest.approx(expected)


def test_two_boxes_without_area_do_not_overlap():
    assert overlap(np.zeros(4), np.zeros(4)) == 0


def test_the_tight_box_by_hand():
    assert tight_box(np.array([[[1.0, 5.0], [3.0, 2.0]]])).tolist() == [[1, 2, 3, 5]]


@pytest.mark.parametrize("turn", [0.0, 0.7, 2.0, np.pi])
def test_exchanged_names_are_found_in_turned_faces_and_no_others(turn):
    landmarks, wrong = faces(), np.zeros(200, bool)
    wrong[3:200:20] = True
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    landmarks[wrong] = landmarks[wrong][:, list(WFLW_98.flip)] @ matrix.T
    assert np.array_equal(swapped(landmarks, WFLW_98), wrong)


def test_a_face_mirrored_without_renumbering_is_found_and_one_with_it_is_not():
    landmarks = faces()
    landmarks[5, :, 0] *= -1
    landmarks[6, :, 0] *= -1
    landmarks[6] = landmarks[6][list(WFLW_98.flip)]
    assert np.flatnonzero(swapped(landmarks, WFLW_98)).tolist() == [5]


def test_generated_faces_turned_to_the_side_are_not_accused():
    data = SyntheticFaces(num_train=2000, num_test=1)
    landmarks = data.load("train").landmarks
    assert not swapped(landmarks, WFLW_98).any()
    assert swapped(landmarks[:, list(WFLW_98.flip)][:1000], WFLW_98).sum() == 0  # all of them: no majority is wronged
    wrong = landmarks.copy()
    wrong[::9] = wrong[::9][:, list(WFLW_98.flip)]
    assert np.flatnonzero(swapped(wrong, WFLW_98)).tolist() == list(range(0, 2000, 9))


def test_a_dataset_exchanged_as_a_whole_is_found_by_its_eyes():
    landmarks = np.stack([ibug_face()] * 3)
    assert not left_is_right(landmarks, IBUG_68)
    assert left_is_right(landmarks[:, list(IBUG_68.flip)], IBUG_68)


def test_five_points_are_enough_and_a_markup_without_pairs_is_left_alone():
    face = np.array([[-1.0, -1.0], [1.0, -1.0], [0.0, 0.0], [-0.7, 1.0], [0.7, 1.0]])
    landmarks = np.stack([face] * 10)
    landmarks[4] = landmarks[4][list(CELEBA_5.flip)]
    assert np.flatnonzero(swapped(landmarks, CELEBA_5)).tolist() == [4]
    assert not swapped(landmarks, Markup("one side", 5, (0, 1, 2, 3, 4))).any()


@pytest.mark.skipif(not SAMPLES.is_file(), reason="LANDMARK_DATA names no folder that has tiny_samples")
@pytest.mark.parametrize("markup", [WFLW_98, IBUG_68, COFW_29, AFLW_19, CAT_9], ids=lambda markup: markup.name)
def test_real_annotations_have_left_at_the_left(markup):
    samples = [s for s in json.loads(SAMPLES.read_text()) if s["scheme"] == markup.num_landmarks]
    landmarks = np.array([sample["landmarks"] for sample in samples])
    assert not swapped(landmarks, markup).any()
    assert not left_is_right(landmarks, markup)
    assert left_is_right(landmarks[:, list(markup.flip)], markup) == bool(markup.normalizers)
    if len(landmarks) > 2:
        landmarks[0] = landmarks[0][list(markup.flip)]
        assert np.flatnonzero(swapped(landmarks, markup)).tolist() == [0]
